//! The list of users whose older tokens are refused, where every node sees it.

use std::future::Future;

use super::StoreError;
use crate::Timestamp;
use crate::revocation::{Revocation, Revoke};

/// Keeps the list of users whose older tokens are refused, for every node and beyond the end of each.
///
/// # Contract
///
/// - There is one revocation for each user. Of two the later `at` stays, and the later `until`; so repeating one, or doing
///   two in another order, comes to the same.
/// - There are at most [`REVOKED_MAX`](crate::revocation::REVOKED_MAX) users. Where one more would be too many, those that
///   have ended by `now` are forgotten; if none has, it is [`Revoke::Full`], and nothing has changed for it. Whoever is in the
///   list already is never too many.
/// - Those of one slice are done in its order, each as a whole, and one that is full keeps none of the others out.
/// - What [`revoke`](Self::revoke) has returned `Ok` for is there for every node that asks from then on, and after a crash of
///   whoever revoked; it may be lost when a server dies, and then the list has another version.
/// - The version changes with each change of the list, and is never one that an earlier list had with something else in it.
///   Only an empty list has the version 0: one in which nothing was ever revoked, or of which all was lost.
/// - A list may have revocations that have ended. It decides nothing else: not whose token is refused.
/// - A failed `revoke` may have been done; repeating it is safe. No call takes longer than about a second, or a commit.
pub trait Revocations: Send + Sync + 'static {
    /// Adds `revocations` to the list, and says for each what became of it.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; see the contract for what may have changed.
    fn revoke(
        &self,
        now: Timestamp,
        revocations: &[Revocation],
    ) -> impl Future<Output = Result<Vec<Revoke>, StoreError>> + Send;

    /// The whole list; `None` if it still has the version `known`, which is not 0.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn revoked(
        &self,
        known: u64,
    ) -> impl Future<Output = Result<Option<RevocationList>, StoreError>> + Send;
}

/// The list as it was at some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationList {
    /// Which one.
    pub version: u64,
    /// One for each user, in any order.
    pub revocations: Vec<Revocation>,
}
