//! What the steps need besides cargo: found, installed where that is harmless, or asked for by name.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run::{answer, cargo};
use crate::workspace::Workspace;

/// The oldest Node that runs the tests.
const NODE_MAJOR_MIN: u32 = 20;

/// Drives the browser. Only the driver: the browser is the system's.
const PLAYWRIGHT_VERSION: &str = "1.65.1";

/// # Errors
///
/// rustfmt is missing.
pub(crate) fn rustfmt(workspace: &Workspace) -> Result<()> {
    answer(cargo(workspace, "fmt --version"))
        .context("rustfmt is missing; get it with `rustup component add rustfmt`")?;
    Ok(())
}

/// # Errors
///
/// clippy is missing.
pub(crate) fn clippy(workspace: &Workspace) -> Result<()> {
    answer(cargo(workspace, "clippy --version"))
        .context("clippy is missing; get it with `rustup component add clippy`")?;
    Ok(())
}

/// # Errors
///
/// cargo-deny is missing.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<()> {
    answer(cargo(workspace, "deny --version"))
        .context("cargo-deny is missing; get it with `cargo install --locked cargo-deny`")?;
    Ok(())
}

/// # Errors
///
/// cargo-fuzz is missing.
pub(crate) fn cargo_fuzz(workspace: &Workspace) -> Result<()> {
    answer(cargo(workspace, "fuzz --version"))
        .context("cargo-fuzz is missing; get it with `cargo install --locked cargo-fuzz`")?;
    Ok(())
}

/// # Errors
///
/// cargo-semver-checks is missing.
pub(crate) fn cargo_semver_checks(workspace: &Workspace) -> Result<()> {
    answer(cargo(workspace, "semver-checks --version")).context(
        "cargo-semver-checks is missing; get it with `cargo install --locked cargo-semver-checks`",
    )?;
    Ok(())
}

/// Whether cargo-nextest is installed; says so if not, since `cargo test` is slower.
pub(crate) fn has_nextest(workspace: &Workspace) -> bool {
    let found = answer(cargo(workspace, "nextest --version")).is_some();
    if !found {
        println!("cargo-nextest is not installed: using cargo test, which runs the same tests");
    }
    found
}

/// A Node that is new enough.
///
/// # Errors
///
/// There is none.
pub(crate) fn node(workspace: &Workspace) -> Result<PathBuf> {
    let wanted =
        format!("Node {NODE_MAJOR_MIN} or newer, with npm: https://nodejs.org/en/download");
    let Some(version) = answer(workspace.shell.cmd("node").arg("--version")) else {
        bail!("node is not on PATH; install {wanted}");
    };
    if node_major(&version).is_none_or(|major| major < NODE_MAJOR_MIN) {
        bail!("node is {version}; install {wanted}");
    }
    Ok("node".into())
}

fn node_major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// # Errors
///
/// npm is missing.
pub(crate) fn npm(workspace: &Workspace) -> Result<()> {
    answer(workspace.shell.cmd("npm").arg("--version"))
        .context("npm is not on PATH; it comes with Node: https://nodejs.org/en/download")?;
    Ok(())
}

/// The folder `node_modules` that has playwright-core in the version we want, installed if need be.
///
/// # Errors
///
/// npm is missing or could not install it.
pub(crate) fn playwright(workspace: &Workspace) -> Result<PathBuf> {
    let prefix = workspace.target.join("browser-tests");
    let modules = prefix.join("node_modules");
    if playwright_version(&modules).as_deref() == Some(PLAYWRIGHT_VERSION) {
        return Ok(modules);
    }
    npm(workspace)?;
    fs::create_dir_all(&prefix)?;
    let npm = workspace.shell.cmd("npm").args([
        "install",
        "--no-audit",
        "--no-fund",
        "--no-save",
        "--ignore-scripts",
        "--prefix",
    ]);
    npm.arg(&prefix)
        .arg(format!("playwright-core@{PLAYWRIGHT_VERSION}"))
        .run()?;
    match playwright_version(&modules) {
        Some(_) => Ok(modules),
        None => bail!(
            "npm succeeded, but there is no playwright-core in {}",
            modules.display()
        ),
    }
}

fn playwright_version(modules: &Path) -> Option<String> {
    let manifest = fs::read(modules.join("playwright-core/package.json")).ok()?;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).ok()?;
    Some(manifest["version"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_of_node_is_read_from_its_answer() {
        assert_eq!(node_major("v20.20.2"), Some(20));
        assert_eq!(node_major("v9.1.0-nightly"), Some(9));
        assert_eq!(node_major("20"), None);
    }
}
