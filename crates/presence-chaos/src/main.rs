//! `presence-chaos`: breaks a cluster on purpose, and compares what people see with what is true.
//!
//! Clients are real ones, and ground truth is the sockets that they hold, computed here and nowhere else. A scenario
//! is plain code that waits; clients live on a runtime beside it. What watchers are told goes into a journal, and the
//! checker, which is pure, says afterwards what was wrong with it.
//!
//! It is one program, because it drives clients *and* breaks processes in one timeline:
//! apart, the two halves would have to tell each other what they are doing and when.

mod journal;

mod check;
mod truth;

mod crowd;
mod explained;
mod shared;
mod told;
mod virtual_user;

mod report;
mod stage;

mod scenarios;

mod random;

mod args;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::args::Task;
use crate::random::play::Wish;
use crate::random::recipes::Recipe;
use crate::report::{Figure, table};
use crate::scenarios::Scenario;
use crate::stage::{Stage, Wanted};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args::read(&args) {
        Ok(None) => {
            print!("{}", args::help());
            ExitCode::SUCCESS
        }
        Ok(Some(args)) => run(&args.wanted, &args.tasks),
        Err(error) => {
            eprintln!("presence-chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The result of one scenario.
enum Outcome {
    Held,
    Broken(usize),
    Failed,
}

fn run(wanted: &Wanted, tasks: &[Task]) -> ExitCode {
    println!("seed {}", wanted.seed);
    fastrand::seed(wanted.seed);
    let mut ended = Vec::new();
    for task in tasks {
        let start = Instant::now();
        let (name, outcome) = match task {
            Task::Scenario(scenario) => (scenario.name, play(wanted, scenario)),
            Task::Recipe(recipe) => (recipe.name, cook(wanted, recipe)),
            Task::Random(seed, wish) => ("random", roll(wanted, *seed, wish)),
        };
        ended.push((name, outcome, start.elapsed()));
    }
    println!("\n{}", summary(&ended));
    match ended
        .iter()
        .all(|(_, outcome, _)| matches!(outcome, Outcome::Held))
    {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Plays one scenario and prints its figures.
fn play(wanted: &Wanted, scenario: &Scenario) -> Outcome {
    let number = scenario.number.map_or(String::new(), |it| format!("{it} "));
    println!("\n=== {number}{}: {}", scenario.name, scenario.about);
    let mut stage = match Stage::open(wanted, scenario) {
        Ok(stage) => stage,
        Err(error) => {
            println!("FAILED before it began: {error:#}");
            return Outcome::Failed;
        }
    };
    let done = (scenario.run)(&mut stage);
    let stopped = done.and_then(|()| stop(&mut stage));
    print!("{}", table(&stage.figures));
    let broken = stage.figures.iter().filter(|it| !it.holds()).count();
    let outcome = match (stopped, broken) {
        (Err(error), _) => {
            println!("FAILED: {error:#}");
            Outcome::Failed
        }
        (Ok(()), 0) => return Outcome::Held,
        (Ok(()), broken) => Outcome::Broken(broken),
    };
    println!("logs are in {}", stage.folder.path().display());
    stage.folder.keep();
    outcome
}

/// Plays one recipe as often as wanted, and prints what was wrong.
fn cook(wanted: &Wanted, recipe: &Recipe) -> Outcome {
    println!("\n=== {}: {}", recipe.name, recipe.about);
    let (mut wrong, mut failed) = (0, 0);
    for time in 1..=wanted.times {
        let start = Instant::now();
        let verdict = match recipe.play(wanted) {
            Ok(found) if found.is_empty() => "right".to_owned(),
            Ok(found) => {
                wrong += 1;
                format!("WRONG: {}", found.join("; "))
            }
            Err(error) => {
                failed += 1;
                format!("FAILED: {error:#}")
            }
        };
        let took = start.elapsed().as_secs_f64();
        println!("  {time} of {} ({took:.0} s): {verdict}", wanted.times);
    }
    println!("  wrong {wrong} of {}, failed {failed}", wanted.times);
    match (wrong, failed) {
        (0, 0) => Outcome::Held,
        (wrong, 0) => Outcome::Broken(wrong),
        _ => Outcome::Failed,
    }
}

/// Plays the plan of a seed, and prints what was wrong.
fn roll(wanted: &Wanted, seed: u64, wish: &Wish) -> Outcome {
    let wanted = Wanted {
        seed: wanted.seed + seed,
        ..wanted.clone()
    };
    fastrand::seed(wanted.seed);
    match random::play::play(&wanted, wish) {
        Ok(0) => Outcome::Held,
        Ok(wrong) => Outcome::Broken(wrong),
        Err(error) => {
            println!("FAILED: {error:#}");
            Outcome::Failed
        }
    }
}

/// Ends every gateway, and looks whether one panicked.
fn stop(stage: &mut Stage) -> Result<()> {
    let mut panics = 0;
    for gateway in &mut stage.cluster.gateways {
        gateway.process.ask_to_go()?;
    }
    for gateway in &mut stage.cluster.gateways {
        gateway.wait_stopped()?;
        let log = std::fs::read_to_string(gateway.process.log_file())?;
        panics += log.lines().filter(|line| line.contains("panicked")).count();
    }
    stage.add(Figure::never("", "panics", panics));
    let late = stage.late_ms();
    stage.interest("the machine was late by, at most", late, "ms");
    Ok(())
}

fn summary(ended: &[(&str, Outcome, Duration)]) -> String {
    let mut text = String::new();
    for (name, outcome, took) in ended {
        let word = match outcome {
            Outcome::Held => "held".to_owned(),
            Outcome::Broken(figures) => format!("BROKEN ({figures})"),
            Outcome::Failed => "FAILED".to_owned(),
        };
        text += &format!("  {name:<17} {word:<12} {:>7.1} s\n", took.as_secs_f64());
    }
    let held = ended
        .iter()
        .filter(|(_, outcome, _)| matches!(outcome, Outcome::Held))
        .count();
    text + &format!("{held} held, {} did not\n", ended.len() - held)
}
