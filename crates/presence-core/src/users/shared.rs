//! A user whom other nodes know, too: what is written to the store of them, and what is heard.

use std::sync::Arc;

use super::session::{Connection, Session};
use super::user::User;
use crate::cluster::{
    Change, Field, Heard, Incarnation, Membership, Op, Patch, Record, Replica, Reply, Request,
    SessionRecord, Snapshot, Stamp, Subject,
};
use crate::ports::Written;
use crate::{Profile, Reason, SessionId, Status, StatusChange, Timestamp};

/// Changes of a status that wait for the store; with one more they become one that says everything.
pub(super) const PENDING_MAX: usize = 16;

/// What the store has of a user, and what it should.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) replica: Replica<Arc<SessionRecord>>,
    /// The process that made the newest change of the profile, as far as this node knows; none, before it is stored.
    author: u64,
    /// Changes of the status that the store does not have.
    pending: Vec<StatusChange>,
    /// This node is to become the author of the profile's revision.
    is_authored: bool,
    /// The profile that is being put.
    putting: Option<Arc<Profile>>,
    profile: Putting,
    /// Nothing of the profile is to be left, whoever else changes it until the store has that.
    is_erasing: bool,
    /// The store is known to have no profile of the user.
    lacks_profile: bool,
    /// What was read while the user's profile was not known here yet.
    read: Option<(Stamp, Arc<Profile>)>,
    pub(super) armed: Option<Timestamp>,
}

/// How far the profile is on its way to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Putting {
    #[default]
    Done,
    Due,
    /// This revision, with so many of the pending changes; and whether it is due again.
    UnderWay {
        revision: u64,
        changes: usize,
        again: bool,
        /// It is being removed.
        is_cut: bool,
    },
}

impl Shared {
    /// Whether anything of the user is not in the store, or not gone from it.
    pub(super) fn is_needed(&self) -> bool {
        self.profile != Putting::Done || self.replica.is_needed()
    }

    pub(super) fn elsewhere(&self) -> impl Iterator<Item = &Arc<SessionRecord>> {
        self.replica.others().map(|(_, _, record)| record)
    }

    /// Whether that is a session of another node through which a service acts.
    pub(super) fn is_acted(&self, session: SessionId) -> bool {
        let other = self.replica.other(session);
        other.is_some_and(|(_, record)| record.acted)
    }

    /// When a session of the nodes that died was last heard from.
    pub(super) fn heard_at(&self, who: Incarnation) -> Option<Timestamp> {
        let its = self.replica.others();
        let its = its.filter(|(_, stamp, _)| stamp.incarnation() == who);
        its.map(|(_, _, record)| record.heard_at).max()
    }

    /// The session of another node whose connection `before` is, to go on here.
    pub(super) fn take_over(&mut self, now: Timestamp, before: Connection) -> Option<Session> {
        let (stamp, record) = self.replica.other(before.session)?;
        if !record.acted && stamp.epoch != u64::from(before.epoch) {
            return None;
        }
        let epoch = u32::try_from(stamp.epoch).ok()?;
        // Its next connection is about to be made; a service has none, and so takes it over by itself.
        let epoch = epoch + u32::from(record.acted);
        let session = Session::take_over(now, before.session, epoch, record);
        Some(session)
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.replica.next_deadline()
    }

    /// The status was changed here.
    pub(super) fn chose(&mut self, change: &StatusChange, status: &Status) {
        let under_way = match self.profile {
            Putting::UnderWay { changes, .. } => changes,
            Putting::Done | Putting::Due => 0,
        };
        self.pending.push(change.clone());
        if self.pending.len() > under_way + PENDING_MAX {
            self.pending.truncate(under_way);
            self.pending.push(status.as_change());
        }
        self.authored();
    }

    /// The profile was erased here, with all that was changed before.
    pub(super) fn erase(&mut self) {
        self.is_erasing = true;
        self.pending.clear();
        if let Putting::UnderWay { changes, .. } = &mut self.profile {
            *changes = 0;
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
            Putting::UnderWay { again, .. } => *again = true,
            other => *other = Putting::Due,
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
                true => Stamp::UNREAD,
                false => members.me.node,
            };
        }
        let subject = Subject::User(profile.user.clone());
        let (field, stamp) = (Field::Profile, self.stamp(profile));
        let is_cut = is_over && (!self.lacks_profile || self.profile == Putting::Due);
        let mut putting = None;
        let op = match self.profile {
            Putting::UnderWay { .. } => None,
            _ if is_cut => Some(Op::Cut {
                field,
                stamp,
                reason: Reason::Left,
            }),
            Putting::Due => {
                let profile = Arc::new(profile.clone());
                putting = Some(profile.clone());
                let record = Record::Profile(profile);
                Some(Op::Put {
                    field,
                    stamp,
                    record,
                })
            }
            Putting::Done => None,
        };
        if self.replica.ask(now, &subject, members, op, out) {
            self.putting = putting;
            self.profile = Putting::UnderWay {
                revision: profile.status.revision,
                changes: self.pending.len(),
                again: false,
                is_cut,
            };
        }
    }

    fn stamp(&self, profile: &Profile) -> Stamp {
        Stamp {
            epoch: profile.status.revision,
            owner: self.author,
            order: profile.last_seen.unwrap_or_default().as_millis(),
        }
    }

    /// The write was done, or not; says which revision of the profile is safe now, and what is to be kept because of that
    /// version.
    fn written(&mut self, outcome: Option<&Written>) -> (Option<u64>, Option<Saves>) {
        let Putting::UnderWay {
            revision,
            changes,
            again,
            is_cut,
        } = self.profile
        else {
            return (None, None);
        };
        let putting = self.putting.take();
        self.profile = match again {
            true => Putting::Due,
            false => Putting::Done,
        };
        let Some(written) = outcome else {
            self.profile = Putting::Due;
            return (None, None);
        };
        if written
            .refused
            .iter()
            .any(|(field, _)| *field == Field::Profile)
        {
            // Somebody else has made that revision. What they wrote comes first, and then this: once it is read.
            self.profile = Putting::Done;
            self.replica.distrust();
            return (None, None);
        }
        self.lacks_profile = is_cut;
        self.is_erasing &= again;
        self.pending.drain(..changes.min(self.pending.len()));
        // Where nothing is different, it waits to be kept since whoever made it so.
        (Some(revision), putting.zip(written.version))
    }

    /// The profile that the store has, before the user is known here; and whether it was changed without being read.
    pub(super) fn take_read(&mut self) -> Option<(Profile, bool)> {
        let (stamp, profile) = self.read.take()?;
        self.author = stamp.owner;
        Some((Profile::clone(&profile), stamp.owner == Stamp::UNREAD))
    }

    /// Whether the store has a profile, before the user is known here.
    pub(super) fn has_read(&self) -> bool {
        self.read.is_some()
    }

    /// Whether a change of the status is not in the store yet.
    fn has_pending(&self) -> bool {
        !self.pending.is_empty()
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
        let is_newer = |stamp: Stamp| {
            let read = self.read.as_ref();
            read.is_none_or(|(it, _)| stamp.supersedes(*it))
        };
        if let Reply::Read {
            snapshot: Some(_), ..
        } = reply
        {
            self.lacks_profile = profile.is_none();
        }
        if profile.as_ref().is_some_and(|(stamp, _)| is_newer(*stamp)) {
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
    ) -> Heard<Arc<SessionRecord>> {
        match reply {
            Reply::Read { ask, snapshot } => self.replica.read(now, ask, snapshot, members),
            Reply::Patched(patch) => self.replica.patched(patch, members),
            Reply::Written(outcome) => self.replica.written(now, outcome.as_ref(), members),
            Reply::At(clock) => {
                self.replica.at(clock);
                Heard::default()
            }
            Reply::Murmured(_) => Heard::default(),
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

fn stored_profile(snapshot: &Snapshot) -> Option<(Stamp, Arc<Profile>)> {
    let mut entries = snapshot.entries.iter();
    entries.find_map(|(_, stamp, record)| match record {
        Record::Profile(profile) => Some((*stamp, profile.clone())),
        Record::Session(_) | Record::Member(_) => None,
    })
}

fn patched_profile(patch: &Patch) -> Option<(Stamp, Arc<Profile>)> {
    let mut changes = patch.changes.iter();
    changes.find_map(|Change { entry, .. }| match entry {
        Ok((stamp, Record::Profile(profile))) => Some((*stamp, profile.clone())),
        _ => None,
    })
}

/// A profile that is to be kept, and the version of the map that has it.
type Saves = (Arc<Profile>, u64);

/// What hearing of the store did to a user.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Sessions that are on other nodes now.
    pub(super) taken: Vec<SessionId>,
    /// The store has this revision of the profile, whoever wrote it, and everything that was changed here until then.
    pub(super) kept: Option<u64>,
    /// What this node has written, or another one of somebody who is here too: it is to be kept here as well.
    pub(super) saves: Option<Saves>,
    /// Another node has erased them.
    pub(super) is_erased: bool,
}

impl User {
    /// Takes in what was heard of the store.
    pub(super) fn hear(&mut self, now: Timestamp, reply: Reply, members: &Membership) -> Outcome {
        let Some(shared) = &mut self.shared else {
            return Outcome::default();
        };
        let (mut kept, mut saves) = (None, None);
        let mut profile = None;
        let mut version = None;
        // What is told may be older than what is there; what is read was there.
        let is_read = matches!(reply, Reply::Read { .. });
        match &reply {
            Reply::Read {
                snapshot: Some(snapshot),
                ..
            } if shared.replica.is_reading() => {
                self.is_unsure = false;
                profile = stored_profile(snapshot);
                version = snapshot.clock.map(|it| it.version);
                shared.lacks_profile = profile.is_none();
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
        if let Some((stamp, profile)) = profile {
            let (revision, was_blank) = (self.profile.status.revision, self.profile.is_blank());
            self.adopt(now, stamp, &profile, is_read);
            if self.profile.status.revision != revision && !self.sessions.is_empty() {
                saves = version.map(|version| (profile.clone(), version));
            }
            is_erased = self.profile.is_blank() && !was_blank;
            if self.shared.as_ref().is_some_and(|it| !it.has_pending()) {
                kept = Some(stamp.epoch);
            }
        }
        self.own_changed |= !heard.changes.is_empty();
        Outcome {
            taken: heard.taken,
            kept,
            saves,
            is_erased,
        }
    }

    /// Somebody's record of the profile: which of the two goes on?
    fn adopt(&mut self, now: Timestamp, stamp: Stamp, stored: &Profile, is_read: bool) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let mine = shared.stamp(&self.profile);
        if stamp == mine {
            return;
        }
        // Two that both could not read it are as far as each other, and one of them may be this node.
        let is_as_far = stamp.owner == Stamp::UNREAD && mine.supersedes(stamp);
        if self.unread.is_some() && !is_as_far {
            shared.author = stamp.owner;
            shared.is_authored = false;
            if stored.is_blank() {
                shared.pending.clear();
            }
            return self.learn(now, Some(stored.clone()));
        }
        if mine.supersedes(stamp) {
            if shared.profile == Putting::Done && is_read {
                shared.put_profile();
            }
            return;
        }
        // Theirs was first. What was changed here since is changed in that.
        let before = self.profile.status.clone();
        self.profile = stored.clone();
        shared.author = stamp.owner;
        shared.is_authored = false;
        let mut is_different = false;
        if shared.is_erasing {
            self.profile = stored.blank();
            self.profile.outdate(now);
            is_different = true;
        } else if stored.is_blank() {
            // What was chosen by somebody who was erased since is nobody's wish any more.
            shared.pending.clear();
        }
        for change in &shared.pending {
            is_different |= self.profile.choose(now, change);
        }
        match is_different {
            true => shared.authored(),
            // They had the same wish.
            false => shared.pending.clear(),
        }
        if self.profile.expire(now) {
            shared.authored();
        }
        self.own_changed |= self.profile.status != before;
    }

    /// Lets go of what was waited for long enough.
    pub(super) fn look_after_copy(&mut self, now: Timestamp, members: &Membership) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        shared.armed = None;
        let heard = shared.replica.expire(now, members);
        self.own_changed |= !heard.changes.is_empty();
    }

    /// Writes what is new of the user for the other nodes.
    pub(super) fn share(&mut self, now: Timestamp, members: &Membership, out: &mut Vec<Request>) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let is_over = self.profile.user.is_anonymous() && {
            let is_elsewhere = shared.elsewhere().next().is_some();
            self.sessions.is_empty() && !is_elsewhere
        };
        if shared.lacks_profile
            && shared.profile == Putting::Done
            && !self.sessions.is_empty()
            && self.profile.is_worth_keeping()
            && self.unread.as_ref().is_none_or(|it| !it.is_empty())
        {
            shared.put_profile();
        }
        for (session, reason) in &self.ended {
            shared.replica.cut(*session, *reason, members);
        }
        for session in &mut self.sessions {
            if let Some(record) = session.news(now) {
                shared
                    .replica
                    .put(session.id, session.epoch, Arc::new(record));
            }
        }
        let is_unread = self.unread.is_some();
        shared.ask(now, &self.profile, (is_over, is_unread), members, out);
    }
}
