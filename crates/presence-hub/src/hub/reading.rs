//! Reads the state of users, channels and workspaces.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::rosters::Page;
use presence_core::users::{Answer, Input};
use presence_core::{ChannelId, OwnView, PublicView, Refusal, Span, Timestamp, Topic, UserId};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::Hub;
use crate::counters::Counts;
use crate::mailbox::{Occupied, ReplyTo, RosterMessage, UserMessage};

/// The answer of a shard, when it comes.
type Asked = oneshot::Receiver<Result<Answer, Refusal>>;

/// The view that is in an answer.
fn public_view_in(
    answer: Result<Result<Answer, Refusal>, oneshot::error::RecvError>,
) -> Result<PublicView, Refusal> {
    match answer.map_err(|_| Refusal::Stopped)?? {
        Answer::PublicView(public_view) => Ok(public_view),
        Answer::OwnView(_) | Answer::Done => Err(Refusal::Unavailable),
    }
}

impl Hub {
    /// How others see `user`. A user of whom nothing is known is offline.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if the user's profile cannot be read; [`Refusal::Stopped`] if the hub has stopped.
    pub async fn public_view(&self, user: &UserId) -> Result<PublicView, Refusal> {
        match self.asked(user, false).await? {
            Answer::PublicView(public_view) => Ok(public_view),
            Answer::OwnView(_) | Answer::Done => Err(Refusal::Unavailable),
        }
    }

    /// How others see each of `users`, in this order. All are asked before the first answer is awaited, so many users
    /// take little longer than one.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if one of the profiles cannot be read, or if too many inputs wait for one of the users.
    /// [`Refusal::Stopped`] if the hub has stopped.
    pub async fn public_views(&self, users: &[UserId]) -> Result<Vec<PublicView>, Refusal> {
        let mut public_views = Vec::with_capacity(users.len());
        for answer in self.ask_for_public_views(users).await? {
            public_views.push(public_view_in(answer.await)?);
        }
        Ok(public_views)
    }

    /// How others see each of `users`, in this order; `None` for a user whose profile could not be read within `wait`.
    /// One profile that cannot be read keeps nobody from being told of the others.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stopped`] if the hub has stopped.
    pub async fn public_views_within(
        &self,
        wait: Duration,
        users: &[UserId],
    ) -> Result<Vec<Option<PublicView>>, Refusal> {
        let until = Instant::now() + wait;
        let Ok(asked) = timeout_at(until, self.ask_for_public_views(users)).await else {
            return Ok(vec![None; users.len()]);
        };
        let mut public_views = Vec::with_capacity(users.len());
        for answer in asked? {
            // An answer that is there already counts, also if the time is over.
            let answer = timeout_at(until, answer).await;
            public_views.push(match answer.map(public_view_in) {
                Ok(Err(Refusal::Stopped)) => return Err(Refusal::Stopped),
                Ok(public_view) => public_view.ok(),
                Err(_) => None,
            });
        }
        Ok(public_views)
    }

    async fn ask_for_public_views(&self, users: &[UserId]) -> Result<Vec<Asked>, Refusal> {
        let mut asked = Vec::with_capacity(users.len());
        for user in users {
            let (reply, answer) = oneshot::channel();
            let input = Input::Asked {
                as_owner: false,
                reply_to: ReplyTo::Caller(reply),
            };
            self.happened(user, input).await?;
            asked.push(answer);
        }
        Ok(asked)
    }

    /// How `user` sees themselves.
    ///
    /// # Errors
    ///
    /// [`Refusal::Unavailable`] if the user's profile cannot be read; [`Refusal::Stopped`] if the hub has stopped.
    pub async fn own_view(&self, user: &UserId) -> Result<OwnView, Refusal> {
        match self.asked(user, true).await? {
            Answer::OwnView(own_view) => Ok(own_view),
            Answer::PublicView(_) | Answer::Done => Err(Refusal::Unavailable),
        }
    }

    async fn asked(&self, user: &UserId, as_owner: bool) -> Result<Answer, Refusal> {
        self.ask(user, |reply_to| Input::Asked { as_owner, reply_to })
            .await
    }

    /// A page of the people in `topic`: at most `limit`, after the first `offset`, ordered by when they joined.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stopped`] if the hub has stopped.
    pub async fn list(&self, topic: Topic, offset: usize, limit: usize) -> Result<Page, Refusal> {
        let (reply, page) = oneshot::channel();
        let message = RosterMessage::List {
            topic: topic.clone(),
            offset,
            limit,
            reply,
        };
        let _ = self.rosters.of(&topic).send(message).await;
        page.await.map_err(|_| Refusal::Stopped)
    }

    /// A page of `span` in `topic`: at most `limit` people, after the first `offset` of the span, in its order.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stopped`] if the hub has stopped.
    pub async fn rows(
        &self,
        topic: Topic,
        span: Span,
        offset: usize,
        limit: usize,
    ) -> Result<Page, Refusal> {
        let (reply, page) = oneshot::channel();
        let message = RosterMessage::Rows {
            topic: topic.clone(),
            span,
            offset,
            limit,
            reply,
        };
        let _ = self.rosters.of(&topic).send(message).await;
        page.await.map_err(|_| Refusal::Stopped)
    }

    /// The users who are typing in `channel`, at most [`Limits::typing_max`](presence_core::Limits::typing_max).
    ///
    /// # Errors
    ///
    /// [`Refusal::Stopped`] if the hub has stopped.
    pub async fn typing(&self, channel: ChannelId) -> Result<Vec<UserId>, Refusal> {
        let topic = Topic::Channel(channel);
        let (reply, users) = oneshot::channel();
        let message = RosterMessage::Typing {
            topic: topic.clone(),
            reply,
        };
        let _ = self.rosters.of(&topic).send(message).await;
        users.await.map_err(|_| Refusal::Stopped)
    }

    /// The channels that have somebody in them, ordered by name. In a cluster these are the ones that this node knows:
    /// somebody on this node is in them, or watches them.
    pub async fn channels(&self) -> Vec<Occupied> {
        let mut all = Vec::new();
        for shard in self.rosters.all() {
            let (reply, channels) = oneshot::channel();
            let _ = shard.send(RosterMessage::Channels(reply)).await;
            all.extend(channels.await.unwrap_or_default());
        }
        all.sort_unstable_by(|a, b| a.channel.cmp(&b.channel));
        all
    }

    /// Counts users, channels and unsaved profiles, as they are now.
    pub async fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for shard in self.people.all() {
            let (reply, count) = oneshot::channel();
            let _ = shard.send(UserMessage::Count(reply)).await;
            if let Ok(count) = count.await {
                counts.users += count.online;
                let since = count.waiting_since.map(|it| it.elapsed());
                counts.unsaved_for = counts.unsaved_for.max(since.unwrap_or_default());
            }
        }
        // What a shard is about to save waits in the shared store, too.
        let (unsaved, waiting) = (&self.counters.unsaved, &self.counters.waiting);
        let waiting = waiting.load(Relaxed);
        counts.unsaved = unsaved.load(Relaxed).max(waiting) as usize;
        if waiting > 0 {
            let since = self.counters.waiting_since.load(Relaxed);
            let waiting_for = self.clock.now().since(Timestamp::from_millis(since));
            counts.unsaved_for = counts.unsaved_for.max(waiting_for);
        }
        if counts.unsaved > 0 {
            // What changes again and again waits for as long as nothing could be saved.
            let away_for = self.counters.store_away_for();
            counts.unsaved_for = counts.unsaved_for.max(away_for);
        }
        for shard in self.rosters.all() {
            let (reply, count) = oneshot::channel();
            let _ = shard.send(RosterMessage::Count(reply)).await;
            if let Ok(count) = count.await {
                counts.channels += count.channels;
                counts.typing += count.typing;
            }
        }
        counts
    }
}
