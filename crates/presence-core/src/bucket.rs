//! Token buckets: how often something may be done.

use std::time::Duration;

use crate::Timestamp;

/// A rate: `burst` at once, and one more after each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many may be done at once.
    pub burst: u32,
    /// The time after which one more may be done.
    pub every: Duration,
}

/// The state of a [`Rate`] limit. It is one number, so that a connection can have several.
#[derive(Clone, Copy, Debug)]
pub struct TokenBucket {
    /// When the bucket is full again if nothing more is taken.
    full_at: Timestamp,
}

impl TokenBucket {
    /// A bucket that is full.
    pub fn full() -> Self {
        TokenBucket {
            full_at: Timestamp::default(),
        }
    }

    /// Whether the bucket is full at `now`, so that it need not be kept.
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.full_at <= now
    }

    /// Takes one token.
    ///
    /// # Errors
    ///
    /// The time until there is a token, if there is none now. Nothing has changed then.
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

/// A rate of bytes: `burst` at once, and `per_second` more each second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRate {
    /// How many bytes may be spent at once.
    pub burst: u64,
    /// How many bytes are added each second; 0 counts as 1.
    pub per_second: u64,
}

/// The state of a [`ByteRate`] limit. The size of a message is known only when it is there, so the bucket may be
/// overdrawn by one message. The next one has to wait until the bucket is no longer overdrawn.
#[derive(Clone, Copy, Debug)]
pub struct ByteBucket {
    /// When the bucket is full again if nothing more is spent.
    full_at: Timestamp,
}

impl ByteBucket {
    /// A bucket that is full.
    pub fn full() -> Self {
        ByteBucket {
            full_at: Timestamp::default(),
        }
    }

    /// Whether the bucket is full at `now`, so that it need not be kept.
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.full_at <= now
    }

    /// How long to wait before asking for something that costs bytes; `None` if it may be asked for now.
    pub fn wait(&self, now: Timestamp, rate: ByteRate) -> Option<Duration> {
        let empty_at = now + rate.time_of(rate.burst);
        let wait = self.full_at.since(empty_at);
        (!wait.is_zero()).then_some(wait)
    }

    /// Spends `bytes`, even if there are fewer.
    pub fn spend(&mut self, now: Timestamp, rate: ByteRate, bytes: usize) {
        self.full_at = self.full_at.max(now) + rate.time_of(bytes as u64);
    }
}

impl ByteRate {
    /// How long it takes until `bytes` more may be spent.
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
