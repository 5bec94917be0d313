//! From the frames of the wire to what a guest does.

use std::borrow::Cow;

use presence_client::wire::ErrorCode;
use presence_core::{ChannelId, Topic, Watching};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::Cable;
use super::classes::{Subject, Wish};
use super::kept::KeptSubscription;
use super::presence::{Presence, not_subscribed};
use super::subscriptions::{State, Subscription, head_of};
use crate::closing::{Closing, Why};
use crate::dialect::Next;
use crate::frame::TEXT;
use crate::out::Out;
use crate::rates::Class;
use crate::request::Refused;

/// What was asked too early, and what could not be told to a busy hub, is tried again so much later.
const AGAIN: std::time::Duration = std::time::Duration::from_millis(50);

/// A frame.
#[derive(Deserialize)]
struct Command<'a> {
    #[serde(borrow)]
    command: Cow<'a, str>,
    #[serde(borrow)]
    identifier: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    presence: Option<&'a RawValue>,
    #[serde(borrow)]
    history: Option<&'a RawValue>,
}

impl Cable {
    /// Does what a frame asks for. What is refused is not answered, except for subscriptions: the protocol has no words for it.
    pub(super) async fn obey(&mut self, text: &str, out: &mut Out) -> Next {
        let now = self.guest.app().now();
        let Ok(command) = serde_json::from_str::<Command<'_>>(text) else {
            self.count(ErrorCode::Malformed);
            return match self.buckets.malformed(now) {
                true => Next::Close(Why::Malformed.into()),
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
            // A page that has not heard yet asks again, and is answered again.
            known.asked = known.asked.saturating_add(1);
            known.wants_history |= wants_history;
            let (ticket, state) = (known.ticket, known.state);
            if state == State::Confirmed {
                self.afford(Class::Other)?;
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

    fn wish(&self, identifier: &str, command: &Command<'_>) -> Result<Wish, Refused> {
        let mut wish = Wish::of(identifier)?;
        let presence = command.presence.filter(|_| self.is_extended);
        let presence: Option<Presence<'_>> = presence
            .map(|it| serde_json::from_str(it.get()))
            .transpose()
            .map_err(|error| Refused::invalid("presence", error))?;
        if let Some(presence) = presence {
            wish.meta = presence.meta(&self.guest)?.or(wish.meta);
            wish.only_looks = !matches!(wish.subject, Subject::Place(_));
        }
        Ok(wish)
    }

    /// Asks the hub for what a subscription is about; later, if that is too much just now.
    fn ask(&mut self, ticket: u32, out: &mut Out) -> Result<(), Refused> {
        if let Err(why) = self.afford(Class::Join) {
            self.again(why.retry_after);
            return Err(why);
        }
        match self.seek(ticket) {
            Ok(()) => Ok(()),
            Err(why) if why.code == ErrorCode::Overloaded => {
                self.again(why.retry_after);
                Ok(())
            }
            Err(why) => {
                self.reject(ticket, out);
                Err(why)
            }
        }
    }

    fn seek(&mut self, ticket: u32) -> Result<(), Refused> {
        let Some(it) = self.subscriptions.of_ticket(ticket) else {
            return Ok(());
        };
        let (subject, meta) = (it.wish.subject.clone(), it.wish.meta.clone());
        let is_present = it.is_present;
        let reference = Some(format!("s{ticket}").into());
        match &subject {
            Subject::Place(channel) => {
                let is_in = self.subscriptions.iter().any(|it| {
                    it.wish.subject == subject && it.is_present && it.state == State::Confirmed
                });
                let watch = Some((Watching::Whole, None));
                // Who is there already through another subscription says nothing else of themselves by this one.
                if is_present && (!is_in || meta.is_some()) {
                    self.guest.join(channel.clone(), meta, watch, reference)?;
                    self.set_present(&subject, true);
                } else {
                    let topic = Topic::Channel(channel.clone());
                    self.guest.watch(topic, Watching::Whole, None, reference)?;
                }
            }
            Subject::Workspace(workspace) => {
                let topic = Topic::Workspace(workspace.clone());
                self.guest.watch(topic, Watching::Whole, None, reference)?;
            }
            Subject::Statuses(users) => self.guest.watch_users(users.to_vec(), reference)?,
        }
        if let Some(it) = self.subscriptions.of_ticket(ticket) {
            it.state = State::Asked;
        }
        Ok(())
    }

    /// Goes on with the subscriptions of a connection that was lost: those that are still granted.
    pub(super) fn go_on(&mut self, kept: Vec<KeptSubscription>) -> Vec<String> {
        let mut restored = Vec::new();
        for KeptSubscription {
            identifier,
            is_present,
        } in kept
        {
            let Ok(mut wish) = Wish::of(&identifier) else {
                continue;
            };
            // The session is where it was, and has said of itself what it has said.
            wish.meta = None;
            wish.only_looks = true;
            let Some(added) = self.subscriptions.add(head_of(&identifier), wish) else {
                continue;
            };
            let ticket = added.ticket;
            added.asked = 0;
            added.has_begun = true;
            match self.seek(ticket) {
                Ok(()) => {
                    if let Some(it) = self.subscriptions.of_ticket(ticket) {
                        it.is_present = is_present;
                    }
                    restored.push(identifier);
                }
                Err(_) => drop(self.subscriptions.remove(ticket)),
            }
        }
        restored
    }

    /// Leaves at once, whatever the hub is busy with.
    fn unsubscribe(&mut self, head: &str) {
        let Some(ticket) = self.find(head).map(|it| it.ticket) else {
            return;
        };
        if let Some(removed) = self.subscriptions.remove(ticket) {
            self.release(removed.wish.subject);
        }
    }

    /// Stops watching what no subscription needs any more, and leaves it.
    pub(super) fn release(&mut self, subject: Subject) {
        let released = match &subject {
            _ if self.subscriptions.need(&subject) => Ok(()),
            Subject::Place(channel) => self.guest.depart(channel.clone(), None),
            Subject::Workspace(workspace) => {
                let topic = Topic::Workspace(workspace.clone());
                self.guest.unwatch(&topic, None)
            }
            Subject::Statuses(users) => {
                let users = users.iter().filter(|it| !self.subscriptions.need_user(it));
                let users: Vec<_> = users.cloned().collect();
                self.guest.unwatch_users(&users, None)
            }
        };
        if let Err(why) = released {
            self.owed.push(subject);
            self.again(why.retry_after);
        }
    }

    /// Tries again what there was no room for.
    pub(super) fn try_again(&mut self, out: &mut Out) {
        self.tries_at = None;
        for subject in std::mem::take(&mut self.owed) {
            self.release(subject);
        }
        for ticket in self.subscriptions.due() {
            if let Err(why) = self.ask(ticket, out)
                && why.code == ErrorCode::RateLimited
            {
                break;
            }
        }
    }

    /// Leaves where the session still is, though nobody has subscribed to that again.
    pub(super) fn leave_strays(&mut self) {
        self.strays_at = None;
        let joined = self.guest.session().joined().to_vec();
        for channel in joined {
            self.release(Subject::Place(channel));
        }
    }

    fn again(&mut self, after: Option<std::time::Duration>) {
        let at = Instant::now() + after.unwrap_or(AGAIN).max(AGAIN);
        self.tries_at = Some(self.tries_at.map_or(at, |it| it.min(at)));
    }

    /// Says that a subscription is granted, as often as that was asked.
    pub(super) fn confirm(&mut self, ticket: u32, out: &mut Out) {
        let Some(it) = self.subscriptions.of_ticket(ticket) else {
            return;
        };
        it.state = State::Confirmed;
        let asked = std::mem::take(&mut it.asked);
        let history = std::mem::take(&mut it.wants_history);
        let head = it.head.clone();
        for _ in 0..asked {
            self.say(&head, CONFIRMED, out);
        }
        if history {
            self.say(&head, ",\"type\":\"reject_history\"}", out);
        }
    }

    /// Says that there is no such subscription.
    pub(super) fn reject(&mut self, ticket: u32, out: &mut Out) {
        if let Some(removed) = self.subscriptions.remove(ticket) {
            self.say(&removed.head, REJECTED, out);
            self.release(removed.wish.subject);
        }
    }

    /// A message of a subscription.
    #[allow(clippy::unused_self, reason = "reads as what it does")]
    pub(super) fn say(&self, head: &str, tail: &str, out: &mut Out) {
        out.push_payload(TEXT, &[head.as_bytes(), tail.as_bytes()].concat());
    }

    pub(super) fn find(&mut self, head: &str) -> Option<&mut Subscription> {
        self.subscriptions.find(head)
    }

    /// The ticket of a subscription to a place, and which place that is.
    pub(super) fn place_of(&mut self, head: &str) -> Result<(u32, ChannelId), Refused> {
        let it = self.find(head).ok_or_else(not_subscribed)?;
        match &it.wish.subject {
            Subject::Place(channel) => Ok((it.ticket, channel.clone())),
            _ => Err(Refused::invalid("identifier", "is not of a place")),
        }
    }

    /// What a subscription watches.
    pub(super) fn topic_of(&mut self, head: &str) -> Result<Topic, Refused> {
        let it = self.find(head).ok_or_else(not_subscribed)?;
        match &it.wish.subject {
            Subject::Place(channel) => Ok(Topic::Channel(channel.clone())),
            Subject::Workspace(workspace) => Ok(Topic::Workspace(workspace.clone())),
            Subject::Statuses(_) => Err(Refused::invalid("identifier", "is not of a place")),
        }
    }

    /// Notes whether one is in a place: the session is, so all of its subscriptions are.
    pub(super) fn set_present(&mut self, subject: &Subject, is_present: bool) {
        let about = |it: &&mut Subscription| it.wish.subject == *subject;
        for it in self.subscriptions.iter_mut().filter(about) {
            it.is_present = is_present;
        }
    }

    pub(super) fn afford(&mut self, class: Class) -> Result<(), Refused> {
        let app = self.guest.app();
        self.buckets.take(app.now(), class, &app.config.rates)
    }

    pub(super) fn count(&self, code: ErrorCode) {
        self.guest.app().metrics.refused(code);
    }
}

const CONFIRMED: &str = ",\"type\":\"confirm_subscription\"}";
const REJECTED: &str = ",\"type\":\"reject_subscription\"}";
