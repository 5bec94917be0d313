//! What happens in channels and workspaces.

use std::sync::Arc;

use crate::cluster::Reply;
use crate::{
    ChannelId, Member, Outsider, Payload, Pointer, Reason, Selection, SessionId, Topic,
    TopicVersion, UserId, Watching, Window,
};

/// What happened in a channel or a workspace. `A` is the caller's handle for an answer, which the core only hands back.
#[derive(Debug)]
pub enum Input<A> {
    /// A session's entry was written: [`crate::users::Effect::Write`].
    Wrote {
        /// The topic that the entry is in.
        topic: Topic,
        /// The session that the entry belongs to.
        session: SessionId,
        /// The entry, or the reason for which it is removed.
        entry: Result<Arc<Member>, Reason>,
        /// Whether the other nodes may be told.
        is_shared: bool,
    },
    /// A session began to watch a topic, or lost events and wants to catch up.
    Watched {
        /// The topic to watch.
        topic: Topic,
        /// The session that watches.
        watcher: SessionId,
        /// How much the session is told from now on.
        watching: Watching,
        /// How much it was told until now, if it watched the topic already.
        before: Option<Watching>,
        /// The version that its client has, if any.
        have: Option<TopicVersion>,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// Somebody wants to read the state of a topic. [`Effect::Known`](super::Effect::Known) follows as soon as it is known.
    Looked {
        /// The topic to read.
        topic: Topic,
    },
    /// The store that nodes share answered, or announced a change, about a topic.
    Stored {
        /// The topic that the reply is about.
        topic: Topic,
        /// The reply of the store.
        reply: Reply,
    },
    /// A session stopped watching a topic.
    Unwatched {
        /// The topic that it watched.
        topic: Topic,
        /// How much it was told.
        watching: Watching,
    },
    /// A session opened a window on a topic, moved one, or lost what it was told about one. Whether the session watches
    /// the topic makes no difference.
    WindowOpened {
        /// The topic to open it on.
        topic: Topic,
        /// The session that is told about the window.
        session: SessionId,
        /// The number of the window among those of the session on this topic, which the session chooses. One that is
        /// open under the same number is replaced.
        number: u32,
        /// The rows that the session wants.
        window: Window,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A session closed a window.
    WindowClosed {
        /// The topic that it was open on.
        topic: Topic,
        /// The session that had opened it.
        session: SessionId,
        /// The number of the window.
        number: u32,
    },
    /// The connection of a session broke, or was silent for too long: its typing ends, and its cursor is removed.
    Silenced {
        /// The topic in which that happens.
        topic: Topic,
        /// The session without a connection.
        session: SessionId,
    },
    /// A session typed in a channel, or stopped typing.
    Typed {
        /// The channel that it types in.
        channel: ChannelId,
        /// The session, which must be in the channel.
        session: SessionId,
        /// Whether the session types now.
        typing: bool,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A session pointed at a position in a channel.
    Pointed {
        /// The channel that it points in.
        channel: ChannelId,
        /// The session, which must be in the channel.
        session: SessionId,
        /// The position that it points at.
        pointer: Pointer,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A session changed its selection in a channel.
    Selected {
        /// The channel in which it selected something.
        channel: ChannelId,
        /// The session, which must be in the channel.
        session: SessionId,
        /// The new selection; `None` if nothing is selected now.
        selection: Option<Selection>,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A session sent a broadcast to a channel.
    Said {
        /// The channel to send it to.
        channel: ChannelId,
        /// The session, which must be in the channel.
        session: SessionId,
        /// The name of the event, as the sender chose it.
        event: Arc<str>,
        /// The content of the broadcast.
        payload: Payload,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A service that is not in the channel sent a broadcast to it.
    Announced {
        /// The channel to send it to.
        channel: ChannelId,
        /// The service that sends it.
        outsider: Outsider,
        /// The user in whose name the service sends it.
        user: UserId,
        /// The name of the event, as the service chose it.
        event: Arc<str>,
        /// The content of the broadcast.
        payload: Payload,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
}
