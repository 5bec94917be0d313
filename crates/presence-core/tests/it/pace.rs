//! How often a room speaks: at once after quiet, and then no more often than the node keeps up with.

use std::fmt::Write as _;
use std::sync::Arc;

use presence_core::rosters::{Effect, Hearers, Input, Rosters};
use presence_core::{
    ChannelId, Event, Limits, Look, Member, Meta, SessionId, Timestamp, Timing, Topic, UserId,
    Visible, Watching,
};

use crate::story::check;

/// Plays `story`, which begins at 3s, in a room of so many people, whom eve watches.
#[track_caller]
fn check_in_a_room_of(people: usize, story: &str) {
    let mut whole = "given 1 faces_max\n".to_owned();
    for n in 0..people {
        let _ = writeln!(whole, "p{n}/web connects\np{n}/web joins room:1");
    }
    let _ = writeln!(whole, "2s eve watches room:1 summary");
    let _ = writeln!(whole, "> eve: room:1 {people} people: p0 online");
    whole.push_str(story);
    check(&whole);
}

#[test]
fn the_first_change_is_told_at_once_and_the_next_ones_when_telling_fifty_was_worth_it() {
    check_in_a_room_of(
        50,
        "
    3s     p1/web types in room:1
           > room:1 typing: p1 (+p1)
    3s1ms  p2/web types in room:1
    3s2ms  .
           > room:1 typing: p1 p2 (+p2)
    3s3ms  p3/web types in room:1
    3s4ms  p4/web types in room:1
    3s5ms  .
           > room:1 typing: p1 p2 p3 p4 (+p3 +p4)
    3s7ms  .
    3s8ms  p5/web types in room:1
           > room:1 typing: p1 p2 p3 p4 p5 (+p5)
",
    );
}

#[test]
fn four_times_as_many_wait_four_times_as_long() {
    check_in_a_room_of(
        200,
        "
    3s     p1/web types in room:1
           > room:1 typing: p1 (+p1)
    3s1ms  p2/web types in room:1
    3s9ms  p3/web types in room:1
    3s10ms .
           > room:1 typing: p1 p2 p3 (+p2 +p3)
",
    );
}

#[test]
fn two_people_hardly_ever_wait() {
    check_in_a_room_of(
        2,
        "
    3s     p0/web types in room:1
           > room:1 typing: p0 (+p0)
           p1/web types in room:1
           > room:1 typing: p0 p1 (+p1)
           p1/web says hello in room:1
           > room:1 p1/web says hello
           > room:1 typing: p0 (-p1)
",
    );
}

#[test]
fn a_room_that_is_too_big_to_list_speaks_once_a_second() {
    check_in_a_room_of(
        501,
        "
    3s     p1/web types in room:1
           > room:1 typing: p1 (+p1)
    3s10ms p2/web types in room:1
    4s     .
           > room:1 typing: p1 p2 (+p2)
",
    );
}

#[test]
fn the_more_waits_on_the_node_the_longer_rooms_wait_but_not_longer_than_they_did_with_a_tick() {
    check_in_a_room_of(
        50,
        "
    3s     200 things wait
           p1/web types in room:1
           > room:1 typing: p1 (+p1)
    3s1ms  p2/web types in room:1
    3s12ms .
           > room:1 typing: p1 p2 (+p2)
    4s     1000000 things wait
           p3/web types in room:1
           > room:1 typing: p1 p2 p3 (+p3)
    4s1ms  p4/web types in room:1
    4s52ms .
           > room:1 typing: p1 p2 p3 p4 (+p4)
    5s     0 things wait
           p5/web types in room:1
           > room:1 typing: p1 p2 p3 p4 p5 (+p5)
    5s1ms  p6/web types in room:1
    5s2ms  .
           > room:1 typing: p1 p2 p3 p4 p5 p6 (+p6)
",
    );
}

#[test]
fn a_fixed_tick_is_the_same_however_many_there_are() {
    check(
        "
given 20ms tick
    0s     ann/web connects
           ann/web joins room:1
    1s     eve watches room:1
           > eve: room:1 [ann online]
    3s     1000000 things wait
           ann/web types in room:1
           > room:1 typing: ann (+ann)
    3s1ms  ann/web stops typing in room:1
    3s20ms .
           > room:1 typing: (-ann)
",
    );
}

#[test]
fn cursors_are_limited_by_their_rate_however_often_a_room_speaks() {
    check(
        "
given 2 cursors_max
    0s     ann/web connects
           bob/web connects
           ann/web joins room:1
           bob/web joins room:1
    1s     eve watches room:1
           > eve: room:1 [ann online, bob online]
           ann/web points in room:1 1,1
           > room:1 but ann/web: ann/web at 1,1
    1s10ms ann/web points in room:1 2,2
           > room:1 but ann/web: ann/web at 2,2
    1s20ms ann/web points in room:1 3,3
    1s30ms ann/web points in room:1 4,4
    1s40ms bob/web points in room:1 9,9
    1s50ms .
           > room:1 but ann/web bob/web: ann/web at 4,4, bob/web at 9,9
           > ann/web: room:1 bob/web at 9,9
           > bob/web: room:1 ann/web at 4,4
",
    );
}

#[test]
fn broadcasts_are_limited_by_their_rate_however_often_a_room_speaks() {
    check(
        "
given 2 broadcasts_max
    0s     ann/web connects
           ann/web joins room:1
    1s     eve watches room:1
           > eve: room:1 [ann online]
           ann/web says one in room:1
           > room:1 ann/web says one
    1s10ms ann/web says two in room:1
           > room:1 ann/web says two
    1s20ms ann/web says three in room:1
           > ann/web refused: too much at once in this channel
    1s50ms ann/web says four in room:1
           > room:1 ann/web says four
",
    );
}

#[test]
fn who_was_away_for_a_second_gets_what_they_missed_however_often_the_room_spoke() {
    let mut story = "
show versions
0s ann/web connects
ann/web joins room:1 as 0
eve watches room:1
> eve: room:1 v1.1 [ann online as 0]
eve unwatches room:1
"
    .to_owned();
    for n in 1..=100 {
        let _ = writeln!(story, "1s{}ms ann/web becomes {n} in room:1", n * 10);
    }
    story.push_str("2s5ms eve watches room:1 having 1.1\n");
    for n in 1..=100 {
        let _ = writeln!(story, "> eve: room:1 v1.{} ~ann online as {n}", n + 1);
    }
    story.push_str("> eve: room:1 v1.101 unchanged\n");
    check(&story);
}

#[test]
fn all_that_is_found_at_one_moment_is_one_event() {
    let now = Timestamp::from_millis(1_764_000_000_000);
    let mut rosters = Rosters::new(Timing::default(), Limits::default(), 7);
    let mut out = Vec::new();
    rosters.handle(now, watched(1000), &mut out);
    for number in 0..30 {
        rosters.handle(now, wrote(number), &mut out);
    }
    out.clear();
    rosters.expire(now, &mut out);
    assert_eq!(joins_told(&out), [30]);
}

#[test]
fn those_who_come_at_one_moment_are_not_told_one_by_one() {
    let now = Timestamp::from_millis(1_764_000_000_000);
    let mut rosters = Rosters::new(Timing::default(), Limits::default(), 7);
    let mut out = Vec::new();
    rosters.handle(now, watched(1000), &mut out);
    for number in 0..30 {
        rosters.handle(now, wrote(number), &mut out);
        rosters.handle(now, watched(u128::from(number)), &mut out);
    }
    rosters.expire(now, &mut out);
    // The first finds themselves in the list; the others come together.
    assert_eq!(joins_told(&out), [1]);
    let next = rosters.next_deadline().unwrap();
    rosters.expire(next, &mut out);
    assert_eq!(joins_told(&out), [1, 29]);
}

/// How many joins each event had that was told to everybody.
fn joins_told(effects: &[Effect<()>]) -> Vec<usize> {
    let told = effects.iter().filter_map(|it| match it {
        Effect::Tell { to, event, .. } if !matches!(to, Hearers::One(_)) => Some(event),
        _ => None,
    });
    told.filter_map(|event| match &**event {
        Event::Changes { changes, .. } => Some(changes.len()),
        _ => None,
    })
    .collect()
}

fn room() -> Topic {
    Topic::Channel(ChannelId::new("room:1").unwrap())
}

fn watched(watcher: u128) -> Input<()> {
    Input::Watched {
        topic: room(),
        watcher: SessionId::from_u128(watcher),
        watching: Watching::Full,
        before: None,
        have: None,
        reply_to: None,
    }
}

fn wrote(number: u8) -> Input<()> {
    let session = SessionId::from_u128(u128::from(number));
    let member = Member {
        epoch: 0,
        session,
        alias: session,
        user: UserId::new(&format!("p{number}")).unwrap(),
        device: presence_core::DeviceId::new("web:1").unwrap().kind(),
        joined_at: Timestamp::from_millis(u64::from(number)),
        meta: Arc::new(Meta::default()),
        look: Arc::new(Look {
            status: Visible::Online,
            message: None,
            emoji: None,
        }),
        look_revision: 1,
        profile: 0,
    };
    Input::Wrote {
        topic: room(),
        session,
        entry: Ok(Arc::new(member)),
        is_shared: true,
    }
}
