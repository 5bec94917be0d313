//! How often the API may be called: by a user as often as on a socket, by a service a hundred times as often.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use presence_core::{ByteBucket, ByteRate, Rate, Timestamp, TokenBucket, UserId};
use presence_protocol::ErrorCode;

use crate::identity::{Identity, Scope};
use crate::request::Refused;

/// The most callers whose recent calls are counted. One more is told to wait.
const CALLERS_MAX: usize = 10_000;
/// How much more often a service may call, because it acts for many users.
const SERVICE_FACTOR: u32 = 100;

/// A class of calls that share a token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CallClass {
    Query,
    Join,
    Status,
    Broadcast,
}

/// The recent calls of all callers.
#[derive(Debug, Default)]
pub(crate) struct Callers(Mutex<HashMap<UserId, Asked>>);

/// The recent calls of one caller.
#[derive(Debug)]
struct Asked {
    buckets: [TokenBucket; 4],
    bytes: ByteBucket,
}

impl Asked {
    fn nothing() -> Self {
        Asked {
            buckets: [TokenBucket::full(); 4],
            bytes: ByteBucket::full(),
        }
    }

    fn is_nothing(&self, now: Timestamp) -> bool {
        self.buckets.iter().all(|it| it.is_full(now)) && self.bytes.is_full(now)
    }
}

impl Callers {
    /// Takes a token for one more call of `identity`.
    pub(crate) fn take(
        &self,
        now: Timestamp,
        identity: &Identity,
        class: CallClass,
        rate: Rate,
    ) -> Result<(), Refused> {
        let rate = match is_service(identity) {
            true => Rate {
                burst: rate.burst.saturating_mul(SERVICE_FACTOR),
                every: rate.every / SERVICE_FACTOR,
            },
            false => rate,
        };
        let mut callers = self.callers();
        if callers.len() >= CALLERS_MAX && !callers.contains_key(&identity.user) {
            callers.retain(|_, asked| !asked.is_nothing(now));
            if callers.len() >= CALLERS_MAX {
                return Err(slow_down(rate.every));
            }
        }
        let asked = callers.entry(identity.user.clone());
        let asked = asked.or_insert_with(Asked::nothing);
        let bucket = &mut asked.buckets[class as usize];
        bucket.take(now, rate).map_err(slow_down)
    }

    /// Checks that `identity` may ask for an answer of many bytes, after those it got lately.
    pub(crate) fn afford(
        &self,
        now: Timestamp,
        identity: &Identity,
        rate: ByteRate,
    ) -> Result<(), Refused> {
        let callers = self.callers();
        let asked = callers.get(&identity.user);
        let wait = asked.and_then(|it| it.bytes.wait(now, bytes_of(identity, rate)));
        wait.map_or(Ok(()), |wait| Err(slow_down(wait)))
    }

    /// Counts `bytes` that `identity` was sent.
    pub(crate) fn spend(&self, now: Timestamp, identity: &Identity, rate: ByteRate, bytes: u64) {
        if let Some(asked) = self.callers().get_mut(&identity.user) {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            asked.bytes.spend(now, bytes_of(identity, rate), bytes);
        }
    }

    fn callers(&self) -> MutexGuard<'_, HashMap<UserId, Asked>> {
        // A poisoned map is still a map: nothing in here panics half-way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slow_down(retry_after: Duration) -> Refused {
    Refused::new(ErrorCode::RateLimited, "too many requests").retry_after(retry_after)
}

fn is_service(identity: &Identity) -> bool {
    !identity.open && identity.scopes.has(Scope::Act)
}

fn bytes_of(identity: &Identity, rate: ByteRate) -> ByteRate {
    let factor = match is_service(identity) {
        true => SERVICE_FACTOR.into(),
        false => 1,
    };
    ByteRate {
        burst: rate.burst.saturating_mul(factor),
        per_second: rate.per_second.saturating_mul(factor),
    }
}
