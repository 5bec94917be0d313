//! `cargo xtask load`: presence-load against a release gateway of our own.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::gateway::Gateway;
use crate::run::{cargo, run, run_within};
use crate::workspace::Workspace;

/// What a release build is wanted of: crate and binary.
const RELEASED: &[(&str, &str)] = &[
    ("presence-gateway", "presence-gateway"),
    ("presence-client", "presence-load"),
];

/// Builds both, starts a gateway on a free port, runs presence-load against it with `args`, stops the gateway.
/// A run that takes longer than `limit` hangs.
///
/// # Errors
///
/// Something does not build or start, the run failed, or the gateway did not stop well. Nothing is left running.
pub(crate) fn load(workspace: &Workspace, args: &[String], limit: Duration) -> Result<()> {
    let (package, binary) = ("presence-client", "presence-load");
    if !workspace.has_binary(package, binary) {
        bail!("{package} has no binary {binary}");
    }
    build_release(workspace)?;

    let gateway = Gateway::start(
        &workspace.release_binary("presence-gateway"),
        &workspace.target.join("xtask"),
    )?;
    println!("the gateway listens on {}", gateway.address());
    let mut command = Command::new(workspace.release_binary(binary));
    command
        .current_dir(&workspace.root)
        .arg("--url")
        .arg(format!("ws://{}/ws", gateway.address()));
    if let Err(error) = run_within(command.args(args), limit) {
        eprint!("{}", gateway.log_end());
        return Err(error);
    }
    gateway.stop()
}

/// Builds every released binary in one go, so that no step compiles a crate again with other features.
///
/// # Errors
///
/// It does not build.
pub(crate) fn build_release(workspace: &Workspace) -> Result<()> {
    let mut command = cargo(workspace, "build --release --locked");
    for (package, binary) in RELEASED {
        if workspace.has_binary(package, binary) {
            command.args(["--package", package, "--bin", binary]);
        }
    }
    run(&mut command)
}
