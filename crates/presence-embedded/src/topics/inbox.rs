//! The notices that wait for one node.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use presence_core::cluster::PARTITIONS;
use presence_core::ports::Notice;
use tokio::sync::Notify;

/// How many notices may wait for a slow node. Later ones are dropped; the node is told which partition of the store they were
/// about, and there is always room for that.
pub const NOTICES_MAX: usize = 16_384;

/// The notices that wait for one node, in order.
#[derive(Debug)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug)]
struct Waiting {
    notices: VecDeque<Notice>,
    /// The partitions for which a [`Notice::Forgot`] waits. Further notices of those partitions are dropped: the node will
    /// compare the whole partition anyway once it takes the [`Notice::Forgot`].
    forgotten: Box<[bool]>,
    is_deaf: bool,
}

impl Inbox {
    pub(super) fn new() -> Self {
        let waiting = Waiting {
            notices: VecDeque::new(),
            forgotten: vec![false; usize::from(PARTITIONS)].into(),
            is_deaf: false,
        };
        Inbox {
            waiting: Mutex::new(waiting),
            arrived: Notify::new(),
        }
    }

    /// Queues `notice`, which is about a subject in `partition`.
    pub(super) fn put(&self, partition: u16, notice: Notice) {
        let mut waiting = self.lock();
        if waiting.is_deaf || waiting.forgotten[usize::from(partition)] {
            return;
        }
        if waiting.notices.len() >= NOTICES_MAX {
            waiting.forget(partition);
        } else {
            waiting.notices.push_back(notice);
        }
        self.arrived.notify_one();
    }

    /// Queues a notice that everything in `partition` has to be compared.
    pub(super) fn forget(&self, partition: u16) {
        self.lock().forget(partition);
        self.arrived.notify_one();
    }

    /// While `is_deaf`, drops every notice that comes.
    pub(super) fn set_deaf(&self, is_deaf: bool) {
        self.lock().is_deaf = is_deaf;
    }

    /// Takes the first notice, or waits for one. Cancelling it loses nothing.
    pub(super) async fn take(&self) -> Notice {
        loop {
            if let Some(notice) = self.lock().take() {
                // One notification may stand for many notices, and other tasks may be waiting for those.
                self.arrived.notify_one();
                return notice;
            }
            self.arrived.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change is a single push or pop, so a panic elsewhere leaves nothing half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn forget(&mut self, partition: u16) {
        let is_said = &mut self.forgotten[usize::from(partition)];
        if !std::mem::replace(is_said, true) {
            self.notices.push_back(Notice::Forgot(partition));
        }
    }

    fn take(&mut self) -> Option<Notice> {
        let notice = self.notices.pop_front()?;
        if let Notice::Forgot(partition) = notice {
            self.forgotten[usize::from(partition)] = false;
        }
        Some(notice)
    }
}
