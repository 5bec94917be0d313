//! Webhook events: what the endpoint was told, and the events that wait for delivery.

use std::error::Error;
use std::future::Future;

use super::{Row, StoreError};
use crate::cluster::Subject;
use crate::hooks::{HookEvent, LastNotified};
use crate::{Edit, Timestamp};

/// The number of events that may wait in one partition of the store. Only the events of a single subject may be more. While
/// so many wait, changes stay in the outbox, one row for each subject.
pub const EVENTS_WAITING_MAX: usize = 512;

/// Stores what the endpoint of webhooks was told, and the events that it has not received yet. This is beside the maps
/// of [`Topics`](super::Topics) and the rows of the [`Outbox`](super::Outbox).
///
/// # Contract
///
/// - [`enqueue`](Self::enqueue) is one step: it stores what the endpoint knows of a subject after the events, appends the
///   events, and removes the row that they came from. So exactly one node queues the events of a change, even if other
///   nodes look at it, or die, meanwhile.
/// - Events of one partition of the store are kept in the order in which they were queued, and their numbers grow.
/// - An event waits until it is [removed](Self::remove_delivered). If the store loses a partition, it loses the events that
///   wait there, and what the endpoint was told of its subjects. The endpoint is then told of those subjects again.
/// - Each call answers in the order of its arguments, one outcome for each.
/// - No call takes longer than about a second.
pub trait Hooks: Send + Sync + 'static {
    /// Reads what the endpoint knows of `subjects`.
    fn known(
        &self,
        subjects: &[Subject],
    ) -> impl Future<Output = Vec<Result<Known, StoreError>>> + Send;

    /// Queues the events of each notification, stores what the endpoint knows after them, and acknowledges the row. Each
    /// notification is stored completely or not at all: see [`EnqueueOutcome`].
    fn enqueue(
        &self,
        notifications: &[Notification],
    ) -> impl Future<Output = Vec<Result<EnqueueOutcome, StoreError>>> + Send;

    /// Leaves a row for about `max` subjects in `partition` of which the endpoint knows something, unless they have one, as
    /// if they had changed long ago. So a difference after a loss of data is found. It begins at `cursor`, where 0 is
    /// the beginning, and returns where to go on, or `None` at the end.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; some rows may have been left.
    fn audit(
        &self,
        partition: u16,
        cursor: u64,
        max: usize,
    ) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    /// Reads the first `max` events that wait in each of `partitions`, and how many wait there.
    fn waiting(
        &self,
        partitions: &[u16],
        max: usize,
    ) -> impl Future<Output = Vec<Result<WaitingEvents, StoreError>>> + Send;

    /// Removes delivered events: of each partition those up to the given number. Removing them again has no effect.
    fn remove_delivered(
        &self,
        upto: &[(u16, u64)],
    ) -> impl Future<Output = Vec<Result<(), StoreError>>> + Send;
}

/// What the endpoint knows of a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// What the endpoint was last told of the subject, if anything.
    pub last_notified: Option<LastNotified>,
    /// The revision of what the endpoint knows; 0 if it knows nothing. It is a different one after each [`Notification`] that
    /// sets what the endpoint knows.
    pub revision: u64,
}

/// The events about one subject that are to be queued for the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The row of the change that the events are about. It is acknowledged, unless the subject has changed again.
    pub row: Row,
    /// The [revision](Known::revision) of what the endpoint knew when the events were computed.
    pub after: u64,
    /// Whether the events must not be queued if the subject has changed since the row was read.
    pub is_exact: bool,
    /// The change of what the endpoint knows of the subject.
    pub last_notified: Edit<LastNotified>,
    /// The events for the endpoint, in order.
    pub events: Vec<HookEvent>,
}

/// The outcome of queueing a [`Notification`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnqueueOutcome {
    /// The notification is stored.
    Stored,
    /// Nothing was stored: another node has queued events about this subject, or found that there are none; or the subject
    /// has changed, and the notification had to be exact.
    Overtaken,
    /// Nothing was stored: too many events wait already. See [`EVENTS_WAITING_MAX`].
    Full,
}

/// The events that wait in one partition of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WaitingEvents {
    /// The first events, in the order in which they were queued.
    pub events: Vec<NumberedEvent>,
    /// How many events wait in this partition.
    pub count: usize,
}

/// An event that waits for delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumberedEvent {
    /// The partition of the store that the event waits in.
    pub partition: u16,
    /// The number of the event. It grows within a partition, so also from one event of a user or a channel to the next. It
    /// is the store's time in microseconds when the event was queued, or a little above the number before.
    pub number: u64,
    /// The event to deliver.
    pub event: HookEvent,
}

impl NumberedEvent {
    /// When the event was queued, by the store's clock.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.number / 1000)
    }
}

/// Delivers webhook events to an endpoint.
///
/// # Contract
///
/// - `Ok` means that the endpoint has accepted all of `events`. In every other case they are delivered again, with
///   the same numbers.
/// - A call always ends. It may take ten seconds for each of several receivers, of which there are at most as many as
///   events: they are called one after the other, up to the first failure.
pub trait Endpoint: Send + Sync + 'static {
    /// Delivers `events` in this order. Events of one user or channel are in the order in which they were queued. There
    /// is at least one event.
    ///
    /// # Errors
    ///
    /// The reason why the endpoint has not accepted all of them, in words for a log.
    fn deliver(
        &self,
        now: Timestamp,
        events: &[NumberedEvent],
    ) -> impl Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send;
}
