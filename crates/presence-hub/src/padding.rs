//! How long a reply of the shared store is held back, if its time could tell whether a user hides.
//!
//! If somebody asks about a user who cannot be seen, the store reads that user's map. The map of a hidden user has their
//! sessions, with the meta of each place that they would be in, and so takes longer to read than the map of somebody who is
//! gone. The reply is therefore passed on a whole number of [`PADDING`] after the store was asked.

use std::time::Duration;

use tokio::time::Instant;

/// The unit in which the time of a reply to a padded read is told: longer than it takes to read a large map from a store nearby.
pub(crate) const PADDING: Duration = Duration::from_millis(10);

/// When a reply is due that was asked for and has come at these moments: at least one [`PADDING`] after it was asked for.
pub(crate) fn due(asked: Instant, came: Instant) -> Instant {
    let took = came.saturating_duration_since(asked).as_nanos();
    let units = took.div_ceil(PADDING.as_nanos()).max(1);
    asked + PADDING * u32::try_from(units).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_due_a_whole_number_of_units_after_it_was_asked_for() {
        let asked = Instant::now();
        for (took_us, units) in [
            (0, 1),
            (300, 1),
            (500, 1),
            (10_000, 1),
            (10_001, 2),
            (25_000, 3),
        ] {
            let came = asked + Duration::from_micros(took_us);
            assert_eq!(due(asked, came), asked + PADDING * units, "{took_us} us");
        }
    }
}
