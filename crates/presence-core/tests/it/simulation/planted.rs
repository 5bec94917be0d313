//! Faults that are ours: each is a rule of the cluster that somebody might forget, and must be caught.

use presence_core::cluster::{Guard, Op, TopicMap};

/// What is wrong with the driver or the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Planted {
    /// Nothing.
    Nothing,
    /// The store removes an entry for whoever says so: a late leave is not fenced.
    RemovesUnfenced,
    /// Hiding does not remove what other nodes wrote.
    HidesOwnOnly,
    /// The driver never compares: a lost patch stays lost.
    NeverCompares,
    /// A reap stops after its first step, for ever: nobody goes on where one died.
    ReaperDies,
    /// The driver marks every lapsed lease dead at once, whatever the store went through.
    MarksDeadAtOnce,
    /// Nobody looks for what a dead node had no time to save.
    NobodySweeps,
    /// What is about to be saved waits no longer.
    AcknowledgedFirst,
    /// The note of who has entries where is written after the entries, and never if the node dies in between.
    NoteAfterEntry,
    /// The store forgets what it has removed: a late put raises it again.
    NoFences,
    /// The store puts whatever is newer, also where it was asked to replace what was read.
    Unconditional,
    /// The store does a write after the lease of its writer has ended.
    NoDeadlines,
}

impl Planted {
    /// What the store makes of an operation on `map`.
    pub(super) fn breaks(self, op: &Op, map: &TopicMap) -> Op {
        let mut op = op.clone();
        if let (Op::Put { guard, .. }, Planted::Unconditional) = (&mut op, self) {
            *guard = Guard::Newer;
        }
        if let (Op::Remove { field, token, .. }, Planted::RemovesUnfenced) = (&mut op, self) {
            let stored = map.entries().find(|(it, _)| it == field);
            *token = stored.map_or(*token, |(_, stored)| stored);
        }
        op
    }
}
