//! The store that several nodes share.

use std::future::Future;

use super::StoreError;
pub use crate::cluster::store::{Lease, Leases, Renewal, Written};
use crate::cluster::{Ephemeral, Incarnation, Patch, SessionRecord, Snapshot, Subject, Write};
use crate::{ChannelId, Profile, SessionId, Timestamp, Topic, TopicVersion, UserId};
use std::time::Duration;

/// The shared store of a cluster: maps that nodes write and follow, and the leases by which nodes count as alive.
///
/// # Contract
///
/// - A write is applied in one step per subject, as [`TopicMap::apply`](crate::cluster::TopicMap::apply) defines.
///   Writes of different subjects have no order among each other.
/// - Refused operations are reported in the order of the ops. Entries of a snapshot and changes of a patch
///   have no order.
/// - A removal leaves its token behind as a fence, for [`FENCE_TTL`](crate::cluster::FENCE_TTL): writes with a smaller
///   token are refused, however late they arrive. Fences do not count for snapshots or versions, or for whether a map
///   is empty. They are deleted soon after that time.
/// - A write after its deadline ([`Write::until`], by the store's clock) does nothing, and is an error.
/// - An acknowledged write may be lost when a server dies. A failed write may have been applied. Repeating a
///   write is safe.
/// - A node that follows a subject gets a [`Notice`] of each patch and each ephemeral message, its own included, from
///   before [`follow`](Self::follow) returns until [`unfollow`](Self::unfollow). As a rule they come in order and in
///   time, but any of them may be lost, late, repeated or out of order.
/// - Versions of a map grow, even if the map was empty in between. After a loss of data the epoch is new,
///   or the version is one that was never announced, or the map is older than it was. One version never
///   stands for two contents.
/// - Each call takes a slice and answers in its order, one outcome for each. A server that is not available fails only
///   what is stored there, and delays nothing else.
/// - No call takes longer than about a second.
pub trait Topics: Send + Sync + 'static {
    /// Applies `writes`, at most one per subject.
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

    /// Stops following `subjects`.
    fn unfollow(&self, subjects: &[Subject]) -> impl Future<Output = ()> + Send;

    /// Sends ephemeral messages to the nodes that follow their subjects. Events that cannot be sent now are dropped.
    fn send_ephemeral(
        &self,
        ephemerals: &[(Subject, Vec<Ephemeral>)],
    ) -> impl Future<Output = ()> + Send;

    /// Checks whether what is followed is still as it was announced, without reading it. A [`Notice::At`] comes for
    /// every followed subject that has changed recently. A [`Notice::Forgot`] comes for each partition of the store,
    /// followed or not, that has lost data since the last check. Call it every few seconds: it costs a few small
    /// commands, however much is followed.
    ///
    /// # Errors
    ///
    /// Part of the store did not answer.
    fn compare(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Waits for the next notice. Cancelling the call loses nothing.
    fn next(&self) -> impl Future<Output = Notice> + Send;

    /// Sets the end of the lease of `me` to `ttl` from now, by the store's clock, and reads all leases. A lease that
    /// has lapsed, but was not declared dead, continues as if it had not lapsed. `stored_up_to` is stored in the
    /// lease: see [`Lease::stored_up_to`].
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; the lease may have been renewed.
    fn renew(
        &self,
        me: Incarnation,
        name: &str,
        ttl: Duration,
        stored_up_to: Timestamp,
    ) -> impl Future<Output = Result<Leases, StoreError>> + Send;

    /// Declares `who` dead for good, unless its lease is still running. [`renew`](Self::renew) reports that to the
    /// node. Returns whether the node is dead now.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; the call may have taken effect, and repeating it is safe.
    fn mark_dead(&self, who: Incarnation) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Removes some of the entries that sessions of `who` have in any map, with
    /// [`Reason::NodeLost`](crate::Reason). Returns which sessions it removed from the maps of their users, and whether
    /// there may be more. Several nodes may do this at the same time, and each can go on where another one stopped;
    /// a session that two of them remove at once may be reported by both.
    ///
    /// # Errors
    ///
    /// Part of the store is not available; in the other partitions entries were removed.
    fn reap(&self, who: Incarnation) -> impl Future<Output = Result<Reaped, StoreError>> + Send;

    /// Deletes a lease, dead or not. After that the store does not recognise the node if it wakes up, so this is done
    /// late, and only after a last [`reap`](Self::reap).
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; the call may have taken effect, and repeating it is safe.
    fn forget(&self, who: Incarnation) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether the node has stopped on purpose, and has said so in the store. It is only for people: the rules treat such a
    /// node as they treat any other that is dead. A store that cannot know says no.
    ///
    /// # Errors
    ///
    /// The store is not available.
    fn has_stopped(
        &self,
        who: Incarnation,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send {
        let _ = who;
        async { Ok(false) }
    }

    /// Returns the secret that all nodes of this store share: the stored one, or `proposal` if there is none. What one
    /// node signs with it is valid on all nodes.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; the call may have taken effect, and repeating it is safe.
    fn secret(
        &self,
        proposal: [u8; 32],
    ) -> impl Future<Output = Result<[u8; 32], StoreError>> + Send;
}

/// What was removed of a dead node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// Whether there may be more to remove.
    pub more: bool,
    /// The sessions that were removed from the maps of their users.
    pub orphans: Vec<Orphan>,
}

/// A session that ended with its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The user of the session.
    pub user: UserId,
    /// The id of the session.
    pub session: SessionId,
    /// The channels in which others were shown the session; none if its user hid.
    pub channels: Vec<ChannelId>,
}

impl Orphan {
    /// The session `session` of `user`, with what the map of the user says of it, and the profile in that map.
    pub fn new(
        user: &UserId,
        session: SessionId,
        record: &SessionRecord,
        profile: Option<&Profile>,
    ) -> Self {
        let is_shown = profile.is_none_or(|it| !it.status.chosen.hides());
        let places = record.places.iter().filter(|_| is_shown);
        let channels = places.filter_map(|stay| match &stay.topic {
            Topic::Channel(channel) => Some(channel.clone()),
            Topic::Workspace(_) => None,
        });
        Orphan {
            user: user.clone(),
            session,
            channels: channels.collect(),
        }
    }
}

/// Something that the store announced.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A map has changed in this way.
    Patched(Subject, Patch),
    /// A node sent ephemeral messages about a subject.
    Ephemeral(Subject, Vec<Ephemeral>),
    /// A map is at this version; `None` if it is empty.
    At(Subject, Option<TopicVersion>),
    /// This partition of the store may have lost data, or announced something that was not received. Everything in it
    /// has to be compared.
    Forgot(u16),
}
