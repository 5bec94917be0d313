//! Clauses about fences: which of two writes of one entry wins.

use std::sync::Arc;

use presence_core::Timestamp;
use presence_core::cluster::{Fence, FencingToken, Field, Guard, Incarnation, Op, Record, Write};
use presence_core::ports::Topics;
use tokio::task::JoinSet;

use super::case::Case;
use super::make::{self, NUMBER_MAX, begin, member, profile, put, remove, replace, showing};
use super::node::LONG;

/// How many nodes begin one epoch at the same time.
const RIVALS: u64 = 20;

pub(super) async fn the_newest_connection_owns_the_session<T: Topics>(case: &Case<T>) {
    // As texts, 10 is less than 9.
    for epochs in [[1, 2], [9, 10], [7, u32::MAX]] {
        let [older, newer] = epochs.map(u64::from);
        check_replaces(case, [(older, 0, 5), (newer, 1, 0)]).await;
        check_replaces(case, [(older, 0, 5), (newer, 0, 0)]).await;
    }
}

pub(super) async fn a_late_put_of_an_older_connection_is_refused<T: Topics>(case: &Case<T>) {
    for epochs in [[1, 2], [9, 10], [7, u32::MAX]] {
        let [older, newer] = epochs.map(u64::from);
        check_refused(case, [(newer, 0, 0), (older, 1, 5)]).await;
        check_refused(case, [(newer, 0, 0), (older, 0, 5)]).await;
    }
}

pub(super) async fn a_late_leave_of_an_older_connection_does_nothing<T: Topics>(case: &Case<T>) {
    let (room, ann, bob) = (case.place(), case.session(), case.session());
    let stored = token(case, (10, 0, 10));
    let puts = [put(ann, stored, &member(ann, "Ann"))];
    case.here.does(&room, &puts).await;
    let before = case.here.read(&room).await;
    let older = [(9, 0, 10), (9, 1, 11), (10, 0, 9)];
    let remove_ann = |connection| remove(ann, token(case, connection));
    let mut removals: Vec<Op> = older.map(remove_ann).into();
    removals.push(remove(bob, stored));
    let written = case.there.written(&room, &removals).await;
    let meant: Vec<_> = older.map(|_| Field::Session(ann)).into();
    let refused: Vec<_> = written.refused.iter().map(|(field, _)| *field).collect();
    case.same("what was refused", refused, meant);
    case.same(
        "what was not there",
        written.absent,
        vec![Field::Session(bob)],
    );
    let after = case.here.read(&room).await;
    case.same("the map after late leaves", after, before);
}

pub(super) async fn a_leave_of_the_same_or_a_newer_connection_is_one<T: Topics>(case: &Case<T>) {
    for newer in [
        (10, 0, 10),
        (10, 0, 11),
        (11, 0, 0),
        (11, 1, 0),
        (100, 1, 9),
    ] {
        let (room, ann) = (case.place(), case.session());
        let stored = token(case, (10, 0, 10));
        let puts = [put(ann, stored, &member(ann, "Ann"))];
        case.here.does(&room, &puts).await;
        let removals = [remove(ann, token(case, newer))];
        case.there.does(&room, &removals).await;
        let left = case.here.read(&room).await.entries;
        let what = format!("the map after {newer:?} has left");
        case.same(&what, left, vec![]);
    }
}

pub(super) async fn of_two_nodes_that_begin_one_epoch_the_first_has_it<T: Topics>(case: &Case<T>) {
    for connections in [[(3, 0, 0), (3, 1, 0)], [(3, 1, 4), (3, 0, 5)]] {
        let (room, ann) = (case.place(), case.session());
        let [first, second] = connections.map(|it| token(case, it));
        let puts = [begin(ann, first, &member(ann, "first"))];
        case.here.does(&room, &puts).await;
        let late = [begin(ann, second, &member(ann, "second"))];
        let refused = case.there.write(&room, &late).await;
        let what = "what stands in the way of the second";
        case.same(what, refused, vec![(Field::Session(ann), first)]);
        case.there.check_entries(&room, &puts).await;
    }
}

pub(super) async fn what_was_read_is_replaced_and_nothing_else<T: Topics>(case: &Case<T>) {
    let (room, ann) = (case.place(), case.session());
    let [read, changed, taken] = [(3, 0, 0), (3, 0, 1), (4, 1, 0)].map(|it| token(case, it));
    case.here
        .does(&room, &[put(ann, read, &member(ann, "read"))])
        .await;
    let puts = [put(ann, changed, &member(ann, "changed"))];
    case.here.does(&room, &puts).await;
    let late = [replace(ann, taken, &member(ann, "taken"), Some(read))];
    let refused = case.there.write(&room, &late).await;
    case.same(
        "what was read before",
        refused,
        vec![(Field::Session(ann), changed)],
    );
    case.there.check_entries(&room, &puts).await;
    let puts = [replace(ann, taken, &member(ann, "taken"), Some(changed))];
    for _ in 0..2 {
        case.there.does(&room, &puts).await;
        case.there.check_entries(&room, &puts).await;
    }
}

pub(super) async fn a_fence_outlives_what_it_fenced<T: Topics>(case: &Case<T>) {
    let (room, ann) = (case.place(), case.session());
    let [first, second, third] = [(3, 0, 1), (3, 0, 2), (3, 0, 3)].map(|it| token(case, it));
    case.here
        .does(&room, &[put(ann, first, &member(ann, "Ann"))])
        .await;
    case.here.does(&room, &[remove(ann, second)]).await;
    // It was sent before the removal, and arrives after it.
    let late = [put(ann, first, &member(ann, "late"))];
    let refused = case.here.write(&room, &late).await;
    case.same(
        "what stands in its way",
        refused,
        vec![(Field::Session(ann), second)],
    );
    let read = case.there.read(&room).await;
    case.same("the version of an emptied map", read.clock, None);
    let puts = [put(ann, third, &member(ann, "again"))];
    case.here.does(&room, &puts).await;
    case.there.check_entries(&room, &puts).await;
}

pub(super) async fn who_hides_is_not_put_by_who_has_not_heard_of_it<T: Topics>(case: &Case<T>) {
    let (room, ann, bob) = (case.place(), case.session(), case.session());
    let show = |session, token, profile| Op::Put {
        field: Field::Session(session),
        token,
        record: showing(session, "x", profile),
        guard: Guard::Newer,
        profile,
    };
    let [first, second] = [(3, 0, 1), (4, 1, 0)].map(|it| token(case, it));
    case.here
        .does(&room, &[show(ann, first, 7), show(bob, first, 7)])
        .await;
    let hide = Op::Hide {
        field: Field::Session(ann),
        profile: 8,
    };
    case.there.does(&room, &[hide]).await;
    case.here.check_entries(&room, &[show(bob, first, 7)]).await;
    for late in [show(ann, first, 7), show(ann, second, 7)] {
        let refused = case.here.written(&room, &[late]).await.refused;
        let fence = Fence {
            token: first,
            profile: 8,
        };
        case.same(
            "what stands in the way",
            refused,
            vec![(Field::Session(ann), fence)],
        );
    }
    case.here.does(&room, &[show(ann, first, 9)]).await;
    // It was on its way while they came out again.
    let late = Op::Hide {
        field: Field::Session(ann),
        profile: 8,
    };
    case.there.does(&room, &[late]).await;
    let left = [show(bob, first, 7), show(ann, first, 9)];
    case.here.check_entries(&room, &left).await;
}

pub(super) async fn a_write_after_its_deadline_does_nothing<T: Topics>(case: &Case<T>) {
    let (room, ann) = (case.place(), case.session());
    let now = case.here.renew(case.here.me, LONG).await.now;
    let write = |until| Write {
        subject: room.clone(),
        by: case.here.me,
        ops: vec![put(ann, case.here.token(1), &member(ann, "Ann"))],
        is_last: false,
        until: Some(until),
    };
    let past = Timestamp::from_millis(now.as_millis() - 1);
    let written = case.here.link.write(&[write(past)]).await.remove(0);
    case.holds(written.is_err(), "a write after its deadline was done");
    case.here.check_entries(&room, &[]).await;
    let written = case.here.link.write(&[write(now + LONG)]).await.remove(0);
    case.holds(written.is_ok(), "a write before its deadline was not done");
    case.here.forget(case.here.me).await;
}

pub(super) async fn a_write_says_which_profile_is_there<T: Topics>(case: &Case<T>) {
    let (user, ann, token) = (case.user(), case.session(), case.here.token(1));
    let puts = [put(ann, token, &make::entry(&user, ann, "x"))];
    let written = case.here.written(&user, &puts).await;
    case.same("the profile of who has none", written.profile, None);
    let profile = Op::put(
        Field::Profile,
        FencingToken {
            epoch: NUMBER_MAX,
            ..token
        },
        Record::Profile(Arc::new(profile(&make::user("ann"), NUMBER_MAX))),
    );
    case.there.does(&user, &[profile]).await;
    let written = case.here.written(&user, &puts).await;
    case.same(
        "the revision of the profile",
        written.profile,
        Some(NUMBER_MAX),
    );
}

pub(super) async fn an_older_generation_is_refused<T: Topics>(case: &Case<T>) {
    for orders in [[1, 2], [9, 10], [0, u64::from(u32::MAX)]] {
        let [older, newer] = orders;
        check_replaces(case, [(3, 0, older), (3, 0, newer)]).await;
        check_refused(case, [(3, 0, newer), (3, 0, older)]).await;
    }
}

/// The ids differ in bits that a floating-point number would lose.
pub(super) async fn nodes_are_told_apart_by_every_bit<T: Topics>(case: &Case<T>) {
    for node in [0, NUMBER_MAX + 1, i64::MAX as u64 - 1, u64::MAX - 1] {
        let (room, ann) = (case.place(), case.session());
        let token = |node| {
            let generation = 1;
            FencingToken::of_session(1, Incarnation { node, generation }, 1)
        };
        let puts = [put(ann, token(node + 1), &member(ann, "first"))];
        case.here.does(&room, &puts).await;
        let smaller = [
            put(ann, token(node), &member(ann, "second")),
            remove(ann, token(node)),
        ];
        let refused = case.there.write(&room, &smaller).await;
        let what = "the token in the way of another node";
        let in_the_way = (Field::Session(ann), token(node + 1));
        case.same(what, refused, vec![in_the_way; 2]);
        case.there.check_entries(&room, &puts).await;
    }
}

pub(super) async fn a_later_change_of_a_profile_wins<T: Topics>(case: &Case<T>) {
    let user = case.user();
    let node = case.here.me.node;
    let change = |revision: u64, owner: u64, seen_ms: u64| {
        Op::put(
            Field::Profile,
            FencingToken {
                epoch: revision,
                owner,
                order: seen_ms,
            },
            Record::Profile(Arc::new(profile(&make::user("ann"), revision))),
        )
    };
    let changes = [
        (change(9, node, 1_700_000_000_999), true),
        (change(9, node, 1_700_000_000_998), false),
        (change(9, node, 1_700_000_001_000), true),
        (change(9, node + 1, 1_600_000_000_000), true),
        (change(9, node, 1_800_000_000_000), false),
        (change(10, node + 1, 0), true),
        (change(9, node, 1_900_000_000_000), false),
        (change(NUMBER_MAX - 1, node, 0), true),
        (change(NUMBER_MAX, node + 1, NUMBER_MAX), true),
        (change(NUMBER_MAX - 1, node, 0), false),
    ];
    let mut stored: Option<Op> = None;
    for (change, is_done) in changes {
        let refused = case.here.write(&user, std::slice::from_ref(&change)).await;
        let in_the_way = stored.as_ref().filter(|_| !is_done);
        let meant = in_the_way.map(|it| (Field::Profile, token_of(it)));
        let what = format!("what was refused of {change:#?}");
        case.same(&what, refused, meant.into_iter().collect());
        if is_done {
            stored = Some(change);
        }
        let stored = stored.as_slice();
        case.there.check_entries(&user, stored).await;
    }
}

pub(super) async fn a_refused_put_keeps_nothing_else_out<T: Topics>(case: &Case<T>) {
    let room = case.place();
    let [ann, bob, cid, dan] = [(); 4].map(|()| case.session());
    let [older, newer] = [case.here.token(1), case.there.token(2)];
    let taken = [bob, dan].map(|it| put(it, newer, &member(it, "newer")));
    case.there.does(&room, &taken).await;
    let ops = [
        put(ann, older, &member(ann, "Ann")),
        put(dan, older, &member(dan, "older")),
        put(bob, older, &member(bob, "older")),
        put(cid, older, &member(cid, "Cid")),
    ];
    let refused = case.here.write(&room, &ops).await;
    let meant = [dan, bob].map(|it| (Field::Session(it), newer));
    case.same("what was refused, in its order", refused, meant.into());
    let [bob, dan] = taken;
    let left = [ops[0].clone(), bob, ops[3].clone(), dan];
    case.there.check_entries(&room, &left).await;
}

pub(super) async fn of_concurrent_puts_of_one_epoch_a_single_one_is_done<T: Topics>(
    case: &Case<T>,
) {
    let (room, ann) = (case.place(), case.session());
    let mut puts = JoinSet::new();
    for n in 0..RIVALS {
        let by = case.stranger();
        let token = FencingToken::of_session(1, by, 1);
        let write = Write {
            subject: room.clone(),
            by,
            ops: vec![begin(ann, token, &member(ann, &format!("rival {n}")))],
            is_last: false,
            until: None,
        };
        let node = if n % 2 == 0 { &case.here } else { &case.there };
        let link = Arc::clone(&node.link);
        puts.spawn(async move { (token, link.write(&[write]).await) });
    }
    let outcomes = puts.join_all().await;
    let read = case.here.read(&room).await;
    let [(_, winner, _)] = read.entries[..] else {
        panic!("{}: one entry has become {:#?}", case.clause, read.entries);
    };
    for (token, mut written) in outcomes {
        let refused = match written.pop() {
            Some(Ok(written)) => written.refused,
            other => panic!("{}: a write has ended as {other:?}", case.clause),
        };
        let fence = Fence {
            token: winner,
            profile: 0,
        };
        let meant = (token != winner).then_some((Field::Session(ann), fence));
        let what = format!("what was refused of {token:?}");
        case.same(&what, refused, meant.into_iter().collect());
    }
}

/// The fencing token of an operation.
fn token_of(op: &Op) -> FencingToken {
    match op {
        Op::Put { token, .. } | Op::Remove { token, .. } => *token,
        Op::Hide { .. } => panic!("hiding has no token"),
    }
}

/// A connection of a session: its epoch, on which of two nodes it is, and its generation.
type Connection = (u64, usize, u64);

/// Checks that the second connection replaces the first.
async fn check_replaces<T: Topics>(case: &Case<T>, connections: [Connection; 2]) {
    let (room, ann) = (case.place(), case.session());
    for connection in connections {
        let puts = [put(ann, token(case, connection), &member(ann, "Ann"))];
        case.here.does(&room, &puts).await;
        case.there.check_entries(&room, &puts).await;
    }
}

/// Checks that the second connection does not replace the first.
async fn check_refused<T: Topics>(case: &Case<T>, connections: [Connection; 2]) {
    let (room, ann) = (case.place(), case.session());
    let [stored, late] = connections.map(|it| token(case, it));
    let puts = [put(ann, stored, &member(ann, "Ann"))];
    case.here.does(&room, &puts).await;
    let before = case.here.read(&room).await;
    let late = [put(ann, late, &member(ann, "late"))];
    let refused = case.there.write(&room, &late).await;
    let what = format!("what stands in the way of {connections:?}");
    case.same(&what, refused, vec![(Field::Session(ann), stored)]);
    case.there.check_entries(&room, &puts).await;
    let after = case.here.read(&room).await;
    case.same("the map after a put that was refused", after, before);
}

fn token<T: Topics>(case: &Case<T>, (epoch, node, order): Connection) -> FencingToken {
    FencingToken {
        epoch,
        owner: [case.here.me.node, case.there.me.node][node],
        order,
    }
}
