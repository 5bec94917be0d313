//! Notices that were received and have not been taken yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use presence_core::cluster::{PARTITIONS, Subject};
use presence_core::ports::Notice;
use tokio::sync::Notify;

use crate::garbled::Garbled;
use crate::record::{self, Message};

/// The maximum size of the waiting notices, in bytes. Further ones are dropped, and their partition is compared instead.
pub const NOTICES_BYTES_MAX: usize = 32 << 20;
/// The size of a waiting notice besides its message, in bytes.
const OVERHEAD_BYTES: usize = 128;

/// A queue of notices, in order.
#[derive(Default)]
pub(crate) struct Notices {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    garbled: Garbled,
}

struct Waiting {
    queue: VecDeque<Queued>,
    bytes: usize,
    /// The partitions for which a [`Notice::Forgot`] waits. Other notices of those partitions are dropped, because the
    /// receiver of that one compares everything there.
    forgotten: Box<[bool]>,
}

enum Queued {
    /// A message that has not been decoded yet, so that its size is known.
    Message(Subject, Bytes),
    Notice(Notice),
}

impl Notices {
    /// Adds a message that was received on the channel of `subject`.
    pub(crate) fn told(&self, partition: u16, subject: Subject, message: Bytes) {
        self.put(partition, Queued::Message(subject, message));
    }

    /// Adds `notice` to the queue.
    pub(crate) fn say(&self, partition: u16, notice: Notice) {
        self.put(partition, Queued::Notice(notice));
    }

    /// Adds the notice that everything in `partition` has to be compared.
    pub(crate) fn forget(&self, partition: u16) {
        self.lock().forget(partition);
        self.arrived.notify_one();
    }

    /// The counter of what cannot be understood.
    pub(crate) fn garbled(&self) -> &Garbled {
        &self.garbled
    }

    /// Waits for the next notice. Cancelling the call loses nothing.
    pub(crate) async fn next(&self) -> Notice {
        loop {
            // Taken, decoded and returned without waiting in between.
            while let Some(heard) = self.take() {
                if let Some(notice) = heard.decoded(&self.garbled) {
                    return notice;
                }
            }
            self.arrived.notified().await;
        }
    }

    fn put(&self, partition: u16, heard: Queued) {
        let mut waiting = self.lock();
        if waiting.forgotten[usize::from(partition)] {
            return;
        }
        let bytes = heard.bytes();
        if waiting.bytes + bytes > NOTICES_BYTES_MAX {
            waiting.forget(partition);
        } else {
            waiting.bytes += bytes;
            waiting.queue.push_back(heard);
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    fn take(&self) -> Option<Queued> {
        let mut waiting = self.lock();
        let heard = waiting.queue.pop_front()?;
        waiting.bytes -= heard.bytes();
        if let Queued::Notice(Notice::Forgot(partition)) = heard {
            waiting.forgotten[usize::from(partition)] = false;
        }
        if !waiting.queue.is_empty() {
            // One notification may stand for many, and somebody else may wait for those.
            self.arrived.notify_one();
        }
        Some(heard)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Waiting {
    fn default() -> Self {
        Waiting {
            queue: VecDeque::new(),
            bytes: 0,
            forgotten: vec![false; usize::from(PARTITIONS)].into(),
        }
    }
}

impl Waiting {
    fn forget(&mut self, partition: u16) {
        let is_said = &mut self.forgotten[usize::from(partition)];
        if !std::mem::replace(is_said, true) {
            let heard = Queued::Notice(Notice::Forgot(partition));
            // There are no more of these than partitions, so they need no room.
            self.bytes += heard.bytes();
            self.queue.push_back(heard);
        }
    }
}

impl Queued {
    fn bytes(&self) -> usize {
        match self {
            Queued::Message(_, message) => message.len() + OVERHEAD_BYTES,
            Queued::Notice(_) => OVERHEAD_BYTES,
        }
    }

    /// The notice, if the message can be understood. Otherwise it counts as lost, and the change is found by comparing.
    fn decoded(self, garbled: &Garbled) -> Option<Notice> {
        let (subject, message) = match self {
            Queued::Notice(notice) => return Some(notice),
            Queued::Message(subject, message) => (subject, message),
        };
        match record::decode_message(&subject, &message, garbled) {
            Ok(Message::Patch(patch)) => Some(Notice::Patched(subject, patch)),
            Ok(Message::Ephemerals(ephemerals)) => Some(Notice::Ephemeral(subject, ephemerals)),
            Err(error) => {
                garbled.note(&subject, &error);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use presence_core::UserId;
    use presence_core::cluster::Ephemeral;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_heard_comes_in_order_and_then_nothing() {
        let notices = Notices::default();
        notices.say(7, Notice::At(ann(), None));
        notices.told(7, ann(), kicked());
        notices.told(7, ann(), Bytes::from_static(b"hello"));
        notices.forget(3);
        assert_eq!(notices.next().await, Notice::At(ann(), None));
        let ephemeral = Notice::Ephemeral(ann(), vec![Ephemeral::Kicked]);
        assert_eq!(notices.next().await, ephemeral);
        assert_eq!(notices.next().await, Notice::Forgot(3));
        check_nothing(&notices).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_that_is_to_be_compared_has_nothing_else_to_say_until_that_is_heard() {
        let notices = Notices::default();
        notices.forget(7);
        notices.forget(7);
        notices.say(7, Notice::At(ann(), None));
        notices.say(8, Notice::At(ann(), None));
        assert_eq!(notices.next().await, Notice::Forgot(7));
        assert_eq!(notices.next().await, Notice::At(ann(), None));
        check_nothing(&notices).await;
        notices.say(7, Notice::At(ann(), None));
        assert_eq!(notices.next().await, Notice::At(ann(), None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_dropped_and_its_partition_is_to_be_compared() {
        let notices = Notices::default();
        let big = Bytes::from(vec![0; NOTICES_BYTES_MAX - 1000]);
        notices.told(1, ann(), big.clone());
        notices.told(2, ann(), big);
        notices.told(3, ann(), kicked());
        assert_eq!(notices.next().await, Notice::Forgot(2));
        let ephemeral = Notice::Ephemeral(ann(), vec![Ephemeral::Kicked]);
        assert_eq!(notices.next().await, ephemeral);
        check_nothing(&notices).await;
        assert_eq!(notices.lock().bytes, 0);
    }

    async fn check_nothing(notices: &Notices) {
        let next = tokio::time::timeout(Duration::from_secs(1), notices.next());
        assert!(next.await.is_err());
    }

    fn kicked() -> Bytes {
        record::encode_ephemerals(&[Ephemeral::Kicked]).into()
    }

    fn ann() -> Subject {
        Subject::User(UserId::new("ann").unwrap())
    }
}
