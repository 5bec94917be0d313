//! The counters and levels of a hub, for its metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use presence_core::ports::StoreError;
use tokio::time::Instant;

use crate::histogram::Histogram;
use crate::hook_counters::HookCounters;

/// Totals since the start of the hub, and some levels. Reading them does not touch the shards.
#[derive(Debug, Default)]
pub struct Counters {
    /// How many events were announced, each counted once for any number of watchers.
    pub told: AtomicU64,
    /// How many events were put into the send queue of a connection.
    pub delivered: AtomicU64,
    /// How often the events for a slow connection were dropped. The connection gets the difference instead.
    pub conflated: AtomicU64,
    /// About how many bytes wait for all connections now.
    pub waiting_bytes: AtomicU64,
    /// How often the events for a connection were dropped because too much waited for all connections together.
    pub crowded: AtomicU64,
    /// How many profiles were stored.
    pub saved: AtomicU64,
    /// How many attempts to store profiles failed. Each is repeated.
    pub save_failures: AtomicU64,
    /// How many profiles wait to be stored now, one for each user.
    pub unsaved: AtomicU64,
    /// How many profiles waited in the shared store when this node last looked, in the partitions that it looks after.
    pub waiting: AtomicU64,
    /// When the oldest of those profiles began to wait, in milliseconds since 1970.
    pub waiting_since: AtomicU64,
    /// Whether the last attempt to reach the profile store failed.
    pub store_away: AtomicBool,
    /// Since when every attempt to reach the profile store has failed.
    pub(crate) store_away_since: Mutex<Option<Instant>>,
    /// How many writes were sent to the shared store.
    pub shared_writes: AtomicU64,
    /// How many maps were read from the shared store.
    pub shared_reads: AtomicU64,
    /// How many requests to the shared store failed. Each is repeated.
    pub shared_failures: AtomicU64,
    /// How many changes the shared store has announced to this node, its own changes included.
    pub patches_heard: AtomicU64,
    /// How often a partition of the store had to be compared, because it may have lost data.
    pub invalidated: AtomicU64,
    /// How many nodes were found dead.
    pub nodes_lost: AtomicU64,
    /// How many records and messages of a store were beyond their bounds, and dropped for that.
    pub garbled: AtomicU64,
    /// How many calls of an adapter panicked, or did not answer what was asked.
    pub adapter_faults: AtomicU64,
    /// Whether the shared store did not answer the last request.
    pub shared_away: AtomicBool,
    /// Since when every attempt to reach the shared store has failed.
    pub(crate) shared_away_since: Mutex<Option<Instant>>,
    /// The counters of webhooks.
    pub hooks: HookCounters,
    /// How long things take, and how many they reach.
    pub measured: Measured,
}

/// How long things take, and how many they reach, since the start of the hub.
#[derive(Debug)]
pub struct Measured {
    /// From the moment when a room knows of a change until its watchers are told. The tick of the room is in it.
    pub change_to_told: Histogram,
    /// From the moment when a connection hands over a command until the answer is in its send queue.
    pub command_to_answer: Histogram,
    /// To how many watchers an event of a room went.
    pub fanout: Histogram,
    /// How long a call of the shared store took. One call asks for a whole batch.
    pub shared_calls: Histogram,
    /// How long a call of the profile store took.
    pub profile_calls: Histogram,
    /// How long a delivery to the endpoint of webhooks took, failed ones included.
    pub webhook_deliveries: Histogram,
}

impl Default for Measured {
    fn default() -> Self {
        Measured {
            change_to_told: Histogram::of_spans(),
            command_to_answer: Histogram::of_spans(),
            fanout: Histogram::of_sizes(),
            shared_calls: Histogram::of_spans(),
            profile_calls: Histogram::of_spans(),
            webhook_deliveries: Histogram::of_spans(),
        }
    }
}

impl Counters {
    pub(crate) fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Relaxed);
    }

    /// Notes whether the profile store has answered, or why not. The log has a line only when that changes.
    pub(crate) fn note_store_away(&self, why: Option<&StoreError>) {
        let was_away = self.store_away.swap(why.is_some(), Relaxed);
        let mut since = self.away_since();
        let away_for = since.map_or(Duration::ZERO, |it| it.elapsed());
        match why {
            Some(_) => drop(since.get_or_insert_with(Instant::now)),
            None => *since = None,
        }
        match (was_away, why) {
            (false, Some(error)) => {
                let source = error.cause();
                tracing::warn!(
                    event = "store_away",
                    store = "profiles",
                    %error,
                    source,
                    "the profile store does not answer: changed profiles wait"
                );
            }
            (true, None) => tracing::info!(
                event = "store_back",
                store = "profiles",
                seconds = away_for.as_secs_f64(),
                "the profile store answers again"
            ),
            _ => {}
        }
    }

    /// For how long every attempt to reach the profile store has failed.
    pub fn store_away_for(&self) -> Duration {
        self.away_since().map_or(Duration::ZERO, |it| it.elapsed())
    }

    /// Notes whether the shared store answers.
    pub(crate) fn note_shared_away(&self, is_away: bool) {
        self.shared_away.store(is_away, Relaxed);
        let mut since = self.shared_since();
        match is_away {
            true => drop(since.get_or_insert_with(Instant::now)),
            false => *since = None,
        }
    }

    /// For how long the shared store has not answered; zero if it answers.
    pub fn shared_away_for(&self) -> Duration {
        self.shared_since()
            .map_or(Duration::ZERO, |it| it.elapsed())
    }

    fn shared_since(&self) -> MutexGuard<'_, Option<Instant>> {
        let since = self.shared_away_since.lock();
        since.unwrap_or_else(PoisonError::into_inner)
    }

    fn away_since(&self) -> MutexGuard<'_, Option<Instant>> {
        // It is one value, which no panic leaves half written.
        let since = self.store_away_since.lock();
        since.unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many there are of each thing at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The users with a session here who can be seen. Users who hide are not counted.
    pub users: usize,
    /// The channels that have somebody in them.
    pub channels: usize,
    /// The users who type in a channel now, each counted once for each channel.
    pub typing: usize,
    /// The profiles that wait to be stored, where this node has to do it.
    pub unsaved: usize,
    /// For how long the oldest of those profiles has been waiting.
    pub unsaved_for: Duration,
}
