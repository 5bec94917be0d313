//! The link of one node to the store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use presence_core::Timestamp;
use presence_core::cluster::{Ephemeral, Incarnation, PARTITIONS, Snapshot, Subject, Write};
use presence_core::ports::{
    Leases, Notice, Outbox, Queue, Reaped, Row, StoreError, Topics, Written,
};

use super::inbox::Inbox;
use super::{Store, lock};

/// How many maps one call of [`reap`](Topics::reap) cleans at most.
pub const REAPED_MAX: usize = 256;

/// The link of one node to a [`TopicMemory`](super::TopicMemory). The node follows subjects and receives
/// notices through it.
///
/// All clones are the same link, so a test can keep one to cut off the node that has the other. Dropping the last
/// clone unfollows everything.
#[derive(Clone, Debug)]
pub struct TopicLink {
    link: Arc<Link>,
}

impl TopicLink {
    pub(super) fn new(store: Arc<Store>) -> Self {
        let link = Link {
            inbox: Arc::new(Inbox::new()),
            wipes: AtomicU64::new(store.wipes.load(Ordering::Acquire)),
            is_away: AtomicBool::new(false),
            store,
        };
        TopicLink {
            link: Arc::new(link),
        }
    }

    /// Cuts the node off from the store, or reconnects it. While it is cut off, every call fails with nothing done,
    /// and the node does not hear what others write. On reconnection it is told that it may have missed something
    /// in every partition.
    pub fn set_away(&self, is_away: bool) {
        let was_away = self.link.is_away.swap(is_away, Ordering::AcqRel);
        self.link.inbox.set_deaf(is_away);
        if was_away && !is_away {
            (0..PARTITIONS).for_each(|partition| self.link.inbox.forget(partition));
        }
    }

    /// Forgets all fences, for a test that shows what fences are for.
    pub fn forget_fences(&self) {
        for partition in &self.link.store.partitions {
            lock(partition).forget_fences();
        }
    }

    /// The store, or an error while the store or this link is away.
    pub(super) fn store(&self) -> Result<&Store, StoreError> {
        let store = &*self.link.store;
        let is_away =
            store.is_away.load(Ordering::Acquire) || self.link.is_away.load(Ordering::Acquire);
        if is_away {
            return Err(StoreError::Unavailable(
                "a test has made the store unavailable".into(),
            ));
        }
        Ok(store)
    }

    /// Calls `f` for each item of `asked`, in order.
    pub(super) fn each<A, R>(
        &self,
        asked: &[A],
        f: impl Fn(&Store, &A) -> R,
    ) -> Vec<Result<R, StoreError>> {
        let one = |it| self.store().map(|store| f(store, it));
        asked.iter().map(one).collect()
    }
}

impl Topics for TopicLink {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written, StoreError>> {
        let outcomes = self.each(writes, |store, write| {
            if write.until.is_some_and(|until| until < store.time.now()) {
                return Err(StoreError::Unavailable("the lease has ended".into()));
            }
            Ok(store.at(&write.subject, |partition, around| {
                partition.write(around, write)
            }))
        });
        outcomes
            .into_iter()
            .map(|it| it.and_then(|it| it))
            .collect()
    }

    async fn read(&self, subjects: &[Subject]) -> Vec<Result<Snapshot, StoreError>> {
        self.each(subjects, |store, subject| {
            store.at(subject, |partition, _| partition.read(subject))
        })
    }

    async fn follow(&self, subjects: &[Subject]) -> Vec<Result<(), StoreError>> {
        self.each(subjects, |store, subject| {
            store.at(subject, |partition, _| {
                partition.follow(subject, &self.link.inbox)
            });
        })
    }

    async fn unfollow(&self, subjects: &[Subject]) {
        for subject in subjects {
            let store = &self.link.store;
            store.at(subject, |partition, _| {
                partition.unfollow(subject, &self.link.inbox);
            });
        }
    }

    async fn send_ephemeral(&self, ephemerals: &[(Subject, Vec<Ephemeral>)]) {
        let Ok(store) = self.store() else {
            return;
        };
        for (subject, ephemerals) in ephemerals {
            store.at(subject, |partition, around| {
                partition.send_ephemeral(around, subject, ephemerals);
            });
        }
    }

    async fn compare(&self) -> Result<(), StoreError> {
        let store = self.store()?;
        let wipes = store.wipes.load(Ordering::Acquire);
        if self.link.wipes.swap(wipes, Ordering::AcqRel) != wipes {
            (0..PARTITIONS).for_each(|partition| self.link.inbox.forget(partition));
        }
        for partition in &store.partitions {
            store.in_partition(partition, |partition, around| {
                partition.compare(around, &self.link.inbox);
            });
        }
        Ok(())
    }

    async fn next(&self) -> Notice {
        self.link.inbox.take().await
    }

    async fn renew(
        &self,
        me: Incarnation,
        name: &str,
        ttl: Duration,
        stored_up_to: Timestamp,
    ) -> Result<Leases, StoreError> {
        let store = self.store()?;
        let mut nodes = lock(&store.nodes);
        Ok(nodes.renew(store.time.now(), me, name, ttl, stored_up_to))
    }

    async fn mark_dead(&self, who: Incarnation) -> Result<bool, StoreError> {
        let store = self.store()?;
        Ok(lock(&store.nodes).mark_dead(store.time.now(), who))
    }

    async fn reap(&self, who: Incarnation) -> Result<Reaped, StoreError> {
        let store = self.store()?;
        let mut left = REAPED_MAX;
        let mut reaped = Reaped::default();
        for partition in &store.partitions {
            let orphans = &mut reaped.orphans;
            left -= store.in_partition(partition, |partition, around| {
                partition.reap(around, who, left, orphans)
            });
            if left == 0 {
                reaped.more = true;
                break;
            }
        }
        Ok(reaped)
    }

    async fn forget(&self, who: Incarnation) -> Result<(), StoreError> {
        lock(&self.store()?.nodes).forget(who);
        Ok(())
    }

    async fn secret(&self, proposal: [u8; 32]) -> Result<[u8; 32], StoreError> {
        Ok(lock(&self.store()?.nodes).secret(proposal))
    }
}

impl Outbox for TopicLink {
    async fn due(
        &self,
        queue: Queue,
        partitions: &[u16],
        age: Duration,
        max: usize,
    ) -> Vec<Result<Vec<Row>, StoreError>> {
        let age_us = u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        self.each(partitions, |store, partition| {
            let partition = &store.partitions[usize::from(*partition)];
            store.in_partition(partition, |partition, around| {
                partition.due(around, queue, age_us, max)
            })
        })
    }

    async fn acknowledge(&self, queue: Queue, rows: &[Row]) -> Result<(), StoreError> {
        let store = self.store()?;
        for row in rows {
            store.at(&row.subject, |partition, _| {
                partition.acknowledge(queue, row)
            });
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Link {
    store: Arc<Store>,
    inbox: Arc<Inbox>,
    /// How many times the store had lost its data when this link last looked.
    wipes: AtomicU64,
    is_away: AtomicBool,
}

impl Drop for Link {
    fn drop(&mut self) {
        for partition in &self.store.partitions {
            lock(partition).unfollow_all(&self.inbox);
        }
    }
}
