//! What the steps need besides cargo: found, installed where that is harmless, or asked for by name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::run::{answer, cargo, run};
use crate::workspace::Workspace;

/// The oldest Node that runs the tests.
const NODE_MAJOR_MIN: u32 = 20;

/// Drives the browser. Only the driver: the browser is the system's.
const PLAYWRIGHT_VERSION: &str = "1.65.1";

/// Names of a Chromium on PATH, in order of preference.
const CHROMIUM_NAMES: &[&str] = &[
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// # Errors
///
/// rustfmt is missing.
pub(crate) fn rustfmt(workspace: &Workspace) -> Result<()> {
    answer(&mut cargo(workspace, "fmt --version"))
        .context("rustfmt is missing; get it with `rustup component add rustfmt`")?;
    Ok(())
}

/// # Errors
///
/// clippy is missing.
pub(crate) fn clippy(workspace: &Workspace) -> Result<()> {
    answer(&mut cargo(workspace, "clippy --version"))
        .context("clippy is missing; get it with `rustup component add clippy`")?;
    Ok(())
}

/// # Errors
///
/// cargo-deny is missing.
pub(crate) fn cargo_deny(workspace: &Workspace) -> Result<()> {
    answer(&mut cargo(workspace, "deny --version"))
        .context("cargo-deny is missing; get it with `cargo install --locked cargo-deny`")?;
    Ok(())
}

/// Whether cargo-nextest is installed; says so if not, since `cargo test` is slower.
pub(crate) fn has_nextest(workspace: &Workspace) -> bool {
    let found = answer(&mut cargo(workspace, "nextest --version")).is_some();
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
pub(crate) fn node() -> Result<PathBuf> {
    let wanted =
        format!("Node {NODE_MAJOR_MIN} or newer, with npm: https://nodejs.org/en/download");
    let Some(version) = answer(Command::new("node").arg("--version")) else {
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
    if answer(Command::new("npm").arg("--version")).is_none() {
        bail!("npm is not on PATH; it comes with Node: https://nodejs.org/en/download");
    }
    fs::create_dir_all(&prefix)?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--no-audit",
        "--no-fund",
        "--no-save",
        "--ignore-scripts",
        "--prefix",
    ]);
    run(npm
        .arg(&prefix)
        .arg(format!("playwright-core@{PLAYWRIGHT_VERSION}")))?;
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

/// A Chromium or Chrome that starts, installed with apt-get if need be and possible.
///
/// # Errors
///
/// There is none, and it cannot be installed.
pub(crate) fn chromium() -> Result<PathBuf> {
    if let Some(path) = env::var_os("CHROMIUM") {
        let path = PathBuf::from(path);
        return match starts(&path) {
            true => Ok(path),
            false => bail!("$CHROMIUM is {}, which does not start", path.display()),
        };
    }
    if let Some(path) = find_chromium() {
        return Ok(path);
    }
    install_chromium()?;
    find_chromium().context("chromium was installed, but does not start")
}

fn find_chromium() -> Option<PathBuf> {
    CHROMIUM_NAMES
        .iter()
        .filter_map(|name| on_path(name))
        .find(|path| starts(path))
}

fn starts(browser: &Path) -> bool {
    answer(Command::new(browser).arg("--version")).is_some()
}

fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn install_chromium() -> Result<()> {
    println!("no Chromium on PATH");
    let root = answer(Command::new("id").arg("-u")).as_deref() == Some("0");
    let sudo = !root && answer(Command::new("sudo").args(["-n", "true"])).is_some();
    if on_path("apt-get").is_none() || !(root || sudo) {
        bail!(
            "no Chromium: install your system's package (Debian: `apt-get install chromium`) \
             or set CHROMIUM to the path of a Chromium or Chrome"
        );
    }
    let apt_get = |args: &str| {
        // `env` carries the variable through sudo.
        let mut words = vec![
            "env",
            "DEBIAN_FRONTEND=noninteractive",
            "apt-get",
            "-o",
            "DPkg::Lock::Timeout=300",
        ];
        if sudo {
            words.splice(0..0, ["sudo", "-n"]);
        }
        run(Command::new(words[0])
            .args(&words[1..])
            .args(args.split(' ')))
    };
    apt_get("update --quiet")?;
    apt_get("install --quiet --yes --no-install-recommends chromium fonts-noto-color-emoji")
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
