//! What a node wants the store to have of its own sessions.

use std::collections::{BTreeMap, BTreeSet};

use super::{Hold, Put, StoredEntry};
use crate::cluster::{FencingToken, Field, Guard, Op, Record};
use crate::{Reason, SessionId, Timestamp, UserId};

/// One session of this node in one map: the state that the store should have, and how far that has got.
#[derive(Debug)]
pub(super) struct Local<V> {
    /// The fencing token of the newest desired state.
    pub(super) token: FencingToken,
    pub(super) desired: Desired<V>,
}

/// The desired state of a session's entry in the store, and how far it has got.
#[derive(Debug)]
pub(super) enum Desired<V> {
    /// This entry, for a session that another node has. Until the store has granted the session to this node, the
    /// entry of the other node counts.
    Claim {
        value: V,
        /// The token of the entry that this one is to replace.
        expected: FencingToken,
        sending: Sending,
    },
    /// This entry, for a session of this node.
    Entry {
        value: V,
        /// The revision of the profile that the entry shows.
        profile: u64,
        /// The condition of the next put. It depends on what was read, until this epoch is stored.
        guard: Guard,
        progress: Progress,
    },
    /// No entry, because the session ends, unless another node has it by now. The entry counts until the store has
    /// answered.
    Leave {
        value: V,
        /// The revision of the profile that the entry shows.
        profile: u64,
        reason: Reason,
        sending: Sending,
    },
    /// No entry: the session has ended, for this reason.
    Gone {
        reason: Reason,
        removal: Removal,
        /// Whose session it was, in the map of a topic, until it is removed.
        user: Option<UserId>,
    },
}

/// Whether an operation waits to be sent, or for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    /// It has to be sent.
    Due,
    /// It is on its way to the store.
    InFlight,
}

/// How far an entry has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It must not be sent yet: the user's map does not name the place.
    Held,
    /// The same as `Held`; and the store may have an older entry of this node, which does not count.
    Void,
    /// It is to be put.
    Sending(Sending),
    /// The store has confirmed the entry.
    Stored,
    /// The store refuses the entry until it shows a later revision of the profile: the user hides.
    Blocked,
}

impl Progress {
    pub(super) const DUE: Progress = Progress::Sending(Sending::Due);
}

/// How far the removal of an entry has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Removal {
    /// The entry is to be removed.
    Sending(Sending),
    /// The store has removed the entry. That is remembered until this moment, because a server that takes over may not
    /// know about it.
    Remembered(Timestamp),
}

impl<V> Desired<V> {
    /// The desired state after the store has reached it. A removal is remembered until `until`.
    pub(super) fn stored(self, until: Timestamp) -> Self {
        let progress = Progress::Stored;
        match self {
            // This epoch is begun now.
            Desired::Claim { value, .. } => Desired::Entry {
                value,
                profile: 0,
                guard: Guard::Newer,
                progress,
            },
            Desired::Entry {
                value,
                profile,
                guard,
                ..
            } => Desired::Entry {
                value,
                profile,
                guard,
                progress,
            },
            Desired::Leave { reason, .. } | Desired::Gone { reason, .. } => Desired::Gone {
                reason,
                removal: Removal::Remembered(until),
                user: None,
            },
        }
    }
}

impl<V> Local<V> {
    /// The entry that this node shows to its own watchers.
    pub(super) fn shown(&self) -> Option<&V> {
        match &self.desired {
            Desired::Entry {
                progress: Progress::Blocked,
                ..
            } => None,
            Desired::Entry { value, .. } | Desired::Leave { value, .. } => Some(value),
            Desired::Claim { .. } | Desired::Gone { .. } => None,
        }
    }

    /// Whether this node has the session.
    pub(super) fn is_owned(&self) -> bool {
        matches!(self.desired, Desired::Entry { .. } | Desired::Leave { .. })
    }

    /// Whether the session is another node's, and claimed from it.
    pub(super) fn is_claim(&self) -> bool {
        matches!(self.desired, Desired::Claim { .. })
    }

    /// Whether the store is to have an entry for the session.
    pub(super) fn is_to_be_there(&self) -> bool {
        matches!(self.desired, Desired::Entry { .. } | Desired::Claim { .. })
    }

    /// Whether the store was never sent anything of the session.
    pub(super) fn is_held(&self) -> bool {
        self.progress() == Some(Progress::Held)
    }

    /// Whether the entry must not be sent yet.
    fn is_to_wait(&self) -> bool {
        matches!(self.progress(), Some(Progress::Held | Progress::Void))
    }

    /// Whether the store has the entry.
    pub(super) fn is_stored(&self) -> bool {
        self.progress() == Some(Progress::Stored)
    }

    /// Whether its operation has to be sent.
    pub(super) fn is_due(&self) -> bool {
        self.sending() == Some(Sending::Due)
    }

    /// Whether its operation is on its way to the store.
    pub(super) fn is_in_flight(&self) -> bool {
        self.sending() == Some(Sending::InFlight)
    }

    /// The condition of the next put.
    pub(super) fn guard(&self) -> Guard {
        match self.desired {
            Desired::Claim { expected, .. } => Guard::Replaces(Some(expected)),
            Desired::Entry { guard, .. } => guard,
            Desired::Leave { .. } | Desired::Gone { .. } => Guard::Newer,
        }
    }

    /// Until when it is remembered that the store has removed the entry.
    pub(super) fn remembered_until(&self) -> Option<Timestamp> {
        match self.desired {
            Desired::Gone {
                removal: Removal::Remembered(until),
                ..
            } => Some(until),
            _ => None,
        }
    }

    /// Has the operation sent, or sent once more.
    pub(super) fn send(&mut self) {
        match &mut self.desired {
            Desired::Claim { sending, .. } | Desired::Leave { sending, .. } => {
                *sending = Sending::Due
            }
            Desired::Entry { progress, .. } => *progress = Progress::DUE,
            Desired::Gone { removal, .. } => *removal = Removal::Sending(Sending::Due),
        }
    }

    /// Has the operation sent once more if the store has applied it: what is stored may be something else by now.
    pub(super) fn send_again(&mut self) {
        if self.is_stored() || self.remembered_until().is_some() {
            self.send();
        }
    }

    /// Shows the entry no more: the store refuses it until it shows a later revision of the profile.
    pub(super) fn block(&mut self) {
        if let Desired::Entry { progress, .. } = &mut self.desired {
            *progress = Progress::Blocked;
        }
    }

    fn progress(&self) -> Option<Progress> {
        match self.desired {
            Desired::Entry { progress, .. } => Some(progress),
            Desired::Claim { .. } | Desired::Leave { .. } | Desired::Gone { .. } => None,
        }
    }

    fn sending(&self) -> Option<Sending> {
        match self.desired {
            Desired::Claim { sending, .. }
            | Desired::Leave { sending, .. }
            | Desired::Entry {
                progress: Progress::Sending(sending),
                ..
            }
            | Desired::Gone {
                removal: Removal::Sending(sending),
                ..
            } => Some(sending),
            Desired::Entry { .. } | Desired::Gone { .. } => None,
        }
    }

    fn mark_sent(&mut self) {
        match &mut self.desired {
            Desired::Claim { sending, .. }
            | Desired::Leave { sending, .. }
            | Desired::Entry {
                progress: Progress::Sending(sending),
                ..
            }
            | Desired::Gone {
                removal: Removal::Sending(sending),
                ..
            } => *sending = Sending::InFlight,
            Desired::Entry { .. } | Desired::Gone { .. } => {}
        }
    }
}

impl<V: StoredEntry> Local<V> {
    /// Whether this entry is what the store has or is about to get, so that there is nothing to do.
    pub(super) fn is_on_its_way(&self, entry: &V, how: Put) -> bool {
        let Desired::Entry {
            value,
            profile,
            progress,
            ..
        } = &self.desired
        else {
            return false;
        };
        let may_be_sent = matches!(progress, Progress::Sending(_) | Progress::Stored);
        value == entry && *profile == how.profile && (may_be_sent || how.hold == Hold::UntilNamed)
    }

    /// Whose session it is, in the map of a topic.
    pub(super) fn user(&self) -> Option<&UserId> {
        match &self.desired {
            Desired::Claim { value, .. }
            | Desired::Entry { value, .. }
            | Desired::Leave { value, .. } => value.user(),
            Desired::Gone { user, .. } => user.as_ref(),
        }
    }

    /// The operation that brings the store to the desired state.
    fn op(&self, session: SessionId) -> Op {
        let (field, token) = (Field::Session(session), self.token);
        let put = |record: Record, profile| Op::Put {
            field,
            token,
            record,
            guard: self.guard(),
            profile,
        };
        match &self.desired {
            Desired::Claim { value, .. } => put(value.to_record(), 0),
            Desired::Entry { value, profile, .. } => put(value.to_record(), *profile),
            Desired::Leave { reason, .. } | Desired::Gone { reason, .. } => Op::Remove {
                field,
                token,
                reason: *reason,
            },
        }
    }
}

/// The sessions of this node in one map.
#[derive(Debug)]
pub(super) struct Locals<V> {
    each: BTreeMap<SessionId, Local<V>>,
    /// The sessions whose operations have to be sent: an index, so that no search is needed.
    due: BTreeSet<SessionId>,
    /// The sessions whose entries must not be sent yet: an index, too.
    waiting: BTreeSet<SessionId>,
}

impl<V> Default for Locals<V> {
    fn default() -> Self {
        Locals {
            each: BTreeMap::new(),
            due: BTreeSet::new(),
            waiting: BTreeSet::new(),
        }
    }
}

impl<V> Locals<V> {
    pub(super) fn get(&self, session: SessionId) -> Option<&Local<V>> {
        self.each.get(&session)
    }

    #[cfg(debug_assertions)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &Local<V>)> {
        self.each.iter().map(|(session, local)| (*session, local))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Local<V>> {
        self.each.values()
    }

    /// Whether an operation has to be sent.
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(super) fn set(&mut self, session: SessionId, local: Local<V>) {
        self.each.insert(session, local);
        self.index(session);
    }

    pub(super) fn remove(&mut self, session: SessionId) -> Option<Local<V>> {
        self.due.remove(&session);
        self.waiting.remove(&session);
        self.each.remove(&session)
    }

    /// Changes one of them with `f`, if it is there. Returns what `f` returns.
    pub(super) fn change<T>(
        &mut self,
        session: SessionId,
        f: impl FnOnce(&mut Local<V>) -> T,
    ) -> Option<T> {
        let result = f(self.each.get_mut(&session)?);
        self.index(session);
        Some(result)
    }

    /// Changes each of them with `f`.
    pub(super) fn change_all(&mut self, mut f: impl FnMut(SessionId, &mut Local<V>)) {
        let mut changed = Vec::new();
        for (session, local) in &mut self.each {
            let before = (local.is_due(), local.is_to_wait());
            f(*session, local);
            if (local.is_due(), local.is_to_wait()) != before {
                changed.push(*session);
            }
        }
        changed.into_iter().for_each(|it| self.index(it));
    }

    fn index(&mut self, session: SessionId) {
        let local = self.each.get(&session);
        let set = |index: &mut BTreeSet<SessionId>, is_in: bool| match is_in {
            true => index.insert(session),
            false => index.remove(&session),
        };
        set(&mut self.due, local.is_some_and(Local::is_due));
        set(&mut self.waiting, local.is_some_and(Local::is_to_wait));
    }

    /// Forgets removals that were remembered until `now`.
    pub(super) fn forget(&mut self, now: Timestamp) {
        let is_over = |it: &Local<V>| it.remembered_until().is_some_and(|until| until <= now);
        self.each.retain(|_, it| !is_over(it));
    }

    /// Asserts what must hold after every input: exactly those are in an index that belong there.
    #[cfg(debug_assertions)]
    pub(super) fn assert_invariants(&self) {
        for (session, local) in &self.each {
            assert_eq!(local.is_due(), self.due.contains(session), "{session}");
            let is_waiting = self.waiting.contains(session);
            assert_eq!(local.is_to_wait(), is_waiting, "{session}");
        }
        let mut indexed = self.due.iter().chain(&self.waiting);
        assert!(indexed.all(|it| self.each.contains_key(it)));
    }
}

impl<V: StoredEntry> Locals<V> {
    /// Takes the operations that have to be sent, each with its session and its token.
    ///
    /// The removal of an entry waits for an entry of the same user that must not be sent yet: both go together. Otherwise
    /// other nodes would see the user leave, and come back.
    pub(super) fn take_due(&mut self) -> Vec<(SessionId, FencingToken, Op)> {
        let is_removal = |it: &SessionId| {
            let local = self.each.get(it);
            local.is_some_and(|it| matches!(it.desired, Desired::Gone { user: Some(_), .. }))
        };
        let mut waiting = BTreeSet::new();
        if self.due.iter().any(is_removal) {
            let locals = self.waiting.iter().filter_map(|it| self.each.get(it));
            waiting.extend(locals.filter_map(Local::user).cloned());
        }
        let mut sent = Vec::new();
        self.due.retain(|session| {
            let Some(local) = self.each.get_mut(session) else {
                return false;
            };
            if let Desired::Gone {
                user: Some(user), ..
            } = &local.desired
                && waiting.contains(user)
            {
                return true;
            }
            local.mark_sent();
            sent.push((*session, local.token, local.op(*session)));
            false
        });
        sent
    }
}
