//! `cargo xtask test`: runs the steps in order, times them and sums up.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::steps::{STEPS, Step};
use crate::workspace::Workspace;

/// Which steps to run, and how thoroughly.
#[derive(Args)]
pub(crate) struct Selection {
    /// Leaves out what is slow, and end-to-end tests: before every commit
    #[arg(long)]
    pub(crate) quick: bool,
    /// One step, and no other; may be repeated
    #[arg(long, value_name = "STEP")]
    pub(crate) only: Vec<String>,
}

/// The result of a step.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Passed(Duration),
    Failed(Duration),
    NotRun,
}

/// Runs the selected steps up to the first that fails.
///
/// The last line printed is `N passed, N failed`, counting steps.
///
/// # Errors
///
/// The selection names a step that does not exist; nothing has run.
pub(crate) fn test(workspace: &Workspace, selection: &Selection) -> Result<ExitCode> {
    let steps = selected(selection)?;
    if !selection.quick && selection.only.is_empty() {
        // The whole gate compiles each crate once. Incremental data would double the disk that it needs.
        workspace.shell.set_var("CARGO_INCREMENTAL", "0");
    }
    let mut outcomes = Vec::new();
    let mut failure = None;
    for step in &steps {
        if failure.is_some() {
            outcomes.push(Outcome::NotRun);
            continue;
        }
        println!("\n=== {}: {}", step.name, step.about);
        let start = Instant::now();
        let result = (step.run)(workspace, selection.quick);
        let took = start.elapsed();
        match result {
            Ok(()) => {
                println!("=== {} passed in {}", step.name, seconds(took));
                outcomes.push(Outcome::Passed(took));
            }
            Err(error) => {
                println!("=== {} failed after {}", step.name, seconds(took));
                outcomes.push(Outcome::Failed(took));
                failure = Some((step.name, error));
            }
        }
    }

    println!("\n{}", table(&steps, &outcomes));
    if let Some((name, error)) = &failure {
        let quick = if selection.quick { " --quick" } else { "" };
        println!("{name} failed: {error:#}");
        println!("to run only this step again: cargo xtask test{quick} --only {name}\n");
    }
    println!("{}", closing_line(&outcomes));
    Ok(match failure {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

fn selected(selection: &Selection) -> Result<Vec<&'static Step>> {
    for name in &selection.only {
        if !STEPS.iter().any(|step| step.name == name) {
            let known: Vec<_> = STEPS.iter().map(|step| step.name).collect();
            bail!("no step `{name}`; there are {}", known.join(", "));
        }
    }
    let steps: Vec<_> = STEPS
        .iter()
        .filter(|step| {
            selection.only.is_empty() || selection.only.iter().any(|name| name == step.name)
        })
        .filter(|step| step.quick || !selection.quick)
        .collect();
    if steps.is_empty() {
        bail!("--quick leaves out {}", selection.only.join(", "));
    }
    Ok(steps)
}

fn table(steps: &[&Step], outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    let mut total = Duration::ZERO;
    for (step, outcome) in steps.iter().zip(outcomes) {
        let (word, took) = match *outcome {
            Outcome::Passed(took) => ("passed", took),
            Outcome::Failed(took) => ("FAILED", took),
            Outcome::NotRun => {
                text += &format!("  {:<9} not run\n", step.name);
                continue;
            }
        };
        total += took;
        text += &format!("  {:<9} {word:<8} {:>9}\n", step.name, seconds(took));
    }
    text += &format!("  {:<18} {:>9}\n", "together", seconds(total));
    text
}

fn closing_line(outcomes: &[Outcome]) -> String {
    let passed = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Passed(_)))
        .count();
    let failed = outcomes
        .iter()
        .filter(|outcome| matches!(outcome, Outcome::Failed(_)))
        .count();
    format!("{passed} passed, {failed} failed")
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(quick: bool, only: &[&str]) -> Result<Vec<&'static str>, String> {
        let only = only.iter().map(|name| (*name).to_owned()).collect();
        selected(&Selection { quick, only })
            .map(|steps| steps.iter().map(|step| step.name).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn all_steps_run_unless_some_are_named() {
        assert_eq!(select(false, &[]).unwrap().len(), STEPS.len());
        assert_eq!(select(false, &["docs", "fmt"]).unwrap(), ["fmt", "docs"]);
    }

    #[test]
    fn a_selection_that_would_test_nothing_is_an_error() {
        assert!(
            select(false, &["fnt"])
                .unwrap_err()
                .contains("no step `fnt`")
        );
        assert_eq!(
            select(true, &["browser"]).unwrap_err(),
            "--quick leaves out browser"
        );
    }

    #[test]
    fn the_closing_line_counts_what_ran() {
        let took = Duration::from_secs(1);
        let outcomes = [
            Outcome::Passed(took),
            Outcome::Failed(took),
            Outcome::NotRun,
        ];
        assert_eq!(closing_line(&outcomes), "1 passed, 1 failed");
    }
}
