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
    let done = match &args.gateway {
        None => measure(&args),
        Some(gateway) => own::with_gateway(&args, gateway, measure),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("presence-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what [`run`] does, on a runtime of its own.
fn measure(args: &Args) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(args))
}

/// Runs what `args` asks for. Returns whether everything that was expected was received.
async fn run(args: &Args) -> Result<bool> {
    if args.scenario == Scenario::BareServer {
        bare::serve(args).await?;
        return Ok(true);
    }
    let mut reports = Vec::new();
    for args in args.scenarios() {
        let mut report = Report::new(&args);
        for run in 0..args.runs.max(1) {
            report.add(scenarios::run(&args, run).await?);
        }
        report.print();
        reports.push(report);
    }
    if let Some(file) = &args.json {
        report::write(file, &reports)?;
    }
    Ok(reports.iter().all(Report::is_good))
}
