//! The fencing token of an entry: which node wrote it, and which of two writes wins.

use super::Incarnation;

/// The fencing token of an entry. Tokens are totally ordered: by epoch, then by owner, then by order. The store keeps the
/// token beside the entry, and refuses a write with a smaller one.
///
/// Two nodes never write in the same epoch, unless the store has lost data: whoever begins an epoch does it with a
/// write that is [conditional](super::Guard::Replaces) on the token that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken {
    /// For a session: the epoch of its connection. For a profile: the revision of the status.
    pub epoch: u64,
    /// The process that began this epoch: see [`Incarnation::node`].
    pub owner: u64,
    /// The order of writes within the epoch. For a session: the generation of the owner in the upper 16 bits, and the
    /// revision of the entry in the lower 48 bits. For a profile: the last-seen time in milliseconds.
    pub order: u64,
}

impl FencingToken {
    /// The owner of a profile that was changed before the stored profile could be read. It must not be saved to the
    /// store of profiles until that one has been read.
    pub const UNREAD: u64 = u64::MAX;

    /// The greatest generation that a token can express.
    pub const GENERATION_MAX: u32 = (1 << 16) - 1;

    const REVISION_BITS: u32 = 48;
    const REVISION_MASK: u64 = (1 << Self::REVISION_BITS) - 1;

    /// The token for the entry of a session: its connection has the number `epoch` and is on the node `owner`, and this
    /// is the revision `revision` of the entry.
    pub fn of_session(epoch: u32, owner: Incarnation, revision: u64) -> Self {
        let generation = u64::from(owner.generation.min(Self::GENERATION_MAX));
        FencingToken {
            epoch: u64::from(epoch),
            owner: owner.node,
            order: generation << Self::REVISION_BITS | (revision & Self::REVISION_MASK),
        }
    }

    /// The incarnation that owns the entry, if this is the token of a session.
    pub fn incarnation(self) -> Incarnation {
        let generation = self.order >> Self::REVISION_BITS;
        Incarnation {
            node: self.owner,
            generation: u32::try_from(generation).unwrap_or(Self::GENERATION_MAX),
        }
    }

    /// The revision of the entry, if this is the token of a session.
    pub fn revision(self) -> u64 {
        self.order & Self::REVISION_MASK
    }

    /// Whether the same process wrote both in the same epoch.
    pub fn is_of_same_writer(self, other: FencingToken) -> bool {
        (self.epoch, self.owner) == (other.epoch, other.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(epoch: u32, node: u64, generation: u32, revision: u64) -> FencingToken {
        FencingToken::of_session(epoch, Incarnation { node, generation }, revision)
    }

    #[test]
    fn the_newest_connection_owns_the_session() {
        assert!(token(2, 7, 0, 0) > token(1, 9, 5, 8));
    }

    #[test]
    fn within_an_epoch_the_generation_counts_and_then_the_revision() {
        assert!(token(1, 7, 4, 1) > token(1, 7, 3, 9));
        assert!(token(1, 7, 3, 2) > token(1, 7, 3, 1));
    }

    #[test]
    fn a_token_tells_who_wrote_it() {
        let it = token(1, 7, 3, 1_764_000_000_000);
        let (node, generation) = (7, 3);
        assert_eq!(it.incarnation(), Incarnation { node, generation });
        assert_eq!(it.revision(), 1_764_000_000_000);
    }
}
