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

#[cfg(test)]
mod tests {
    use super::*;

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
