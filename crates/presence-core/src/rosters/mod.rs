//! Places: who is in a channel or a workspace, who types, who points where, and what every watcher has been told.

mod fleeting;
mod place;
mod roster;
mod shared;

use std::collections::HashMap;
use std::sync::Arc;

use self::place::Place;
use crate::cluster::{Incarnation, Membership, Murmur, Reply, Request};
use crate::epochs::Epochs;
use crate::{
    ChannelId, Clock, Event, Limits, Member, Outsider, Payload, Person, Pointer, Reason, Refusal,
    Selection, SessionId, Timers, Timestamp, Timing, Topic, UserId, Watching,
};

/// The event by which a page says in its own words that its user is typing: unlike any other message it does not end that.
pub const TYPING_EVENT: &str = "typing";

/// What happened in a place. `A` is whoever wants an answer: the core only hands it back.
#[derive(Debug)]
pub enum Input<A> {
    /// An entry was written: [`crate::users::Effect::Write`].
    Wrote {
        /// Where.
        topic: Topic,
        /// Whose entry.
        session: SessionId,
        /// The entry, or why it is gone.
        entry: Result<Arc<Member>, Reason>,
        /// Whether the other nodes may be told.
        is_shared: bool,
    },
    /// A session began to watch, or has lost track and wants to catch up.
    Watched {
        /// What.
        topic: Topic,
        /// Which session.
        watcher: SessionId,
        /// How.
        watching: Watching,
        /// How it has watched until now, if it has.
        before: Option<Watching>,
        /// The state it knows.
        have: Option<Clock>,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// Somebody wants to see a list: [`Effect::Known`] comes as soon as there is one.
    Looked {
        /// Of what.
        topic: Topic,
    },
    /// Something was heard of the store.
    Heard {
        /// About which topic.
        topic: Topic,
        /// What.
        reply: Reply,
    },
    /// A session stopped watching.
    Unwatched {
        /// What.
        topic: Topic,
        /// How it had watched.
        watching: Watching,
    },
    /// A session's connection is gone, or was silent too long.
    Silenced {
        /// Where.
        topic: Topic,
        /// Which.
        session: SessionId,
    },
    /// Somebody typed, or said that they stopped.
    Typed {
        /// Where.
        channel: ChannelId,
        /// Through which session.
        session: SessionId,
        /// Whether they type.
        typing: bool,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// Somebody pointed somewhere.
    Pointed {
        /// In which channel.
        channel: ChannelId,
        /// Through which session.
        session: SessionId,
        /// Where.
        pointer: Pointer,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// Somebody selected something, or nothing.
    Selected {
        /// In which channel.
        channel: ChannelId,
        /// Through which session.
        session: SessionId,
        /// What.
        selection: Option<Selection>,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// Somebody told the channel something.
    Said {
        /// Which channel.
        channel: ChannelId,
        /// Through which session.
        session: SessionId,
        /// What kind of thing.
        event: Arc<str>,
        /// The thing.
        payload: Payload,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
    /// A service told the channel something, in which it is not.
    Announced {
        /// Which channel.
        channel: ChannelId,
        /// Which service.
        outsider: Outsider,
        /// In whose name.
        user: UserId,
        /// What kind of thing.
        event: Arc<str>,
        /// The thing.
        payload: Payload,
        /// Wants to know that it worked.
        asker: Option<A>,
    },
}

/// What is to be done about it, in this order.
#[derive(Debug, PartialEq)]
pub enum Effect<A> {
    /// Tell something.
    Tell {
        /// Watchers of which topic.
        topic: Topic,
        /// Which of them.
        to: Hearers,
        /// What.
        event: Arc<Event>,
    },
    /// What [`Rosters::list`] and [`Rosters::typing`] say of a topic is right now, as far as the store can be asked.
    Known {
        /// Which.
        topic: Topic,
    },
    /// Ask the store.
    Ask(Request),
    /// Yes.
    Grant {
        /// To whom.
        asker: A,
    },
    /// No.
    Refuse {
        /// To whom.
        asker: A,
        /// Why.
        why: Refusal,
    },
}

/// Which watchers of a topic are told.
#[derive(Debug, PartialEq, Eq)]
pub enum Hearers {
    /// Those who want to see everyone, in whichever way.
    Full,
    /// Those who want a summary.
    Summary,
    /// Those who want to see everyone, but for this one.
    FullBut(SessionId),
    /// All but these.
    AllBut(Vec<SessionId>),
    /// This one, if it watches.
    One(SessionId),
}

/// A page of a roster.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The people on it, in the order they came.
    pub people: Vec<Arc<Person>>,
    /// How many there are on all pages.
    pub total: usize,
}

/// The machine that knows places. One of them knows all about the topics it is asked about, and nothing of others.
#[derive(Debug)]
pub struct Rosters {
    timing: Timing,
    limits: Limits,
    places: HashMap<Topic, Place>,
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
    /// The copy of what the store has is to be looked after.
    Copy(Topic),
    Typing(Topic, SessionId),
    Cursor(Topic, SessionId),
}

impl Rosters {
    /// A machine in which nobody is anywhere. `seed` is a random number.
    pub fn new(timing: Timing, limits: Limits, seed: u64) -> Self {
        // Others than those of people, who may have the same seed.
        let mut epochs = Epochs::new(!seed);
        Rosters {
            timing,
            limits,
            places: HashMap::new(),
            timers: Timers::default(),
            empty_epoch: epochs.next(),
            epochs,
            members: None,
        }
    }

    /// Takes part in a cluster, as `me`. To be called before anything else.
    pub fn join_cluster(&mut self, me: Incarnation) {
        self.members = Some(Membership::new(me));
    }

    /// How many channels have somebody in them.
    pub fn active_channels(&self) -> usize {
        let is_active = |(topic, place): &(&Topic, &Place)| {
            matches!(topic, Topic::Channel(_)) && !place.roster.is_empty()
        };
        self.places.iter().filter(is_active).count()
    }

    /// The channels that have somebody in them, as far as is known here, with how many people and how many sessions.
    pub fn channels(&self) -> impl Iterator<Item = (&ChannelId, usize, usize)> {
        self.places.iter().filter_map(|(topic, place)| match topic {
            Topic::Channel(channel) if !place.roster.is_empty() => {
                let sessions = place.roster.people().map(|it| it.members.len()).sum();
                Some((channel, place.roster.len(), sessions))
            }
            _ => None,
        })
    }

    /// Who is in `topic`: a page of them.
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

    /// Who is typing in `topic`, as far as they are named.
    pub fn typing(&self, topic: &Topic) -> Vec<UserId> {
        let place = self.places.get(topic);
        place.map_or(Vec::new(), |it| it.fleeting.typing(self.limits.typing_max))
    }

    /// When to call [`expire`](Self::expire) next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.timers.next_deadline()
    }

    /// Takes one fact.
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
                asker,
            } => {
                grant(asker, out);
                let limits = self.limits;
                let place = self.place(&topic);
                match before {
                    Some(before) => place.count_watcher(before, -1),
                    None => place.make_way(watcher, now, &topic, &limits, out),
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
                asker,
            } => {
                let topic = Topic::Channel(channel);
                let deadline = now + self.timing.typing();
                self.with_member(&topic, session, asker, out, |user, place, timers| {
                    let key = Key::Typing(topic.clone(), session);
                    place.murmur(Murmur::Typed { session, typing });
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
                asker,
            } => {
                let topic = Topic::Channel(channel);
                self.with_member(&topic, session, asker, out, |user, place, timers| {
                    let point = |cursor: &mut crate::Cursor| cursor.pointer = Some(pointer);
                    let ids = place.ids_of(session);
                    let cursor = place.fleeting.point(user, ids, point).clone();
                    place.murmur(Murmur::Pointed(cursor));
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
                asker,
            } => {
                let topic = Topic::Channel(channel);
                self.with_member(&topic, session, asker, out, |user, place, timers| {
                    let select = |cursor: &mut crate::Cursor| cursor.selection = selection;
                    let ids = place.ids_of(session);
                    let cursor = place.fleeting.point(user, ids, select).clone();
                    place.murmur(Murmur::Pointed(cursor));
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
                asker,
            } => {
                let topic = Topic::Channel(channel);
                let max = self.limits.broadcasts_max;
                self.with_member(&topic, session, asker, out, |user, place, timers| {
                    let murmur = Murmur::Said {
                        session,
                        user: user.clone(),
                        event: event.clone(),
                        payload: payload.clone(),
                    };
                    // Whoever has sent their message has stopped typing it.
                    let ends_typing = *event != *TYPING_EVENT;
                    if !place.fleeting.has_room_to_broadcast(max) {
                        let retry_after = place.speaks_at.since(now).max(Timing::TICK);
                        return Err(Refusal::TooFast { retry_after });
                    }
                    let ids = place.ids_of(session);
                    let said = fleeting::broadcast(&topic, user, ids, event, payload);
                    place.fleeting.broadcast(said, max);
                    place.murmur(murmur);
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
                asker,
            } => {
                let topic = Topic::Channel(channel);
                let outcome = self.announce(now, &topic, outsider, (user, event, payload));
                match (outcome, asker) {
                    (Ok(()), asker) => grant(asker, out),
                    (Err(why), Some(asker)) => out.push(Effect::Refuse { asker, why }),
                    (Err(_), None) => {}
                }
                topic
            }
        };
        self.settle(now, topic, out);
    }

    /// Ends what has run out by `now`, and lets those speak whose tick it is. To be called after every batch of facts:
    /// facts never speak by themselves, so all that happened at one moment is told as one change.
    pub fn expire<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        // What ends now may be due to be told now.
        while let Some(due) = Some(self.timers.expire(now)).filter(|due| !due.is_empty()) {
            for key in due {
                self.run_out(now, key, out);
            }
        }
    }

    /// Has every place tell at once what there is to tell of it, so that whoever watches from now on finds everybody there. For
    /// a node that has restored the sessions of the process before it, and has let nobody in yet.
    pub fn tell_at_once<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        let mut topics: Vec<Topic> = self.places.keys().cloned().collect();
        topics.sort_unstable();
        for topic in topics {
            if let Some(place) = self.places.get_mut(&topic) {
                place.tell_at_once(now, &topic, &self.limits, out);
            }
            self.settle(now, topic, out);
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
                place.tell(now, &topic, &self.limits, out);
            }
            Key::Copy(_) => self.look_after_copy(now, &topic),
            Key::Typing(_, session) => {
                if let Some(user) = place.roster.user_of(session).cloned() {
                    place.fleeting.stop_typing(&user, session);
                }
            }
            Key::Cursor(_, session) => place.fleeting.forget_cursor(session),
        }
        self.settle(now, topic, out);
    }

    fn place(&mut self, topic: &Topic) -> &mut Place {
        if !self.places.contains_key(topic) {
            let is_shared = self.members.is_some();
            let place = Place::new(self.empty_epoch, self.epochs.next(), is_shared);
            self.places.insert(topic.clone(), place);
        }
        self.places.get_mut(topic).expect("it is there now")
    }

    /// Does something that only those may do who are in the place and can be seen there.
    fn with_member<A>(
        &mut self,
        topic: &Topic,
        session: SessionId,
        asker: Option<A>,
        out: &mut Vec<Effect<A>>,
        act: impl FnOnce(&UserId, &mut Place, &mut Timers<Key>) -> Result<(), Refusal>,
    ) {
        let place = self.places.get_mut(topic);
        let member = place.and_then(|it| Some((it.roster.user_of(session)?.clone(), it)));
        let outcome = match member {
            Some((user, place)) => act(&user, place, &mut self.timers),
            None => Err(Refusal::NotJoined),
        };
        match (outcome, asker) {
            (Ok(()), asker) => grant(asker, out),
            (Err(why), Some(asker)) => out.push(Effect::Refuse { asker, why }),
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
        let murmur = Murmur::Said {
            session,
            user: user.clone(),
            event: event.clone(),
            payload: payload.clone(),
        };
        if !place.fleeting.has_room_to_broadcast(max) {
            let retry_after = place.speaks_at.since(now).max(Timing::TICK);
            return Err(Refusal::TooFast { retry_after });
        }
        let ids = (session, session);
        let said = fleeting::broadcast(topic, &user, ids, event, payload);
        place.fleeting.broadcast(said, max);
        place.murmur(murmur);
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

    fn settle<A>(&mut self, now: Timestamp, topic: Topic, out: &mut Vec<Effect<A>>) {
        self.share(now, &topic, out);
        let Some(place) = self.places.get_mut(&topic) else {
            return;
        };
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

fn grant<A>(asker: Option<A>, out: &mut Vec<Effect<A>>) {
    out.extend(asker.map(|asker| Effect::Grant { asker }));
}
