//! Rate limits for log lines about things that happen often.

use std::time::Duration;

use crate::Timestamp;

/// Lets something be logged at most once in a span of time, with how often it has happened since.
#[derive(Clone, Debug)]
pub struct LogThrottle {
    every: Duration,
    next: Timestamp,
    count: u64,
}

impl LogThrottle {
    /// A limit that allows the first log line at once, and then at most one in each `every`.
    pub fn new(every: Duration) -> Self {
        LogThrottle {
            every,
            next: Timestamp::default(),
            count: 0,
        }
    }

    /// Counts one occurrence at `now`. Returns how many there were since the last log line if one is due now.
    pub fn happened(&mut self, now: Timestamp) -> Option<u64> {
        self.count += 1;
        if now < self.next {
            return None;
        }
        self.next = now + self.every;
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_the_others_once_in_a_while_with_their_count() {
        let at = Timestamp::from_millis;
        let mut throttle = LogThrottle::new(Duration::from_secs(1));
        let said = [5000, 5001, 5999, 6000, 6001, 9000].map(|it| throttle.happened(at(it)));
        assert_eq!(said, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
