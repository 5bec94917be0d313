//! What can happen to a user.

use std::sync::Arc;

use super::stored::Recalled;
use super::{Activity, Connection, Fingerprint};
use crate::cluster::Reply;
use crate::explain::ClientOrigin;
use crate::history::Cause;
use crate::{
    ChannelId, DeviceId, Meta, Profile, Reason, SessionId, StatusChange, Timestamp, TopicVersion,
    Watching, WorkspaceId,
};

/// What happened to a user. `A` is the caller's handle for an answer, which the core only hands back.
#[derive(Debug)]
pub enum Input<A> {
    /// A connection asks for a session.
    Connected {
        /// The id for a new session. It must not have been used before.
        session: SessionId,
        /// The earlier connection whose session is to go on, if it still can. The caller has checked that
        /// it is the client's.
        resume: Option<Connection>,
        /// What is known about a client whose protocol has no resume token. It goes on with the session that is held
        /// for such a client.
        fingerprint: Option<Fingerprint>,
        /// The device that the connection is on.
        device: DeviceId,
        /// The workspaces in whose online lists the user appears through this session.
        workspaces: Vec<WorkspaceId>,
        /// The meta of the session in those workspaces.
        card: Arc<Meta>,
        /// Where the connection comes from, if that is known.
        origin: Option<Arc<ClientOrigin>>,
        /// Gets [`Effect::Welcome`](super::Effect::Welcome) or [`Effect::Refuse`](super::Effect::Refuse).
        reply_to: A,
    },
    /// A service acts for the user through `session`. It needs no connection, and lasts while the service
    /// is heard from.
    ServiceActed {
        /// The service's session for the user: the same id each time.
        session: SessionId,
        /// The device that the service names.
        device: DeviceId,
    },
    /// A connection sent something, so its client is alive.
    Heard {
        /// The connection that was heard from.
        by: Connection,
    },
    /// A connection reported how active its person is.
    Reported {
        /// The connection that reported it.
        by: Connection,
        /// The activity that it reported.
        activity: Activity,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A new token of a connection names other workspaces, or another meta there.
    WorkspacesChanged {
        /// The connection with the new token.
        by: Connection,
        /// The workspaces in whose online lists the user appears through this session from now on.
        workspaces: Vec<WorkspaceId>,
        /// The meta of the session in those workspaces.
        card: Arc<Meta>,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A connection broke. Its session is kept for the grace time.
    Vanished {
        /// The connection that broke.
        by: Connection,
        /// [`Reason::Lost`] or [`Reason::TimedOut`].
        reason: Reason,
        /// What ended the connection.
        cause: Cause,
    },
    /// A client ended its session, or an operator did.
    Ended {
        /// The connection through which it did.
        by: Connection,
        /// [`Cause::Client`], or who ended the session in its place.
        cause: Cause,
    },
    /// The user is kicked: all their sessions end.
    Kicked {
        /// Gets an answer; a refusal if the user has no session.
        reply_to: Option<A>,
    },
    /// The user is erased: all their sessions end, and nothing of theirs is kept.
    Erased {
        /// Erase the user only if they have no session, and were not seen since this moment.
        unseen_since: Option<Timestamp>,
        /// Gets an answer when the erasure is safely stored.
        reply_to: Option<A>,
    },
    /// A session joined a channel, or changed its meta there.
    Joined {
        /// The live connection of the session.
        by: Connection,
        /// The channel that it joined.
        channel: ChannelId,
        /// The meta of the session in the channel.
        meta: Arc<Meta>,
        /// How the session also watches the channel, and the version that its client has; `None` if it does
        /// not watch it.
        watch: Option<(Watching, Option<TopicVersion>)>,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A session changed its meta in a channel that it is in.
    Updated {
        /// The live connection of the session.
        by: Connection,
        /// The channel that the session is in.
        channel: ChannelId,
        /// The meta of the session in the channel.
        meta: Arc<Meta>,
        /// Gets the answer; in a cluster, when the shared store has the change.
        reply_to: Option<A>,
    },
    /// A session left a channel.
    LeftChannel {
        /// The live connection of the session.
        by: Connection,
        /// The channel that it left.
        channel: ChannelId,
        /// Gets the answer; in a cluster, when the shared store has the change.
        reply_to: Option<A>,
    },
    /// The user, or a service for them, changed the status.
    Chose {
        /// The change, which the caller has checked.
        change: StatusChange,
        /// Who asked for it: [`Cause::Client`], [`Cause::Owner`] or [`Cause::Service`].
        by: Cause,
        /// Gets an answer when the change is safely stored.
        reply_to: Option<A>,
    },
    /// Somebody asks for the state of the user.
    Asked {
        /// Whether the user asks: then the answer is [`Answer::OwnView`](super::Answer::OwnView), otherwise [`Answer::PublicView`](super::Answer::PublicView).
        as_owner: bool,
        /// Gets the answer, once the user's profile is known.
        reply_to: A,
    },
    /// A session began to watch the user.
    Watched {
        /// The session that watches.
        watcher: SessionId,
        /// Gets the answer, if anybody waits for one.
        reply_to: Option<A>,
    },
    /// A watcher of the user is gone. There is one of these for each [`Input::Watched`].
    Unwatched,
    /// A service says that the user is still in a channel that the service has put them into.
    Prolonged {
        /// The service's session for the user.
        session: SessionId,
        /// The channel that the user is still in.
        channel: ChannelId,
        /// Gets an answer; a refusal if the user is not in the channel.
        reply_to: Option<A>,
    },
    /// An earlier process of this node has stored this session. It is held for its client.
    Restored {
        /// The session as it was stored.
        recalled: Box<Recalled>,
        /// When the session was last known to be alive.
        alive_at: Timestamp,
        /// Until when the session is held.
        until: Timestamp,
        /// Gets an answer when the session is restored.
        reply_to: Option<A>,
    },
    /// The store that nodes share answered, or announced a change, about the user.
    Stored(Reply),
    /// The profile that [`Effect::Load`](super::Effect::Load) asked for cannot be read at present. It comes later.
    Unread,
    /// The profile that [`Effect::Load`](super::Effect::Load) asked for is stored, but cannot be understood, so there is no use in
    /// waiting for it.
    Unreadable,
    /// The profile that [`Effect::Load`](super::Effect::Load) asked for was read.
    Loaded {
        /// The profile; `None` if none is stored.
        profile: Option<Profile>,
    },
}

impl<A> Input<A> {
    /// Whether this may be the first input about a user on this node.
    pub(super) fn introduces(&self, is_shared: bool) -> bool {
        match self {
            Input::Connected { .. }
            | Input::Restored { .. }
            | Input::ServiceActed { .. }
            | Input::Chose { .. }
            | Input::Erased { .. }
            | Input::Asked { .. }
            | Input::Watched { .. } => true,
            // What a service does for a user may have begun on another node.
            Input::LeftChannel { .. } | Input::Prolonged { .. } | Input::Kicked { .. } => is_shared,
            _ => false,
        }
    }

    /// Whether this has to wait until the user's map is read, if this node has stood still: the session may be on
    /// another node by now.
    pub(super) fn is_held(&self) -> bool {
        !matches!(
            self,
            Input::Stored(_)
                | Input::Loaded { .. }
                | Input::Unread
                | Input::Unreadable
                | Input::Asked { .. }
                | Input::Watched { .. }
                | Input::Unwatched
        )
    }

    /// Whether this ends what an earlier input began. There is at most one such input for each beginning, so their number
    /// is bounded. None of them may be dropped.
    pub(super) fn ends(&self) -> bool {
        matches!(
            self,
            Input::Vanished { .. } | Input::Ended { .. } | Input::Unwatched
        )
    }

    /// Whether this may wait for a profile that cannot be read: a watcher is told when it can be read, and erasing a
    /// user who was not seen for long has time.
    pub(super) fn can_wait(&self) -> bool {
        let is_patient = matches!(
            self,
            Input::Watched { .. }
                | Input::Erased {
                    unseen_since: Some(_),
                    ..
                }
        );
        is_patient || self.ends()
    }

    pub(super) fn reply_to(self) -> Option<A> {
        match self {
            Input::Connected { reply_to, .. } | Input::Asked { reply_to, .. } => Some(reply_to),
            Input::Reported { reply_to, .. }
            | Input::WorkspacesChanged { reply_to, .. }
            | Input::Kicked { reply_to, .. }
            | Input::Erased { reply_to, .. }
            | Input::Joined { reply_to, .. }
            | Input::Updated { reply_to, .. }
            | Input::LeftChannel { reply_to, .. }
            | Input::Prolonged { reply_to, .. }
            | Input::Restored { reply_to, .. }
            | Input::Chose { reply_to, .. }
            | Input::Watched { reply_to, .. } => reply_to,
            Input::ServiceActed { .. }
            | Input::Heard { .. }
            | Input::Vanished { .. }
            | Input::Ended { .. }
            | Input::Unwatched
            | Input::Stored(_)
            | Input::Unread
            | Input::Unreadable
            | Input::Loaded { .. } => None,
        }
    }
}
