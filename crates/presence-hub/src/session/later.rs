//! Whole states of topics that are asked for later: when the byte budget of the connection allows it, and when fewer
//! states are on their way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use presence_core::{ByteBucket, ByteRate, Event, Topic, TopicVersion, Watching};

use super::{BUSY, Reference, Session};
use crate::clock::WallClock;
use crate::delivery::Watched;
use crate::shared_event::SharedEvent;

/// The number of states that may be on their way to one connection: their size is known only when they are there.
const COMING_MAX: usize = 16;

/// The byte budget of one connection for whole states. Clones share one budget: if a connection has several sessions,
/// at once or one after the other, all of them use the same.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Purse>);

#[derive(Debug)]
struct Purse {
    clock: WallClock,
    rate: ByteRate,
    bucket: Mutex<ByteBucket>,
}

impl Budget {
    pub(crate) fn new(clock: WallClock, rate: ByteRate) -> Self {
        Budget(Arc::new(Purse {
            clock,
            rate,
            bucket: Mutex::new(ByteBucket::full()),
        }))
    }

    fn wait(&self) -> Option<Duration> {
        self.bucket().wait(self.0.clock.now(), self.0.rate)
    }

    fn spend(&self, bytes: usize) {
        let (now, rate) = (self.0.clock.now(), self.0.rate);
        self.bucket().spend(now, rate, bytes);
    }

    fn bucket(&self) -> MutexGuard<'_, ByteBucket> {
        // One number, which no panic leaves half written.
        self.0.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A state of a topic that is asked for when there is room for it.
#[derive(Debug)]
pub(super) struct Later {
    pub(super) topic: Topic,
    watching: Watching,
    have: Option<TopicVersion>,
    /// The number of the command among those that asked to watch something.
    ask: u32,
    reference: Option<Reference>,
}

impl Session {
    /// The byte budget of this connection for whole states.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Uses `budget` from now on, which another session of the same connection has.
    pub fn draw_from(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// How long to wait before asking for something else that costs many bytes, such as a list; `None` if it may be
    /// asked for now.
    pub fn bytes_wait(&self) -> Option<Duration> {
        self.budget.wait()
    }

    /// Counts `bytes` as spent on whole states of this connection, because something similar was asked for.
    pub fn spend_bytes(&self, bytes: usize) {
        self.budget.spend(bytes);
    }

    /// Whether a state of `topic` must not be asked for now.
    pub(super) fn has_to_wait(&self, topic: &Topic) -> bool {
        let is_coming = self.topics.get(topic).is_some_and(|it| it.is_coming);
        let waits_in_line = !self.later.is_empty() || self.topics.coming() >= COMING_MAX;
        is_coming || waits_in_line || self.budget.wait().is_some()
    }

    /// Asks for a state of `topic` when there is room for it: once, however often it is wanted until then.
    pub(super) fn ask_for_later(
        &mut self,
        topic: Topic,
        (watching, have): (Watching, Option<TopicVersion>),
        ask: u32,
        reference: Option<Reference>,
    ) {
        match self.topics.get_mut(&topic) {
            Some(watched) => watched.ask = ask,
            None => {
                let watched = Watched {
                    watching,
                    known: None,
                    ask,
                    is_coming: false,
                };
                self.topics.insert(topic.clone(), watched);
            }
        }
        // This request takes the place of one that still waits: one state answers both.
        self.forget_later(&topic);
        self.later.push(Later {
            topic,
            watching,
            have,
            ask,
            reference,
        });
    }

    /// Forgets that a state of `topic` was wanted.
    pub(super) fn forget_later(&mut self, topic: &Topic) {
        if let Some(index) = self.later.iter().position(|it| it.topic == *topic) {
            let later = self.later.remove(index);
            if later.reference.is_some() {
                self.grant(later.reference);
            }
        }
    }

    /// Asks for the states that there is room for. Returns when to check again, if a delivery does not make
    /// room by itself.
    pub(super) fn ask_later(&mut self) -> Option<Duration> {
        let mut index = 0;
        while let Some(Later { topic, .. }) = self.later.get(index) {
            if let Some(wait) = self.budget.wait() {
                return Some(wait);
            }
            if self.topics.coming() >= COMING_MAX {
                return None;
            }
            if self.topics.get(topic).is_some_and(|it| it.is_coming) {
                index += 1;
                continue;
            }
            let later = self.later.remove(index);
            if let Err(later) = self.ask_now(later) {
                self.later.insert(index, later);
                return Some(BUSY.retry_after);
            }
        }
        None
    }

    /// # Errors
    ///
    /// The mailbox is full: returns what was to be asked for.
    fn ask_now(&mut self, later: Later) -> Result<(), Later> {
        let have = self.usable(&later.topic, later.watching, later.have);
        let reply_to = self.reply_to_undoing(&later.topic, later.ask, later.reference);
        let message = self.watch_message(later.topic.clone(), later.watching, have, reply_to);
        if self.send_to(&later.topic, message).is_err() {
            return Err(later);
        }
        self.note(later.topic, later.watching, have, later.ask);
        Ok(())
    }

    /// Counts the bytes of `shared` if it is a state that was asked for. A whole state always counts, even if the topic
    /// is no longer watched: otherwise watching and unwatching in turns would cost nothing.
    pub(super) fn spend_on(&self, shared: &SharedEvent) {
        let is_asked_for = match &*shared.event {
            Event::Everyone { .. } | Event::Window { .. } => true,
            Event::Summary { topic, .. } | Event::Unchanged { topic, .. } => {
                self.topics.get(topic).is_some_and(|it| it.is_coming)
            }
            _ => false,
        };
        if is_asked_for {
            self.budget.spend(shared.weight());
        }
    }
}
