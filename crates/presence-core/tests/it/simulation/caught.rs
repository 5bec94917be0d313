//! Planted faults that few random scripts meet: for each a script that shows it at once, and holds without it.

use presence_core::Chosen;

use super::found::script;
use super::planted::Planted;
use super::script::What;
use super::shrink::{play, shrink};

const ANN: usize = 0;
const BOB: usize = 1;
const ANNS_TAB: usize = 0;
const ANNS_PHONE: usize = 2;
const BOBS_WEB: usize = 3;
const BOBS_DESKTOP: usize = 4;
const CATS_WEB: usize = 5;
const EVES_WEB: usize = 6;
const WORKSPACE: usize = 2;

/// Plays a script with `planted`, which it shows, and without.
#[track_caller]
fn shows<const N: usize>(planted: Planted, seed: u64, clocks: [i64; N], steps: Vec<(u64, What)>) {
    shows_with_one_of([seed], planted, clocks, steps);
}

/// The same with several seeds, of which one shows it: it needs some luck with the delays.
#[track_caller]
fn shows_with_one_of<const N: usize>(
    seeds: impl IntoIterator<Item = u64>,
    planted: Planted,
    clocks: [i64; N],
    steps: Vec<(u64, What)>,
) {
    let mut is_caught = false;
    for seed in seeds {
        let mut script = script(seed, clocks, steps.clone());
        script.planted = planted;
        is_caught |= play(&script).is_some();
        script.planted = Planted::Nothing;
        if play(&script).is_some() {
            panic!("{}", shrink(script));
        }
    }
    assert!(is_caught, "{planted:?} is not caught");
}

fn connect(client: usize, node: usize) -> What {
    What::Connect { client, node }
}

fn join(client: usize, room: usize) -> What {
    What::Join { client, room }
}

fn choose(user: usize, node: usize, chosen: Chosen) -> What {
    let lasts_ms = None;
    What::Choose {
        user,
        node,
        chosen,
        lasts_ms,
    }
}

fn watch(node: usize, topic: usize) -> What {
    What::Watch { node, topic }
}

fn watch_user(node: usize, user: usize) -> What {
    What::WatchUser { node, user }
}

fn asleep(server: Option<usize>, ms: u64) -> What {
    What::Asleep { server, ms }
}

#[test]
fn a_lease_judged_during_an_outage() {
    shows(
        Planted::MarksDeadAtOnce,
        17_179_869_574,
        [0, 0, 0],
        vec![
            (704, connect(EVES_WEB, 1)),
            (720, watch(0, WORKSPACE)),
            (32_745, asleep(None, 20_754)),
        ],
    );
}

#[test]
fn a_put_without_its_condition() {
    shows_with_one_of(
        0..100,
        Planted::Unconditional,
        [62, 0],
        vec![
            (201, watch_user(0, BOB)),
            (1_580, connect(BOBS_WEB, 1)),
            // The last choice is the first one with a message.
            (2_000, choose(BOB, 1, Chosen::Online)),
            (4_000, choose(BOB, 1, Chosen::Online)),
            (19_425, asleep(Some(2), 21_976)),
            (27_890, choose(BOB, 1, Chosen::Online)),
            (35_915, choose(BOB, 0, Chosen::Invisible)),
            (37_969, watch_user(1, BOB)),
        ],
    );
}

#[test]
fn a_removal_that_leaves_no_fence() {
    shows_with_one_of(
        0..100,
        Planted::NoFences,
        [101, -68],
        vec![
            (1_662, join(ANNS_PHONE, 0)),
            (1_740, connect(CATS_WEB, 0)),
            (2_421, join(CATS_WEB, 0)),
            (23_732, What::Leave { client: CATS_WEB }),
            (41_512, connect(ANNS_TAB, 0)),
            (49_081, connect(BOBS_DESKTOP, 0)),
            (52_036, connect(ANNS_TAB, 0)),
            (
                53_164,
                What::Choose {
                    user: BOB,
                    node: 1,
                    chosen: Chosen::Busy,
                    lasts_ms: Some(5_837),
                },
            ),
            (
                64_777,
                What::Noise {
                    lost_percent: 1,
                    failed_percent: 30,
                    ms: 11_669,
                },
            ),
            (68_510, connect(ANNS_PHONE, 1)),
            (73_897, What::Kick { user: ANN, node: 0 }),
        ],
    );
}
