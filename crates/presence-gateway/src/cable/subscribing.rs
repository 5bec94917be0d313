//! How a subscription comes to be, and how it ends: what the hub is asked for, now or as soon as there is room.

use std::time::Duration;

use presence_client::wire::ErrorCode;
use presence_core::{Topic, Watching};
use tokio::time::Instant;

use super::Cable;
use super::classes::{Subject, Wish};
use super::kept::KeptSubscription;
use super::subscriptions::{State, head_of};
use crate::out::Out;
use crate::rates::Class;
use crate::request::Refused;

const CONFIRMED: &str = ",\"type\":\"confirm_subscription\"}";
pub(super) const REJECTED: &str = ",\"type\":\"reject_subscription\"}";
pub(super) const NO_HISTORY: &str = ",\"type\":\"reject_history\"}";
/// What could not be told to a busy hub is tried again so much later, at the soonest.
const AGAIN: Duration = Duration::from_millis(50);

impl Cable {
    /// Asks the hub for what a subscription is about; later, if that is too much just now.
    pub(super) fn ask(&mut self, ticket: u32, out: &mut Out) -> Result<(), Refused> {
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
    pub(super) fn unsubscribe(&mut self, head: &str) {
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
        let joined: Vec<_> = self.guest.session().joined().cloned().collect();
        for channel in joined {
            self.release(Subject::Place(channel));
        }
    }

    fn again(&mut self, after: Option<Duration>) {
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
            self.say(&head, NO_HISTORY, out);
        }
    }

    /// Says that there is no such subscription.
    pub(super) fn reject(&mut self, ticket: u32, out: &mut Out) {
        if let Some(removed) = self.subscriptions.remove(ticket) {
            self.say(&removed.head, REJECTED, out);
            self.release(removed.wish.subject);
        }
    }
}
