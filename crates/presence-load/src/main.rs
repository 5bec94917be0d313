//! `presence-load` measures how much load a gateway can take, in a way that the numbers can be trusted.
//!
//! Arrivals are open-loop and latency counts from the intended time. The program reconciles what was expected with what
//! was received, client by client, and fails if they differ. It reports its own CPU; where it measures the cost of a
//! delivery, it runs a bare accept-and-send server too, which shows the ceiling.

mod args;
mod bare;
mod client;
mod crowd;
mod endpoint;
mod frame_kind;
mod line;
mod load_run;
mod machine;
mod own;
mod report;
mod scenarios;
mod schedule;
mod stock;
mod virtual_user;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use args::{Args, Scenario};
use report::Report;

fn main() -> ExitCode {
    let args = Args::parse();
    match measure_all(&args) {
        Ok(reports) if reports.iter().all(Report::is_good) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("presence-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what `args` asks for, against gateways of our own if it says so, and writes the numbers into the file.
fn measure_all(args: &Args) -> Result<Vec<Report>> {
    let reports = match &args.gateway {
        None => measure(args)?,
        Some(gateway) if args.scenario == Scenario::Bigroom => {
            own::with_cluster(args, gateway, measure)?
        }
        Some(gateway) => {
            let mut reports = own::with_gateway(args, gateway, measure)?;
            if args.scenario == Scenario::Smoke {
                let small = args.small_bigroom();
                reports.extend(own::with_cluster(&small, gateway, measure)?);
            }
            reports
        }
    };
    if let Some(file) = &args.json {
        report::write(file, &reports)?;
    }
    Ok(reports)
}

/// Does what [`run`] does, on a runtime of its own.
fn measure(args: &Args) -> Result<Vec<Report>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(args))
}

/// Runs what `args` asks for. Prints each report, and returns them all.
async fn run(args: &Args) -> Result<Vec<Report>> {
    let mut reports = Vec::new();
    if args.scenario == Scenario::BareServer {
        bare::serve(args).await?;
        return Ok(reports);
    }
    for args in args.scenarios() {
        let mut report = Report::new(&args);
        for run in 0..args.runs.max(1) {
            report.add(scenarios::run(&args, run).await?);
        }
        report.print();
        reports.push(report);
    }
    Ok(reports)
}
