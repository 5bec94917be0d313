//! Events that an endpoint of webhooks can be told.

use crate::cluster::Subject;
use crate::{ChannelId, Look, Timestamp, Topic, UserId};

/// An event for the endpoint of webhooks. Of one user, coming and going alternate; likewise of one channel, and of one
/// user in one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookEvent {
    /// A user came online, as others see it.
    UserOnline {
        /// The user who came online.
        user: UserId,
        /// How others see the user.
        look: Look,
    },
    /// A user who is online looks different.
    UserChanged {
        /// The user whose look changed.
        user: UserId,
        /// How others see the user now.
        look: Look,
    },
    /// A user went offline or hides: others cannot tell which.
    UserOffline {
        /// The user who went offline.
        user: UserId,
        /// When others last saw the user, if that is known.
        last_seen: Option<Timestamp>,
    },
    /// The first user is in a channel.
    ChannelOccupied {
        /// The channel that was empty before.
        channel: ChannelId,
    },
    /// A user is in a channel, in any of their sessions.
    ChannelJoined {
        /// The channel that the user is in.
        channel: ChannelId,
        /// The user who is in it.
        user: UserId,
    },
    /// A user is no longer in a channel, in none of their sessions.
    ChannelLeft {
        /// The channel that the user left.
        channel: ChannelId,
        /// The user who left it.
        user: UserId,
    },
    /// The last user has left a channel.
    ChannelVacated {
        /// The channel that is empty now.
        channel: ChannelId,
    },
}

impl HookEvent {
    /// The kind of this event.
    pub fn kind(&self) -> HookKind {
        match self {
            HookEvent::UserOnline { .. } => HookKind::UserOnline,
            HookEvent::UserChanged { .. } => HookKind::UserChanged,
            HookEvent::UserOffline { .. } => HookKind::UserOffline,
            HookEvent::ChannelOccupied { .. } => HookKind::ChannelOccupied,
            HookEvent::ChannelJoined { .. } => HookKind::ChannelJoined,
            HookEvent::ChannelLeft { .. } => HookKind::ChannelLeft,
            HookEvent::ChannelVacated { .. } => HookKind::ChannelVacated,
        }
    }
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookKind {
    /// `user.online`: see [`HookEvent::UserOnline`].
    UserOnline,
    /// `user.changed`: see [`HookEvent::UserChanged`].
    UserChanged,
    /// `user.offline`: see [`HookEvent::UserOffline`].
    UserOffline,
    /// `channel.occupied`: see [`HookEvent::ChannelOccupied`].
    ChannelOccupied,
    /// `channel.joined`: see [`HookEvent::ChannelJoined`].
    ChannelJoined,
    /// `channel.left`: see [`HookEvent::ChannelLeft`].
    ChannelLeft,
    /// `channel.vacated`: see [`HookEvent::ChannelVacated`].
    ChannelVacated,
}

impl HookKind {
    /// All kinds of events.
    pub const ALL: [HookKind; 7] = [
        HookKind::UserOnline,
        HookKind::UserChanged,
        HookKind::UserOffline,
        HookKind::ChannelOccupied,
        HookKind::ChannelJoined,
        HookKind::ChannelLeft,
        HookKind::ChannelVacated,
    ];

    /// The kinds of events that are about users.
    pub const OF_USERS: [HookKind; 3] = [
        HookKind::UserOnline,
        HookKind::UserChanged,
        HookKind::UserOffline,
    ];

    /// The kinds of events that are about channels.
    pub const OF_CHANNELS: [HookKind; 4] = [
        HookKind::ChannelOccupied,
        HookKind::ChannelJoined,
        HookKind::ChannelLeft,
        HookKind::ChannelVacated,
    ];

    /// The name of the kind in a webhook, such as `user.online`.
    pub fn as_str(self) -> &'static str {
        match self {
            HookKind::UserOnline => "user.online",
            HookKind::UserChanged => "user.changed",
            HookKind::UserOffline => "user.offline",
            HookKind::ChannelOccupied => "channel.occupied",
            HookKind::ChannelJoined => "channel.joined",
            HookKind::ChannelLeft => "channel.left",
            HookKind::ChannelVacated => "channel.vacated",
        }
    }
}

/// A set of kinds: those that the endpoint wants to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted(u8);

impl Wanted {
    /// Whether the set has this kind.
    pub fn has(self, kind: HookKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether the set has a kind of event that is about `subject`.
    pub fn is_about(self, subject: &Subject) -> bool {
        match subject {
            Subject::User(_) => self.has_any(&HookKind::OF_USERS),
            Subject::Topic(Topic::Channel(_)) => self.has_any(&HookKind::OF_CHANNELS),
            // A workspace has no events of its own: the users in it are those who are online.
            Subject::Topic(Topic::Workspace(_)) | Subject::Node(_) => false,
        }
    }

    /// Whether the set has any of these kinds.
    pub fn has_any(self, kinds: &[HookKind]) -> bool {
        kinds.iter().any(|&kind| self.has(kind))
    }
}

impl FromIterator<HookKind> for Wanted {
    fn from_iter<I: IntoIterator<Item = HookKind>>(kinds: I) -> Self {
        let bits = kinds.into_iter();
        Wanted(bits.fold(0, |set, kind| set | 1 << kind as u8))
    }
}
