//! What a node knows of the entries of others in one map.

use std::time::Duration;

use crate::cluster::{Membership, Stamp};
use crate::{Timestamp, Timing};

/// An entry that is missing where nothing says that it was removed is kept so long, for its owner to write it again.
const HOLD_AFTER_GAP: Duration = Duration::from_secs(3);
/// The same, where the store is known to have lost data: at least so long, and until every node has had time to write
/// again.
const HOLD_AFTER_LOSS: Duration = Duration::from_secs(3);
/// An entry of a session that went to another node is kept so long, for that node to write its own: a server may be away
/// meanwhile, and its replacement not there yet.
const HOLD_AFTER_MOVE: Duration = Duration::from_secs(30);

/// The entry of a session of another node.
#[derive(Debug)]
pub(super) struct Remote<V> {
    pub(super) stamp: Stamp,
    pub(super) value: V,
    pub(super) missing: Missing,
}

/// Whether the entry is known to be in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is there, as far as is known.
    No,
    /// It was not there when the map was read.
    Gap { since: Timestamp },
    /// The same, and the store has lost data.
    Loss { since: Timestamp },
    /// The session has gone to another node, which has not written yet.
    Moved { since: Timestamp },
}

impl Missing {
    /// When to look whether to let go of it, if it is missing.
    pub(super) fn looks_at(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Missing::No => None,
            Missing::Gap { since } => Some(since + HOLD_AFTER_GAP),
            Missing::Moved { since } => Some(since + HOLD_AFTER_MOVE),
            Missing::Loss { since } if now < since + HOLD_AFTER_LOSS => {
                Some(since + HOLD_AFTER_LOSS)
            }
            Missing::Loss { since } => Some(since + Timing::LEASE),
        }
    }

    /// Whether it was missing for long enough.
    pub(super) fn is_over(self, now: Timestamp, members: &Membership) -> bool {
        match self {
            Missing::No => false,
            Missing::Gap { since } => since + HOLD_AFTER_GAP <= now,
            Missing::Moved { since } => since + HOLD_AFTER_MOVE <= now,
            Missing::Loss { since } => {
                let may_be = since + HOLD_AFTER_LOSS <= now && members.is_settled(since);
                may_be || since + Timing::LEASE <= now
            }
        }
    }
}
