//! The waits between attempts to reach an endpoint that fails.

use std::time::Duration;

/// Computes the waits: each failure doubles the wait. A part of it is random, so that many nodes do not come back to an
/// endpoint at the same moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The longest wait after a first failure.
    pub const FIRST: Duration = Duration::from_secs(1);
    /// The longest wait after any failure.
    pub const LONGEST: Duration = Duration::from_secs(60);

    /// Notes that an attempt failed. Returns how long to wait: between half and all of the time that is due. `random`
    /// is a random number.
    pub fn failed(&mut self, random: u32) -> Duration {
        let due =
            Backoff::FIRST.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let due = due.min(Backoff::LONGEST);
        self.failures = self.failures.saturating_add(1);
        due / 2 + (due / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
    }

    /// Notes that an attempt succeeded: the next failure counts as the first.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// How many attempts have failed since the last one that succeeded.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..8).map(|_| backoff.failed(u32::MAX).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.failures(), 8);
        backoff.succeeded();
        assert_eq!(backoff.failed(0), Backoff::FIRST / 2);
        assert_eq!(backoff.failed(0), Backoff::FIRST);
    }

    #[test]
    fn an_endpoint_that_is_away_for_years_is_still_tried() {
        let mut backoff = Backoff { failures: u32::MAX };
        assert_eq!(backoff.failed(u32::MAX), Backoff::LONGEST);
        assert_eq!(backoff.failed(0), Backoff::LONGEST / 2);
    }
}
