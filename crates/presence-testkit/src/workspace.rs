//! Where this repository is, and where its builds go.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// This repository, as cargo sees it.
#[derive(Debug)]
pub struct Workspace {
    /// The path of the repository.
    pub root: PathBuf,
    /// Where builds go; also where tests and programs leave their files.
    pub target: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    ///
    /// A manifest is wrong, which cargo has told on stderr, or its answer makes no sense.
    pub fn read() -> Result<Workspace> {
        let output = Command::new(cargo_path())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start cargo")?;
        if !output.status.success() {
            bail!("cargo metadata failed");
        }
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let path = |field: &str| {
            let path = metadata[field].as_str().map(PathBuf::from);
            path.with_context(|| format!("no `{field}` in cargo's metadata"))
        };
        Ok(Workspace {
            root: path("workspace_root")?,
            target: path("target_directory")?,
        })
    }

    /// Where a release build leaves the binary `name`.
    pub fn release_binary(&self, name: &str) -> PathBuf {
        self.target
            .join("release")
            .join(name)
            .with_extension(std::env::consts::EXE_EXTENSION)
    }
}

/// The cargo that started us, so that every command uses one toolchain.
pub fn cargo_path() -> PathBuf {
    std::env::var_os("CARGO")
        .unwrap_or_else(|| "cargo".into())
        .into()
}
