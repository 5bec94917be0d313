//! Clauses about the outbox: the rows that wait to be carried elsewhere.

use std::collections::BTreeSet;
use std::slice::from_ref;
use std::sync::Arc;
use std::time::Duration;

use presence_core::Reason;
use presence_core::cluster::{FencingToken, Field, Op, Record, Subject, Write};
use presence_core::ports::{Outbox, Queue, Row, Topics};
use tokio::time::{Instant, sleep};

use super::case::Case;
use super::make::{entry, profile, put, remove, user};
use super::node::{LONG, Node, PATIENCE};

/// More rows than a partition has.
const ALL: usize = 100_000;
/// How many rows one partition gets.
const ROWS: usize = 5;

pub(super) async fn a_write_says_which_version_it_made<T: Topics + Outbox>(case: &Case<T>) {
    let (ann, room) = (case.user(), case.place());
    for subject in [&ann, &room] {
        let session = case.session();
        let op = put(session, case.here.token(1), &entry(subject, session, "x"));
        let made = written(&case.here, subject, op.clone()).await;
        let clock = case.there.read(subject).await.clock;
        case.same("the version", made, clock.map(|it| it.version));
        let again = written(&case.here, subject, op).await;
        case.same("the version of nothing", again, None);
        let gone = written(&case.here, subject, remove(session, case.here.token(1))).await;
        case.holds(gone > made, "emptying a map makes no newer version");
    }
}

pub(super) async fn what_is_due_leaves_a_row_with_its_version<T: Topics + Outbox>(case: &Case<T>) {
    let (ann, room) = (case.user(), case.place());
    let (session, token) = (case.session(), case.here.token(1));
    for (subject, op, queues) in [
        (&ann, change(case, &ann, 1), &Queue::ALL[..]),
        (
            &ann,
            put(session, token, &entry(&ann, session, "x")),
            &[Queue::Webhooks],
        ),
        (
            &room,
            put(session, token, &entry(&room, session, "x")),
            &[Queue::Webhooks],
        ),
        (&room, remove(session, token), &[Queue::Webhooks]),
    ] {
        let version = written(&case.here, subject, op).await;
        case.holds(version.is_some(), "a change made no version");
        for queue in queues {
            let row = row_of(&case.there, *queue, subject).await;
            case.same(&format!("the row for {queue:?}"), row, version);
        }
    }
    acknowledge(case, &[ann, room]).await;
}

pub(super) async fn what_is_not_due_leaves_no_row<T: Topics + Outbox>(case: &Case<T>) {
    let anonymous = Subject::User(user(&format!("anon_{:016x}", case.random())));
    let (ann, room, workspace) = (case.user(), case.place(), case.workspace());
    for subject in [&anonymous, &ann, &room, &workspace] {
        let session = case.session();
        let op = put(session, case.here.token(1), &entry(subject, session, "x"));
        written(&case.here, subject, op).await;
    }
    written(&case.here, &anonymous, change(case, &anonymous, 1)).await;
    // The profile of somebody who was erased was carried before it is removed.
    let token = written_profile(case, &ann, 1).await;
    acknowledge(case, from_ref(&ann)).await;
    let field = Field::Profile;
    let reason = Reason::Left;
    let gone = Op::Remove {
        field,
        token,
        reason,
    };
    written(&case.here, &ann, gone).await;
    for subject in [&anonymous, &ann, &room, &workspace] {
        let row = row_of(&case.there, Queue::Profiles, subject).await;
        case.same(&format!("the row of {subject} for profiles"), row, None);
    }
    let row = row_of(&case.there, Queue::Webhooks, &workspace).await;
    case.same("the row of a workspace for webhooks", row, None);
    acknowledge(case, &[anonymous, ann, room]).await;
}

pub(super) async fn what_changes_nothing_leaves_no_row<T: Topics + Outbox>(case: &Case<T>) {
    let ann = case.user();
    written(&case.here, &ann, change(case, &ann, 2)).await;
    acknowledge(case, from_ref(&ann)).await;
    for revision in [2, 1] {
        let version = written(&case.there, &ann, change(case, &ann, revision)).await;
        case.same("the version of nothing", version, None);
        for queue in Queue::ALL {
            let row = row_of(&case.there, queue, &ann).await;
            case.same("the row of a change of nothing", row, None);
        }
    }
}

pub(super) async fn a_newer_change_takes_the_place_of_the_row_before<T: Topics + Outbox>(
    case: &Case<T>,
) {
    let ann = case.user();
    for revision in 1..=3 {
        let version = written(&case.here, &ann, change(case, &ann, revision)).await;
        let rows = rows(
            &case.there,
            Queue::Profiles,
            ann.partition(),
            Duration::ZERO,
        )
        .await;
        let its: Vec<u64> = rows
            .iter()
            .filter(|it| it.subject == ann)
            .map(|it| it.version)
            .collect();
        case.same(
            "the rows of one subject",
            its,
            version.into_iter().collect(),
        );
    }
    acknowledge(case, &[ann]).await;
}

pub(super) async fn a_row_is_acknowledged_unless_there_is_a_newer_one<T: Topics + Outbox>(
    case: &Case<T>,
) {
    let ann = case.user();
    let bob = another(case, ann.partition());
    let row = async |revision| {
        let version = written(&case.here, &ann, change(case, &ann, revision)).await;
        Row {
            subject: ann.clone(),
            version: version.unwrap_or(0),
        }
    };
    let first = row(1).await;
    let second = row(2).await;
    let other = written(&case.here, &bob, change(case, &bob, 1)).await;
    case.there.acknowledge(Queue::Profiles, &[first]).await;
    let left = row_of(&case.here, Queue::Profiles, &ann).await;
    case.same(
        "the row after acknowledging an older one",
        left,
        Some(second.version),
    );
    for _ in 0..2 {
        case.there
            .acknowledge(Queue::Profiles, from_ref(&second))
            .await;
        let left = row_of(&case.here, Queue::Profiles, &ann).await;
        case.same("the row after acknowledging it", left, None);
    }
    let left = row_of(&case.here, Queue::Profiles, &bob).await;
    case.same("the row of another", left, other);
    let later = Row {
        version: other.unwrap_or(0) + 1,
        subject: bob.clone(),
    };
    case.there.acknowledge(Queue::Profiles, &[later]).await;
    let left = row_of(&case.here, Queue::Profiles, &bob).await;
    case.same("the row after acknowledging a newer one", left, None);
    acknowledge(case, &[ann, bob]).await;
}

pub(super) async fn queues_are_told_apart<T: Topics + Outbox>(case: &Case<T>) {
    let ann = case.user();
    let version = written(&case.here, &ann, change(case, &ann, 1)).await;
    let row = Row {
        subject: ann.clone(),
        version: version.unwrap_or(0),
    };
    case.here.acknowledge(Queue::Profiles, from_ref(&row)).await;
    let left = row_of(&case.there, Queue::Webhooks, &ann).await;
    case.same("the row of the other queue", left, version);
    case.here.acknowledge(Queue::Webhooks, &[row]).await;
    let left = row_of(&case.there, Queue::Webhooks, &ann).await;
    case.same("the row that was acknowledged", left, None);
}

pub(super) async fn rows_are_due_when_they_are_old_enough<T: Topics + Outbox>(case: &Case<T>) {
    let (ann, age) = (case.user(), Duration::from_millis(100));
    let since = Instant::now();
    written(&case.here, &ann, change(case, &ann, 1)).await;
    let is_due = async |age| {
        let rows = rows(&case.there, Queue::Profiles, ann.partition(), age).await;
        rows.iter().any(|it| it.subject == ann)
    };
    case.holds(!is_due(LONG).await, "a row is due before its time");
    while !is_due(age).await {
        case.holds(since.elapsed() < PATIENCE, "a row is never due");
        sleep(Duration::from_millis(10)).await;
    }
    case.holds(since.elapsed() >= age, "a row was due before its time");
    acknowledge(case, &[ann]).await;
}

pub(super) async fn the_oldest_rows_come_first_and_no_more_than_asked_for<T: Topics + Outbox>(
    case: &Case<T>,
) {
    let partition = case.user().partition();
    let users: Vec<Subject> = (0..ROWS).map(|_| another(case, partition)).collect();
    for user in &users {
        written(&case.here, user, change(case, user, 1)).await;
    }
    // The first one is the newest now.
    written(&case.here, &users[0], change(case, &users[0], 2)).await;
    let all = rows(&case.there, Queue::Profiles, partition, Duration::ZERO).await;
    let of_users = all.iter().map(|it| &it.subject);
    let order: Vec<&Subject> = of_users.filter(|it| users.contains(it)).collect();
    let meant: Vec<&Subject> = users[1..].iter().chain([&users[0]]).collect();
    case.same("the order of rows", order, meant);
    for max in [0, 1, ROWS - 1] {
        let queue = Queue::Profiles;
        let mut due = case
            .there
            .due(queue, &[partition], Duration::ZERO, max)
            .await;
        let some = due.remove(0);
        case.same(&format!("the first {max} rows"), some, all[..max].to_vec());
    }
    acknowledge(case, &users).await;
}

pub(super) async fn each_partition_has_its_rows<T: Topics + Outbox>(case: &Case<T>) {
    let mut users = Vec::new();
    let mut partitions = BTreeSet::new();
    while users.len() < ROWS {
        let user = case.user();
        if partitions.insert(user.partition()) {
            users.push(user);
        }
    }
    for user in &users {
        written(&case.here, user, change(case, user, 1)).await;
    }
    let partitions: Vec<u16> = users.iter().map(Subject::partition).collect();
    let queue = Queue::Profiles;
    let due = case
        .there
        .due(queue, &partitions, Duration::ZERO, ALL)
        .await;
    case.same("the number of outcomes", due.len(), partitions.len());
    for (user, rows) in users.iter().zip(due) {
        case.holds(
            rows.iter().any(|it| it.subject == *user),
            "a row is not in the outcome of its partition",
        );
        case.holds(
            rows.iter()
                .all(|it| it.subject.partition() == user.partition()),
            "a row is in the outcome of another partition",
        );
    }
    acknowledge(case, &users).await;
}

pub(super) async fn reaping_leaves_a_row<T: Topics + Outbox>(case: &Case<T>) {
    let room = case.place();
    let session = case.session();
    let op = put(session, case.here.token(1), &entry(&room, session, "x"));
    let before = written(&case.here, &room, op).await;
    acknowledge(case, from_ref(&room)).await;
    case.there.reap(case.here.me).await;
    let row = row_of(&case.there, Queue::Webhooks, &room).await;
    case.holds(row > before, "what was reaped waits for nobody");
    acknowledge(case, &[room]).await;
}

pub(super) async fn nothing_waits_for_webhooks_that_nobody_wants<T: Topics + Outbox>(
    case: &Case<T>,
) {
    let (ann, room) = (case.user(), case.place());
    let session = case.session();
    let op = put(session, case.here.token(1), &entry(&room, session, "x"));
    written(&case.here, &room, op).await;
    let version = written(&case.here, &ann, change(case, &ann, 1)).await;
    for subject in [&ann, &room] {
        let row = row_of(&case.there, Queue::Webhooks, subject).await;
        case.same("the row for webhooks", row, None);
    }
    let row = row_of(&case.there, Queue::Profiles, &ann).await;
    case.same("the row for profiles", row, version);
    acknowledge(case, &[ann]).await;
}

/// Another change of the profile of `subject`, as an operation.
fn change<T: Topics>(case: &Case<T>, subject: &Subject, revision: u64) -> Op {
    let Subject::User(user) = subject else {
        panic!(
            "{}: the suite itself changes a profile of no user",
            case.clause
        );
    };
    Op::put(
        Field::Profile,
        profile_token(case, revision),
        Record::Profile(Arc::new(profile(user, revision))),
    )
}

fn profile_token<T: Topics>(case: &Case<T>, revision: u64) -> FencingToken {
    FencingToken {
        epoch: revision,
        owner: case.here.me.node,
        order: 0,
    }
}

async fn written_profile<T: Topics + Outbox>(
    case: &Case<T>,
    subject: &Subject,
    revision: u64,
) -> FencingToken {
    written(&case.here, subject, change(case, subject, revision)).await;
    profile_token(case, revision)
}

/// A user in `partition` that nobody else writes.
fn another<T: Topics>(case: &Case<T>, partition: u16) -> Subject {
    loop {
        let user = case.user();
        if user.partition() == partition {
            return user;
        }
    }
}

/// Writes `op`, and returns the version that it made.
async fn written<T: Topics>(node: &Node<T>, subject: &Subject, op: Op) -> Option<u64> {
    let write = Write {
        subject: subject.clone(),
        by: node.me,
        ops: vec![op],
        is_last: false,
        until: None,
    };
    node.write_all(&[write]).await.remove(0).version
}

async fn rows<T: Topics + Outbox>(
    node: &Node<T>,
    queue: Queue,
    partition: u16,
    age: Duration,
) -> Vec<Row> {
    node.due(queue, &[partition], age, ALL).await.remove(0)
}

/// The version of the outbox row of `subject`, if there is one.
async fn row_of<T: Topics + Outbox>(
    node: &Node<T>,
    queue: Queue,
    subject: &Subject,
) -> Option<u64> {
    let rows = rows(node, queue, subject.partition(), Duration::ZERO).await;
    let row = rows.into_iter().find(|it| it.subject == *subject);
    row.map(|it| it.version)
}

/// Acknowledges all rows of `subjects`.
async fn acknowledge<T: Topics + Outbox>(case: &Case<T>, subjects: &[Subject]) {
    for queue in Queue::ALL {
        let mut rows = Vec::new();
        for subject in subjects {
            let version = row_of(&case.here, queue, subject).await;
            rows.extend(version.map(|version| Row {
                subject: subject.clone(),
                version,
            }));
        }
        case.here.acknowledge(queue, &rows).await;
    }
}
