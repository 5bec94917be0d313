//! Histograms that many tasks count into at the same time without a lock.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

/// The number of independent copies of the buckets. Threads are spread over them, so that they rarely write to the
/// same cache line.
const STRIPES: usize = 8;
/// The largest number of finite bounds of a histogram.
const BOUNDS_MAX: usize = 16;

/// The bounds for spans that are mostly waits for a tick, a disk or a network: 0.5 ms to 10 s, in microseconds.
const SPANS: &[u64] = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];
/// The bounds for numbers of watchers.
const SIZES: &[u64] = &[
    0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000,
];

/// Counts values in buckets. To observe a value costs two atomic additions; to read them all touches every stripe.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    stripes: Box<[Stripe]>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    /// One for each bound, and one for what is above the last bound.
    buckets: [AtomicU64; BOUNDS_MAX + 1],
    sum: AtomicU64,
}

/// What a histogram has counted so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets {
    /// Each bucket: its upper bound, which is `None` for the last one, and how many values are in it and in no
    /// bucket before.
    pub counts: Vec<(Option<u64>, u64)>,
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// A histogram of spans of time, whose values are microseconds.
    pub fn of_spans() -> Self {
        Histogram::new(SPANS)
    }

    /// A histogram of numbers of watchers.
    pub fn of_sizes() -> Self {
        Histogram::new(SIZES)
    }

    fn new(bounds: &'static [u64]) -> Self {
        assert!(bounds.len() <= BOUNDS_MAX && bounds.is_sorted());
        let stripes = (0..STRIPES).map(|_| Stripe::default()).collect();
        Histogram { bounds, stripes }
    }

    /// Counts a span of time.
    pub fn observe_span(&self, span: Duration) {
        self.observe(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts one value, such as a number of bytes.
    pub fn observe(&self, value: u64) {
        let stripe = &self.stripes[stripe()];
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        stripe.buckets[bucket].fetch_add(1, Relaxed);
        stripe.sum.fetch_add(value, Relaxed);
    }

    /// What has been counted so far.
    pub fn read(&self) -> Buckets {
        let bounds = self.bounds.iter().copied().map(Some).chain([None]);
        let count = |bucket: usize| {
            let stripes = self.stripes.iter();
            stripes.map(|it| it.buckets[bucket].load(Relaxed)).sum()
        };
        Buckets {
            counts: bounds.enumerate().map(|(i, it)| (it, count(i))).collect(),
            sum: self
                .stripes
                .iter()
                .fold(0, |sum, it| sum.wrapping_add(it.sum.load(Relaxed))),
        }
    }
}

impl Buckets {
    /// The number of values in all buckets.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| count).sum()
    }
}

/// The stripe of this thread.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static MINE: usize = NEXT.fetch_add(1, Relaxed) % STRIPES;
    }
    MINE.with(|it| *it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_in_the_first_bucket_whose_bound_is_not_below_it() {
        let histogram = Histogram::of_sizes();
        for value in [0, 1, 3, 5, 50_000, 50_001, 1 << 40] {
            histogram.observe(value);
        }
        let read = histogram.read();
        let of = |bound| read.counts.iter().find(|it| it.0 == bound).unwrap().1;
        assert_eq!(
            [of(Some(0)), of(Some(1)), of(Some(2)), of(Some(5))],
            [1, 1, 0, 2]
        );
        assert_eq!([of(Some(50_000)), of(None)], [1, 2]);
        assert_eq!(read.count(), 7);
        assert_eq!(read.sum, 9 + 50_000 + 50_001 + (1 << 40));
    }

    #[test]
    fn nothing_is_lost_when_many_threads_count() {
        let histogram = Histogram::of_spans();
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    (0..1000).for_each(|_| histogram.observe_span(Duration::from_millis(3)))
                });
            }
        });
        let read = histogram.read();
        assert_eq!(read.count(), 20_000);
        assert_eq!(read.sum, 20_000 * 3_000);
    }
}
