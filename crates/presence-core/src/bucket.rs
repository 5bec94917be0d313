//! Token buckets: how often somebody may do something.

use std::time::Duration;

use crate::Timestamp;

/// So many at once, and one more every `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// How long until one more.
    pub every: Duration,
}

/// What is left of a [`Rate`]. Sixteen bytes, so that a connection can have several.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// When the bucket would be full again if nothing more were taken.
    full_at: Timestamp,
}

impl TokenBucket {
    /// A full bucket.
    pub fn full() -> Self {
        TokenBucket {
            full_at: Timestamp::default(),
        }
    }

    /// Whether nothing was taken of late, so that it need not be remembered.
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.full_at <= now
    }

    /// Takes one token.
    ///
    /// # Errors
    ///
    /// There is none; says how long until there is. Nothing has changed.
    pub fn take(&mut self, now: Timestamp, rate: Rate) -> Result<(), Duration> {
        let full_at = self.full_at.max(now) + rate.every;
        let most = now + rate.every * rate.burst;
        if full_at > most {
            return Err(full_at.since(most));
        }
        self.full_at = full_at;
        Ok(())
    }
}

/// So many bytes at once, and so many more a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate {
    /// Bytes at once.
    pub burst: u64,
    /// Bytes a second after that; 0 counts as 1.
    pub per_second: u64,
}

/// What is left of a [`ByteRate`]. What is about to be sent is known only when it is there, so this may be overdrawn, by
/// one thing at a time: whoever wants more has to wait until it is not.
#[derive(Clone, Copy, Debug)]
pub struct ByteBucket {
    /// When the bucket would be full again if nothing more were taken.
    full_at: Timestamp,
}

impl ByteBucket {
    /// A full bucket.
    pub fn full() -> Self {
        ByteBucket {
            full_at: Timestamp::default(),
        }
    }

    /// Whether nothing was taken of late, so that it need not be remembered.
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.full_at <= now
    }

    /// How long until something may be asked for that costs bytes; `None`, if it may be now.
    pub fn wait(&self, now: Timestamp, rate: ByteRate) -> Option<Duration> {
        let empty_at = now + rate.time_of(rate.burst);
        let wait = self.full_at.since(empty_at);
        (!wait.is_zero()).then_some(wait)
    }

    /// Takes `bytes` out, more than there are if need be.
    pub fn spend(&mut self, now: Timestamp, rate: ByteRate, bytes: usize) {
        self.full_at = self.full_at.max(now) + rate.time_of(bytes as u64);
    }
}

impl ByteRate {
    /// How long it takes until there are `bytes` more.
    fn time_of(self, bytes: u64) -> Duration {
        let millis = bytes.saturating_mul(1000) / self.per_second.max(1);
        Duration::from_millis(millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_may_be_overdrawn_once_and_are_paid_back() {
        let rate = ByteRate {
            burst: 1000,
            per_second: 500,
        };
        let at = Timestamp::from_millis;
        let mut bucket = ByteBucket::full();
        assert_eq!(bucket.wait(at(10_000), rate), None);
        bucket.spend(at(10_000), rate, 900);
        assert_eq!(bucket.wait(at(10_000), rate), None);
        bucket.spend(at(10_000), rate, 1100);
        let wait = bucket.wait(at(10_000), rate);
        assert_eq!(wait, Some(Duration::from_secs(2)));
        let wait = bucket.wait(at(11_500), rate);
        assert_eq!(wait, Some(Duration::from_millis(500)));
        assert_eq!(bucket.wait(at(12_000), rate), None);
        // Nothing is saved up beyond the burst.
        bucket.spend(at(60_000), rate, 1001);
        assert!(bucket.wait(at(60_000), rate).is_some());
    }

    #[test]
    fn a_burst_then_a_trickle_and_the_refusal_says_when() {
        let rate = Rate {
            burst: 3,
            every: Duration::from_millis(100),
        };
        let at = Timestamp::from_millis;
        let mut bucket = TokenBucket::full();
        for _ in 0..3 {
            assert_eq!(bucket.take(at(1000), rate), Ok(()));
        }
        assert_eq!(bucket.take(at(1000), rate), Err(Duration::from_millis(100)));
        assert_eq!(bucket.take(at(1060), rate), Err(Duration::from_millis(40)));
        assert_eq!(bucket.take(at(1100), rate), Ok(()));
        assert!(bucket.take(at(1100), rate).is_err());
    }
}
