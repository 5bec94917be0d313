//! A node's copy of one map: the entries of its own sessions, which it writes, and those of other nodes,
//! which it reads.
//!
//! Of two entries of one session the one with the greater [`FencingToken`] is kept, and only that one is shown.

mod asking;
mod hearing;
#[cfg(debug_assertions)]
mod invariants;
mod local;
mod memory;
mod remote;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use self::local::{Desired, Local, Locals, Progress, Removal, Sending};
use self::memory::Memory;
pub(crate) use self::remote::HOLD_AFTER_MOVE;
use self::remote::{Missing, Remote};
use self::sync::{SyncState, When};
use super::{FencingToken, Guard, Membership, Record, Request, SessionRecord, Subject};
use crate::{Member, Reason, SessionId, Timestamp, UserId};

/// How long a removal is remembered, because a server that takes over may have missed it and still have the entry.
const REMEMBERED: Duration = Duration::from_secs(20);
/// The time after which the store is asked again if it did not answer.
const RETRY: Duration = Duration::from_millis(500);

/// A value that can be stored as the entry of a session.
pub(crate) trait StoredEntry: Clone + PartialEq {
    fn to_record(&self) -> Record;
    fn of_record(record: Record) -> Option<Self>;

    /// Whose entry it is, in a map with entries of several users.
    fn user(&self) -> Option<&UserId>;
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

    fn user(&self) -> Option<&UserId> {
        Some(&self.user)
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

    fn user(&self) -> Option<&UserId> {
        None
    }
}

/// One node's copy of one map.
///
/// An entry is dropped only if the store says that it was removed. The store may have lost an entry that is merely
/// missing, so that is held for a while. For its own entries the node itself is the authority: if the store has an
/// older one or none, the node writes it again, unless another node has the session now.
#[derive(Debug)]
pub(crate) struct Replica<V> {
    /// This node's own sessions.
    local: Locals<V>,
    /// The entries of other nodes' sessions.
    remote: BTreeMap<SessionId, Remote<V>>,
    memory: Memory,
    sync: SyncState,
    /// The number of the last request to read the map.
    ask: u32,
    /// The tokens of the write that is under way, if one is.
    writing: Option<Vec<(SessionId, FencingToken)>>,
    note: Note,
    /// The revision of the newest token that this node made.
    revision: u64,
    /// The store did not answer: it is not asked before this moment.
    retry_at: Option<Timestamp>,
}

/// Whether the store has noted that this node has entries in a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Note {
    #[default]
    Absent,
    /// It has, or it may have.
    There,
    /// It has, or it may have. A write is under way that takes that back.
    Removing,
}

/// How to put the entry of a session of this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Put {
    /// The condition of the put, if this is the first entry of its epoch.
    pub(crate) guard: Guard,
    /// The revision of the profile that the entry shows.
    pub(crate) profile: u64,
    /// Whether the entry may be sent.
    pub(crate) hold: Hold,
}

/// Whether an entry that is put may be sent to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The entry may be sent.
    No,
    /// It must not be sent yet: the user's map does not name the place.
    UntilNamed,
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
    /// Own entries that the store has now, each with its token.
    pub(crate) stored: Vec<(SessionId, FencingToken)>,
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
            local: Locals::default(),
            remote: BTreeMap::new(),
            memory: Memory::default(),
            sync: SyncState::default(),
            ask: 0,
            writing: None,
            note: Note::default(),
            revision: 0,
            retry_at: None,
        }
    }
}

impl<V: StoredEntry> Replica<V> {
    /// Whether the map is being read.
    pub(crate) fn is_reading(&self) -> bool {
        self.sync.is_reading()
    }

    /// Reads the map once, with the number `ask`: nothing is followed.
    pub(crate) fn begin_padded_read(&mut self, ask: u32) {
        self.sync.open();
        self.ask = ask;
    }

    /// Whether the map is being read with the number `ask`.
    pub(crate) fn is_reading_as(&self, ask: u32) -> bool {
        self.is_reading() && self.ask == ask
    }

    /// Whether the entries of this node in the store differ, or may still turn out to differ, from what this node wants
    /// there.
    pub(crate) fn is_needed(&self) -> bool {
        let is_writing = self.writing.is_some() || self.local.has_due();
        is_writing || self.has_stray_note() || self.memory.ends_at().is_some()
    }

    /// Whether the store has noted that this node has entries in this map, while it has none.
    fn has_stray_note(&self) -> bool {
        self.note != Note::Absent && !self.has_entries()
    }

    fn has_entries(&self) -> bool {
        self.local.values().any(Local::is_to_be_there)
    }

    /// Whether this node has `session`.
    pub(crate) fn owns(&self, session: SessionId) -> bool {
        self.local.get(session).is_some_and(Local::is_owned)
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
        membership: &Membership,
    ) -> Verdict {
        if self.is_superseded(session, epoch, membership) {
            return Verdict::Superseded;
        }
        let token = self.next_token(now, epoch, membership);
        self.remote.remove(&session);
        let (mut guard, mut progress) = (how.guard, Progress::DUE);
        let is_held = how.hold == Hold::UntilNamed;
        if is_held {
            progress = Progress::Held;
        }
        if let Some(local) = self.local.get(session) {
            let is_same_epoch = local.token.is_of_same_writer(token);
            if is_same_epoch && local.is_on_its_way(&value, how) {
                return Verdict::Counts;
            }
            if is_same_epoch {
                guard = local.guard();
            }
            // What was open stays open.
            progress = match local.desired {
                Desired::Entry {
                    progress: Progress::Void,
                    ..
                } if is_held => Progress::Void,
                Desired::Entry {
                    progress: Progress::Held,
                    ..
                } => progress,
                Desired::Entry { .. } => Progress::DUE,
                // The entry from before may still be there. It is removed if this one never follows.
                Desired::Gone {
                    removal: Removal::Sending(_),
                    ..
                } if is_held => Progress::Void,
                _ => progress,
            };
        }
        let desired = Desired::Entry {
            value,
            profile: how.profile,
            guard,
            progress,
        };
        self.local.set(session, Local { token, desired });
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
        membership: &Membership,
    ) {
        let local = Local {
            token: self.next_token(now, epoch, membership),
            desired: Desired::Claim {
                value,
                expected,
                sending: Sending::Due,
            },
        };
        self.local.set(session, local);
    }

    /// Removes the entry of a session of this node. Returns whether there was one.
    pub(crate) fn remove(
        &mut self,
        now: Timestamp,
        session: SessionId,
        reason: Reason,
        membership: &Membership,
    ) -> bool {
        let Some(local) = self.local.get(session).filter(|it| it.is_owned()) else {
            return self.remove_moved(now, session, reason, membership);
        };
        if local.is_held() {
            self.local.remove(session);
            return true;
        }
        let user = local.user().cloned();
        self.set_gone(now, session, local.token.epoch, (reason, user), membership);
        true
    }

    /// The same for an entry that waits for the node that took its session over, and never will replace it.
    fn remove_moved(
        &mut self,
        now: Timestamp,
        session: SessionId,
        reason: Reason,
        membership: &Membership,
    ) -> bool {
        let moved = self.remote.get(&session).filter(|it| {
            let is_waiting = it.missing != Missing::No;
            is_waiting && it.token.owner == membership.me().node
        });
        let Some(epoch) = moved.map(|it| it.token.epoch) else {
            return false;
        };
        self.remote.remove(&session);
        self.set_gone(now, session, epoch, (reason, None), membership);
        true
    }

    /// Asks the store to remove the entry of a session, unless another node has the session by now. Returns whether an
    /// answer follows: [`ReplicaChanges::left`], [`ReplicaChanges::taken`] or [`ReplicaChanges::absent`].
    pub(crate) fn leave(
        &mut self,
        now: Timestamp,
        session: SessionId,
        reason: Reason,
        membership: &Membership,
    ) -> bool {
        let Some(local) = self.local.get(session) else {
            return false;
        };
        let (value, profile) = match &local.desired {
            Desired::Entry {
                progress: Progress::Held,
                ..
            } => {
                self.local.remove(session);
                return false;
            }
            Desired::Entry { value, profile, .. } => (value.clone(), *profile),
            Desired::Leave { .. } => return true,
            Desired::Claim { .. } | Desired::Gone { .. } => return false,
        };
        let epoch = local.token.epoch;
        let local = Local {
            token: self.token_in(now, epoch, membership),
            desired: Desired::Leave {
                value,
                profile,
                reason,
                sending: Sending::Due,
            },
        };
        self.local.set(session, local);
        true
    }

    /// Hands a session of this node over to another node. Its entry stays until that node replaces it, and is removed
    /// if it does not. Returns whether the entry is still shown.
    pub(crate) fn hand_over(&mut self, now: Timestamp, session: SessionId) -> bool {
        let Some(local) = self.local.get(session).filter(|it| it.is_owned()) else {
            return self.remote.contains_key(&session);
        };
        let is_sent = !local.is_held();
        let (token, value) = (local.token, local.shown().cloned());
        self.local.remove(session);
        let (Some(value), true) = (value, is_sent) else {
            return false;
        };
        let missing = Missing::Moved { since: now };
        self.memory.note_end(missing.looks_at(now));
        let remote = Remote {
            token,
            value,
            missing,
        };
        self.remote.entry(session).or_insert(remote);
        true
    }

    /// Notes that this node was declared dead, so that nothing it wrote counts. Entries that are still true have to be put
    /// once more.
    pub(super) fn void(&mut self, now: Timestamp, membership: &Membership) {
        let mut claims = Vec::new();
        self.local
            .change_all(|session, local| match &mut local.desired {
                Desired::Claim { .. } => claims.push((session, local.token.epoch)),
                Desired::Entry {
                    progress: Progress::Held,
                    ..
                }
                | Desired::Gone { .. } => {}
                Desired::Entry { progress, .. } => *progress = Progress::Void,
                Desired::Leave { value, profile, .. } => {
                    local.desired = Desired::Entry {
                        value: value.clone(),
                        profile: *profile,
                        guard: Guard::Newer,
                        progress: Progress::Void,
                    };
                }
            });
        for (session, epoch) in claims {
            // A session that is granted to the dead is nobody's.
            let token = self.token_in(now, epoch, membership);
            self.local.change(session, |local| {
                local.token = token;
                local.send();
            });
        }
    }

    /// Notes that the store may have lost data. If the map is followed it is read, which shows what is missing;
    /// otherwise everything is written again.
    pub(super) fn invalidate(&mut self) {
        // A note that was taken back may be there again.
        if self.note == Note::Absent && self.memory.has_written() {
            self.note = Note::There;
        }
        if self.sync.is_followed() {
            return self.sync.want(When::Now);
        }
        self.local.change_all(|_, local| local.send_again());
    }

    /// Asks for the map to be read again.
    pub(crate) fn refresh(&mut self) {
        self.sync.want(When::Now);
    }

    /// Has the map read after [`RETRY`]. Writes do not wait for that.
    pub(crate) fn refresh_later(&mut self, now: Timestamp) {
        self.sync.want(When::NotBefore(now + RETRY));
    }

    /// Whether the store did not answer, less than [`RETRY`] ago.
    pub(crate) fn is_away(&self, now: Timestamp) -> bool {
        self.retry_at.is_some_and(|at| now < at)
    }

    /// The revision of the newest desired state of the entry of a session of this node; 0 if there is none.
    pub(crate) fn revision_of(&self, session: SessionId) -> u64 {
        let local = self.local.get(session);
        local.map_or(0, |it| it.token.revision())
    }

    /// Starts or stops following the map. Returns the sessions of other nodes that are not known any more.
    pub(crate) fn follow(
        &mut self,
        wanted: bool,
        subject: &Subject,
        membership: &Membership,
        out: &mut Vec<Request>,
    ) -> Vec<SessionId> {
        match (wanted, self.sync.is_followed()) {
            (true, false) => {
                self.sync.open();
                let (subject, ask) = (subject.clone(), self.next_ask());
                out.push(Request::Open { subject, ask });
                Vec::new()
            }
            (false, true) => {
                self.sync = SyncState::Closed;
                out.push(Request::Close(subject.clone()));
                // Entries that it wrote itself still have to be replaced or removed, no matter which node has the session.
                let me = membership.me().node;
                let remote = std::mem::take(&mut self.remote).into_iter();
                let (mine, others): (_, BTreeMap<_, _>) =
                    remote.partition(|(_, it)| it.token.owner == me);
                self.remote = mine;
                others.into_keys().collect()
            }
            (true, true) | (false, false) => Vec::new(),
        }
    }

    fn next_ask(&mut self) -> u32 {
        self.ask = self.ask.wrapping_add(1);
        self.ask
    }

    fn next_token(&mut self, now: Timestamp, epoch: u32, membership: &Membership) -> FencingToken {
        self.revision = (self.revision + 1).max(now.as_millis());
        FencingToken::of_session(epoch, membership.me(), self.revision)
    }

    fn token_in(&mut self, now: Timestamp, epoch: u64, membership: &Membership) -> FencingToken {
        let epoch = u32::try_from(epoch).unwrap_or(u32::MAX);
        self.next_token(now, epoch, membership)
    }

    /// Has the entry of a session removed, for a reason. In the map of a topic the user says with which entries the
    /// removal may have to wait.
    fn set_gone(
        &mut self,
        now: Timestamp,
        session: SessionId,
        epoch: u64,
        (reason, user): (Reason, Option<UserId>),
        membership: &Membership,
    ) {
        let local = Local {
            token: self.token_in(now, epoch, membership),
            desired: Desired::Gone {
                reason,
                removal: Removal::Sending(Sending::Due),
                user,
            },
        };
        self.local.set(session, local);
    }

    fn is_superseded(&self, session: SessionId, epoch: u32, membership: &Membership) -> bool {
        let mine = (u64::from(epoch), membership.me().node);
        let remote = self.remote.get(&session).map(|it| it.token);
        let taken = self.memory.taken(session);
        let mut known = remote.into_iter().chain(taken);
        known.any(|it| (it.epoch, it.owner) > mine)
    }
}
