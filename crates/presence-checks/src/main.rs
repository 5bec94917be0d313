//! `presence-checks`: what we ship, looked at with programs that others have written.
//!
//! `cargo xtask test --only deploy` and `--only contract` run it against a release gateway.

mod contract;
mod deploy;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use presence_testkit::workspace::Workspace;

/// Checks what is shipped, with programs of others
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// What to check
    what: What,
    /// The program of the gateway
    #[arg(long, value_name = "FILE")]
    gateway: PathBuf,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// The files in `deploy`: their schemas, what they set, and whether they agree with each other
    Deploy,
    /// The HTTP API: whether it answers as its OpenAPI document says, whatever it is asked
    Contract,
}

fn main() -> ExitCode {
    match check(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\npresence-checks: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn check(args: &Args) -> Result<()> {
    let workspace = Workspace::read()?;
    let gateway = std::path::absolute(&args.gateway)?;
    match args.what {
        What::Deploy => deploy::check(&workspace, gateway),
        What::Contract => contract::check(&workspace, gateway),
    }
}
