//! Detects whether the process stood still: it was stopped, frozen, or without a processor for long. Messages that it
//! reads afterwards may have been sent long before, and much may have happened since.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use presence_core::Timestamp;
use presence_core::cluster::News;
use tokio::time::Instant;

/// The time in milliseconds after which a process without a beat has stood still.
const STILL_MS: u64 = 1_000;

/// A beat several times a second, as long as the process runs.
#[derive(Debug)]
pub(crate) struct Pulse {
    started: Instant,
    last_ms: AtomicU64,
    stops: AtomicU64,
    /// When the process last ran before it last stood still.
    still_since_ms: AtomicU64,
}

impl Pulse {
    /// The time between two beats.
    pub(crate) const BEAT: Duration = Duration::from_millis(200);

    pub(crate) fn new() -> Self {
        Pulse {
            started: Instant::now(),
            last_ms: AtomicU64::new(0),
            stops: AtomicU64::new(0),
            still_since_ms: AtomicU64::new(0),
        }
    }

    pub(crate) fn beat(&self) {
        self.stops();
        self.last_ms.store(self.now_ms(), Relaxed);
    }

    /// How often the process has stood still. Each task asks this before it does anything.
    pub(crate) fn stops(&self) -> u64 {
        let (now, last) = (self.now_ms(), self.last_ms.load(Relaxed));
        let is_still = last + STILL_MS < now;
        if is_still
            && self
                .last_ms
                .compare_exchange(last, now, Relaxed, Relaxed)
                .is_ok()
        {
            self.still_since_ms.store(last, Relaxed);
            self.stops.fetch_add(1, Release);
        }
        self.stops.load(Acquire)
    }

    /// What the state machines of a shard have to be told, if the process has stood still since the shard last asked. It had
    /// seen that many stops.
    pub(crate) fn woke(&self, seen: &mut u64, now: Timestamp) -> Option<News> {
        let stops = self.stops();
        if std::mem::replace(seen, stops) == stops {
            return None;
        }
        let ran_ago = u64::try_from(self.ran_ago().as_millis()).unwrap_or(u64::MAX);
        let since = Timestamp::from_millis(now.as_millis().saturating_sub(ran_ago));
        Some(News::Woke { since })
    }

    /// How long ago the process ran before it last stood still.
    pub(crate) fn ran_ago(&self) -> Duration {
        Duration::from_millis(self.now_ms() - self.still_since_ms.load(Relaxed))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pulse_that_misses_some_beats_has_stopped_once() {
        let pulse = Pulse::new();
        for _ in 0..20 {
            tokio::time::advance(Pulse::BEAT).await;
            pulse.beat();
        }
        assert_eq!(pulse.stops(), 0);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(pulse.stops(), 1);
        assert_eq!(pulse.stops(), 1);
        assert_eq!(pulse.ran_ago(), Duration::from_secs(2));
        let (mut seen, now) = (0, Timestamp::from_millis(5_000));
        let since = Timestamp::from_millis(3_000);
        assert_eq!(pulse.woke(&mut seen, now), Some(News::Woke { since }));
        assert_eq!(pulse.woke(&mut seen, now), None);
        pulse.beat();
        assert_eq!(pulse.stops(), 1);
    }
}
