//! How often the API may be asked: as often as a socket may, and a service a good deal more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use presence_client::wire::ErrorCode;
use presence_core::{Rate, Timestamp, TokenBucket, UserId};

use crate::identity::{Identity, Scope};
use crate::request::Refused;

/// Callers of whom it is remembered how much they asked of late. One more is told to wait.
const CALLERS_MAX: usize = 10_000;
/// How much more often a service may ask, which acts for many.
const SERVICE_FACTOR: u32 = 100;

/// What counts together.
#[derive(Clone, Copy, Debug)]
pub(super) enum Class {
    Query,
    Join,
    Status,
    Broadcast,
}

/// How much each caller asked of late.
#[derive(Debug, Default)]
pub(crate) struct Callers(Mutex<HashMap<UserId, [TokenBucket; 4]>>);

impl Callers {
    /// Lets `identity` ask once more.
    pub(super) fn take(
        &self,
        now: Timestamp,
        identity: &Identity,
        class: Class,
        rate: Rate,
    ) -> Result<(), Refused> {
        let is_service = !identity.open && identity.scopes.has(Scope::Act);
        let rate = match is_service {
            true => Rate {
                burst: rate.burst.saturating_mul(SERVICE_FACTOR),
                every: rate.every / SERVICE_FACTOR,
            },
            false => rate,
        };
        let slow_down = |retry_after| {
            Refused::new(ErrorCode::RateLimited, "too many requests").retry_after(retry_after)
        };
        // A poisoned map is still a map: nothing in here panics half-way.
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.len() >= CALLERS_MAX && !callers.contains_key(&identity.user) {
            callers.retain(|_, buckets| buckets.iter().any(|it| !it.is_full(now)));
            if callers.len() >= CALLERS_MAX {
                return Err(slow_down(rate.every));
            }
        }
        let buckets = callers.entry(identity.user.clone());
        let buckets = buckets.or_insert([TokenBucket::full(); 4]);
        buckets[class as usize].take(now, rate).map_err(slow_down)
    }
}
