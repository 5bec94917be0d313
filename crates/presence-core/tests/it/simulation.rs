//! Several nodes, a store that does all that a store may do, clients that come and go, and a verdict on every promise.
//!
//! `PRESENCE_SEED=7` plays one script again, `PRESENCE_SEEDS=100000` plays more of them. `PRESENCE_SHRINK=1` has the tests of
//! planted faults print how each is caught.

mod acts;
mod caught;
mod client;
mod driver;
mod faults;
mod found;
mod machines;
mod planted;
mod process;
mod script;
mod shrink;
mod store;
mod truth;
mod verdict;
mod view;
mod world;

use presence_core::{ChannelId, Topic, WorkspaceId};

use self::planted::Planted;
use self::script::ROOMS;
use self::shrink::{play, shrink};

/// When it all begins, by a clock that is right.
const START: u64 = 1_764_000_000_000;
const SEEDS: u64 = 10_000;

fn topic(number: usize) -> Topic {
    match number < ROOMS {
        true => Topic::Channel(ChannelId::new(&format!("room:{number}")).unwrap()),
        false => Topic::Workspace(WorkspaceId::new("acme").unwrap()),
    }
}

#[test]
fn whatever_fails_every_promise_holds() {
    let number = |name| {
        let text = std::env::var(name).ok();
        text.map(|it: String| it.parse().unwrap())
    };
    let seeds = match (number("PRESENCE_SEED"), number("PRESENCE_SEEDS")) {
        (Some(seed), Some(seeds)) => seed..seed + seeds,
        (Some(seed), None) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(SEEDS),
    };
    if let Some(failing) = shrink::first_failing(seeds, Planted::Nothing) {
        panic!("{}", shrink(failing));
    }
}

/// In how many scripts a planted fault has to be found.
const FOUND_WITHIN: u64 = 300;

/// Searches random scripts. Faults that few of those meet have scripts of their own, in `caught`.
fn is_caught(planted: Planted) {
    let found = shrink::first_failing(0..FOUND_WITHIN, planted);
    let mut script = found.unwrap_or_else(|| panic!("{planted:?} is not caught"));
    if std::env::var_os("PRESENCE_SHRINK").is_some() {
        println!("{}", shrink(script.clone()));
    }
    let broken = play(&script).unwrap();
    script.planted = Planted::Nothing;
    assert!(
        play(&script).is_none(),
        "it is not that which breaks {broken:?}"
    );
}

#[test]
fn a_late_leave_that_is_not_fenced_is_caught() {
    is_caught(Planted::RemovesUnfenced);
}

#[test]
fn a_lost_patch_without_comparison_is_caught() {
    is_caught(Planted::NeverCompares);
}

#[test]
fn a_reaper_that_dies_half_way_is_caught() {
    is_caught(Planted::ReaperDies);
}

#[test]
fn what_waits_to_be_saved_and_nobody_looks_for_is_caught() {
    is_caught(Planted::NobodySweeps);
}

#[test]
fn acknowledging_before_saving_is_caught() {
    is_caught(Planted::AcknowledgedFirst);
}

#[test]
fn a_note_that_is_written_after_the_entry_is_caught() {
    is_caught(Planted::NoteAfterEntry);
}

#[test]
fn a_write_after_its_deadline_is_caught() {
    is_caught(Planted::NoDeadlines);
}

#[test]
fn hiding_that_leaves_what_others_wrote_is_caught() {
    is_caught(Planted::HidesOwnOnly);
}
