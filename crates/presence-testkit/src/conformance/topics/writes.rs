//! Clauses about the effect of a write.

use presence_core::cluster::{FencingToken, Field, Guard, Op, TopicMap};
use presence_core::ports::Topics;
use presence_core::{SessionId, Timestamp, TopicVersion};

use super::case::Case;
use super::make::{member, put, remove, showing};

/// How many random writes the suite makes.
const WRITES: u64 = 600;

pub(super) async fn a_subject_nobody_wrote_has_no_entries_and_no_version<T: Topics>(
    case: &Case<T>,
) {
    for subject in [case.user(), case.place()] {
        let read = case.here.read(&subject).await;
        case.same("the version of nothing", read.clock, None);
        case.same("the entries of nothing", read.entries, vec![]);
    }
}

pub(super) async fn what_was_put_is_there_for_all<T: Topics>(case: &Case<T>) {
    let (room, ann) = (case.place(), case.session());
    let puts = [put(ann, case.here.token(1), &member(ann, "Ann"))];
    case.here.does(&room, &puts).await;
    for node in [&case.here, &case.there] {
        node.check_entries(&room, &puts).await;
    }
    let [here, there] = [case.here.read(&room).await, case.there.read(&room).await];
    case.holds(here.clock.is_some(), "a map with an entry has no version");
    case.same("the version for another node", there.clock, here.clock);
}

pub(super) async fn a_removal_removes_exactly_what_it_names<T: Topics>(case: &Case<T>) {
    let (room, token) = (case.place(), case.here.token(1));
    let [ann, bob, cid] = [(); 3].map(|()| case.session());
    let puts = [ann, bob, cid].map(|it| put(it, token, &member(it, "somebody")));
    case.here.does(&room, &puts).await;
    case.here.does(&room, &[remove(bob, token)]).await;
    let left = [puts[0].clone(), puts[2].clone()];
    case.there.check_entries(&room, &left).await;
    case.here
        .does(&room, &[remove(ann, token), remove(cid, token)])
        .await;
    let read = case.there.read(&room).await;
    case.same("the version of an emptied map", read.clock, None);
    case.same("the entries of an emptied map", read.entries, vec![]);
    // The fence has outlived the entry: an older connection may not put it.
    let older = [put(ann, case.there.token(0), &member(ann, "Ann"))];
    let refused = case.there.write(&room, &older).await;
    case.same(
        "what was refused",
        refused,
        vec![(Field::Session(ann), token)],
    );
    case.here.check_entries(&room, &[]).await;
}

pub(super) async fn a_write_does_all_its_ops_in_order<T: Topics>(case: &Case<T>) {
    let room = case.place();
    let [first, second] = [1, 2].map(|epoch| case.here.token(epoch));
    let [ann, bob, cid] = [(); 3].map(|()| case.session());
    let ops = [
        put(ann, first, &member(ann, "first")),
        put(bob, first, &member(bob, "first")),
        put(cid, second, &member(cid, "second")),
        put(ann, second, &member(ann, "second")),
        remove(bob, first),
        remove(cid, second),
        put(cid, second, &member(cid, "again")),
    ];
    case.here.does(&room, &ops).await;
    let left = [ops[3].clone(), ops[6].clone()];
    case.there.check_entries(&room, &left).await;
}

pub(super) async fn writing_it_again_changes_nothing<T: Topics>(case: &Case<T>) {
    let (room, token) = (case.place(), case.here.token(1));
    let [ann, bob] = [(); 2].map(|()| case.session());
    let ops = [
        put(ann, token, &member(ann, "Ann")),
        remove(bob, token),
        put(ann, token, &member(ann, "Ann")),
    ];
    case.here.does(&room, &ops).await;
    let before = case.here.read(&room).await;
    for node in [&case.here, &case.there] {
        node.does(&room, &ops).await;
        let after = node.read(&room).await;
        case.same("the map after writing it again", &after, &before);
    }
}

pub(super) async fn the_same_token_with_another_record_replaces_it<T: Topics>(case: &Case<T>) {
    let (room, token, ann) = (case.place(), case.here.token(1), case.session());
    for words in ["one", "two", "one"] {
        let puts = [put(ann, token, &member(ann, words))];
        case.here.does(&room, &puts).await;
        case.there.check_entries(&room, &puts).await;
    }
}

pub(super) async fn an_emptied_map_begins_anew<T: Topics>(case: &Case<T>) {
    let (room, token, ann) = (case.place(), case.here.token(1), case.session());
    let record = member(ann, "Ann");
    case.there.follow(std::slice::from_ref(&room)).await;
    let mut before: Option<TopicVersion> = None;
    for _ in 0..3 {
        case.here.does(&room, &[put(ann, token, &record)]).await;
        let come = case.there.hear_patch(&room).await;
        case.same("the version before a map's first", come.from, 0);
        case.same(
            "the version read of a map",
            case.here.read(&room).await.clock,
            Some(come.clock),
        );
        if let Some(before) = before {
            case.holds(
                come.clock.version > before.version,
                "a version is not greater than that of the time before the map was empty",
            );
            case.holds(
                come.clock.epoch != before.epoch,
                "a map that was empty goes on with its old epoch",
            );
        }
        case.here.does(&room, &[remove(ann, token)]).await;
        let gone = case.there.hear_patch(&room).await;
        case.same("the version before", gone.from, come.clock.version);
        case.same("the epoch of its end", gone.clock.epoch, come.clock.epoch);
        case.holds(
            gone.clock.version > gone.from,
            "the version that emptied a map is not greater than the one before",
        );
        before = Some(gone.clock);
    }
}

/// Random mixtures of all the writes above.
pub(super) async fn any_writes_mean_what_a_topic_map_says<T: Topics>(case: &Case<T>) {
    let room = case.place();
    let sessions = [(); 3].map(|()| case.session());
    case.there.follow(std::slice::from_ref(&room)).await;
    let mut meant = TopicMap::default();
    let mut told: Option<TopicVersion> = None;
    for n in 1..=WRITES {
        let count = 1 + case.random() % 4;
        let ops: Vec<Op> = (0..count).map(|_| made_up(case, &sessions)).collect();
        let after = format!("after write {n}, of {ops:#?},");
        let written = case.here.written(&room, &ops).await;
        // The versions are the store's own business, but for what is checked below. No fence is forgotten meanwhile.
        let next = TopicVersion {
            epoch: 1,
            version: n,
        };
        let applied = meant.apply(&ops, next, Timestamp::default());
        let (refused, absent) = (applied.refused, applied.absent);
        case.same(&format!("{after} the refused"), written.refused, refused);
        case.same(&format!("{after} the absent"), written.absent, absent);
        if let Some(patch) = applied.patch {
            let heard = case.there.check_patch(&room, &patch.changes).await;
            let mut changes = patch.changes;
            changes.sort_by_key(|it| it.field);
            case.same(&format!("{after} the changes"), &heard.changes, &changes);
            let from = told.map_or(0, |it| it.version);
            case.same(&format!("{after} the version before"), heard.from, from);
            case.holds(
                heard.clock.version > from && told.is_none_or(|it| it.epoch == heard.clock.epoch),
                &format!("{after} {told:?} was followed by {:?}", heard.clock),
            );
            told = meant.clock().map(|_| heard.clock);
        }
        let read = case.here.read(&room).await;
        case.same(&format!("{after} the version"), read.clock, told);
        let entries = meant.snapshot().entries;
        case.same(&format!("{after} the map"), read.entries, entries);
    }
}

fn made_up<T: Topics>(case: &Case<T>, sessions: &[SessionId]) -> Op {
    let random = case.random();
    let draw = |shift: u32, count: u64| (random >> shift) % count;
    let session = sessions[draw(0, sessions.len() as u64) as usize];
    let token = FencingToken {
        epoch: 9 + draw(8, 3),
        owner: case.here.me.node ^ draw(16, 2),
        order: 9 + draw(24, 2),
    };
    let field = Field::Session(session);
    let profile = 3 + draw(48, 3);
    let record = showing(session, ["one", "two"][draw(40, 2) as usize], profile);
    let guard = match draw(44, 4) {
        0 => Guard::Replaces(None),
        1 => Guard::Replaces(Some(FencingToken {
            epoch: 9 + draw(10, 3),
            ..token
        })),
        _ => Guard::Newer,
    };
    match draw(32, 6) {
        0 | 1 => remove(session, token),
        2 => Op::Hide {
            field,
            profile: 3 + draw(52, 3),
        },
        _ => Op::Put {
            field,
            token,
            record,
            guard,
            profile,
        },
    }
}
