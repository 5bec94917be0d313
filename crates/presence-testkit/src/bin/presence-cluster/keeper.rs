//! Keeps a cluster: does what it is asked to, says who has died, and ends everything at the end.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use presence_testkit::cluster::{Cluster, Part, table};
use presence_testkit::process::State;
use presence_testkit::redis::Redis;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::socket::{CommandSocket, Visit};

/// How often to look for a command, a signal or a death.
const EVERY: Duration = Duration::from_millis(50);

/// What is said once everything runs.
pub(super) const READY: &str = "\nready\n";

/// Keeps `cluster` until it shall end.
///
/// # Errors
///
/// It did not end well. It is gone in any case.
pub(super) fn keep(mut cluster: Cluster, socket: &CommandSocket, folder: &Path) -> Result<()> {
    let told_to_end = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, told_to_end.clone())?;
    }
    println!("\n{}{READY}", overview(&mut cluster, folder));
    let mut there = who_is_there(&mut cluster);
    let mut last = None;
    while !told_to_end.load(Ordering::Relaxed) {
        for part in &there {
            if cluster.process_mut(*part).state() == State::Gone {
                let process = cluster.process(*part);
                println!(
                    "{} has ended by itself\n{}",
                    process.name(),
                    process.log_end()
                );
            }
        }
        if let Some(mut visit) = socket.visit() {
            if visit.words.first().is_some_and(|word| word == "down") {
                last = Some(visit);
                break;
            }
            let done = answer(&mut cluster, &mut visit, folder);
            visit.end(done);
        }
        there = who_is_there(&mut cluster);
        thread::sleep(EVERY);
    }
    println!("ending ...");
    let ended = cluster.stop();
    // Whoever waits for the end shall find nothing.
    let _ = std::fs::remove_dir_all(folder);
    match last {
        None => ended,
        Some(visit) => {
            visit.end(ended);
            Ok(())
        }
    }
}

fn who_is_there(cluster: &mut Cluster) -> Vec<Part> {
    let parts = cluster.parts().into_iter();
    parts
        .filter(|part| cluster.process_mut(*part).state() != State::Gone)
        .collect()
}

fn overview(cluster: &mut Cluster, folder: &Path) -> String {
    let mut text = table(&cluster.rows());
    if let Some(redis) = &cluster.redis {
        text += &format!("\nREDIS_URL={}\n", redis.url());
    }
    if let Some(mongo) = &cluster.mongo {
        text += &format!("MONGODB_URI={}\n", mongo.uri());
    }
    if let Some(gateway) = cluster.gateways.first() {
        text += &format!(
            "the page, the same on every gateway: http://{}/\n",
            gateway.address()
        );
    }
    text += &format!(
        "logs: {}; break something: `cargo xtask help`\n",
        folder.display()
    );
    text += "end it with Ctrl-C or `cargo xtask cluster down`\n";
    text
}

/// Does what a visitor wants.
fn answer(cluster: &mut Cluster, visit: &mut Visit, folder: &Path) -> Result<()> {
    let words = visit.words.clone();
    let (command, rest) = words.split_first().context("there is no command")?;
    match command.as_str() {
        "status" => visit.say(&overview(cluster, folder)),
        "logs" => {
            let what = if rest.is_empty() {
                &["all".to_owned()]
            } else {
                rest
            };
            for part in cluster.find(what)? {
                visit.say(&cluster.process(part).log_end());
            }
        }
        "restart" => restart(cluster, rest, &mut |text| visit.say(text))?,
        "kill" => {
            for part in cluster.find(rest)? {
                let process = cluster.process_mut(part);
                process.kill()?;
                visit.say(&format!("{} is killed\n", process.name()));
            }
        }
        "pause" => {
            for part in cluster.find(rest)? {
                let process = cluster.process_mut(part);
                process.pause()?;
                visit.say(&format!("{} is paused\n", process.name()));
            }
        }
        "resume" => {
            for part in cluster.find(rest)? {
                let process = cluster.process_mut(part);
                process.resume()?;
                visit.say(&format!("{} goes on\n", process.name()));
            }
        }
        "failover" => {
            for part in cluster.find(rest)? {
                let (Part::Redis(master), Some(redis)) = (part, &mut cluster.redis) else {
                    bail!("{} is no Redis node", cluster.process(part).name());
                };
                let new = redis.fail_over(master)?;
                visit.say(&format!("{} has taken over\n", name(redis, new)));
            }
        }
        other => bail!("the cluster does not know `{other}`"),
    }
    Ok(())
}

fn name(redis: &Redis, node: usize) -> &str {
    redis.nodes()[node].process.name()
}

/// Asks parts to go and starts them again: all at once, or with `--rolling` one after the other.
fn restart(cluster: &mut Cluster, words: &[String], say: &mut dyn FnMut(&str)) -> Result<()> {
    let is_rolling = words.iter().any(|word| word == "--rolling");
    let mut what: Vec<_> = words
        .iter()
        .filter(|word| *word != "--rolling")
        .cloned()
        .collect();
    if what.is_empty() {
        what.push("gateways".to_owned());
    }
    let parts = cluster.find(&what)?;
    let steps: Vec<&[Part]> = if is_rolling {
        parts.chunks(1).collect()
    } else {
        vec![&parts]
    };
    for step in steps {
        for part in step {
            cluster.process_mut(*part).ask_to_go()?;
        }
        for part in step {
            cluster.end(*part)?;
        }
        for part in step {
            cluster.start_again(*part)?;
            say(&format!(
                "{} is there again\n",
                cluster.process(*part).name()
            ));
        }
    }
    Ok(())
}
