//! How often something happened lately.

use std::time::Duration;

use crate::Timestamp;

/// The span over which events are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Counts events in two windows of [`WINDOW`]: the current one, and the one before it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    /// The number of the current window since 1970.
    window: u64,
    current: u32,
    before: u32,
}

impl Meter {
    /// Counts one event at `now`.
    pub(super) fn count(&mut self, now: Timestamp) {
        let window = window_of(now);
        let (current, before) = self.windows(window);
        *self = Meter {
            window,
            current: current.saturating_add(1),
            before,
        };
    }

    /// The number of events in one second, on average over about the last [`WINDOW`] before `now`.
    pub(super) fn per_second(self, now: Timestamp) -> f64 {
        let (current, before) = self.windows(window_of(now));
        let passed = (now.as_millis() % millis()) as f64 / millis() as f64;
        (f64::from(current) + f64::from(before) * (1.0 - passed)) / WINDOW.as_secs_f64()
    }

    /// The counts of `window` and of the window before it.
    fn windows(self, window: u64) -> (u32, u32) {
        match window.checked_sub(self.window) {
            // The clock may have gone back a little: that counts for the current window.
            None | Some(0) => (self.current, self.before),
            Some(1) => (0, self.current),
            Some(_) => (0, 0),
        }
    }
}

fn millis() -> u64 {
    WINDOW.as_millis() as u64
}

fn window_of(now: Timestamp) -> u64 {
    now.as_millis() / millis()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_steady_rate_is_read_at_any_moment_and_quiet_brings_it_to_zero() {
        let mut meter = Meter::default();
        assert_eq!(meter.per_second(at(1_000_000)), 0.0);
        for moment in (1_000_000..1_040_000).step_by(100) {
            meter.count(at(moment));
            // From the second window on, the rate is that of a whole one.
            let rate = meter.per_second(at(moment));
            let is_right = (9.5..=10.5).contains(&rate);
            assert!(is_right || moment < 1_010_000, "{rate} at {moment}");
        }
        assert!(meter.per_second(at(1_047_000)) < 4.0);
        assert_eq!(meter.per_second(at(1_060_000)), 0.0);
    }
}
