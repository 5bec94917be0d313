//! Who is in a channel or a workspace.

use presence_core::cluster::{Incarnation, Reply, Request, Snapshot};
use presence_core::rosters::{Effect, Hearers, Input, Rosters};
use presence_core::{Limits, SessionId, Timestamp, Timing, Topic, Watching};

use crate::story::check;

#[test]
fn who_joins_finds_everyone_there_themselves_included() {
    check(
        "
 0s  ann/web connects
     bob/web connects
     ann/web joins room:1 and watches
     > ann/web: room:1 [ann online]
 1s  bob/web joins room:1 and watches
     > room:1 but bob/web: +bob online
     > bob/web: room:1 [ann online, bob online]
",
    );
}

#[test]
fn several_tabs_are_one_person_with_several_metas() {
    check(
        "
 0s  eve watches room:1
     > eve: room:1 []
     ann/web.1 connects
     ann/web.2 connects
     ann/web.1 joins room:1 as red
     > room:1 +ann online as red
 1s  ann/web.2 joins room:1 as blue
     > room:1 ~ann online as red+blue x2
 2s  ann/web.1 becomes green in room:1
     > room:1 ~ann online as green+blue x2
 3s  ann/web.1 departs room:1
     > room:1 ~ann online as blue
 4s  ann/web.2 departs room:1
     > room:1 -ann left
",
    );
}

#[test]
fn a_status_change_is_one_event_whatever_the_number_of_tabs() {
    check(
        "
given 50ms tick
 0s  ann/web.1 connects
     ann/web.2 connects
     ann/web.1 joins room:1
     ann/web.2 joins room:1
     eve watches room:1
     > eve: room:1 [ann online]
50ms .
     > room:1 ~ann online x2
 1s  ann chooses busy
     > room:1 ~ann busy x2
 2s  ann/web.1 is idle
     ann chooses online
     > room:1 ~ann online x2
 3s  ann chooses invisible
     > room:1 -ann left
 4s  ann chooses away \"back\"
     > room:1 +ann away \"back\" x2
",
    );
}

#[test]
fn joining_again_with_the_same_meta_is_nothing() {
    check(
        "
 0s  eve watches room:1
     > eve: room:1 []
     ann/web connects
     ann/web joins room:1 as red
     > room:1 +ann online as red
 1s  ann/web joins room:1 as red
     ann/web becomes red in room:1
     ann/web departs room:2
 2s  .
",
    );
}

#[test]
fn people_stay_in_the_order_they_came_whatever_happens_to_them() {
    check(
        "
show since
 0s  cat/web connects
     cat/web joins room:1
 1s  ann/web.1 connects
     ann/web.1 joins room:1
 2s  bob/web connects
     bob/web joins room:1
 3s  cat chooses busy
     ann/web.2 connects
     ann/web.2 joins room:1
     ann/web.1 departs room:1
 4s  eve watches room:1
     > eve: room:1 [cat busy since 0s, ann online since 1s, bob online since 2s]
",
    );
}

#[test]
fn who_comes_out_of_hiding_has_just_come() {
    check(
        "
show since
 0s  ann/web connects
     ann/web joins room:1
 1s  bob/web connects
     bob/web joins room:1
     eve watches room:1
     > eve: room:1 [ann online since 0s, bob online since 1s]
 2s  ann chooses invisible
     > room:1 -ann left
 9s  ann chooses online
     > room:1 +ann online since 9s
",
    );
}

#[test]
fn a_session_is_in_the_online_list_of_its_workspaces() {
    check(
        "
 0s  eve watches workspace:acme
     > eve: workspace:acme []
     ann/web connects in acme globex
     > workspace:acme +ann online
 1s  ann/mobile connects in acme
     > workspace:acme ~ann online x2
 2s  ann chooses away
     > workspace:acme ~ann away x2
 3s  ann/web leaves
     > workspace:acme ~ann away
 4s  ann/mobile vanishes
14s  .
     > workspace:acme -ann lost
",
    );
}

#[test]
fn a_session_that_moves_is_in_the_online_lists_that_its_token_names_now() {
    check(
        "
 0s  eve watches workspace:acme
     > eve: workspace:acme []
     eve watches workspace:globex
     > eve: workspace:globex []
     ann/web connects in acme
     > workspace:acme +ann online
 1s  ann/web moves to globex
     > workspace:acme -ann left
     > workspace:globex +ann online
 2s  ann/web moves to globex
 3s  ann/web moves to
     > workspace:globex -ann left
 4s  ann chooses invisible
     ann/web moves to acme globex
",
    );
}

#[test]
fn the_reason_of_the_last_session_is_why_they_left() {
    check(
        "
given 50ms tick
 0s  ann/web connects
     ann/web joins room:1
     ann/mobile connects
     ann/mobile joins room:1
     eve watches room:1
     > eve: room:1 [ann online]
50ms .
     > room:1 ~ann online x2
 1s  ann/web vanishes
 2s  ann/mobile departs room:1
     > room:1 ~ann online
11s  .
     > room:1 -ann lost
12s  bob/web connects
     bob/web joins room:1
     > room:1 +bob online
1m   .
     > ann/mobile@0 closed: timed_out
1m12s .
     > bob/web@0 closed: timed_out
1m22s .
     > room:1 -bob timed_out
",
    );
}

#[test]
fn a_room_speaks_at_once_and_then_once_a_tick() {
    check(
        "
given 50ms tick
    0s  ann/web connects
        bob/web connects
        cat/web connects
        eve watches room:1
        > eve: room:1 []
        ann/web joins room:1
        > room:1 +ann online
 10ms   bob/web joins room:1
 20ms   cat/web joins room:1
        ann/web departs room:1
 50ms   .
        > room:1 -ann left, +bob online, +cat online
 60ms   ann/web joins room:1
100ms   .
        > room:1 +ann online
 1s     ann/web departs room:1
        > room:1 -ann left
",
    );
}

#[test]
fn who_comes_and_goes_within_a_tick_was_never_there() {
    check(
        "
given 50ms tick
show versions
    0s  ann/web connects
        bob/web connects
        eve watches room:1
        > eve: room:1 v1.0 []
        ann/web joins room:1
        > room:1 v2.1 +ann online
 10ms   bob/web joins room:1
 20ms   bob/web departs room:1
 30ms   ann chooses busy
 40ms   ann chooses online
 1s     ann/web departs room:1
        > room:1 v2.2 -ann left
",
    );
}

#[test]
fn who_goes_and_comes_within_a_tick_never_left() {
    check(
        "
given 50ms tick
    0s  ann/web connects
        bob/web connects
        eve watches room:1
        > eve: room:1 []
        ann/web joins room:1 as red
        > room:1 +ann online as red
 1s     bob/web joins room:1
        > room:1 +bob online
1s10ms  ann/web departs room:1
1s20ms  ann/web joins room:1 as blue
1s50ms  .
        > room:1 ~ann online as blue
",
    );
}

#[test]
fn who_watches_the_whole_is_told_everyone_with_each_change_and_the_others_share_that() {
    check(
        "
 0s  eve watches room:1 whole
     > eve: room:1 []
     bob watches room:1
     > bob: room:1 []
     ann/web connects
     ann/web joins room:1
     > room:1 +ann online of [ann online]
 1s  cat/web connects
     cat/web joins room:1
     > room:1 +cat online of [ann online, cat online]
 2s  ann chooses busy
     > room:1 ~ann busy of [ann busy, cat online]
 3s  ann chooses invisible
     > room:1 -ann left of [cat online]
 4s  eve unwatches room:1
     cat/web departs room:1
     > room:1 -cat left
",
    );
}

#[test]
fn who_watches_the_whole_catches_up_with_the_whole() {
    check(
        "
given 50ms tick
 0s  ann/web connects
     ann/web joins room:1
     eve watches room:1 whole
     > eve: room:1 [ann online]
     bob/web connects
     bob/web joins room:1
50ms .
     > room:1 +bob online of [ann online, bob online]
 1s  eve watches room:1 whole having 1.1
     > eve: room:1 [ann online, bob online]
",
    );
}

#[test]
fn who_stops_watching_before_the_store_has_answered_waits_for_nothing() {
    let now = Timestamp::from_millis(1_000_000);
    let topic = Topic::Channel("room:1".parse().unwrap());
    let mut rosters = Rosters::new(Timing::default(), Limits::default(), 7);
    rosters.join_cluster(Incarnation {
        node: 1,
        generation: 0,
    });
    let watched = |watcher| Input::Watched::<()> {
        topic: topic.clone(),
        watcher: SessionId::from_u128(watcher),
        watching: Watching::Full,
        before: None,
        have: None,
        reply_to: None,
    };
    let unwatched = Input::Unwatched {
        topic: topic.clone(),
        watching: Watching::Full,
    };
    let mut out = Vec::new();
    rosters.handle(now, watched(1 << 100), &mut out);
    // Builds with debug assertions check the topic after each of these.
    rosters.handle(now, unwatched, &mut out);
    rosters.handle(now, watched(2 << 100), &mut out);
    let mut asks = out.iter().filter_map(|effect| match effect {
        Effect::Ask(Request::Open { ask, .. }) => Some(*ask),
        _ => None,
    });
    let ask = asks.next_back().expect("the map is read");
    out.clear();
    let reply = Reply::Read {
        ask,
        snapshot: Some(Snapshot {
            clock: None,
            entries: Vec::new(),
        }),
    };
    let heard = Input::Stored { topic, reply };
    rosters.handle(now, heard, &mut out);
    let told: Vec<&Hearers> = out
        .iter()
        .filter_map(|effect| match effect {
            Effect::Tell { to, .. } => Some(to),
            _ => None,
        })
        .collect();
    assert_eq!(told, [&Hearers::One(SessionId::from_u128(2 << 100))]);
}
