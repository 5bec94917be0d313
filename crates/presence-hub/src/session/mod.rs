//! The handle of one connection: its commands, and what it is told.

mod catching_up;
mod commands;
mod later;
mod split;
mod watched;
mod windows;

use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::history::Cause;
use presence_core::users::{Connection, Input};
use presence_core::{ChannelId, Meta, Reason, SessionId, Topic, UserId};
use tokio::time::{Instant, sleep};

use self::catching_up::ToResend;
pub use self::later::Budget;
use self::later::Later;
pub use self::split::{COMMANDS_WAITING_MAX, Commander, Reader};
use self::watched::Topics;
pub use self::watched::Watches;
pub(crate) use self::windows::Windows;
use crate::clock::WallClock;
use crate::delivery::{Delivery, Ended, Reference};
use crate::mailbox::{ReplyTo, RosterMessage, UserMessage, Welcome};
use crate::send_queue::{Found, SendQueue, Undo};
use crate::shards::Shards;

/// The mailbox of a shard is full, or the hub has stopped. The command was not carried out. If the mailbox was full, the
/// same command may succeed a moment later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hub is busy")]
#[non_exhaustive]
pub struct Busy {
    /// How long to wait before the command is sent again.
    pub retry_after: Duration,
}

/// One connection of a session. It sends what its person does, and receives what it watches, each in one order.
///
/// A command with a `reference` is answered by a [`Delivery`]; without one, only a refusal is delivered. Dropping
/// the handle counts as a broken connection: the person stays for the grace time. [`end`](Self::end) ends the
/// session at once.
#[derive(Debug)]
pub struct Session {
    user: UserId,
    connection: Connection,
    /// What others are shown as the id of the session, as far as it was told.
    alias: SessionId,
    restored: bool,
    people: Shards<UserMessage>,
    send_queue: Arc<SendQueue>,
    /// The rosters that it watches, each with the version that it was told.
    topics: Topics,
    users: HashSet<UserId>,
    windows: Windows,
    /// The channels that it is in, or has asked to join, with its meta in each.
    joined: Vec<(ChannelId, Arc<Meta>)>,
    /// The states that it has to be told again, because it lagged.
    to_resend: Vec<ToResend>,
    /// The state that was asked for again and has not come yet. It is one at a time, because two big ones would displace
    /// each other.
    catching_up: Option<ToResend>,
    asks: u32,
    is_over: bool,
    /// The bytes that whole states may cost.
    budget: Budget,
    /// The whole states that are asked for when there is room for them, at most one of each topic.
    later: Vec<Later>,
    heartbeats: Heartbeats,
}

/// When a command was last followed by a heartbeat, so that a session which only sends commands is not timed out.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    clock: WallClock,
    every: Duration,
    /// By the clock, in milliseconds.
    last: AtomicU64,
}

impl Heartbeats {
    /// The session was heard from just now, as it connected. Its next heartbeat is due `every` from now.
    pub(crate) fn new(clock: WallClock, every: Duration) -> Self {
        Heartbeats {
            clock,
            every,
            last: AtomicU64::new(clock.now().as_millis()),
        }
    }
}

impl Session {
    pub(crate) fn new(
        user: UserId,
        welcome: Welcome,
        people: Shards<UserMessage>,
        send_queue: Arc<SendQueue>,
        (budget, windows): (Budget, Windows),
        heartbeats: Heartbeats,
    ) -> Self {
        let Welcome {
            connection,
            alias,
            restored,
            joined,
        } = welcome;
        Session {
            user,
            connection,
            alias,
            restored,
            people,
            send_queue,
            topics: Topics::default(),
            users: HashSet::new(),
            windows,
            joined,
            to_resend: Vec::new(),
            catching_up: None,
            asks: 0,
            is_over: false,
            budget,
            later: Vec::new(),
            heartbeats,
        }
    }

    /// The user of the session.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The session and the epoch of this connection. A later connection resumes the session with
    /// it: see [`ConnectRequest::resume`](crate::ConnectRequest::resume).
    pub fn connection(&self) -> Connection {
        self.connection
    }

    /// What others are shown as the id of the session. It is another one each time its user comes out of hiding, which
    /// [`Event::OwnView`](presence_core::Event::OwnView) tells.
    pub fn alias(&self) -> SessionId {
        self.alias
    }

    /// Whether an earlier connection's session goes on in this one.
    pub fn is_restored(&self) -> bool {
        self.restored
    }

    /// The channels that the session is in, also from its earlier connections. Some that it was refused may
    /// be among them.
    pub fn joined(&self) -> impl Iterator<Item = &ChannelId> {
        self.joined.iter().map(|(channel, _)| channel)
    }

    /// The meta of the session in each of [`joined`](Self::joined).
    pub fn metas(&self) -> &[(ChannelId, Arc<Meta>)] {
        &self.joined
    }

    /// Why the session has ended in this connection, for a caller that is too busy to read all deliveries; `None` while
    /// it has not.
    pub fn ended(&self) -> Option<Ended> {
        self.send_queue.ended()
    }

    /// Waits for the next delivery. Cancelling the call loses nothing. After [`Delivery::Ended`] every call returns that
    /// again, at once: stop reading then.
    pub async fn next(&mut self) -> Delivery {
        loop {
            if !self.to_resend.is_empty() && !self.is_catching_up() {
                Box::pin(self.resend()).await;
            }
            let wakes = self.ask_later();
            let send_queue = self.send_queue.clone();
            let next = poll_fn(|context| send_queue.poll(Some(context.waker())));
            let found = match wakes {
                None => next.await,
                Some(wakes) => tokio::select! {
                    found = next => found,
                    () = sleep(wakes) => continue,
                },
            };
            if let Some(delivery) = self.sort(found) {
                return delivery;
            }
        }
    }

    /// The next delivery, if there is one already. It can be sent in the same write as the one before.
    pub fn try_next(&mut self) -> Option<Delivery> {
        loop {
            let std::task::Poll::Ready(found) = self.send_queue.poll(None) else {
                return None;
            };
            if let Some(delivery) = self.sort(found) {
                return Some(delivery);
            }
        }
    }

    /// Ends the session at once, on every node.
    pub async fn end(self) {
        self.end_by(Cause::Client).await;
    }

    /// Ends the session, like [`end`](Self::end), and records what ended it.
    pub async fn end_by(mut self, cause: Cause) {
        let by = self.connection;
        self.close(Input::Ended { by, cause }).await;
    }

    /// Reports that the connection broke, for `reason`. The person stays for the grace time, in case the
    /// client connects again.
    pub async fn vanish(self, reason: Reason) {
        let cause = match reason {
            Reason::TimedOut => Cause::Silence,
            _ => Cause::Broken,
        };
        self.vanish_by(reason, cause).await;
    }

    /// Reports that the connection broke, like [`vanish`](Self::vanish), and records what ended it.
    pub async fn vanish_by(mut self, reason: Reason, cause: Cause) {
        let by = self.connection;
        let input = Input::Vanished { by, reason, cause };
        self.close(input).await;
    }

    async fn close(&mut self, input: Input<ReplyTo>) {
        self.is_over = true;
        let farewell = self.farewell(input);
        farewell.await;
    }

    /// Sends everything that has to be said at the end, and waits until there is room for it.
    fn farewell(&mut self, input: Input<ReplyTo>) -> impl Future<Output = ()> + Send + 'static {
        let own = self.people.of(&self.user).clone();
        let mut messages = Vec::new();
        for topic in std::mem::take(&mut self.topics).into_topics() {
            let message = UserMessage::Forward(topic.clone(), self.unwatch_message(topic));
            messages.push((own.clone(), message));
        }
        for (topic, number) in self.windows.take() {
            let message = self.close_window_message(topic.clone(), number);
            messages.push((own.clone(), UserMessage::Forward(topic, message)));
        }
        for user in std::mem::take(&mut self.users) {
            let mailbox = self.people.of(&user).clone();
            messages.push((mailbox, self.unwatch_user_message(user)));
        }
        messages.push((own, UserMessage::Happened(self.user.clone(), input)));
        async move {
            for (mailbox, message) in messages {
                // A shard that has ended takes nothing, and nobody is there to miss it.
                let _ = mailbox.send(message).await;
            }
        }
    }

    /// Decides what to deliver of what was found, so that what the client knows of each topic stays complete.
    fn sort(&mut self, found: Found) -> Option<Delivery> {
        match found {
            Found::Lagged => {
                // An answer that it waited for may have been dropped with the rest.
                self.catching_up = None;
                self.topics.nothing_is_coming();
                self.to_resend.clear();
                self.to_resend
                    .extend(self.topics.iter().cloned().map(ToResend::Topic));
                self.to_resend
                    .extend(self.users.iter().cloned().map(ToResend::User));
                self.to_resend.extend(self.windows.lagged());
                self.to_resend.push(ToResend::Own);
                None
            }
            Found::Ended(why) => {
                self.is_over |= matches!(why, Ended::Closed(_));
                Some(Delivery::Ended(why))
            }
            Found::Delivery(Delivery::Event(shared), _) => {
                self.spend_on(&shared);
                self.follows(&shared.event)
                    .then_some(Delivery::Event(shared))
            }
            Found::Delivery(delivery, undo) => {
                if let Some(undo) = undo {
                    self.undo(*undo);
                }
                Some(delivery)
            }
        }
    }

    /// Undoes a watch whose command was refused.
    fn undo(&mut self, undo: Undo) {
        let (topic, ask, before) = match undo {
            Undo::Watch { topic, ask, before } => (topic, ask, before),
            Undo::Window {
                topic,
                number,
                ask,
                before,
            } => return self.windows.undo(&topic, number, ask, before),
        };
        if self.topics.get(&topic).is_none_or(|it| it.ask != ask) {
            return;
        }
        self.later.retain(|it| it.topic != topic);
        match before {
            Some(before) => self.topics.insert(topic, before),
            None => self.topics.remove(&topic),
        }
    }

    fn reply_to(&self, reference: Option<Reference>) -> Option<ReplyTo> {
        Some(ReplyTo::Connection {
            send_queue: self.send_queue.clone(),
            reference,
            undo: None,
            asked_at: Instant::now(),
        })
    }

    /// The handle for the answer to a command that watches `topic`. If the command is refused, the watch is undone.
    fn reply_to_undoing(
        &self,
        topic: &Topic,
        ask: u32,
        reference: Option<Reference>,
    ) -> Option<ReplyTo> {
        let before = self.topics.get(topic).copied();
        let topic = topic.clone();
        self.reply_to_with(reference, Undo::Watch { topic, ask, before })
    }

    fn reply_to_with(&self, reference: Option<Reference>, undo: Undo) -> Option<ReplyTo> {
        Some(ReplyTo::Connection {
            send_queue: self.send_queue.clone(),
            reference,
            undo: Some(Box::new(undo)),
            asked_at: Instant::now(),
        })
    }

    fn send_to(&self, topic: &Topic, message: RosterMessage) -> Result<(), Busy> {
        self.send_to_own(UserMessage::Forward(topic.clone(), message))
    }

    /// Sends a command to the shard of the session's user. Every command counts as a heartbeat.
    fn send_to_own(&self, message: UserMessage) -> Result<(), Busy> {
        let mailbox = self.people.of(&self.user);
        mailbox.try_send(message).map_err(|_| BUSY)?;
        self.counts_as_heard();
        Ok(())
    }

    fn counts_as_heard(&self) {
        let Heartbeats { clock, every, last } = &self.heartbeats;
        let now = clock.now().as_millis();
        if now.saturating_sub(last.load(Relaxed)) >= every.as_millis() as u64 {
            // A full mailbox has room for it at the next command.
            let _ = self.heard();
        }
    }
}

/// The time after which a full mailbox has room again.
pub(crate) const BUSY: Busy = Busy {
    retry_after: Duration::from_millis(50),
};

impl Drop for Session {
    fn drop(&mut self) {
        let watches_none = self.topics.is_empty() && self.users.is_empty();
        if self.is_over && watches_none && self.windows.is_empty() {
            return;
        }
        let by = self.connection;
        let (reason, cause) = (Reason::Lost, Cause::Broken);
        let farewell = self.farewell(Input::Vanished { by, reason, cause });
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(farewell);
        }
    }
}
