//! What the machines need of the outside, in their words, with the contract written out.
//!
//! Every adapter passes the same suite: [`presence-embedded`'s `conformance`](https://docs.rs/presence-embedded).

mod topics;

use std::error::Error;
use std::fmt;
use std::future::Future;

pub use self::topics::{Lease, Leases, Notice, Standing, Topics, Written};
use crate::{Profile, UserId};

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
