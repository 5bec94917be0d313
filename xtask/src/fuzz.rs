//! `cargo xtask fuzz`: cargo-fuzz on every place where bytes of strangers come in.

use std::fs;

use anyhow::{Context, Result, bail};
use presence_testkit::run::{cargo, run};
use presence_testkit::tools;
use presence_testkit::workspace::Workspace;

/// The fuzz targets, a workspace of their own. Relative to the root.
const FOLDER: &str = "crates/presence-gateway/fuzz";

/// How long each target runs if nobody says.
const SECONDS: u64 = 60;

/// The longest input that is tried: what a frame or a body may have, and a little more.
const BYTES_MAX: u64 = 70_000;

/// Runs the targets that `args` name, or all, one after the other. What is found is below `artifacts` in the folder; copied
/// to `seeds`, it is read once more by every run of the tests.
///
/// # Errors
///
/// A target crashed, or something is missing or unknown.
pub(crate) fn fuzz(workspace: &Workspace, args: &[String]) -> Result<()> {
    let all = targets(workspace)?;
    let (chosen, seconds) = chosen(args, &all)?;
    tools::cargo_fuzz(workspace)?;
    for target in chosen {
        let corpus = workspace.root.join(FOLDER).join("corpus").join(target);
        fs::create_dir_all(&corpus)
            .with_context(|| format!("cannot create {}", corpus.display()))?;
        // Coverage is counted by a stable compiler, too; sanitizers would need another one, and there is no unsafe code.
        let mut command = cargo(workspace, "fuzz run --sanitizer none --fuzz-dir");
        command.args([FOLDER, target]);
        command.arg(corpus);
        command.arg(workspace.root.join(FOLDER).join("seeds").join(target));
        command.arg("--");
        command.arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-max_len={BYTES_MAX}"));
        run(&mut command)?;
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

/// Which targets are asked for, and for how many seconds each.
fn chosen<'a>(args: &'a [String], all: &'a [String]) -> Result<(Vec<&'a str>, u64)> {
    let (mut chosen, mut seconds) = (Vec::new(), SECONDS);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => match args.next().map(|number| number.parse()) {
                Some(Ok(number)) if number > 0 => seconds = number,
                _ => bail!("--seconds needs a whole number"),
            },
            name if all.iter().any(|it| it == name) => chosen.push(name),
            other => bail!("no target `{other}`; there are {}", all.join(", ")),
        }
    }
    if chosen.is_empty() {
        chosen = all.iter().map(String::as_str).collect();
    }
    Ok((chosen, seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_targets_run_for_a_minute_unless_something_else_is_said() {
        let all = ["cable", "token"].map(str::to_owned);
        let said = |args: &[&str]| {
            let args: Vec<String> = args.iter().map(|&it| it.to_owned()).collect();
            let found = chosen(&args, &all).map(|(names, seconds)| format!("{names:?} {seconds}"));
            found.map_err(|why| why.to_string())
        };
        assert_eq!(said(&[]).unwrap(), r#"["cable", "token"] 60"#);
        assert_eq!(
            said(&["token", "--seconds", "5"]).unwrap(),
            r#"["token"] 5"#
        );
        assert!(
            said(&["tokens"])
                .unwrap_err()
                .contains("no target `tokens`")
        );
        assert!(said(&["--seconds", "0"]).is_err());
    }
}
