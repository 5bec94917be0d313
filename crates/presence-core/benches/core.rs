//! What the machines cost: a change of status, a join, an entry of a diff, a timer, a heartbeat.

#![allow(clippy::unwrap_used, missing_docs)] // nobody calls this
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // a benchmark reads the clock

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use presence_core::history::{Cause, History, Transition, TransitionKind};
use presence_core::node::{Effect, Input, Node};
use presence_core::rosters::{self, Rosters};
use presence_core::users::{self, Connection, Users};
use presence_core::{
    ChannelId, Chosen, DeviceId, Limits, Look, Member, Meta, Reason, SessionId, Span, StatusChange,
    Timers, Timestamp, Timing, Topic, UserId, Visible, WINDOW_ROWS_MAX, Watching, Window,
};

const START: Timestamp = Timestamp::from_millis(1_764_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

fn user(number: u128) -> UserId {
    UserId::new(&format!("user-{number}")).unwrap()
}

fn room(number: u32) -> ChannelId {
    ChannelId::new(&format!("room:{number}")).unwrap()
}

fn connection(number: u128) -> Connection {
    Connection::of_service(SessionId::from_u128(number))
}

fn connected(number: u128) -> users::Input<()> {
    users::Input::Connected {
        session: SessionId::from_u128(number),
        resume: None,
        fingerprint: None,
        device: DeviceId::new("web:1").unwrap(),
        workspaces: Vec::new(),
        card: Arc::default(),
        origin: None,
        reply_to: (),
    }
}

fn joined(number: u128, channel: ChannelId) -> users::Input<()> {
    users::Input::Joined {
        by: connection(number),
        channel,
        meta: Arc::default(),
        watch: None,
        reply_to: None,
    }
}

fn loaded() -> users::Input<()> {
    users::Input::Loaded { profile: None }
}

fn chose(chosen: Chosen) -> users::Input<()> {
    let change = StatusChange {
        chosen: Some(chosen),
        ..StatusChange::default()
    };
    let reply_to = None;
    users::Input::Chose {
        change,
        by: Cause::Client,
        reply_to,
    }
}

/// `count` users, each with a session.
fn people(count: u128) -> Users<()> {
    let mut users = Users::new(Timing::default(), Limits::default(), 1);
    let mut out = Vec::new();
    for number in 1..=count {
        let user = user(number);
        users.handle(START, &user, connected(number), &mut out);
        users.handle(START, &user, loaded(), &mut out);
        out.clear();
    }
    users
}

fn a_status_change(c: &mut Criterion) {
    let mut users = people(1);
    let ann = user(1);
    let mut out = Vec::new();
    for number in 0..3 {
        users.handle(START, &ann, joined(1, room(number)), &mut out);
    }
    let mut chosen = [Chosen::Busy, Chosen::Away].into_iter().cycle();
    c.bench_function("a status change with three channels", |b| {
        b.iter(|| {
            out.clear();
            users.handle(START, &ann, chose(chosen.next().unwrap()), &mut out);
            black_box(&out);
        });
    });

    let mut node = Node::new(Timing::default(), Limits::default(), 1);
    let mut out: Vec<Effect<()>> = Vec::new();
    let mut tell = |node: &mut Node<()>, now, input| {
        out.clear();
        node.handle(now, Input::User(ann.clone(), input), &mut out);
        black_box(&out);
    };
    tell(&mut node, START, connected(1));
    tell(&mut node, START, loaded());
    for number in 0..3 {
        tell(&mut node, START, joined(1, room(number)));
        let watched = rosters::Input::Watched {
            topic: Topic::Channel(room(number)),
            watcher: SessionId::from_u128(9),
            watching: Watching::Full,
            before: None,
            have: None,
            reply_to: None,
        };
        node.handle(START, Input::Roster(watched), &mut Vec::new());
    }
    let mut now = START;
    let mut chosen = [Chosen::Busy, Chosen::Away].into_iter().cycle();
    c.bench_function("the same, told to the watchers of all three", |b| {
        b.iter(|| {
            now = now + SECOND;
            tell(&mut node, now, chose(chosen.next().unwrap()));
        });
    });
}

fn the_history(c: &mut Criterion) {
    let mut history = History::new(1 << 20, None);
    let ann = user(1);
    let (mut at, channel) = (START, room(1));
    let mut push = |history: &mut History, user: &UserId, channel: &ChannelId| {
        at = at + Duration::from_millis(1);
        history.push(Transition {
            at,
            user: user.clone(),
            session: Some(SessionId::from_u128(1)),
            channel: Some(channel.clone()),
            what: TransitionKind::Joined,
            cause: Cause::Client,
        });
    };
    // Full, so that each push also drops the oldest.
    let others: Vec<_> = (0..1000).map(|it| (user(it), room(it as u32))).collect();
    for (user, channel) in others.iter().cycle().take(20_000) {
        push(&mut history, user, channel);
    }
    c.bench_function("a transition into a full ring", |b| {
        b.iter(|| push(&mut history, &ann, &channel));
    });
    let mut others = others.iter().cycle();
    c.bench_function(
        "a transition of one of a thousand users into a full ring",
        |b| {
            b.iter(|| {
                let (user, channel) = others.next().unwrap();
                push(&mut history, user, channel);
            });
        },
    );

    let mut users = Users::new(Timing::default(), Limits::default(), 1);
    users.record_history();
    let mut out = Vec::new();
    users.handle(START, &ann, connected(1), &mut out);
    users.handle(START, &ann, loaded(), &mut out);
    for number in 0..3 {
        users.handle(START, &ann, joined(1, room(number)), &mut out);
    }
    let mut chosen = [Chosen::Busy, Chosen::Away].into_iter().cycle();
    c.bench_function("a status change with three channels, recorded", |b| {
        b.iter(|| {
            out.clear();
            users.handle(START, &ann, chose(chosen.next().unwrap()), &mut out);
            for effect in out.drain(..) {
                match effect {
                    users::Effect::Record(transition) => history.push(transition),
                    effect => drop(black_box(effect)),
                }
            }
        });
    });
}

fn member(number: u128, status: Visible, look_revision: u64) -> Arc<Member> {
    Arc::new(Member {
        epoch: 0,
        session: SessionId::from_u128(number),
        alias: SessionId::from_u128(number),
        user: user(number),
        device: DeviceId::new("web:1").unwrap().kind(),
        joined_at: START,
        meta: Arc::new(Meta::default()),
        look: Arc::new(Look {
            status,
            message: None,
            emoji: None,
        }),
        look_revision,
        profile: 0,
    })
}

fn wrote(member: Arc<Member>) -> rosters::Input<()> {
    rosters::Input::Wrote {
        topic: Topic::Channel(room(1)),
        session: member.session,
        entry: Ok(member),
        is_shared: true,
    }
}

/// A room of `count`, watched, with all told.
fn a_room(count: u128) -> Rosters {
    let mut rosters = Rosters::new(Timing::default(), Limits::default(), 1);
    let mut out = Vec::new();
    let watched = rosters::Input::Watched {
        topic: Topic::Channel(room(1)),
        watcher: SessionId::from_u128(9),
        watching: Watching::Full,
        before: None,
        have: None,
        reply_to: None,
    };
    rosters.handle(START, watched, &mut out);
    for number in 1..=count {
        rosters.handle(START, wrote(member(number, Visible::Online, 1)), &mut out);
    }
    rosters.expire(START, &mut out);
    rosters.expire(START + SECOND, &mut out);
    rosters
}

fn rooms(c: &mut Criterion) {
    let mut rosters = a_room(99);
    let mut now = START + SECOND;
    let newcomer = member(100, Visible::Online, 1);
    let mut out = Vec::new();
    c.bench_function("a join and a leave in a room of 100, both told", |b| {
        b.iter(|| {
            out.clear();
            now = now + SECOND;
            rosters.handle(now, wrote(newcomer.clone()), &mut out);
            rosters.expire(now, &mut out);
            now = now + SECOND;
            let left = rosters::Input::Wrote {
                topic: Topic::Channel(room(1)),
                session: newcomer.session,
                entry: Err(Reason::Left),
                is_shared: true,
            };
            rosters.handle(now, left, &mut out);
            rosters.expire(now, &mut out);
            black_box(&out);
        });
    });

    // What writing costs and what telling costs, apart.
    let mut rosters = a_room(100);
    let (mut now, mut revision) = (START + SECOND, 1);
    let mut changes = || {
        revision += 1;
        let look = [Visible::Away, Visible::Online][revision as usize % 2];
        let members = (1..=100).map(|it| member(it, look, revision));
        members.map(wrote).collect::<Vec<_>>()
    };
    let mut group = c.benchmark_group("a tick with 100 changes");
    group.throughput(Throughput::Elements(100));
    group.bench_function("to write them", |b| {
        b.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                now = now + SECOND;
                let changes = changes();
                let begun = Instant::now();
                for change in changes {
                    rosters.handle(now, change, &mut out);
                }
                spent += begun.elapsed();
                rosters.expire(now, &mut out);
                out.clear();
            }
            spent
        });
    });
    group.bench_function("to tell them", |b| {
        b.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            for _ in 0..times {
                now = now + SECOND;
                for change in changes() {
                    rosters.handle(now, change, &mut out);
                }
                let begun = Instant::now();
                rosters.expire(now, &mut out);
                spent += begun.elapsed();
                assert_eq!(out.len(), 1);
                out.clear();
            }
            spent
        });
    });
    group.finish();
}

/// What a window costs: a change of somebody whom no window shows, in rooms of a hundred and of a hundred times as many.
fn windows(c: &mut Criterion) {
    let mut group = c.benchmark_group("a change outside of 100 different windows by name");
    for people in [1_000, 100_000] {
        let mut rosters = a_room(people);
        let (mut now, mut revision) = (START + SECOND, 1);
        let mut out = Vec::new();
        for number in 1..=100 {
            let from = format!("user-{number}");
            let span = Span::named("", Some((&from, None)));
            let opened = rosters::Input::WindowOpened {
                topic: Topic::Channel(room(1)),
                session: SessionId::from_u128(1 << 100),
                number,
                window: Window::new(span, WINDOW_ROWS_MAX).unwrap(),
                reply_to: None,
            };
            rosters.handle(now, opened, &mut out);
        }
        group.bench_function(format!("in a room of {people}"), |b| {
            b.iter(|| {
                out.clear();
                now = now + SECOND;
                revision += 1;
                let look = [Visible::Away, Visible::Online][revision as usize % 2];
                let last = member(people - 1, look, revision);
                rosters.handle(now, wrote(last), &mut out);
                rosters.expire(now, &mut out);
                black_box(&out);
            });
        });
    }
    group.finish();
}

fn timers(c: &mut Criterion) {
    // Of a million, most of it is the memory's time; of a thousand, most of it is ours.
    for (count, name) in [(1_000_u64, "a thousand"), (1_000_000, "a million")] {
        let mut timers = Timers::default();
        for number in 0..count {
            timers.arm(number, START + Duration::from_millis(number % 60_000));
        }
        let mut now = START;
        let mut number = 0;
        c.bench_function(&format!("re-arming one timer of {name}"), |b| {
            b.iter(|| {
                number = (number + 999_983) % count;
                now = now + Duration::from_millis(1);
                timers.arm(number, now + Duration::from_secs(60));
            });
        });
    }
    let mut timers = Timers::default();
    let mut fresh = 0_u64;
    c.bench_function("arming a timer and ending it", |b| {
        b.iter(|| {
            fresh += 1;
            let now = START + Duration::from_millis(fresh);
            timers.arm(fresh, now + SECOND);
            black_box(timers.expire(now));
        });
    });
}

fn heartbeats(c: &mut Criterion) {
    let mut users = people(100_000);
    let ids: Vec<UserId> = (1..=100_000).map(user).collect();
    let mut number = 0;
    let mut out = Vec::new();
    c.bench_function("a heartbeat of one user of 100,000", |b| {
        b.iter(|| {
            number = (number + 99_991) % 100_000;
            let by = connection(number as u128 + 1);
            let now = START + SECOND;
            users.handle(now, &ids[number], users::Input::Heard { by }, &mut out);
        });
    });
    assert!(out.is_empty(), "a heartbeat is silent");
}

criterion_group!(
    benches,
    a_status_change,
    the_history,
    rooms,
    windows,
    timers,
    heartbeats
);
criterion_main!(benches);
