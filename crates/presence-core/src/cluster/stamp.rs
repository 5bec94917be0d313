//! Who wrote an entry, and which of two writes wins.

use std::fmt;

/// One life of a node: what a lease is held by, and entries are owned by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    /// The process: a random number, drawn at its start.
    pub node: u64,
    /// Grows when the process loses its lease and takes a new one.
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

/// The fence of an entry. The store keeps it beside the entry, and refuses a write that does not supersede it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    /// Of a session: which of its connections. Of a profile: which change of the status.
    pub epoch: u64,
    /// The process that began this epoch.
    pub owner: u64,
    /// What comes later within the epoch. Of a session: the owner's generation. Of a profile: the last-seen time.
    pub order: u64,
}

impl Stamp {
    /// Owns a profile that was changed while nobody could read what is stored of it: it is not to be stored before that is
    /// known.
    pub const UNREAD: u64 = u64::MAX;

    /// The stamp of the session whose connection number `epoch` is on the node `owner`.
    pub fn of_session(epoch: u32, owner: Incarnation) -> Self {
        Stamp {
            epoch: u64::from(epoch),
            owner: owner.node,
            order: u64::from(owner.generation),
        }
    }

    /// Of a session: which incarnation owns it.
    pub fn incarnation(self) -> Incarnation {
        Incarnation {
            node: self.owner,
            generation: u32::try_from(self.order).unwrap_or(u32::MAX),
        }
    }

    /// Whether an entry with this stamp may replace one with `stored`: it is of a later epoch; or of the same, by the same
    /// owner, and not older. Of two nodes that begin one epoch, the first to write it has it.
    pub fn supersedes(self, stored: Stamp) -> bool {
        self.epoch > stored.epoch
            || (self.epoch == stored.epoch
                && self.owner == stored.owner
                && self.order >= stored.order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(epoch: u64, owner: u64, order: u64) -> Stamp {
        Stamp {
            epoch,
            owner,
            order,
        }
    }

    #[test]
    fn the_newest_connection_owns_the_session() {
        assert!(stamp(2, 7, 0).supersedes(stamp(1, 9, 5)));
        assert!(!stamp(1, 9, 5).supersedes(stamp(2, 7, 0)));
    }

    #[test]
    fn writing_again_is_fine_and_an_older_generation_is_not() {
        assert!(stamp(1, 7, 3).supersedes(stamp(1, 7, 3)));
        assert!(stamp(1, 7, 4).supersedes(stamp(1, 7, 3)));
        assert!(!stamp(1, 7, 2).supersedes(stamp(1, 7, 3)));
    }

    #[test]
    fn of_two_that_begin_one_epoch_the_first_has_it() {
        assert!(!stamp(1, 7, 3).supersedes(stamp(1, 9, 0)));
    }
}
