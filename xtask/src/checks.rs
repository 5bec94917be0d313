//! The steps `deploy` and `contract`: presence-checks against a release gateway.

use anyhow::Result;
use presence_testkit::run::{cargo, run};
use presence_testkit::workspace::Workspace;

use crate::load::build_release;

/// The step `deploy`.
pub(crate) fn deploy(workspace: &Workspace, _: bool) -> Result<()> {
    check(workspace, "deploy")
}

/// The step `contract`.
pub(crate) fn contract(workspace: &Workspace, _: bool) -> Result<()> {
    check(workspace, "contract")
}

fn check(workspace: &Workspace, what: &str) -> Result<()> {
    build_release(workspace)?;
    let run_it = "run --quiet --locked --package presence-checks --";
    let gateway = workspace.release_binary("presence-gateway");
    run(cargo(workspace, run_it)
        .args([what, "--gateway"])
        .arg(gateway))
}
