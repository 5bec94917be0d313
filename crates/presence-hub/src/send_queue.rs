//! The queue of one connection: ordered, bounded in bytes, and conflated when it is full.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;

use presence_core::{Refusal, Topic, Window};

use crate::backlog::Backlog;
use crate::counters::Counters;
use crate::delivery::{Delivery, Ended, Reference, Watched};
use crate::shared_event::SharedEvent;

/// The number of deliveries that an empty queue keeps room for.
const KEPT: usize = 4;

/// The deliveries that wait for one connection.
///
/// When there is no more room, all events are dropped, and the reader is told that it lags, so that it asks for the
/// states that the events were about. Answers cannot be dropped; too many of them end the connection.
#[derive(Debug)]
pub(crate) struct SendQueue {
    inner: Mutex<Inner>,
    bytes_max: usize,
    counters: Arc<Counters>,
    /// The number of this send queue among those of the node.
    name: u64,
    backlog: Arc<Backlog>,
    /// The bytes that wait, to be read without the lock.
    bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct Inner {
    queue: VecDeque<Queued>,
    bytes: usize,
    lagging: bool,
    ended: Option<Ended>,
    reader: Option<Waker>,
    /// Whether the reader was woken and has not looked since.
    is_woken: bool,
}

#[derive(Debug)]
struct Queued {
    delivery: Delivery,
    undo: Option<Box<Undo>>,
}

/// A watch or a window that a command asked for. It is undone if the command is refused.
#[derive(Debug)]
pub(crate) enum Undo {
    Watch {
        topic: Topic,
        /// The number of the command among those that asked to watch something.
        ask: u32,
        /// How the topic was watched before, if it was.
        before: Option<Watched>,
    },
    Window {
        topic: Topic,
        number: u32,
        /// The number of the command among those that asked to watch something.
        ask: u32,
        /// The window that was open under that number before, if one was.
        before: Option<Window>,
    },
}

/// What a reader takes out of the send queue.
pub(crate) enum Found {
    Delivery(Delivery, Option<Box<Undo>>),
    /// Events were dropped. From now on events are queued again.
    Lagged,
    Ended(Ended),
}

impl SendQueue {
    /// A new send queue: see [`Backlog::open`].
    pub(crate) fn new(
        bytes_max: usize,
        counters: Arc<Counters>,
        (name, backlog): (u64, Arc<Backlog>),
    ) -> Self {
        SendQueue {
            inner: Mutex::default(),
            bytes_max,
            counters,
            name,
            backlog,
            bytes: AtomicUsize::new(0),
        }
    }

    pub(crate) fn tell(&self, shared: &Arc<SharedEvent>) {
        let mut inner = self.lock();
        if inner.lagging || inner.ended.is_some() {
            return;
        }
        // One event may go beyond the bound: what is bigger than the queue could never be told else.
        if inner.bytes > self.bytes_max {
            inner.conflate(&self.backlog);
            Counters::add(&self.counters.conflated, 1);
        } else {
            Counters::add(&self.counters.delivered, 1);
            inner.push(Delivery::Event(shared.clone()), None, &self.backlog);
        }
        self.woken(inner);
        self.backlog.relieve();
    }

    /// Counts how long an answer to this connection took.
    pub(crate) fn took(&self, span: Duration) {
        self.counters.measured.command_to_answer.observe_span(span);
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
        if inner.ended == Some(Ended::Crowded) {
            return;
        }
        if inner.bytes + delivery.weight() > self.bytes_max {
            inner.conflate(&self.backlog);
            Counters::add(&self.counters.conflated, 1);
        }
        if inner.bytes + delivery.weight() > self.bytes_max {
            inner.ended.get_or_insert(Ended::TooSlow);
        } else {
            inner.push(delivery, undo, &self.backlog);
        }
        self.woken(inner);
        self.backlog.relieve();
    }

    /// Drops every event, because too much waits for all connections together. The reader gets the differences instead.
    pub(crate) fn conflate(&self) {
        let mut inner = self.lock();
        let has_events = inner
            .queue
            .iter()
            .any(|it| matches!(it.delivery, Delivery::Event(_)));
        if !has_events {
            return;
        }
        inner.conflate(&self.backlog);
        Counters::add(&self.counters.crowded, 1);
        self.woken(inner);
    }

    /// Drops everything and ends the connection, because too much waits for all connections together, and most of it
    /// here is answers.
    pub(crate) fn crowd_out(&self) {
        let mut inner = self.lock();
        inner.clear(&self.backlog);
        inner.ended.get_or_insert(Ended::Crowded);
        Counters::add(&self.counters.crowded, 1);
        self.woken(inner);
    }

    /// The number of bytes that wait in this send queue.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Relaxed)
    }

    pub(crate) fn end(&self, why: Ended) {
        let mut inner = self.lock();
        inner.ended.get_or_insert(why);
        self.woken(inner);
    }

    /// Why the connection gets nothing more, once that is so.
    pub(crate) fn ended(&self) -> Option<Ended> {
        self.lock().ended
    }

    /// The next delivery, if there is one; otherwise `reader` is woken when there is one.
    pub(crate) fn poll(&self, reader: Option<&Waker>) -> Poll<Found> {
        let mut inner = self.lock();
        if std::mem::take(&mut inner.is_woken) {
            self.backlog.runs();
        }
        if let Some(Queued { delivery, undo }) = inner.queue.pop_front() {
            inner.bytes -= delivery.weight();
            self.backlog.remove(&delivery);
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
        if reader.is_some() && !std::mem::replace(&mut inner.is_woken, true) {
            self.backlog.note_woken();
        }
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for SendQueue {
    fn drop(&mut self) {
        let mut inner = self.lock();
        inner.clear(&self.backlog);
        if std::mem::take(&mut inner.is_woken) {
            self.backlog.runs();
        }
        drop(inner);
        self.backlog.close(self.name);
    }
}

impl Inner {
    fn push(&mut self, delivery: Delivery, undo: Option<Box<Undo>>, backlog: &Backlog) {
        self.bytes += delivery.weight();
        backlog.add(&delivery);
        self.queue.push_back(Queued { delivery, undo });
    }

    /// Drops every event. Answers stay, in order.
    fn conflate(&mut self, backlog: &Backlog) {
        self.queue.retain(|it| {
            let is_event = matches!(it.delivery, Delivery::Event(_));
            if is_event {
                backlog.remove(&it.delivery);
            }
            !is_event
        });
        self.queue.shrink_to(KEPT);
        self.bytes = self.queue.iter().map(|it| it.delivery.weight()).sum();
        self.lagging = true;
    }

    fn clear(&mut self, backlog: &Backlog) {
        for it in self.queue.drain(..) {
            backlog.remove(&it.delivery);
        }
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use presence_core::{ChannelId, Event, TopicVersion};

    fn told() -> Arc<SharedEvent> {
        Arc::new(SharedEvent::new(Arc::new(Event::Unchanged {
            topic: Topic::Channel(ChannelId::new("room:1").unwrap()),
            clock: TopicVersion {
                epoch: 1,
                version: 1,
            },
            typing: Vec::new(),
            cursors: Vec::new(),
        })))
    }

    fn send_queue(events: usize) -> Arc<SendQueue> {
        backlog(usize::MAX / 8).open(told().weight() * events)
    }

    fn backlog(bytes_max: usize) -> Arc<Backlog> {
        Arc::new(Backlog::new(bytes_max, Arc::default()))
    }

    fn read(send_queue: &SendQueue) -> Vec<&'static str> {
        let mut found = Vec::new();
        while let Poll::Ready(next) = send_queue.poll(None) {
            found.push(match next {
                Found::Delivery(Delivery::Event(_), _) => "told",
                Found::Delivery(Delivery::Granted(_), _) => "granted",
                Found::Delivery(Delivery::Refused(..), _) => "refused",
                Found::Delivery(Delivery::Ended(_), _) => unreachable!("the session makes those"),
                Found::Lagged => "lagged",
                Found::Ended(Ended::TooSlow) => return [found, vec!["too slow"]].concat(),
                Found::Ended(Ended::Crowded) => return [found, vec!["crowded"]].concat(),
                Found::Ended(_) => return [found, vec!["ended"]].concat(),
            });
        }
        found
    }

    #[test]
    fn a_reader_that_keeps_up_gets_everything_in_order() {
        let send_queue = send_queue(3);
        send_queue.tell(&told());
        send_queue.answer(Some(Reference(1)), Ok(()), None);
        send_queue.tell(&told());
        assert_eq!(read(&send_queue), ["told", "granted", "told"]);
        assert_eq!(read(&send_queue), [""; 0]);
    }

    #[test]
    fn a_full_queue_drops_events_keeps_answers_and_says_that_it_lags() {
        let send_queue = send_queue(2);
        send_queue.tell(&told());
        send_queue.answer(Some(Reference(1)), Ok(()), None);
        send_queue.tell(&told());
        send_queue.tell(&told());
        assert_eq!(read(&send_queue), ["granted", "lagged"]);
        send_queue.tell(&told());
        assert_eq!(read(&send_queue), ["told"]);
    }

    #[test]
    fn an_event_that_is_bigger_than_the_queue_still_arrives() {
        let send_queue = backlog(usize::MAX / 8).open(1);
        send_queue.tell(&told());
        assert_eq!(read(&send_queue), ["told"]);
        send_queue.tell(&told());
        send_queue.tell(&told());
        assert_eq!(read(&send_queue), ["lagged"]);
        send_queue.tell(&told());
        assert_eq!(read(&send_queue), ["told"]);
    }

    #[test]
    fn when_too_much_waits_for_all_the_largest_are_conflated_and_the_others_are_not() {
        let one = told().weight() + 64;
        let backlog = backlog(one * 100);
        let [large, small] = [(); 2].map(|()| backlog.open(usize::MAX / 8));
        for _ in 0..20 {
            small.tell(&told());
        }
        for _ in 0..1000 {
            large.tell(&told());
            assert!(backlog.bytes() <= one * 101);
        }
        assert_eq!(read(&small), ["told"; 20]);
        let large = read(&large);
        assert_eq!(large.last(), Some(&"lagged"));
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn what_waits_for_many_is_counted_once_and_not_when_it_waits_no_longer() {
        let backlog = backlog(usize::MAX / 8);
        let send_queues: Vec<_> = (0..100).map(|_| backlog.open(1 << 20)).collect();
        let shared = told();
        send_queues.iter().for_each(|it| it.tell(&shared));
        assert_eq!(backlog.bytes(), shared.weight() + 100 * 64);
        assert_eq!(read(&send_queues[0]), ["told"]);
        send_queues[1].conflate();
        send_queues[2].crowd_out();
        assert_eq!(backlog.bytes(), shared.weight() + 97 * 64);
        drop(send_queues);
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn connections_count_as_behind_from_when_they_are_woken_until_they_look() {
        let backlog = backlog(usize::MAX / 8);
        let send_queues: Vec<_> = (0..3).map(|_| backlog.open(1 << 20)).collect();
        let waits = |send_queue: &SendQueue| {
            assert!(send_queue.poll(Some(Waker::noop())).is_pending());
        };
        // One that has not looked yet does not wait to be woken.
        send_queues[0].tell(&told());
        assert_eq!(backlog.woken(), 0);
        assert_eq!(read(&send_queues[0]), ["told"]);
        send_queues.iter().for_each(|it| waits(it));
        for _ in 0..10 {
            send_queues.iter().for_each(|it| it.tell(&told()));
        }
        assert_eq!(backlog.woken(), 3);
        // One that has looked may take its time: its client may not read.
        let _ = send_queues[0].poll(None);
        send_queues[0].tell(&told());
        assert_eq!(backlog.woken(), 2);
        send_queues[1].crowd_out();
        assert_eq!(read(&send_queues[1]), ["crowded"]);
        assert_eq!(backlog.woken(), 1);
        drop(send_queues);
        assert_eq!(backlog.woken(), 0);
    }

    #[test]
    fn when_answers_are_too_much_for_all_those_with_the_most_are_ended() {
        let backlog = backlog(100_000);
        let [greedy, modest] = [(); 2].map(|()| backlog.open(usize::MAX / 8));
        let answer = |to: &SendQueue| to.answer(Some(Reference(1)), Ok(()), None);
        (0..100).for_each(|_| answer(&modest));
        for _ in 0..10_000 {
            answer(&greedy);
            assert!(backlog.bytes() < 101_000);
        }
        assert_eq!(read(&greedy), ["crowded"]);
        assert_eq!(read(&modest), ["granted"; 100]);
    }

    #[test]
    fn answers_that_nobody_reads_end_the_connection_and_the_memory_is_bounded() {
        let send_queue = send_queue(2);
        for n in 0..10_000 {
            send_queue.answer(Some(Reference(n)), Err(Refusal::NotJoined), None);
        }
        assert!(send_queue.bytes.load(Relaxed) <= send_queue.bytes_max);
        assert_eq!(read(&send_queue).last(), Some(&"too slow"));
    }
}
