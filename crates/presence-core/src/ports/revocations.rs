//! The list of revoked users, shared by all nodes.

use std::future::Future;

use super::StoreError;
use crate::Timestamp;
use crate::revocation::{Revocation, Revoke};

/// Stores the list of users whose older tokens are refused. All nodes share it, and it outlives each of them.
///
/// # Contract
///
/// - There is one revocation for each user. Of two, the later `at` and the later `until` stay. So repeating a
///   revocation has no effect, and the order of two does not matter.
/// - The list has at most [`REVOKED_MAX`](crate::revocation::REVOKED_MAX) users. Where a further one has no room, the
///   revocations that have ended by `now` are removed. If none has ended, the outcome is [`Revoke::Full`], and the list
///   is unchanged. A user who is in the list already always has room.
/// - The revocations of one slice are applied in order, each as a whole. One that has no room does not stop the others.
/// - A revocation for which [`revoke`](Self::revoke) has returned `Ok` is seen by every node that asks from
///   then on, also after a crash of the node that revoked. It may be lost when a server dies, and then the list
///   has another version.
/// - The version changes with each change of the list. It is never one that the list had before with another content.
///   Only an empty list has the version 0: one in which nothing was ever revoked, or of which everything was lost.
/// - A list may have revocations that have ended. The store does not decide whose token is refused.
/// - A failed `revoke` may have been applied; repeating it is safe. No call takes longer than about a second,
///   or a commit.
pub trait Revocations: Send + Sync + 'static {
    /// Adds `revocations` to the list. Returns the outcome for each.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; see the contract for what may have changed.
    fn revoke(
        &self,
        now: Timestamp,
        revocations: &[Revocation],
    ) -> impl Future<Output = Result<Vec<Revoke>, StoreError>> + Send;

    /// Reads the whole list. Returns `None` if its version is still `known`, and `known` is not 0.
    ///
    /// # Errors
    ///
    /// [`StoreError`] says whether the call may succeed later.
    fn revoked(
        &self,
        known: u64,
    ) -> impl Future<Output = Result<Option<RevocationList>, StoreError>> + Send;
}

/// The list of revocations at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RevocationList {
    /// The version of the list; 0 if it is empty and always was.
    pub version: u64,
    /// The revocations, one for each user, in any order.
    pub revocations: Vec<Revocation>,
}
