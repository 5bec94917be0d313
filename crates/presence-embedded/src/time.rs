//! The clock of the store. No other file of this crate reads a clock.

use std::time::{SystemTime, UNIX_EPOCH};

use presence_core::Timestamp;
use tokio::time::Instant;

/// Wall time that never jumps. It is based on tokio's clock, so that a test can pause it.
#[derive(Debug)]
pub(crate) struct StoreTime {
    began_at: Instant,
    began_at_us: u64,
}

impl StoreTime {
    pub(crate) fn new() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall_us = wall.unwrap_or_default().as_micros();
        StoreTime {
            began_at: Instant::now(),
            began_at_us: u64::try_from(wall_us).unwrap_or(u64::MAX),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now_us() / 1000)
    }

    /// The time in microseconds since 1970. Versions are made of it.
    pub(crate) fn now_us(&self) -> u64 {
        let elapsed_us = u64::try_from(self.began_at.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.began_at_us.saturating_add(elapsed_us)
    }
}
