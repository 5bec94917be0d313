//! What a node wants the store to have of one of its own sessions.

use crate::cluster::{FencingToken, Field, Guard, Op, Record};
use crate::{Reason, SessionId, Timestamp};

use super::StoredEntry;

/// One session of this node in one map: what the store is to have, and how far that has got.
#[derive(Debug)]
pub(super) struct Local<V> {
    /// The fencing token of the newest wish.
    pub(super) token: FencingToken,
    pub(super) wish: Wish<V>,
    pub(super) progress: Progress,
    /// The condition of the next put. It depends on what was read, until this epoch is stored.
    pub(super) guard: Guard,
    /// The revision of the profile that the entry shows.
    pub(super) profile: u64,
}

/// What the store is to have for a session.
#[derive(Clone, Debug)]
pub(super) enum Wish<V> {
    /// This entry, for the session of another node, once the store has granted the session to this node. Until then the
    /// entry of the other node counts.
    Claim(V),
    /// This entry, for a session of this node.
    Entry(V),
    /// No entry, unless another node has the session by now. The entry counts until the store has answered.
    Leave(V, Reason),
    /// No entry: the session has ended, for this reason.
    Gone(Reason),
}

/// How far a wish has been carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It must not be sent yet: the user's map does not name the place.
    Held,
    /// The same as `Held`; and the store may have an older entry of this node, which does not count.
    Void,
    /// It has to be sent.
    Due,
    /// It is on its way to the store.
    InFlight,
    /// The store has applied it.
    Stored,
    /// The store refuses the entry until it shows a later revision of the profile: the user hides.
    Blocked,
    /// The store has removed the entry. That is remembered until this moment, because a server that takes over may not
    /// know about it.
    Remembered(Timestamp),
}

impl<V: StoredEntry> Local<V> {
    /// The entry that this node shows to its own watchers.
    pub(super) fn shown(&self) -> Option<&V> {
        match &self.wish {
            Wish::Entry(_) if self.progress == Progress::Blocked => None,
            Wish::Entry(value) | Wish::Leave(value, _) => Some(value),
            Wish::Claim(_) | Wish::Gone(_) => None,
        }
    }

    /// Whether this node has the session.
    pub(super) fn is_owned(&self) -> bool {
        matches!(self.wish, Wish::Entry(_) | Wish::Leave(..))
    }

    /// Whether the store is to have an entry for the session.
    pub(super) fn is_to_be_there(&self) -> bool {
        matches!(self.wish, Wish::Entry(_) | Wish::Claim(_))
    }

    /// The operation that carries out the wish.
    pub(super) fn op(&self, session: SessionId) -> Op {
        let (field, token) = (Field::Session(session), self.token);
        let put = |record: Record| Op::Put {
            field,
            token,
            record,
            guard: self.guard,
            profile: self.profile,
        };
        match &self.wish {
            Wish::Claim(value) | Wish::Entry(value) => put(value.to_record()),
            Wish::Leave(_, reason) | Wish::Gone(reason) => Op::Remove {
                field,
                token,
                reason: *reason,
            },
        }
    }
}
