//! The queue of one connection: ordered, bounded in bytes, and conflated rather than cut.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};

use presence_core::{Reason, Refusal, Topic};

use crate::counters::Counters;
use crate::session::{Delivery, Reference};
use crate::told::Told;

/// Why a session gets nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The core closed it: timed out, replaced by a newer connection, or kicked.
    Closed(Reason),
    /// Answers piled up that nobody read.
    TooSlow,
    /// The hub has stopped.
    Stopped,
}

/// Room for deliveries that an empty queue keeps.
const KEPT: usize = 4;

/// What waits for one connection.
///
/// Events can be dropped, because the state they tell of is still there to be told again: when there is no more room, all of
/// them are, and the reader is told that it lags. Answers cannot; too many of those end the connection.
#[derive(Debug)]
pub(crate) struct Outbox {
    inner: Mutex<Inner>,
    bytes_max: usize,
    counters: Arc<Counters>,
    /// Unread bytes, for whoever wants to know without locking.
    bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Queued>,
    bytes: usize,
    lagging: bool,
    ended: Option<Ended>,
    reader: Option<Waker>,
}

#[derive(Debug)]
struct Queued {
    delivery: Delivery,
    undo: Option<Box<Undo>>,
}

/// A watch that a command asked for, to be forgotten if the command is refused.
#[derive(Debug)]
pub(crate) struct Undo {
    pub(crate) topic: Topic,
    /// Which of the times that it was asked for.
    pub(crate) ask: u32,
}

/// What a reader finds.
pub(crate) enum Found {
    Delivery(Delivery, Option<Box<Undo>>),
    /// Events were dropped; from now on they are queued again.
    Lagged,
    Ended(Ended),
}

impl Outbox {
    pub(crate) fn new(bytes_max: usize, counters: Arc<Counters>) -> Self {
        Outbox {
            inner: Mutex::default(),
            bytes_max,
            counters,
            bytes: AtomicUsize::new(0),
        }
    }

    pub(crate) fn tell(&self, told: &Arc<Told>) {
        let mut inner = self.lock();
        if inner.lagging || inner.ended.is_some() {
            return;
        }
        // One event may go beyond the bound: what is bigger than the queue could never be told else.
        if inner.bytes > self.bytes_max {
            inner.conflate();
            Counters::add(&self.counters.conflated, 1);
        } else {
            Counters::add(&self.counters.delivered, 1);
            inner.push(Delivery::Told(told.clone()), None);
        }
        self.woken(inner);
    }

    pub(crate) fn answer(
        &self,
        reference: Option<Reference>,
        outcome: Result<(), Refusal>,
        undo: Option<Box<Undo>>,
    ) {
        let delivery = match (outcome, reference) {
            (Ok(()), None) => return,
            (Ok(()), Some(reference)) => Delivery::Granted(reference),
            (Err(why), reference) => Delivery::Refused(reference, why),
        };
        let undo = undo.filter(|_| matches!(delivery, Delivery::Refused(..)));
        let mut inner = self.lock();
        if inner.bytes + delivery.weight() > self.bytes_max {
            inner.conflate();
            Counters::add(&self.counters.conflated, 1);
        }
        if inner.bytes + delivery.weight() > self.bytes_max {
            inner.ended.get_or_insert(Ended::TooSlow);
        } else {
            inner.push(delivery, undo);
        }
        self.woken(inner);
    }

    pub(crate) fn end(&self, why: Ended) {
        let mut inner = self.lock();
        inner.ended.get_or_insert(why);
        self.woken(inner);
    }

    /// Why there will be nothing more, once that is so.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.lock().ended
    }

    /// What is next, if there is anything; else `reader` is woken when there is.
    pub(crate) fn poll(&self, reader: Option<&Waker>) -> Poll<Found> {
        let mut inner = self.lock();
        if let Some(Queued { delivery, undo }) = inner.queue.pop_front() {
            inner.bytes -= delivery.weight();
            self.bytes.store(inner.bytes, Relaxed);
            if inner.queue.is_empty() && inner.queue.capacity() > KEPT {
                // Most connections are quiet most of the time: an empty queue keeps next to no memory.
                inner.queue = VecDeque::new();
            }
            return Poll::Ready(Found::Delivery(delivery, undo));
        }
        if let Some(why) = inner.ended {
            return Poll::Ready(Found::Ended(why));
        }
        if std::mem::take(&mut inner.lagging) {
            return Poll::Ready(Found::Lagged);
        }
        if let Some(reader) = reader {
            match &mut inner.reader {
                Some(waker) => waker.clone_from(reader),
                None => inner.reader = Some(reader.clone()),
            }
        }
        Poll::Pending
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A poisoned queue is still a queue: nothing in here panics half-way.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn woken(&self, mut inner: MutexGuard<'_, Inner>) {
        self.bytes.store(inner.bytes, Relaxed);
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Inner {
    fn push(&mut self, delivery: Delivery, undo: Option<Box<Undo>>) {
        self.bytes += delivery.weight();
        self.queue.push_back(Queued { delivery, undo });
    }

    /// Drops every event; answers stay, in order.
    fn conflate(&mut self) {
        self.queue
            .retain(|it| !matches!(it.delivery, Delivery::Told(_)));
        self.bytes = self.queue.iter().map(|it| it.delivery.weight()).sum();
        self.lagging = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use presence_core::{ChannelId, Clock, Event};

    fn told() -> Arc<Told> {
        Arc::new(Told::new(Arc::new(Event::Unchanged {
            topic: Topic::Channel(ChannelId::new("room:1").unwrap()),
            clock: Clock {
                epoch: 1,
                version: 1,
            },
            typing: Vec::new(),
            cursors: Vec::new(),
        })))
    }

    fn outbox(events: usize) -> Outbox {
        Outbox::new(told().weight() * events, Arc::default())
    }

    fn read(outbox: &Outbox) -> Vec<&'static str> {
        let mut found = Vec::new();
        while let Poll::Ready(next) = outbox.poll(None) {
            found.push(match next {
                Found::Delivery(Delivery::Told(_), _) => "told",
                Found::Delivery(Delivery::Granted(_), _) => "granted",
                Found::Delivery(Delivery::Refused(..), _) => "refused",
                Found::Delivery(Delivery::Ended(_), _) => unreachable!("the session makes those"),
                Found::Lagged => "lagged",
                Found::Ended(Ended::TooSlow) => return [found, vec!["too slow"]].concat(),
                Found::Ended(_) => return [found, vec!["ended"]].concat(),
            });
        }
        found
    }

    #[test]
    fn a_reader_that_keeps_up_gets_everything_in_order() {
        let outbox = outbox(3);
        outbox.tell(&told());
        outbox.answer(Some("1".into()), Ok(()), None);
        outbox.tell(&told());
        assert_eq!(read(&outbox), ["told", "granted", "told"]);
        assert_eq!(read(&outbox), [""; 0]);
    }

    #[test]
    fn a_full_queue_drops_events_keeps_answers_and_says_that_it_lags() {
        let outbox = outbox(2);
        outbox.tell(&told());
        outbox.answer(Some("1".into()), Ok(()), None);
        outbox.tell(&told());
        outbox.tell(&told());
        assert_eq!(read(&outbox), ["granted", "lagged"]);
        outbox.tell(&told());
        assert_eq!(read(&outbox), ["told"]);
    }

    #[test]
    fn an_event_that_is_bigger_than_the_queue_still_arrives() {
        let outbox = Outbox::new(1, Arc::default());
        outbox.tell(&told());
        assert_eq!(read(&outbox), ["told"]);
        outbox.tell(&told());
        outbox.tell(&told());
        assert_eq!(read(&outbox), ["lagged"]);
        outbox.tell(&told());
        assert_eq!(read(&outbox), ["told"]);
    }

    #[test]
    fn answers_that_nobody_reads_end_the_connection_and_the_memory_is_bounded() {
        let outbox = outbox(2);
        for n in 0..10_000 {
            outbox.answer(Some(n.to_string().into()), Err(Refusal::NotJoined), None);
        }
        assert!(outbox.bytes.load(Relaxed) <= outbox.bytes_max);
        assert_eq!(read(&outbox).last(), Some(&"too slow"));
    }
}
