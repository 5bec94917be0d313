//! The packages for browsers: what the gateway serves of them is bundled with esbuild and committed, and their tests run in Node.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use presence_testkit::run::{answer, run, run_within};
use presence_testkit::tools;
use presence_testkit::workspace::Workspace;

/// Where the npm workspace is.
const FOLDER: &str = "crates/presence-web";

/// Where its tests are.
const TESTS: &[&str] = &[
    "packages/presence-client/test",
    "packages/presence-react/test",
    "test",
];

/// Tests that take longer hang.
const TIME_MAX: Duration = Duration::from_secs(300);

/// Writes what the gateway serves.
pub(crate) fn bundle(workspace: &Workspace) -> Result<()> {
    let folder = installed(workspace)?;
    let node = tools::node()?;
    run(Command::new(node)
        .current_dir(folder)
        .arg("tools/bundle.mjs"))
}

/// The step `web`.
pub(crate) fn check(workspace: &Workspace, _: bool) -> Result<()> {
    let folder = installed(workspace)?;
    let node = tools::node()?;
    run(Command::new(&node)
        .current_dir(&folder)
        .args(["tools/bundle.mjs", "--check"]))?;
    let mut command = Command::new(node);
    command
        .current_dir(&folder)
        .args(["--test", "--test-reporter", "spec"]);
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
    if answer(Command::new("npm").arg("--version")).is_none() {
        bail!("npm is not on PATH; it comes with Node: https://nodejs.org/en/download");
    }
    run(Command::new("npm").current_dir(&folder).args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
    ]))?;
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
