//! `cargo xtask cluster`: presence-cluster, which keeps a cluster on this machine and breaks it.

use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use presence_testkit::run::cargo_here;
use presence_testkit::workspace::Workspace;

/// What it knows.
pub(crate) const HELP: &str =
    include_str!("../../crates/presence-testkit/src/bin/presence-cluster/help.txt");

/// Builds it, and becomes it: so Ctrl-C is for it alone.
///
/// # Errors
///
/// It does not start.
pub(crate) fn cluster(workspace: &Workspace, args: &[String]) -> Result<()> {
    let what = "run --quiet --locked --package presence-testkit --bin presence-cluster --";
    let mut command = cargo_here(workspace, what);
    Err(command.args(args).exec()).context("cannot start cargo")
}
