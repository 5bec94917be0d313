//! What waits for all connections of a node together: the bytes, and what happens when there are too many; and the
//! connections that are behind.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use crate::counters::Counters;
use crate::outbox::Outbox;
use crate::session::Delivery;

/// The size of one waiting delivery besides its content, in bytes.
const ENTRY_BYTES: usize = 64;

/// Counts the bytes that wait in the outboxes of a node. An event that waits in many outboxes is counted once, because
/// it is in memory once.
///
/// When there are more than `bytes_max`, the largest outboxes are conflated, one after the other, until a quarter of
/// that is free. If that is not enough, because answers take the room, the connections with the most answers are ended.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes_max: usize,
    bytes: AtomicIsize,
    /// The connections that were woken, because something waits for them, and have not run since.
    woken: AtomicUsize,
    names: AtomicU64,
    outboxes: Mutex<HashMap<u64, Weak<Outbox>>>,
    counters: Arc<Counters>,
}

impl Backlog {
    pub(crate) fn new(bytes_max: usize, counters: Arc<Counters>) -> Self {
        Backlog {
            bytes_max,
            bytes: AtomicIsize::new(0),
            woken: AtomicUsize::new(0),
            names: AtomicU64::new(0),
            outboxes: Mutex::default(),
            counters,
        }
    }

    /// Opens an outbox, which may hold `bytes_max` bytes itself.
    pub(crate) fn open(self: &Arc<Self>, bytes_max: usize) -> Arc<Outbox> {
        let name = self.names.fetch_add(1, Relaxed);
        let outbox = Outbox::new(bytes_max, self.counters.clone(), (name, self.clone()));
        let outbox = Arc::new(outbox);
        self.outboxes().insert(name, Arc::downgrade(&outbox));
        outbox
    }

    /// Removes an outbox. What waited in it must have been taken out.
    pub(crate) fn close(&self, name: u64) {
        self.outboxes().remove(&name);
    }

    /// Counts a delivery that waits from now on.
    pub(crate) fn add(&self, delivery: &Delivery) {
        let bytes = match delivery {
            Delivery::Told(told) => told.is_queued(),
            other => other.weight(),
        };
        self.change(bytes as isize + ENTRY_BYTES as isize);
    }

    /// Counts a delivery that waits no longer.
    pub(crate) fn remove(&self, delivery: &Delivery) {
        let bytes = match delivery {
            Delivery::Told(told) => told.is_taken(),
            other => other.weight(),
        };
        self.change(-(bytes as isize + ENTRY_BYTES as isize));
    }

    fn change(&self, bytes: isize) {
        let now = self.bytes.fetch_add(bytes, Relaxed) + bytes;
        let level = u64::try_from(now).unwrap_or(0);
        self.counters.waiting_bytes.store(level, Relaxed);
    }

    /// The number of bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes.load(Relaxed)).unwrap_or(0)
    }

    /// Counts a connection that was woken, because something waits for it.
    pub(crate) fn is_woken(&self) {
        self.woken.fetch_add(1, Relaxed);
    }

    /// Counts one connection less that was woken: it runs, or it is gone.
    pub(crate) fn runs(&self) {
        self.woken.fetch_sub(1, Relaxed);
    }

    /// How many connections wait until this node has time for them. One whose client does not read is none of them: it
    /// waits for its client.
    pub(crate) fn woken(&self) -> usize {
        self.woken.load(Relaxed)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.bytes() > self.bytes_max
    }

    /// Makes room if there is none. The caller must not hold the lock of an outbox.
    pub(crate) fn relieve(&self) {
        if !self.is_full() {
            return;
        }
        let outboxes = match self.outboxes.try_lock() {
            Ok(outboxes) => outboxes,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Somebody is at it, or opens or closes one: then the next who adds something is.
            Err(TryLockError::WouldBlock) => return,
        };
        let all: Vec<Arc<Outbox>> = outboxes.values().filter_map(Weak::upgrade).collect();
        // Only then may one of them be dropped: it takes itself out of the list.
        drop(outboxes);
        let all = all.into_iter().map(|it| (it.bytes(), it));
        let mut all: Vec<(usize, Arc<Outbox>)> = all.filter(|(bytes, _)| *bytes > 0).collect();
        all.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let enough = self.bytes_max / 4 * 3;
        let mut steps = all.iter();
        while self.bytes() > enough
            && let Some((_, outbox)) = steps.next()
        {
            outbox.conflate();
        }
        all.sort_unstable_by_key(|(_, it)| Reverse(it.bytes()));
        let mut steps = all.iter();
        while self.bytes() > enough
            && let Some((_, outbox)) = steps.next()
        {
            outbox.crowd_out();
        }
    }

    fn outboxes(&self) -> MutexGuard<'_, HashMap<u64, Weak<Outbox>>> {
        // A list of names: nothing in here panics half-way.
        let outboxes = self.outboxes.lock();
        outboxes.unwrap_or_else(PoisonError::into_inner)
    }
}
