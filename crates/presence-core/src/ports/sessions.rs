//! What a node that is alone stores of its sessions, for the next process.

use std::fmt;

use crate::Timestamp;
pub use crate::users::stored::{Recalled, SessionChange, StoredSession};

/// Stores the sessions of a node that is alone, so that nobody is shown leaving when the process restarts on
/// the same machine.
///
/// The users of a node are spread over parts, and each part has one writer. A part holds its changes in order.
///
/// # Contract
///
/// - Changes for which [`append`](Self::append) has returned outlive the process, kill -9 included. They need not
///   outlive the machine.
/// - A call does not fail. If nothing can be written, the whole part is forgotten until it is
///   [rewritten](Self::rewrite): old changes are worse than none.
/// - A part is bounded. If it would be larger, it is forgotten as a whole.
pub trait Sessions: fmt::Debug + Send + Sync + 'static {
    /// Appends `changes` to a part. Returns whether the part should be [rewritten](Self::rewrite) now.
    fn append(&self, part: usize, changes: &[SessionChange]) -> bool;

    /// Replaces all changes of a part by `changes`.
    fn rewrite(&self, part: usize, changes: &[SessionChange]);

    /// Stores that the process is alive at `now`, by the clock of the node. It must be called every
    /// [`Timing::ALIVE_EVERY`](crate::Timing::ALIVE_EVERY): from this the next process knows how long no
    /// process was running.
    fn alive(&self, now: Timestamp);

    /// Deletes what earlier processes have stored. The caller has stored again all that was recalled.
    fn forget_earlier(&self);
}
