//! One partition of the store: its maps, their followers, and which nodes have entries in them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::{
    Ephemeral, Field, Incarnation, Op, Record, Snapshot, Subject, TopicMap, Write,
};
use presence_core::ports::{EnqueueOutcome, Notice, Notification, Orphan, Queue, Row, Written};
use presence_core::{Reason, Timestamp, TopicVersion};

use super::hooks::HookPartition;
use super::inbox::Inbox;

/// How long a comparison reports a change: several times the pause between two comparisons of a node.
pub const RECENT: Duration = Duration::from_secs(60);

/// What all partitions share. A partition borrows it for each operation.
pub(super) struct Around<'a> {
    /// The time of the store, in microseconds since 1970.
    pub(super) now_us: u64,
    /// Draws a new random epoch.
    pub(super) epoch: &'a dyn Fn() -> u64,
    /// Whether the next notice gets lost on its way.
    pub(super) is_lost: &'a dyn Fn() -> bool,
    /// Whether nodes deliver webhooks, so that rows for them are kept.
    pub(super) has_webhooks: bool,
}

/// Everything that one partition of the store keeps.
#[derive(Debug)]
pub(super) struct Partition {
    number: u16,
    slots: HashMap<Subject, Slot>,
    /// The subjects that have changed lately, by the version that the change made.
    recent: BTreeMap<u64, Subject>,
    /// The subjects in which each incarnation has entries of sessions; may name more than there are.
    owned: HashMap<Incarnation, BTreeSet<Subject>>,
    /// The outbox: which subjects wait to be carried elsewhere, and since which version.
    outbox: BTreeMap<(Queue, Subject), u64>,
    /// The webhook state of this partition.
    pub(super) hooks: HookPartition,
    /// The last version given out here. It follows the time in microseconds, so it grows even if data is lost.
    version: u64,
}

/// What is kept of a subject that has entries or followers, or has changed lately.
#[derive(Debug, Default)]
struct Slot {
    map: TopicMap,
    changed_at: Option<u64>,
    followers: Vec<Arc<Inbox>>,
}

impl Partition {
    pub(super) fn new(number: u16) -> Self {
        Partition {
            number,
            slots: HashMap::new(),
            recent: BTreeMap::new(),
            owned: HashMap::new(),
            outbox: BTreeMap::new(),
            hooks: HookPartition::default(),
            version: 0,
        }
    }

    pub(super) fn write(&mut self, around: &Around<'_>, write: &Write) -> Written {
        let written = self.apply(around, &write.subject, &write.ops);
        if write.is_last {
            self.disown(write.by, &write.subject);
        } else if write.leaves_session(&written.refused) {
            let owned = self.owned.entry(write.by).or_default();
            owned.insert(write.subject.clone());
        }
        if let Some(version) = written.version {
            let mut due = Vec::from(Queue::ALL);
            due.retain(|it| write.is_due_for(*it));
            due.retain(|it| *it != Queue::Webhooks || around.has_webhooks);
            let rows = due.into_iter().map(|it| (it, write.subject.clone()));
            self.outbox.extend(rows.map(|row| (row, version)));
        }
        written
    }

    /// The rows of `queue` that have waited for at least `age_us` microseconds, oldest first, `max` at most.
    pub(super) fn due(
        &self,
        around: &Around<'_>,
        queue: Queue,
        age_us: u64,
        max: usize,
    ) -> Vec<Row> {
        let is_due = |version: u64| age_us == 0 || version.saturating_add(age_us) <= around.now_us;
        let rows = self.outbox.iter();
        let rows = rows.filter(|((of, _), version)| *of == queue && is_due(**version));
        let mut rows: Vec<Row> = rows
            .map(|((_, subject), version)| Row {
                subject: subject.clone(),
                version: *version,
            })
            .collect();
        rows.sort_unstable_by_key(|it| it.version);
        rows.truncate(max);
        rows
    }

    pub(super) fn acknowledge(&mut self, queue: Queue, row: &Row) {
        let key = (queue, row.subject.clone());
        if self.outbox.get(&key).is_some_and(|it| *it <= row.version) {
            self.outbox.remove(&key);
        }
    }

    pub(super) fn enqueue(
        &mut self,
        around: &Around<'_>,
        notification: &Notification,
    ) -> EnqueueOutcome {
        let key = (Queue::Webhooks, notification.row.subject.clone());
        let marked = self.outbox.get(&key).copied();
        let outcome = self.hooks.enqueue(around.now_us, marked, notification);
        if outcome == EnqueueOutcome::Stored {
            self.acknowledge(Queue::Webhooks, &notification.row);
        }
        outcome
    }

    pub(super) fn audit(&mut self, cursor: u64, max: usize) -> Option<u64> {
        let (some, next) = self.hooks.some(cursor, max);
        for subject in some {
            // 1 is older than any version.
            let row = self.outbox.entry((Queue::Webhooks, subject));
            row.or_insert(1);
        }
        next
    }

    pub(super) fn read(&self, subject: &Subject) -> Snapshot {
        match self.slots.get(subject) {
            Some(slot) => slot.map.snapshot(),
            None => TopicMap::default().snapshot(),
        }
    }

    pub(super) fn follow(&mut self, subject: &Subject, inbox: &Arc<Inbox>) {
        let slot = self.slots.entry(subject.clone()).or_default();
        if !slot.is_followed_by(inbox) {
            slot.followers.push(Arc::clone(inbox));
        }
    }

    pub(super) fn unfollow(&mut self, subject: &Subject, inbox: &Arc<Inbox>) {
        if let Some(slot) = self.slots.get_mut(subject) {
            slot.followers.retain(|it| !Arc::ptr_eq(it, inbox));
            self.tidy(subject);
        }
    }

    pub(super) fn unfollow_all(&mut self, inbox: &Arc<Inbox>) {
        self.slots.retain(|_, slot| {
            slot.followers.retain(|it| !Arc::ptr_eq(it, inbox));
            slot.is_needed()
        });
    }

    pub(super) fn send_ephemeral(
        &self,
        around: &Around<'_>,
        subject: &Subject,
        ephemerals: &[Ephemeral],
    ) {
        if let Some(slot) = self.slots.get(subject) {
            slot.tell(around, self.number, || {
                Notice::Ephemeral(subject.clone(), ephemerals.to_vec())
            });
        }
    }

    /// Tells `inbox` the version of each subject that it follows and that has changed lately.
    pub(super) fn compare(&mut self, around: &Around<'_>, inbox: &Arc<Inbox>) {
        self.age(around.now_us);
        for subject in self.recent.values() {
            let slot = &self.slots[subject];
            if slot.is_followed_by(inbox) {
                let notice = Notice::At(subject.clone(), slot.map.clock());
                inbox.put(self.number, notice);
            }
        }
    }

    /// Removes the entries of `who` from up to `subjects_max` maps, and returns how many maps it cleaned. Adds the
    /// sessions that it removed from the maps of users to `orphans`.
    pub(super) fn reap(
        &mut self,
        around: &Around<'_>,
        who: Incarnation,
        subjects_max: usize,
        orphans: &mut Vec<Orphan>,
    ) -> usize {
        let subjects = self.owned.get(&who).into_iter().flatten();
        let subjects: Vec<Subject> = subjects.take(subjects_max).cloned().collect();
        for subject in &subjects {
            orphans.extend(self.orphans(subject, who));
            let removals = Write {
                subject: subject.clone(),
                by: who,
                ops: self.removals(subject, who),
                is_last: true,
                until: None,
            };
            self.write(around, &removals);
        }
        subjects.len()
    }

    /// Loses all data. Followers stay, because their connections know what they follow.
    pub(super) fn wipe(&mut self) {
        for slot in self.slots.values_mut() {
            slot.map = TopicMap::default();
            slot.changed_at = None;
        }
        self.slots.retain(|_, slot| slot.is_needed());
        self.recent.clear();
        self.owned.clear();
        self.outbox.clear();
        self.hooks = HookPartition::default();
        self.version = 0;
    }

    pub(super) fn forget_fences(&mut self) {
        for slot in self.slots.values_mut() {
            slot.map = slot.map.without_fences();
        }
    }

    /// How many entries are kept here, whatever their size.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        let maps = self.slots.len() + self.recent.len() + self.owned.len();
        maps + self.outbox.len() + self.hooks.kept()
    }

    fn apply(&mut self, around: &Around<'_>, subject: &Subject, ops: &[Op]) -> Written {
        let slot = self.slots.entry(subject.clone()).or_default();
        let next = TopicVersion {
            epoch: match slot.map.clock() {
                Some(clock) => clock.epoch,
                None => (around.epoch)(),
            },
            version: around.now_us.max(self.version + 1),
        };
        let now = Timestamp::from_millis(around.now_us / 1000);
        let applied = slot.map.apply(ops, next, now);
        let version = applied.patch.as_ref().map(|it| it.clock.version);
        // Fences are kept as long as a subject counts as recently changed, which is longer than they are needed.
        let is_fenced = ops.iter().any(|op| !matches!(op, Op::Put { .. }));
        if applied.patch.is_some() || is_fenced {
            self.version = next.version;
            if let Some(before) = slot.changed_at.replace(next.version) {
                self.recent.remove(&before);
            }
            self.recent.insert(next.version, subject.clone());
            if let Some(patch) = applied.patch {
                slot.tell(around, self.number, || {
                    Notice::Patched(subject.clone(), patch.clone())
                });
            }
            self.age(around.now_us);
        } else {
            self.tidy(subject);
        }
        Written {
            version,
            refused: applied.refused,
            absent: applied.absent,
            profile: applied.profile,
        }
    }

    /// The operations that remove the entries of sessions of `who` in `subject`.
    fn removals(&self, subject: &Subject, who: Incarnation) -> Vec<Op> {
        let entries = self.slots.get(subject).into_iter();
        let entries = entries.flat_map(|slot| slot.map.entries());
        let of_who = entries.filter(|(field, token)| {
            matches!(field, Field::Session(_)) && token.incarnation() == who
        });
        let removal = |(field, token)| Op::Remove {
            field,
            token,
            reason: Reason::NodeLost,
        };
        of_who.map(removal).collect()
    }

    /// The sessions of `who` in `subject`, if that is a user.
    fn orphans(&self, subject: &Subject, who: Incarnation) -> Vec<Orphan> {
        let Subject::User(user) = subject else {
            return Vec::new();
        };
        let map = self.read(subject);
        let profile = map.entries.iter().find_map(|(.., record)| match record {
            Record::Profile(profile) => Some(profile.clone()),
            Record::Session(_) | Record::Member(_) => None,
        });
        let sessions = map.entries.iter().filter_map(|entry| match entry {
            (Field::Session(session), token, Record::Session(record))
                if token.incarnation() == who =>
            {
                Some(Orphan::new(user, *session, record, profile.as_deref()))
            }
            _ => None,
        });
        sessions.collect()
    }

    fn disown(&mut self, who: Incarnation, subject: &Subject) {
        if let Some(owned) = self.owned.get_mut(&who) {
            owned.remove(subject);
            if owned.is_empty() {
                self.owned.remove(&who);
            }
        }
    }

    /// Forgets changes that are no longer recent.
    fn age(&mut self, now_us: u64) {
        let recent_us = u64::try_from(RECENT.as_micros()).unwrap_or(u64::MAX);
        while let Some(oldest) = self.recent.first_entry()
            && oldest.key().saturating_add(recent_us) < now_us
        {
            let subject = oldest.remove();
            if let Some(slot) = self.slots.get_mut(&subject) {
                slot.changed_at = None;
            }
            self.tidy(&subject);
        }
    }

    fn tidy(&mut self, subject: &Subject) {
        if self.slots.get(subject).is_some_and(|it| !it.is_needed()) {
            self.slots.remove(subject);
        }
    }
}

impl Slot {
    fn is_needed(&self) -> bool {
        self.map.clock().is_some() || self.changed_at.is_some() || !self.followers.is_empty()
    }

    fn is_followed_by(&self, inbox: &Arc<Inbox>) -> bool {
        self.followers.iter().any(|it| Arc::ptr_eq(it, inbox))
    }

    fn tell(&self, around: &Around<'_>, partition: u16, notice: impl Fn() -> Notice) {
        for inbox in &self.followers {
            if !(around.is_lost)() {
                inbox.put(partition, notice());
            }
        }
    }
}
