//! What the outside can be told.

use crate::cluster::Subject;
use crate::{ChannelId, Look, Timestamp, Topic, UserId};

/// Something that the outside is told. Of one user it hears of coming and going by turns, and so it does of a channel, and
/// of a user in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookEvent {
    /// A user is here who was not.
    UserOnline {
        /// Who.
        user: UserId,
        /// How they look.
        look: Look,
    },
    /// A user who is here looks different.
    UserChanged {
        /// Who.
        user: UserId,
        /// How they look now.
        look: Look,
    },
    /// A user is not here any more, or hides: nobody can tell.
    UserOffline {
        /// Who.
        user: UserId,
        /// When others last saw them, as far as that is known.
        last_seen: Option<Timestamp>,
    },
    /// Somebody is in a channel where nobody was.
    ChannelOccupied {
        /// Where.
        channel: ChannelId,
    },
    /// A user is in a channel, through whichever of their sessions.
    ChannelJoined {
        /// Where.
        channel: ChannelId,
        /// Who.
        user: UserId,
    },
    /// None of a user's sessions is in a channel any more.
    ChannelLeft {
        /// Where.
        channel: ChannelId,
        /// Who.
        user: UserId,
    },
    /// Nobody is in a channel any more.
    ChannelVacated {
        /// Where.
        channel: ChannelId,
    },
}

impl HookEvent {
    /// Which kind it is.
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

/// The kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookKind {
    /// `user.online`
    UserOnline,
    /// `user.changed`
    UserChanged,
    /// `user.offline`
    UserOffline,
    /// `channel.occupied`
    ChannelOccupied,
    /// `channel.joined`
    ChannelJoined,
    /// `channel.left`
    ChannelLeft,
    /// `channel.vacated`
    ChannelVacated,
}

impl HookKind {
    /// All of them.
    pub const ALL: [HookKind; 7] = [
        HookKind::UserOnline,
        HookKind::UserChanged,
        HookKind::UserOffline,
        HookKind::ChannelOccupied,
        HookKind::ChannelJoined,
        HookKind::ChannelLeft,
        HookKind::ChannelVacated,
    ];

    /// Those that are about users.
    pub const OF_USERS: [HookKind; 3] = [
        HookKind::UserOnline,
        HookKind::UserChanged,
        HookKind::UserOffline,
    ];

    /// Those that are about channels.
    pub const OF_CHANNELS: [HookKind; 4] = [
        HookKind::ChannelOccupied,
        HookKind::ChannelJoined,
        HookKind::ChannelLeft,
        HookKind::ChannelVacated,
    ];

    /// Its name.
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

/// The kinds of events that somebody wants to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted(u8);

impl Wanted {
    /// Whether this kind is among them.
    pub fn has(self, kind: HookKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Whether anything of `subject` is among them.
    pub fn is_about(self, subject: &Subject) -> bool {
        match subject {
            Subject::User(_) => self.has_any(&HookKind::OF_USERS),
            Subject::Place(Topic::Channel(_)) => self.has_any(&HookKind::OF_CHANNELS),
            // Who is in a workspace is who is online.
            Subject::Place(Topic::Workspace(_)) => false,
        }
    }

    /// Whether any of these is among them.
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
