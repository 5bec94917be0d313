//! What a hub counts.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Totals since the start, and a few levels. Reading them costs the shards nothing.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events told, each counted once however many watch.
    pub told: AtomicU64,
    /// Events put into a watcher's queue.
    pub delivered: AtomicU64,
    /// Times that a slow watcher's backlog was dropped, to be replaced by the difference.
    pub conflated: AtomicU64,
    /// Profiles stored.
    pub saved: AtomicU64,
    /// Attempts to store that failed; each is repeated.
    pub save_failures: AtomicU64,
    /// Profiles that wait to be stored, one per user.
    pub unsaved: AtomicU64,
    /// Whether the last attempt to reach the profile store failed.
    pub store_away: AtomicBool,
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
    /// Whether it did not answer when it was last asked.
    pub shared_away: AtomicBool,
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
    }
}

/// How many of each there are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Users who can be seen here. Nobody counts who hides.
    pub users: usize,
    /// Channels with somebody in them.
    pub channels: usize,
}
