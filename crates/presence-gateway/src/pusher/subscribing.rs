//! Subscribes to channels: who may, and as which user.

use std::sync::Arc;

use presence_core::{ChannelId, Topic, UserId, Watching};
use presence_hub::Reference;
use presence_protocol::ErrorCode;

use super::commands::Subscribe;
use super::signature::is_for_channel;
use super::signed::{self, Signed};
use super::subscriptions::Subscription;
use super::{Pusher, words};
use crate::authorized::Authorized;
use crate::closing::CloseReason;
use crate::dialect::Next;
use crate::identity::{Identity, anonymous};
use crate::out::Out;
use crate::pusher_names::{self as names, Kind, channel_of, user_of};
use crate::request::Refused;

/// The most users that one connection may be.
const SESSIONS_MAX: usize = 8;

impl Pusher {
    /// Subscribes to a channel. Subscribing again sends everything anew, and on a presence channel shows what
    /// is signed now.
    pub(super) async fn subscribe(&mut self, it: Subscribe, out: &mut Out) -> Next {
        if let Err(why) = self.try_to_subscribe(&it, out).await {
            if why.code == ErrorCode::Unavailable && self.app.is_draining() {
                return Next::Close(CloseReason::Restarting.into());
            }
            self.refuse_subscription(&it.channel, &why, out);
        }
        Next::Continue
    }

    async fn try_to_subscribe(&mut self, it: &Subscribe, out: &mut Out) -> Result<(), Refused> {
        let name = &*it.channel;
        let channel = channel_of(self.application(), name);
        let channel = channel.map_err(|why| Refused::new(ErrorCode::Invalid, why.to_string()))?;
        let kind = names::kind(name);
        match kind {
            Kind::Cache => {
                let message = "channels do not keep their last event here";
                return Err(Refused::new(ErrorCode::Invalid, message));
            }
            Kind::Private | Kind::Presence => self.check_signature(it)?,
            Kind::ToUser => return self.listen_to_own(name, channel),
            Kind::Public => {}
        }
        let signed = match kind {
            Kind::Presence => Some(self.signed_for(it)?),
            _ => None,
        };
        let before = self.subscriptions.named(name);
        let before = before.map(|it| {
            (
                self.sessions[it.authorized].session().user().clone(),
                it.is_on,
            )
        });
        if let Some((user, is_on)) = &before {
            match &signed {
                Some(signed) if signed.user != *user => {
                    let message = "the connection is on this channel as another user";
                    return Err(Refused::new(ErrorCode::Invalid, message));
                }
                Some(_) => {}
                None => {
                    if *is_on {
                        out.push(words::subscribed(name));
                    }
                    return Ok(());
                }
            }
        }
        let authorized = match &signed {
            Some(signed) => {
                let identity = signed.identity(self.application(), self.since);
                let first = Topic::Channel(channel.clone());
                let first = Some((first, Some(signed.info.clone())));
                self.authorized_for(&signed.user, || identity, first)
                    .await?
            }
            None => self.nobody().await?,
        };
        let info = signed.map(|it| it.info);
        let asked = self.next_reference();
        let outcome = self.join(authorized, channel.clone(), info.clone(), asked);
        if let Err(why) = outcome {
            self.retire(authorized).await;
            return Err(why);
        }
        self.subscriptions.insert(Subscription {
            name: name.into(),
            channel,
            kind,
            asked,
            authorized,
            info,
            is_on: before.is_some_and(|(_, is_on)| is_on),
            whisperers: Vec::new(),
            whispers: false,
        });
        Ok(())
    }

    fn join(
        &mut self,
        authorized: usize,
        channel: ChannelId,
        info: Option<Arc<str>>,
        asked: Reference,
    ) -> Result<(), Refused> {
        // Where nobody is shown, it is enough to hear how many there are.
        let watching = match info {
            Some(_) => Watching::Full,
            None => Watching::Summary,
        };
        let watch = Some((watching, None));
        self.sessions[authorized].join(channel, info, watch, Some(asked))
    }

    fn check_signature(&self, it: &Subscribe) -> Result<(), Refused> {
        let auth = it.auth.as_deref().unwrap_or_default();
        let data = match names::kind(&it.channel) {
            Kind::Presence => it.channel_data.as_deref(),
            _ => None,
        };
        // A private channel's data, if a server signs any, are signed too.
        let is_signed = is_for_channel(self.application(), auth, self.socket, &it.channel, data)
            || (data.is_none()
                && it.channel_data.as_deref().is_some_and(|data| {
                    is_for_channel(
                        self.application(),
                        auth,
                        self.socket,
                        &it.channel,
                        Some(data),
                    )
                }));
        match is_signed {
            true => Ok(()),
            false => {
                let message = "the signature is not that of this application for this channel";
                Err(Refused::new(ErrorCode::Unauthorized, message))
            }
        }
    }

    /// The signed user for a presence channel.
    fn signed_for(&self, it: &Subscribe) -> Result<Signed, Refused> {
        match (&it.channel_data, &self.signed_in) {
            (Some(data), _) => Signed::for_channel(self.application(), data),
            (None, Some(signed)) => Ok(signed.clone()),
            (None, None) => Err(Refused::invalid("channel_data", "is missing")),
        }
    }

    /// Subscribes to the channel of a user. It needs that user to be signed in, and shows them nowhere.
    fn listen_to_own(&mut self, name: &str, channel: ChannelId) -> Result<(), Refused> {
        let user = names::addressee(name).map(|id| user_of(self.application(), id));
        let own = self.signed_in.as_ref().map(|it| &it.user);
        let (Some(Ok(user)), Some(own)) = (user, own) else {
            let message = "this channel is for who has signed in as that user";
            return Err(Refused::new(ErrorCode::Forbidden, message));
        };
        let authorized = self.find(&user).filter(|_| user == *own);
        let Some(authorized) = authorized else {
            let message = "this channel is another user's";
            return Err(Refused::new(ErrorCode::Forbidden, message));
        };
        let topic = Topic::Channel(channel.clone());
        let asked = self.next_reference();
        self.sessions[authorized].watch(topic, Watching::Summary, None, Some(asked))?;
        self.subscriptions.insert(Subscription {
            name: name.into(),
            channel,
            kind: Kind::ToUser,
            asked,
            authorized,
            info: None,
            is_on: false,
            whisperers: Vec::new(),
            whispers: false,
        });
        Ok(())
    }

    /// Unsubscribes. A user who is on no presence channel any more and has not signed in leaves.
    pub(super) async fn unsubscribe(&mut self, name: &str, out: &mut Out) {
        let Some(it) = self.subscriptions.remove(name) else {
            return;
        };
        let (authorized, channel) = (it.authorized, it.channel.clone());
        let outcome = match it.kind {
            Kind::ToUser => self.sessions[authorized].unwatch(&Topic::Channel(channel), None),
            _ => self.sessions[authorized].leave(channel, None),
        };
        if let Err(why) = outcome {
            // The hub was busy, so the subscription stays. The page can unsubscribe again.
            self.subscriptions.insert(it);
            return self.refuse(&why, out);
        }
        self.retire(authorized).await;
    }

    pub(super) fn find(&self, user: &UserId) -> Option<usize> {
        let mut sessions = self.sessions.iter();
        sessions.position(|it| it.session().user() == user)
    }

    /// The authorized session of `user`. One authorized session serves all their channels on this connection.
    pub(super) async fn authorized_for(
        &mut self,
        user: &UserId,
        identity: impl FnOnce() -> Identity,
        first: Option<(Topic, Option<Arc<str>>)>,
    ) -> Result<usize, Refused> {
        if let Some(authorized) = self.find(user) {
            return Ok(authorized);
        }
        if self.sessions.len() >= SESSIONS_MAX {
            let message = format!("a connection may be at most {SESSIONS_MAX} users");
            return Err(Refused::new(ErrorCode::TooMany, message));
        }
        let origin = Some(self.origin.clone());
        let mut authorized =
            Authorized::enter_by_fingerprint(self.app.clone(), identity(), first, origin).await?;
        authorized.draw_from(&mut self.budget);
        // One is what most have: not four, as a vector would make room for.
        self.sessions.reserve_exact(1);
        self.sessions.push(authorized);
        Ok(self.sessions.len() - 1)
    }

    /// The anonymous authorized session, for channels on which nobody is shown.
    async fn nobody(&mut self) -> Result<usize, Refused> {
        let user = self.nobody.clone().unwrap_or_else(anonymous);
        let is_new = self.find(&user).is_none();
        let identity = signed::identity(self.application(), user.clone(), self.since);
        let authorized = self.authorized_for(&user, || identity, None).await?;
        self.nobody = Some(user);
        if is_new {
            self.enter_with_them(authorized);
        }
        Ok(authorized)
    }

    /// Ends an authorized session that nothing needs any more.
    pub(super) async fn retire(&mut self, authorized: usize) {
        let user = self.sessions[authorized].session().user();
        let is_signed_in = self.signed_in.as_ref().is_some_and(|it| it.user == *user);
        if is_signed_in || self.subscriptions.need(authorized) {
            return;
        }
        let gone = self.sessions.remove(authorized);
        self.subscriptions.forget(authorized);
        gone.end().await;
        self.hide_with_them();
    }
}
