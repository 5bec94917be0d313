//! Rosters: who is in a channel or a workspace, who is typing, where the cursors are, and what every watcher was told.

mod fleeting;
mod history;
mod meter;
mod pace;
mod report;
mod roster;
mod shared;
mod topic_state;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use self::pace::Load;
pub use self::report::RoomLevel;
use self::topic_state::TopicState;
use crate::cluster::{Ephemeral, Incarnation, Membership, Reply, Request};
use crate::epochs::Epochs;
use crate::{
    ChannelId, Clock, Event, Limits, Member, Outsider, Payload, Person, Pointer, Reason, Refusal,
    Selection, SessionId, Timers, Timestamp, Timing, Topic, UserId, Watching,
};

/// The name of the event with which an application announces by itself that a user is typing. Other broadcasts of a
/// user end their typing; this one does not.
pub const TYPING_EVENT: &str = "typing";

/// What happened in a channel or a workspace. `A` is the caller's handle for an answer, which the core only hands back.
#[derive(Debug)]
pub enum Input<A> {
    /// A session's entry was written: [`crate::users::Effect::Write`].
    Wrote {
        /// The topic that the entry is in.
        topic: Topic,
        /// The session that the entry belongs to.
        session: SessionId,
        /// The entry, or the reason for which it is removed.
        entry: Result<Arc<Member>, Reason>,
        /// Whether the other nodes may be told.
        is_shared: bool,
    },
    /// A session began to watch a topic, or lost events and wants to catch up.
    Watched {
        /// The topic to watch.
        topic: Topic,
        /// The session that watches.
        watcher: SessionId,
        /// How much the session is told from now on.
        watching: Watching,
        /// How much it was told until now, if it watched the topic already.
        before: Option<Watching>,
        /// The version that its client has, if any.
        have: Option<Clock>,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// Somebody wants to read the state of a topic. [`Effect::Known`] follows as soon as it is known.
    Looked {
        /// The topic to read.
        topic: Topic,
    },
    /// The store that nodes share answered, or announced a change, about a topic.
    Heard {
        /// The topic that the reply is about.
        topic: Topic,
        /// The reply of the store.
        reply: Reply,
    },
    /// A session stopped watching a topic.
    Unwatched {
        /// The topic that it watched.
        topic: Topic,
        /// How much it was told.
        watching: Watching,
    },
    /// The connection of a session broke, or was silent for too long: its typing ends, and its cursor is removed.
    Silenced {
        /// The topic in which that happens.
        topic: Topic,
        /// The session without a connection.
        session: SessionId,
    },
    /// A session typed in a channel, or stopped typing.
    Typed {
        /// The channel that it types in.
        channel: ChannelId,
        /// The session, which must be in the channel.
        session: SessionId,
        /// Whether the session types now.
        typing: bool,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A session pointed at a position in a channel.
    Pointed {
        /// The channel that it points in.
        channel: ChannelId,
        /// The session, which must be in the channel.
        session: SessionId,
        /// The position that it points at.
        pointer: Pointer,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A session changed its selection in a channel.
    Selected {
        /// The channel in which it selected something.
        channel: ChannelId,
        /// The session, which must be in the channel.
        session: SessionId,
        /// The new selection; `None` if nothing is selected now.
        selection: Option<Selection>,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A session sent a broadcast to a channel.
    Said {
        /// The channel to send it to.
        channel: ChannelId,
        /// The session, which must be in the channel.
        session: SessionId,
        /// The name of the event, as the sender chose it.
        event: Arc<str>,
        /// The content of the broadcast.
        payload: Payload,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A service that is not in the channel sent a broadcast to it.
    Announced {
        /// The channel to send it to.
        channel: ChannelId,
        /// The service that sends it.
        outsider: Outsider,
        /// The user in whose name the service sends it.
        user: UserId,
        /// The name of the event, as the service chose it.
        event: Arc<str>,
        /// The content of the broadcast.
        payload: Payload,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
}

/// What the caller is to do. Effects must be performed in the order in which they were emitted.
#[derive(Debug, PartialEq)]
pub enum Effect<A> {
    /// Send an event to watchers of a topic.
    Tell {
        /// The topic that they watch.
        topic: Topic,
        /// The watchers that get the event.
        to: Hearers,
        /// The event to send.
        event: Arc<Event>,
    },
    /// What [`Rosters::list`] and [`Rosters::typing`] return for a topic is up to date now, as far as the store
    /// can be reached.
    Known {
        /// The topic whose state is known.
        topic: Topic,
    },
    /// Send a request to the store that nodes share.
    Ask(Request),
    /// A request was granted.
    Grant {
        /// The handle that came with the request.
        reply_to: A,
    },
    /// A request was refused.
    Refuse {
        /// The handle that came with the request.
        reply_to: A,
        /// The reason for the refusal.
        why: Refusal,
    },
}

/// The watchers of a topic that an event is sent to.
#[derive(Debug, PartialEq, Eq)]
pub enum Hearers {
    /// Those who watch with [`Watching::Full`] or [`Watching::Whole`].
    Full,
    /// Those who watch with [`Watching::Summary`].
    Summary,
    /// Those who want to see everyone, but for this one.
    FullBut(SessionId),
    /// All but these.
    AllBut(Vec<SessionId>),
    /// This session, if it watches the topic.
    One(SessionId),
}

/// A part of the list of people in a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The people on the page, ordered by when they joined.
    pub people: Vec<Arc<Person>>,
    /// The number of people in the topic, on all pages.
    pub total: usize,
}

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
    /// The epoch of every place that is empty.
    empty_epoch: u64,
    /// Where there is a store that it shares with other nodes.
    members: Option<Membership>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Tick(Topic),
    /// The copy of what the store has needs attention.
    Copy(Topic),
    Typing(Topic, SessionId),
    Cursor(Topic, SessionId),
}

impl Rosters {
    /// A state machine without topics. `seed` is a random number.
    pub fn new(timing: Timing, limits: Limits, seed: u64) -> Self {
        // Others than those of people, who may have the same seed.
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
            members: None,
        }
    }

    /// Makes this node, which is `me`, part of a cluster. Must be called before any input.
    pub fn join_cluster(&mut self, me: Incarnation) {
        self.members = Some(Membership::new(me));
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
            .map(|it| it.fleeting.typing_count())
            .sum()
    }

    /// How long the oldest change in the last event of `topic` had waited when its watchers were told; `None` if none
    /// was told since somebody came to the topic.
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

    /// The users who are typing in `topic`, at most [`Limits::typing_max`].
    pub fn typing(&self, topic: &Topic) -> Vec<UserId> {
        let place = self.places.get(topic);
        place.map_or(Vec::new(), |it| it.fleeting.typing(self.limits.typing_max))
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
            Input::Heard { topic, reply } => {
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
                self.place(&topic).count_watcher(watching, -1);
                topic
            }
            Input::Silenced { topic, session } => {
                self.silence(&topic, session);
                topic
            }
            Input::Typed {
                channel,
                session,
                typing,
                reply_to,
            } => {
                let topic = Topic::Channel(channel);
                let deadline = now + self.timing.typing();
                self.with_member(&topic, session, reply_to, out, |user, place, timers| {
                    let key = Key::Typing(topic.clone(), session);
                    place.queue_ephemeral(Ephemeral::Typed { session, typing });
                    if typing {
                        place.fleeting.start_typing(user, session);
                        timers.arm(key, deadline);
                    } else {
                        place.fleeting.stop_typing(user, session);
                        timers.cancel(&key);
                    }
                    Ok(())
                });
                topic
            }
            Input::Pointed {
                channel,
                session,
                pointer,
                reply_to,
            } => {
                let topic = Topic::Channel(channel);
                self.with_member(&topic, session, reply_to, out, |user, place, timers| {
                    let point = |cursor: &mut crate::Cursor| cursor.pointer = Some(pointer);
                    let ids = place.ids_of(session);
                    let cursor = place.fleeting.point(user, ids, point).clone();
                    place.queue_ephemeral(Ephemeral::Pointed(cursor));
                    timers.arm(
                        Key::Cursor(topic.clone(), session),
                        now + Timing::CURSOR_TTL,
                    );
                    Ok(())
                });
                topic
            }
            Input::Selected {
                channel,
                session,
                selection,
                reply_to,
            } => {
                let topic = Topic::Channel(channel);
                self.with_member(&topic, session, reply_to, out, |user, place, timers| {
                    let select = |cursor: &mut crate::Cursor| cursor.selection = selection;
                    let ids = place.ids_of(session);
                    let cursor = place.fleeting.point(user, ids, select).clone();
                    place.queue_ephemeral(Ephemeral::Pointed(cursor));
                    timers.arm(
                        Key::Cursor(topic.clone(), session),
                        now + Timing::CURSOR_TTL,
                    );
                    Ok(())
                });
                topic
            }
            Input::Said {
                channel,
                session,
                event,
                payload,
                reply_to,
            } => {
                let topic = Topic::Channel(channel);
                let max = self.limits.broadcasts_max;
                self.with_member(&topic, session, reply_to, out, |user, place, timers| {
                    let ephemeral = Ephemeral::Said {
                        session,
                        user: user.clone(),
                        event: event.clone(),
                        payload: payload.clone(),
                    };
                    // Whoever has sent their message has stopped typing it.
                    let ends_typing = *event != *TYPING_EVENT;
                    if !place.fleeting.has_room_to_broadcast(now, max) {
                        let retry_after = place.pace.next_at().since(now).max(Timing::WINDOW);
                        return Err(Refusal::TooFast { retry_after });
                    }
                    let ids = place.ids_of(session);
                    let said = fleeting::broadcast(&topic, user, ids, event, payload);
                    place.fleeting.broadcast(now, said, max);
                    place.queue_ephemeral(ephemeral);
                    if ends_typing {
                        place.fleeting.stop_typing(user, session);
                        timers.cancel(&Key::Typing(topic.clone(), session));
                    }
                    Ok(())
                });
                topic
            }
            Input::Announced {
                channel,
                outsider,
                user,
                event,
                payload,
                reply_to,
            } => {
                let topic = Topic::Channel(channel);
                let outcome = self.announce(now, &topic, outsider, (user, event, payload));
                match (outcome, reply_to) {
                    (Ok(()), reply_to) => grant(reply_to, out),
                    (Err(why), Some(reply_to)) => out.push(Effect::Refuse { reply_to, why }),
                    (Err(_), None) => {}
                }
                topic
            }
        };
        self.reconcile(now, topic, out);
    }

    /// Notes how many things wait on this node until there is time for them: inputs that were found together or wait,
    /// and connections that have something to write. With [`Tick::Auto`](crate::Tick::Auto) topics speak the less often
    /// the more there are. It applies to all topics that speak from now on.
    pub fn note_backlog(&mut self, waiting: usize) {
        self.load.backlog = waiting;
    }

    /// Ends what has expired by `now`, and tells the watchers of the topics that may speak. Call it after every batch of
    /// inputs, and handle the whole batch at one moment: all of it is then told as one change.
    pub fn expire<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        // What ends now may be due to be told now.
        while let Some(due) = Some(self.timers.expire(now)).filter(|due| !due.is_empty()) {
            for key in due {
                self.run_out(now, key, out);
            }
        }
    }

    /// Tells the watchers of every topic at once what there is to tell, so that everybody who watches from now on gets
    /// a complete state. It is meant for a node that has restored the sessions of the process before it, and has let
    /// nobody in yet.
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
                    place.fleeting.stop_typing(&user, session);
                }
            }
            Key::Cursor(_, session) => place.fleeting.forget_cursor(session),
        }
        self.reconcile(now, topic, out);
    }

    fn place(&mut self, topic: &Topic) -> &mut TopicState {
        if !self.places.contains_key(topic) {
            let is_shared = self.members.is_some();
            let place = TopicState::new(self.empty_epoch, self.epochs.next(), is_shared);
            self.places.insert(topic.clone(), place);
        }
        self.places.get_mut(topic).expect("it is there now")
    }

    /// Does something that only a session may do that is in the place and can be seen there.
    fn with_member<A>(
        &mut self,
        topic: &Topic,
        session: SessionId,
        reply_to: Option<A>,
        out: &mut Vec<Effect<A>>,
        act: impl FnOnce(&UserId, &mut TopicState, &mut Timers<Key>) -> Result<(), Refusal>,
    ) {
        let place = self.places.get_mut(topic);
        let member = place.and_then(|it| Some((it.roster.user_of(session)?.clone(), it)));
        let outcome = match member {
            Some((user, place)) => act(&user, place, &mut self.timers),
            None => Err(Refusal::NotJoined),
        };
        match (outcome, reply_to) {
            (Ok(()), reply_to) => grant(reply_to, out),
            (Err(why), Some(reply_to)) => out.push(Effect::Refuse { reply_to, why }),
            (Err(_), None) => {}
        }
    }

    fn announce(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        outsider: Outsider,
        (user, event, payload): (UserId, Arc<str>, Payload),
    ) -> Result<(), Refusal> {
        let (max, node) = (self.limits.broadcasts_max, self.tag());
        let place = self.place(topic);
        let session = SessionId::of_outsider(node, outsider);
        let ephemeral = Ephemeral::Said {
            session,
            user: user.clone(),
            event: event.clone(),
            payload: payload.clone(),
        };
        if !place.fleeting.has_room_to_broadcast(now, max) {
            let retry_after = place.pace.next_at().since(now).max(Timing::WINDOW);
            return Err(Refusal::TooFast { retry_after });
        }
        let ids = (session, session);
        let said = fleeting::broadcast(topic, &user, ids, event, payload);
        place.fleeting.broadcast(now, said, max);
        place.queue_ephemeral(ephemeral);
        Ok(())
    }

    pub(super) fn silence(&mut self, topic: &Topic, session: SessionId) {
        let Some(place) = self.places.get_mut(topic) else {
            return;
        };
        if let Some(user) = place.roster.user_of(session).cloned() {
            place.fleeting.stop_typing(&user, session);
        }
        place.fleeting.forget_cursor(session);
        self.timers.cancel(&Key::Typing(topic.clone(), session));
        self.timers.cancel(&Key::Cursor(topic.clone(), session));
    }

    fn reconcile<A>(&mut self, now: Timestamp, topic: Topic, out: &mut Vec<Effect<A>>) {
        self.share(now, &topic, out);
        let Some(place) = self.places.get_mut(&topic) else {
            return;
        };
        place.note_change(now);
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

fn grant<A>(reply_to: Option<A>, out: &mut Vec<Effect<A>>) {
    out.extend(reply_to.map(|reply_to| Effect::Grant { reply_to }));
}
