//! What people do in a channel: they type, point, select and broadcast.

use std::sync::Arc;

use super::effect::{Effect, answer};
use super::ephemeral_events;
use super::input::Input;
use super::topic_state::TopicState;
use super::{Key, Rosters};
use crate::cluster::Ephemeral;
use crate::{
    Cursor, Outsider, Payload, Refusal, Sender, SessionId, Timers, Timestamp, Timing, Topic, UserId,
};

/// The name of the event with which an application announces by itself that a user is typing. Other broadcasts of a
/// user end their typing; this one does not.
pub const TYPING_EVENT: &str = "typing";

impl Rosters {
    /// Applies an input about typing, pointing, selecting or broadcasting, and answers it. Returns the topic; `None`
    /// for any other input.
    pub(super) fn act<A>(
        &mut self,
        now: Timestamp,
        input: Input<A>,
        out: &mut Vec<Effect<A>>,
    ) -> Option<Topic> {
        let (topic, outcome, reply_to) = match input {
            Input::Typed {
                channel,
                session,
                typing,
                reply_to,
            } => {
                let topic = Topic::Channel(channel);
                let outcome = self.type_in(now, &topic, session, typing);
                (topic, outcome, reply_to)
            }
            Input::Pointed {
                channel,
                session,
                pointer,
                reply_to,
            } => {
                let topic = Topic::Channel(channel);
                let point = |cursor: &mut Cursor| cursor.pointer = Some(pointer);
                let outcome = self.move_cursor(now, &topic, session, point);
                (topic, outcome, reply_to)
            }
            Input::Selected {
                channel,
                session,
                selection,
                reply_to,
            } => {
                let topic = Topic::Channel(channel);
                let select = |cursor: &mut Cursor| cursor.selection = selection;
                let outcome = self.move_cursor(now, &topic, session, select);
                (topic, outcome, reply_to)
            }
            Input::Said {
                channel,
                session,
                event,
                payload,
                reply_to,
            } => {
                let topic = Topic::Channel(channel);
                let outcome = self.say(now, &topic, session, (event, payload));
                (topic, outcome, reply_to)
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
                (topic, outcome, reply_to)
            }
            Input::Wrote { .. }
            | Input::Watched { .. }
            | Input::Looked { .. }
            | Input::Stored { .. }
            | Input::Unwatched { .. }
            | Input::WindowOpened { .. }
            | Input::WindowClosed { .. }
            | Input::Silenced { .. } => return None,
        };
        answer(outcome, reply_to, out);
        Some(topic)
    }

    fn type_in(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        session: SessionId,
        typing: bool,
    ) -> Result<(), Refusal> {
        let deadline = now + self.timing.typing();
        let (user, place, timers) = self.member(topic, session)?;
        let key = Key::Typing(topic.clone(), session);
        place.queue_ephemeral(Ephemeral::Typed { session, typing });
        if typing {
            place.ephemeral_events.start_typing(&user, session);
            timers.arm(key, deadline);
        } else {
            place.ephemeral_events.stop_typing(&user, session);
            timers.cancel(&key);
        }
        Ok(())
    }

    fn move_cursor(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        session: SessionId,
        change: impl FnOnce(&mut Cursor),
    ) -> Result<(), Refusal> {
        let (user, place, timers) = self.member(topic, session)?;
        let ids = place.ids_of(session);
        let cursor = place.ephemeral_events.point(&user, ids, change).clone();
        place.queue_ephemeral(Ephemeral::Pointed(cursor));
        let key = Key::Cursor(topic.clone(), session);
        timers.arm(key, now + Timing::CURSOR_TTL);
        Ok(())
    }

    fn say(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        session: SessionId,
        (event, payload): (Arc<str>, Payload),
    ) -> Result<(), Refusal> {
        let max = self.limits.broadcasts_max;
        let (user, place, timers) = self.member(topic, session)?;
        // A user who has sent their message has stopped typing it.
        let ends_typing = *event != *TYPING_EVENT;
        let sender = place.sender(session);
        place.broadcast(now, topic, &user, sender, (event, payload), max)?;
        if ends_typing {
            place.ephemeral_events.stop_typing(&user, session);
            timers.cancel(&Key::Typing(topic.clone(), session));
        }
        Ok(())
    }

    fn announce(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        outsider: Outsider,
        (user, event, payload): (UserId, Arc<str>, Payload),
    ) -> Result<(), Refusal> {
        let (max, node) = (self.limits.broadcasts_max, self.tag());
        let sender = Sender::Service { outsider, node };
        self.place(topic)
            .broadcast(now, topic, &user, sender, (event, payload), max)
    }

    pub(super) fn silence(&mut self, topic: &Topic, session: SessionId) {
        let Some(place) = self.places.get_mut(topic) else {
            return;
        };
        if let Some(user) = place.roster.user_of(session).cloned() {
            place.ephemeral_events.stop_typing(&user, session);
        }
        place.ephemeral_events.forget_cursor(session);
        self.timers.cancel(&Key::Typing(topic.clone(), session));
        self.timers.cancel(&Key::Cursor(topic.clone(), session));
    }

    /// What a session may change that is in the place and can be seen there, and the user of the session.
    fn member(
        &mut self,
        topic: &Topic,
        session: SessionId,
    ) -> Result<(UserId, &mut TopicState, &mut Timers<Key>), Refusal> {
        let place = self.places.get_mut(topic).ok_or(Refusal::NotJoined)?;
        let user = place.roster.user_of(session).ok_or(Refusal::NotJoined)?;
        Ok((user.clone(), place, &mut self.timers))
    }
}

impl TopicState {
    /// Sends a broadcast to the watchers here, and to other nodes.
    fn broadcast(
        &mut self,
        now: Timestamp,
        topic: &Topic,
        user: &UserId,
        sender: Sender,
        (event, payload): (Arc<str>, Payload),
        max: usize,
    ) -> Result<(), Refusal> {
        if !self.ephemeral_events.has_room_to_broadcast(now, max) {
            let retry_after = self.pace.next_at().since(now).max(Timing::RATE_WINDOW);
            return Err(Refusal::TooFast { retry_after });
        }
        let (by, name, content) = (user.clone(), event.clone(), payload.clone());
        let ephemeral = match sender {
            Sender::Session { session, .. } => Ephemeral::Said {
                session,
                user: by,
                event: name,
                payload: content,
            },
            Sender::Service { outsider, node } => Ephemeral::Announced {
                outsider,
                node,
                user: by,
                event: name,
                payload: content,
            },
        };
        let said = ephemeral_events::broadcast(topic, user, sender, event, payload);
        self.ephemeral_events.broadcast(now, said, max);
        self.queue_ephemeral(ephemeral);
        Ok(())
    }
}
