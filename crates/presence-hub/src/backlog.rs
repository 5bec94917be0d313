//! What waits for all connections of a node together: the bytes, and what happens when there are too many; and the
//! connections that are behind.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::{AtomicIsize, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};

use crate::counters::Counters;
use crate::delivery::Delivery;
use crate::send_queue::SendQueue;

/// The size of one waiting delivery besides its content, in bytes.
const ENTRY_BYTES: usize = 64;

/// Counts the bytes that wait in the send queues of a node. An event that waits in many send queues is counted once, because
/// it is in memory once.
///
/// When there are more than `bytes_max`, the largest send queues are conflated, one after the other, until a quarter of
/// that is free. If that is not enough, because answers take the room, the connections with the most answers are ended.
#[derive(Debug)]
pub(crate) struct Backlog {
    bytes_max: usize,
    bytes: AtomicIsize,
    /// The connections that were woken, because something waits for them, and have not run since.
    woken: AtomicUsize,
    names: AtomicU64,
    send_queues: Mutex<HashMap<u64, Weak<SendQueue>>>,
    counters: Arc<Counters>,
}

impl Backlog {
    pub(crate) fn new(bytes_max: usize, counters: Arc<Counters>) -> Self {
        Backlog {
            bytes_max,
            bytes: AtomicIsize::new(0),
            woken: AtomicUsize::new(0),
            names: AtomicU64::new(0),
            send_queues: Mutex::default(),
            counters,
        }
    }

    /// Opens a send queue, which may hold `bytes_max` bytes itself.
    pub(crate) fn open(self: &Arc<Self>, bytes_max: usize) -> Arc<SendQueue> {
        let name = self.names.fetch_add(1, Relaxed);
        let send_queue = SendQueue::new(bytes_max, self.counters.clone(), (name, self.clone()));
        let send_queue = Arc::new(send_queue);
        self.send_queues().insert(name, Arc::downgrade(&send_queue));
        send_queue
    }

    /// Removes a send queue. What waited in it must have been taken out.
    pub(crate) fn close(&self, name: u64) {
        self.send_queues().remove(&name);
    }

    /// Counts a delivery that waits from now on.
    pub(crate) fn add(&self, delivery: &Delivery) {
        let bytes = match delivery {
            Delivery::Event(shared) => shared.note_queued(),
            other => other.weight(),
        };
        self.change(bytes as isize + ENTRY_BYTES as isize);
    }

    /// Counts a delivery that waits no longer.
    pub(crate) fn remove(&self, delivery: &Delivery) {
        let bytes = match delivery {
            Delivery::Event(shared) => shared.note_taken(),
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
    pub(crate) fn note_woken(&self) {
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

    /// Makes room if there is none. The caller must not hold the lock of a send queue.
    pub(crate) fn relieve(&self) {
        if !self.is_full() {
            return;
        }
        let send_queues = match self.send_queues.try_lock() {
            Ok(send_queues) => send_queues,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Another thread holds the lock. The next thread that adds something tries again.
            Err(TryLockError::WouldBlock) => return,
        };
        let all: Vec<Arc<SendQueue>> = send_queues.values().filter_map(Weak::upgrade).collect();
        // Only then may one of them be dropped: it takes itself out of the list.
        drop(send_queues);
        let all = all.into_iter().map(|it| (it.bytes(), it));
        let mut all: Vec<(usize, Arc<SendQueue>)> = all.filter(|(bytes, _)| *bytes > 0).collect();
        all.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let enough = self.bytes_max / 4 * 3;
        let mut steps = all.iter();
        while self.bytes() > enough
            && let Some((_, send_queue)) = steps.next()
        {
            send_queue.conflate();
        }
        all.sort_unstable_by_key(|(_, it)| Reverse(it.bytes()));
        let mut steps = all.iter();
        while self.bytes() > enough
            && let Some((_, send_queue)) = steps.next()
        {
            send_queue.crowd_out();
        }
    }

    fn send_queues(&self) -> MutexGuard<'_, HashMap<u64, Weak<SendQueue>>> {
        // A list of names: nothing in here panics half-way.
        let send_queues = self.send_queues.lock();
        send_queues.unwrap_or_else(PoisonError::into_inner)
    }
}
