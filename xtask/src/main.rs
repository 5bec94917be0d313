//! The project's chores, on the command line: `cargo xtask help`.

mod test;

mod steps;

mod circles;
mod layers;
mod links;

mod fuzz;
mod semver;
mod web;

mod programs;

mod run;
mod tools;
mod workspace;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::run::cargo;
use crate::steps::STEPS;
use crate::test::Selection;
use crate::workspace::Workspace;

/// The longest run of presence-load or presence-chaos; one that takes longer hangs.
const LOAD_TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// The chores of Presence. Run them from anywhere in the repository
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = more_help())]
struct Args {
    #[command(subcommand)]
    chore: Option<Chore>,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything, in order; stops at the first failure. CI runs the same
    #[command(visible_alias = "ci", after_help = steps_help())]
    Test(Selection),
    /// Benchmarks of the core; ARGS go to criterion
    Bench {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Runs presence-load with ARGS against a release gateway on a free port
    #[command(disable_help_flag = true)]
    Load {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Breaks a cluster on purpose and looks at what people see; --help lists how
    #[command(disable_help_flag = true)]
    Chaos {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// A cluster on this machine, and ways to break it
    #[command(disable_help_flag = true)]
    Cluster {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Plays scripts of faults against a cluster in virtual time, in a release build: there are many
    Simulate {
        /// How many scripts
        #[arg(long, value_name = "N")]
        seeds: Option<u64>,
        /// The seed of the first one
        #[arg(long, value_name = "S")]
        seed: Option<u64>,
    },
    /// Feeds decoders with nonsense; needs cargo-fuzz and a C++ compiler
    Fuzz(fuzz::Wanted),
    /// Bundles the browser packages into what the gateway serves; commit what it writes
    Web,
    /// Licences, bans, sources and advisories of dependencies; needs cargo-deny
    Deny {
        /// Which of them; all if none is named
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        checks: Vec<String>,
    },
    /// Changes of the public API that would break its users, since the commit in xtask/semver-baseline; needs cargo-semver-checks
    Semver {
        /// More for cargo-semver-checks
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Args::parse().chore {
        Some(chore) => perform(&chore),
        None => Args::command()
            .print_help()
            .map(|()| ExitCode::SUCCESS)
            .map_err(anyhow::Error::from),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nxtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(chore: &Chore) -> Result<ExitCode> {
    let workspace = &Workspace::read()?;
    match chore {
        Chore::Test(selection) => return test::test(workspace, selection),
        Chore::Bench { args } => bench(workspace, args)?,
        Chore::Load { args } => programs::load(workspace, args, LOAD_TIME_MAX)?,
        Chore::Chaos { args } => programs::chaos(workspace, args, LOAD_TIME_MAX)?,
        Chore::Cluster { args } => programs::cluster(workspace, args)?,
        Chore::Simulate { seeds, seed } => simulate(workspace, *seeds, *seed)?,
        Chore::Fuzz(wanted) => fuzz::fuzz(workspace, wanted)?,
        Chore::Web => web::bundle(workspace)?,
        Chore::Deny { checks } => deny(workspace, checks)?,
        Chore::Semver { args } => semver::check(workspace, args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn more_help() -> String {
    format!(
        "\
A cluster on this machine:

{}
{}

Needed: a Rust toolchain with rustfmt and clippy. `web`, `browser` and `stock` also need Node 20 or newer,
`browser` a Chromium (on PATH or named by $CHROMIUM; installed with apt-get where that is possible)
and the npm registry, once. `unit`, `chaos` and `cluster` need Redis 7 or newer, installed likewise; `deploy` and
`contract` need Python 3.10 or newer with venv, and PyPI once, and so do `unit` and `cluster` where no `mongod` is on PATH.
cargo-nextest is used where it is installed.
Whatever is missing fails its step and says how to get it; nothing is skipped.",
        programs::CLUSTER_HELP,
        steps_help()
    )
}

fn steps_help() -> String {
    let mut text = String::from("Steps of `test`; --quick runs those marked *:\n");
    for step in STEPS {
        let mark = if step.quick { '*' } else { ' ' };
        text += &format!("\n{mark} {:<9} {}", step.name, step.about);
    }
    text
}

fn bench(workspace: &Workspace, args: &[String]) -> Result<()> {
    let command = cargo(workspace, "bench --locked --package presence-core");
    // Only bench targets: libtest's own harness would not know criterion's arguments.
    Ok(command.args(["--bench", "*", "--"]).args(args).run()?)
}

fn simulate(workspace: &Workspace, seeds: Option<u64>, seed: Option<u64>) -> Result<()> {
    let mut command = cargo(
        workspace,
        "test --release --locked --package presence-core --test it -- --exact --nocapture",
    );
    command = command.arg("simulation::whatever_fails_every_promise_holds");
    for (variable, number) in [("PRESENCE_SEEDS", seeds), ("PRESENCE_SEED", seed)] {
        if let Some(number) = number {
            command = command.env(variable, number.to_string());
        }
    }
    Ok(command.run()?)
}

fn deny(workspace: &Workspace, checks: &[String]) -> Result<()> {
    tools::cargo_deny(workspace)?;
    Ok(cargo(workspace, "deny --locked check").args(checks).run()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_makes_sense_to_clap() {
        Args::command().debug_assert();
    }

    #[test]
    fn what_follows_a_program_goes_to_the_program() {
        for (line, expected) in [
            ("load --help", "--help"),
            ("load -- smoke --runs 2", "smoke --runs 2"),
            (
                "chaos --short --seed 1 --only 2",
                "--short --seed 1 --only 2",
            ),
            (
                "cluster up --redis=none --detach",
                "up --redis=none --detach",
            ),
            ("bench -- --quick users", "--quick users"),
            ("deny advisories", "advisories"),
            ("semver --verbose", "--verbose"),
        ] {
            let words = ["cargo xtask"].into_iter().chain(line.split(' '));
            let args = match Args::try_parse_from(words).map(|it| it.chore) {
                Ok(Some(
                    Chore::Bench { args }
                    | Chore::Load { args }
                    | Chore::Chaos { args }
                    | Chore::Cluster { args }
                    | Chore::Semver { args }
                    | Chore::Deny { checks: args },
                )) => args,
                other => panic!("{line}: {:?}", other.err()),
            };
            assert_eq!(args.join(" "), expected, "{line}");
        }
    }
}
