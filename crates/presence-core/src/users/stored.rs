//! What a node that is alone stores of its sessions.

use crate::activity::Activity;
use crate::cluster::JoinedTopic;
use crate::{DeviceId, SessionId, Timestamp, Topic, UserId};

/// One change of what is stored of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// The session exists, or has changed. The places that it is in stay as they were stored.
    Is {
        /// The session that has changed.
        session: SessionId,
        /// What is stored of it.
        kept: Box<StoredSession>,
    },
    /// The session joined a channel or a workspace, or changed its meta there.
    Joined {
        /// The session that has changed.
        session: SessionId,
        /// The place that it is in, with its meta there.
        joined: JoinedTopic,
    },
    /// The session left a channel or a workspace.
    Left {
        /// The session that has changed.
        session: SessionId,
        /// The place that it left.
        topic: Topic,
    },
    /// The session has ended.
    Ended {
        /// The session that has changed.
        session: SessionId,
    },
}

/// What is stored of a session, except for the places that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// The user of the session.
    pub user: UserId,
    /// The epoch of its last connection.
    pub epoch: u32,
    /// The device that the session is on.
    pub device: DeviceId,
    /// How its client is recognised when it comes back.
    pub known_by: KnownBy,
    /// Whether a service acts through it.
    pub by_service: bool,
    /// The activity that its client reported last.
    pub activity: Activity,
    /// Whether that counted as active when this was stored.
    pub is_active: bool,
    /// Whether the user was hidden from others.
    pub is_hidden: bool,
    /// When its connection was lost, if it has none.
    pub lost_at: Option<Timestamp>,
    /// When the service was last heard from, if a service acts through it.
    pub heard_at: Option<Timestamp>,
    /// What others are shown as its id, if that is another one.
    pub alias: Option<SessionId>,
}

/// A session that an earlier process has stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// The id of the session.
    pub session: SessionId,
    /// What was stored of it.
    pub kept: StoredSession,
    /// The places that it was in, with its meta in each.
    pub topics: Vec<JoinedTopic>,
}

/// How the client of a session is recognised when it comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KnownBy {
    /// The client has a resume token, which names its session.
    #[default]
    Token,
    /// The protocol has no resume token, but the client names its device.
    Device,
    /// The protocol has no resume token, and the client names no device: the first topic that it joins counts.
    Joining,
}
