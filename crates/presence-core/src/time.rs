//! Moments in time. Spans of time are [`Duration`]s.

use std::ops::Add;
use std::time::Duration;

/// A moment, in milliseconds since the start of 1970 (UTC).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The moment `millis` milliseconds after the start of 1970 (UTC).
    pub const fn from_millis(millis: u64) -> Self {
        Timestamp(millis)
    }

    /// The milliseconds from the start of 1970 (UTC) to this moment.
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this moment; zero if this moment is not later.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;

    /// Adds a span. The result saturates, so a deadline that is too far away never comes.
    fn add(self, span: Duration) -> Timestamp {
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.0.saturating_add(millis))
    }
}
