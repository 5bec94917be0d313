//! The levels and rates of a gateway, from counters that are looked at once a second.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::Timestamp;
use presence_hub::Counts;
use serde::{Deserialize, Serialize};

use super::history::Sample;
use crate::app::App;
use crate::metrics;

/// The span over which current rates are taken.
const RATES_OVER: Duration = Duration::from_secs(5);
/// The number of looks that are remembered.
const BEATS_MAX: usize = 12;
/// Looks that are closer to each other than this count as one.
const APART: Duration = Duration::from_millis(500);

/// What the counters said at one moment. All totals are since the start of the process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beat {
    at: Timestamp,
    cpu_seconds: f64,
    memory_bytes: u64,
    connections: usize,
    opened: u64,
    frames_in: u64,
    frames_out: u64,
    events: u64,
    delivered: u64,
    /// Bytes that wait for connections.
    queued_bytes: u64,
    /// Messages that wait for shards.
    mailboxes: usize,
    webhooks_waiting: u64,
    /// Calls of the shared store, and the microseconds that they took together.
    store_calls: (u64, u64),
}

/// How a gateway is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Levels {
    pub(crate) connections: usize,
    pub(crate) users: usize,
    pub(crate) channels: usize,
    pub(crate) typing: usize,
    /// The processor time that the gateway uses, in cores.
    pub(crate) cpu: f64,
    pub(crate) memory_bytes: u64,
    pub(crate) opened_per_second: f64,
    pub(crate) frames_in_per_second: f64,
    pub(crate) frames_out_per_second: f64,
    /// Events per second, each counted once.
    pub(crate) events_per_second: f64,
    /// Events per second, counted once for each watcher.
    pub(crate) delivered_per_second: f64,
    pub(crate) queued_bytes: u64,
    pub(crate) mailboxes: usize,
    pub(crate) profiles_unsaved: usize,
    pub(crate) webhooks_waiting: u64,
    /// The mean time of a call of the shared store; 0 if there was none.
    pub(crate) store_ms: f64,
}

/// The last readings of the counters.
#[derive(Debug, Default)]
pub(super) struct Beats {
    beats: VecDeque<Beat>,
    /// The look that the last sample was made of.
    sampled: Option<Beat>,
    /// The most that waited since then.
    peak: Peak,
}

#[derive(Clone, Copy, Debug, Default)]
struct Peak {
    queued_bytes: u64,
    mailboxes: usize,
    webhooks_waiting: u64,
}

impl Beat {
    /// Reads the counters. It waits for nothing.
    pub(super) fn of(app: &App) -> Self {
        let hub = app.hub.counters();
        let usage = metrics::usage().unwrap_or_default();
        let totals = app.metrics.totals();
        let calls = hub.measured.shared_calls.read();
        Beat {
            at: app.now(),
            cpu_seconds: usage.cpu_seconds,
            memory_bytes: usage.resident_bytes,
            connections: app.connections.open(),
            opened: totals.opened,
            frames_in: totals.frames_in,
            frames_out: totals.frames_out,
            events: hub.told.load(Relaxed),
            delivered: hub.delivered.load(Relaxed),
            queued_bytes: hub.waiting_bytes.load(Relaxed),
            mailboxes: app.hub.mailbox_depth().all,
            webhooks_waiting: hub.hooks.waiting.load(Relaxed),
            store_calls: (calls.count(), calls.sum),
        }
    }
}

/// The rates between two looks.
struct Between {
    seconds: f64,
    from: Beat,
    to: Beat,
}

impl Between {
    fn new(from: Beat, to: Beat) -> Self {
        let seconds = to.at.since(from.at).as_secs_f64();
        Between { seconds, from, to }
    }

    fn rate(&self, total: impl Fn(&Beat) -> f64) -> f64 {
        if self.seconds <= 0.0 {
            return 0.0;
        }
        rounded((total(&self.to) - total(&self.from)).max(0.0) / self.seconds)
    }

    fn store_ms(&self) -> f64 {
        const MICROS_PER_MILLI: f64 = 1000.0;
        let calls = self
            .to
            .store_calls
            .0
            .saturating_sub(self.from.store_calls.0);
        let micros = self
            .to
            .store_calls
            .1
            .saturating_sub(self.from.store_calls.1);
        match calls {
            0 => 0.0,
            calls => rounded(micros as f64 / calls as f64 / MICROS_PER_MILLI),
        }
    }
}

/// With three digits after the point: nobody reads more.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

impl Beats {
    /// Adds a look. One that comes right after another is left out.
    pub(super) fn push(&mut self, beat: Beat) {
        self.peak.queued_bytes = self.peak.queued_bytes.max(beat.queued_bytes);
        self.peak.mailboxes = self.peak.mailboxes.max(beat.mailboxes);
        self.peak.webhooks_waiting = self.peak.webhooks_waiting.max(beat.webhooks_waiting);
        let last = self.beats.back();
        if last.is_some_and(|it| beat.at.since(it.at) < APART) {
            return;
        }
        if self.beats.len() == BEATS_MAX {
            self.beats.pop_front();
        }
        self.beats.push_back(beat);
    }

    /// The levels at the last look, with rates over about [`RATES_OVER`].
    pub(super) fn levels(&self, counts: &Counts) -> Levels {
        let to = self.beats.back().copied().unwrap_or_default();
        let mut earlier = self.beats.iter().rev();
        let from = earlier
            .find(|it| to.at.since(it.at) >= RATES_OVER)
            .or(self.beats.front())
            .copied()
            .unwrap_or_default();
        levels(&Between::new(from, to), counts)
    }

    /// A sample of what was since the last one. Of what waits it has the most that was seen.
    pub(super) fn sample(&mut self, counts: &Counts) -> Sample {
        let to = self.beats.back().copied().unwrap_or_default();
        let from = self.sampled.replace(to).unwrap_or(to);
        let peak = std::mem::take(&mut self.peak);
        let levels = Levels {
            queued_bytes: peak.queued_bytes,
            mailboxes: peak.mailboxes,
            webhooks_waiting: peak.webhooks_waiting,
            ..levels(&Between::new(from, to), counts)
        };
        Sample::of(to.at, &levels)
    }
}

fn levels(between: &Between, counts: &Counts) -> Levels {
    let to = &between.to;
    Levels {
        connections: to.connections,
        users: counts.users,
        channels: counts.channels,
        typing: counts.typing,
        cpu: between.rate(|it| it.cpu_seconds),
        memory_bytes: to.memory_bytes,
        opened_per_second: between.rate(|it| it.opened as f64),
        frames_in_per_second: between.rate(|it| it.frames_in as f64),
        frames_out_per_second: between.rate(|it| it.frames_out as f64),
        events_per_second: between.rate(|it| it.events as f64),
        delivered_per_second: between.rate(|it| it.delivered as f64),
        queued_bytes: to.queued_bytes,
        mailboxes: to.mailboxes,
        profiles_unsaved: counts.unsaved,
        webhooks_waiting: to.webhooks_waiting,
        store_ms: between.store_ms(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(second: u64) -> Beat {
        Beat {
            at: Timestamp::from_millis(1_000_000 + second * 1000),
            cpu_seconds: second as f64 * 0.25,
            frames_in: second * 40,
            store_calls: (second * 2, second * 3000),
            queued_bytes: if second == 3 { 900 } else { 0 },
            ..Beat::default()
        }
    }

    #[test]
    fn rates_are_those_of_the_last_seconds_and_samples_have_the_peaks() {
        let mut beats = Beats::default();
        assert_eq!(beats.levels(&Counts::default()), Levels::default());
        beats.push(beat(0));
        assert_eq!(beats.sample(&Counts::default()).value("frames_in"), 0.0);
        for second in 1..=10 {
            beats.push(beat(second));
            beats.push(beat(second));
        }
        let levels = beats.levels(&Counts::default());
        assert_eq!((levels.cpu, levels.frames_in_per_second), (0.25, 40.0));
        assert_eq!((levels.store_ms, levels.queued_bytes), (1.5, 0));
        let sample = beats.sample(&Counts::default());
        assert_eq!(sample.value("cpu"), 0.25);
        assert_eq!(sample.value("queued_bytes"), 900.0);
        beats.push(beat(11));
        let next = beats.sample(&Counts::default());
        assert_eq!(next.value("queued_bytes"), 0.0);
    }
}
