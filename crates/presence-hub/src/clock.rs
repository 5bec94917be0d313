//! The clock of a node: the only place that reads the time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use presence_core::Timestamp;
use tokio::time::Instant;

/// A clock that shows the wall-clock time and never jumps: the time at its start, and how long ago that was.
///
/// So setting the machine's clock ends nobody's session. In return, a status ends by the clock of the start.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    started: Instant,
    wall: Timestamp,
}

impl WallClock {
    /// A clock that starts with the time of the machine.
    pub fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = wall.unwrap_or(Duration::ZERO).as_millis();
        WallClock::start_at(Timestamp::from_millis(
            u64::try_from(millis).unwrap_or(u64::MAX),
        ))
    }

    /// A clock that shows `now` at this moment. Nodes that share a store start with its time.
    pub fn start_at(now: Timestamp) -> Self {
        WallClock {
            started: Instant::now(),
            wall: now,
        }
    }

    /// The time by this clock.
    pub fn now(&self) -> Timestamp {
        self.wall + self.started.elapsed()
    }

    /// When to wake up for `deadline`. For a distant one it is in a day, to check again.
    pub(crate) fn instant(&self, deadline: Timestamp) -> Instant {
        const LOOK_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);
        let now = Instant::now();
        let ahead = deadline.since(self.wall);
        let wakes = self.started.checked_add(ahead);
        wakes.unwrap_or(now + LOOK_AGAIN).min(now + LOOK_AGAIN)
    }
}
