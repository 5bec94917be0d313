//! Random scripts, against a model that computes who should be seen where from plain lists, each time anew.
//!
//! `PRESENCE_SEED=7` plays one script again, `PRESENCE_SEEDS=100000` plays more of them; together they are the first
//! script and how many are played.

mod copy;
mod naive;
mod watchers;
mod world;

use self::world::World;

const SEEDS: u64 = 2000;
const STEPS: u64 = 100;

#[test]
fn whatever_happens_every_watcher_sees_the_truth() {
    let number = |name| {
        std::env::var(name)
            .ok()
            .map(|it: String| it.parse().unwrap())
    };
    let seeds = match (number("PRESENCE_SEED"), number("PRESENCE_SEEDS")) {
        (Some(seed), seeds) => seed..seed + seeds.unwrap_or(1),
        (None, seeds) => 0..seeds.unwrap_or(SEEDS),
    };
    for seed in seeds {
        World::play(seed, STEPS);
    }
}

#[test]
fn what_a_year_of_silence_leaves_is_nothing() {
    World::play(u64::MAX, 10 * STEPS);
}
