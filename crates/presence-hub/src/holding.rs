//! What this node knows of its lease, and of those of the others.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
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
    /// Which generation of this node holds the lease.
    generation: AtomicU64,
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
            generation: AtomicU64::default(),
            until: AtomicU64::default(),
            until_at_store: AtomicU64::default(),
            is_troubled: AtomicBool::default(),
            partitions: watch::Sender::default(),
            seen: watch::Sender::default(),
        }
    }

    /// Notes until when this node holds its lease as `me`: by its own clock, and by the store's.
    pub(crate) fn until(&self, me: Incarnation, moment: Timestamp, at_store: Timestamp) {
        self.generation.store(me.generation.into(), Release);
        self.until_at_store.store(at_store.as_millis(), Release);
        self.until.store(moment.as_millis(), Release);
    }

    /// The deadline for a write that is sent at `now`, and was made by the incarnation `by` of this node: the end of its
    /// lease by the store's clock. `None` if that lease has ended, because others may have declared it dead. A write that
    /// waited until this node had begun its next generation does not go under the lease of that one.
    pub(crate) fn deadline(&self, by: Incarnation, now: Timestamp) -> Option<Timestamp> {
        let is_held = now.as_millis() < self.until.load(Acquire);
        let at_store = self.until_at_store.load(Acquire);
        let is_mine = self.generation.load(Acquire) == u64::from(by.generation);
        (is_held && is_mine).then(|| Timestamp::from_millis(at_store))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    #[test]
    fn a_write_goes_under_the_lease_of_the_generation_that_made_it() {
        let [first, next] = [0, 1].map(|generation| Incarnation {
            node: 7,
            generation,
        });
        let holding = Holding::new(Arc::new(Pulse::new()));
        assert_eq!(holding.deadline(first, at(0)), None, "it has no lease");
        holding.until(first, at(15), at(115));
        assert_eq!(holding.deadline(first, at(14)), Some(at(115)));
        assert_eq!(holding.deadline(first, at(15)), None, "the lease has ended");
        // It was declared dead, and goes on as its next generation.
        holding.until(next, at(40), at(140));
        assert_eq!(holding.deadline(first, at(30)), None);
        assert_eq!(holding.deadline(next, at(30)), Some(at(140)));
    }
}
