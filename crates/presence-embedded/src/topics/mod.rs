//! The store that nodes share, in the memory of one process.

pub(crate) mod hooks;
mod inbox;
mod link;
mod nodes;
mod partition;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use presence_core::cluster::{PARTITIONS, Subject};

pub use self::inbox::NOTICES_MAX;
pub use self::link::{REAPED_MAX, TopicLink};
use self::nodes::Nodes;
pub use self::partition::RECENT;
use self::partition::{Around, Partition};
use crate::time::StoreTime;

/// The store of any number of nodes in one process: a whole cluster in a test, or a single node.
///
/// All clones are the same store. Each node has its own [`TopicLink`] to it, which
/// implements the ports [`Topics`](presence_core::ports::Topics),
/// [`Outbox`](presence_core::ports::Outbox) and [`Hooks`](presence_core::ports::Hooks).
///
/// It keeps entries until they are removed and rows until they are acknowledged, so the writers bound its size. It also remembers for [`RECENT`]
/// which subjects have changed, and keeps up to [`NOTICES_MAX`] notices for each node.
///
/// A test of a cluster needs a store that fails, so a test can make it fail: [`wipe`](Self::wipe),
/// [`set_away`](Self::set_away), [`lose`](Self::lose), and [`TopicLink::set_away`] for one node alone.
#[derive(Clone, Debug, Default)]
pub struct TopicMemory {
    store: Arc<Store>,
}

impl TopicMemory {
    /// Makes an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes an empty store for nodes that deliver webhooks.
    pub fn with_webhooks() -> Self {
        let store = Store {
            has_webhooks: true,
            ..Store::default()
        };
        TopicMemory {
            store: Arc::new(store),
        }
    }

    /// Makes a link to the store for one node.
    pub fn connect(&self) -> TopicLink {
        TopicLink::new(Arc::clone(&self.store))
    }

    /// Loses all data: maps, leases, the secret. Nodes notice it when they next compare.
    pub fn wipe(&self) {
        for partition in &self.store.partitions {
            lock(partition).wipe();
        }
        *lock(&self.store.nodes) = Nodes::default();
        self.store.wipes.fetch_add(1, Ordering::Release);
    }

    /// While `is_away`, every call of every node fails with nothing done.
    pub fn set_away(&self, is_away: bool) {
        self.store.is_away.store(is_away, Ordering::Release);
    }

    /// Loses the next `count` patches and ephemeral messages; one that would go to three nodes counts three times. Each call
    /// replaces the last one: 0 loses none, and `u64::MAX` loses all until the next call.
    pub fn lose(&self, count: u64) {
        self.store.to_lose.store(count, Ordering::Release);
    }
}

/// What all links share. Locks are taken in this order: a partition, then an inbox. No task holds two of a kind at once.
#[derive(Debug)]
struct Store {
    time: StoreTime,
    partitions: Box<[Mutex<Partition>]>,
    nodes: Mutex<Nodes>,
    epochs: AtomicU64,
    random: RandomState,
    wipes: AtomicU64,
    is_away: AtomicBool,
    to_lose: AtomicU64,
    has_webhooks: bool,
}

impl Default for Store {
    fn default() -> Self {
        Store {
            time: StoreTime::new(),
            partitions: (0..PARTITIONS)
                .map(|it| Mutex::new(Partition::new(it)))
                .collect(),
            nodes: Mutex::default(),
            epochs: AtomicU64::new(0),
            random: RandomState::new(),
            wipes: AtomicU64::new(0),
            is_away: AtomicBool::new(false),
            to_lose: AtomicU64::new(0),
            has_webhooks: false,
        }
    }
}

impl Store {
    /// Runs `f` on the partition of `subject`.
    fn at<R>(&self, subject: &Subject, f: impl FnOnce(&mut Partition, &Around<'_>) -> R) -> R {
        self.in_partition(&self.partitions[usize::from(subject.partition())], f)
    }

    /// Runs `f` on `partition`, with what it needs from outside.
    fn in_partition<R>(
        &self,
        partition: &Mutex<Partition>,
        f: impl FnOnce(&mut Partition, &Around<'_>) -> R,
    ) -> R {
        let mut partition = lock(partition);
        let around = Around {
            now_us: self.time.now_us(),
            epoch: &|| {
                self.random
                    .hash_one(self.epochs.fetch_add(1, Ordering::Relaxed))
            },
            is_lost: &|| self.loses_one(),
            has_webhooks: self.has_webhooks,
        };
        f(&mut partition, &around)
    }

    fn loses_one(&self) -> bool {
        // Most of the time nothing is to be lost, so nothing is written here.
        self.to_lose.load(Ordering::Acquire) > 0
            && self
                .to_lose
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while the lock is held breaks at most one map; the others remain useful.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use presence_core::cluster::{
        FencingToken, Field, Incarnation, Op, Record, SessionRecord, Subject, Write,
    };
    use presence_core::ports::Topics;
    use presence_core::users::Activity;
    use presence_core::{DeviceId, Reason, SessionId, Timestamp, UserId};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_of_what_is_over() {
        let store = TopicMemory::new();
        let (here, there) = (store.connect(), store.connect());
        let ann = Subject::User(UserId::new("ann").unwrap());
        there.follow(std::slice::from_ref(&ann)).await;
        assert_eq!(kept(&store), 1, "what is followed");
        here.write(&[write(&ann, false)]).await;
        here.write(&[write(&ann, true)]).await;
        assert_eq!(kept(&store), 2, "what is followed, and has changed");
        drop(there);
        assert_eq!(kept(&store), 2, "what has changed");
        tokio::time::advance(RECENT + Duration::from_millis(1)).await;
        here.compare().await.unwrap();
        assert_eq!(kept(&store), 0, "nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn the_fence_of_what_was_never_there_is_kept_for_a_while() {
        let store = TopicMemory::new();
        let here = store.connect();
        let ann = Subject::User(UserId::new("ann").unwrap());
        here.write(&[write(&ann, true)]).await;
        here.unfollow(std::slice::from_ref(&ann)).await;
        assert_eq!(kept(&store), 2);
        tokio::time::advance(RECENT + Duration::from_millis(1)).await;
        here.compare().await.unwrap();
        assert_eq!(kept(&store), 0);
    }

    /// Puts a session, or removes it for good.
    fn write(subject: &Subject, is_last: bool) -> Write {
        let by = Incarnation {
            node: 7,
            generation: 1,
        };
        let field = Field::Session(SessionId::from_u128(1));
        let token = FencingToken::of_session(1, by, 0);
        let record = SessionRecord {
            device: DeviceId::new("web:1").unwrap(),
            by_service: false,
            activity: Activity::Active,
            is_active: true,
            heard_at: Timestamp::from_millis(1),
            places: vec![],
            alias: None,
        };
        let op = if is_last {
            Op::Remove {
                field,
                token,
                reason: Reason::Left,
            }
        } else {
            Op::put(field, token, Record::Session(Arc::new(record)))
        };
        Write {
            subject: subject.clone(),
            by,
            ops: vec![op],
            is_last,
            until: None,
        }
    }

    fn kept(store: &TopicMemory) -> usize {
        store
            .store
            .partitions
            .iter()
            .map(|it| lock(it).kept())
            .sum()
    }
}
