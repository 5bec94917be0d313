//! Clauses about webhook events, which are kept until they are delivered.

use std::time::Duration;

use presence_core::cluster::{Subject, Write};
use presence_core::hooks::{HookEvent, LastNotified};
use presence_core::ports::{
    EVENTS_WAITING_MAX, EnqueueOutcome, Hooks, Known, Notification, NumberedEvent, Outbox, Queue,
    Row, StoreError, Topics,
};
use presence_core::{ChannelId, Edit, Look, Timestamp, Topic, UserId, Visible};

use super::case::Case;
use super::make::{entry, put, remove, user};
use super::node::Node;

/// More rows, or events, than a partition has.
const ALL: usize = 100_000;

pub(super) async fn what_is_told_is_known_and_waits<T: Topics + Outbox + Hooks>(case: &Case<T>) {
    let (ann, room) = (case.user(), case.place());
    for subject in [&ann, &room] {
        let row = change(case, subject).await;
        let before = known(&case.there, subject).await;
        case.same("what is known at first", before, Known::default());
        let notification = notification(&row, 0, &told(subject), &events(subject));
        case.same(
            "queueing",
            enqueue(&case.here, &notification).await,
            EnqueueOutcome::Stored,
        );
        let known = known(&case.there, subject).await;
        case.same("what is known", known.last_notified, Some(told(subject)));
        case.holds(known.revision > 0, "what is known has no revision");
        let waiting = waiting(&case.there, subject).await;
        case.same("what waits", events_in(&waiting), events(subject));
        case.same("the row", row_of(case, subject).await, None);
    }
    clean(case, &[ann, room]).await;
}

pub(super) async fn what_is_known_no_more_is_nothing<T: Topics + Outbox + Hooks>(case: &Case<T>) {
    let ann = case.user();
    let row = change(case, &ann).await;
    enqueue(
        &case.here,
        &notification(&row, 0, &told(&ann), &events(&ann)),
    )
    .await;
    let after = known(&case.here, &ann).await.revision;
    let row = change(case, &ann).await;
    let gone = Notification {
        last_notified: Edit::Clear,
        ..notification(&row, after, &told(&ann), &[offline(&ann)])
    };
    case.same(
        "queueing",
        enqueue(&case.there, &gone).await,
        EnqueueOutcome::Stored,
    );
    let known = known(&case.here, &ann).await;
    case.same("what is known", known, Known::default());
    clean(case, &[ann]).await;
}

pub(super) async fn nothing_to_tell_acknowledges_the_row<T: Topics + Outbox + Hooks>(
    case: &Case<T>,
) {
    let ann = case.user();
    let row = change(case, &ann).await;
    enqueue(
        &case.here,
        &notification(&row, 0, &told(&ann), &events(&ann)),
    )
    .await;
    let before = known(&case.here, &ann).await;
    let row = change(case, &ann).await;
    let nothing = Notification {
        last_notified: Edit::Keep,
        ..notification(&row, before.revision, &told(&ann), &[])
    };
    case.same(
        "queueing",
        enqueue(&case.there, &nothing).await,
        EnqueueOutcome::Stored,
    );
    case.same("what is known", known(&case.here, &ann).await, before);
    case.same("the row", row_of(case, &ann).await, None);
    let waiting = waiting(&case.here, &ann).await;
    case.same("what waits", events_in(&waiting), events(&ann));
    clean(case, &[ann]).await;
}

pub(super) async fn each_change_is_told_by_one_node<T: Topics + Outbox + Hooks>(case: &Case<T>) {
    let room = case.place();
    let row = change(case, &room).await;
    let first = notification(&row, 0, &told(&room), &events(&room));
    case.same(
        "queueing",
        enqueue(&case.here, &first).await,
        EnqueueOutcome::Stored,
    );
    let again = enqueue(&case.there, &first).await;
    case.same("queueing once more", again, EnqueueOutcome::Overtaken);
    // The row is there again, and the other node still goes by what was known then.
    change(case, &room).await;
    let late = enqueue(&case.there, &first).await;
    case.same("queueing after another", late, EnqueueOutcome::Overtaken);
    let after = known(&case.here, &room).await.revision;
    let wrong = notification(&change(case, &room).await, after + 1, &told(&room), &[]);
    let wrong = enqueue(&case.there, &wrong).await;
    case.same(
        "queueing after something else",
        wrong,
        EnqueueOutcome::Overtaken,
    );
    let waiting = waiting(&case.here, &room).await;
    case.same("what waits", events_in(&waiting), events(&room));
    clean(case, &[room]).await;
}

pub(super) async fn who_finds_nothing_to_tell_is_faster_too<T: Topics + Outbox + Hooks>(
    case: &Case<T>,
) {
    let ann = case.user();
    let row = change(case, &ann).await;
    let late = notification(&row, 0, &told(&ann), &events(&ann));
    case.here.acknowledge(Queue::Webhooks, &[row]).await;
    let late = enqueue(&case.there, &late).await;
    case.same("queueing without a row", late, EnqueueOutcome::Overtaken);
    let known = known(&case.here, &ann).await;
    case.same("what is known", known, Known::default());
    let waiting = waiting(&case.here, &ann).await;
    case.same("what waits", waiting.len(), 0);
}

pub(super) async fn what_has_changed_again_stays_a_row<T: Topics + Outbox + Hooks>(case: &Case<T>) {
    let (ann, room) = (case.user(), case.place());
    for subject in [&ann, &room] {
        let row = change(case, subject).await;
        let newer = change(case, subject).await;
        let exact = Notification {
            is_exact: true,
            ..notification(&row, 0, &told(subject), &events(subject))
        };
        let outcome = enqueue(&case.here, &exact).await;
        case.same(
            "queueing what is not true",
            outcome,
            EnqueueOutcome::Overtaken,
        );
        let about = Notification {
            is_exact: false,
            ..exact
        };
        case.same(
            "queueing",
            enqueue(&case.here, &about).await,
            EnqueueOutcome::Stored,
        );
        let left = row_of(case, subject).await;
        case.same("the row", left, Some(newer.version));
    }
    clean(case, &[ann, room]).await;
}

pub(super) async fn numbers_grow_and_events_keep_their_order<T: Topics + Outbox + Hooks>(
    case: &Case<T>,
) {
    let room = case.place();
    let ann = loop {
        let ann = case.user();
        if ann.partition() == room.partition() {
            break ann;
        }
    };
    let mut numbers = Vec::new();
    for subject in [&room, &ann, &room] {
        let row = change(case, subject).await;
        let after = known(&case.here, subject).await.revision;
        let notification = notification(&row, after, &told(subject), &events(subject));
        case.same(
            "queueing",
            enqueue(&case.there, &notification).await,
            EnqueueOutcome::Stored,
        );
        // What has waited does not count: numbers grow for ever.
        let waiting = case
            .here
            .link
            .waiting(&[room.partition()], ALL)
            .await
            .remove(0);
        let waiting = waiting.expect("the store is there").events;
        numbers.extend(waiting.iter().map(|it| it.number));
        let told = waiting.into_iter().map(|it| it.event);
        case.same("what waits", told.collect(), events(subject));
        take_away(case, room.partition()).await;
    }
    case.holds(
        numbers.is_sorted_by(|a, b| a < b),
        "a number is not above the one before",
    );
    let last = known(&case.here, &room).await.revision;
    case.holds(last > 0, "there is no revision");
    clean(case, &[ann, room]).await;
}

pub(super) async fn what_is_delivered_is_gone_and_nothing_else<T: Topics + Outbox + Hooks>(
    case: &Case<T>,
) {
    let room = case.place();
    take_away(case, room.partition()).await;
    let row = change(case, &room).await;
    let many: Vec<HookEvent> = (0..4).map(|n| joined(&room, n)).collect();
    enqueue(&case.here, &notification(&row, 0, &told(&room), &many)).await;
    let all = waiting(&case.here, &room).await;
    for max in [0, 1, 3] {
        let some = case.there.link.waiting(&[room.partition()], max).await;
        let some = some.into_iter().next().expect("one outcome for each");
        let some = some.expect("the store is there");
        case.same("the first", events_in(&some.events), many[..max].to_vec());
        case.same("how many there are", some.count, many.len());
    }
    for _ in 0..2 {
        delivered(&case.there, room.partition(), all[1].number).await;
        let left = waiting(&case.here, &room).await;
        case.same("what waits", events_in(&left), many[2..].to_vec());
    }
    // A node that was slow takes nothing away that came later.
    delivered(&case.there, room.partition(), all[0].number).await;
    let left = waiting(&case.here, &room).await;
    case.same("what waits", left.len(), 2);
    clean(case, &[room]).await;
}

pub(super) async fn too_many_events_wait_as_a_row<T: Topics + Outbox + Hooks>(case: &Case<T>) {
    let room = case.place();
    take_away(case, room.partition()).await;
    let row = change(case, &room).await;
    let much: Vec<HookEvent> = (0..=EVENTS_WAITING_MAX).map(|n| joined(&room, n)).collect();
    let first = notification(&row, 0, &told(&room), &much);
    let outcome = enqueue(&case.here, &first).await;
    case.same(
        "queueing more than may wait",
        outcome,
        EnqueueOutcome::Stored,
    );
    let row = change(case, &room).await;
    let before = known(&case.here, &room).await;
    let more = notification(&row, before.revision, &told(&room), &[joined(&room, 0)]);
    case.same(
        "queueing more",
        enqueue(&case.there, &more).await,
        EnqueueOutcome::Full,
    );
    case.same("what is known", known(&case.here, &room).await, before);
    let left = row_of(case, &room).await;
    case.same("the row", left, Some(row.version));
    let waiting = waiting(&case.here, &room).await;
    case.same("how many wait", waiting.len(), much.len());
    take_away(case, room.partition()).await;
    case.same(
        "queueing then",
        enqueue(&case.there, &more).await,
        EnqueueOutcome::Stored,
    );
    clean(case, &[room]).await;
}

pub(super) async fn what_was_told_can_be_audited<T: Topics + Outbox + Hooks>(case: &Case<T>) {
    let room = case.place();
    let mut rooms = vec![room.clone()];
    rooms.extend((0..4).map(|_| case.neighbour(&room)));
    for room in &rooms {
        let row = change(case, room).await;
        enqueue(&case.here, &notification(&row, 0, &told(room), &[])).await;
        case.same("the row", row_of(case, room).await, None);
    }
    let newer = change(case, &room).await;
    let (mut cursor, mut calls) = (0, 0);
    loop {
        let next = case.there.link.audit(room.partition(), cursor, 2).await;
        calls += 1;
        case.holds(calls < ALL, "there is no end of what is audited");
        match next.expect("the store is there") {
            Some(next) => cursor = next,
            None => break,
        }
    }
    let left = row_of(case, &room).await;
    case.same("the row of a change", left, Some(newer.version));
    for room in &rooms[1..] {
        let version = row_of(case, room).await;
        case.holds(version.is_some(), "what was told is not audited");
        let row = Row {
            subject: room.clone(),
            version: version.unwrap_or_default(),
        };
        let after = known(&case.here, room).await.revision;
        let same = Notification {
            last_notified: Edit::Keep,
            is_exact: true,
            ..notification(&row, after, &told(room), &[])
        };
        case.same(
            "queueing",
            enqueue(&case.there, &same).await,
            EnqueueOutcome::Stored,
        );
        case.same("the row then", row_of(case, room).await, None);
    }
    clean(case, &rooms).await;
}

/// Changes `subject` once more, and returns the row that the change leaves.
async fn change<T: Topics + Outbox>(case: &Case<T>, subject: &Subject) -> Row {
    let session = case.session();
    let token = case.here.token(1);
    let op = put(session, token, &entry(subject, session, "x"));
    let write = |op| Write {
        subject: subject.clone(),
        by: case.here.me,
        ops: vec![op],
        is_last: false,
        until: None,
    };
    case.here.write_all(&[write(op)]).await;
    // Nothing stays of it.
    let written = case.here.write_all(&[write(remove(session, token))]).await;
    let version = written.first().and_then(|it| it.version);
    Row {
        subject: subject.clone(),
        version: version.unwrap_or_default(),
    }
}

/// A notification that is valid even if the subject has changed since.
fn notification(row: &Row, after: u64, told: &LastNotified, events: &[HookEvent]) -> Notification {
    Notification {
        row: row.clone(),
        after,
        is_exact: false,
        last_notified: Edit::Set(told.clone()),
        events: events.to_vec(),
    }
}

fn told(subject: &Subject) -> LastNotified {
    match subject {
        Subject::User(_) => LastNotified::Here(look()),
        Subject::Topic(_) | Subject::Node(_) => {
            LastNotified::Occupied([user("ann"), user("bob")].into())
        }
    }
}

fn look() -> Look {
    Look {
        status: Visible::Busy,
        message: Some("Bin gleich zurück – 会議中".into()),
        emoji: Some("👩‍👩‍👧‍👦".into()),
    }
}

/// One event of every kind that `subject` can have.
fn events(subject: &Subject) -> Vec<HookEvent> {
    match subject {
        Subject::User(user) => vec![
            HookEvent::UserOnline {
                user: user.clone(),
                look: look(),
            },
            HookEvent::UserChanged {
                user: user.clone(),
                look: Look {
                    status: Visible::Away,
                    message: None,
                    emoji: None,
                },
            },
            offline(subject),
            HookEvent::UserOffline {
                user: user.clone(),
                last_seen: None,
            },
        ],
        Subject::Topic(_) | Subject::Node(_) => {
            let channel = channel(subject);
            vec![
                HookEvent::ChannelOccupied {
                    channel: channel.clone(),
                },
                joined(subject, 1),
                HookEvent::ChannelLeft {
                    channel: channel.clone(),
                    user: user("ann"),
                },
                HookEvent::ChannelVacated { channel },
            ]
        }
    }
}

fn offline(subject: &Subject) -> HookEvent {
    let Subject::User(user) = subject else {
        panic!("the suite itself takes a place for a user");
    };
    HookEvent::UserOffline {
        user: user.clone(),
        last_seen: Some(Timestamp::from_millis(1_700_000_000_000)),
    }
}

fn joined(subject: &Subject, n: usize) -> HookEvent {
    HookEvent::ChannelJoined {
        channel: channel(subject),
        user: UserId::new(&format!("user-{n}")).expect("it is made of good characters"),
    }
}

fn channel(subject: &Subject) -> ChannelId {
    match subject {
        Subject::Topic(Topic::Channel(channel)) => channel.clone(),
        _ => panic!("the suite itself takes {subject} for a channel"),
    }
}

async fn known<T: Hooks>(node: &Node<T>, subject: &Subject) -> Known {
    let known = node.link.known(std::slice::from_ref(subject)).await;
    ok(known)
}

async fn enqueue<T: Hooks>(node: &Node<T>, notification: &Notification) -> EnqueueOutcome {
    ok(node.link.enqueue(std::slice::from_ref(notification)).await)
}

/// The events that wait for `subject`.
async fn waiting<T: Hooks>(node: &Node<T>, subject: &Subject) -> Vec<NumberedEvent> {
    let mut events = ok(node.link.waiting(&[subject.partition()], ALL).await).events;
    events.retain(|it| match (subject, &it.event) {
        (
            Subject::User(user),
            HookEvent::UserOnline { user: it, .. }
            | HookEvent::UserChanged { user: it, .. }
            | HookEvent::UserOffline { user: it, .. },
        ) => it == user,
        (
            Subject::Topic(Topic::Channel(channel)),
            HookEvent::ChannelOccupied { channel: it }
            | HookEvent::ChannelJoined { channel: it, .. }
            | HookEvent::ChannelLeft { channel: it, .. }
            | HookEvent::ChannelVacated { channel: it },
        ) => it == channel,
        _ => false,
    });
    events
}

fn events_in(numbered: &[NumberedEvent]) -> Vec<HookEvent> {
    numbered.iter().map(|it| it.event.clone()).collect()
}

async fn delivered<T: Hooks>(node: &Node<T>, partition: u16, upto: u64) {
    ok(node.link.remove_delivered(&[(partition, upto)]).await);
}

/// Removes all events that wait in a partition.
async fn take_away<T: Hooks>(case: &Case<T>, partition: u16) {
    delivered(&case.here, partition, (1 << 53) - 1).await;
}

/// The version of the outbox row of `subject`, if there is one.
async fn row_of<T: Topics + Outbox>(case: &Case<T>, subject: &Subject) -> Option<u64> {
    let partitions = [subject.partition()];
    let due = case
        .there
        .due(Queue::Webhooks, &partitions, Duration::ZERO, ALL);
    let rows = due.await.remove(0);
    let row = rows.into_iter().find(|it| it.subject == *subject);
    row.map(|it| it.version)
}

/// Removes what receivers were told of `subjects`, and all events that wait in their partitions.
async fn clean<T: Topics + Outbox + Hooks>(case: &Case<T>, subjects: &[Subject]) {
    for subject in subjects {
        let row = change(case, subject).await;
        let after = known(&case.here, subject).await.revision;
        let end = Notification {
            last_notified: Edit::Clear,
            ..notification(&row, after, &told(subject), &[])
        };
        enqueue(&case.here, &end).await;
        take_away(case, subject.partition()).await;
    }
}

/// The outcome of a call that was asked for one thing.
fn ok<R>(mut outcomes: Vec<Result<R, StoreError>>) -> R {
    assert_eq!(outcomes.len(), 1, "one outcome for each");
    outcomes.remove(0).expect("the store is there")
}
