//! The packages for browsers: what the gateway serves of them is bundled with esbuild and committed, and their tests run in Node.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::run::run_within;
use crate::tools;
use crate::workspace::Workspace;

/// The folder of the npm workspace, relative to the root.
const FOLDER: &str = "crates/presence-web";

/// The folders of its tests, relative to that folder.
const TESTS: &[&str] = &[
    "packages/presence-client/test",
    "packages/presence-react/test",
    "test",
];

/// Tests that take longer hang.
const TIME_MAX: Duration = Duration::from_secs(300);

/// Bundles the browser packages into the files that the gateway serves.
pub(crate) fn bundle(workspace: &Workspace) -> Result<()> {
    let folder = installed(workspace)?;
    let node = tools::node(workspace)?;
    let _in_folder = workspace.shell.push_dir(folder);
    Ok(workspace.shell.cmd(node).arg("tools/bundle.mjs").run()?)
}

/// Runs the step `web`: tests of the packages, and whether the served files are up to date.
pub(crate) fn check(workspace: &Workspace, _: bool) -> Result<()> {
    let folder = installed(workspace)?;
    let node = tools::node(workspace)?;
    let _in_folder = workspace.shell.push_dir(&folder);
    let bundle = workspace.shell.cmd(&node);
    bundle.args(["tools/bundle.mjs", "--check"]).run()?;
    let command = workspace.shell.cmd(node);
    let command = command.args(["--test", "--test-reporter", "spec"]);
    run_within(command.args(tests(&folder)?), TIME_MAX)
}

/// The npm workspace, with what its lock file names installed in it.
fn installed(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.root.join(FOLDER);
    let lock = fs::read(folder.join("package-lock.json")).context("no package-lock.json")?;
    let stamp = folder.join("node_modules/installed-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(folder);
    }
    tools::npm(workspace)?;
    let _in_folder = workspace.shell.push_dir(&folder);
    let npm = workspace.shell.cmd("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .run()?;
    fs::write(&stamp, lock)?;
    Ok(folder)
}

/// The files `*.test.mjs` of the workspace in `folder`, relative to it.
fn tests(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut tests = Vec::new();
    for part in TESTS.iter().map(Path::new) {
        let entries = folder.join(part).read_dir();
        for entry in entries.with_context(|| format!("cannot read {}", part.display()))? {
            let name = entry?.file_name();
            if name.to_string_lossy().ends_with(".test.mjs") {
                tests.push(part.join(name));
            }
        }
    }
    if tests.is_empty() {
        bail!("no *.test.mjs in {FOLDER}");
    }
    tests.sort();
    Ok(tests)
}
