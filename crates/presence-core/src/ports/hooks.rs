//! What is told to the outside: kept in the store that nodes share until it was, and the way out.

use std::error::Error;
use std::future::Future;

use super::{Row, StoreError};
use crate::cluster::Subject;
use crate::hooks::{HookEvent, Told};
use crate::{Edit, Timestamp};

/// How many events wait in one part of the store; more only where those of one subject are more. Beyond that, what is to be
/// told stays a row of the outbox, one for each subject.
pub const EVENTS_WAITING_MAX: usize = 512;

/// What the outside was told, and the events that it is yet to hear: beside the maps of [`Topics`](super::Topics) and the
/// rows of the [`Outbox`](super::Outbox).
///
/// # Contract
///
/// - What the outside knows of a subject, the events that make it know, and the end of the row that they came of are one
///   step: [`tell`](Self::tell). So each change is told by one node, whoever else looks at it or dies meanwhile.
/// - Events of one part of the store wait in the order in which they were told, and their numbers grow.
/// - An event that waits stays until it is [`delivered`](Self::delivered). It is lost where the part of the store is lost
///   that it is in, and then so is what the outside was told: that is told again.
/// - Each call answers in the order of what it was asked, one outcome for each.
/// - No call takes longer than about a second.
pub trait Hooks: Send + Sync + 'static {
    /// What the outside knows of `subjects`.
    fn known(
        &self,
        subjects: &[Subject],
    ) -> impl Future<Output = Vec<Result<Known, StoreError>>> + Send;

    /// Tells: appends the events, notes what the outside knows then, and settles the row. Or does nothing of that, and says
    /// why.
    fn tell(
        &self,
        tellings: &[Telling],
    ) -> impl Future<Output = Vec<Result<Tell, StoreError>>> + Send;

    /// Leaves a row for about `max` of the subjects in `shard` that the outside knows of, from `cursor` on, as if they had
    /// changed long ago, unless they have one. Says where to go on; 0 is the beginning, and `None` the end. So what a loss of
    /// data has made wrong is found.
    ///
    /// # Errors
    ///
    /// See [`StoreError`]; some may have been left.
    fn doubt(
        &self,
        shard: u16,
        cursor: u64,
        max: usize,
    ) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    /// The first `max` of the events that wait in each of `shards`, and how many do.
    fn waiting(
        &self,
        shards: &[u16],
        max: usize,
    ) -> impl Future<Output = Vec<Result<Queued, StoreError>>> + Send;

    /// Takes events away: of each shard those up to a number. Taking them away again changes nothing.
    fn delivered(
        &self,
        upto: &[(u16, u64)],
    ) -> impl Future<Output = Vec<Result<(), StoreError>>> + Send;
}

/// What the outside knows of a subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// That.
    pub told: Option<Told>,
    /// Which telling that was; 0 where nothing is known.
    pub revision: u64,
}

/// Something to be told of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// What had changed. It is settled, unless it has changed again.
    pub row: Row,
    /// Which revision of what the outside knows this follows.
    pub after: u64,
    /// It is not to be told if the subject has changed since the row was read.
    pub is_exact: bool,
    /// What becomes of what the outside knows.
    pub told: Edit<Told>,
    /// How it gets to know.
    pub events: Vec<HookEvent>,
}

/// What became of a telling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tell {
    /// It is done.
    Done,
    /// Another node has told of this subject, or has found nothing to tell; or it has changed, and had to be exact.
    Overtaken,
    /// Too many events wait: see [`EVENTS_WAITING_MAX`].
    Full,
}

/// The events that wait in one part of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// The first of them.
    pub events: Vec<Numbered>,
    /// How many there are.
    pub count: usize,
}

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The part of the store that it is of.
    pub shard: u16,
    /// Grows within a part, so also from one event of a user or a channel to the next: the store's time in microseconds when
    /// it was told, or a bit above the one before.
    pub number: u64,
    /// It.
    pub event: HookEvent,
}

impl Numbered {
    /// When it was told, by the store's clock.
    pub fn at(&self) -> Timestamp {
        Timestamp::from_millis(self.number / 1000)
    }
}

/// Where the outside is told.
///
/// # Contract
///
/// - `Ok` says that the outside has taken all of `events`. Whatever else happens, they are delivered again, with the same
///   numbers.
/// - A call ends. It may take ten seconds for each of several receivers, of whom there are never more than events: one after
///   the other is told, up to the first that fails.
pub trait Endpoint: Send + Sync + 'static {
    /// Delivers `events`, in this order; those of one user or channel are in the order in which they were told. There is at
    /// least one.
    ///
    /// # Errors
    ///
    /// Says for people why not.
    fn deliver(
        &self,
        now: Timestamp,
        events: &[Numbered],
    ) -> impl Future<Output = Result<(), Box<dyn Error + Send + Sync>>> + Send;
}
