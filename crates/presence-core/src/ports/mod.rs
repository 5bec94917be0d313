//! What the machines need of the outside, in their words, with the contract written out.
//!
//! Every adapter passes the same suite: [`presence-embedded`'s `conformance`](https://docs.rs/presence-embedded).

mod hooks;
mod outbox;
mod revocations;
mod sessions;
mod topics;

use std::error::Error;
use std::fmt;
use std::future::Future;

pub use self::hooks::{
    EVENTS_WAITING_MAX, Endpoint, Hooks, Known, Numbered, Queued, Tell, Telling,
};
pub use self::outbox::{Outbox, Queue, Row};
pub use self::revocations::{RevocationList, Revocations};
pub use self::sessions::{Kept, Note, Recalled, Sessions};
pub use self::topics::{Lease, Leases, Notice, Standing, Topics, Written};
use crate::{Profile, Timestamp, UserId};

/// Keeps profiles: what outlives every session and every process.
///
/// # Contract
///
/// - What [`save`](Self::save) has returned `Ok` for is there after a crash, kill -9 included.
/// - A profile replaces one of the same user unless the stored one has a higher `status.revision`; then it is ignored.
///   Of two with the same revision the later `last_seen` stays, so repeating a save changes nothing.
/// - Of two profiles of one user in one slice the later wins as if it had been saved later.
/// - A failed `save` may have been applied in part; repeating it is safe.
/// - [`load`](Self::load) answers in the order it was asked, `None` for a user nobody saved.
/// - It decides nothing: an expired status is stored and loaded as it is.
/// - What [`remove`](Self::remove) has returned `Ok` for is gone, after a crash too. Who has nothing stored is removed already,
///   and what cannot be read is removed as well. After it any profile is taken, as of a user nobody saved.
/// - [`unseen`](Self::unseen) finds users by [`Profile::known_at`]: each once, in any order, and fewer than it may only if there
///   are no more. When a profile was saved is the store's own knowledge, by its own clock; saving the same one again counts.
///   A profile that cannot be read, or whose moment is not known, is not found.
pub trait Profiles: Send + Sync + 'static {
    /// Stores `profiles`.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; see the contract for what may have changed.
    fn save(&self, profiles: &[Profile]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reads the profiles of `users`.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
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

    /// Finds at most `max` users of whom nothing has been known since `before`: for whoever shall not keep them for ever, and
    /// asks again when those are removed.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn unseen(
        &self,
        before: Timestamp,
        max: usize,
    ) -> impl Future<Output = Result<Vec<UserId>, StoreError>> + Send;
}

/// Why a store did not do what it was asked, by what the caller can do about it.
#[derive(Debug)]
pub enum StoreError {
    /// Nothing was wrong with the request: keep it and try again.
    Unavailable(Box<dyn Error + Send + Sync>),
    /// What is stored cannot be understood: retrying will not help.
    Corrupt {
        /// Where it is stored.
        key: String,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// What is behind it, in words, for a log.
    pub fn cause(&self) -> Option<String> {
        self.source().map(ToString::to_string)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Unavailable(_) => f.write_str("the store is away"),
            StoreError::Corrupt { key, .. } => write!(f, "what is stored at {key:?} is corrupt"),
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
