//! What has changed and is yet to be carried elsewhere.

use std::future::Future;
use std::time::Duration;

use super::StoreError;
use crate::cluster::Subject;

/// For whom a change waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// For the store of profiles.
    Profiles,
    /// For those who want to be told over HTTP.
    Webhooks,
}

impl Queue {
    /// All there are.
    pub const ALL: [Queue; 2] = [Queue::Profiles, Queue::Webhooks];
}

/// The note that a map has changed, and that this is yet to be carried elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What has changed.
    pub subject: Subject,
    /// The version that the last such change made.
    pub version: u64,
}

/// The notes of what has changed and waits to be carried elsewhere, beside the maps of [`Topics`](super::Topics).
///
/// A row says that something has to be looked at, and not what: that is in the map, so that a thousand changes are carried
/// as one, and whoever carries them takes the newest.
///
/// # Contract
///
/// - A write that changes a map and [is due](crate::cluster::Write::is_due_for) for a queue leaves a row there, in the same
///   step, with the version that it makes; reaping is such a write. One that changes nothing leaves none.
/// - There is one row for each subject and queue: a newer one takes the place of the one before.
/// - For [`Queue::Webhooks`] there are rows only where the store was told at its start that somebody wants them.
/// - A row that is not settled stays, whoever dies. It is lost where the map that it is about is lost.
/// - No call takes longer than about a second.
pub trait Outbox: Send + Sync + 'static {
    /// The rows in each of `shards`, one outcome for each: at most `max` of those whose change is `age` ago by the store's
    /// clock, the oldest first. With no `age` it is all of them.
    fn due(
        &self,
        queue: Queue,
        shards: &[u16],
        age: Duration,
        max: usize,
    ) -> impl Future<Output = Vec<Result<Vec<Row>, StoreError>>> + Send;

    /// Takes rows away, each unless it has a greater version by now.
    ///
    /// # Errors
    ///
    /// Part of the store is away; what is on the others was done. Repeating it is safe, and so is leaving it: what is
    /// carried twice is carried once.
    fn settle(
        &self,
        queue: Queue,
        rows: &[Row],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
