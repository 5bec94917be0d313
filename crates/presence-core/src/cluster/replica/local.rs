//! What a node wants the store to have of one of its own sessions.

use crate::cluster::{Field, Guard, Op, Record, Stamp};
use crate::{Reason, SessionId, Timestamp};

use super::Kept;

/// One session of this node in one map: what the store is to have, and how far that has got.
#[derive(Debug)]
pub(super) struct Local<V> {
    /// The token of the newest wish.
    pub(super) stamp: Stamp,
    pub(super) wish: Wish<V>,
    pub(super) progress: Progress,
    /// The condition of the next put: on what was read until this epoch is stored.
    pub(super) guard: Guard,
    /// The revision of the profile that the entry shows.
    pub(super) profile: u64,
}

/// What the store is to have.
#[derive(Clone, Debug)]
pub(super) enum Wish<V> {
    /// The session of another node, once the store has granted it to this one. Until then the other's entry counts.
    Claim(V),
    /// This entry.
    Entry(V),
    /// No entry, if nobody else has the session by now: it counts until the store has said so.
    Leave(V, Reason),
    /// No entry.
    Gone(Reason),
}

/// How far a wish has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not to be sent before the user's map names the place.
    Held,
    /// The same; and an earlier incarnation of this node may have left an entry, which does not count.
    Void,
    /// To be sent.
    Due,
    /// Under way to the store.
    InFlight,
    /// The store has it.
    Stored,
    /// The store will not take it before it shows a later revision of the profile: the user hides.
    Blocked,
    /// The store has removed the entry, which is remembered until then: a server that takes over may have missed it.
    Remembered(Timestamp),
}

impl<V: Kept> Local<V> {
    /// The entry that this node shows to its own watchers.
    pub(super) fn shown(&self) -> Option<&V> {
        match &self.wish {
            Wish::Entry(_) if self.progress == Progress::Blocked => None,
            Wish::Entry(value) | Wish::Leave(value, _) => Some(value),
            Wish::Claim(_) | Wish::Gone(_) => None,
        }
    }

    /// Whether the session is this node's.
    pub(super) fn is_owned(&self) -> bool {
        matches!(self.wish, Wish::Entry(_) | Wish::Leave(..))
    }

    /// Whether the store is to have an entry of it.
    pub(super) fn is_to_be_there(&self) -> bool {
        matches!(self.wish, Wish::Entry(_) | Wish::Claim(_))
    }

    /// The operation that does what is wished.
    pub(super) fn op(&self, session: SessionId) -> Op {
        let (field, stamp) = (Field::Session(session), self.stamp);
        let put = |record: Record| Op::Put {
            field,
            stamp,
            record,
            guard: self.guard,
            profile: self.profile,
        };
        match &self.wish {
            Wish::Claim(value) | Wish::Entry(value) => put(value.to_record()),
            Wish::Leave(_, reason) | Wish::Gone(reason) => Op::Cut {
                field,
                stamp,
                reason: *reason,
            },
        }
    }
}
