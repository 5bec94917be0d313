//! Clauses about patches: which nodes hear them.

use std::collections::BTreeMap;
use std::slice::from_ref;
use std::sync::Arc;

use presence_core::Reason;
use presence_core::cluster::{Field, Op, Subject, Write};
use presence_core::ports::{Notice, Topics};
use tokio::task::JoinSet;

use super::case::Case;
use super::make::{is_gone, is_there, member, put, remove};
use super::node::Node;

/// How many patches in a row a node follows.
const PATCHES: usize = 50;

pub(super) async fn a_follower_hears_each_patch_once_and_in_order<T: Topics>(case: &Case<T>) {
    let (room, ann, token) = (case.place(), case.session(), case.here.token(1));
    case.there.follow(from_ref(&room)).await;
    let records: Vec<_> = (0..PATCHES).map(|n| member(ann, &format!("{n}"))).collect();
    for record in &records {
        case.here.does(&room, &[put(ann, token, record)]).await;
    }
    let (mut from, mut epoch) = (0, None);
    for record in &records {
        let changes = [is_there(ann, token, record)];
        let patch = case.there.check_patch(&room, &changes).await;
        case.same("the version before", patch.from, from);
        case.holds(patch.clock.version > from, "a version did not grow");
        let epoch = *epoch.get_or_insert(patch.clock.epoch);
        case.same("the epoch", patch.clock.epoch, epoch);
        from = patch.clock.version;
    }
    let read = case.there.read(&room).await;
    let version = read.clock.map(|it| it.version);
    case.same("the version read after the last patch", version, Some(from));
}

pub(super) async fn ones_own_patches_are_heard<T: Topics>(case: &Case<T>) {
    let (room, ann, token) = (case.place(), case.session(), case.here.token(1));
    case.here.follow(from_ref(&room)).await;
    let record = member(ann, "Ann");
    case.here.does(&room, &[put(ann, token, &record)]).await;
    let changes = [is_there(ann, token, &record)];
    case.here.check_patch(&room, &changes).await;
}

pub(super) async fn what_changes_nothing_is_not_told<T: Topics>(case: &Case<T>) {
    let (room, ann, bob) = (case.place(), case.session(), case.session());
    let [older, token] = [1, 2].map(|epoch| case.here.token(epoch));
    let put_ann = put(ann, token, &member(ann, "Ann"));
    case.here.does(&room, from_ref(&put_ann)).await;
    case.there.follow(from_ref(&room)).await;
    case.here.does(&room, from_ref(&put_ann)).await;
    case.here
        .write(&room, &[remove(ann, older), remove(bob, token)])
        .await;
    let late = [put(ann, older, &member(ann, "late"))];
    case.here.write(&room, &late).await;
    case.here.does(&room, &[]).await;
    check_is_first(case, &case.there, &room).await;
}

pub(super) async fn every_reason_is_told<T: Topics>(case: &Case<T>) {
    let (room, ann, token) = (case.place(), case.session(), case.here.token(1));
    case.there.follow(from_ref(&room)).await;
    for reason in [
        Reason::Left,
        Reason::Lost,
        Reason::TimedOut,
        Reason::Replaced,
        Reason::NodeLost,
        Reason::Kicked,
    ] {
        let record = member(ann, "Ann");
        case.here.does(&room, &[put(ann, token, &record)]).await;
        let changes = [is_there(ann, token, &record)];
        case.there.check_patch(&room, &changes).await;
        let removal = Op::Remove {
            field: Field::Session(ann),
            token,
            reason,
        };
        case.here.does(&room, &[removal]).await;
        case.there.check_patch(&room, &[is_gone(ann, reason)]).await;
    }
}

pub(super) async fn following_has_begun_when_it_returns<T: Topics>(case: &Case<T>) {
    for _ in 0..PATCHES {
        let rooms = [case.place(), case.place()];
        case.there.follow(&rooms).await;
        for room in &rooms {
            check_is_first(case, &case.there, room).await;
        }
    }
}

pub(super) async fn following_twice_is_following_once<T: Topics>(case: &Case<T>) {
    let room = case.place();
    case.there.follow(&[room.clone(), room.clone()]).await;
    case.there.follow(from_ref(&room)).await;
    for _ in 0..3 {
        check_is_first(case, &case.there, &room).await;
    }
    case.there.link.unfollow(from_ref(&room)).await;
    check_is_not_heard(case, &case.there, &room).await;
}

pub(super) async fn what_is_not_followed_any_more_is_not_heard<T: Topics>(case: &Case<T>) {
    let room = case.place();
    let never = case.neighbour(&room);
    check_is_not_heard(case, &case.there, &never).await;
    case.there.link.unfollow(from_ref(&never)).await;
    for _ in 0..3 {
        case.there.follow(from_ref(&room)).await;
        check_is_first(case, &case.there, &room).await;
        case.there.link.unfollow(from_ref(&room)).await;
        check_is_not_heard(case, &case.there, &room).await;
    }
}

pub(super) async fn each_node_follows_for_itself<T: Topics>(case: &Case<T>) {
    let room = case.place();
    case.here.follow(from_ref(&room)).await;
    case.there.follow(from_ref(&room)).await;
    check_is_first(case, &case.there, &room).await;
    case.here.hear_patch(&room).await;
    case.here.link.unfollow(from_ref(&room)).await;
    check_is_first(case, &case.there, &room).await;
    check_is_not_heard(case, &case.here, &room).await;
}

pub(super) async fn a_copy_kept_by_patches_is_the_map<T: Topics>(case: &Case<T>) {
    let room = case.place();
    case.there.follow(from_ref(&room)).await;
    let mut writers = JoinSet::new();
    for n in 0..PATCHES {
        let node = if n % 2 == 0 { &case.here } else { &case.there };
        let (link, by, token) = (Arc::clone(&node.link), node.me, node.token(1));
        let (stays, goes, subject) = (case.session(), case.session(), room.clone());
        writers.spawn(async move {
            let [stay, come] = [stays, goes].map(|it| put(it, token, &member(it, "somebody")));
            let go = remove(goes, token);
            for ops in [vec![stay, come], vec![go]] {
                let subject = subject.clone();
                let is_last = false;
                let write = Write {
                    subject,
                    by,
                    ops,
                    is_last,
                    until: None,
                };
                if !matches!(link.write(&[write]).await[..], [Ok(_)]) {
                    return false;
                }
            }
            true
        });
    }
    let done = writers.join_all().await;
    case.holds(!done.contains(&false), "a concurrent write failed");
    let read = case.there.read(&room).await;
    let (mut copy, mut version) = (BTreeMap::new(), 0);
    while Some(version) != read.clock.map(|it| it.version) {
        let patch = case.there.hear_patch(&room).await;
        case.same("the version before", patch.from, version);
        version = patch.clock.version;
        for change in patch.changes {
            match change.entry {
                Ok((token, record)) => copy.insert(change.field, (token, record)),
                Err(_) => copy.remove(&change.field),
            };
        }
    }
    let copy = copy.into_iter();
    let copy: Vec<_> = copy
        .map(|(field, (token, record))| (field, token, record))
        .collect();
    case.same("the number of those who stay", copy.len(), PATCHES);
    case.same("the map", read.entries, copy);
}

/// Changes `subject`, and checks that this is the next notice of it that `node` hears.
async fn check_is_first<T: Topics>(case: &Case<T>, node: &Node<T>, subject: &Subject) {
    let (somebody, token) = (case.session(), case.here.token(7));
    let record = member(somebody, "somebody");
    case.here
        .does(subject, &[put(somebody, token, &record)])
        .await;
    let changes = [is_there(somebody, token, &record)];
    node.check_patch(subject, &changes).await;
}

/// Changes `subject`, and checks that `node` does not hear it: the next notice is about a later change
/// of its neighbour.
async fn check_is_not_heard<T: Topics>(case: &Case<T>, node: &Node<T>, subject: &Subject) {
    let next_door = case.neighbour(subject);
    node.follow(from_ref(&next_door)).await;
    for subject in [subject, &next_door] {
        let somebody = case.session();
        let puts = [put(
            somebody,
            case.here.token(7),
            &member(somebody, "somebody"),
        )];
        case.here.does(subject, &puts).await;
    }
    let told = |notice: &Notice| match notice {
        Notice::Patched(it, _) if it == subject || *it == next_door => Some(it.clone()),
        _ => None,
    };
    let first = node.hear(&format!("a patch of {next_door}"), told).await;
    case.same("the first to be heard of", first, next_door);
}
