//! A shard of rosters: one task that owns them.

use std::collections::HashMap;
use std::sync::Arc;

use presence_core::rosters::{Effect, Hearers, Input, Page, Rosters};
use presence_core::users::Answer;
use presence_core::{Clock as Version, Event, SessionId, Topic, UserId, Watching};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::counters::Counters;
use crate::outbox::Outbox;
use crate::people::{Asker, answer, sleep_until};
use crate::told::Told;

/// Facts taken in one go before the clock is looked at again.
const BATCH_MAX: usize = 256;

#[derive(Debug)]
pub(crate) enum Message {
    Happened(Input<Asker>),
    Watch(Watch),
    Unwatch {
        topic: Topic,
        watcher: SessionId,
        outbox: Arc<Outbox>,
    },
    List {
        topic: Topic,
        offset: usize,
        limit: usize,
        reply: oneshot::Sender<Page>,
    },
    Typing(Topic, oneshot::Sender<Vec<UserId>>),
    Count(oneshot::Sender<usize>),
}

#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) topic: Topic,
    pub(crate) watcher: SessionId,
    pub(crate) watching: Watching,
    pub(crate) have: Option<Version>,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) asker: Option<Asker>,
}

pub(crate) struct Places {
    clock: Clock,
    rosters: Rosters,
    counters: Arc<Counters>,
    watchers: HashMap<Topic, HashMap<SessionId, (Watching, Arc<Outbox>)>>,
    /// The last whole state told of each topic, until something else is: many join at once, and share its encoding.
    snapshots: HashMap<Topic, Arc<Told>>,
}

impl Places {
    pub(crate) fn new(clock: Clock, rosters: Rosters, counters: Arc<Counters>) -> Self {
        Places {
            clock,
            rosters,
            counters,
            watchers: HashMap::new(),
            snapshots: HashMap::new(),
        }
    }

    /// Runs until nobody is left to tell it anything.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        let mut effects = Vec::new();
        let mut messages = Vec::with_capacity(BATCH_MAX);
        loop {
            let deadline = self.rosters.next_deadline();
            let wakes = deadline.map(|it| self.clock.instant(it));
            tokio::select! {
                received = inbox.recv_many(&mut messages, BATCH_MAX) => {
                    if received == 0 {
                        return;
                    }
                    for message in messages.drain(..) {
                        self.take(message, &mut effects);
                        self.perform(&mut effects);
                    }
                }
                () = sleep_until(wakes) => {}
            }
            self.rosters.expire(self.clock.now(), &mut effects);
            self.perform(&mut effects);
        }
    }

    fn take(&mut self, message: Message, effects: &mut Vec<Effect<Asker>>) {
        let now = self.clock.now();
        match message {
            Message::Happened(input) => self.rosters.handle(now, input, effects),
            Message::Watch(watch) => {
                let Watch {
                    topic,
                    watcher,
                    watching,
                    have,
                    outbox,
                    asker,
                } = watch;
                let watchers = self.watchers.entry(topic.clone()).or_default();
                let before = watchers.insert(watcher, (watching, outbox));
                let input = Input::Watched {
                    topic,
                    watcher,
                    watching,
                    before: before.map(|(watching, _)| watching),
                    have,
                    asker,
                };
                self.rosters.handle(now, input, effects);
            }
            Message::Unwatch {
                topic,
                watcher,
                outbox,
            } => {
                let Some(watchers) = self.watchers.get_mut(&topic) else {
                    return;
                };
                match watchers.get(&watcher) {
                    Some((_, it)) if Arc::ptr_eq(it, &outbox) => {}
                    _ => return, // a newer connection of the session watches
                }
                let Some((watching, _)) = watchers.remove(&watcher) else {
                    return;
                };
                if watchers.is_empty() {
                    self.watchers.remove(&topic);
                    self.snapshots.remove(&topic);
                }
                let input = Input::Unwatched { topic, watching };
                self.rosters.handle(now, input, effects);
            }
            Message::List {
                topic,
                offset,
                limit,
                reply,
            } => {
                let _ = reply.send(self.rosters.list(&topic, offset, limit));
            }
            Message::Typing(topic, reply) => {
                let _ = reply.send(self.rosters.typing(&topic));
            }
            Message::Count(reply) => {
                let _ = reply.send(self.rosters.active_channels());
            }
        }
    }

    fn perform(&mut self, effects: &mut Vec<Effect<Asker>>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Tell { topic, to, event } => self.tell(&topic, &to, event),
                Effect::Grant { asker } => answer(asker, Ok(Answer::Done)),
                Effect::Refuse { asker, why } => answer(asker, Err(why)),
            }
        }
    }

    fn tell(&mut self, topic: &Topic, to: &Hearers, event: Arc<Event>) {
        let Some(watchers) = self.watchers.get(topic) else {
            self.snapshots.remove(topic);
            return;
        };
        Counters::add(&self.counters.told, 1);
        let told = match self.snapshots.get(topic) {
            Some(told) if Arc::ptr_eq(&told.event, &event) => told.clone(),
            _ => Arc::new(Told::new(event)),
        };
        if matches!(*told.event, Event::Everyone { .. }) {
            self.snapshots.insert(topic.clone(), told.clone());
        } else if !matches!(to, Hearers::One(_)) {
            self.snapshots.remove(topic);
        }
        let all = || watchers.iter();
        let want = |wanted| all().filter(move |(_, (watching, _))| *watching == wanted);
        match to {
            Hearers::Full => want(Watching::Full).for_each(|(_, (_, outbox))| outbox.tell(&told)),
            Hearers::Summary => {
                want(Watching::Summary).for_each(|(_, (_, outbox))| outbox.tell(&told));
            }
            Hearers::AllBut(except) => all()
                .filter(|(watcher, _)| !except.contains(watcher))
                .for_each(|(_, (_, outbox))| outbox.tell(&told)),
            Hearers::One(one) => {
                if let Some((_, outbox)) = watchers.get(one) {
                    outbox.tell(&told);
                }
            }
        }
    }
}
