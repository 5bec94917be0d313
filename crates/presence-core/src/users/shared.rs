//! What is written to the shared store about a user, and how answers and changes of the store are applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::session::Session;
use super::user::User;
use crate::cluster::{
    Change, Claimed, FencingToken, Field, Guard, HOLD_AFTER_MOVE, Incarnation, Membership, News,
    Op, Patch, Put, Record, Replica, ReplicaChanges, Reply, Request, SessionRecord, Snapshot,
    Subject, Verdict, Write,
};
use crate::ports::Written;
use crate::{Profile, Reason, SessionId, Status, StatusChange, Timestamp, Topic};

/// The number of status changes that wait for the store. With one more they are replaced by a single change
/// with every field.
pub(super) const PENDING_MAX: usize = 16;

/// What the store has of a user, and what it should.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) replica: Replica<Arc<SessionRecord>>,
    /// The process that made the newest change of the profile, as far as this node knows; none, before it is stored.
    author: u64,
    /// The token of the profile that the store has, as far as this node knows.
    known: Option<FencingToken>,
    /// Changes of the status that the store does not have, and when each was chosen.
    pending: Vec<(StatusChange, Timestamp)>,
    /// This node is to become the author of the profile's revision.
    is_authored: bool,
    profile: Putting,
    /// Whether the user was erased here: other nodes' changes of the profile are dropped until the store
    /// has the tombstone.
    is_erasing: bool,
    /// The store is known to have no profile of the user.
    lacks_profile: bool,
    /// The token of the profile that the store has removed. A new profile has to have a greater one.
    fenced: Option<FencingToken>,
    /// The latest revision of the profile that the store was seen to have.
    seen: u64,
    hiding: Hiding,
    /// What was read while the user's profile was not known here yet.
    read: Option<(FencingToken, Arc<Profile>)>,
    /// How far the store's clock is ahead of this node's, in milliseconds.
    pub(super) store_ahead_ms: i64,
    /// The latest revision of the profile that is safely stored, with everything that was changed here until then.
    pub(super) kept: u64,
    pub(super) armed: Option<Timestamp>,
    /// The sessions that other nodes took over, while entries of this node wait for theirs.
    handed_over: BTreeMap<SessionId, HandedOver>,
    /// Those of them that have ended since.
    pub(super) over: Vec<Ended>,
}

/// Where entries of this node wait for the node that took their session over.
#[derive(Debug)]
struct HandedOver {
    places: Vec<Topic>,
    /// When the entries are removed in any case.
    until: Timestamp,
}

/// A session that ended on the node that took it over, before that node had replaced the entries of this one.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) session: SessionId,
    pub(super) reason: Reason,
    /// Where entries of this node still wait.
    pub(super) places: Vec<Topic>,
}

/// How far the profile is on its way to the store.
#[derive(Clone, Debug, Default)]
enum Putting {
    #[default]
    Done,
    Due,
    UnderWay(Box<UnderWay>),
}

/// A profile on its way to the store.
#[derive(Clone, Debug)]
struct UnderWay {
    token: FencingToken,
    /// What is put; `None` where it is removed.
    profile: Option<Arc<Profile>>,
    /// The number of pending changes that this profile includes.
    changes: usize,
    /// Whether the profile has changed again, and has to be put once more.
    again: bool,
}

/// How far the places of a user who hides have been told so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Hiding {
    #[default]
    No,
    /// The store has this revision, in which the user hides. The map is being read, to find the places of the user.
    Noted(u64),
    /// These places are being told that the user hides.
    Fencing {
        revision: u64,
        left: BTreeSet<Topic>,
    },
}

impl Shared {
    /// Whether anything of the user is not in the store, or not gone from it.
    pub(super) fn is_needed(&self) -> bool {
        let is_hiding = self.hiding != Hiding::No;
        // Until the new owner has replaced the entries, this node listens whether it ends the session instead.
        let is_waiting = !self.handed_over.is_empty();
        let is_putting = !matches!(self.profile, Putting::Done);
        is_putting || is_hiding || is_waiting || self.replica.is_needed()
    }

    /// What the store's clock says at `now`, as far as is known.
    pub(super) fn store_time(&self, now: Timestamp) -> Timestamp {
        Timestamp::from_millis(now.as_millis().saturating_add_signed(self.store_ahead_ms))
    }

    pub(super) fn elsewhere(&self) -> impl Iterator<Item = &Arc<SessionRecord>> {
        self.replica.others().map(|(_, _, record)| record)
    }

    /// Whether that is a session of another node through which a service acts.
    pub(super) fn is_by_service(&self, session: SessionId) -> bool {
        let other = self.replica.other(session);
        other.is_some_and(|(_, record)| record.by_service)
    }

    /// When a session of the nodes that died was last heard from.
    pub(super) fn heard_at(&self, who: Incarnation) -> Option<Timestamp> {
        let its = self.replica.others();
        let its = its.filter(|(_, token, _)| token.incarnation() == who);
        its.map(|(_, _, record)| record.heard_at).max()
    }

    /// Puts the record of a session through which a service acts, and which another node had.
    pub(super) fn take_over(
        &mut self,
        now: Timestamp,
        session: &Session,
        record: Arc<SessionRecord>,
        from: FencingToken,
        members: &Membership,
    ) {
        let how = Put {
            guard: Guard::Replaces(Some(from)),
            profile: 0,
            is_held: false,
        };
        self.replica
            .put(now, session.id, session.epoch, record, how, members);
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let waits = self.handed_over.values().map(|it| it.until);
        waits.chain(self.replica.next_deadline()).min()
    }

    /// The status was changed here.
    pub(super) fn chose(&mut self, change: &StatusChange, moment: Timestamp, status: &Status) {
        let under_way = match &self.profile {
            Putting::UnderWay(it) => it.changes,
            Putting::Done | Putting::Due => 0,
        };
        self.pending.push((change.clone(), moment));
        if self.pending.len() > under_way + PENDING_MAX {
            self.pending.truncate(under_way);
            self.pending.push((status.as_change(), moment));
        }
        self.authored();
    }

    /// The profile was erased here, with all that was changed before.
    pub(super) fn erase(&mut self) {
        self.is_erasing = true;
        self.pending.clear();
        if let Putting::UnderWay(it) = &mut self.profile {
            it.changes = 0;
        }
        self.authored();
    }

    /// The profile is another revision, made here.
    pub(super) fn authored(&mut self) {
        self.is_authored = true;
        self.put_profile();
    }

    /// The profile is to be written.
    pub(super) fn put_profile(&mut self) {
        match &mut self.profile {
            Putting::UnderWay(it) => it.again = true,
            other => *other = Putting::Due,
        }
    }

    /// Notes where entries of this node wait for the node that has taken a session over; nowhere, if it is this node's again.
    pub(super) fn wait_for_new_owner(
        &mut self,
        now: Timestamp,
        session: SessionId,
        places: Vec<Topic>,
    ) {
        let until = now + HOLD_AFTER_MOVE;
        match places.is_empty() {
            true => self.handed_over.remove(&session),
            false => self
                .handed_over
                .insert(session, HandedOver { places, until }),
        };
    }

    /// Notes which of the sessions that other nodes took over have ended.
    fn note_ended(&mut self, heard: &ReplicaChanges<Arc<SessionRecord>>) {
        for (session, change) in &heard.changes {
            let Err(reason) = *change else {
                continue;
            };
            if let Some(HandedOver { places, .. }) = self.handed_over.remove(session) {
                self.over.push(Ended {
                    session: *session,
                    reason,
                    places,
                });
            }
        }
    }

    /// Asks of the store what there is to ask.
    pub(super) fn ask(
        &mut self,
        now: Timestamp,
        profile: &Profile,
        (is_over, is_unread): (bool, bool),
        members: &Membership,
        out: &mut Vec<Request>,
    ) {
        if std::mem::take(&mut self.is_authored) {
            self.author = match is_unread {
                true => FencingToken::UNREAD,
                false => members.me().node,
            };
        }
        let subject = Subject::User(profile.user.clone());
        let (field, token) = (Field::Profile, self.token(profile));
        let is_due = matches!(self.profile, Putting::Due);
        let is_removal = is_over && (!self.lacks_profile || is_due);
        let mut putting = None;
        let op = match self.profile {
            Putting::UnderWay(_) => None,
            _ if is_removal => Some(Op::Remove {
                field,
                token,
                reason: Reason::Left,
            }),
            Putting::Due => {
                let profile = Arc::new(profile.clone());
                putting = Some(profile.clone());
                Some(Op::Put {
                    field,
                    token,
                    record: Record::Profile(profile),
                    guard: Guard::Replaces(self.known.or(self.fenced)),
                    profile: 0,
                })
            }
            Putting::Done => None,
        };
        if self.replica.ask(now, &subject, members, op, out) {
            self.profile = Putting::UnderWay(Box::new(UnderWay {
                token,
                profile: putting,
                changes: self.pending.len(),
                again: false,
            }));
        }
    }

    fn token(&self, profile: &Profile) -> FencingToken {
        FencingToken {
            epoch: profile.status.revision,
            owner: self.author,
            order: profile.last_seen.unwrap_or_default().as_millis(),
        }
    }

    /// Handles the answer to a write. Returns the revision of the profile that is stored now, and what has to be saved
    /// because of the version that the write made.
    fn written(&mut self, outcome: Option<&Written>) -> (Option<u64>, Option<Saves>) {
        if let Some(profile) = outcome.and_then(|it| it.profile) {
            self.seen = self.seen.max(profile);
        }
        let put = match std::mem::take(&mut self.profile) {
            Putting::UnderWay(put) => put,
            other => {
                self.profile = other;
                return (None, None);
            }
        };
        if put.again || outcome.is_none() {
            self.profile = Putting::Due;
        }
        let Some(written) = outcome else {
            return (None, None);
        };
        let mut refused = written.refused.iter();
        if let Some((_, fence)) = refused.find(|(field, _)| *field == Field::Profile) {
            // Somebody else has changed it. What they wrote comes first, and then this: once it is read.
            self.profile = Putting::Done;
            self.fenced = self.fenced.max(Some(fence.token));
            self.replica.refresh();
            return (None, None);
        }
        self.lacks_profile = put.profile.is_none();
        self.known = put.profile.is_some().then_some(put.token);
        self.is_erasing &= put.again;
        self.pending.drain(..put.changes.min(self.pending.len()));
        if put
            .profile
            .as_ref()
            .is_some_and(|it| it.status.chosen.hides())
        {
            self.hiding = Hiding::Noted(put.token.epoch);
            self.replica.refresh();
        }
        // Where nothing is different, it waits to be kept since whoever made it so.
        (Some(put.token.epoch), put.profile.zip(written.version))
    }

    /// The profile that the store has, before the user is known here; and whether it was changed without being read.
    pub(super) fn take_read(&mut self) -> Option<(Profile, bool)> {
        let (token, profile) = self.read.take()?;
        self.author = token.owner;
        self.known = Some(token);
        Some((
            Profile::clone(&profile),
            token.owner == FencingToken::UNREAD,
        ))
    }

    /// Whether the store has a profile, before the user is known here.
    pub(super) fn has_read(&self) -> bool {
        self.read.is_some()
    }

    /// Whether a change of the status is not in the store yet.
    fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether there are places that have yet to be told that the user hides.
    pub(super) fn is_hiding(&self) -> bool {
        self.hiding != Hiding::No
    }

    /// The places that the user's map names, with the sessions that are in each.
    fn places(&self, sessions: &[Session]) -> BTreeMap<Topic, Vec<SessionId>> {
        let mut places: BTreeMap<Topic, Vec<SessionId>> = BTreeMap::new();
        for session in sessions {
            for place in &session.places {
                let there = places.entry(place.topic.clone()).or_default();
                there.push(session.id);
            }
        }
        for (session, _, record) in self.replica.others() {
            for stay in &record.places {
                let there = places.entry(stay.topic.clone()).or_default();
                there.push(session);
            }
        }
        places
    }

    /// The map was read: tells the places that it names that the user hides, if that is to be done.
    fn fence_places(
        &mut self,
        user: &crate::UserId,
        sessions: &[Session],
        members: &Membership,
        out: &mut Vec<Request>,
    ) {
        let Hiding::Noted(revision) = self.hiding else {
            return;
        };
        let places = self.places(sessions);
        let left: BTreeSet<Topic> = places.keys().cloned().collect();
        for (topic, there) in places {
            let ops = there.into_iter().map(|session| Op::Hide {
                field: Field::Session(session),
                profile: revision,
            });
            out.push(Request::Fence {
                user: user.clone(),
                write: Write {
                    subject: Subject::Topic(topic),
                    by: members.me(),
                    ops: ops.collect(),
                    is_last: false,
                    until: None,
                },
            });
        }
        self.hiding = match left.is_empty() {
            true => Hiding::No,
            false => Hiding::Fencing { revision, left },
        };
    }

    /// A place was told, or not.
    fn fenced(&mut self, now: Timestamp, topic: &Topic, is_done: bool) {
        let Hiding::Fencing { revision, left } = &mut self.hiding else {
            return;
        };
        if !is_done {
            self.hiding = Hiding::Noted(*revision);
            return self.replica.refresh_later(now);
        }
        left.remove(topic);
        if left.is_empty() {
            self.hiding = Hiding::No;
        }
    }

    /// Takes in what every machine of a node is told; says whether a session of another node is gone.
    pub(super) fn hear_news(&mut self, now: Timestamp, news: News, members: &Membership) -> bool {
        let heard = match news {
            News::StoreAhead(_) => return false,
            News::Become(_) | News::Invalidate(_) | News::Woke => {
                self.replica.invalidate();
                return false;
            }
            News::Lost(who) => self.replica.lost(who),
            News::StoredUpTo(_) => self.replica.confirm_stored(now, members),
        };
        self.note_ended(&heard);
        !heard.changes.is_empty()
    }

    /// Takes in what is heard before the user is known here; says whether the store has answered.
    pub(super) fn prepare(&mut self, now: Timestamp, reply: Reply, members: &Membership) -> Asked {
        let (profile, asked) = match &reply {
            Reply::Read { snapshot, .. } => (
                snapshot.as_ref().and_then(stored_profile),
                match snapshot {
                    Some(_) => Asked::Known,
                    None => Asked::Away,
                },
            ),
            Reply::Patched(patch) => (patched_profile(patch), Asked::Waiting),
            _ => (None, Asked::Waiting),
        };
        let is_newer = |token: FencingToken| {
            let read = self.read.as_ref();
            read.is_none_or(|(it, _)| token >= *it)
        };
        if let Reply::Read {
            snapshot: Some(_), ..
        } = reply
        {
            self.lacks_profile = profile.is_none();
        }
        if profile.as_ref().is_some_and(|(token, _)| is_newer(*token)) {
            self.read = profile;
            self.lacks_profile = false;
        }
        let was_reading = self.replica.is_reading();
        self.hear(now, reply, members);
        match was_reading && !self.replica.is_reading() {
            true => asked,
            false => Asked::Waiting,
        }
    }

    fn hear(
        &mut self,
        now: Timestamp,
        reply: Reply,
        members: &Membership,
    ) -> ReplicaChanges<Arc<SessionRecord>> {
        match reply {
            Reply::Read { ask, snapshot } => self.replica.read(now, ask, snapshot, members),
            Reply::Patched(patch) => self.replica.patched(now, patch, members),
            Reply::Written(outcome) => self.replica.written(now, outcome.as_ref(), members),
            Reply::At(clock) => {
                self.replica.at(clock);
                ReplicaChanges::default()
            }
            Reply::Fenced { topic, is_done } => {
                self.fenced(now, &topic, is_done);
                ReplicaChanges::default()
            }
            Reply::Ephemeral(_) => ReplicaChanges::default(),
        }
    }
}

/// How far the store has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Waiting,
    Known,
    Away,
}

fn stored_profile(snapshot: &Snapshot) -> Option<(FencingToken, Arc<Profile>)> {
    let mut entries = snapshot.entries.iter();
    entries.find_map(|(_, token, record)| match record {
        Record::Profile(profile) => Some((*token, profile.clone())),
        Record::Session(_) | Record::Member(_) => None,
    })
}

fn patched_profile(patch: &Patch) -> Option<(FencingToken, Arc<Profile>)> {
    let mut changes = patch.changes.iter();
    changes.find_map(|Change { entry, .. }| match entry {
        Ok((token, Record::Profile(profile))) => Some((*token, profile.clone())),
        _ => None,
    })
}

/// A profile that is to be kept, and the version of the map that has it.
type Saves = (Arc<Profile>, u64);

/// What hearing of the store did to a user.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Sessions that are on other nodes now.
    pub(super) taken: Vec<(SessionId, FencingToken)>,
    /// Sessions that have ended, as the store has confirmed.
    pub(super) left: Vec<(SessionId, Reason)>,
    /// Which revisions of which sessions' records the store has.
    pub(super) stored: Vec<(SessionId, u64)>,
    /// Sessions of other nodes that this node wanted, and what became of that.
    pub(super) claims: Vec<(SessionId, Claimed)>,
    /// The store has this revision of the profile, whoever wrote it, and everything that was changed here until then.
    pub(super) kept: Option<u64>,
    /// The profile to save, because this node has written it, or because another node has and the user is here, too.
    pub(super) saves: Option<Saves>,
    /// Another node has erased them.
    pub(super) is_erased: bool,
}

impl User {
    /// Takes in what was heard of the store.
    pub(super) fn hear(
        &mut self,
        now: Timestamp,
        reply: Reply,
        members: &Membership,
        out: &mut Vec<Request>,
    ) -> Outcome {
        let Some(shared) = &mut self.shared else {
            return Outcome::default();
        };
        let (mut kept, mut saves) = (None, None);
        let mut profile = None;
        let mut version = None;
        // What is told may be older than what is there; what is read was there.
        let is_read = matches!(
            reply,
            Reply::Read {
                snapshot: Some(_),
                ..
            }
        ) && shared.replica.is_reading();
        match &reply {
            Reply::Read {
                snapshot: Some(snapshot),
                ..
            } if is_read => {
                // The user came to this node while the store could not be read, and was not shown. They appear now.
                if std::mem::take(&mut self.is_unsure) && !self.sessions.is_empty() {
                    self.is_remote = false;
                }
                profile = stored_profile(snapshot);
                version = snapshot.clock.map(|it| it.version);
                shared.lacks_profile = profile.is_none();
                if profile.is_none() {
                    shared.known = None;
                }
            }
            Reply::Patched(patch) => {
                profile = patched_profile(patch);
                version = Some(patch.clock.version);
                let mut fields = patch.changes.iter().map(|it| it.field);
                if fields.any(|it| it == Field::Profile) {
                    shared.lacks_profile = profile.is_none();
                }
            }
            Reply::Written(outcome) => (kept, saves) = shared.written(outcome.as_ref()),
            _ => {}
        }
        let heard = shared.hear(now, reply, members);
        let mut is_erased = false;
        if let Some((token, profile)) = profile {
            let (revision, was_blank) = (self.profile.status.revision, self.profile.is_blank());
            self.adopt(now, token, &profile, is_read);
            if self.profile.status.revision != revision && !self.sessions.is_empty() {
                saves = version.map(|version| (profile.clone(), version));
            }
            is_erased = self.profile.is_blank() && !was_blank;
            if self.shared.as_ref().is_some_and(|it| !it.has_pending()) {
                kept = Some(token.epoch.max(self.profile.status.revision));
            }
        } else if is_read {
            self.pass_the_fence();
        }
        self.own_changed |= !heard.changes.is_empty();
        if let Some(shared) = &mut self.shared {
            shared.note_ended(&heard);
        }
        self.note_stored(now, &heard);
        if let Some(shared) = self.shared.as_mut().filter(|_| is_read) {
            shared.fence_places(&self.profile.user, &self.sessions, members, out);
        }
        Outcome {
            taken: heard.taken,
            left: heard.left,
            stored: heard.stored,
            claims: heard.claims,
            kept,
            saves,
            is_erased,
        }
    }

    /// Raises the revision above that of a profile that the store has removed, or else the store would refuse this one.
    fn pass_the_fence(&mut self) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let is_here = !self.sessions.is_empty() && self.profile.is_worth_keeping();
        let revision = &mut self.profile.status.revision;
        let fenced = shared.fenced.map(|it| it.epoch);
        if fenced >= Some(*revision) && (shared.has_pending() || is_here) {
            *revision = fenced.unwrap_or_default() + 1;
            shared.authored();
            self.write_places_again();
        }
    }

    /// Notes which records of sessions the store has, and opens the places that they name to other nodes: unless the store
    /// has a later profile, which may say that the user hides.
    fn note_stored(&mut self, now: Timestamp, heard: &ReplicaChanges<Arc<SessionRecord>>) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        for (id, revision) in &heard.stored {
            if let Some(session) = self.sessions.iter_mut().find(|it| it.id == *id) {
                session.stored = session.stored.max(*revision);
            }
        }
        for id in &heard.absent {
            if let Some(session) = self.sessions.iter_mut().find(|it| it.id == *id) {
                session.end_later(now);
            }
        }
        match shared.seen <= self.profile.status.revision || self.unread.is_some() {
            true => self.sessions.iter_mut().for_each(Session::open_places),
            false => shared.replica.refresh(),
        }
    }

    /// Compares the profile that another node has stored with this one, and adopts it, keeps this one, or
    /// merges the two.
    fn adopt(&mut self, now: Timestamp, token: FencingToken, stored: &Profile, is_read: bool) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let mine = shared.token(&self.profile);
        let known = shared.known.replace(token);
        shared.seen = shared.seen.max(token.epoch);
        if token == mine {
            return;
        }
        // Two that both could not read it are as far as each other, and one of them may be this node.
        let is_as_far = token.owner == FencingToken::UNREAD && mine >= token;
        if self.unread.is_some() && !is_as_far {
            shared.author = token.owner;
            shared.is_authored = false;
            if stored.is_blank() {
                shared.pending.clear();
            }
            return self.learn(now, Some(stored.clone()));
        }
        let is_based_on_it = known == Some(token) || token.owner == FencingToken::UNREAD;
        let has_changes = shared.has_pending() || shared.is_erasing;
        if mine >= token && (is_based_on_it || !has_changes) {
            if !self.profile.is_blank() {
                // Two nodes may have made the same revision, when a status ended. The other may have seen them later.
                self.profile.last_seen = self.profile.last_seen.max(stored.last_seen);
            }
            if matches!(shared.profile, Putting::Done) && is_read {
                shared.put_profile();
            }
            return;
        }
        self.merge(now, token, stored);
    }

    /// Applies the profile of another node, which was stored first. Changes that were made here are applied to it if
    /// they were chosen later.
    fn merge(&mut self, now: Timestamp, token: FencingToken, stored: &Profile) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let before = self.profile.clone();
        self.profile = stored.clone();
        self.profile.last_seen = stored.last_seen.max(before.last_seen);
        shared.author = token.owner;
        shared.is_authored = false;
        let mut is_different = false;
        if shared.is_erasing {
            self.profile = stored.blank();
            self.profile.outdate(shared.store_time(now));
            is_different = true;
        } else if stored.is_blank() {
            // What was chosen by somebody who was erased since is nobody's wish any more.
            shared.pending.clear();
            self.profile.last_seen = stored.last_seen;
        }
        for (change, moment) in &shared.pending {
            let change = self.profile.moments.newer(change, *moment);
            is_different |= self.profile.choose_at(now, *moment, &change);
        }
        match is_different {
            true => shared.authored(),
            // They had the same wish, or a later one.
            false => shared.pending.clear(),
        }
        if self.profile.expire(now) {
            shared.authored();
        }
        if !self.profile.status.chosen.hides() {
            shared.hiding = Hiding::No;
        }
        self.own_changed |= self.profile.status != before.status;
        self.write_places_again();
    }

    /// Has the entries in all places written with the present revision of the profile. They may have hidden in between,
    /// and then an entry that shows an earlier revision is refused.
    fn write_places_again(&mut self) {
        for place in self.sessions.iter_mut().flat_map(|it| &mut it.places) {
            place.written = place.written.map(|_| 0);
        }
    }

    /// Drops what was held or remembered for long enough by `now`.
    pub(super) fn look_after_copy(&mut self, now: Timestamp, members: &Membership) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        shared.armed = None;
        let heard = shared.replica.expire(now, members);
        shared.note_ended(&heard);
        shared.handed_over.retain(|_, it| now < it.until);
        self.own_changed |= !heard.changes.is_empty();
    }

    /// Writes what is new of the user for the other nodes; says which sessions are known to be on another one.
    pub(super) fn share(
        &mut self,
        now: Timestamp,
        members: &Membership,
        out: &mut Vec<Request>,
    ) -> Vec<SessionId> {
        let Some(shared) = &mut self.shared else {
            return Vec::new();
        };
        let is_over = self.profile.user.is_anonymous() && {
            let is_elsewhere = shared.elsewhere().next().is_some();
            self.sessions.is_empty() && !is_elsewhere
        };
        if shared.lacks_profile
            && matches!(shared.profile, Putting::Done)
            && !self.sessions.is_empty()
            && self.profile.is_worth_keeping()
            && self.unread.as_ref().is_none_or(|it| !it.is_empty())
        {
            shared.put_profile();
        }
        if shared.hiding != Hiding::No && !self.profile.status.chosen.hides() {
            shared.hiding = Hiding::No;
        }
        for (session, reason) in &self.ended {
            shared.replica.remove(now, *session, *reason, members);
        }
        let mut elsewhere = Vec::new();
        for session in &mut self.sessions {
            if session.is_ending() {
                continue;
            }
            let Some(record) = session.news(now) else {
                continue;
            };
            let how = Put {
                guard: match session.stored {
                    0 => Guard::Replaces(session.replaces),
                    _ => Guard::Newer,
                },
                profile: 0,
                is_held: false,
            };
            let (id, epoch, record) = (session.id, session.epoch, Arc::new(record));
            match shared.replica.put(now, id, epoch, record, how, members) {
                Verdict::Counts => session.named(shared.replica.revision_of(id)),
                Verdict::Superseded => elsewhere.push(id),
            }
        }
        let is_unread = self.unread.is_some();
        shared.ask(now, &self.profile, (is_over, is_unread), members, out);
        elsewhere
    }
}
