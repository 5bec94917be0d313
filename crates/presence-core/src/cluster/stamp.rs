//! The fencing token of an entry: who wrote it, and which of two writes wins.

use std::fmt;

/// One life of a node: what a lease is held by, and entries are owned by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    /// The process: a random number, drawn at its start.
    pub node: u64,
    /// Grows when the process loses its lease and takes a new one. At most [`Stamp::GENERATION_MAX`].
    pub generation: u32,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.node, self.generation)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.node, self.generation)
    }
}

/// The fencing token of an entry. Tokens are totally ordered: by epoch, then by owner, then by order. The store keeps the
/// token beside the entry, and refuses a write with a smaller one.
///
/// No epoch has two writers, unless the store has lost data: whoever begins an epoch does it with a write that is
/// [conditional](super::Guard::Replaces) on the token that it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Of a session: which of its connections. Of a profile: the revision of the status.
    pub epoch: u64,
    /// The process that began this epoch.
    pub owner: u64,
    /// What comes later within the epoch. Of a session: the owner's generation in the upper 16 bits, and the revision of the
    /// entry in the lower 48. Of a profile: the last-seen time.
    pub order: u64,
}

impl Stamp {
    /// Owns a profile that was changed while nobody could read what is stored of it: it is not to be stored before that is
    /// known.
    pub const UNREAD: u64 = u64::MAX;

    /// The greatest generation that a token can tell from the one before.
    pub const GENERATION_MAX: u32 = (1 << 16) - 1;

    const REVISION_BITS: u32 = 48;
    const REVISION_MASK: u64 = (1 << Self::REVISION_BITS) - 1;

    /// The token of revision `revision` of the entry of a session whose connection number `epoch` is on the node `owner`.
    pub fn of_session(epoch: u32, owner: Incarnation, revision: u64) -> Self {
        let generation = u64::from(owner.generation.min(Self::GENERATION_MAX));
        Stamp {
            epoch: u64::from(epoch),
            owner: owner.node,
            order: generation << Self::REVISION_BITS | (revision & Self::REVISION_MASK),
        }
    }

    /// Of a session: which incarnation owns it.
    pub fn incarnation(self) -> Incarnation {
        let generation = self.order >> Self::REVISION_BITS;
        Incarnation {
            node: self.owner,
            generation: u32::try_from(generation).unwrap_or(Self::GENERATION_MAX),
        }
    }

    /// Of a session: which revision of its entry.
    pub fn revision(self) -> u64 {
        self.order & Self::REVISION_MASK
    }

    /// Whether the same process wrote both in the same epoch.
    pub fn is_of_same_writer(self, other: Stamp) -> bool {
        (self.epoch, self.owner) == (other.epoch, other.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(epoch: u32, node: u64, generation: u32, revision: u64) -> Stamp {
        Stamp::of_session(epoch, Incarnation { node, generation }, revision)
    }

    #[test]
    fn the_newest_connection_owns_the_session() {
        assert!(stamp(2, 7, 0, 0) > stamp(1, 9, 5, 8));
    }

    #[test]
    fn within_an_epoch_the_generation_counts_and_then_the_revision() {
        assert!(stamp(1, 7, 4, 1) > stamp(1, 7, 3, 9));
        assert!(stamp(1, 7, 3, 2) > stamp(1, 7, 3, 1));
    }

    #[test]
    fn a_token_tells_who_wrote_it() {
        let it = stamp(1, 7, 3, 1_764_000_000_000);
        let (node, generation) = (7, 3);
        assert_eq!(it.incarnation(), Incarnation { node, generation });
        assert_eq!(it.revision(), 1_764_000_000_000);
    }
}
