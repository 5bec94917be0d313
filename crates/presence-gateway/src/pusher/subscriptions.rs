//! The channels that one connection is subscribed to.

use std::sync::Arc;

use presence_core::{ChannelId, UserId};
use presence_hub::Reference;

use crate::pusher_names::Kind;

/// The most users of one channel that are remembered to have said in their own words that they are typing.
const WHISPERERS_MAX: usize = 32;

/// The subscription to one channel.
#[derive(Debug)]
pub(super) struct Subscription {
    /// The name of the channel on the page.
    pub(super) name: Box<str>,
    pub(super) channel: ChannelId,
    pub(super) kind: Kind,
    /// The last command that asked for it.
    pub(super) asked: Reference,
    /// The index of the authorized session that subscribes.
    pub(super) authorized: usize,
    /// The `user_info` of its own user on a presence channel.
    pub(super) info: Option<Arc<str>>,
    /// Whether the page was told that it is subscribed.
    pub(super) is_on: bool,
    /// The users who are typing and whose own event about it this page has received. The gateway's event would repeat it
    /// without the user's data, so the page is not sent that.
    pub(super) whisperers: Vec<UserId>,
    /// Whether this page sends its own data about typing: then what it sends about typing goes to other pages, too.
    pub(super) whispers: bool,
}

impl Subscription {
    /// Notes that `user` has said in their own words that they are typing.
    pub(super) fn heard_whisper(&mut self, user: &UserId) {
        if !self.whisperers.contains(user) {
            if self.whisperers.len() >= WHISPERERS_MAX {
                self.whisperers.remove(0);
            }
            self.whisperers.push(user.clone());
        }
    }
}

/// All subscriptions by channel. They are few as a rule, and looked up for every event.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(Vec<Subscription>);

impl Subscriptions {
    pub(super) fn get_mut(&mut self, channel: &ChannelId) -> Option<&mut Subscription> {
        let place = self.0.binary_search_by(|it| it.channel.cmp(channel));
        place.ok().map(|at| &mut self.0[at])
    }

    pub(super) fn named(&self, name: &str) -> Option<&Subscription> {
        self.0.iter().find(|it| &*it.name == name)
    }

    pub(super) fn named_mut(&mut self, name: &str) -> Option<&mut Subscription> {
        self.0.iter_mut().find(|it| &*it.name == name)
    }

    /// The subscription that the command with this reference asked for.
    pub(super) fn asked_mut(&mut self, reference: Reference) -> Option<&mut Subscription> {
        self.0.iter_mut().find(|it| it.asked == reference)
    }

    pub(super) fn insert(&mut self, subscription: Subscription) {
        match self
            .0
            .binary_search_by(|it| it.channel.cmp(&subscription.channel))
        {
            Ok(at) => self.0[at] = subscription,
            Err(at) => {
                // One is what most have: not four, as a vector would make room for.
                self.0.reserve_exact(usize::from(self.0.is_empty()));
                self.0.insert(at, subscription);
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Subscription> {
        let at = self.0.iter().position(|it| &*it.name == name)?;
        Some(self.0.remove(at))
    }

    /// Whether a subscription needs that authorized session.
    pub(super) fn need(&self, authorized: usize) -> bool {
        self.0.iter().any(|it| it.authorized == authorized)
    }

    /// Removes an authorized session: those after it move up by one.
    pub(super) fn forget(&mut self, authorized: usize) {
        for it in &mut self.0 {
            it.authorized -= usize::from(it.authorized > authorized);
        }
    }
}
