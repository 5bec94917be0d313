//! The one place that reads the clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use presence_core::Timestamp;
use tokio::time::Instant;

/// Wall-clock time that never jumps: what the wall said at the start, and how long ago that is.
///
/// Setting the machine's clock therefore ends nobody's session; the price is that a status ends by the clock of the start.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    wall: Timestamp,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = wall.unwrap_or(Duration::ZERO).as_millis();
        Clock::start_at(Timestamp::from_millis(
            u64::try_from(millis).unwrap_or(u64::MAX),
        ))
    }

    /// A clock that says `now` now: nodes that share a store go by its time.
    pub fn start_at(now: Timestamp) -> Self {
        Clock {
            started: Instant::now(),
            wall: now,
        }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.wall + self.started.elapsed()
    }

    /// When to wake for `deadline`; a far one within a day, to look again.
    pub(crate) fn instant(&self, deadline: Timestamp) -> Instant {
        const LOOK_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);
        let now = Instant::now();
        let ahead = deadline.since(self.wall);
        let wakes = self.started.checked_add(ahead);
        wakes.unwrap_or(now + LOOK_AGAIN).min(now + LOOK_AGAIN)
    }
}
