//! Rosters: who is in a channel or a workspace, who is typing, where the cursors are, and what every watcher was told.

mod acting;
mod effect;
mod ephemeral_events;
mod history;
mod input;
#[cfg(debug_assertions)]
mod invariants;
mod meter;
mod pace;
mod report;
mod roster;
mod shared;
mod topic_state;
mod windows;

use std::collections::HashMap;
use std::time::Duration;

pub use self::acting::TYPING_EVENT;
pub use self::effect::{Effect, Hearers, Page};
use self::effect::{answer, grant};
pub use self::input::Input;
use self::pace::Load;
pub use self::report::RoomLevel;
use self::topic_state::TopicState;
use crate::cluster::{Incarnation, Membership};
use crate::epochs::Epochs;
use crate::{ChannelId, Limits, SessionId, Span, Timers, Timestamp, Timing, Topic, UserId, Window};

/// The state machine of channels and workspaces. A node may have several; each knows only the topics whose
/// inputs it gets.
#[derive(Debug)]
pub struct Rosters {
    timing: Timing,
    limits: Limits,
    load: Load,
    places: HashMap<Topic, TopicState>,
    timers: Timers<Key>,
    epochs: Epochs,
    /// The epoch of all empty topics: one for all of them, so that it says nothing about any of them.
    empty_epoch: u64,
    /// What this node knows of the cluster, if it is part of one.
    membership: Option<Membership>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Tick(Topic),
    /// The replica of the topic's map needs attention.
    Copy(Topic),
    Typing(Topic, SessionId),
    Cursor(Topic, SessionId),
}

impl Rosters {
    /// A state machine without topics. `seed` is a random number.
    pub fn new(timing: Timing, limits: Limits, seed: u64) -> Self {
        // Other epochs than those of the machine of users, which may have the same seed.
        let mut epochs = Epochs::new(!seed);
        Rosters {
            timing,
            limits,
            load: Load {
                tick: timing.tick(),
                backlog: 0,
            },
            places: HashMap::new(),
            timers: Timers::default(),
            empty_epoch: epochs.next(),
            epochs,
            membership: None,
        }
    }

    /// Makes this node, which is `me`, part of a cluster. Must be called before any input.
    pub fn join_cluster(&mut self, me: Incarnation) {
        self.membership = Some(Membership::new(me));
    }

    /// How many channels have somebody in them.
    pub fn active_channels(&self) -> usize {
        let is_active = |(topic, place): &(&Topic, &TopicState)| {
            matches!(topic, Topic::Channel(_)) && !place.roster.is_empty()
        };
        self.places.iter().filter(is_active).count()
    }

    /// How many users are typing, each counted once for each channel.
    pub fn typing_count(&self) -> usize {
        self.places
            .values()
            .map(|it| it.ephemeral_events.typing_count())
            .sum()
    }

    /// How long the oldest change in the last event of `topic` had waited when the event was sent; `None` if no event
    /// was sent since the topic got its first member.
    pub fn told_after(&self, topic: &Topic) -> Option<Duration> {
        self.places.get(topic)?.told_after
    }

    /// The channels that this node knows to have somebody in them, each with its number of people and of sessions.
    pub fn channels(&self) -> impl Iterator<Item = (&ChannelId, usize, usize)> {
        self.places.iter().filter_map(|(topic, place)| match topic {
            Topic::Channel(channel) if !place.roster.is_empty() => {
                let sessions = place.roster.people().map(|it| it.members.len()).sum();
                Some((channel, place.roster.len(), sessions))
            }
            _ => None,
        })
    }

    /// A page of the people in `topic`: at most `limit`, after the first `offset`.
    pub fn list(&self, topic: &Topic, offset: usize, limit: usize) -> Page {
        let Some(place) = self.places.get(topic) else {
            return Page {
                people: Vec::new(),
                total: 0,
            };
        };
        let people = place.roster.people().skip(offset).take(limit);
        Page {
            people: people.cloned().collect(),
            total: place.roster.len(),
        }
    }

    /// A page of `span` in `topic`: at most `limit` people, after the first `offset` of the span, in its order. By name,
    /// the first question sorts everybody, and the next ones within a minute do not.
    pub fn rows(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        span: &Span,
        offset: usize,
        limit: usize,
    ) -> Page {
        let Some(place) = self.places.get_mut(topic) else {
            return Page {
                people: Vec::new(),
                total: 0,
            };
        };
        let page = Page {
            people: place.rows(now, span, offset, limit),
            total: place.roster.len(),
        };
        if let Some(deadline) = place.deadline_to_arm() {
            self.timers.arm(Key::Tick(topic.clone()), deadline.max(now));
        }
        page
    }

    /// The users who are typing in `topic`, at most [`Limits::typing_max`].
    pub fn typing(&self, topic: &Topic) -> Vec<UserId> {
        let place = self.places.get(topic);
        place.map_or(Vec::new(), |it| {
            it.ephemeral_events.typing(self.limits.typing_max)
        })
    }

    /// When to call [`expire`](Self::expire) next; `None` if nothing is going to expire.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next_deadline()
    }

    /// Applies `input` at time `now` and appends the resulting effects to `out`.
    ///
    /// `now` never goes back from one call to the next. The effects must be performed in their order, and each handle
    /// in an [`Effect::Grant`] or [`Effect::Refuse`] must get its answer. Watchers are told at the next
    /// [`expire`](Self::expire), except for what a new watcher needs. Nothing fails here: a request that is not granted
    /// becomes an [`Effect::Refuse`].
    pub fn handle<A>(&mut self, now: Timestamp, input: Input<A>, out: &mut Vec<Effect<A>>) {
        let topic = match input {
            Input::Wrote {
                topic,
                session,
                entry,
                is_shared,
            } => {
                self.wrote(now, &topic, session, entry, is_shared);
                topic
            }
            Input::Looked { topic } => {
                self.place(&topic).look(now);
                topic
            }
            Input::Stored { topic, reply } => {
                self.heard(now, &topic, reply, out);
                topic
            }
            Input::Watched {
                topic,
                watcher,
                watching,
                before,
                have,
                reply_to,
            } => {
                grant(reply_to, out);
                let (limits, load) = (self.limits, self.load);
                let place = self.place(&topic);
                match before {
                    Some(before) => place.count_watcher(before, -1),
                    None => place.make_way(watcher, now, &topic, &limits, load, out),
                }
                place.count_watcher(watching, 1);
                if place.is_opening() || place.has_to_open() {
                    place.waiting.push((watcher, watching, have));
                } else {
                    place.catch_up(&topic, watcher, watching, have, &limits, out);
                }
                topic
            }
            Input::Unwatched { topic, watching } => {
                let place = self.place(&topic);
                place.count_watcher(watching, -1);
                if !place.is_watched() {
                    place.waiting.clear();
                }
                topic
            }
            Input::WindowOpened {
                topic,
                session,
                number,
                window,
                reply_to,
            } => {
                self.open_window(&topic, session, (number, window), reply_to, out);
                topic
            }
            Input::WindowClosed {
                topic,
                session,
                number,
            } => {
                self.place(&topic).close_window(now, session, number);
                topic
            }
            Input::Silenced { topic, session } => {
                self.silence(&topic, session);
                topic
            }
            acted => match self.act(now, acted, out) {
                Some(topic) => topic,
                None => return,
            },
        };
        self.reconcile(now, topic, out);
    }

    /// Notes the backlog of this node: the number of inputs and of connections with something to write that wait
    /// until the node has time for them. With [`Tick::Auto`](crate::Tick::Auto) topics send events less often when
    /// the backlog is bigger. It applies to all events from now on.
    pub fn note_backlog(&mut self, waiting: usize) {
        self.load.backlog = waiting;
    }

    /// Ends what has expired by `now`, and sends the changes of the topics whose next event is due. Call it after
    /// every batch of inputs, and handle the whole batch with the same `now`: then the batch is one event of each
    /// topic.
    pub fn expire<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        // What ends now may be due to be told now.
        while let Some(due) = Some(self.timers.expire(now)).filter(|due| !due.is_empty()) {
            for key in due {
                self.run_out(now, key, out);
            }
        }
    }

    /// Sends the changes of every topic at once, whether its next event is due or not, so that everybody who watches
    /// from now on gets a complete state. It is meant for a node that has restored the sessions of the process before
    /// it, and has no connections yet.
    pub fn tell_at_once<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        let mut topics: Vec<Topic> = self.places.keys().cloned().collect();
        topics.sort_unstable();
        for topic in topics {
            if let Some(place) = self.places.get_mut(&topic) {
                place.tell_at_once(now, &topic, &self.limits, self.load, out);
            }
            self.reconcile(now, topic, out);
        }
    }

    fn run_out<A>(&mut self, now: Timestamp, key: Key, out: &mut Vec<Effect<A>>) {
        let (Key::Tick(topic) | Key::Copy(topic) | Key::Typing(topic, _) | Key::Cursor(topic, _)) =
            &key;
        let topic = topic.clone();
        let Some(place) = self.places.get_mut(&topic) else {
            return;
        };
        match key {
            Key::Tick(_) => {
                place.disarm();
                place.tell(now, &topic, &self.limits, self.load, out);
            }
            Key::Copy(_) => self.look_after_copy(now, &topic),
            Key::Typing(_, session) => {
                if let Some(user) = place.roster.user_of(session).cloned() {
                    place.ephemeral_events.stop_typing(&user, session);
                }
            }
            Key::Cursor(_, session) => place.ephemeral_events.forget_cursor(session),
        }
        self.reconcile(now, topic, out);
    }

    fn open_window<A>(
        &mut self,
        topic: &Topic,
        session: SessionId,
        window: (u32, Window),
        reply_to: Option<A>,
        out: &mut Vec<Effect<A>>,
    ) {
        let limits = self.limits;
        let place = self.place(topic);
        // The answer comes before the first rows.
        let mut told = Vec::new();
        let outcome = place.open_window(topic, session, window, &limits, &mut told);
        answer(outcome, reply_to, out);
        out.append(&mut told);
    }

    fn place(&mut self, topic: &Topic) -> &mut TopicState {
        if !self.places.contains_key(topic) {
            let is_shared = self.membership.is_some();
            let place = TopicState::new(self.empty_epoch, self.epochs.next(), is_shared);
            self.places.insert(topic.clone(), place);
        }
        self.places.get_mut(topic).expect("it is there now")
    }

    fn reconcile<A>(&mut self, now: Timestamp, topic: Topic, out: &mut Vec<Effect<A>>) {
        self.share(now, &topic, out);
        let Some(place) = self.places.get_mut(&topic) else {
            return;
        };
        place.note_change(now);
        #[cfg(debug_assertions)]
        place.assert_invariants(&topic);
        if !place.is_needed() && place.is_quiet(now) {
            self.places.remove(&topic);
            crate::shrink_after_burst(&mut self.places);
            self.timers.cancel(&Key::Copy(topic.clone()));
            self.timers.cancel(&Key::Tick(topic));
        } else if let Some(deadline) = place.deadline_to_arm() {
            self.timers.arm(Key::Tick(topic), deadline.max(now));
        }
    }
}
