//! What this node knows of its lease, and of those of the others.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

use presence_core::Timestamp;
use presence_core::cluster::Incarnation;
use presence_core::ports::Leases;
use tokio::sync::watch;

use crate::pulse::Pulse;

/// The leases of all nodes as they were last read, and which of them is this node; `None` before that.
pub(crate) type Seen = Option<(Incarnation, Leases)>;

/// What the tasks of a node know of leases: until when this node holds its own, for every task that writes; the partitions
/// of the store in which it finishes what others have begun; the leases of all nodes; and whether the process stood still.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) pulse: Arc<Pulse>,
    until: AtomicU64,
    /// The end of the lease, by the store's clock.
    until_at_store: AtomicU64,
    /// Whether a write failed, or the store has lost data, since this was last checked.
    is_troubled: AtomicBool,
    partitions: watch::Sender<Arc<[u16]>>,
    seen: watch::Sender<Seen>,
}

impl Holding {
    pub(crate) fn new(pulse: Arc<Pulse>) -> Self {
        Holding {
            pulse,
            until: AtomicU64::default(),
            until_at_store: AtomicU64::default(),
            is_troubled: AtomicBool::default(),
            partitions: watch::Sender::default(),
            seen: watch::Sender::default(),
        }
    }

    pub(crate) fn until(&self, moment: Timestamp, at_store: Timestamp) {
        self.until_at_store.store(at_store.as_millis(), Relaxed);
        self.until.store(moment.as_millis(), Relaxed);
    }

    /// The deadline for a write that is sent now.
    pub(crate) fn deadline(&self) -> Timestamp {
        Timestamp::from_millis(self.until_at_store.load(Relaxed))
    }

    /// Something of this node's may not be in the store, because of `why`.
    pub(crate) fn trouble(&self, why: &str) {
        tracing::debug!(
            why,
            "others wait until all of this node is in the shared store"
        );
        self.is_troubled.store(true, Relaxed);
    }

    /// Whether some of this node's data may not have been in the store since the last call.
    pub(crate) fn take_trouble(&self) -> bool {
        self.is_troubled.swap(false, Relaxed)
    }

    /// Whether this node holds its lease at `now`.
    pub(crate) fn is_held(&self, now: Timestamp) -> bool {
        now.as_millis() < self.until.load(Relaxed)
    }

    pub(crate) fn answers_for(&self, partitions: Arc<[u16]>) {
        self.partitions.send_if_modified(|it| {
            let is_new = *it != partitions;
            *it = partitions;
            is_new
        });
    }

    /// Notes all leases, which were read just now, and which of them is this node.
    pub(crate) fn saw(&self, me: Incarnation, leases: Leases) {
        self.seen.send_replace(Some((me, leases)));
    }

    /// Receives the leases of all nodes each time that they are read.
    pub(crate) fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    pub(crate) fn partitions(&self) -> watch::Receiver<Arc<[u16]>> {
        self.partitions.subscribe()
    }
}
