//! What others have stored or told that is not understood.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use presence_core::{Seldom, Timestamp};
use tokio::time::Instant;

/// The log says at most so often that something is not understood.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// Counts what is not understood, and so is dropped.
#[derive(Debug)]
pub(crate) struct Garbled {
    count: AtomicU64,
    seldom: Mutex<Seldom>,
    start: Instant,
}

impl Default for Garbled {
    fn default() -> Self {
        Garbled {
            count: AtomicU64::new(0),
            seldom: Mutex::new(Seldom::new(SAID_EVERY)),
            start: Instant::now(),
        }
    }
}

impl Garbled {
    /// Notes that something about `what` is not understood.
    pub(crate) fn note(&self, what: impl fmt::Display, error: &dyn std::error::Error) {
        self.count.fetch_add(1, Relaxed);
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut seldom = self.seldom.lock().unwrap_or_else(PoisonError::into_inner);
        let said = seldom.happened(Timestamp::from_millis(passed));
        drop(seldom);
        if let Some(count) = said {
            tracing::warn!(%what, %error, count, "what somebody has written to the shared store is not understood, and dropped");
        }
    }

    /// How often that was so.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }
}
