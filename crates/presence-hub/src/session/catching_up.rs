//! Catching up: brings a client that reads slowly to the current state of each topic that it watches.

use presence_core::users::Input;
use presence_core::{Event, Topic, TopicVersion, UserId};

use super::Session;
use crate::delivery::Watched;
use crate::mailbox::{ReplyTo, UserMessage};

/// A state whose events were dropped, so that it has to be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToResend {
    Topic(Topic),
    User(UserId),
    Window(Topic, u32),
    Own,
}

impl Session {
    /// Notes the version to which `event` brings its topic. Returns false for an event that does not follow the version
    /// that the client has: the session no longer watches the topic, or is about to get a state that covers the event.
    pub(super) fn follows(&mut self, event: &Event) -> bool {
        match event {
            // A newcomer gets the same event as all others. Drop it if its version is already known.
            Event::Summary { topic, clock, .. } if self.has(topic, *clock) => false,
            Event::Everyone { topic, clock, .. }
            | Event::Summary { topic, clock, .. }
            | Event::Unchanged { topic, clock, .. } => match self.topics.get_mut(topic) {
                Some(watched) => {
                    watched.known = Some(*clock);
                    watched.is_coming = false;
                    self.caught_up(|it| matches!(it, ToResend::Topic(it) if it == topic));
                    true
                }
                None => false,
            },
            Event::EpochStarted { topic, clock } => match self.known(topic) {
                Some(known) => {
                    *known = *clock;
                    true
                }
                None => false,
            },
            Event::Changes { topic, clock, .. } => match self.known(topic) {
                Some(known) if known.epoch == clock.epoch && known.version + 1 == clock.version => {
                    *known = *clock;
                    true
                }
                _ => false,
            },
            Event::Typing { topic, .. }
            | Event::Cursors { topic, .. }
            | Event::Broadcast { topic, .. } => self.topics.contains(topic),
            Event::Window { topic, number, .. } => {
                let number = *number;
                self.caught_up(
                    |it| matches!(it, ToResend::Window(of, it) if of == topic && *it == number),
                );
                self.windows.follows(event)
            }
            Event::WindowChanges { .. } => self.windows.follows(event),
            Event::PublicView(public_view) => {
                self.caught_up(|it| matches!(it, ToResend::User(it) if *it == public_view.user));
                self.users.contains(&public_view.user)
            }
            Event::OwnView(own_view) => {
                self.alias = own_view.alias_of(self.connection.session);
                self.caught_up(|it| *it == ToResend::Own);
                true
            }
            Event::StoreAway { .. } => true,
        }
    }

    /// Whether the client has this version of a topic, and no state of it is on its way.
    fn has(&self, topic: &Topic, clock: TopicVersion) -> bool {
        let watched = self.topics.get(topic);
        watched.is_some_and(|it| !it.is_coming && it.known == Some(clock))
    }

    fn known(&mut self, topic: &Topic) -> Option<&mut TopicVersion> {
        self.topics.get_mut(topic)?.known.as_mut()
    }

    /// Asks again for what was dropped while the session lagged, from the versions that its client has.
    pub(super) async fn resend(&mut self) {
        while let (Some(to_resend), false) = (self.to_resend.last(), self.is_catching_up()) {
            match to_resend {
                ToResend::Topic(topic) => {
                    if let Some(&Watched {
                        watching, known, ..
                    }) = self.topics.get(topic)
                    {
                        let message =
                            self.watch_message(topic.clone(), watching, known, self.reply_to(None));
                        let message = UserMessage::Forward(topic.clone(), message);
                        let topic = topic.clone();
                        let _ = self.people.of(&self.user).send(message).await;
                        if let Some(watched) = self.topics.get_mut(&topic) {
                            watched.is_coming = true;
                        }
                    }
                }
                ToResend::User(user) => {
                    if self.users.contains(user) {
                        let message = self.watch_user_message(user.clone(), None);
                        let _ = self.people.of(user).send(message).await;
                    }
                }
                ToResend::Window(topic, number) => {
                    let (topic, number) = (topic.clone(), *number);
                    self.refresh_window(&topic, number).await;
                }
                ToResend::Own => {
                    let reply_to = ReplyTo::Reader(self.send_queue.clone());
                    let as_owner = true;
                    let input = Input::Asked { as_owner, reply_to };
                    let message = UserMessage::Happened(self.user.clone(), input);
                    let _ = self.people.of(&self.user).send(message).await;
                }
            }
            self.catching_up = self.to_resend.pop();
        }
    }

    /// Whether something was asked for and has not come yet.
    pub(super) fn is_catching_up(&self) -> bool {
        match &self.catching_up {
            None => false,
            Some(ToResend::Own) => true,
            Some(ToResend::Topic(topic)) => self.topics.contains(topic),
            Some(ToResend::User(user)) => self.users.contains(user),
            Some(ToResend::Window(topic, number)) => self.windows.contains(topic, *number),
        }
    }

    fn caught_up(&mut self, with: impl FnOnce(&ToResend) -> bool) {
        if self.catching_up.as_ref().is_some_and(with) {
            self.catching_up = None;
        }
    }
}
