//! The project's chores, on the command line: `cargo xtask help`.

mod test;

mod steps;

mod layers;
mod links;

mod checks;
mod web;

mod chaos;
mod cluster;
mod fuzz;
mod load;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use presence_testkit::run::{cargo, run};
use presence_testkit::tools;
use presence_testkit::workspace::Workspace;

use crate::steps::STEPS;
use crate::test::Selection;

/// Longer than any soak.
const LOAD_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<ExitCode> {
    let (command, rest) = match args.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", args),
    };
    if command != "chaos" && rest.first().is_some_and(|arg| arg == "--help") {
        print!("{}", help());
        return Ok(ExitCode::SUCCESS);
    }
    match command {
        "help" | "-h" | "--help" => print!("{}", help()),
        "test" | "ci" => return test::test(&Workspace::read()?, &selection(rest)?),
        "bench" => bench(&Workspace::read()?, passed_on(rest))?,
        "load" => load::load(&Workspace::read()?, passed_on(rest), LOAD_TIME_MAX)?,
        "chaos" => chaos::chaos(&Workspace::read()?, passed_on(rest), LOAD_TIME_MAX)?,
        "cluster" => cluster::cluster(&Workspace::read()?, rest)?,
        "simulate" => simulate(&Workspace::read()?, rest)?,
        "fuzz" => fuzz::fuzz(&Workspace::read()?, rest)?,
        "web" => web::bundle(&Workspace::read()?)?,
        "deny" => deny(&Workspace::read()?, passed_on(rest))?,
        other => bail!("no command `{other}`; `cargo xtask help` lists them"),
    }
    Ok(ExitCode::SUCCESS)
}

fn help() -> String {
    let mut text = String::from(
        "\
The chores of Presence. Run them from anywhere in the repository.

  cargo xtask test                everything, in order; stops at the first failure
  cargo xtask test --quick        the steps marked * and no end-to-end tests: before every commit
  cargo xtask test --only STEP    one step; may be repeated
  cargo xtask ci                  the same as `test`; what CI runs
  cargo xtask bench [-- ARGS]     benchmarks of the core; ARGS go to criterion
  cargo xtask load [ARGS]         a release gateway on a free port, and presence-load against it with ARGS
  cargo xtask chaos [ARGS]        breaks a cluster on purpose and looks at what people see; --help lists how
  cargo xtask simulate [--seeds N] [--seed S]   a cluster in virtual time: N scripts of faults, from S on
  cargo xtask fuzz [TARGET]... [--seconds N]    feeds decoders with nonsense, N seconds each (needs cargo-fuzz and a C++ compiler)
  cargo xtask web                 bundles the browser packages into what the gateway serves; commit what it writes
  cargo xtask deny [CHECKS]       licences, bans, sources and advisories of dependencies (needs cargo-deny)

A cluster on this machine:

",
    );
    text += cluster::HELP;
    text += "\nSteps of `test`:\n\n";
    for step in STEPS {
        let mark = if step.quick { '*' } else { ' ' };
        text += &format!("{mark} {:<9} {}\n", step.name, step.about);
    }
    text += "
Needed: a Rust toolchain with rustfmt and clippy. `web`, `browser` and `stock` also need Node 20 or newer,
`browser` a Chromium (on PATH or named by $CHROMIUM; installed with apt-get where that is possible)
and the npm registry, once. `unit`, `chaos` and `cluster` need Redis 7 or newer, installed likewise; `deploy` and
`contract` need Python 3.10 or newer with venv, and PyPI once, and so do `unit` and `cluster` where no `mongod` is on PATH. cargo-nextest is used where it is installed.
Whatever is missing fails its step and says how to get it; nothing is skipped.
";
    text
}

/// Which steps `test` is asked for.
fn selection(args: &[String]) -> Result<Selection> {
    let mut selection = Selection::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => selection.quick = true,
            "--only" => match args.next() {
                Some(step) => selection.only.push(step.clone()),
                None => bail!("--only needs the name of a step"),
            },
            other => match other.strip_prefix("--only=") {
                Some(step) => selection.only.push(step.to_owned()),
                None => bail!("`test` knows --quick and --only STEP, not `{other}`"),
            },
        }
    }
    Ok(selection)
}

/// What follows the command, without the `--` that may stand before it.
fn passed_on(args: &[String]) -> &[String] {
    match args.split_first() {
        Some((first, rest)) if first == "--" => rest,
        _ => args,
    }
}

fn bench(workspace: &Workspace, args: &[String]) -> Result<()> {
    let mut command = cargo(workspace, "bench --locked --package presence-core");
    // Only bench targets: libtest's own harness would not know criterion's arguments.
    run(command.args(["--bench", "*", "--"]).args(args))
}

/// Plays scripts of faults in the simulator of the core, in a release build: there are many.
fn simulate(workspace: &Workspace, args: &[String]) -> Result<()> {
    let mut command = cargo(
        workspace,
        "test --release --locked --package presence-core --test it -- --exact --nocapture",
    );
    command.arg("simulation::whatever_fails_every_promise_holds");
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let variable = match arg.as_str() {
            "--seeds" => "PRESENCE_SEEDS",
            "--seed" => "PRESENCE_SEED",
            other => bail!("`simulate` knows --seeds N and --seed S, not `{other}`"),
        };
        match args.next().map(|number| number.parse::<u64>()) {
            Some(Ok(number)) => command.env(variable, number.to_string()),
            _ => bail!("{arg} needs a whole number"),
        };
    }
    run(&mut command)
}

fn deny(workspace: &Workspace, checks: &[String]) -> Result<()> {
    tools::cargo_deny(workspace)?;
    run(cargo(workspace, "deny --locked check").args(checks))
}
