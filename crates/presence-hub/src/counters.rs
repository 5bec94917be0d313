//! What a hub counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use presence_core::ports::StoreError;
use tokio::time::Instant;

use crate::hooks::HookCounters;

/// Totals since the start, and a few levels. Reading them costs the shards nothing.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events told, each counted once however many watch.
    pub told: AtomicU64,
    /// Events put into a watcher's queue.
    pub delivered: AtomicU64,
    /// Times that a slow watcher's backlog was dropped, to be replaced by the difference.
    pub conflated: AtomicU64,
    /// About how many bytes wait for all connections now.
    pub waiting_bytes: AtomicU64,
    /// Times that the backlog of a connection was dropped because too much waited for all of them together.
    pub crowded: AtomicU64,
    /// Profiles stored.
    pub saved: AtomicU64,
    /// Attempts to store that failed; each is repeated.
    pub save_failures: AtomicU64,
    /// Profiles that wait to be stored, one per user.
    pub unsaved: AtomicU64,
    /// Profiles that were found waiting in the store that nodes share when this node last looked, where it is this node that
    /// sees to it.
    pub waiting: AtomicU64,
    /// When the oldest of them began to wait, in milliseconds since 1970.
    pub waiting_since: AtomicU64,
    /// Whether the last attempt to reach the profile store failed.
    pub store_away: AtomicBool,
    /// Since when every attempt has.
    pub(crate) store_away_since: Mutex<Option<Instant>>,
    /// Writes to the store that nodes share.
    pub shared_writes: AtomicU64,
    /// Maps read from it.
    pub shared_reads: AtomicU64,
    /// Requests to it that failed; each is repeated.
    pub shared_failures: AtomicU64,
    /// Changes heard of it, this node's own included.
    pub patches_heard: AtomicU64,
    /// Times that a part of it had to be compared, because it may have lost data.
    pub distrusted: AtomicU64,
    /// Nodes that were found dead.
    pub nodes_lost: AtomicU64,
    /// Records and messages of a store that were not within their bounds, and so were dropped.
    pub garbled: AtomicU64,
    /// Calls of an adapter that panicked, or that answered something else than what was asked.
    pub adapter_faults: AtomicU64,
    /// Whether it did not answer when it was last asked.
    pub shared_away: AtomicBool,
    /// What becomes of what the outside is told.
    pub hooks: HookCounters,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
    }

    /// Notes whether the profile store has answered, or why not. That is logged when it changes, and not at each attempt.
    pub(crate) fn store_is_away(&self, why: Option<&StoreError>) {
        let was_away = self.store_away.swap(why.is_some(), Relaxed);
        let mut since = self.away_since();
        match why {
            Some(_) => drop(since.get_or_insert_with(Instant::now)),
            None => *since = None,
        }
        match (was_away, why) {
            (false, Some(error)) => {
                let source = error.cause();
                tracing::warn!(%error, source, "the profile store is away: what is to be kept there waits");
            }
            (true, None) => tracing::info!("the profile store is back"),
            _ => {}
        }
    }

    /// For how long it has not.
    pub(crate) fn store_away_for(&self) -> Duration {
        self.away_since().map_or(Duration::ZERO, |it| it.elapsed())
    }

    fn away_since(&self) -> MutexGuard<'_, Option<Instant>> {
        // It is one value, which no panic leaves half written.
        let since = self.store_away_since.lock();
        since.unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many of each there are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Users who can be seen here. Nobody counts who hides.
    pub users: usize,
    /// Channels with somebody in them.
    pub channels: usize,
    /// Profiles that wait to be stored, as far as this node has to see to it.
    pub unsaved: usize,
    /// For how long the oldest of them has been waiting.
    pub unsaved_for: Duration,
}
