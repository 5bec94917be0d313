//! `cargo xtask chaos`: presence-chaos against release gateways and Redis of our own.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use presence_testkit::run::run_within;
use presence_testkit::workspace::Workspace;

use crate::load::build_release;

/// Builds it and the gateway, and runs it with `args`. A run that takes longer than `limit` hangs.
///
/// # Errors
///
/// Something does not build, or an invariant was broken. Nothing is left running.
pub(crate) fn chaos(workspace: &Workspace, args: &[String], limit: Duration) -> Result<()> {
    build_release(workspace)?;
    let mut command = Command::new(workspace.release_binary("presence-chaos"));
    command.current_dir(&workspace.root);
    command
        .arg("--gateway")
        .arg(workspace.release_binary("presence-gateway"));
    command.arg("--folder").arg(workspace.target.join("chaos"));
    run_within(command.args(args), limit)
}
