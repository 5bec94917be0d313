//! How far the clocks of servers are apart. A lease ends by the clock of one server, and the other servers have
//! to know when.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use presence_core::Timestamp;
use tokio::time::Instant;

/// The last readings of the servers' clocks.
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    readings: Mutex<Readings>,
}

#[derive(Debug, Default)]
struct Readings {
    leases: Option<Reading>,
    partitions: HashMap<u16, Reading>,
}

/// A reading of a clock, and when it was taken.
#[derive(Clone, Copy, Debug)]
struct Reading {
    said: Timestamp,
    at: Instant,
}

impl Reading {
    fn new(said: Timestamp) -> Self {
        Reading {
            said,
            at: Instant::now(),
        }
    }

    /// What the clock shows at `at`, in milliseconds.
    fn at(self, at: Instant) -> i128 {
        let said = i128::from(self.said.as_millis());
        let (since, before) = (at - self.at, self.at - at);
        said + since.as_millis() as i128 - before.as_millis() as i128
    }
}

impl Clocks {
    /// Notes that the server of the leases shows `now`.
    pub(crate) fn saw_leases(&self, now: Timestamp) {
        self.readings().leases = Some(Reading::new(now));
    }

    /// Notes that the server of `partition` shows `now`.
    pub(crate) fn saw_partition(&self, partition: u16, now: Timestamp) {
        self.readings()
            .partitions
            .insert(partition, Reading::new(now));
    }

    /// What the server of `partition` shows when the server of the leases shows `moment`, as far as is known.
    pub(crate) fn on_partition(&self, partition: u16, moment: Timestamp) -> Timestamp {
        let readings = self.readings();
        let (Some(leases), Some(partition)) =
            (readings.leases, readings.partitions.get(&partition))
        else {
            return moment;
        };
        let ahead = partition.at(partition.at) - leases.at(partition.at);
        let moment = i128::from(moment.as_millis()) + ahead;
        Timestamp::from_millis(u64::try_from(moment).unwrap_or(0))
    }

    fn readings(&self) -> std::sync::MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(1_764_000_000_000 + secs * 1000)
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_at_the_same_moment_on_a_server_whose_clock_is_ahead() {
        let clocks = Clocks::default();
        assert_eq!(
            clocks.on_partition(7, at(15)),
            at(15),
            "nothing is known yet"
        );
        clocks.saw_leases(at(0));
        tokio::time::advance(Duration::from_secs(5)).await;
        clocks.saw_partition(7, at(65));
        assert_eq!(clocks.on_partition(7, at(15)), at(75));
        clocks.saw_partition(8, at(2));
        assert_eq!(clocks.on_partition(8, at(15)), at(12));
    }
}
