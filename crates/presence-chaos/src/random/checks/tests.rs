//! Stories of what was done and told, and what the checker says to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::clients::Dialect;
use super::super::fault;
use super::super::journal::{Choice, End, Outcome, View};
use super::*;

const ANN: VuId = VuId(0);
const BOB: VuId = VuId(1);
const U0: UserId = UserId(0);
const ROOM: Room = Room(1);

#[test]
fn who_is_shown_while_they_are_there_is_right() {
    check_story(
        &[
            (1, connected(ANN, 1, false)),
            (1, watching(&[])),
            (2, asked(join(1))),
            (2, ok(1)),
            (2, joined(1)),
        ],
        &[],
    );
}

#[test]
fn who_joined_and_is_not_shown_is_missing() {
    let story = [
        (1, connected(ANN, 1, false)),
        (1, watching(&[])),
        (2, asked(join(1))),
        (2, ok(1)),
    ];
    check_story(&story, &[(2, Kind::Missing)]);
}

#[test]
fn a_leave_of_who_is_back_in_time_is_a_flap() {
    let story = [
        (1, connected(ANN, 1, false)),
        (1, watching(&[])),
        (2, asked(join(1))),
        (2, ok(1)),
        (2, joined(1)),
        (10, Fact::Ended(ANN, End::Vanished)),
        (12, connected(ANN, 1, true)),
        (20, left()),
        (21, joined(1)),
    ];
    check_story(&story, &[(20, Kind::Flap)]);
}

#[test]
fn a_leave_after_a_goodbye_is_no_flap_although_a_break_came_before() {
    let again = Mark { life: 2, ..mark(1) };
    let shown = View {
        marks: BTreeSet::from([again]),
        ..view(1, None)
    };
    let story = [
        (1, connected(ANN, 1, false)),
        (1, watching(&[])),
        (2, asked(join(1))),
        (2, ok(1)),
        (2, joined(1)),
        (10, Fact::Ended(ANN, End::Vanished)),
        (12, connected(ANN, 1, true)),
        (14, Fact::Ended(ANN, End::Goodbye)),
        (15, left()),
        (16, connected(ANN, 2, false)),
        (16, asked_of(ANN, 2, Ask::Join(ROOM, again))),
        (16, ok(2)),
        (16, Fact::Joined(WATCHER, ROOM, U0, shown)),
    ];
    check_story(&story, &[]);
}

/// They came back the moment before, so it is not sure that every gateway knew of it.
#[test]
fn a_leave_after_a_goodbye_is_no_flap_although_redis_goes_away_next() {
    let again = Mark { life: 2, ..mark(1) };
    let story = [
        (1, connected(ANN, 1, false)),
        (1, watching(&[])),
        (2, asked(join(1))),
        (2, ok(1)),
        (2, joined(1)),
        (10, Fact::Ended(ANN, End::Vanished)),
        (14, connected(ANN, 1, true)),
        (14, Fact::Ended(ANN, End::Vanished)),
        (14, connected(ANN, 1, true)),
        (15, Fact::Ended(ANN, End::Goodbye)),
        (15, left()),
        (16, connected(ANN, 2, false)),
        (16, asked_of(ANN, 2, Ask::Join(ROOM, again))),
        (16, ok(2)),
        (16, Fact::Broken(0, fault::Kind::BlackHole)),
    ];
    check_story(&story, &[]);
}

#[test]
fn an_update_that_is_answered_after_a_later_leave_brings_nobody_back() {
    let story = [
        (1, connected(ANN, 1, false)),
        (1, watching(&[])),
        (2, asked(join(1))),
        (2, ok(1)),
        (2, joined(1)),
        (5, asked_of(ANN, 2, Ask::Update(ROOM, mark(2)))),
        (5, asked_of(ANN, 3, Ask::Leave(ROOM))),
        (6, ok(3)),
        (6, left()),
        (6, ok(2)),
    ];
    check_story(&story, &[]);
}

#[test]
fn who_left_and_was_answered_is_a_ghost_if_they_come_again() {
    let story = [
        (1, connected(ANN, 1, false)),
        (1, watching(&[])),
        (2, asked(join(1))),
        (2, ok(1)),
        (2, joined(1)),
        (5, asked(Ask::Leave(ROOM))),
        (6, ok(1)),
        (6, left()),
        (7, Fact::Ended(ANN, End::Vanished)),
        (7, connected(ANN, 1, true)),
        (8, joined(1)),
    ];
    check_story(&story, &[(8, Kind::Ghost)]);
}

#[test]
fn who_was_lost_may_be_shown_for_the_grace_time_and_no_longer() {
    let story = |gone| {
        [
            (1, connected(ANN, 1, false)),
            (1, watching(&[])),
            (2, asked(join(1))),
            (2, ok(1)),
            (2, joined(1)),
            (5, Fact::Ended(ANN, End::Vanished)),
            (gone, left()),
        ]
    };
    check_story(&story(16), &[]);
    check_story(&story(22), &[(17, Kind::Ghost)]);
}

#[test]
fn who_hides_has_to_be_gone_once_that_is_answered() {
    let hide = Ask::Choose(Choice {
        status: Some("invisible".to_owned()),
        ..Choice::default()
    });
    let story = [
        (1, connected(ANN, 1, false)),
        (1, watching(&[])),
        (2, asked(join(1))),
        (2, ok(1)),
        (2, joined(1)),
        (5, asked(hide)),
        (6, ok(1)),
    ];
    // Their looks are wrong as well only where they are shown with one that they never had.
    check_story(&story, &[(6, Kind::Ghost)]);
}

#[test]
fn the_later_of_two_choices_stands_however_long_they_take() {
    let story = |shown: &str| {
        [
            (1, connected(ANN, 1, false)),
            (1, connected(BOB, 1, false)),
            (1, watching(&[])),
            (2, asked(join(1))),
            (2, ok(1)),
            (2, joined(1)),
            (5, asked_of(ANN, 2, words("FIRST"))),
            (10, asked_of(BOB, 3, words("SECOND"))),
            (11, answered(BOB, 3)),
            (12, answered(ANN, 2)),
            (13, Fact::Updated(WATCHER, ROOM, U0, view(1, Some(shown)))),
        ]
    };
    check_story(&story("SECOND"), &[]);
    check_story(&story("FIRST"), &[(11, Kind::WrongLook)]);
}

#[test]
fn what_is_wrong_while_something_is_broken_counts_once_it_is_healed() {
    let story = |shown| {
        [
            (1, connected(ANN, 1, false)),
            (1, watching(&[])),
            (2, Fact::Broken(0, fault::Kind::BlackHole)),
            (3, asked(join(1))),
            (3, ok(1)),
            (10, Fact::Mended(0)),
            (shown, joined(1)),
        ]
    };
    check_story(&story(18), &[]);
    check_story(&story(25), &[(3, Kind::Missing)]);
}

#[test]
fn an_event_that_says_nothing_new_is_told_twice() {
    let story = [
        (1, connected(ANN, 1, false)),
        (1, watching(&[])),
        (2, asked(join(1))),
        (2, ok(1)),
        (2, joined(1)),
        (3, joined(1)),
    ];
    check_story(&story, &[(3, Kind::ToldTwice)]);
}

/// Somebody else, who looks at the room.
const WATCHER: VuId = VuId(9);

/// Facts at seconds, up to the 30th, against what has to be found.
#[track_caller]
fn check_story(story: &[(u64, Fact)], expected: &[(u64, Kind)]) {
    let facts: Vec<_> = story
        .iter()
        .map(|(at, fact)| (Duration::from_secs(*at), fact.clone()))
        .collect();
    let users = BTreeMap::from([(ANN, (U0, Dialect::Json)), (BOB, (U0, Dialect::Json))]);
    let found = check(&users, &facts, Duration::from_secs(30));
    let kinds: Vec<_> = found.iter().map(|it| (it.at.as_secs(), it.kind)).collect();
    assert_eq!(kinds, expected, "{found:#?}");
}

fn connected(vu: VuId, life: u32, is_restored: bool) -> Fact {
    Fact::Connected(vu, 0, life, is_restored)
}

fn watching(people: &[(UserId, View)]) -> Fact {
    Fact::Whole(WATCHER, ROOM, people.iter().cloned().collect())
}

fn mark(number: u32) -> Mark {
    Mark {
        vu: ANN,
        life: 1,
        number,
    }
}

fn join(number: u32) -> Ask {
    Ask::Join(ROOM, mark(number))
}

fn words(message: &str) -> Ask {
    Ask::Choose(Choice {
        message: Some(message.to_owned()),
        ..Choice::default()
    })
}

fn asked(ask: Ask) -> Fact {
    asked_of(ANN, 1, ask)
}

fn asked_of(vu: VuId, number: u32, ask: Ask) -> Fact {
    Fact::Asked(vu, number, ask)
}

fn ok(number: u32) -> Fact {
    answered(ANN, number)
}

fn answered(vu: VuId, number: u32) -> Fact {
    Fact::Answered(vu, number, Outcome::Ok)
}

fn view(number: u32, message: Option<&str>) -> View {
    View {
        look: Look {
            status: "online".to_owned(),
            message: message.map(str::to_owned),
        },
        marks: BTreeSet::from([mark(number)]),
    }
}

fn joined(number: u32) -> Fact {
    Fact::Joined(WATCHER, ROOM, U0, view(number, None))
}

fn left() -> Fact {
    Fact::Left(WATCHER, ROOM, U0, "lost".to_owned())
}
