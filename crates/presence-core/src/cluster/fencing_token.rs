//! The fencing token of an entry: which node wrote it, and which of two writes wins.

use super::Incarnation;
use crate::Timestamp;

/// The fencing token of an entry. Tokens are totally ordered: by epoch, then by owner, then by order. The store keeps the
/// token beside the entry, and refuses a write with a smaller one.
///
/// Two nodes never write in the same epoch, unless the store has lost data: a node begins an epoch with a
/// write that is [conditional](super::Guard::Replaces) on the token that it has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken {
    /// For a session: the epoch of its connection. For a profile: the revision of the status.
    pub epoch: u64,
    /// The process that began this epoch: see [`Incarnation::node`]. For a profile: see [`author`](Self::author).
    pub owner: u64,
    /// The order of writes within the epoch. For a session: the generation of the owner in the upper 16 bits, and the
    /// revision of the entry in the lower 48 bits. For a profile: the last-seen time in milliseconds.
    pub order: u64,
}

/// Who made a revision of a profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Author {
    /// No process: the profile is as the store of profiles has it, or new.
    #[default]
    Nobody,
    /// The process with this number: see [`Incarnation::node`].
    Node(u64),
    /// A process that could not read the stored profile before it was changed. The revision must not be saved to the store
    /// of profiles until that one has been read.
    Unread,
}

impl Author {
    // Reserved values of `owner`. A process number is random, so it is practically never one of them.
    const NOBODY: u64 = 0;
    const UNREAD: u64 = u64::MAX;
}

impl FencingToken {
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

    /// The token for a profile with the revision `revision` of `author`, whose user was last seen at `last_seen`.
    pub fn of_profile(revision: u64, author: Author, last_seen: Timestamp) -> Self {
        FencingToken {
            epoch: revision,
            owner: match author {
                Author::Nobody => Author::NOBODY,
                Author::Node(node) => node,
                Author::Unread => Author::UNREAD,
            },
            order: last_seen.as_millis(),
        }
    }

    /// Who made the revision, if this is the token of a profile.
    pub fn author(self) -> Author {
        match self.owner {
            Author::NOBODY => Author::Nobody,
            Author::UNREAD => Author::Unread,
            node => Author::Node(node),
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
    fn the_token_of_a_profile_tells_who_made_its_revision() {
        for author in [Author::Nobody, Author::Node(7), Author::Unread] {
            let it = FencingToken::of_profile(3, author, Timestamp::from_millis(5));
            assert_eq!((it.epoch, it.author(), it.order), (3, author, 5));
        }
    }

    #[test]
    fn a_token_tells_who_wrote_it() {
        let it = token(1, 7, 3, 1_764_000_000_000);
        let (node, generation) = (7, 3);
        assert_eq!(it.incarnation(), Incarnation { node, generation });
        assert_eq!(it.revision(), 1_764_000_000_000);
    }
}
