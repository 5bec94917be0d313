//! Sends a client the answers of the hub, and the events of what it watches.

use std::sync::Arc;

use presence_core::{ChannelId, Event, SessionId, Topic};
use presence_hub::{Reference, SharedEvent};

use super::Phoenix;
use super::events::{OnTopic, on_topic};
use super::joining::{Asked, Asking};
use super::service::{lines, on_service, own};
use super::topics::PhoenixTopic;
use super::wire::{self, Denied, reply};
use crate::dialect::Slot;
use crate::frame::TEXT;
use crate::out::Out;
use crate::request::Refused;

impl Phoenix {
    /// Answers a request that the hub has carried out.
    pub(super) fn granted(&mut self, reference: Reference, out: &mut Out) {
        let Some(Asked { asking, head }) = self.unanswered.answered(reference) else {
            return;
        };
        if let Some(head) = &head {
            reply(out, head, "{}");
        }
        if let (Asking::Service, Some(service)) = (asking, &mut self.service) {
            service.is_confirmed = true;
            if let Some(shared) = self.own.clone() {
                self.tell_own(&shared, out);
            }
        }
    }

    /// Answers a request that the hub has refused.
    pub(super) fn refused(&mut self, reference: Option<Reference>, why: Refused, out: &mut Out) {
        let asked = reference.and_then(|it| self.unanswered.answered(it));
        let Some(Asked { asking, head }) = asked else {
            self.app.metrics.refused(why.code);
            return;
        };
        let denied = Denied::from(why);
        let denied = match asking {
            Asking::Push => denied,
            Asking::Join | Asking::Service => {
                self.forget(head.as_deref().unwrap_or_default());
                denied.joining()
            }
            Asking::Channel(channel) => {
                if let Some(service) = &mut self.service {
                    service.channels.retain(|it| *it != channel);
                }
                self.leave_unneeded(&channel);
                denied
            }
        };
        self.deny(head, denied, out);
    }

    /// Forgets a join that was refused, unless there is a newer join of its topic.
    fn forget(&mut self, head: &str) {
        let Some((join_ref, topic)) = wire::of_head(head) else {
            return;
        };
        let Some(place) = PhoenixTopic::parse(&topic) else {
            return;
        };
        let joined = self.topics.get(&place);
        let is_it = joined.is_some_and(|it| Some(&it.join_ref) == join_ref.as_ref());
        if !is_it {
            return;
        }
        self.topics.remove(&place);
        match place {
            PhoenixTopic::Roster(Topic::Channel(channel)) => self.leave_unneeded(&channel),
            PhoenixTopic::Service(_) => {
                let service = self.service.take();
                for channel in service.map_or(Vec::new(), |it| it.channels) {
                    self.leave_unneeded(&channel);
                }
            }
            PhoenixTopic::Roster(_) | PhoenixTopic::User(_) => {}
        }
    }

    /// Makes the session leave a channel whose join was refused, unless another join needs it.
    fn leave_unneeded(&mut self, channel: &ChannelId) {
        let topic = Topic::Channel(channel.clone());
        let by_topic = self.topics.of(&topic).is_some();
        if !by_topic
            && !self.is_in_by_service(channel)
            && let Some(authorized) = &mut self.authorized
        {
            // If the hub is busy, the session may remember one channel more than it is in, which does no harm.
            let _ = authorized.leave(channel.clone(), None);
        }
    }

    /// Sends the frames of an event to the topics that are about it.
    pub(super) fn tell(&mut self, shared: Arc<SharedEvent>, out: &mut Out) {
        let joined = match &*shared.event {
            Event::StoreAway { .. } | Event::Window { .. } | Event::WindowChanges { .. } => return,
            Event::OwnView(_) => {
                self.own = Some(shared.clone());
                self.tell_own(&shared, out);
                return;
            }
            // A broadcast goes to the others only.
            Event::Broadcast { sender, .. }
                if sender.session().is_some_and(|it| self.is_session(it)) =>
            {
                return;
            }
            Event::PublicView(public_view) => self
                .topics
                .get(&PhoenixTopic::User(public_view.user.clone())),
            event => topic_of(event).and_then(|it| self.topics.of(it)),
        };
        if let Some(joined) = joined {
            let slot = shared.encoded(Slot::PhoenixTopic as usize, on_topic);
            let OnTopic {
                shared: encoded,
                frames,
            } = OnTopic::of(slot);
            if !encoded.is_empty() {
                out.push_shared(TEXT, joined.address().as_bytes(), encoded);
            }
            if !frames.is_empty() {
                out.push(frames);
            }
        }
        if let Some(service) = self.service.as_ref().filter(|it| it.is_confirmed) {
            let ends = shared.encoded(Slot::PhoenixService as usize, on_service);
            for end in lines(ends) {
                out.push_shared(TEXT, service.address().as_bytes(), end);
            }
        }
    }

    /// Sends the user's own state to the service topic: first the whole state, then its changes.
    fn tell_own(&mut self, shared: &SharedEvent, out: &mut Out) {
        let (Event::OwnView(own_view), Some(service)) = (&*shared.event, &mut self.service) else {
            return;
        };
        let Some(joined) = self
            .topics
            .get(&service.place)
            .filter(|_| service.is_confirmed)
        else {
            return;
        };
        let (address, event) = match service.is_greeted {
            false => (joined.address(), "presence_state"),
            true => (service.address(), "status_update"),
        };
        service.is_greeted = true;
        let session = self.authorized.as_ref().map(|it| it.session().alias());
        wire::send(
            out,
            &format!("{address}\"{event}\","),
            &own(own_view, session),
        );
    }

    fn is_session(&self, session: SessionId) -> bool {
        let own = self.authorized.as_ref().map(|it| it.session().connection());
        own.is_some_and(|it| it.session == session)
    }
}

/// The channel or workspace that an event is about.
fn topic_of(event: &Event) -> Option<&Topic> {
    match event {
        Event::Everyone { topic, .. }
        | Event::Unchanged { topic, .. }
        | Event::EpochStarted { topic, .. }
        | Event::Changes { topic, .. }
        | Event::Summary { topic, .. }
        | Event::Typing { topic, .. }
        | Event::Cursors { topic, .. }
        | Event::Broadcast { topic, .. } => Some(topic),
        Event::PublicView(_)
        | Event::OwnView(_)
        | Event::StoreAway { .. }
        | Event::Window { .. }
        | Event::WindowChanges { .. } => None,
    }
}
