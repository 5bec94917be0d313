//! What the tasks of a hub send each other: messages to the shards, and where answers go.

use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::{Incarnation, News, Reply};
use presence_core::explain::{RoomReport, UserReport};
use presence_core::history::{Recent, RecentQuery, Transition};
use presence_core::ports::Orphan;
use presence_core::rosters::{self, Page, RoomLevel};
use presence_core::users::{Answer, Connection, Input};
use presence_core::{
    ChannelId, Event, Meta, Refusal, SessionId, Span, Topic, TopicVersion, UserId, Watching, Window,
};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::delivery::Reference;
use crate::send_queue::{SendQueue, Undo};
use crate::shared_event::SharedEvent;

/// A message to a shard of users.
#[derive(Debug)]
pub(crate) enum UserMessage {
    Happened(UserId, Input<ReplyTo>),
    /// The shared store answered, or announced a change.
    Stored(UserId, Reply),
    /// News that concern every shard.
    News(News),
    /// The shared store does not answer, or answers again.
    Away(bool),
    /// An input for a roster. Everything that a session does goes through the shard of its user, so that it
    /// stays in order.
    Forward(Topic, RosterMessage),
    Watch {
        user: UserId,
        watcher: SessionId,
        send_queue: Arc<SendQueue>,
        reply_to: Option<ReplyTo>,
    },
    Unwatch {
        user: UserId,
        watcher: SessionId,
        send_queue: Arc<SendQueue>,
    },
    Count(oneshot::Sender<PeopleCount>),
    /// Says everything that is known of a user.
    Report(UserId, oneshot::Sender<UserReport>),
    /// Says what was recorded in a channel about the users of this shard.
    Recorded(ChannelId, oneshot::Sender<Vec<Transition>>),
    /// Says what was recorded lately.
    Recent {
        query: RecentQuery,
        /// The process, and which of its rings this shard has: see [`Place`](presence_core::history::Place).
        place: (u64, u32),
        reply: oneshot::Sender<Recent>,
    },
    /// Forgets what was recorded of a user.
    Unrecord(UserId, oneshot::Sender<()>),
    /// A session ended because its node, this incarnation, died.
    Orphaned(Incarnation, Orphan),
    /// The node is about to stop: keep sessions without a connection for this time.
    Hold(Duration, oneshot::Sender<()>),
    /// Save everything, then end.
    Stop(oneshot::Sender<()>),
}

/// A message to a shard of rosters.
#[derive(Debug)]
pub(crate) enum RosterMessage {
    Happened(rosters::Input<ReplyTo>),
    /// The shared store answered, or announced a change.
    Stored(Topic, Reply),
    /// The shared store announced all this at once.
    Announced(Vec<(Topic, Reply)>),
    /// News that concern every shard.
    News(News),
    Watch(Watch),
    Unwatch {
        topic: Topic,
        watcher: SessionId,
        send_queue: Arc<SendQueue>,
    },
    OpenWindow(OpenWindow),
    CloseWindow {
        topic: Topic,
        session: SessionId,
        number: u32,
        send_queue: Arc<SendQueue>,
    },
    /// Asks for a page of a span.
    Rows {
        topic: Topic,
        span: Span,
        offset: usize,
        limit: usize,
        reply: oneshot::Sender<Page>,
    },
    List {
        topic: Topic,
        offset: usize,
        limit: usize,
        reply: oneshot::Sender<Page>,
    },
    Typing {
        topic: Topic,
        reply: oneshot::Sender<Vec<UserId>>,
    },
    /// Says everything that is known of a channel; with `looks`, once it is known who is there on other nodes.
    Report {
        channel: ChannelId,
        looks: bool,
        reply: oneshot::Sender<RoomReport>,
    },
    /// Announces the sessions that were restored, so that everybody who watches from now on finds them.
    TellAtOnce(oneshot::Sender<()>),
    Count(oneshot::Sender<RosterCount>),
    Channels(oneshot::Sender<Vec<Occupied>>),
    /// Says which channels are the biggest and the busiest: so many of each.
    Levels(usize, oneshot::Sender<Vec<RoomLevel>>),
}

/// The wish of a session to watch a topic.
#[derive(Debug)]
pub(crate) struct Watch {
    pub(crate) topic: Topic,
    pub(crate) watcher: SessionId,
    pub(crate) watching: Watching,
    pub(crate) have: Option<TopicVersion>,
    pub(crate) send_queue: Arc<SendQueue>,
    pub(crate) reply_to: Option<ReplyTo>,
}

/// The wish of a session to see a window on a topic.
#[derive(Debug)]
pub(crate) struct OpenWindow {
    pub(crate) topic: Topic,
    pub(crate) session: SessionId,
    pub(crate) number: u32,
    pub(crate) window: Window,
    pub(crate) send_queue: Arc<SendQueue>,
    pub(crate) reply_to: Option<ReplyTo>,
}

/// Where the answer to a command is delivered.
#[derive(Debug)]
pub(crate) enum ReplyTo {
    /// To a connection, through its send queue. Without a reference only a refusal is delivered.
    Connection {
        send_queue: Arc<SendQueue>,
        reference: Option<Reference>,
        undo: Option<Box<Undo>>,
        asked_at: Instant,
    },
    /// To a connection that has lost events about its own user.
    Reader(Arc<SendQueue>),
    /// To a caller that waits.
    Caller(oneshot::Sender<Result<Answer, Refusal>>),
    /// To a connection that asks for a session.
    Welcome {
        send_queue: Arc<SendQueue>,
        reply: oneshot::Sender<Result<Welcome, Refusal>>,
    },
}

impl ReplyTo {
    /// Delivers the outcome of what was asked.
    pub(crate) fn answer(self, outcome: Result<Answer, Refusal>) {
        match self {
            ReplyTo::Connection {
                send_queue,
                reference,
                undo,
                asked_at,
            } => {
                send_queue.took(asked_at.elapsed());
                send_queue.answer(reference, outcome.map(drop), undo);
            }
            ReplyTo::Reader(send_queue) => {
                if let Ok(Answer::OwnView(own_view)) = outcome {
                    send_queue.tell(&Arc::new(SharedEvent::new(Event::OwnView(own_view).into())));
                }
            }
            ReplyTo::Caller(reply) => {
                let _ = reply.send(outcome);
            }
            ReplyTo::Welcome { reply, .. } => {
                if let Err(why) = outcome {
                    let _ = reply.send(Err(why));
                }
            }
        }
    }
}

/// What a connection gets together with its session.
#[derive(Debug)]
pub(crate) struct Welcome {
    pub(crate) connection: Connection,
    /// What others are shown as the id of the session.
    pub(crate) alias: SessionId,
    pub(crate) restored: bool,
    /// The channels that its session is in already, with its meta in each.
    pub(crate) joined: Vec<(ChannelId, Arc<Meta>)>,
}

/// What a shard of users counts.
#[derive(Debug)]
pub(crate) struct PeopleCount {
    pub(crate) online: usize,
    /// Since when the profile has waited that has waited longest to be saved.
    pub(crate) waiting_since: Option<Instant>,
}

/// What a shard of rosters counts.
#[derive(Debug)]
pub(crate) struct RosterCount {
    /// The channels with somebody in them.
    pub(crate) channels: usize,
    /// The users who type, each counted once for each channel.
    pub(crate) typing: usize,
}

/// A channel with somebody in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupied {
    /// The channel that is occupied.
    pub channel: ChannelId,
    /// The number of people in the channel.
    pub people: usize,
    /// The number of sessions that these people have in it.
    pub sessions: usize,
}
