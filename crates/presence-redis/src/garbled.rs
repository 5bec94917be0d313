//! Data of other writers that cannot be understood.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use presence_core::{LogThrottle, Timestamp};
use tokio::time::Instant;

/// How often at most a log line says that something cannot be understood.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Counts data that cannot be understood, and is dropped for that.
#[derive(Debug)]
pub(crate) struct Garbled {
    count: AtomicU64,
    throttle: Mutex<LogThrottle>,
    start: Instant,
}

impl Default for Garbled {
    fn default() -> Self {
        Garbled {
            count: AtomicU64::new(0),
            throttle: Mutex::new(LogThrottle::new(SAID_EVERY)),
            start: Instant::now(),
        }
    }
}

impl Garbled {
    /// Counts one thing about `what` that cannot be understood, and logs it if it is time to.
    pub(crate) fn note(&self, what: impl fmt::Display, error: &dyn std::error::Error) {
        self.count.fetch_add(1, Relaxed);
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
        let said = throttle.happened(Timestamp::from_millis(passed));
        drop(throttle);
        if let Some(count) = said {
            tracing::warn!(%what, %error, count, "dropped data in the shared store that cannot be understood");
        }
    }

    /// How many things could not be understood so far.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }
}
