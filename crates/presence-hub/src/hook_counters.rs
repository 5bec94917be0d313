//! What is counted of webhooks.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use presence_core::Timestamp;

/// The counters of webhooks, for the partitions that this node looks after.
#[derive(Debug, Default)]
pub struct HookCounters {
    /// How many events wait for delivery.
    pub waiting: AtomicU64,
    /// When the oldest waiting event was told, in milliseconds since 1970; 0 if none waits.
    pub oldest_ms: AtomicU64,
    /// How many events the endpoint has accepted.
    pub delivered: AtomicU64,
    /// How many deliveries failed. Each is repeated.
    pub failures: AtomicU64,
    /// Whether the last delivery failed, and events still wait.
    pub is_away: AtomicBool,
}

impl HookCounters {
    /// How long the oldest event has waited at `now`; zero if none waits.
    pub fn oldest_age(&self, now: Timestamp) -> Duration {
        match self.oldest_ms.load(Relaxed) {
            0 => Duration::ZERO,
            oldest => now.since(Timestamp::from_millis(oldest)),
        }
    }
}
