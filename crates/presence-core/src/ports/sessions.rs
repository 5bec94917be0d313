//! What a node that is alone stores of its sessions, for the next process.

use std::fmt;

use crate::Timestamp;
pub use crate::users::stored::{Note, Recalled, StoredSession};

/// Stores the sessions of a node that is alone, so that nobody is shown leaving when the process restarts on
/// the same machine.
///
/// The users of a node are spread over parts, and each part has one writer. A part holds its notes in order.
///
/// # Contract
///
/// - Notes for which [`note`](Self::note) has returned outlive the process, kill -9 included. They need not
///   outlive the machine.
/// - A call does not fail. If nothing can be written, the whole part is forgotten until it is
///   [rewritten](Self::rewrite): old notes are worse than none.
/// - A part is bounded. If it would be larger, it is forgotten as a whole.
pub trait Sessions: fmt::Debug + Send + Sync + 'static {
    /// Appends `notes` to a part. Returns whether the part should be [rewritten](Self::rewrite) now.
    fn note(&self, part: usize, notes: &[Note]) -> bool;

    /// Replaces all notes of a part by `notes`.
    fn rewrite(&self, part: usize, notes: &[Note]);

    /// Stores that the process is alive at `now`, by the clock of the node. It must be called every
    /// [`Timing::ALIVE_EVERY`](crate::Timing::ALIVE_EVERY): from this the next process knows how long no
    /// process was running.
    fn alive(&self, now: Timestamp);

    /// Deletes what earlier processes have noted. The caller has noted again all that was recalled.
    fn forget_earlier(&self);
}
