//! The store that nodes share.

use std::future::Future;

use super::StoreError;
use crate::cluster::{Fence, Field, Incarnation, Murmur, Patch, Snapshot, Subject, Write};
use crate::{Clock, Timestamp};
use std::time::Duration;

/// The blackboard of a cluster: maps that nodes write and follow, and the leases by which they count as alive.
///
/// # Contract
///
/// - A write is done in one step per subject, as [`TopicMap::apply`](crate::cluster::TopicMap::apply) says. Writes of
///   different subjects have no order among each other.
/// - Refused operations are told in the order of the ops. Entries of a snapshot and changes of a patch have no order.
/// - A removal leaves its token behind as a fence, for [`FENCE_TTL`](crate::cluster::FENCE_TTL): writes with a smaller token
///   are refused, however late they arrive. Fences count in no snapshot, version or emptiness, and are gone soon after.
/// - A write after its deadline ([`Write::until`], by the store's clock) does nothing, and is an error.
/// - An acknowledged write may be lost when a server dies. A failed one may have been done. Repeating one is safe.
/// - Whoever follows a subject gets a [`Notice`] of each patch and murmur from before [`follow`](Self::follow) returns until
///   [`unfollow`](Self::unfollow), in order and in time as a rule; any of them may be lost, late, doubled or out of order.
///   Its own are among them.
/// - Versions of a map grow, also when it was empty in between. After a loss of data the epoch is new, or the version is one
///   that was never told, or the map is older than it was: it is never the same version with another content.
/// - Each call takes a slice and answers in its order, one outcome for each: one server that is away fails what is there, and
///   delays nothing else.
/// - No call takes longer than about a second.
pub trait Topics: Send + Sync + 'static {
    /// Does `writes`, at most one per subject.
    fn write(
        &self,
        writes: &[Write],
    ) -> impl Future<Output = Vec<Result<Written, StoreError>>> + Send;

    /// Reads the maps of `subjects`.
    fn read(
        &self,
        subjects: &[Subject],
    ) -> impl Future<Output = Vec<Result<Snapshot, StoreError>>> + Send;

    /// Begins to follow `subjects`. Following one that is followed changes nothing, and takes as long.
    fn follow(
        &self,
        subjects: &[Subject],
    ) -> impl Future<Output = Vec<Result<(), StoreError>>> + Send;

    /// Follows `subjects` no longer.
    fn unfollow(&self, subjects: &[Subject]) -> impl Future<Output = ()> + Send;

    /// Tells murmurs to whoever follows their subjects. What cannot be told now is dropped.
    fn murmur(&self, murmurs: &[(Subject, Vec<Murmur>)]) -> impl Future<Output = ()> + Send;

    /// Looks whether what is followed is still as it was told, without reading it: a [`Notice::At`] comes for every followed
    /// subject that has changed of late, a [`Notice::Forgot`] for each part of the store that has lost data since it was
    /// looked at before, followed or not. To be called every few seconds; costs a few small commands, whatever is followed.
    ///
    /// # Errors
    ///
    /// Part of the store could not be asked.
    fn compare(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The next thing that was heard. Cancelling it loses nothing.
    fn next(&self) -> impl Future<Output = Notice> + Send;

    /// Sets the end of the lease of `me` to `ttl` from now, by the store's clock, and reads all leases.
    /// One that has lapsed and was not condemned goes on as if it had not. `settled_until` is what the lease says of
    /// [its holder](Lease::settled_until).
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; the lease may have been prolonged.
    fn renew(
        &self,
        me: Incarnation,
        name: &str,
        ttl: Duration,
        settled_until: Timestamp,
    ) -> impl Future<Output = Result<Leases, StoreError>> + Send;

    /// Declares `who` dead, unless it holds a lease that runs. For ever: [`renew`](Self::renew) says so to it.
    /// Says whether it is dead now.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn condemn(&self, who: Incarnation) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Removes some of the entries that sessions of `who` have in any map, with [`Reason::NodeLost`](crate::Reason), and says
    /// whether there may be more. Any number of nodes may do it at the same time, and any of them go on where one stopped.
    ///
    /// # Errors
    ///
    /// Part of the store is away; what is on the others was done.
    fn reap(&self, who: Incarnation) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Forgets a lease, dead or not, and that it ever was. Whoever slept longer than its lease is remembered goes unnoticed,
    /// so this is done late, and only after a last [`reap`](Self::reap).
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn forget(&self, who: Incarnation) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The secret that all nodes of this store share: `proposal`, unless there is one already. What it signs is good on all
    /// of them.
    ///
    /// # Errors
    ///
    /// See [`StoreError`].
    fn secret(
        &self,
        proposal: [u8; 32],
    ) -> impl Future<Output = Result<[u8; 32], StoreError>> + Send;
}

/// A write was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The version that it made; `None` where it changed nothing.
    pub version: Option<u64>,
    /// The operations that were refused, each with what stands in its way.
    pub refused: Vec<(Field, Fence)>,
    /// What was to be removed, and of which neither an entry nor a fence was there.
    pub absent: Vec<Field>,
    /// In the map of a user: the revision of the profile that is there now.
    pub profile: Option<u64>,
}

/// Something that was heard of the store.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A map has changed.
    Patched(Subject, Patch),
    /// Somebody told those who follow a subject something.
    Murmured(Subject, Vec<Murmur>),
    /// Which version a map is.
    At(Subject, Option<Clock>),
    /// This part of the store may have lost data, or told something that was not heard: everything there is to be compared.
    Forgot(u16),
}

/// All leases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    /// The store's time.
    pub now: Timestamp,
    /// What became of one's own.
    pub mine: Standing,
    /// Everyone's, one's own included.
    pub nodes: Vec<Lease>,
}

/// What became of one's own lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was there, and goes on.
    Renewed,
    /// The store did not know it: it is new, or the store has lost data.
    New,
    /// Somebody has declared this incarnation dead: all it wrote is void.
    Condemned,
}

/// A node's promise to be alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Whose.
    pub who: Incarnation,
    /// The node's name, for people.
    pub name: Box<str>,
    /// Until when, by the store's clock. Of a dead one: when it was condemned.
    pub until: Timestamp,
    /// Whether it was declared dead.
    pub is_dead: bool,
    /// Whatever its holder did until then, by the store's clock, is in the store. 0 where it does not say.
    pub settled_until: Timestamp,
}
