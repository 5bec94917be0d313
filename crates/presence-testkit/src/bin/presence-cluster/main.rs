//! `presence-cluster`, or `cargo xtask cluster`: a cluster on this machine, and ways to break it.
//!
//! `up` keeps everything as its children, so that nothing outlives it. The other commands ask it through a socket.

mod keeper;
mod socket;
mod up;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use presence_testkit::folder::Folder;
use presence_testkit::workspace::Workspace;

/// What `cargo xtask help` says of it.
const HELP: &str = include_str!("help.txt");

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match Workspace::read().and_then(|workspace| cluster(&workspace, &args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\npresence-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what `args` say.
///
/// # Errors
///
/// They make no sense, or it could not be done.
fn cluster(workspace: &Workspace, args: &[String]) -> Result<()> {
    let Some((command, rest)) = args.split_first() else {
        bail!("`cluster` needs to know what to do:\n\n{HELP}");
    };
    match command.as_str() {
        "--help" | "-h" | "help" => {
            print!("{HELP}");
            Ok(())
        }
        "up" => up::up(workspace, rest),
        "status" | "down" if !rest.is_empty() => bail!("`{command}` takes no `{}`", rest[0]),
        "kill" | "pause" | "resume" | "failover" if rest.is_empty() => {
            bail!(
                "`{command}` needs to know what: gateway-1 or redis-2 or `master-of channel:room:42` for instance"
            )
        }
        "down" if !socket::is_kept(&folder(workspace)) => {
            // One that was killed leaves its logs.
            let left = Folder::empty(folder(workspace))?;
            println!("no cluster runs");
            drop(left);
            Ok(())
        }
        "status" | "down" | "kill" | "pause" | "resume" | "failover" | "restart" | "logs" => {
            socket::ask(&folder(workspace), args)
        }
        other => bail!("`cluster` does not know `{other}`:\n\n{HELP}"),
    }
}

/// Where its logs and data are.
fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("cluster")
}
