//! What is written to the shared store about a topic, and how answers and changes of the store are applied.

use std::sync::Arc;
use std::time::Duration;

use super::topic_state::TopicState;
use super::{Effect, Key, Rosters};
use crate::cluster::{
    Ephemeral, Guard, Hold, Incarnation, Membership, News, Put, Replica, ReplicaChanges, Reply,
    Subject, Verdict,
};
use crate::{Member, Reason, Sender, SessionId, Timestamp, Topic};

/// How long a topic is followed after somebody read it without watching it, in case it is read again.
const LINGER: Duration = Duration::from_secs(5);
/// How much longer typing lasts that another node told of: that node repeats it no sooner than its client does.
const TYPING_SLACK: Duration = Duration::from_secs(1);

/// What the store has of a place.
#[derive(Debug, Default)]
pub(super) struct TopicCopy {
    replica: Replica<Arc<Member>>,
    pub(super) is_followed: bool,
    /// Whether the map is being read for the first time.
    pub(super) is_opening: bool,
    /// Until when the topic is followed because somebody looked at it without watching.
    looked_until: Option<Timestamp>,
    /// Whether somebody waits until the entries of other nodes are known.
    is_asked_for: bool,
    armed: Option<Timestamp>,
}

impl TopicCopy {
    /// The node that has the session, if that is another one.
    pub(super) fn owner(&self, session: SessionId) -> Option<Incarnation> {
        let other = self.replica.other(session);
        other.map(|(token, _)| token.incarnation())
    }

    /// The sessions that are shown to the watchers here.
    #[cfg(debug_assertions)]
    pub(super) fn shown(&self) -> impl Iterator<Item = SessionId> {
        self.replica.shown()
    }

    pub(super) fn is_needed(&self) -> bool {
        self.is_followed || self.looked_until.is_some() || self.replica.is_needed()
    }
}

impl TopicState {
    /// Notes that somebody reads the topic without watching it.
    pub(super) fn look(&mut self, now: Timestamp) {
        if let Some(copy) = &mut self.copy {
            copy.looked_until = Some(now + LINGER);
            copy.is_asked_for = true;
        }
    }

    fn apply(&mut self, heard: ReplicaChanges<Arc<Member>>) {
        for (session, entry) in heard.changes {
            self.write(session, entry);
        }
        for (session, _) in heard.taken {
            self.ephemeral_events.forget_cursor(session);
        }
    }
}

impl Rosters {
    /// Applies news that concern all topics of a node.
    pub fn hear_news<A>(&mut self, now: Timestamp, news: News, out: &mut Vec<Effect<A>>) {
        let Some(membership) = &mut self.membership else {
            return;
        };
        membership.hear(news);
        let concerns = |topic: &Topic, place: &TopicState| match news {
            News::StoredUpTo(_) => place
                .copy
                .as_ref()
                .is_some_and(|it| it.replica.has_missing()),
            _ => news.concerns(|| Subject::Topic(topic.clone())),
        };
        let places = self.places.iter();
        let topics = places.filter(|(topic, place)| concerns(topic, place));
        let mut topics: Vec<Topic> = topics.map(|(topic, _)| topic.clone()).collect();
        topics.sort_unstable();
        for topic in topics {
            let (Some(place), Some(membership)) = (self.places.get_mut(&topic), &self.membership)
            else {
                continue;
            };
            let Some(copy) = &mut place.copy else {
                continue;
            };
            let heard = copy.replica.hear_news(now, news, membership);
            place.apply(heard);
            self.reconcile(now, topic, out);
        }
    }

    /// Applies an entry of a session of this node.
    pub(super) fn wrote(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        session: SessionId,
        entry: Result<Arc<Member>, Reason>,
        is_shared: bool,
    ) {
        self.place(topic);
        let (Some(place), membership) = (self.places.get_mut(topic), &self.membership) else {
            return;
        };
        let (Some(copy), Some(membership)) = (&mut place.copy, membership) else {
            return place.write(session, entry);
        };
        match &entry {
            Ok(member) => {
                let how = Put {
                    guard: Guard::Newer,
                    profile: member.profile,
                    hold: match is_shared {
                        true => Hold::No,
                        false => Hold::UntilNamed,
                    },
                };
                let (epoch, value) = (member.epoch, member.clone());
                let replica = &mut copy.replica;
                if replica.put(now, session, epoch, value, how, membership) == Verdict::Superseded {
                    return;
                }
            }
            Err(Reason::Replaced) => {
                if copy.replica.hand_over(now, session) {
                    return self.silence(topic, session);
                }
            }
            Err(reason) => {
                if !copy.replica.remove(now, session, *reason, membership) {
                    return; // it is somebody else's by now, or hidden already
                }
            }
        }
        place.write(session, entry);
    }

    /// Applies a reply or an announcement of the store about a topic.
    pub(super) fn heard<A>(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        reply: Reply,
        out: &mut Vec<Effect<A>>,
    ) {
        let (Some(membership), Some(place)) = (&self.membership, self.places.get_mut(topic)) else {
            return;
        };
        let Some(copy) = &mut place.copy else {
            return;
        };
        if let Reply::Ephemeral(ephemerals) = reply {
            for ephemeral in ephemerals {
                self.apply_ephemeral(now, topic, ephemeral);
            }
            return;
        }
        let is_read = matches!(reply, Reply::Read { .. });
        let heard = copy.replica.hear(now, reply, membership);
        let is_first = is_read && copy.is_opening && !copy.replica.is_reading();
        place.apply(heard);
        if is_first {
            self.opened(topic, out);
        }
    }

    /// Sends the state to the watchers that waited: the entries of the store are known now, or the store does not answer.
    fn opened<A>(&mut self, topic: &Topic, out: &mut Vec<Effect<A>>) {
        let Some(place) = self.places.get_mut(topic) else {
            return;
        };
        if let Some(copy) = &mut place.copy {
            copy.is_opening = false;
        }
        place.start_epoch();
        for (watcher, watching, have) in std::mem::take(&mut place.waiting) {
            place.catch_up(topic, watcher, watching, have, &self.limits, out);
        }
        place.tell_opened_windows(topic, out);
    }

    /// The tag of this node, which distinguishes its own announcements from those of others when they come back
    /// through the store.
    pub(super) fn tag(&self) -> u32 {
        let me = self.membership.as_ref().map(Membership::me);
        me.map_or(0, |it| (it.node ^ (it.node >> 32)) as u32)
    }

    fn apply_ephemeral(&mut self, now: Timestamp, topic: &Topic, ephemeral: Ephemeral) {
        let here = self.tag();
        let Some(place) = self.places.get_mut(topic) else {
            return;
        };
        let session = match &ephemeral {
            Ephemeral::Typed { session, .. } | Ephemeral::Said { session, .. } => *session,
            Ephemeral::Pointed(cursor) => cursor.session,
            Ephemeral::Announced { node, .. } if *node == here => return, // told already
            Ephemeral::Announced {
                outsider,
                node,
                user,
                event,
                payload,
            } => {
                let (outsider, node) = (*outsider, *node);
                let sender = Sender::Service { outsider, node };
                let (event, payload) = (event.clone(), payload.clone());
                let said = super::ephemeral_events::broadcast(topic, user, sender, event, payload);
                let max = self.limits.broadcasts_max;
                return place.ephemeral_events.broadcast(now, said, max);
            }
            Ephemeral::Kicked | Ephemeral::Node(_) => return,
        };
        let is_own = |place: &TopicState| {
            place
                .copy
                .as_ref()
                .is_some_and(|it| it.replica.owns(session))
        };
        let user = place.roster.user_of(session).cloned();
        let Some(user) = user.filter(|_| !is_own(place)) else {
            return;
        };
        let typing = Key::Typing(topic.clone(), session);
        match ephemeral {
            Ephemeral::Typed { typing: true, .. } => {
                place.ephemeral_events.start_typing(&user, session);
                let deadline = now + self.timing.typing() + TYPING_SLACK;
                self.timers.arm(typing, deadline);
            }
            Ephemeral::Typed { typing: false, .. } => {
                place.ephemeral_events.stop_typing(&user, session);
                self.timers.cancel(&typing);
            }
            Ephemeral::Pointed(cursor) => {
                let ids = place.ids_of(session);
                // The other node may not know yet what its session is called here.
                let alias = ids.1;
                let cursor = crate::Cursor { alias, ..cursor };
                place.ephemeral_events.point(&user, ids, |it| *it = cursor);
                let key = Key::Cursor(topic.clone(), session);
                self.timers.arm(key, now + crate::Timing::CURSOR_TTL);
            }
            Ephemeral::Said { event, payload, .. } => {
                let ends_typing = *event != *super::TYPING_EVENT;
                let sender = place.sender(session);
                let said = super::ephemeral_events::broadcast(topic, &user, sender, event, payload);
                let max = self.limits.broadcasts_max;
                place.ephemeral_events.broadcast(now, said, max);
                if ends_typing {
                    place.ephemeral_events.stop_typing(&user, session);
                    self.timers.cancel(&typing);
                }
            }
            Ephemeral::Announced { .. } | Ephemeral::Kicked | Ephemeral::Node(_) => {}
        }
    }

    /// Handles the end of the timer of a replica.
    pub(super) fn look_after_copy(&mut self, now: Timestamp, topic: &Topic) {
        let (Some(membership), Some(place)) = (&self.membership, self.places.get_mut(topic)) else {
            return;
        };
        if let Some(copy) = &mut place.copy {
            copy.armed = None;
            copy.looked_until = copy.looked_until.filter(|until| now < *until);
            let heard = copy.replica.expire(now, membership);
            place.apply(heard);
        }
    }

    /// Emits the requests to the store that are due for a topic. It is called last, after each input about the topic.
    pub(super) fn share<A>(&mut self, now: Timestamp, topic: &Topic, out: &mut Vec<Effect<A>>) {
        let (Some(membership), Some(place)) = (&self.membership, self.places.get_mut(topic)) else {
            return;
        };
        let is_watched = place.is_watched();
        let Some(copy) = &mut place.copy else {
            return;
        };
        let subject = Subject::Topic(topic.clone());
        let wanted = is_watched || copy.looked_until.is_some();
        let mut requests = Vec::new();
        let forgotten = copy
            .replica
            .follow(wanted, &subject, membership, &mut requests);
        if wanted != copy.is_followed {
            copy.is_followed = wanted;
            copy.is_opening = wanted;
        }
        copy.replica
            .ask(now, &subject, membership, None, &mut requests);
        out.extend(requests.into_iter().map(Effect::Ask));
        if !copy.is_opening && std::mem::take(&mut copy.is_asked_for) {
            let topic = topic.clone();
            out.push(Effect::Known { topic });
        }
        let deadline = copy.replica.next_deadline();
        let deadline = deadline.into_iter().chain(copy.looked_until).min();
        if let Some(deadline) = deadline
            && copy.armed != Some(deadline)
        {
            copy.armed = Some(deadline);
            self.timers.arm(Key::Copy(topic.clone()), deadline.max(now));
        }
        if !wanted && !forgotten.is_empty() {
            for session in forgotten {
                place.write(session, Err(Reason::Left));
            }
        }
        if !wanted && place.was_told() {
            place.start_epoch();
        }
    }
}
