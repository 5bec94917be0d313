//! What one node knows of a user or a channel.

use std::sync::Arc;
use std::time::Duration;

use crate::activity::Activity;
use crate::history::Transition;
use crate::incarnation::Incarnation;
use crate::{
    ChannelId, Chosen, DeviceId, Reason, SessionId, Timestamp, TopicVersion, UserId, Visible,
};

/// The number of transitions that an explanation has.
pub const RECORDED_MAX: usize = 50;
/// The number of channels of one session that a report names.
pub const CHANNELS_REPORTED_MAX: usize = 20;
/// The number of sessions in one channel that the report of one node names.
pub const ROOM_SESSIONS_REPORTED_MAX: usize = 200;

/// Where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientOrigin {
    /// The protocol that the client speaks, such as `native` or `phoenix`.
    pub dialect: Arc<str>,
    /// The address of the client, in the form that the operator wants: as it is, or hashed. `None` if it is not kept.
    pub address: Option<Arc<str>>,
}

/// What one node knows of a user.
#[derive(Clone, Debug, PartialEq)]
pub struct UserReport {
    /// What the node shows of the user, if it knows them.
    pub view: View,
    /// The sessions that the node has, in the order in which they came.
    pub sessions: Vec<SessionReport>,
    /// The last transitions that the node has recorded, newest first.
    pub transitions: Vec<Transition>,
}

/// What a node shows of a user.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    /// Nothing: the user has no session there, and nobody there watches them.
    Unknown,
    /// Nothing yet: the profile is being read.
    Loading,
    /// The node knows the user: this is what it knows.
    Known(Known),
}

/// What a node that knows a user shows of them, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The status that others are shown.
    pub shown: Visible,
    /// The status that the user chose, as far as the node knows.
    pub chosen: Chosen,
    /// The revision of the status.
    pub revision: u64,
    /// When the chosen status ends.
    pub expires_at: Option<Timestamp>,
    /// Whether the profile could not be read, so that the user is not shown: they might hide.
    pub is_unsure: bool,
    /// The number of sessions on this node that watch the user.
    pub watchers: usize,
    /// The sessions that the node knows to be on other nodes, each with the node that has it.
    pub elsewhere: Vec<(SessionId, Incarnation)>,
}

/// One session, as its node knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionReport {
    /// The id of the session.
    pub session: SessionId,
    /// The device of the session.
    pub device: DeviceId,
    /// Where its connection comes from, if that is known.
    pub origin: Option<ClientOrigin>,
    /// Whether a service acts through it, so that it has no connection.
    pub by_service: bool,
    /// When its last connection was let in; `None` if only the record in the shared store is known.
    pub connected_at: Option<Timestamp>,
    /// When it was last heard from.
    pub heard_at: Timestamp,
    /// The activity that its client reported last.
    pub activity: Activity,
    /// Whether that counts as active now.
    pub is_active: bool,
    /// Since when it counts as active, or as idle; `None` if that is not known.
    pub active_since: Option<Timestamp>,
    /// Whether it has a connection.
    pub state: SessionState,
    /// The channels that it is in, at most [`CHANNELS_REPORTED_MAX`].
    pub channels: Vec<ChannelId>,
    /// The number of channels that it is in.
    pub channels_total: usize,
}

/// Whether a session has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// It has one, or a service acts through it.
    Connected,
    /// It lost its connection, and is held in case its client comes back.
    Held {
        /// When the connection was lost, if that is known.
        since: Option<Timestamp>,
        /// When the session ends if its client does not come back.
        until: Timestamp,
        /// Why the connection was lost.
        reason: Reason,
    },
    /// The grace time is over. The session ends when the store has confirmed that no other node has it.
    Ending {
        /// When the grace time was over.
        since: Timestamp,
        /// The reason that watchers will be told.
        reason: Reason,
    },
    /// Only the shared store knows of it: the node that has it did not answer.
    Unanswered,
}

/// What one node knows of a channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomReport {
    /// The number of people that its watchers are shown. A node that does not follow the channel counts its own.
    pub people: usize,
    /// The number of their sessions.
    pub sessions: usize,
    /// Whether the watchers get a list or a summary.
    pub mode: Mode,
    /// The shortest time between two events.
    pub tick: Duration,
    /// The sessions that watch the channel through this node.
    pub watchers: Watchers,
    /// The version that the watchers were last told.
    pub clock: Option<TopicVersion>,
    /// Whether the node follows the channel in the shared store, so that it knows everybody. A node that is alone does.
    pub is_followed: bool,
    /// The sessions of this node in the channel that others are shown, at most [`ROOM_SESSIONS_REPORTED_MAX`].
    pub members: Vec<RoomMember>,
    /// The number of sessions of this node in the channel that others are shown.
    pub members_total: usize,
    /// Sessions of other nodes that this node shows in the channel, at most [`ROOM_SESSIONS_REPORTED_MAX`].
    pub elsewhere: Vec<RemoteMember>,
    /// The number of sessions of other nodes that this node shows in the channel.
    pub elsewhere_total: usize,
    /// The last transitions in the channel that the node has recorded, newest first.
    pub transitions: Vec<Transition>,
}

/// How a room is told to its watchers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everyone, then each change.
    #[default]
    Listed,
    /// A count and some of the people: the room is too big to list.
    Summarised,
}

/// The number of watchers of a channel, by how much they are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watchers {
    /// Those who are told everyone, then each change.
    pub full: usize,
    /// How many of the full watchers get everyone with each change.
    pub whole: usize,
    /// Those who asked for a summary.
    pub summary: usize,
}

/// One session in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomMember {
    /// The user of the session.
    pub user: UserId,
    /// The id of the session.
    pub session: SessionId,
    /// When the session joined the channel.
    pub joined_at: Timestamp,
}

/// One session of another node in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteMember {
    /// The session, with its user and when it joined.
    pub member: RoomMember,
    /// The node that has it.
    pub owner: Incarnation,
}

/// A node that was asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway<R> {
    /// The node, as the shared store names it.
    pub who: Incarnation,
    /// The name of the node, for people.
    pub name: Arc<str>,
    /// Whether the node answered the question.
    pub state: GatewayState,
    /// The report of the node; `None` if it did not answer.
    pub report: Option<R>,
}

/// Whether a node answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayState {
    /// It is the node that was asked from outside.
    Here,
    /// The node answered in time.
    Answered,
    /// It did not answer in time. Its lease runs until this moment, as far as is known; it may have lapsed.
    Silent {
        /// The end of its lease.
        until: Timestamp,
    },
    /// It was declared dead.
    Dead {
        /// When the store declared it dead.
        since: Timestamp,
    },
}
