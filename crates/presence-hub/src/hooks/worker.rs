//! The calls of the webhook task to the store and the endpoint: looking for changes, and delivering events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use presence_core::cluster::Subject;
use presence_core::hooks::{HookEvent, LastNotified, Wanted, news};
use presence_core::ports::{
    Endpoint, EnqueueOutcome, Hooks, Known, Notification, NumberedEvent, Outbox, Queue, Row,
    StoreError,
};
use presence_core::{Edit, Timestamp};
use tokio::time::Instant;

use super::Source;
use crate::clock::WallClock;

/// The number of rows of one partition of the store that are looked at at once; the others come next.
const ROWS_MAX: usize = 64;
/// The number of maps that are read at once, at most. It is halved when reading them takes too long.
const MAPS_MAX: usize = 64;
/// The age after which what was read is not told any more: another node may have told something newer.
const STALE_AFTER: Duration = Duration::from_secs(1);
/// The number of events in one delivery.
const EVENTS_MAX: usize = 128;

/// The number of rows that are remembered because their maps cannot be understood. Further rows of that kind may delay
/// the rows behind them.
const STUCK_MAX: usize = 1024;
/// The time after which rows that could not be understood are looked at again.
const STUCK_FOR: Duration = Duration::from_secs(60);

/// What looking and delivering have in common.
pub(super) struct DispatchWorker<P, S, E> {
    pub(super) source: P,
    pub(super) store: Arc<S>,
    pub(super) endpoint: Arc<E>,
    pub(super) clock: WallClock,
    pub(super) wanted: Wanted,
    pub(super) stuck: Mutex<Stuck>,
    pub(super) many: Mutex<Many>,
    pub(super) failure_logs: FailureLogs,
}

/// The calls that fail at present, each with whether that was logged.
#[derive(Debug, Default)]
pub(super) struct FailureLogs {
    pub(super) looking: FailureLog,
    pub(super) notification: FailureLog,
    pub(super) delivering: FailureLog,
    pub(super) auditing: FailureLog,
}

/// A call that may fail for long. The log has a line when that begins, and when it is over.
#[derive(Debug, Default)]
pub(super) struct FailureLog(AtomicBool);

impl FailureLog {
    /// Notes the outcome of a call: the first error, if there was one.
    pub(super) fn note(&self, failed: Option<&StoreError>, what: &str) {
        let is_new = self.0.swap(failed.is_some(), Relaxed) != failed.is_some();
        match failed {
            Some(error) if is_new => {
                let source = error.cause();
                tracing::warn!(%error, source, "{what} failed");
            }
            None if is_new => tracing::info!("{what} works again"),
            _ => {}
        }
    }
}

/// The number of maps that are read at once.
#[derive(Debug)]
pub(super) struct Many(usize);

impl Default for Many {
    fn default() -> Self {
        Many(MAPS_MAX)
    }
}

impl Many {
    /// Notes how long it took to read that many maps. Returns whether what was read is still fresh.
    fn took(&mut self, time: Duration) -> bool {
        let is_fresh = time <= STALE_AFTER;
        self.0 = match is_fresh {
            true => (self.0 * 2).min(MAPS_MAX),
            false => (self.0 / 2).max(1),
        };
        is_fresh
    }
}

/// The rows whose maps cannot be understood, and when they are looked at again. They stay at the head of their partition,
/// and must not delay the rows behind them.
#[derive(Debug, Default)]
pub(super) struct Stuck(BTreeMap<Subject, (u64, Instant)>);

impl Stuck {
    /// The number of rows to read of each partition, to get [`ROWS_MAX`] that can be looked at.
    fn rows_max(&mut self, now: Instant) -> usize {
        // A row that was not found when it was time to look again is gone.
        self.0.retain(|_, (_, until)| now < *until + STUCK_FOR);
        let mut in_partition: BTreeMap<u16, usize> = BTreeMap::new();
        for subject in self.0.keys() {
            *in_partition.entry(subject.partition()).or_default() += 1;
        }
        ROWS_MAX + in_partition.into_values().max().unwrap_or(0)
    }

    /// Whether the row is left alone for now. After another change its map may be understood.
    fn has(&self, row: &Row, now: Instant) -> bool {
        let known = self.0.get(&row.subject);
        known.is_some_and(|&(version, until)| row.version <= version && now < until)
    }

    /// Remembers a row. Returns whether it is new.
    fn add(&mut self, row: &Row, now: Instant) -> bool {
        if self.0.len() >= STUCK_MAX && !self.0.contains_key(&row.subject) {
            return false;
        }
        let stuck = (row.version, now + STUCK_FOR);
        self.0.insert(row.subject.clone(), stuck).is_none()
    }

    fn remove(&mut self, row: &Row) {
        self.0.remove(&row.subject);
    }
}

/// The number of events that wait in one partition, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WaitingEvents {
    pub(super) count: usize,
    pub(super) oldest: Option<Timestamp>,
}

/// The outcome of looking for changes.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// How many events were told, for each partition.
    pub(super) told: BTreeMap<u16, usize>,
    pub(super) full: BTreeSet<u16>,
    /// Whether there are more rows to look at.
    pub(super) is_more: bool,
}

/// The outcome of a delivery.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// What waits in the partitions that were asked about.
    pub(super) waiting: Vec<(u16, WaitingEvents)>,
    /// How many events the endpoint has accepted; `None` if it has not.
    pub(super) taken: Option<usize>,
    /// The partitions whose store has failed.
    pub(super) away: BTreeSet<u16>,
}

impl<P: Source, S: Outbox + Hooks, E: Endpoint> DispatchWorker<P, S, E> {
    /// Looks for changes in `partitions`, and tells them.
    pub(super) async fn look(self: Arc<Self>, partitions: Vec<u16>) -> Looked {
        let (store, queue) = (&self.store, Queue::Webhooks);
        let rows_max = lock(&self.stuck).rows_max(Instant::now());
        let due = store
            .due(queue, &partitions, Duration::ZERO, rows_max)
            .await;
        let mut looked = Looked::default();
        let mut rows = Vec::new();
        let mut failed = None;
        {
            let (stuck, now) = (lock(&self.stuck), Instant::now());
            for outcome in due {
                match outcome {
                    Ok(some) => {
                        looked.is_more |= some.len() == rows_max;
                        rows.extend(some.into_iter().filter(|it| !stuck.has(it, now)));
                    }
                    Err(error) => failed = failed.or(Some(error)),
                }
            }
        }
        let is_wanted = |row: &Row| self.wanted.is_about(&row.subject);
        let (rows, unwanted): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_wanted);
        if !unwanted.is_empty()
            && let Err(error) = store.acknowledge(queue, &unwanted).await
        {
            failed = failed.or(Some(error));
        }
        let mut is_progress = !unwanted.is_empty();
        let mut rest = &rows[..];
        while !rest.is_empty() {
            let (some, later) = rest.split_at(lock(&self.many).0.min(rest.len()));
            is_progress |= self.look_at(some, &mut looked, &mut failed).await;
            rest = later;
        }
        let what = "looking for changes to send as webhooks";
        self.failure_logs.looking.note(failed.as_ref(), what);
        looked.is_more &= is_progress;
        looked
    }

    /// Tells the changes of these rows. Returns whether anything was done.
    async fn look_at(
        &self,
        rows: &[Row],
        looked: &mut Looked,
        failed: &mut Option<StoreError>,
    ) -> bool {
        let since = Instant::now();
        let subjects: Vec<Subject> = rows.iter().map(|it| it.subject.clone()).collect();
        let known = self.store.known(&subjects).await;
        let present = self.source.present(&subjects).await;
        let mut notifications = Vec::new();
        for ((row, known), present) in rows.iter().zip(known).zip(present) {
            match (known, present) {
                (Ok(known), Ok(present)) => {
                    let before = known.last_notified.as_ref();
                    let news = news(&row.subject, before, &present, self.wanted);
                    notifications.push(notification(row, known, news.last_notified, news.events));
                    lock(&self.stuck).remove(row);
                }
                (_, Err(error @ StoreError::Corrupt { .. })) => {
                    if lock(&self.stuck).add(row, Instant::now()) {
                        let source = error.cause();
                        tracing::warn!(%error, source, "a changed map cannot be understood, so its webhooks are not sent");
                    }
                }
                (Err(error), _) | (_, Err(error)) => _ = failed.get_or_insert(error),
            }
        }
        if !lock(&self.many).took(since.elapsed()) {
            return false;
        }
        let mut refused = None;
        let mut is_done = false;
        for (notification, outcome) in notifications
            .iter()
            .zip(self.store.enqueue(&notifications).await)
        {
            let partition = notification.row.subject.partition();
            match outcome {
                Ok(EnqueueOutcome::Stored) => {
                    is_done = true;
                    if !notification.events.is_empty() {
                        *looked.told.entry(partition).or_default() += notification.events.len();
                    }
                }
                Ok(EnqueueOutcome::Overtaken) => {}
                Ok(EnqueueOutcome::Full) => drop(looked.full.insert(partition)),
                Err(error) => _ = refused.get_or_insert(error),
            }
        }
        if !notifications.is_empty() {
            let what = "storing webhook events";
            self.failure_logs.notification.note(refused.as_ref(), what);
        }
        is_done
    }

    /// Delivers the first events that wait in `partitions`.
    pub(super) async fn deliver(self: Arc<Self>, partitions: Vec<u16>) -> Delivered {
        let of_each = (EVENTS_MAX / partitions.len().max(1)).max(1);
        let mut delivered = Delivered::default();
        let mut events: Vec<NumberedEvent> = Vec::new();
        let mut upto: Vec<(u16, u64)> = Vec::new();
        let mut failed = None;
        let outcomes = self.store.waiting(&partitions, of_each).await;
        for (partition, outcome) in partitions.into_iter().zip(outcomes) {
            let queued = match outcome {
                Ok(queued) => queued,
                Err(error) => {
                    failed = failed.or(Some(error));
                    delivered.away.insert(partition);
                    continue;
                }
            };
            let oldest = queued.events.first().map(NumberedEvent::at);
            let count = queued.count;
            delivered
                .waiting
                .push((partition, WaitingEvents { count, oldest }));
            upto.extend(queued.events.last().map(|it| (partition, it.number)));
            events.extend(queued.events);
        }
        let what = "reading and removing webhook events";
        if events.is_empty() {
            self.failure_logs.delivering.note(failed.as_ref(), what);
            delivered.taken = Some(0);
            return delivered;
        }
        let now = self.clock.now();
        if let Err(error) = self.endpoint.deliver(now, &events).await {
            tracing::warn!(%error, events = events.len(), "cannot deliver webhooks, trying again");
            return delivered;
        }
        delivered.taken = Some(events.len());
        let outcomes = self.store.remove_delivered(&upto).await;
        for ((partition, _), outcome) in upto.into_iter().zip(outcomes) {
            if let Err(error) = outcome {
                failed = failed.or(Some(error));
                delivered.away.insert(partition);
                continue;
            }
            let taken = events.iter().filter(|it| it.partition == partition).count();
            let waiting = delivered.waiting.iter_mut().find(|it| it.0 == partition);
            if let Some((_, waiting)) = waiting {
                waiting.count = waiting.count.saturating_sub(taken);
            }
        }
        self.failure_logs.delivering.note(failed.as_ref(), what);
        delivered
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

fn notification(
    row: &Row,
    known: Known,
    last_notified: Option<LastNotified>,
    events: Vec<HookEvent>,
) -> Notification {
    Notification {
        row: row.clone(),
        after: known.revision,
        // A notification about a user must be exact, because they may hide meanwhile. One about a channel need not be: hidden
        // users are not in it.
        is_exact: matches!(row.subject, Subject::User(_)),
        last_notified: match last_notified {
            None if known.revision == 0 => Edit::Keep,
            // Also where something was told that nobody understands.
            None => Edit::Clear,
            last_notified if last_notified == known.last_notified => Edit::Keep,
            Some(last) => Edit::Set(last),
        },
        events,
    }
}

#[cfg(test)]
mod tests {
    use presence_core::UserId;

    use super::*;

    fn row(n: usize, version: u64) -> Row {
        let user = UserId::new(format!("user-{n}").as_str()).unwrap();
        Row {
            subject: Subject::User(user),
            version,
        }
    }

    #[test]
    fn of_maps_that_take_too_long_fewer_are_read_and_later_more() {
        let mut many = Many::default();
        let slow = STALE_AFTER + Duration::from_millis(1);
        for expected in [32, 16, 8, 4, 2, 1, 1] {
            assert!(!many.took(slow));
            assert_eq!(many.0, expected);
        }
        for expected in [2, 4, 8, 16, 32, 64, 64] {
            assert!(many.took(STALE_AFTER));
            assert_eq!(many.0, expected);
        }
    }

    #[test]
    fn rows_that_nobody_understands_are_read_past_and_complained_of_once() {
        let (mut stuck, now) = (Stuck::default(), Instant::now());
        let later = now + STUCK_FOR;
        assert_eq!(stuck.rows_max(now), ROWS_MAX);
        assert!(stuck.add(&row(1, 5), now));
        assert_eq!(stuck.rows_max(now), ROWS_MAX + 1);
        assert!(stuck.has(&row(1, 5), now));
        assert!(!stuck.has(&row(1, 6), now), "it has changed");
        assert!(!stuck.has(&row(1, 5), later), "it is looked at again");
        assert!(!stuck.add(&row(1, 5), later), "it is complained of twice");
        stuck.remove(&row(1, 5));
        assert_eq!(stuck.rows_max(now), ROWS_MAX);
    }

    #[test]
    fn no_more_rows_are_noted_than_may_be() {
        let (mut stuck, now) = (Stuck::default(), Instant::now());
        for n in 0..STUCK_MAX {
            assert!(stuck.add(&row(n, 5), now));
        }
        assert!(!stuck.add(&row(STUCK_MAX, 5), now));
        assert_eq!(stuck.0.len(), STUCK_MAX);
        assert_eq!(stuck.rows_max(now + 2 * STUCK_FOR), ROWS_MAX);
        assert!(stuck.add(&row(STUCK_MAX, 5), now));
    }
}
