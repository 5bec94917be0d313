//! Windows: a few rows of a roster, and only what changes in them.

mod model;

use std::sync::Arc;
use std::time::Duration;

use presence_core::rosters::{Effect, Hearers, Input, Rosters};
use presence_core::{
    ChannelId, DeviceKind, Event, Limits, Look, Member, Meta, Reason, Refusal, SessionId, Span,
    Timestamp, Timing, Topic, UserId, Visible, Window,
};

/// Who asks, as a number.
type ReplyTo = u32;

/// A room of one node, and what its windows are told.
struct Room {
    rosters: Rosters,
    now: Timestamp,
    refused: Vec<Refusal>,
    told: Vec<(Vec<u128>, Arc<Event>)>,
}

impl Room {
    fn new(limits: Limits) -> Self {
        Room {
            rosters: Rosters::new(Timing::default(), limits, 7),
            now: Timestamp::from_millis(1_764_000_000_000),
            refused: Vec::new(),
            told: Vec::new(),
        }
    }

    /// A room of so many people, who joined one after the other.
    fn of(people: u128) -> Self {
        let mut room = Room::new(Limits::default());
        (0..people).for_each(|it| room.join(it, &format!("P{it:05}")));
        room.pass(2000);
        room.told.clear();
        room
    }

    fn join(&mut self, person: u128, name: &str) {
        let session = SessionId::from_u128(person);
        let meta = Meta::from_json(format!("{{\"name\":\"{name}\"}}")).unwrap();
        let member = Member {
            session,
            alias: session,
            epoch: 0,
            user: UserId::new(&format!("u{person:05}")).unwrap(),
            device: DeviceKind::Web,
            joined_at: Timestamp::from_millis(1_763_000_000_000 + person as u64),
            meta: Arc::new(meta),
            look: Arc::new(Look {
                status: Visible::Online,
                message: None,
                emoji: None,
            }),
            look_revision: 0,
            profile: 0,
        };
        self.write(session, Ok(Arc::new(member)));
    }

    fn leave(&mut self, person: u128) {
        self.write(SessionId::from_u128(person), Err(Reason::Left));
    }

    fn write(&mut self, session: SessionId, entry: Result<Arc<Member>, Reason>) {
        self.handle(Input::Wrote {
            topic: topic(),
            session,
            entry,
            is_shared: true,
        });
    }

    fn open(&mut self, session: u128, number: u32, span: Span, rows: usize) {
        self.handle(Input::WindowOpened {
            topic: topic(),
            session: SessionId::from_u128(session),
            number,
            window: Window::new(span, rows).unwrap(),
            reply_to: Some(number),
        });
    }

    fn close(&mut self, session: u128, number: u32) {
        let session = SessionId::from_u128(session);
        let topic = topic();
        self.handle(Input::WindowClosed {
            topic,
            session,
            number,
        });
    }

    fn handle(&mut self, input: Input<ReplyTo>) {
        let mut effects = Vec::new();
        self.rosters.handle(self.now, input, &mut effects);
        self.perform(effects);
    }

    /// Lets time pass.
    fn pass(&mut self, millis: u64) {
        let then = self.now + Duration::from_millis(millis);
        loop {
            let mut effects = Vec::new();
            self.rosters.expire(self.now, &mut effects);
            self.perform(effects);
            let next = self.rosters.next_deadline().filter(|it| *it <= then);
            let Some(next) = next else {
                break;
            };
            self.now = self.now.max(next);
        }
        self.now = then;
    }

    fn perform(&mut self, effects: Vec<Effect<ReplyTo>>) {
        for effect in effects {
            match effect {
                Effect::Tell { to, event, .. } => {
                    let Hearers::Window(_, sessions) = to else {
                        panic!("nobody watches: {event:?}");
                    };
                    let sessions = sessions.iter().map(|it| it.as_u128()).collect();
                    self.told.push((sessions, event));
                }
                Effect::Refuse { why, .. } => self.refused.push(why),
                _ => {}
            }
        }
    }

    /// What the windows were told since the last call, as text.
    fn told(&mut self) -> Vec<String> {
        let told = self.told.drain(..);
        told.map(|(sessions, event)| format!("{sessions:?} {}", text(&event)))
            .collect()
    }
}

fn topic() -> Topic {
    Topic::Channel(ChannelId::new("room:1").unwrap())
}

fn text(event: &Event) -> String {
    match event {
        Event::Window {
            number,
            count,
            rows,
            ..
        } => {
            let rows: Vec<_> = rows.iter().map(|it| it.user.as_str()).collect();
            format!("{number}: {} of {count}", rows.join(" "))
        }
        Event::WindowChanges {
            number,
            count,
            gone,
            rows,
            ..
        } => {
            let gone = gone.iter().map(|it| format!(" -{it}"));
            let rows = rows
                .iter()
                .map(|it| format!(" {}@{}", it.person.user, it.at));
            let count = count.iter().map(|it| format!(" of {it}"));
            let all: String = gone.chain(rows).chain(count).collect();
            format!("{number}:{all}")
        }
        other => panic!("not of a window: {other:?}"),
    }
}

fn user(text: &str) -> UserId {
    UserId::new(text).unwrap()
}

#[test]
fn a_window_gets_its_rows_and_then_only_what_changes_in_them() {
    let mut room = Room::of(5);
    room.open(100, 1, Span::default(), 3);
    assert_eq!(room.told(), ["[100] 1: u00000 u00001 u00002 of 5"]);
    room.leave(1);
    room.pass(2000);
    assert_eq!(room.told(), ["[100] 1: -u00001 u00003@2 of 4"]);
    room.join(0, "Zoe");
    room.pass(2000);
    assert_eq!(room.told(), ["[100] 1: u00000@0"]);
    room.join(1, "Eve");
    room.pass(2000);
    assert_eq!(room.told(), ["[100] 1: -u00003 u00001@1 of 5"]);
}

#[test]
fn what_happens_outside_of_a_window_is_not_told_but_for_the_number_of_people() {
    let mut room = Room::of(1000);
    room.open(100, 1, Span::default(), 50);
    room.open(101, 1, Span::named("p009", None), 50);
    room.told.clear();
    for n in 0..500 {
        room.join(200 + n, "Other");
        room.leave(200 + n);
        room.join(200 + n, &format!("P00{}", 200 + n));
        room.pass(10);
    }
    room.pass(5000);
    assert_eq!(room.told(), [""; 0]);
    (0..100).for_each(|it| room.join(2000 + it, "New"));
    room.pass(5000);
    assert_eq!(room.told(), ["[100] 1: of 1100", "[101] 1: of 1100"]);
}

#[test]
fn the_number_of_people_is_told_at_most_once_a_second_and_is_right_in_the_end() {
    let mut room = Room::of(10);
    room.open(100, 1, Span::default(), 3);
    room.told.clear();
    let (start, mut counts) = (room.now, Vec::new());
    for n in 0..300 {
        room.join(1000 + n, "New");
        room.pass(11);
        let since = room.now.since(start);
        counts.extend(room.told().into_iter().map(|it| (since, it)));
    }
    room.pass(1000);
    assert!((3..=5).contains(&counts.len()), "{counts:?}");
    let spans = counts.windows(2).map(|it| it[1].0 - it[0].0);
    let slack = Duration::from_millis(11);
    assert!(
        spans.min() >= Some(Duration::from_secs(1) - slack),
        "{counts:?}"
    );
    assert_eq!(room.told(), ["[100] 1: of 310"]);
}

#[test]
fn a_count_that_a_newcomer_was_told_and_that_is_over_is_told_again() {
    let mut room = Room::of(10);
    room.open(100, 1, Span::default(), 1);
    room.leave(9);
    room.pass(100);
    assert_eq!(room.told(), ["[100] 1: u00000 of 10", "[100] 1: of 9"]);
    room.join(9, "Again");
    room.open(101, 1, Span::default(), 1);
    room.leave(9);
    room.pass(2000);
    let told = room.told();
    assert_eq!(told, ["[101] 1: u00000 of 10", "[100, 101] 1: of 9"]);
}

#[test]
fn equal_windows_share_their_events() {
    let mut room = Room::of(10);
    (100..103).for_each(|it| room.open(it, 1, Span::default(), 3));
    room.open(103, 2, Span::default(), 3);
    let states: Vec<_> = room.told.iter().map(|it| Arc::as_ptr(&it.1)).collect();
    assert_eq!([states[1], states[2]], [states[0]; 2]);
    assert_ne!(states[3], states[0]);
    room.told.clear();
    room.leave(0);
    room.pass(2000);
    let told = room.told();
    assert_eq!(
        told,
        [
            "[100, 101, 102] 1: -u00000 u00003@2 of 9",
            "[103] 2: -u00000 u00003@2 of 9"
        ]
    );
}

#[test]
fn a_window_moves_under_its_number_and_closes() {
    let mut room = Room::of(10);
    room.open(100, 1, Span::default(), 2);
    let after = (Timestamp::from_millis(1_763_000_000_004), user("u00004"));
    room.open(100, 1, Span::joined(Some(after)), 2);
    let first = [
        "[100] 1: u00000 u00001 of 10",
        "[100] 1: u00005 u00006 of 10",
    ];
    assert_eq!(room.told(), first);
    room.leave(0);
    room.leave(5);
    room.pass(2000);
    assert_eq!(room.told(), ["[100] 1: -u00005 u00007@1 of 8"]);
    room.close(100, 1);
    room.close(100, 1);
    room.leave(6);
    room.pass(2000);
    assert_eq!(room.told(), [""; 0]);
}

#[test]
fn windows_by_name_follow_renames_and_begin_where_they_are_told_to() {
    let mut room = Room::new(Limits::default());
    for (n, name) in ["Eve", "ann", "Bob", "Anna", "BEA", "ann"]
        .into_iter()
        .enumerate()
    {
        room.join(n as u128, name);
    }
    room.pass(2000);
    room.open(100, 1, Span::named("", None), 3);
    room.open(100, 2, Span::named("AN", None), 50);
    room.open(
        100,
        3,
        Span::named("", Some(("ann", Some(user("u00001"))))),
        2,
    );
    room.open(100, 4, Span::named("", Some(("b", None))), 50);
    assert_eq!(
        room.told(),
        [
            "[100] 1: u00001 u00005 u00003 of 6",
            "[100] 2: u00001 u00005 u00003 of 6",
            "[100] 3: u00005 u00003 of 6",
            "[100] 4: u00004 u00002 u00000 of 6",
        ]
    );
    room.join(1, "Yan");
    room.pass(2000);
    assert_eq!(
        room.told(),
        [
            "[100] 1: -u00001 u00004@2",
            "[100] 2: -u00001",
            "[100] 4: u00001@3",
        ]
    );
}

#[test]
fn more_different_windows_than_the_limit_are_refused_and_the_old_one_stays() {
    let limits = Limits {
        topic_windows_max: 2,
        ..Limits::default()
    };
    let mut room = Room::new(limits);
    (0..4).for_each(|it| room.join(it, "P"));
    room.pass(2000);
    room.open(100, 1, Span::default(), 1);
    room.open(101, 1, Span::default(), 2);
    room.open(102, 1, Span::default(), 3);
    // Nobody else has the window that it leaves.
    room.open(101, 1, Span::default(), 4);
    // Equal windows are one.
    room.open(102, 1, Span::default(), 4);
    room.open(102, 1, Span::default(), 3);
    let what = "different windows on one topic";
    let why = Refusal::TooMany { what, max: 2 };
    assert_eq!(room.refused, [why.clone(), why]);
    room.told.clear();
    room.leave(3);
    room.pass(2000);
    assert_eq!(room.told(), ["[100] 1: of 3", "[101, 102] 1: -u00003 of 3"]);
}

#[test]
fn names_are_sorted_for_a_minute_after_the_last_window_that_needed_it() {
    let mut room = Room::of(3);
    assert_eq!(room.rosters.next_deadline(), None);
    room.open(100, 1, Span::named("", None), 3);
    room.pass(2000);
    assert_eq!(room.rosters.next_deadline(), None);
    room.close(100, 1);
    room.pass(59_000);
    assert!(room.rosters.next_deadline().is_some());
    let page = room
        .rosters
        .rows(room.now, &topic(), &Span::named("p0000", None), 0, 2);
    let people: Vec<_> = page.people.iter().map(|it| it.user.as_str()).collect();
    assert_eq!((people, page.total), (vec!["u00000", "u00001"], 3));
    room.pass(59_000);
    assert!(room.rosters.next_deadline().is_some());
    room.pass(1_000);
    assert_eq!(room.rosters.next_deadline(), None);
}

#[test]
fn a_page_skips_rows_of_its_span() {
    let mut room = Room::of(12);
    let mut page = |span: Span, offset, limit| {
        let page = room.rosters.rows(room.now, &topic(), &span, offset, limit);
        assert_eq!(page.total, 12);
        let people = page.people.iter().map(|it| it.user.as_str().to_owned());
        people.collect::<Vec<_>>()
    };
    let third = (
        Timestamp::from_millis(1_763_000_000_002),
        UserId::new("u00002").unwrap(),
    );
    let after = Span::joined(Some(third));
    assert_eq!(page(Span::default(), 10, 9), ["u00010", "u00011"]);
    assert_eq!(page(after.clone(), 0, 1), ["u00003"]);
    assert_eq!(page(after.clone(), 2, 2), ["u00005", "u00006"]);
    let prefix = Span::named("P0000", None);
    assert_eq!(page(prefix.clone(), 0, 2), ["u00000", "u00001"]);
    assert_eq!(page(prefix.clone(), 8, 9), ["u00008", "u00009"]);
    let after = Span::named("P0000", Some(("p00003", None)));
    assert_eq!(page(after.clone(), 1, 1), ["u00004"]);
    for span in [Span::default(), prefix, after] {
        assert_eq!(page(span, usize::MAX, 9), [""; 0]);
    }
}

#[test]
fn nothing_is_left_of_a_room_when_its_last_window_closes() {
    let mut room = Room::new(Limits::default());
    room.open(100, 1, Span::named("x", None), 3);
    room.join(1, "Xaver");
    room.pass(2000);
    room.leave(1);
    room.pass(2000);
    let told = room.told();
    assert_eq!(
        told,
        [
            "[100] 1:  of 0",
            "[100] 1: u00001@0 of 1",
            "[100] 1: -u00001 of 0"
        ]
    );
    room.close(100, 1);
    room.pass(120_000);
    assert_eq!(room.rosters.next_deadline(), None);
    let debug = format!("{:?}", room.rosters);
    assert!(debug.contains("places: {}"), "{debug}");
}
