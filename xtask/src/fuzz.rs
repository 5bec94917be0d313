//! `cargo xtask fuzz`: cargo-fuzz on every place where bytes of strangers come in.

use std::fs;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::run::cargo;
use crate::tools;
use crate::workspace::Workspace;

/// The fuzz targets, a workspace of their own. Relative to the root.
const FOLDER: &str = "crates/presence-gateway/fuzz";

/// The longest input that is tried: what a frame or a body may have, and a little more.
const BYTES_MAX: u64 = 70_000;

/// Which fuzz targets to run, and for how long.
#[derive(Args)]
pub(crate) struct Wanted {
    /// Which decoders; all if none is named
    targets: Vec<String>,
    /// How long each target runs, in seconds
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
}

/// Runs the targets that are `wanted` one after the other. What is found is below `artifacts` in the folder; copied
/// to `seeds`, it is read once more by every run of the tests.
///
/// # Errors
///
/// A target crashed, or something is missing or unknown.
pub(crate) fn fuzz(workspace: &Workspace, wanted: &Wanted) -> Result<()> {
    let all = targets(workspace)?;
    let chosen = chosen(&wanted.targets, &all)?;
    tools::cargo_fuzz(workspace)?;
    for target in chosen {
        let corpus = workspace.root.join(FOLDER).join("corpus").join(target);
        fs::create_dir_all(&corpus)
            .with_context(|| format!("cannot create {}", corpus.display()))?;
        // Coverage is counted by a stable compiler, too; sanitizers would need another one, and there is no unsafe code.
        let command = cargo(workspace, "fuzz run --sanitizer none --fuzz-dir");
        let command = command.args([FOLDER, target]).arg(corpus);
        let command = command.arg(workspace.root.join(FOLDER).join("seeds").join(target));
        let time = format!("-max_total_time={}", wanted.seconds);
        let length = format!("-max_len={BYTES_MAX}");
        command.args(["--", &time, &length]).run()?;
    }
    Ok(())
}

/// The names of all targets.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.root.join(FOLDER).join("fuzz_targets");
    let entries = folder
        .read_dir()
        .with_context(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Those of `all` that are named, or all.
fn chosen<'a>(named: &'a [String], all: &'a [String]) -> Result<Vec<&'a str>> {
    if let Some(name) = named.iter().find(|name| !all.contains(name)) {
        bail!("no target `{name}`; there are {}", all.join(", "));
    }
    let chosen = if named.is_empty() { all } else { named };
    Ok(chosen.iter().map(String::as_str).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_targets_run_unless_some_are_named() {
        let all = ["cable", "token"].map(str::to_owned);
        assert_eq!(chosen(&[], &all).unwrap(), ["cable", "token"]);
        assert_eq!(chosen(&["token".to_owned()], &all).unwrap(), ["token"]);
        let error = chosen(&["tokens".to_owned()], &all).unwrap_err();
        assert!(error.to_string().contains("no target `tokens`"), "{error}");
    }
}
