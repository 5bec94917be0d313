//! Ports: what the state machines need of the outside, each with its contract.
//!
//! Every adapter passes the same suite: `conformance` of `presence-testkit`.

mod hooks;
mod outbox;
mod revocations;
mod sessions;
mod topics;

use std::error::Error;
use std::fmt;
use std::future::Future;

pub use self::hooks::{
    EVENTS_WAITING_MAX, Endpoint, EnqueueOutcome, Hooks, Known, Notification, NumberedEvent,
    WaitingEvents,
};
pub use self::outbox::{LocalOutbox, Outbox, Queue, Row};
pub use self::revocations::{RevocationList, Revocations};
pub use self::sessions::{Recalled, SessionChange, Sessions, StoredSession};
pub use self::topics::{Lease, Leases, Notice, Orphan, Reaped, Renewal, Topics, Written};
use crate::{Profile, Timestamp, UserId};

/// Stores profiles: the data of users that outlives every session and every process.
///
/// # Contract
///
/// - A profile for which [`save`](Self::save) has returned `Ok` is there after a crash, kill -9 included.
/// - A profile replaces one of the same user, unless the stored one has a higher `status.revision`; then it is
///   ignored. Of two profiles with the same revision the one with the later `last_seen` stays, so repeating a save
///   has no effect.
/// - If a slice has two profiles of one user, the later one wins as if it had been saved later.
/// - A failed `save` may have been applied in part; repeating it is safe.
/// - [`load`](Self::load) answers in the order of its arguments, with `None` for a user without a stored profile.
/// - The store decides nothing: an expired status is stored and loaded as it is.
/// - A profile for which [`remove`](Self::remove) has returned `Ok` is gone, after a crash too. Removing a user
///   without a stored profile succeeds, and so does removing a profile that cannot be read. After it, any profile
///   of the user is accepted.
/// - [`unseen`](Self::unseen) finds users by [`Profile::known_at`]: each once, in any order, and fewer than `max` only
///   if there are no more. The store itself knows when a profile was saved, by its own clock; saving the same profile
///   again counts. A profile that cannot be read, or whose time is not known, is not found.
pub trait Profiles: Send + Sync + 'static {
    /// Saves `profiles`, in this order.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; see the contract for what may have changed.
    fn save(&self, profiles: &[Profile]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reads the profiles of `users`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] says whether the call may succeed later.
    fn load(
        &self,
        users: &[UserId],
    ) -> impl Future<Output = Result<Vec<Option<Profile>>, StoreError>> + Send;

    /// Removes what is stored of `users`.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]. Some of them may have been removed; repeating it is safe.
    fn remove(&self, users: &[UserId]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Finds at most `max` users of whom nothing has been known since `before`. The caller removes them,
    /// and asks again.
    ///
    /// # Errors
    ///
    /// [`StoreError`] says whether the call may succeed later.
    fn unseen(
        &self,
        before: Timestamp,
        max: usize,
    ) -> impl Future<Output = Result<Vec<UserId>, StoreError>> + Send;
}

/// Why a store did not do what it was asked, sorted by what the caller can do about it.
#[derive(Debug)]
pub enum StoreError {
    /// The request may succeed later: keep it and try again.
    Unavailable(Box<dyn Error + Send + Sync>),
    /// The stored data cannot be understood, so there is no use in trying again.
    Corrupt {
        /// The key or file where the data is stored.
        key: String,
        /// The error that occurred when it was read.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// The cause of the error, in words for a log.
    pub fn cause(&self) -> Option<String> {
        self.source().map(ToString::to_string)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Unavailable(_) => f.write_str("the store is not available"),
            StoreError::Corrupt { key, .. } => write!(f, "the data at {key:?} is corrupt"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            StoreError::Unavailable(source) | StoreError::Corrupt { source, .. } => {
                Some(source.as_ref())
            }
        }
    }
}
