//! What cargo knows about this workspace: where it is, its crates and their direct dependencies.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use xshell::Shell;

/// This repository, as cargo sees it.
pub(crate) struct Workspace {
    /// Runs programs in the root of the repository.
    pub(crate) shell: Shell,
    /// The path of the repository.
    pub(crate) root: PathBuf,
    /// Where builds go; also where the chores leave their files.
    pub(crate) target: PathBuf,
    /// The crates of the workspace.
    pub(crate) packages: Vec<Package>,
}

/// A crate of the workspace, as `cargo metadata` shows it.
pub(crate) struct Package {
    /// The name of the crate.
    pub(crate) name: String,
    /// Whether it is meant for a registry: its manifest does not say `publish = false`.
    pub(crate) is_published: bool,
    /// What its manifest asks for, optional ones included.
    pub(crate) dependencies: Vec<Dependency>,
}

/// A direct dependency of a crate.
pub(crate) struct Dependency {
    /// The name of the crate that is depended on.
    pub(crate) name: String,
    /// Only for tests, examples and benches.
    pub(crate) dev: bool,
    /// Only with a feature that asks for it.
    pub(crate) optional: bool,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    ///
    /// A manifest is wrong, which cargo has told on stderr, or its answer makes no sense.
    pub(crate) fn read() -> Result<Workspace> {
        let output = Command::new(cargo_path())
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start cargo")?;
        if !output.status.success() {
            bail!("cargo metadata failed");
        }
        let metadata: Value = serde_json::from_slice(&output.stdout)?;
        let packages = array(&metadata, "packages")?
            .iter()
            .map(Package::read)
            .collect::<Result<_>>()?;
        let root = PathBuf::from(text(&metadata, "workspace_root")?);
        let shell = Shell::new()?;
        shell.change_dir(&root);
        Ok(Workspace {
            shell,
            root,
            target: text(&metadata, "target_directory")?.into(),
            packages,
        })
    }

    /// Where a release build leaves the binary `name`.
    pub(crate) fn release_binary(&self, name: &str) -> PathBuf {
        self.target
            .join("release")
            .join(name)
            .with_extension(std::env::consts::EXE_EXTENSION)
    }
}

impl Package {
    fn read(package: &Value) -> Result<Package> {
        let dependencies = array(package, "dependencies")?
            .iter()
            .map(Dependency::read)
            .collect::<Result<_>>()?;
        Ok(Package {
            name: text(package, "name")?,
            // null is every registry, an empty list none.
            is_published: package["publish"].is_null(),
            dependencies,
        })
    }
}

impl Dependency {
    fn read(dependency: &Value) -> Result<Dependency> {
        // `kind` is null for a normal dependency, else "dev" or "build".
        Ok(Dependency {
            name: text(dependency, "name")?,
            dev: dependency["kind"] == "dev",
            optional: dependency["optional"] == true,
        })
    }
}

/// The cargo that started us, so that every command uses one toolchain.
pub(crate) fn cargo_path() -> PathBuf {
    std::env::var_os("CARGO")
        .unwrap_or_else(|| "cargo".into())
        .into()
}

fn text(value: &Value, field: &str) -> Result<String> {
    let text = value[field]
        .as_str()
        .with_context(|| format!("no `{field}` in cargo's metadata"))?;
    Ok(text.to_owned())
}

fn array<'a>(value: &'a Value, field: &str) -> Result<&'a Vec<Value>> {
    value[field]
        .as_array()
        .with_context(|| format!("no `{field}` in cargo's metadata"))
}
