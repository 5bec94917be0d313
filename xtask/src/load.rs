//! `cargo xtask load`: presence-load against a release gateway of our own.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use presence_testkit::run::{cargo, run, run_within};
use presence_testkit::workspace::Workspace;

/// What a release build is wanted of: crates with a binary of the same name.
const RELEASED: &[&str] = &["presence-gateway", "presence-load", "presence-chaos"];

/// Builds both, and runs presence-load with `args` against a gateway that it starts.
/// A run that takes longer than `limit` hangs.
///
/// # Errors
///
/// Something does not build or start, the run failed, or the gateway did not stop well. Nothing is left running.
pub(crate) fn load(workspace: &Workspace, args: &[String], limit: Duration) -> Result<()> {
    build_release(workspace)?;
    let mut command = Command::new(workspace.release_binary("presence-load"));
    command.current_dir(&workspace.root);
    command
        .arg("--gateway")
        .arg(workspace.release_binary("presence-gateway"));
    command.arg("--folder").arg(workspace.target.join("xtask"));
    run_within(command.args(args), limit)
}

/// Builds every released binary in one go, so that no step compiles a crate again with other features.
///
/// # Errors
///
/// It does not build.
pub(crate) fn build_release(workspace: &Workspace) -> Result<()> {
    let mut command = cargo(workspace, "build --release --locked");
    for package in RELEASED {
        command.args(["--package", package, "--bin", package]);
    }
    run(&mut command)
}
