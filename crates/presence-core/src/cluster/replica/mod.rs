//! A node's copy of one map: the entries of its own sessions, which it writes, and those of other nodes,
//! which it reads.
//!
//! Of two entries of one session the one with the greater [`FencingToken`] is kept, and only that one is shown.

mod asking;
mod hearing;
mod local;
mod remote;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use self::local::{Local, Progress, Wish};
pub(crate) use self::remote::HOLD_AFTER_MOVE;
use self::remote::{Missing, Remote};
use self::sync::{Following, Sync};
use super::{FencingToken, Guard, Membership, Record, Request, SessionRecord, Subject};
use crate::{Member, Reason, SessionId, Timestamp};

/// How long a removal is remembered: a server that takes over may not know about it, and that shows only then.
const REMEMBERED: Duration = Duration::from_secs(20);
/// The time after which the store is asked again if it did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// A value that can be stored as the entry of a session.
pub(crate) trait StoredEntry: Clone + PartialEq {
    fn to_record(&self) -> Record;
    fn of_record(record: Record) -> Option<Self>;
}

impl StoredEntry for Arc<Member> {
    fn to_record(&self) -> Record {
        Record::Member(self.clone())
    }

    fn of_record(record: Record) -> Option<Self> {
        match record {
            Record::Member(member) => Some(member),
            Record::Session(_) | Record::Profile(_) => None,
        }
    }
}

impl StoredEntry for Arc<SessionRecord> {
    fn to_record(&self) -> Record {
        Record::Session(self.clone())
    }

    fn of_record(record: Record) -> Option<Self> {
        match record {
            Record::Session(session) => Some(session),
            Record::Member(_) | Record::Profile(_) => None,
        }
    }
}

/// One node's copy of one map.
///
/// An entry is dropped only if the store says that it was removed. The store may have lost an entry that is merely
/// missing, so that is held for a while. For its own entries the node itself is the authority: if the store has an
/// older one or none, the node writes it again, unless another node has the session now.
#[derive(Debug)]
pub(crate) struct Replica<V> {
    /// The entries of this node's own sessions.
    local: BTreeMap<SessionId, Local<V>>,
    /// The own sessions whose entries are [`Progress::Due`].
    due: BTreeSet<SessionId>,
    /// The entries of other nodes' sessions.
    remote: BTreeMap<SessionId, Remote<V>>,
    /// Sessions that other nodes have taken over recently: with which token, and until when that is remembered.
    taken: BTreeMap<SessionId, (FencingToken, Timestamp)>,
    sync: Sync,
    writing: Writing,
    /// Whether the store has noted, or may have noted, that this node has entries in this map.
    is_noted: bool,
    /// The revision of the newest token that this node made.
    revision: u64,
    /// The store did not answer: it is not asked before this moment.
    retry_at: Option<Timestamp>,
    /// The map is not read before this moment, because nothing new can be there yet.
    read_at: Option<Timestamp>,
    /// Until when a write of this node may have to be repeated, because a server that takes over may not know about it.
    minds_until: Option<Timestamp>,
    /// The earliest moment at which something ends that is held or remembered.
    looks_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
enum Writing {
    #[default]
    Idle,
    /// A write with these tokens is under way. `is_last` says that this node has no entry in this map afterwards.
    UnderWay {
        sent: Vec<(SessionId, FencingToken)>,
        is_last: bool,
    },
}

/// How to put the entry of a session of this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Put {
    /// The condition of the put, if this is the first entry of its epoch.
    pub(crate) guard: Guard,
    /// The revision of the profile that the entry shows.
    pub(crate) profile: u64,
    /// Whether the entry must not be sent yet.
    pub(crate) is_held: bool,
}

/// Whether an entry of this node's session counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Counts,
    /// It does not count: another node has taken over the session.
    Superseded,
}

/// The outcome of a claim: whether this node got the session of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// This node has the session now.
    Granted,
    /// This node does not have the session: its entry has changed, or there is none.
    Refused,
    /// It is not known, because the store did not answer.
    Unknown,
}

/// What the store's answer or announcement has changed.
#[derive(Debug)]
pub(crate) struct ReplicaChanges<V> {
    /// Entries that are new, have changed, or are gone.
    pub(crate) changes: Vec<(SessionId, Result<V, Reason>)>,
    /// Sessions of this node that another node has taken over, with its token.
    pub(crate) taken: Vec<(SessionId, FencingToken)>,
    /// Own entries that the store has now, each with its revision.
    pub(crate) stored: Vec<(SessionId, u64)>,
    /// Sessions that were asked to leave, and have left.
    pub(crate) left: Vec<(SessionId, Reason)>,
    /// Sessions that were asked to leave, and that the store knew nothing about.
    pub(crate) absent: Vec<SessionId>,
    /// Claims that were decided, each with its outcome.
    pub(crate) claims: Vec<(SessionId, Claimed)>,
}

impl<V> Default for ReplicaChanges<V> {
    fn default() -> Self {
        ReplicaChanges {
            changes: Vec::new(),
            taken: Vec::new(),
            stored: Vec::new(),
            left: Vec::new(),
            absent: Vec::new(),
            claims: Vec::new(),
        }
    }
}

impl<V> Default for Replica<V> {
    fn default() -> Self {
        Replica {
            local: BTreeMap::new(),
            due: BTreeSet::new(),
            remote: BTreeMap::new(),
            taken: BTreeMap::new(),
            sync: Sync::default(),
            writing: Writing::Idle,
            is_noted: false,
            revision: 0,
            retry_at: None,
            read_at: None,
            minds_until: None,
            looks_at: None,
        }
    }
}

impl<V: StoredEntry> Replica<V> {
    /// Whether the map is being read.
    pub(crate) fn is_reading(&self) -> bool {
        self.sync.is_reading()
    }

    /// Reads the map once, with the number `ask`: nothing is followed.
    pub(crate) fn peek(&mut self, ask: u32) {
        self.sync.following = Following::Opening;
        self.sync.ask = ask.wrapping_sub(1);
        self.sync.start();
    }

    /// Whether the map is being read with the number `ask`.
    pub(crate) fn is_reading_as(&self, ask: u32) -> bool {
        self.is_reading() && self.sync.ask == ask
    }

    /// Whether the store has, or may have, something else of this node's than it should, or may yet turn out to.
    pub(crate) fn is_needed(&self) -> bool {
        let is_writing = matches!(self.writing, Writing::UnderWay { .. });
        is_writing || !self.due.is_empty() || self.has_stray_note() || self.looks_at.is_some()
    }

    /// Whether the store has noted that this node has entries in this map, while it has none.
    fn has_stray_note(&self) -> bool {
        self.is_noted && !self.has_entries()
    }

    fn has_entries(&self) -> bool {
        self.local.values().any(Local::is_to_be_there)
    }

    /// Whether this node has `session`.
    pub(crate) fn owns(&self, session: SessionId) -> bool {
        self.local.get(&session).is_some_and(Local::is_owned)
    }

    /// The sessions of other nodes, with their tokens and entries.
    pub(crate) fn others(&self) -> impl Iterator<Item = (SessionId, FencingToken, &V)> {
        let remote = self.remote.iter();
        remote.map(|(session, it)| (*session, it.token, &it.value))
    }

    /// The entry of a session of another node.
    pub(crate) fn other(&self, session: SessionId) -> Option<(FencingToken, &V)> {
        self.remote.get(&session).map(|it| (it.token, &it.value))
    }

    /// Sets what the entry of a session of this node is to say.
    pub(crate) fn put(
        &mut self,
        now: Timestamp,
        session: SessionId,
        epoch: u32,
        value: V,
        how: Put,
        members: &Membership,
    ) -> Verdict {
        if self.is_superseded(session, epoch, members) {
            return Verdict::Superseded;
        }
        let token = self.next_token(now, epoch, members);
        self.remote.remove(&session);
        let (mut guard, mut progress) = (how.guard, Progress::Due);
        if how.is_held {
            progress = Progress::Held;
        }
        if let Some(local) = self.local.get(&session) {
            let is_same_epoch = local.token.is_of_same_writer(token);
            let is_same = is_same_epoch && local.profile == how.profile;
            let is_entry = matches!(&local.wish, Wish::Entry(before) if *before == value);
            let is_waiting = !matches!(
                local.progress,
                Progress::Due | Progress::InFlight | Progress::Stored
            );
            if is_same && is_entry && (!is_waiting || how.is_held) {
                return Verdict::Counts;
            }
            if is_same_epoch {
                guard = local.guard;
            }
            // What was open stays open.
            progress = match (&local.wish, local.progress) {
                (Wish::Entry(_), Progress::Void) if how.is_held => Progress::Void,
                (Wish::Entry(_), Progress::Held) => progress,
                (Wish::Entry(_), _) => Progress::Due,
                // The entry from before may still be there. It is removed if this one never follows.
                (Wish::Gone(_), Progress::Due | Progress::InFlight) if how.is_held => {
                    Progress::Void
                }
                _ => progress,
            };
        }
        let (wish, profile) = (Wish::Entry(value), how.profile);
        self.wish(
            session,
            Local {
                token,
                wish,
                progress,
                guard,
                profile,
            },
        );
        Verdict::Counts
    }

    /// Claims the session of another node, in its epoch `epoch`. The store grants it only if the entry still has
    /// the token `expected`.
    pub(crate) fn claim(
        &mut self,
        now: Timestamp,
        session: SessionId,
        epoch: u32,
        value: V,
        expected: FencingToken,
        members: &Membership,
    ) {
        let local = Local {
            token: self.next_token(now, epoch, members),
            wish: Wish::Claim(value),
            progress: Progress::Due,
            guard: Guard::Replaces(Some(expected)),
            profile: 0,
        };
        self.wish(session, local);
    }

    /// Removes the entry of a session of this node. Returns whether there was one.
    pub(crate) fn remove(
        &mut self,
        now: Timestamp,
        session: SessionId,
        reason: Reason,
        members: &Membership,
    ) -> bool {
        let Some(local) = self.local.get(&session).filter(|it| it.is_owned()) else {
            return self.remove_moved(now, session, reason, members);
        };
        if local.progress == Progress::Held {
            self.drop_local(session);
            return true;
        }
        self.wish_gone(now, session, local.token.epoch, reason, members);
        true
    }

    /// The same for an entry that waits for the node that took its session over, and never will replace it.
    fn remove_moved(
        &mut self,
        now: Timestamp,
        session: SessionId,
        reason: Reason,
        members: &Membership,
    ) -> bool {
        let moved = self.remote.get(&session).filter(|it| {
            let is_waiting = it.missing != Missing::No;
            is_waiting && it.token.owner == members.me().node
        });
        let Some(epoch) = moved.map(|it| it.token.epoch) else {
            return false;
        };
        self.remote.remove(&session);
        self.wish_gone(now, session, epoch, reason, members);
        true
    }

    /// Wants no entry of a session of this node to be there, unless somebody else has it by now: [`ReplicaChanges::left`],
    /// [`ReplicaChanges::taken`] or [`ReplicaChanges::absent`]. Says whether that is to be waited for.
    pub(crate) fn leave(
        &mut self,
        now: Timestamp,
        session: SessionId,
        reason: Reason,
        members: &Membership,
    ) -> bool {
        let Some(local) = self.local.get(&session) else {
            return false;
        };
        let value = match &local.wish {
            Wish::Entry(value) if local.progress != Progress::Held => value.clone(),
            Wish::Leave(..) => return true,
            Wish::Entry(_) => {
                self.drop_local(session);
                return false;
            }
            Wish::Claim(_) | Wish::Gone(_) => return false,
        };
        let (epoch, profile) = (local.token.epoch, local.profile);
        let local = Local {
            token: self.token_in(now, epoch, members),
            wish: Wish::Leave(value, reason),
            progress: Progress::Due,
            guard: Guard::Newer,
            profile,
        };
        self.wish(session, local);
        true
    }

    /// Hands a session of this node over to another node. Its entry stays until that node replaces it, and is removed
    /// if it does not. Returns whether the entry is still shown.
    pub(crate) fn hand_over(&mut self, now: Timestamp, session: SessionId) -> bool {
        let Some(local) = self.local.get(&session).filter(|it| it.is_owned()) else {
            return self.remote.contains_key(&session);
        };
        let is_stored = local.progress != Progress::Held;
        let (token, value) = (local.token, local.shown().cloned());
        self.drop_local(session);
        let (Some(value), true) = (value, is_stored) else {
            return false;
        };
        let missing = Missing::Moved { since: now };
        self.look_at(missing.looks_at(now));
        let remote = Remote {
            token,
            value,
            missing,
        };
        self.remote.entry(session).or_insert(remote);
        true
    }

    /// Notes that this node was declared dead, so that nothing it wrote counts. What is still true is to be put once more.
    pub(crate) fn void(&mut self, now: Timestamp, members: &Membership) {
        let due = &mut self.due;
        due.clear();
        let mut claims = Vec::new();
        for (session, local) in &mut self.local {
            if let Wish::Leave(value, _) = &local.wish {
                local.wish = Wish::Entry(value.clone());
            }
            match (&local.wish, local.progress) {
                (Wish::Gone(_), Progress::Due) => {
                    due.insert(*session);
                }
                (Wish::Claim(_), _) => claims.push((*session, local.token.epoch)),
                (Wish::Entry(_), Progress::Held) | (Wish::Gone(_), _) => {}
                (Wish::Entry(_) | Wish::Leave(..), _) => local.progress = Progress::Void,
            }
        }
        for (session, epoch) in claims {
            // A session that is granted to the dead is nobody's.
            let token = self.token_in(now, epoch, members);
            if let Some(local) = self.local.get_mut(&session) {
                local.token = token;
                local.progress = Progress::Due;
                self.due.insert(session);
            }
        }
    }

    /// Notes that the store may have lost data. If the map is followed it is read, which shows what is missing;
    /// otherwise everything is written again.
    pub(crate) fn invalidate(&mut self) {
        // A note that was taken back may be there again.
        self.is_noted |= self.minds_until.is_some();
        if self.sync.following != Following::No {
            return self.sync.want();
        }
        for (session, local) in &mut self.local {
            if matches!(local.progress, Progress::Stored | Progress::Remembered(_)) {
                local.progress = Progress::Due;
                self.due.insert(*session);
            }
        }
    }

    /// Has the map read.
    pub(crate) fn refresh(&mut self) {
        self.sync.want();
    }

    /// Has the map read after [`RETRY`]. Writes do not wait for that.
    pub(crate) fn refresh_later(&mut self, now: Timestamp) {
        self.read_at = Some(now + RETRY);
        self.sync.want();
    }

    /// Whether the store did not answer, less than [`RETRY`] ago.
    pub(crate) fn is_away(&self, now: Timestamp) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }

    /// The revision of the newest wish for the entry of a session of this node; 0 if there is none.
    pub(crate) fn revision_of(&self, session: SessionId) -> u64 {
        let local = self.local.get(&session);
        local.map_or(0, |it| it.token.revision())
    }

    /// Starts or stops following the map. Returns the sessions of other nodes that are not known any more.
    pub(crate) fn follow(
        &mut self,
        wanted: bool,
        subject: &Subject,
        members: &Membership,
        out: &mut Vec<Request>,
    ) -> Vec<SessionId> {
        match (wanted, self.sync.following) {
            (true, Following::No) => {
                self.sync.following = Following::Opening;
                let ask = self.sync.start();
                let subject = subject.clone();
                out.push(Request::Open { subject, ask });
                Vec::new()
            }
            (false, Following::Opening | Following::Yes) => {
                self.sync.close();
                out.push(Request::Close(subject.clone()));
                // What it wrote itself is still to be replaced or removed, whoever has the session now.
                let me = members.me().node;
                let remote = std::mem::take(&mut self.remote).into_iter();
                let (mine, others): (_, BTreeMap<_, _>) =
                    remote.partition(|(_, it)| it.token.owner == me);
                self.remote = mine;
                others.into_keys().collect()
            }
            (true, _) | (false, Following::No) => Vec::new(),
        }
    }

    fn next_token(&mut self, now: Timestamp, epoch: u32, members: &Membership) -> FencingToken {
        self.revision = (self.revision + 1).max(now.as_millis());
        FencingToken::of_session(epoch, members.me(), self.revision)
    }

    fn token_in(&mut self, now: Timestamp, epoch: u64, members: &Membership) -> FencingToken {
        let epoch = u32::try_from(epoch).unwrap_or(u32::MAX);
        self.next_token(now, epoch, members)
    }

    fn wish(&mut self, session: SessionId, local: Local<V>) {
        match local.progress {
            Progress::Due => self.due.insert(session),
            _ => self.due.remove(&session),
        };
        self.local.insert(session, local);
    }

    fn wish_gone(
        &mut self,
        now: Timestamp,
        session: SessionId,
        epoch: u64,
        reason: Reason,
        members: &Membership,
    ) {
        let local = Local {
            token: self.token_in(now, epoch, members),
            wish: Wish::Gone(reason),
            progress: Progress::Due,
            guard: Guard::Newer,
            profile: 0,
        };
        self.wish(session, local);
    }

    fn drop_local(&mut self, session: SessionId) -> Option<Local<V>> {
        self.due.remove(&session);
        self.local.remove(&session)
    }

    fn is_superseded(&self, session: SessionId, epoch: u32, members: &Membership) -> bool {
        let mine = (u64::from(epoch), members.me().node);
        let remote = self.remote.get(&session).map(|it| it.token);
        let taken = self.taken.get(&session).map(|(token, _)| *token);
        let mut known = remote.into_iter().chain(taken);
        known.any(|it| (it.epoch, it.owner) > mine)
    }

    /// Has the copy checked at `at`, if not earlier.
    fn look_at(&mut self, at: Option<Timestamp>) {
        self.looks_at = self.looks_at.into_iter().chain(at).min();
    }

    /// Asserts what must hold after every input.
    #[cfg(debug_assertions)]
    fn assert_invariants(&self) {
        for (session, local) in &self.local {
            let is_due = self.due.contains(session);
            assert_eq!(is_due, local.progress == Progress::Due, "{session}");
            let is_shown_twice = local.is_owned() && self.remote.contains_key(session);
            assert!(!is_shown_twice, "{session} is local and remote");
            if local.progress == Progress::InFlight {
                assert!(matches!(self.writing, Writing::UnderWay { .. }));
            }
        }
        assert!(self.due.iter().all(|it| self.local.contains_key(it)));
    }
}
