//! `cargo xtask semver`: what has changed in the public API since the baseline, and would break a program that uses it.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::run::{answer, cargo};
use crate::tools;
use crate::workspace::Workspace;

/// The file with the commit to compare with. Relative to the root.
const BASELINE: &str = "xtask/semver-baseline";

/// Runs cargo-semver-checks on every crate that is meant for a registry; `args` go to it.
///
/// # Errors
///
/// Something would break, which is shown; or the tool, the file or its commit is missing.
pub(crate) fn check(workspace: &Workspace, args: &[String]) -> Result<()> {
    let file = workspace.root.join(BASELINE);
    let text = fs::read_to_string(file).with_context(|| format!("{BASELINE} cannot be read"))?;
    let baseline =
        baseline(&text).with_context(|| format!("{BASELINE} has no commit id of 40 digits"))?;
    let commit = format!("{baseline}^{{commit}}");
    let found = workspace.shell.cmd("git").args(["cat-file", "-e", &commit]);
    if answer(found).is_none() {
        bail!(
            "the commit {baseline} of {BASELINE} is not in this clone; get it with `git fetch --unshallow` or `git fetch origin {baseline}`"
        );
    }
    tools::cargo_semver_checks(workspace)?;
    let mut command = cargo(workspace, "semver-checks check-release --all-features");
    for it in workspace.packages.iter().filter(|it| it.is_published) {
        command = command.args(["--package", &it.name]);
    }
    Ok(command
        .args(["--baseline-rev", baseline])
        .args(args)
        .run()?)
}

/// The commit id: the first line that is no comment.
fn baseline(text: &str) -> Option<&str> {
    let mut lines = text.lines().map(str::trim);
    let id = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    let is_id = id.len() == 40 && id.bytes().all(|it| it.is_ascii_hexdigit());
    is_id.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_baseline_is_a_whole_commit_id() {
        let id = "c5b8716".repeat(6);
        let id = &id[..40];
        assert_eq!(baseline(&format!("# why\n\n{id}\n")), Some(id));
        assert_eq!(baseline(&format!("{}\n", &id[..7])), None);
        assert_eq!(baseline("main\n"), None);
        assert_eq!(baseline("# nothing\n"), None);
        let file = include_str!("../semver-baseline");
        assert!(baseline(file).is_some(), "{file}");
    }
}
