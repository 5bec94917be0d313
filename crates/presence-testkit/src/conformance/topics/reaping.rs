//! Clauses about reaping: the entries of a dead node are removed.

use std::slice::from_ref;
use std::sync::Arc;

use presence_core::Reason;
use presence_core::cluster::{FencingToken, Field, Incarnation, Op, Record, Subject, Write};
use presence_core::ports::Topics;
use tokio::task::JoinSet;

use super::case::Case;
use super::make::{entry, is_gone, member, profile, put, remove};
use super::node::{REAPS_MAX, says_the_same};

/// In how many maps a dead node has entries: more than any store cleans in one step.
const MAPS: usize = 1_000;

pub(super) async fn reaping_removes_the_entries_of_one_incarnation_only<T: Topics>(case: &Case<T>) {
    let dead = case.here.me;
    let others = [
        Incarnation {
            generation: 2,
            ..dead
        },
        Incarnation {
            generation: 0,
            ..dead
        },
        Incarnation {
            node: dead.node ^ 1,
            ..dead
        },
        case.there.me,
    ];
    for subject in [case.user(), case.place()] {
        let put_of = |who: Incarnation| {
            let session = case.session();
            put(
                session,
                FencingToken::of_session(1, who, 1),
                &entry(&subject, session, "x"),
            )
        };
        let mut left = Vec::new();
        for who in others {
            let op = put_of(who);
            write(case, &subject, who, from_ref(&op)).await;
            left.push(op);
        }
        write(case, &subject, dead, &[put_of(dead), put_of(dead)]).await;
        if let Subject::User(user) = &subject {
            // Its token looks like one of a session, and is none.
            let op = Op::put(
                Field::Profile,
                FencingToken::of_session(1, dead, 1),
                Record::Profile(Arc::new(profile(user, 1))),
            );
            write(case, &subject, dead, from_ref(&op)).await;
            left.push(op);
        }
        case.there.mark_dead(dead).await;
        case.there.reap(dead).await;
        case.there.check_entries(&subject, &left).await;
    }
    case.there.forget(dead).await;
}

pub(super) async fn reaping_leaves_what_a_newer_connection_has_taken_over<T: Topics>(
    case: &Case<T>,
) {
    let (room, dead) = (case.place(), case.here.me);
    let [ann, bob] = [(); 2].map(|()| case.session());
    let first = [ann, bob].map(|it| put(it, case.here.token(1), &member(it, "first")));
    case.here.does(&room, &first).await;
    let taken = [put(ann, case.there.token(2), &member(ann, "second"))];
    case.there.does(&room, &taken).await;
    case.there.reap(dead).await;
    case.there.check_entries(&room, &taken).await;
}

pub(super) async fn reaping_is_told_as_a_lost_node<T: Topics>(case: &Case<T>) {
    let (room, dead) = (case.place(), case.here.me);
    let sessions = [(); 3].map(|()| case.session());
    let puts = sessions.map(|it| put(it, case.here.token(1), &member(it, "x")));
    case.here.does(&room, &puts).await;
    let mut version = case.there.read(&room).await.clock.map(|it| it.version);
    case.there.follow(from_ref(&room)).await;
    case.there.reap(dead).await;
    let mut left = sessions.to_vec();
    while !left.is_empty() {
        let patch = case.there.hear_patch(&room).await;
        case.same("the version before", Some(patch.from), version);
        version = Some(patch.clock.version);
        for change in patch.changes {
            let gone = left
                .iter()
                .position(|it| Field::Session(*it) == change.field);
            let gone = gone.map(|at| is_gone(left.remove(at), Reason::NodeLost));
            let is_told = gone.is_some_and(|gone| says_the_same(&change, &gone));
            case.holds(is_told, &format!("what is told of a session is {change:?}"));
        }
    }
}

pub(super) async fn reaping_goes_on_where_another_node_stopped<T: Topics>(case: &Case<T>) {
    let (dead, rooms) = (case.here.me, in_many_maps(case).await);
    for n in 0.. {
        let node = [&case.here, &case.there][n % 2];
        if !node.reap_some(dead).await {
            break;
        }
        case.holds(n < REAPS_MAX, "reaping does not come to an end");
    }
    check_all_empty(case, &rooms).await;
    case.holds(
        !case.here.reap_some(dead).await,
        "there is more after the end",
    );
}

pub(super) async fn nodes_may_reap_at_the_same_time<T: Topics>(case: &Case<T>) {
    let (dead, rooms) = (case.here.me, in_many_maps(case).await);
    let mut reapers = JoinSet::new();
    for node in [&case.here, &case.there, &case.here, &case.there] {
        let link = Arc::clone(&node.link);
        reapers.spawn(async move {
            loop {
                match link.reap(dead).await {
                    Ok(true) => {}
                    outcome => return outcome.is_ok(),
                }
            }
        });
    }
    let done = reapers.join_all().await;
    case.holds(
        !done.contains(&false),
        "reaping failed while others did it too",
    );
    // One may have seen the end while another was still at it.
    case.here.reap(dead).await;
    check_all_empty(case, &rooms).await;
}

pub(super) async fn reaping_one_that_has_nothing_ends<T: Topics>(case: &Case<T>) {
    case.here.reap(case.stranger()).await;
    // It has written, and nothing is left of it.
    let (room, ann, token) = (case.place(), case.session(), case.here.token(1));
    case.here
        .does(&room, &[put(ann, token, &member(ann, "Ann"))])
        .await;
    case.here.does(&room, &[remove(ann, token)]).await;
    case.here.reap(case.here.me).await;
}

/// The suite claims a last write here although an entry remains: nothing else could show that the store has removed
/// its own note.
pub(super) async fn what_was_a_last_write_is_not_looked_at_when_reaping<T: Topics>(case: &Case<T>) {
    let (dead, token) = (case.here.me, case.here.token(1));
    let other = Incarnation {
        generation: 2,
        ..dead
    };
    let [ann, bob] = [(); 2].map(|()| case.session());
    let [by_itself, by_another] = [case.place(), case.place()];
    let put_ann = put(ann, token, &member(ann, "Ann"));
    let last = |subject: &Subject, by, ops: &[Op]| Write {
        subject: subject.clone(),
        by,
        ops: ops.to_vec(),
        is_last: true,
        until: None,
    };
    case.here.does(&by_itself, from_ref(&put_ann)).await;
    case.here.write_as(last(&by_itself, dead, &[])).await;
    case.here.does(&by_another, from_ref(&put_ann)).await;
    let remove_bob = remove(bob, FencingToken::of_session(1, other, 1));
    case.here
        .write_as(last(&by_another, other, &[remove_bob]))
        .await;
    case.there.reap(dead).await;
    case.there
        .check_entries(&by_itself, from_ref(&put_ann))
        .await;
    case.there.check_entries(&by_another, &[]).await;
    case.here.does(&by_itself, &[remove(ann, token)]).await;
}

pub(super) async fn a_writer_that_comes_back_after_its_last_write_is_reaped<T: Topics>(
    case: &Case<T>,
) {
    let (room, dead, token) = (case.place(), case.here.me, case.here.token(1));
    let ann = case.session();
    let put_ann = put(ann, token, &member(ann, "Ann"));
    for _ in 0..2 {
        case.here.does(&room, from_ref(&put_ann)).await;
        let last = Write {
            subject: room.clone(),
            by: dead,
            ops: vec![remove(ann, token)],
            is_last: true,
            until: None,
        };
        case.here.write_as(last).await;
        case.there.check_entries(&room, &[]).await;
    }
    case.here.does(&room, from_ref(&put_ann)).await;
    case.there.reap(dead).await;
    case.there.check_entries(&room, &[]).await;
}

async fn write<T: Topics>(case: &Case<T>, subject: &Subject, by: Incarnation, ops: &[Op]) {
    let write = Write {
        subject: subject.clone(),
        by,
        ops: ops.to_vec(),
        is_last: false,
        until: None,
    };
    let refused = case.here.write_as(write).await;
    case.same("what was refused", refused, vec![]);
}

/// Puts an entry into each of [`MAPS`] maps.
async fn in_many_maps<T: Topics>(case: &Case<T>) -> Vec<Subject> {
    let (ann, token) = (case.session(), case.here.token(1));
    let rooms: Vec<Subject> = (0..MAPS).map(|_| case.place()).collect();
    let writes = rooms.iter().map(|room| Write {
        subject: room.clone(),
        by: case.here.me,
        ops: vec![put(ann, token, &member(ann, "Ann"))],
        is_last: false,
        until: None,
    });
    case.here.write_all(&writes.collect::<Vec<_>>()).await;
    rooms
}

async fn check_all_empty<T: Topics>(case: &Case<T>, rooms: &[Subject]) {
    let read = case.there.read_all(rooms).await.into_iter();
    let left = read.filter(|it| it.clock.is_some()).count();
    case.same("how many maps have entries after reaping", left, 0);
}
