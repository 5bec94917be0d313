//! Plays scripts on all cores, and makes one that fails as short as it gets.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::planted::Planted;
use super::script::Script;
use super::world::{Broken, World};

/// How often a script is tried to be made shorter.
const TRIES_MAX: usize = 4_000;
/// With how many delays each shorter script is tried.
const DELAYS_TRIED: u64 = 6;
const LOG_LINES_MAX: usize = 250;

/// Plays `script`; says which promise was broken, if one was.
pub(super) fn play(script: &Script) -> Option<Broken> {
    let mut world = World::new(script, false);
    world.play();
    world.broken
}

/// Plays the scripts of `seeds` until one fails: the first of those that were found.
pub(super) fn first_failing(seeds: Range<u64>, planted: Planted) -> Option<Script> {
    let next = AtomicU64::new(seeds.start);
    let failing: Mutex<Option<Script>> = Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failing.lock().unwrap().is_some() {
                        return;
                    }
                    let mut script = Script::of(seed);
                    script.planted = planted;
                    if play(&script).is_some() {
                        failing.lock().unwrap().get_or_insert(script);
                    }
                }
            });
        }
    });
    failing.into_inner().unwrap()
}

/// Leaves out of a failing script whatever it fails without, and tells what is left.
pub(super) fn shrink(script: Script) -> String {
    let Some(first) = play(&script) else {
        return "it does not fail".to_owned();
    };
    let (seed, steps) = (script.seed, script.steps.len());
    let script = shortened(script, first.invariant);
    let mut world = World::new(&script, true);
    world.play();
    let broken = world.broken.unwrap_or(first);
    let log = world.log.unwrap_or_default();
    let skipped = log.len().saturating_sub(LOG_LINES_MAX);
    format!(
        "seed {seed} breaks {}: {}\n\nwith {} of {steps} steps, and the delays of {}: {script}\nas code:\n{}\nwhat happens (the last {} lines):\n{}\n\nplay it again with PRESENCE_SEED={seed}",
        broken.invariant,
        broken.how,
        script.steps.len(),
        script.seed,
        script.as_code(),
        log.len() - skipped,
        log[skipped..].join("\n"),
    )
}

/// The shortest script that was found that breaks `invariant` like `script`. With fewer steps other delays are drawn, so each
/// part is left out with several delays.
fn shortened(mut script: Script, invariant: &str) -> Script {
    let mut tries = 0;
    let mut is_broken = |shorter: &mut Script| {
        let seed = shorter.seed;
        (0..DELAYS_TRIED).any(|other| {
            shorter.seed = seed + other * (1 << 32);
            tries += 1;
            tries < TRIES_MAX && play(shorter).is_some_and(|it| it.invariant == invariant)
        })
    };
    let mut calmer = script.clone();
    calmer.returns_ms.fill(None);
    if is_broken(&mut calmer) {
        script = calmer;
    }
    for node in 0..script.skews_ms.len() {
        let mut calmer = script.clone();
        calmer.skews_ms[node] = 0;
        if script.skews_ms[node] != 0 && is_broken(&mut calmer) {
            script = calmer;
        }
    }
    let mut length = script.steps.len() / 2;
    while length > 0 {
        let mut start = 0;
        let mut is_shorter = false;
        while start < script.steps.len() {
            let mut shorter = script.clone();
            let end = (start + length).min(shorter.steps.len());
            shorter.steps.drain(start..end);
            if is_broken(&mut shorter) {
                script = shorter;
                is_shorter = true;
            } else {
                start += length;
            }
        }
        if !is_shorter || length > 1 {
            length /= 2;
        }
    }
    script
}
