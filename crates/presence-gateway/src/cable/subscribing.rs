//! Creates and ends subscriptions: asks the hub for what they need, now or as soon as it is less busy.

use std::sync::Arc;
use std::time::Duration;

use presence_core::{ChannelId, Topic, Watching};
use presence_protocol::ErrorCode;
use tokio::time::Instant;

use super::classes::{Identifier, Subject};
use super::subscriptions::{State, Subscription, head_of};
use super::{Asked, Cable};
use crate::lost_subscriptions::KeptSubscription;
use crate::out::Out;
use crate::rates::CommandClass;
use crate::request::Refused;

const CONFIRMED: &str = ",\"type\":\"confirm_subscription\"}";
pub(super) const REJECTED: &str = ",\"type\":\"reject_subscription\"}";
pub(super) const NO_HISTORY: &str = ",\"type\":\"reject_history\"}";
/// The shortest pause before trying again what the hub was too busy for.
const AGAIN: Duration = Duration::from_millis(50);

/// What to check again after a subscription has stopped asking for its subject.
#[derive(Debug)]
pub(super) struct ToRelease {
    subject: Subject,
    /// Whether the meta that was shown there came from that subscription.
    has_spoken: bool,
}

impl Cable {
    /// Asks the hub for what a subscription is about; later, if the hub is too busy or the rate is used up.
    pub(super) fn ask(&mut self, ticket: u32, out: &mut Out) -> Result<(), Refused> {
        if let Err(why) = self.afford(CommandClass::Join) {
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
        let command = self.unanswered.reference();
        let reference = Some(command);
        match &subject {
            Subject::Channel(channel) => {
                let is_in = self.subscriptions.iter().any(|it| {
                    it.wish.subject == subject && it.is_present && it.state == State::Confirmed
                });
                let watch = Some((Watching::Whole, None));
                // A session that is there already through another subscription keeps its meta unless this one
                // has its own.
                if is_present && (!is_in || meta.is_some()) {
                    let shown = self.subscriptions.speaker(&subject);
                    let shown = shown.and_then(|it| it.meta.clone());
                    let said = meta.clone().or(shown);
                    self.authorized
                        .join(channel.clone(), said, watch, reference)?;
                    if let Some(meta) = meta {
                        self.subscriptions.say(ticket, meta);
                    }
                } else {
                    let topic = Topic::Channel(channel.clone());
                    self.authorized
                        .watch(topic, Watching::Whole, None, reference)?;
                }
            }
            Subject::Workspace(workspace) => {
                let topic = Topic::Workspace(workspace.clone());
                self.authorized
                    .watch(topic, Watching::Whole, None, reference)?;
            }
            Subject::Statuses(users) => self.authorized.watch_users(users.to_vec(), reference)?,
        }
        if let Some(it) = self.subscriptions.of_ticket(ticket) {
            it.state = State::Asked;
        }
        self.unanswered.note(command, Asked::Subscription(ticket));
        Ok(())
    }

    /// Continues the subscriptions of a lost connection, as far as they are still granted. Returns their identifiers.
    pub(super) fn go_on(&mut self, kept: Vec<KeptSubscription>) -> Vec<String> {
        let mut restored = Vec::new();
        for KeptSubscription {
            identifier,
            is_present,
            meta,
            said,
        } in kept
        {
            let Ok(mut wish) = Identifier::of(&identifier) else {
                continue;
            };
            let is_in = match &wish.subject {
                Subject::Channel(channel) => {
                    self.authorized.session().joined().any(|it| it == channel)
                }
                Subject::Workspace(_) | Subject::Statuses(_) => false,
            };
            // A session that is still in the channel has its meta there already.
            let meta: Option<Arc<str>> = meta.map(Arc::from);
            wish.only_looks = is_in || !is_present;
            wish.meta = meta.clone().filter(|_| !wish.only_looks);
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
                    self.subscriptions.said(ticket, meta, said);
                    restored.push(identifier);
                }
                Err(_) => drop(self.subscriptions.remove(ticket)),
            }
        }
        restored
    }

    /// Ends a subscription at once, even if the hub is busy.
    pub(super) fn unsubscribe(&mut self, head: &str) {
        if let Some(ticket) = self.find(head).map(|it| it.ticket) {
            self.take_out(ticket);
        }
    }

    /// Removes a subscription, and releases what only it needed.
    fn take_out(&mut self, ticket: u32) -> Option<Subscription> {
        let subject = self.subscriptions.of_ticket(ticket)?.wish.subject.clone();
        let to_release = self.to_release_after(ticket, subject);
        let removed = self.subscriptions.remove(ticket);
        self.release(to_release);
        self.changed();
        removed
    }

    /// What to check again once a subscription no longer asks for its subject.
    pub(super) fn to_release_after(&self, ticket: u32, subject: Subject) -> ToRelease {
        let speaker = self.subscriptions.speaker(&subject);
        ToRelease {
            has_spoken: speaker.is_some_and(|it| it.ticket == ticket && it.said > 0),
            subject,
        }
    }

    /// Stops watching what no subscription needs any more, and leaves a channel in which no subscription asks to be. If another
    /// one still does, its meta is shown from now on.
    pub(super) fn release(&mut self, to_release: ToRelease) {
        let ToRelease {
            subject,
            has_spoken,
        } = &to_release;
        let is_needed = self.subscriptions.need(subject);
        let released = match subject {
            Subject::Channel(channel) if is_needed => self.settle_in(channel, subject, *has_spoken),
            _ if is_needed => Ok(()),
            Subject::Channel(channel) => self.authorized.leave(channel.clone(), None),
            Subject::Workspace(workspace) => {
                let topic = Topic::Workspace(workspace.clone());
                self.authorized.unwatch(&topic, None)
            }
            Subject::Statuses(users) => {
                let users = users.iter().filter(|it| !self.subscriptions.need_user(it));
                let users: Vec<_> = users.cloned().collect();
                self.authorized.unwatch_users(&users, None)
            }
        };
        if let Err(why) = released {
            self.to_release.push(to_release);
            self.again(why.retry_after);
        }
    }

    /// Adjusts the session's membership of a channel to the subscriptions that are left.
    fn settle_in(
        &mut self,
        channel: &ChannelId,
        subject: &Subject,
        has_spoken: bool,
    ) -> Result<(), Refused> {
        match self.subscriptions.speaker(subject) {
            None => self.only_look(channel.clone()),
            Some(speaker) if has_spoken => {
                let meta = speaker.meta.clone().unwrap_or_else(|| "{}".into());
                self.authorized.update(channel.clone(), meta, None)
            }
            Some(_) => Ok(()),
        }
    }

    /// Leaves a channel, and goes on watching it.
    fn only_look(&mut self, channel: ChannelId) -> Result<(), Refused> {
        if self.authorized.session().joined().any(|it| *it == channel) {
            self.authorized.leave(channel.clone(), None)?;
        }
        let topic = Topic::Channel(channel);
        if self.authorized.session().watches_topic(&topic) {
            return Ok(());
        }
        self.authorized.watch(topic, Watching::Whole, None, None)
    }

    /// Tries again what the hub was too busy for.
    pub(super) fn try_again(&mut self, out: &mut Out) {
        self.tries_at = None;
        for to_release in std::mem::take(&mut self.to_release) {
            self.release(to_release);
        }
        for ticket in self.subscriptions.due() {
            if let Err(why) = self.ask(ticket, out)
                && why.code == ErrorCode::RateLimited
            {
                break;
            }
        }
    }

    /// Leaves the channels that the session is still in although nobody has subscribed to them again.
    pub(super) fn leave_strays(&mut self) {
        self.strays_at = None;
        let joined: Vec<_> = self.authorized.session().joined().cloned().collect();
        for channel in joined {
            self.release(ToRelease {
                subject: Subject::Channel(channel),
                has_spoken: false,
            });
        }
    }

    fn again(&mut self, after: Option<Duration>) {
        let at = Instant::now() + after.unwrap_or(AGAIN).max(AGAIN);
        self.tries_at = Some(self.tries_at.map_or(at, |it| it.min(at)));
    }

    /// Confirms a subscription, once for each time that the page asked.
    pub(super) fn confirm(&mut self, ticket: u32, out: &mut Out) {
        let Some(it) = self.subscriptions.of_ticket(ticket) else {
            return;
        };
        it.state = State::Confirmed;
        let asked = std::mem::take(&mut it.asked);
        let history = std::mem::take(&mut it.wants_history);
        let head = it.head.clone();
        self.changed();
        for _ in 0..asked {
            self.say(&head, CONFIRMED, out);
        }
        if history {
            self.say(&head, NO_HISTORY, out);
        }
    }

    /// Rejects and removes a subscription.
    pub(super) fn reject(&mut self, ticket: u32, out: &mut Out) {
        if let Some(removed) = self.take_out(ticket) {
            self.say(&removed.head, REJECTED, out);
        }
    }
}
