//! Performs the commands that clients send.

use std::borrow::Cow;

use presence_core::{ChannelId, Topic};
use presence_protocol::{ErrorCode, mend};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Cable;
use super::classes::{Identifier, Subject};
use super::presence::{Presence, not_subscribed};
use super::subscribing::REJECTED;
use super::subscriptions::{State, Subscription, head_of};
use crate::closing::{CloseReason, Closing};
use crate::dialect::Next;
use crate::frame::TEXT;
use crate::out::Out;
use crate::rates::CommandClass;
use crate::request::Refused;

/// A frame that a client sent.
#[derive(Deserialize)]
pub(super) struct Command<'a> {
    #[serde(borrow)]
    command: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) identifier: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) presence: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) history: Option<&'a RawValue>,
}

impl Cable {
    /// Does what a frame asks for. Refusals are answered for subscriptions only: the protocol has no frame for others.
    pub(super) async fn obey(&mut self, text: &str, out: &mut Out) -> Next {
        let now = self.authorized.host().now();
        let text = &*mend(text);
        let Ok(command) = serde_json::from_str::<Command<'_>>(text) else {
            self.count(ErrorCode::Malformed);
            return match self.buckets.malformed(now) {
                true => Next::Close(CloseReason::Malformed.into()),
                false => Next::Continue,
            };
        };
        let Err(why) = self.perform(&command, out).await else {
            return Next::Continue;
        };
        self.count(why.code);
        let is_reckless = matches!(
            why.code,
            ErrorCode::RateLimited
                | ErrorCode::UnknownCommand
                | ErrorCode::NotJoined
                | ErrorCode::TooMany
        );
        match is_reckless && self.buckets.strike(now) {
            true => Next::Close(Closing::flooding()),
            false => Next::Continue,
        }
    }

    async fn perform(&mut self, command: &Command<'_>, out: &mut Out) -> Result<(), Refused> {
        if self.is_extended && command.command == "pong" {
            return Ok(()); // that something was heard is noted for every frame
        }
        let unknown = || Refused::new(ErrorCode::UnknownCommand, "unknown command");
        let identifier = command.identifier.as_deref();
        let identifier = identifier.ok_or_else(unknown)?;
        let head = head_of(identifier);
        match &*command.command {
            "subscribe" => self.subscribe(identifier, head, command, out),
            "unsubscribe" => {
                self.unsubscribe(&head);
                Ok(())
            }
            "message" => self.act(&head, command.data, out),
            "whisper" if self.is_extended => self.whisper(&head, command.data),
            "join" if self.is_extended => self.join(&head, command.presence, out),
            "leave" if self.is_extended => self.leave(&head),
            "presence" if self.is_extended => {
                Box::pin(self.records(&head, command.data, out)).await
            }
            "history" if self.is_extended => self.history(&head, out),
            _ => Err(unknown()),
        }
    }

    fn subscribe(
        &mut self,
        identifier: &str,
        head: Box<str>,
        command: &Command<'_>,
        out: &mut Out,
    ) -> Result<(), Refused> {
        let wants_history = self.is_extended && command.history.is_some();
        if let Some(known) = self.subscriptions.find(&head) {
            // A page that has no answer yet may ask again, and is answered again.
            known.asked = known.asked.saturating_add(1);
            known.wants_history |= wants_history;
            let (ticket, state) = (known.ticket, known.state);
            if state == State::Confirmed {
                self.afford(CommandClass::Other)?;
                self.confirm(ticket, out);
            }
            return Ok(());
        }
        let subscribed = self.wish(identifier, command).and_then(|wish| {
            let added = self.subscriptions.add(head.clone(), wish);
            let added =
                added.ok_or_else(|| Refused::new(ErrorCode::TooMany, "too many subscriptions"))?;
            added.wants_history = wants_history;
            Ok(added.ticket)
        });
        match subscribed {
            Ok(ticket) => self.ask(ticket, out),
            Err(why) => {
                self.say(&head, REJECTED, out);
                Err(why)
            }
        }
    }

    fn wish(&self, identifier: &str, command: &Command<'_>) -> Result<Identifier, Refused> {
        let mut wish = Identifier::of(identifier)?;
        let presence = command.presence.filter(|_| self.is_extended);
        let presence: Option<Presence<'_>> = presence
            .map(|it| serde_json::from_str(it.get()))
            .transpose()
            .map_err(|error| Refused::invalid("presence", error))?;
        if let Some(presence) = presence {
            wish.meta = presence.meta(&self.authorized)?.or(wish.meta);
            wish.only_looks = !matches!(wish.subject, Subject::Channel(_));
        }
        Ok(wish)
    }

    /// Appends a message of a subscription to `out`.
    #[allow(clippy::unused_self, reason = "reads as what it does")]
    pub(super) fn say(&self, head: &str, tail: &str, out: &mut Out) {
        out.push_payload(TEXT, &[head.as_bytes(), tail.as_bytes()].concat());
    }

    pub(super) fn find(&mut self, head: &str) -> Option<&mut Subscription> {
        self.subscriptions.find(head)
    }

    /// The ticket of a subscription to a channel, and the channel.
    pub(super) fn place_of(&mut self, head: &str) -> Result<(u32, ChannelId), Refused> {
        let it = self.find(head).ok_or_else(not_subscribed)?;
        match &it.wish.subject {
            Subject::Channel(channel) => Ok((it.ticket, channel.clone())),
            _ => Err(Refused::invalid("identifier", "is not of a place")),
        }
    }

    /// The topic that a subscription watches.
    pub(super) fn topic_of(&mut self, head: &str) -> Result<Topic, Refused> {
        let it = self.find(head).ok_or_else(not_subscribed)?;
        match &it.wish.subject {
            Subject::Channel(channel) => Ok(Topic::Channel(channel.clone())),
            Subject::Workspace(workspace) => Ok(Topic::Workspace(workspace.clone())),
            Subject::Statuses(_) => Err(Refused::invalid("identifier", "is not of a place")),
        }
    }

    pub(super) fn afford(&mut self, class: CommandClass) -> Result<(), Refused> {
        let app = self.authorized.host();
        self.buckets.take(app.now(), class, &app.config.rates)
    }

    pub(super) fn count(&self, code: ErrorCode) {
        self.authorized.host().metrics.refused(code);
    }
}
