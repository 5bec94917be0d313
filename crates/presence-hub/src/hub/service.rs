//! Calls with which a service acts for a user, who needs no connection.

use std::sync::Arc;

use presence_core::hash::fnv1a_128;
use presence_core::history::Cause;
use presence_core::users::{Connection, Input};
use presence_core::{
    ChannelId, DeviceId, Meta, Outsider, Payload, Refusal, SessionId, StatusChange, Topic, UserId,
    rosters,
};
use tokio::sync::oneshot;

use super::{Answering, Hub};
use crate::mailbox::{ReplyTo, RosterMessage, UserMessage};

impl Hub {
    /// Changes the status of `user`, on behalf of a service. Returns when the change is safely stored.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if the change could not be stored in time; [`Refusal::Stopped`] if the hub has
    /// stopped. It may be stored all the same.
    pub async fn choose(&self, user: &UserId, change: StatusChange) -> Result<(), Refusal> {
        self.choose_by(user, change, Cause::Service).await
    }

    /// Changes the status of `user`, like [`choose`](Self::choose), and records who asked for it: [`Cause::Service`],
    /// or [`Cause::Owner`] if that was the user.
    ///
    /// # Errors
    ///
    /// The same as those of [`choose`](Self::choose).
    pub async fn choose_by(
        &self,
        user: &UserId,
        change: StatusChange,
        by: Cause,
    ) -> Result<(), Refusal> {
        let input = |reply_to| Input::Chose {
            change,
            by,
            reply_to: Some(reply_to),
        };
        self.ask(user, input).await.map(drop)
    }

    /// Kicks `user`: all their sessions end at once, on every node.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSession`] if they have no session; [`Refusal::Stopped`] if the hub has stopped.
    pub async fn kick(&self, user: &UserId) -> Result<(), Refusal> {
        let input = |reply_to| Input::Kicked {
            reply_to: Some(reply_to),
        };
        self.ask(user, input).await.map(drop)
    }

    /// Erases `user`: ends all their sessions, and removes their profile. Returns when the erasure is safely stored;
    /// the profile may be removed from its database a little later.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if the erasure could not be stored in time; [`Refusal::Stopped`] if the hub has stopped.
    pub async fn erase(&self, user: &UserId) -> Result<(), Refusal> {
        let input = |reply_to| Input::Erased {
            unseen_since: None,
            reply_to: Some(reply_to),
        };
        self.ask(user, input).await?;
        self.unrecord(user).await;
        Ok(())
    }

    /// Lets `user` join `channel` on behalf of a service, for one presence ttl from now. Another call extends that.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSession`] if the user has too many sessions, [`Refusal::TooMany`] if the user is in too many
    /// channels in this way, and [`Refusal::Stopped`] if the hub has stopped.
    pub async fn act_join(
        &self,
        user: &UserId,
        device: DeviceId,
        channel: ChannelId,
        meta: Arc<Meta>,
    ) -> Result<(), Refusal> {
        let asked = self.begin_join(user, device, channel, meta).await?;
        outcome(asked).await
    }

    /// Lets many users join `channel`, each as [`act_join`](Self::act_join) does, all at the same time. Returns what became
    /// of each, in their order. If a user is named twice, the later meta counts.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stopped`] if the hub has stopped; some may have joined.
    pub async fn act_join_all(
        &self,
        channel: ChannelId,
        joining: Vec<(UserId, DeviceId, Arc<Meta>)>,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let mut asked = Vec::with_capacity(joining.len());
        for (user, device, meta) in joining {
            let joined = self.begin_join(&user, device, channel.clone(), meta);
            asked.push(joined.await?);
        }
        Ok(outcomes(asked).await)
    }

    async fn begin_join(
        &self,
        user: &UserId,
        device: DeviceId,
        channel: ChannelId,
        meta: Arc<Meta>,
    ) -> Result<Answering, Refusal> {
        let by = acting(user);
        let session = by.session;
        self.happened(user, Input::ServiceActed { session, device })
            .await?;
        let input = |reply_to| Input::Joined {
            by,
            channel,
            meta,
            watch: None,
            reply_to: Some(reply_to),
        };
        self.begin(user, input).await
    }

    /// Extends for one presence ttl what services did for `user`: their presence in `channel`, and in every other
    /// channel that a service let them join.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotJoined`] if no service let them join `channel`, or if the ttl is over: join again.
    /// [`Refusal::NoSession`] on a node that is alone and has nothing of the user. [`Refusal::Stopped`] if the
    /// hub has stopped.
    pub async fn act_heartbeat(&self, user: &UserId, channel: &ChannelId) -> Result<(), Refusal> {
        let asked = self.begin_heartbeat(user, channel).await?;
        outcome(asked).await
    }

    /// Extends what services did for many users, for each as [`act_heartbeat`](Self::act_heartbeat) does, all at the same
    /// time. Returns what became of each, in their order.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stopped`] if the hub has stopped.
    pub async fn act_heartbeat_all(
        &self,
        users: &[UserId],
        channel: &ChannelId,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let mut asked = Vec::with_capacity(users.len());
        for user in users {
            asked.push(self.begin_heartbeat(user, channel).await?);
        }
        Ok(outcomes(asked).await)
    }

    async fn begin_heartbeat(
        &self,
        user: &UserId,
        channel: &ChannelId,
    ) -> Result<Answering, Refusal> {
        let input = |reply_to| Input::Prolonged {
            session: acting(user).session,
            channel: channel.clone(),
            reply_to: Some(reply_to),
        };
        self.begin(user, input).await
    }

    /// Lets `user` leave `channel` on behalf of a service, if a service let them join it.
    ///
    /// # Errors
    ///
    /// [`Refusal::NoSession`] if no service acts for the user; [`Refusal::Stopped`] if the hub has stopped.
    pub async fn act_leave(&self, user: &UserId, channel: ChannelId) -> Result<(), Refusal> {
        let input = |reply_to| Input::LeftChannel {
            by: acting(user),
            channel,
            reply_to: Some(reply_to),
        };
        self.ask(user, input).await.map(drop)
    }

    /// Sends a broadcast to everyone who watches `channel`, on behalf of `user`, whom a service let join it. See
    /// [`Session::say`](crate::Session::say) for the bounds.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotJoined`] if no service let them join it, [`Refusal::TooFast`] if there are too many broadcasts
    /// within [`Timing::RATE_WINDOW`](presence_core::Timing::RATE_WINDOW), and [`Refusal::Stopped`] if the hub has stopped.
    pub async fn act_say(
        &self,
        user: &UserId,
        channel: ChannelId,
        event: Arc<str>,
        payload: Payload,
    ) -> Result<(), Refusal> {
        if self.hand_offs.is_some() {
            // The service may have put them there through another node.
            self.act_heartbeat(user, &channel).await?;
        }
        let (reply, answer) = oneshot::channel();
        let message = RosterMessage::Happened(rosters::Input::Said {
            channel: channel.clone(),
            session: acting(user).session,
            event,
            payload,
            reply_to: Some(ReplyTo::Caller(reply)),
        });
        let message = UserMessage::Forward(Topic::Channel(channel), message);
        let _ = self.people.of(user).send(message).await;
        answer.await.map_err(|_| Refusal::Stopped)?.map(drop)
    }

    /// Sends a broadcast to everyone who watches `channel`, on behalf of a service that is not in it. Watchers see it
    /// as one of `user`, which `outsider` sends: see [`presence_core::Sender::Service`].
    ///
    /// # Errors
    ///
    /// [`Refusal::TooFast`] if there are too many broadcasts within
    /// [`Timing::RATE_WINDOW`](presence_core::Timing::RATE_WINDOW); [`Refusal::Stopped`] if the hub has stopped.
    pub async fn announce(
        &self,
        channel: ChannelId,
        (outsider, user): (Outsider, UserId),
        event: Arc<str>,
        payload: Payload,
    ) -> Result<(), Refusal> {
        let topic = Topic::Channel(channel.clone());
        let (reply, answer) = oneshot::channel();
        let message = RosterMessage::Happened(rosters::Input::Announced {
            channel,
            outsider,
            user,
            event,
            payload,
            reply_to: Some(ReplyTo::Caller(reply)),
        });
        let _ = self.rosters.of(&topic).send(message).await;
        answer.await.map_err(|_| Refusal::Stopped)?.map(drop)
    }
}

async fn outcome(asked: Answering) -> Result<(), Refusal> {
    asked.await.map_err(|_| Refusal::Stopped)?.map(drop)
}

async fn outcomes(asked: Vec<Answering>) -> Vec<Result<(), Refusal>> {
    let mut outcomes = Vec::with_capacity(asked.len());
    for it in asked {
        outcomes.push(outcome(it).await);
    }
    outcomes
}

/// The session through which services act for `user`: one per user, for any number of services and calls.
fn acting(user: &UserId) -> Connection {
    // It equals a random session id as rarely as two random ids are equal.
    let number = fnv1a_128(user.as_str().bytes());
    Connection::of_service(SessionId::from_u128(number))
}
