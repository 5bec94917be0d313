//! The webhook state: what receivers were told of each subject, and the events that wait for delivery.

use std::collections::{BTreeMap, VecDeque};

use presence_core::Edit;
use presence_core::cluster::{PARTITIONS, Subject};
use presence_core::hooks::{HookEvent, LastNotified};
use presence_core::ports::{
    EVENTS_WAITING_MAX, EnqueueOutcome, Hooks, Known, Notification, NumberedEvent, StoreError,
    WaitingEvents,
};

use super::link::TopicLink;
use super::lock;

/// What webhook receivers were told about one partition of the store, and the events that wait for delivery.
#[derive(Debug, Default)]
pub(crate) struct HookPartition {
    last_notified: BTreeMap<Subject, (u64, LastNotified)>,
    events: VecDeque<(u64, HookEvent)>,
    /// The number of the last event, or the last revision if that is higher.
    last: u64,
}

impl HookPartition {
    pub(crate) fn known(&self, subject: &Subject) -> Known {
        match self.last_notified.get(subject) {
            None => Known::default(),
            Some((revision, last_notified)) => Known {
                last_notified: Some(last_notified.clone()),
                revision: *revision,
            },
        }
    }

    /// Queues the events of `notification`, unless another node was faster. `marked` is the version of the outbox row, if there
    /// is one. The caller removes the row.
    pub(crate) fn enqueue(
        &mut self,
        now_us: u64,
        marked: Option<u64>,
        notification: &Notification,
    ) -> EnqueueOutcome {
        let Notification { row, events, .. } = notification;
        let Some(marked) = marked else {
            return EnqueueOutcome::Overtaken;
        };
        let is_newer = notification.is_exact && marked > row.version;
        if is_newer || self.known(&row.subject).revision != notification.after {
            return EnqueueOutcome::Overtaken;
        }
        let waiting = self.events.len();
        if !events.is_empty() && waiting > 0 && waiting + events.len() > EVENTS_WAITING_MAX {
            return EnqueueOutcome::Full;
        }
        let first = now_us.max(self.last + 1);
        for (number, event) in (first..).zip(events) {
            self.events.push_back((number, event.clone()));
            self.last = number;
        }
        let revision = first.max(self.last);
        match &notification.last_notified {
            Edit::Keep => {}
            Edit::Clear => drop(self.last_notified.remove(&row.subject)),
            Edit::Set(last_notified) => {
                let last_notified = (revision, last_notified.clone());
                self.last_notified
                    .insert(row.subject.clone(), last_notified);
                self.last = revision;
            }
        }
        EnqueueOutcome::Stored
    }

    /// Up to `max` of the subjects that receivers know of, and the cursor of the next ones.
    pub(crate) fn some(&self, cursor: u64, max: usize) -> (Vec<Subject>, Option<u64>) {
        let from = usize::try_from(cursor).unwrap_or(usize::MAX);
        let some: Vec<Subject> = self
            .last_notified
            .keys()
            .skip(from)
            .take(max)
            .cloned()
            .collect();
        let next = from.saturating_add(max);
        let is_more = next < self.last_notified.len();
        (some, is_more.then_some(next as u64))
    }

    pub(crate) fn waiting(&self, partition: u16, max: usize) -> WaitingEvents {
        let events = self.events.iter().take(max);
        let events = events.map(|(number, event)| NumberedEvent {
            partition,
            number: *number,
            event: event.clone(),
        });
        WaitingEvents {
            events: events.collect(),
            count: self.events.len(),
        }
    }

    /// Puts back what was stored of a subject.
    pub(crate) fn restore_known(&mut self, subject: Subject, revision: u64, told: LastNotified) {
        self.last = self.last.max(revision);
        self.last_notified.insert(subject, (revision, told));
    }

    /// Puts back a stored event. Events are put back in the order of their numbers.
    pub(crate) fn restore_event(&mut self, number: u64, event: HookEvent) {
        self.last = self.last.max(number);
        self.events.push_back((number, event));
    }

    /// Puts back the stored [`last`](Self::last) number.
    pub(crate) fn restore_last(&mut self, last: u64) {
        self.last = self.last.max(last);
    }

    /// The number of the last event or revision, whether it is still here or not.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// The events that wait and have a number above `number`, in order.
    pub(crate) fn after(&self, number: u64) -> impl Iterator<Item = &(u64, HookEvent)> {
        let first = self.events.partition_point(|it| it.0 <= number);
        self.events.range(first..)
    }

    /// How many events wait.
    pub(crate) fn count(&self) -> usize {
        self.events.len()
    }

    /// The subjects of which the receivers know something.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.last_notified.keys()
    }

    pub(crate) fn remove_delivered(&mut self, upto: u64) {
        while self.events.front().is_some_and(|it| it.0 <= upto) {
            self.events.pop_front();
        }
    }

    /// How many entries are kept here, whatever their size.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.last_notified.len() + self.events.len()
    }
}

impl Hooks for TopicLink {
    async fn known(&self, subjects: &[Subject]) -> Vec<Result<Known, StoreError>> {
        self.each(subjects, |store, subject| {
            store.at(subject, |partition, _| partition.hooks.known(subject))
        })
    }

    async fn enqueue(
        &self,
        notifications: &[Notification],
    ) -> Vec<Result<EnqueueOutcome, StoreError>> {
        self.each(notifications, |store, notification| {
            store.at(&notification.row.subject, |partition, around| {
                partition.enqueue(around, notification)
            })
        })
    }

    async fn audit(
        &self,
        partition: u16,
        cursor: u64,
        max: usize,
    ) -> Result<Option<u64>, StoreError> {
        let part = &self.store()?.partitions[usize::from(partition % PARTITIONS)];
        Ok(lock(part).audit(cursor, max))
    }

    async fn waiting(
        &self,
        partitions: &[u16],
        max: usize,
    ) -> Vec<Result<WaitingEvents, StoreError>> {
        self.each(partitions, |store, &partition| {
            let part = &store.partitions[usize::from(partition % PARTITIONS)];
            lock(part).hooks.waiting(partition, max)
        })
    }

    async fn remove_delivered(&self, upto: &[(u16, u64)]) -> Vec<Result<(), StoreError>> {
        self.each(upto, |store, &(partition, number)| {
            let part = &store.partitions[usize::from(partition % PARTITIONS)];
            lock(part).hooks.remove_delivered(number);
        })
    }
}
