//! The programs of the workspace that do the work: built here, and started. None of them is linked into `xtask`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::run::{cargo, run_within};
use crate::workspace::{Workspace, cargo_path};

/// The help text of presence-cluster.
pub(crate) const CLUSTER_HELP: &str =
    include_str!("../../crates/presence-testkit/src/bin/presence-cluster/help.txt");

/// What a release build is wanted of: crates with a binary of the same name.
const RELEASED: &[&str] = &["presence-gateway", "presence-load", "presence-chaos"];

/// Builds every released binary in one go, so that no step compiles a crate again with other features.
///
/// # Errors
///
/// It does not build.
pub(crate) fn build_release(workspace: &Workspace) -> Result<()> {
    let mut command = cargo(workspace, "build --release --locked");
    for package in RELEASED {
        command = command.args(["--package", package, "--bin", package]);
    }
    Ok(command.run()?)
}

/// The program of the gateway, after a release build.
pub(crate) fn gateway(workspace: &Workspace) -> PathBuf {
    workspace.release_binary("presence-gateway")
}

/// Runs presence-load with `args` against a release gateway that it starts. A run that takes longer than `limit` hangs.
///
/// # Errors
///
/// Something does not build or start, the run failed, or the gateway did not stop well. Nothing is left running.
pub(crate) fn load(workspace: &Workspace, args: &[String], limit: Duration) -> Result<()> {
    let folder = workspace.target.join("xtask");
    against_gateway(workspace, "presence-load", &folder, args, limit)
}

/// Runs presence-chaos with `args` against release gateways. A run that takes longer than `limit` hangs.
///
/// # Errors
///
/// Something does not build, or an invariant was broken. Nothing is left running.
pub(crate) fn chaos(workspace: &Workspace, args: &[String], limit: Duration) -> Result<()> {
    let folder = workspace.target.join("chaos");
    against_gateway(workspace, "presence-chaos", &folder, args, limit)
}

fn against_gateway(
    workspace: &Workspace,
    program: &str,
    folder: &Path,
    args: &[String],
    limit: Duration,
) -> Result<()> {
    build_release(workspace)?;
    let command = workspace.shell.cmd(workspace.release_binary(program));
    let command = command.arg("--gateway").arg(gateway(workspace));
    run_within(command.arg("--folder").arg(folder).args(args), limit)
}

/// Runs the check `what` of presence-checks against a release gateway.
///
/// # Errors
///
/// Something does not build, or is wrong, which it has told.
pub(crate) fn check(workspace: &Workspace, what: &str) -> Result<()> {
    build_release(workspace)?;
    let command = cargo(
        workspace,
        "run --quiet --locked --package presence-checks --",
    );
    let command = command.args([what, "--gateway"]);
    Ok(command.arg(gateway(workspace)).run()?)
}

/// Builds presence-cluster, which keeps a cluster on this machine and breaks it, and becomes it: so Ctrl-C is for it alone.
///
/// # Errors
///
/// It does not start.
pub(crate) fn cluster(workspace: &Workspace, args: &[String]) -> Result<()> {
    // Not at the root: it reads paths from here.
    let mut command = Command::new(cargo_path());
    command.args(["run", "--quiet", "--locked", "--manifest-path"]);
    command.arg(workspace.root.join("Cargo.toml"));
    command.args(["--package", "presence-testkit", "--bin", "presence-cluster"]);
    Err(command.arg("--").args(args).exec()).context("cannot start cargo")
}

/// Where a program is that tests need: `redis`, `mongo` or `chromium`. It is installed if that is harmless.
///
/// # Errors
///
/// It is not there, and cannot be installed.
pub(crate) fn find(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let what = "run --quiet --locked --package presence-testkit --bin presence-tools --";
    let said = cargo(workspace, what).arg(name).read()?;
    println!("{said}");
    let file = said.lines().last();
    Ok(file.context("presence-tools said nothing")?.into())
}
