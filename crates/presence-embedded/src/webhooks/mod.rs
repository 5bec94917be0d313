//! The webhook state of a node that is alone: what the endpoint was told, and the events that wait for delivery.

mod file;
mod record;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use presence_core::Edit;
use presence_core::cluster::{PARTITIONS, Subject};
use presence_core::ports::{
    EnqueueOutcome, Hooks, Known, LocalOutbox, Notification, Outbox, Queue, Row, StoreError,
    WaitingEvents,
};

use self::file::{Batch, File};
use crate::file::OpenError;
use crate::time::StoreTime;
use crate::topics::hooks::HookPartition;

/// The number of rows that one partition keeps. Beyond it, the row of a further subject is not kept: the endpoint is told
/// of that subject when it changes again, or, if the endpoint knows it, when it is audited.
pub const ROWS_PER_PARTITION_MAX: usize = 4096;

/// The version of a row that opening or an audit has left, and no change. It is lower than that of any change.
const OLDEST: u64 = 1;

/// Keeps what the endpoint of webhooks was told and the events that it has not received yet, for a node that is alone. It
/// implements the ports [`Hooks`], [`Outbox`] (for [`Queue::Webhooks`] only) and [`LocalOutbox`].
///
/// Everything is in memory. With a file, a notification is acknowledged when it is on the disk, and so is the end of events
/// that were delivered. Rows are in memory only; an opened store has a row for each subject of which the endpoint knows
/// something, so that what has changed meanwhile is found.
///
/// After an error of the disk, such as a full one, calls fail until the file can be read and written again. Then what is
/// in the file counts.
///
/// ```
/// use presence_core::UserId;
/// use presence_core::cluster::Subject;
/// use presence_core::ports::{Hooks, LocalOutbox, Outbox, Queue, Row};
/// use presence_embedded::WebhookStore;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # let directory = tempfile::tempdir()?;
/// # let directory = directory.path();
/// let (store, found) = WebhookStore::open(directory.join("webhooks.redb"))?;
/// assert_eq!(found.waiting, 0);
/// let subject = Subject::User(UserId::new("ann")?);
/// let partition = subject.partition();
/// store.leave(&Row { subject, version: 7 });
/// let due = store.due(Queue::Webhooks, &[partition], std::time::Duration::ZERO, 10).await;
/// assert_eq!(due[0].as_ref().unwrap().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WebhookStore {
    inner: Arc<Inner>,
}

/// What was found in a file that was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhooksFound {
    /// How many events wait for delivery.
    pub waiting: usize,
    /// Of how many users and channels the endpoint knows something.
    pub known: usize,
    /// How many records could not be understood. They are left out.
    pub garbled: usize,
    /// Where a damaged file was moved to. The store began with nothing then.
    pub set_aside: Option<PathBuf>,
}

#[derive(Debug)]
struct Inner {
    time: StoreTime,
    /// The rows of each partition. Those who leave them do not wait for the disk.
    rows: Box<[Mutex<Rows>]>,
    /// What the endpoint was told and what waits. It is locked while the file is written, so if there is a file, only
    /// threads that may block lock it.
    partitions: Mutex<Partitions>,
    backing: Backing,
}

type Rows = BTreeMap<Subject, u64>;
type Partitions = Vec<HookPartition>;

/// Where the state is kept beside the memory.
#[derive(Debug)]
enum Backing {
    /// Nowhere: it is lost with the process.
    Memory,
    /// In a file, which the next process reads.
    File {
        file: File,
        /// Whether writing to the file has failed, so that its content is not known until it is read again. This is
        /// used only while the partitions are locked.
        is_stale: AtomicBool,
    },
}

impl Backing {
    fn file(&self) -> Option<&File> {
        match self {
            Backing::Memory => None,
            Backing::File { file, .. } => Some(file),
        }
    }

    /// Notes that the file, if there is one, has to be read before it is used again.
    fn mark_stale(&self) {
        if let Backing::File { is_stale, .. } = self {
            is_stale.store(true, Relaxed);
        }
    }
}

impl WebhookStore {
    /// A store without a file: what waits is lost with the process.
    pub fn in_memory() -> Self {
        let partitions = (0..PARTITIONS).map(|_| HookPartition::default());
        WebhookStore::new(partitions.collect(), Backing::Memory)
    }

    /// Opens the file at `path`. The file and the directories above it are created if they are not there. A file that is
    /// damaged is renamed to end in `.damaged`, and a new one is begun.
    ///
    /// Opening reads the whole file and blocks the thread.
    ///
    /// # Errors
    ///
    /// The error says what to do about it. Nothing has changed.
    pub fn open(path: impl AsRef<Path>) -> Result<(Self, WebhooksFound), OpenError> {
        let path = path.as_ref();
        let mut found = WebhooksFound::default();
        let opened = match File::open(path) {
            Err(OpenError::Corrupt { .. }) => {
                let mut aside = path.as_os_str().to_owned();
                aside.push(".damaged");
                std::fs::rename(path, &aside).map_err(|source| OpenError::io(path, source))?;
                found.set_aside = Some(aside.into());
                File::open(path)?
            }
            opened => opened?,
        };
        let (file, loaded) = opened;
        found.garbled = loaded.garbled;
        found.waiting = loaded.partitions.iter().map(HookPartition::count).sum();
        found.known = loaded
            .partitions
            .iter()
            .flat_map(|it| it.subjects())
            .count();
        let backing = Backing::File {
            file,
            is_stale: AtomicBool::new(false),
        };
        Ok((WebhookStore::new(loaded.partitions, backing), found))
    }

    fn new(partitions: Partitions, backing: Backing) -> Self {
        let rows = partitions.iter().map(|it| {
            let subjects = it.subjects().take(ROWS_PER_PARTITION_MAX);
            let rows: Rows = subjects.map(|it| (it.clone(), OLDEST)).collect();
            Mutex::new(rows)
        });
        let inner = Inner {
            time: StoreTime::new(),
            rows: rows.collect(),
            partitions: Mutex::new(partitions),
            backing,
        };
        WebhookStore {
            inner: Arc::new(inner),
        }
    }

    /// Whether the file is still in its place. Without a file nothing can be missing.
    pub fn is_there(&self) -> bool {
        self.inner.backing.file().is_none_or(File::is_there)
    }

    /// Does `work` where it may block, if there is a file.
    async fn with<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner, &mut Partitions) -> Result<R, StoreError> + Send + 'static,
    ) -> Result<R, StoreError> {
        if self.inner.backing.file().is_none() {
            return self.inner.with(work);
        }
        let inner = Arc::clone(&self.inner);
        let working = tokio::task::spawn_blocking(move || inner.with(work));
        // The task fails if it panics, or if the runtime is being shut down.
        let unavailable = |error| Err(StoreError::Unavailable(Box::new(error)));
        working.await.unwrap_or_else(unavailable)
    }
}

impl Inner {
    fn with<R>(
        &self,
        work: impl FnOnce(&Inner, &mut Partitions) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let mut partitions = self.partitions.lock().unwrap_or_else(|poisoned| {
            // Work that panicked may have changed the memory, and not the file.
            self.partitions.clear_poison();
            self.backing.mark_stale();
            poisoned.into_inner()
        });
        if let Backing::File { file, is_stale } = &self.backing
            && is_stale.load(Relaxed)
        {
            *partitions = file.read()?.partitions;
            is_stale.store(false, Relaxed);
        }
        work(self, &mut partitions)
    }

    /// Writes `batch` to the file, if there is one. If that fails, the file has to be read again.
    fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        let written = match self.backing.file() {
            Some(file) if !batch.is_empty() => file.write(batch),
            _ => Ok(()),
        };
        if written.is_err() {
            self.backing.mark_stale();
        }
        written
    }

    fn enqueue(
        &self,
        partitions: &mut Partitions,
        notifications: &[Notification],
    ) -> Result<Vec<EnqueueOutcome>, StoreError> {
        let now_us = self.time.now_us();
        let (mut outcomes, mut batch) = (Vec::with_capacity(notifications.len()), Batch::default());
        let mut acknowledged = Vec::new();
        for notification in notifications {
            let (row, subject) = (&notification.row, &notification.row.subject);
            let number = subject.partition();
            let partition = &mut partitions[usize::from(number)];
            let marked = self.rows_of(number).get(subject).copied();
            let before = partition.last();
            let outcome = partition.enqueue(now_us, marked, notification);
            outcomes.push(outcome);
            if outcome != EnqueueOutcome::Stored {
                continue;
            }
            acknowledged.extend(self.acknowledge(row).then_some(row));
            let is_kept = matches!(notification.last_notified, Edit::Keep);
            if !is_kept || !notification.events.is_empty() {
                batch.tells(subject, &partition.known(subject));
                batch.appends(number, partition.after(before), partition.last());
            }
        }
        let written = self.write(&batch);
        if written.is_err() {
            acknowledged.into_iter().for_each(|it| self.leave(it));
        }
        written.map(|()| outcomes)
    }

    fn remove_delivered(
        &self,
        partitions: &mut Partitions,
        upto: &[(u16, u64)],
    ) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for &(number, last) in upto {
            let partition = &mut partitions[usize::from(number % PARTITIONS)];
            let before = partition.count();
            partition.remove_delivered(last);
            if partition.count() < before {
                batch.delivered.push((number % PARTITIONS, last));
            }
        }
        self.write(&batch)
    }

    fn audit(&self, partitions: &Partitions, number: u16, cursor: u64, max: usize) -> Option<u64> {
        let partition = &partitions[usize::from(number % PARTITIONS)];
        let (some, next) = partition.some(cursor, max);
        let mut rows = self.rows_of(number);
        for subject in some {
            leave(&mut rows, &subject, OLDEST);
        }
        next
    }

    fn leave(&self, row: &Row) {
        let mut rows = self.rows_of(row.subject.partition());
        leave(&mut rows, &row.subject, row.version);
    }

    /// Removes a row unless there is a newer one. Returns whether it was there.
    fn acknowledge(&self, row: &Row) -> bool {
        let mut rows = self.rows_of(row.subject.partition());
        let is_it = rows.get(&row.subject).is_some_and(|it| *it <= row.version);
        is_it && rows.remove(&row.subject).is_some()
    }

    fn due(&self, number: u16, newest: u64, max: usize) -> Vec<Row> {
        let rows = self.rows_of(number);
        let due = rows.iter().filter(|(_, version)| **version <= newest);
        let mut due: Vec<Row> = due
            .map(|(subject, version)| Row {
                subject: subject.clone(),
                version: *version,
            })
            .collect();
        drop(rows);
        due.sort_unstable_by_key(|it| it.version);
        due.truncate(max);
        due
    }

    fn rows_of(&self, partition: u16) -> MutexGuard<'_, Rows> {
        let rows = &self.rows[usize::from(partition % PARTITIONS)];
        // Nothing is ever half done there.
        rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leaves a row, unless there is a newer one or no room for another.
fn leave(rows: &mut Rows, subject: &Subject, version: u64) {
    let is_full = rows.len() >= ROWS_PER_PARTITION_MAX;
    match rows.get_mut(subject) {
        Some(known) => *known = version.max(*known),
        None if is_full => {}
        None => drop(rows.insert(subject.clone(), version)),
    }
}

impl LocalOutbox for WebhookStore {
    fn leave(&self, row: &Row) {
        self.inner.leave(row);
    }
}

impl Outbox for WebhookStore {
    async fn due(
        &self,
        queue: Queue,
        partitions: &[u16],
        age: Duration,
        max: usize,
    ) -> Vec<Result<Vec<Row>, StoreError>> {
        let age_us = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        let newest = match age_us {
            0 => u64::MAX,
            age_us => self.inner.time.now_us().saturating_sub(age_us),
        };
        let due = partitions.iter().map(|&partition| match queue {
            Queue::Webhooks => Ok(self.inner.due(partition, newest, max)),
            Queue::Profiles => Ok(Vec::new()),
        });
        due.collect()
    }

    async fn acknowledge(&self, queue: Queue, rows: &[Row]) -> Result<(), StoreError> {
        if queue == Queue::Webhooks {
            rows.iter().for_each(|it| _ = self.inner.acknowledge(it));
        }
        Ok(())
    }
}

impl Hooks for WebhookStore {
    async fn known(&self, subjects: &[Subject]) -> Vec<Result<Known, StoreError>> {
        let asked = subjects.to_vec();
        let known = self.with(move |_, partitions| {
            let known = asked.iter().map(|subject| {
                let partition = usize::from(subject.partition());
                partitions[partition].known(subject)
            });
            Ok(known.collect())
        });
        each(known.await, subjects.len())
    }

    async fn enqueue(
        &self,
        notifications: &[Notification],
    ) -> Vec<Result<EnqueueOutcome, StoreError>> {
        let asked = notifications.to_vec();
        let outcomes = self.with(move |inner, partitions| inner.enqueue(partitions, &asked));
        each(outcomes.await, notifications.len())
    }

    async fn audit(
        &self,
        partition: u16,
        cursor: u64,
        max: usize,
    ) -> Result<Option<u64>, StoreError> {
        self.with(move |inner, partitions| Ok(inner.audit(partitions, partition, cursor, max)))
            .await
    }

    async fn waiting(
        &self,
        partitions: &[u16],
        max: usize,
    ) -> Vec<Result<WaitingEvents, StoreError>> {
        let asked = partitions.to_vec();
        let waiting = self.with(move |_, partitions| {
            let waiting = asked.iter().map(|&number| {
                let partition = usize::from(number % PARTITIONS);
                partitions[partition].waiting(number, max)
            });
            Ok(waiting.collect())
        });
        each(waiting.await, partitions.len())
    }

    async fn remove_delivered(&self, upto: &[(u16, u64)]) -> Vec<Result<(), StoreError>> {
        let asked = upto.to_vec();
        let delivered = self.with(move |inner, partitions| {
            inner.remove_delivered(partitions, &asked)?;
            Ok(vec![(); asked.len()])
        });
        each(delivered.await, upto.len())
    }
}

/// One outcome for each of what was asked.
fn each<R>(outcomes: Result<Vec<R>, StoreError>, asked: usize) -> Vec<Result<R, StoreError>> {
    match outcomes {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(error) => {
            let error: Arc<StoreError> = Arc::new(error);
            let failed = || Err(StoreError::Unavailable(Box::new(error.clone())));
            std::iter::repeat_with(failed).take(asked).collect()
        }
    }
}
