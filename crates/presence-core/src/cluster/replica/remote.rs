//! What a node knows of the entries of other nodes in one map.

use std::time::Duration;

use crate::cluster::{FencingToken, Membership};
use crate::{Timestamp, Timing};

/// How long an entry is kept that is missing without having been removed, so that its owner can write it again.
const HOLD_AFTER_GAP: Duration = Duration::from_secs(3);
/// How long, at least, a missing entry is kept if the store has lost data. It is also kept until every node has had
/// time to write its entries again.
const HOLD_AFTER_LOSS: Duration = Duration::from_secs(3);
/// How long an entry is kept whose session went to another node, so that the other node can write its own. A server may
/// have died meanwhile, and not have been replaced yet.
pub(crate) const HOLD_AFTER_MOVE: Duration = Duration::from_secs(30);

/// The entry of a session of another node.
#[derive(Debug)]
pub(super) struct Remote<V> {
    pub(super) token: FencingToken,
    pub(super) value: V,
    pub(super) missing: Missing,
}

/// Whether the entry is known to be in the store, and since when it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The entry is in the store, as far as this node knows.
    No,
    /// The entry was not there when the map was read.
    Gap { since: Timestamp },
    /// The entry was not there when the map was read, and the store has lost data.
    Loss { since: Timestamp },
    /// The session went to another node, which has not written its own entry yet.
    Moved { since: Timestamp },
    /// The store has refused a claim of the session, because it has a newer entry or the fence of a newer removal. The
    /// next read of the map decides: if it has no entry, the session has ended.
    Superseded,
}

impl Missing {
    /// When to check whether the entry has been missing for too long; `None` if it is not missing.
    pub(super) fn looks_at(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Missing::No | Missing::Superseded => None,
            Missing::Gap { since } => Some(since + HOLD_AFTER_GAP),
            Missing::Moved { since } => Some(since + HOLD_AFTER_MOVE),
            Missing::Loss { since } if now < since + HOLD_AFTER_LOSS => {
                Some(since + HOLD_AFTER_LOSS)
            }
            Missing::Loss { since } => Some(since + Timing::LEASE),
        }
    }

    /// Whether the entry has been missing for too long.
    pub(super) fn is_over(self, now: Timestamp, membership: &Membership) -> bool {
        match self {
            Missing::No | Missing::Superseded => false,
            Missing::Gap { since } => since + HOLD_AFTER_GAP <= now,
            Missing::Moved { since } => since + HOLD_AFTER_MOVE <= now,
            Missing::Loss { since } => {
                let may_be = since + HOLD_AFTER_LOSS <= now && membership.is_stored(since);
                may_be || since + Timing::LEASE <= now
            }
        }
    }
}
