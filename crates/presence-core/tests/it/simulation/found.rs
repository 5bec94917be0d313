//! What the simulator has found: scripts that broke a promise once.

use presence_core::Chosen;

use super::planted::Planted;
use super::script::{CLIENTS, Script, Step, What};
use super::shrink::{play, shrink};

const ANN: usize = 0;
const BOB: usize = 1;
const CAT: usize = 2;
const EVE: usize = 3;
const ANNS_TAB: usize = 0;
const ANNS_SECOND_TAB: usize = 1;
const ANNS_PHONE: usize = 2;
const BOBS_WEB: usize = 3;
const BOBS_DESKTOP: usize = 4;
const CATS_WEB: usize = 5;
const EVES_WEB: usize = 6;
const ROOM_0: usize = 0;
const ROOM_1: usize = 1;
const WORKSPACE: usize = 2;

/// A script of these steps, with the delays of `seed`; clocks are off by so many seconds.
pub(super) fn script<const N: usize>(
    seed: u64,
    clocks: [i64; N],
    steps: Vec<(u64, What)>,
) -> Script {
    let steps = steps.into_iter().map(|(at, what)| Step { at, what });
    Script {
        seed,
        planted: Planted::Nothing,
        skews_ms: clocks.map(|it| it * 1000).to_vec(),
        returns_ms: vec![None; CLIENTS.len()],
        steps: steps.collect(),
    }
}

/// Plays a script that once failed.
#[track_caller]
fn holds<const N: usize>(seed: u64, clocks: [i64; N], steps: Vec<(u64, What)>) {
    let script = script(seed, clocks, steps);
    if play(&script).is_some() {
        panic!("{}", shrink(script));
    }
}

fn connect(client: usize, node: usize) -> What {
    What::Connect { client, node }
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

fn act(user: usize, node: usize) -> What {
    let room = ROOM_0;
    What::Act { user, node, room }
}

fn watch(node: usize, topic: usize) -> What {
    What::Watch { node, topic }
}

#[test]
fn who_hides_on_another_node_is_not_written_again_by_the_one_they_came_from() {
    holds(
        118,
        [-107, 37, -36],
        vec![
            (346, watch(1, WORKSPACE)),
            (1_184, connect(CATS_WEB, 0)),
            (51_462, connect(CATS_WEB, 1)),
            (53_895, choose(CAT, 1, Chosen::Invisible)),
            (57_395, watch(0, WORKSPACE)),
        ],
    );
}

#[test]
fn who_hides_while_they_move_there_and_back_leaves_nothing_behind() {
    holds(
        11,
        [54, 0, 0],
        vec![
            (37_529, connect(EVES_WEB, 2)),
            (38_020, connect(EVES_WEB, 0)),
            (39_421, choose(EVE, 1, Chosen::Invisible)),
            (40_229, connect(EVES_WEB, 2)),
            (43_107, connect(EVES_WEB, 1)),
        ],
    );
}

#[test]
fn a_clock_that_is_behind_does_not_keep_a_visitor_in_the_store() {
    holds(
        29,
        [0, 97],
        vec![
            (1_216, connect(EVES_WEB, 0)),
            (40_830, choose(EVE, 1, Chosen::Invisible)),
            (44_106, choose(EVE, 1, Chosen::Busy)),
        ],
    );
}

#[test]
fn what_a_dead_node_wrote_of_a_service_does_not_stand_in_the_way_of_the_next() {
    holds(
        1162,
        [110, -56],
        vec![
            (937, watch(0, ROOM_0)),
            (35_200, act(EVE, 1)),
            (
                45_000,
                What::Kill {
                    node: 1,
                    back_ms: 5_000,
                },
            ),
            (65_200, act(EVE, 0)),
        ],
    );
}

#[test]
fn who_begins_anew_after_a_node_died_is_seen_by_those_who_had_not_heard_of_it() {
    holds(
        6278,
        [89, 0],
        vec![
            (963, watch(1, ROOM_0)),
            (9_306, act(CAT, 0)),
            (24_306, act(CAT, 1)),
            (
                25_327,
                What::Stop {
                    node: 1,
                    drain_ms: 1_533,
                    back_ms: 1_941,
                },
            ),
            (39_306, act(CAT, 0)),
        ],
    );
}

#[test]
fn a_note_that_is_back_since_a_server_took_over_is_taken_back_again() {
    holds(
        6888,
        [0, 0, 0],
        vec![
            (47_388, act(CAT, 0)),
            (62_388, act(CAT, 1)),
            (
                62_913,
                What::FailOver {
                    server: 1,
                    away_ms: 3_524,
                    lost_ms: 876,
                },
            ),
        ],
    );
}

#[test]
fn entries_of_the_dead_that_are_back_since_a_server_took_over_are_removed_again() {
    holds(
        2302,
        [0, 10],
        vec![
            (34_031, connect(CATS_WEB, 0)),
            (41_251, choose(BOB, 1, Chosen::Busy)),
            (
                54_859,
                What::Cut {
                    node: 0,
                    server: Some(0),
                    ms: 28_313,
                },
            ),
            (60_510, act(ANN, 0)),
            (
                72_517,
                What::FailOver {
                    server: 2,
                    away_ms: 6_634,
                    lost_ms: 563,
                },
            ),
        ],
    );
}

#[test]
fn who_went_to_another_node_and_left_there_unheard_is_gone_once_the_map_is_read() {
    let room = ROOM_0;
    let client = CATS_WEB;
    holds(
        128,
        [0, 0],
        vec![
            (1_000, watch(0, room)),
            (2_000, connect(client, 0)),
            (3_000, What::Join { client, room }),
            (
                10_000,
                What::Noise {
                    lost_percent: 100,
                    failed_percent: 0,
                    ms: 10_000,
                },
            ),
            (12_000, connect(client, 1)),
            (14_000, What::Depart { client, room }),
        ],
    );
}

#[test]
fn a_profile_that_a_fence_refuses_is_not_written_again_and_again() {
    holds(
        10157,
        [0, 0],
        vec![
            (1_342, connect(EVES_WEB, 0)),
            (
                28_299,
                What::Cut {
                    node: 0,
                    server: None,
                    ms: 25_460,
                },
            ),
            (41_824, choose(EVE, 1, Chosen::Invisible)),
        ],
    );
}

#[test]
fn an_entry_of_who_hides_waits_for_no_new_owner() {
    holds(
        31227,
        [-49, 103],
        vec![
            (174, connect(BOBS_WEB, 1)),
            (242, watch(0, WORKSPACE)),
            (
                47_902,
                What::Cut {
                    node: 1,
                    server: Some(2),
                    ms: 33_370,
                },
            ),
            (58_419, choose(BOB, 0, Chosen::Invisible)),
            (59_424, connect(BOBS_WEB, 0)),
        ],
    );
}

#[test]
fn a_node_that_loses_its_lease_while_it_claims_a_session_answers_the_client() {
    let sleeps = |ms| What::Pause { node: 1, ms };
    holds(
        34207,
        [-18, 20],
        vec![
            (29_959, choose(CAT, 1, Chosen::Invisible)),
            (35_018, connect(CATS_WEB, 0)),
            (38_652, sleeps(17_320)),
            (56_208, sleeps(6_771)),
            (58_773, connect(CATS_WEB, 1)),
        ],
    );
}

#[test]
fn of_two_nodes_that_end_a_status_at_once_the_later_last_seen_stays() {
    let sleeps = |ms| What::Pause { node: 1, ms };
    holds(
        4768,
        [-43, 29],
        vec![
            (4_821, connect(ANNS_PHONE, 0)),
            (40_050, connect(ANNS_SECOND_TAB, 1)),
            (43_181, watch(1, ROOM_0)),
            (61_385, watch(0, WORKSPACE)),
            (63_085, sleeps(32_928)),
            (63_269, sleeps(16_499)),
            (65_646, connect(ANNS_TAB, 1)),
            (
                87_108,
                What::Choose {
                    user: ANN,
                    node: 0,
                    chosen: Chosen::Invisible,
                    lasts_ms: Some(8_826),
                },
            ),
        ],
    );
}

#[test]
fn a_claim_of_a_session_that_has_ended_is_made_once() {
    holds(
        51,
        [-115, 0],
        vec![
            (115, What::WatchUser { node: 1, user: EVE }),
            (1_853, connect(ANNS_TAB, 1)),
            (13_240, connect(EVES_WEB, 0)),
            (34_321, What::Wipe { server: Some(2) }),
            (39_198, What::Break { client: EVES_WEB }),
            (
                42_882,
                What::Noise {
                    lost_percent: 100,
                    failed_percent: 0,
                    ms: 9_091,
                },
            ),
            (54_647, connect(EVES_WEB, 1)),
        ],
    );
}

#[test]
fn a_claim_is_not_repeated_at_once_where_the_store_has_gone_back_to_an_older_entry() {
    holds(
        22799,
        [0, 0, 0],
        vec![
            (763, connect(ANNS_TAB, 2)),
            (1_197, connect(ANNS_SECOND_TAB, 0)),
            (12_790, connect(ANNS_SECOND_TAB, 0)),
            (
                13_244,
                What::FailOver {
                    server: 2,
                    away_ms: 5_851,
                    lost_ms: 851,
                },
            ),
            (19_627, connect(ANNS_SECOND_TAB, 2)),
        ],
    );
}

#[test]
fn who_hides_while_an_entry_waits_for_its_new_owner_is_shown_no_more() {
    holds(
        26785,
        [53, 0, 0],
        vec![
            (877, watch(1, WORKSPACE)),
            (31_826, connect(CATS_WEB, 2)),
            (
                53_159,
                What::Choose {
                    user: BOB,
                    node: 0,
                    chosen: Chosen::Away,
                    lasts_ms: Some(10_592),
                },
            ),
            (53_379, What::Break { client: CATS_WEB }),
            (54_006, connect(ANNS_PHONE, 1)),
            (
                54_930,
                What::FailOver {
                    server: 2,
                    away_ms: 5_363,
                    lost_ms: 1_430,
                },
            ),
            (55_100, connect(CATS_WEB, 1)),
            (58_395, connect(CATS_WEB, 2)),
            (60_387, choose(CAT, 0, Chosen::Invisible)),
            (
                86_026,
                What::Join {
                    client: ANNS_PHONE,
                    room: 1,
                },
            ),
        ],
    );
}

#[test]
fn an_entry_that_went_to_a_node_that_is_dead_is_shown_no_more() {
    let room = ROOM_0;
    holds(
        42_949_706_479,
        [0, 0],
        vec![
            (285, watch(1, WORKSPACE)),
            (395, What::WatchUser { node: 1, user: CAT }),
            (1_614, connect(EVES_WEB, 1)),
            (
                2_011,
                What::Join {
                    client: EVES_WEB,
                    room,
                },
            ),
            (27_748, watch(1, room)),
            (
                29_502,
                What::Cut {
                    node: 1,
                    server: None,
                    ms: 25_022,
                },
            ),
            (37_680, choose(ANN, 0, Chosen::Away)),
            (40_116, connect(EVES_WEB, 0)),
            (
                40_339,
                What::Cut {
                    node: 0,
                    server: Some(0),
                    ms: 29_933,
                },
            ),
            (48_881, What::Silence { client: EVES_WEB }),
            (
                51_892,
                What::Asleep {
                    server: Some(2),
                    ms: 19_542,
                },
            ),
            (52_539, connect(ANNS_SECOND_TAB, 0)),
            (83_449, connect(EVES_WEB, 1)),
        ],
    );
}

#[test]
fn what_a_service_did_before_an_outage_does_not_beat_what_it_did_after_it() {
    let (user, room) = (BOB, ROOM_1);
    holds(
        101_963,
        [0, 0],
        vec![
            (
                18_928,
                What::Stop {
                    node: 1,
                    drain_ms: 4_720,
                    back_ms: 1_512,
                },
            ),
            (22_983, What::WatchUser { node: 0, user: BOB }),
            (
                55_991,
                What::Asleep {
                    server: None,
                    ms: 23_048,
                },
            ),
            (
                57_287,
                What::Act {
                    user,
                    node: 0,
                    room,
                },
            ),
            (
                69_036,
                What::Pause {
                    node: 0,
                    ms: 19_363,
                },
            ),
            (
                87_287,
                What::Act {
                    user,
                    node: 1,
                    room,
                },
            ),
        ],
    );
}

#[test]
fn a_session_goes_on_whose_take_over_the_store_has_lost() {
    let (from, to) = (connect(EVES_WEB, 1), connect(EVES_WEB, 0));
    holds(
        1_000_172,
        [0, 0, 0],
        vec![
            (370, from),
            (34_500, to.clone()),
            (
                35_113,
                What::FailOver {
                    server: 2,
                    away_ms: 6_848,
                    lost_ms: 890,
                },
            ),
            (41_761, to),
        ],
    );
    let (from, to) = (connect(ANNS_PHONE, 0), connect(ANNS_PHONE, 1));
    holds(
        1_023_096,
        [0, 0],
        vec![
            (21_795, from),
            (38_724, to.clone()),
            (
                38_787,
                What::FailOver {
                    server: 2,
                    away_ms: 2_046,
                    lost_ms: 598,
                },
            ),
            (39_118, to),
        ],
    );
}

#[test]
fn the_entry_is_removed_of_a_session_whose_next_owner_died_after_the_store_lost_its_take_over() {
    holds(
        1_000_172,
        [0, 0, 0],
        vec![
            (370, connect(EVES_WEB, 1)),
            (34_500, connect(EVES_WEB, 0)),
            (
                35_113,
                What::FailOver {
                    server: 2,
                    away_ms: 6_848,
                    lost_ms: 890,
                },
            ),
            (
                35_500,
                What::Kill {
                    node: 0,
                    back_ms: 60_000,
                },
            ),
        ],
    );
}

#[test]
fn a_service_that_acts_while_its_session_is_about_to_end_keeps_it() {
    let (user, room) = (EVE, ROOM_1);
    let act = What::Act {
        user,
        node: 1,
        room,
    };
    holds(
        51_540_652_853,
        [0, 0, 0],
        vec![
            (20_250, act.clone()),
            (
                69_174,
                What::Pause {
                    node: 2,
                    ms: 27_383,
                },
            ),
            (84_711, What::WatchUser { node: 1, user }),
            (88_237, act),
        ],
    );
}

#[test]
fn a_status_that_a_node_has_missed_outlives_the_loss_of_the_store() {
    holds(
        1_060_932,
        [0, 0],
        vec![
            (
                546,
                What::Watch {
                    node: 0,
                    topic: WORKSPACE,
                },
            ),
            (1_742, connect(ANNS_PHONE, 1)),
            (
                6_185,
                What::Kill {
                    node: 1,
                    back_ms: 24_221,
                },
            ),
            (
                47_075,
                What::Cut {
                    node: 0,
                    server: None,
                    ms: 17_437,
                },
            ),
            (57_461, choose(ANN, 1, Chosen::Busy)),
            (60_848, What::Wipe { server: Some(2) }),
        ],
    );
}

#[test]
fn nobody_is_told_gone_as_soon_as_the_store_is_back_who_came_to_another_node_meanwhile() {
    holds(
        1_008_793,
        [0, 0],
        vec![
            (
                154,
                What::Watch {
                    node: 0,
                    topic: WORKSPACE,
                },
            ),
            (935, connect(EVES_WEB, 1)),
            (
                9_865,
                What::Asleep {
                    server: None,
                    ms: 27_605,
                },
            ),
            (12_594, connect(EVES_WEB, 0)),
            (
                27_267,
                What::Asleep {
                    server: None,
                    ms: 33_683,
                },
            ),
        ],
    );
}

#[test]
fn a_visitor_whose_node_was_declared_dead_is_not_written_and_removed_again_and_again() {
    holds(
        25_770_828_100,
        [0, 0],
        vec![
            (18_774, connect(EVES_WEB, 1)),
            (35_235, connect(EVES_WEB, 0)),
            (
                50_582,
                What::Pause {
                    node: 0,
                    ms: 22_671,
                },
            ),
            (57_811, What::Silence { client: EVES_WEB }),
            (58_294, connect(CATS_WEB, 0)),
        ],
    );
}

#[test]
fn a_node_that_is_told_to_stop_while_it_is_cut_off_may_end_as_one_that_is_killed() {
    holds(
        1_069_069,
        [0, 0, 0],
        vec![
            (
                139,
                What::Watch {
                    node: 2,
                    topic: ROOM_0,
                },
            ),
            (555, connect(EVES_WEB, 1)),
            (
                632,
                What::Join {
                    client: EVES_WEB,
                    room: ROOM_0,
                },
            ),
            (5_901, connect(EVES_WEB, 0)),
            (
                29_937,
                What::Cut {
                    node: 0,
                    server: None,
                    ms: 10_553,
                },
            ),
            (
                39_284,
                What::Stop {
                    node: 0,
                    drain_ms: 4_647,
                    back_ms: 2_912,
                },
            ),
        ],
    );
}

/// Its gateway read the first choice eight seconds after the second one was answered elsewhere.
#[test]
fn a_choice_that_a_node_reads_after_it_slept_does_not_undo_a_later_one() {
    holds(
        319,
        [0, 0],
        vec![
            (267, connect(ANNS_SECOND_TAB, 1)),
            (416, watch(0, WORKSPACE)),
            (
                34_607,
                What::Pause {
                    node: 1,
                    ms: 33_496,
                },
            ),
            (50_277, choose(ANN, 1, Chosen::Busy)),
            (60_249, choose(ANN, 0, Chosen::Online)),
        ],
    );
}

/// The same, and the node slept for less than its lease.
#[test]
fn a_choice_that_a_node_reads_after_a_short_sleep_does_not_undo_a_later_one() {
    holds(
        319,
        [7, -7],
        vec![
            (267, connect(ANNS_SECOND_TAB, 1)),
            (416, watch(0, WORKSPACE)),
            (34_607, What::Pause { node: 1, ms: 6_000 }),
            (36_277, choose(ANN, 1, Chosen::Busy)),
            (38_249, choose(ANN, 0, Chosen::Online)),
        ],
    );
}

/// The second choice is what the status was before both, and counts all the same.
#[test]
fn a_choice_that_a_node_reads_after_it_slept_does_not_undo_one_that_repeats_the_status() {
    holds(
        319,
        [0, 0],
        vec![
            (267, connect(ANNS_SECOND_TAB, 1)),
            (416, watch(0, WORKSPACE)),
            (
                34_607,
                What::Pause {
                    node: 1,
                    ms: 33_496,
                },
            ),
            (50_277, choose(ANN, 1, Chosen::Invisible)),
            (60_249, choose(ANN, 0, Chosen::Online)),
        ],
    );
}

/// Both nodes wait for the database, and the one that was asked first goes on last.
#[test]
fn a_choice_that_waited_for_the_profile_does_not_undo_a_later_one() {
    holds(
        30_064_793_103,
        [0, 0],
        vec![
            (19_890, What::NoDatabase { ms: 32_287 }),
            (25_067, choose(CAT, 1, Chosen::Invisible)),
            (30_563, connect(BOBS_DESKTOP, 0)),
            (30_706, choose(CAT, 0, Chosen::Online)),
            (70_690, connect(CATS_WEB, 1)),
            (87_061, watch(1, WORKSPACE)),
        ],
    );
}

/// Cat connected before she chose to be offline elsewhere, and her node hears of both later.
#[test]
fn a_connection_that_waited_does_not_end_an_offline_that_was_chosen_later() {
    for seed in 0..20 {
        holds(
            seed,
            [0, 0],
            vec![
                (19_890, What::NoDatabase { ms: 32_287 }),
                (25_000, connect(CATS_WEB, 1)),
                (25_067, choose(CAT, 1, Chosen::Invisible)),
                (30_706, choose(CAT, 0, Chosen::Offline)),
            ],
        );
    }
}

/// Node 0 cannot read her profile, and hears of the second choice before it can.
#[test]
fn a_choice_for_a_profile_that_cannot_be_read_does_not_undo_a_later_one() {
    for seed in 0..10 {
        holds(
            seed,
            [0, 0],
            vec![
                (1_000, What::WatchUser { node: 1, user: ANN }),
                (10_000, What::NoDatabase { ms: 5_000 }),
                (
                    10_100,
                    What::Cut {
                        node: 0,
                        server: None,
                        ms: 20_000,
                    },
                ),
                (11_000, connect(ANNS_TAB, 0)),
                (14_000, What::NoDatabase { ms: 20_000 }),
                (16_000, choose(ANN, 0, Chosen::Busy)),
                (20_000, choose(ANN, 1, Chosen::Invisible)),
            ],
        );
    }
}

/// Node 1 alone knows that node 0 is dead, and the node that is started again would be the one to remove its entries.
#[test]
fn the_notes_of_a_dead_node_are_removed_even_if_the_store_has_lost_its_lease() {
    holds(
        55_835_617_507,
        [0, 0],
        vec![
            (47_377, connect(BOBS_DESKTOP, 0)),
            (
                55_539,
                What::Kill {
                    node: 0,
                    back_ms: 16_605,
                },
            ),
            (72_136, What::Wipe { server: Some(0) }),
        ],
    );
}

/// Ann's first tab goes and her second one joins while the store is away: the removal waits for what the user's map has to
/// name first.
#[test]
fn who_goes_on_in_another_session_while_the_store_is_away_is_not_told_to_have_left() {
    for seed in 0..10 {
        holds(
            seed,
            [0, 0],
            vec![
                (202, watch(1, ROOM_1)),
                (707, connect(ANNS_SECOND_TAB, 0)),
                (
                    1_599,
                    What::Join {
                        client: ANNS_SECOND_TAB,
                        room: ROOM_1,
                    },
                ),
                (1_634, connect(ANNS_TAB, 0)),
                (
                    9_830,
                    What::Away {
                        server: None,
                        ms: 21_340,
                    },
                ),
                (
                    22_435,
                    What::Join {
                        client: ANNS_TAB,
                        room: ROOM_1,
                    },
                ),
                (
                    27_770,
                    What::Leave {
                        client: ANNS_SECOND_TAB,
                    },
                ),
            ],
        );
    }
}

/// Node 1 knows that Ann chose to be offline, and does not know of what she chose through node 0 while the store was away.
/// Her connection ends the one and not the other.
#[test]
fn a_connection_ends_offline_and_nothing_that_was_chosen_since() {
    for seed in 0..10 {
        holds(
            seed,
            [0, 0],
            vec![
                (28_633, choose(ANN, 1, Chosen::Offline)),
                (
                    41_063,
                    What::Asleep {
                        server: None,
                        ms: 33_806,
                    },
                ),
                (60_771, choose(ANN, 0, Chosen::Invisible)),
                (63_853, choose(ANN, 0, Chosen::Away)),
                (70_485, connect(ANNS_SECOND_TAB, 1)),
            ],
        );
    }
}

/// Node 1 erases her, and hears of what she chooses next, before the store has either.
#[test]
fn what_is_chosen_after_an_erasure_stays() {
    for seed in 0..10 {
        holds(
            seed,
            [0, 0],
            vec![
                (
                    42_153,
                    What::Away {
                        server: None,
                        ms: 23_225,
                    },
                ),
                (51_240, What::Erase { user: ANN, node: 1 }),
                (55_140, act(ANN, 0)),
                (62_242, choose(ANN, 1, Chosen::Away)),
                (75_385, watch(0, ROOM_1)),
                (78_442, connect(ANNS_TAB, 0)),
            ],
        );
    }
}

/// Node 2 watches her and remembers the tombstone. Who is erased and comes back is not thrown out when a session begins
/// there.
#[test]
fn who_has_come_back_after_an_erasure_is_not_thrown_out_by_a_node_that_remembers_it() {
    for (seed, user, client) in (0..20).flat_map(|it| [(it, EVE, EVES_WEB), (it, CAT, CATS_WEB)]) {
        holds(
            seed,
            [0, 0, 0],
            vec![
                (790, What::WatchUser { node: 2, user }),
                (860, connect(client, 1)),
                (8_216, watch(1, ROOM_0)),
                (38_013, What::Erase { user, node: 0 }),
                (40_785, What::Wipe { server: None }),
                (64_836, act(user, 0)),
                (82_157, connect(client, 2)),
            ],
        );
    }
}

/// Node 2 erases the visitor while the store is away. Node 1 writes a later choice first, so the erasure is refused: it
/// must not stay open, and throw the visitor out when they come.
#[test]
fn a_visitor_who_was_erased_while_the_store_was_away_may_come() {
    for seed in 0..10 {
        holds(
            seed,
            [0, 0, 0],
            vec![
                (688, watch(2, ROOM_0)),
                (
                    18_911,
                    What::Away {
                        server: None,
                        ms: 30_842,
                    },
                ),
                (19_860, What::Erase { user: EVE, node: 2 }),
                (23_278, choose(EVE, 1, Chosen::Busy)),
                (70_973, act(EVE, 1)),
            ],
        );
    }
}

/// Node 0 is cut off, and does not know yet that she chose to be offline before she came.
#[test]
fn a_connection_ends_an_offline_that_its_node_hears_of_later() {
    for seed in 0..10 {
        holds(
            seed,
            [0, 0],
            vec![
                (580, What::WatchUser { node: 0, user: ANN }),
                (
                    14_288,
                    What::Cut {
                        node: 0,
                        server: None,
                        ms: 28_963,
                    },
                ),
                (15_494, choose(ANN, 1, Chosen::Offline)),
                (32_793, connect(ANNS_TAB, 0)),
            ],
        );
    }
}

/// Node 1 reads Bob's choice just after it slept, and hears only later that node 2 has answered another one.
#[test]
fn a_late_choice_that_turns_out_to_be_overtaken_is_not_acknowledged() {
    for seed in 0..10 {
        holds(
            seed,
            [0, 0, 0],
            vec![
                (35_705, connect(BOBS_DESKTOP, 1)),
                (
                    41_285,
                    What::Cut {
                        node: 1,
                        server: Some(2),
                        ms: 29_184,
                    },
                ),
                (
                    49_387,
                    What::Pause {
                        node: 1,
                        ms: 13_574,
                    },
                ),
                (60_161, choose(BOB, 2, Chosen::Online)),
                (63_500, choose(BOB, 1, Chosen::Busy)),
                (65_574, What::WatchUser { node: 0, user: BOB }),
            ],
        );
    }
}

/// Node 2 reads her choice after it slept, so it counts as of when it fell asleep: before her session on node 1 began.
#[test]
fn an_offline_that_a_node_reads_after_it_slept_is_not_ended_by_the_connection_before_it() {
    for seed in 0..10 {
        holds(
            seed,
            [0, 0, 0],
            vec![
                (684, watch(0, WORKSPACE)),
                (1_429, connect(ANNS_TAB, 2)),
                (
                    28_787,
                    What::Pause {
                        node: 2,
                        ms: 28_314,
                    },
                ),
                (37_558, connect(CATS_WEB, 1)),
                (55_297, choose(CAT, 2, Chosen::Offline)),
            ],
        );
    }
}

/// Bob's choice through the sleeping node is overtaken, so nothing but his connection keeps him there.
#[test]
fn a_user_stays_while_more_is_read_about_them() {
    holds(
        322_122_552_376,
        [0, 69, 0],
        vec![
            (232, watch(0, ROOM_0)),
            (533, connect(EVES_WEB, 0)),
            (36_176, What::WatchUser { node: 2, user: CAT }),
            (42_954, What::WatchUser { node: 1, user: EVE }),
            (52_329, What::Pause { node: 0, ms: 4_057 }),
            (
                60_950,
                What::Pause {
                    node: 2,
                    ms: 34_906,
                },
            ),
            (
                65_444,
                What::Choose {
                    user: BOB,
                    node: 2,
                    chosen: Chosen::Online,
                    lasts_ms: Some(2_880),
                },
            ),
            (88_551, connect(BOBS_DESKTOP, 2)),
            (89_858, choose(BOB, 1, Chosen::Invisible)),
        ],
    );
}
