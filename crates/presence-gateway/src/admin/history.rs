//! The samples of the last hour.

use std::collections::VecDeque;

use presence_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::beat::Levels;

/// The number of samples that a gateway keeps: an hour, at one in ten seconds. Each takes 96 bytes.
const SAMPLES_MAX: usize = 360;

/// The names of the values in a sample, in their order.
pub(crate) const COLUMNS: [&str; 11] = [
    "connections",
    "users",
    "cpu",
    "memory_bytes",
    "opened",
    "frames_in",
    "frames_out",
    "queued_bytes",
    "mailboxes",
    "webhooks_waiting",
    "store_ms",
];

/// What was measured in the ten seconds up to a moment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Sample(u64, [f64; COLUMNS.len()]);

impl Sample {
    pub(super) fn of(at: Timestamp, levels: &Levels) -> Self {
        let values = [
            levels.connections as f64,
            levels.users as f64,
            levels.cpu,
            levels.memory_bytes as f64,
            levels.opened_per_second,
            levels.frames_in_per_second,
            levels.frames_out_per_second,
            levels.queued_bytes as f64,
            levels.mailboxes as f64,
            levels.webhooks_waiting as f64,
            levels.store_ms,
        ];
        Sample(at.as_millis(), values)
    }

    /// When it was taken, in milliseconds since 1970.
    pub(super) fn at_ms(&self) -> u64 {
        self.0
    }

    #[cfg(test)]
    pub(super) fn value(&self, column: &str) -> f64 {
        let index = COLUMNS.iter().position(|it| *it == column).unwrap();
        self.1[index]
    }
}

/// The last [`SAMPLES_MAX`] samples, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ring(VecDeque<Sample>);

impl Ring {
    pub(super) fn push(&mut self, sample: Sample) {
        if self.0.len() == SAMPLES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(sample);
    }

    /// The samples after `after`, oldest first.
    pub(super) fn after(&self, after: Timestamp) -> Vec<Sample> {
        let after = after.as_millis();
        let from = self.0.partition_point(|it| it.at_ms() <= after);
        self.0.range(from..).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_an_hour_and_returns_what_is_new() {
        let mut ring = Ring::default();
        let samples = 2 * SAMPLES_MAX as u64;
        for n in 0..samples {
            let at = Timestamp::from_millis(n * 10_000);
            ring.push(Sample::of(at, &Levels::default()));
        }
        let all = ring.after(Timestamp::default());
        assert_eq!(all.len(), SAMPLES_MAX);
        assert_eq!(all[0].at_ms(), (samples - SAMPLES_MAX as u64) * 10_000);
        let last = Timestamp::from_millis((samples - 3) * 10_000);
        assert_eq!(ring.after(last).len(), 2);
        assert!(ring.after(Timestamp::from_millis(u64::MAX)).is_empty());
    }
}
