//! The transactional outbox: notes of changes that have yet to be carried to another system.

use std::future::Future;
use std::time::Duration;

use super::StoreError;
use crate::cluster::Subject;
pub use crate::cluster::store::Queue;

/// The note that a subject's map has changed, and that the change has to be carried to another system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The subject whose map has changed.
    pub subject: Subject,
    /// The version of the map after the last such change.
    pub version: u64,
}

/// Notes of changes that have yet to be carried to another system, beside the maps of [`Topics`](super::Topics).
///
/// A row says that something has changed, and not what. The change itself is in the map: so many changes are carried as
/// one, and the node that carries them takes the newest state.
///
/// # Contract
///
/// - A write that changes a map, and that [is due](crate::cluster::Write::is_due_for) for a queue, leaves a row
///   there in the same step, with the version that it makes. A write that changes nothing leaves none. Reaping
///   counts as a write.
/// - There is one row for each subject and queue: a newer row replaces the one before.
/// - Rows for [`Queue::Webhooks`] are left only if the store was told at its start that webhooks are used.
/// - A row stays until it is acknowledged, whichever node dies. It is lost if the map that it is about is lost.
/// - No call takes longer than about a second.
pub trait Outbox: Send + Sync + 'static {
    /// Reads the rows in each of `partitions`, one outcome for each: at most `max` rows whose change is at least `age` ago
    /// by the store's clock, the oldest first. If `age` is zero, all rows count.
    fn due(
        &self,
        queue: Queue,
        partitions: &[u16],
        age: Duration,
        max: usize,
    ) -> impl Future<Output = Vec<Result<Vec<Row>, StoreError>>> + Send;

    /// Removes rows, except where the row has a greater version by now.
    ///
    /// # Errors
    ///
    /// Part of the store is not available; the rows in the other partitions were removed. Repeating it is safe, and so is
    /// leaving the rows: carrying a change twice has no effect.
    fn acknowledge(
        &self,
        queue: Queue,
        rows: &[Row],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The outbox of a node that is alone. There is no shared map whose write could leave a row, so the node leaves the rows
/// itself: for [`Queue::Webhooks`], the only queue that such an outbox has.
///
/// # Contract
///
/// - A row that was left is due at once for [`due`](Outbox::due) with age zero, unless there are too many rows: the
///   adapter says how many it keeps.
/// - Rows need not survive the process. An outbox that is opened again has a row for each subject of which the endpoint
///   knows something.
pub trait LocalOutbox: Outbox {
    /// Leaves `row` in [`Queue::Webhooks`], in the place of an older row of the same subject. It is called for every
    /// change, by the tasks that own the users and channels, so it must return at once.
    fn leave(&self, row: &Row);
}
