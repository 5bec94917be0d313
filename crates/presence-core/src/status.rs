//! The status that a person chose, and the status that others see. They are different types, so
//! *invisible* cannot leak.

mod change;
pub(crate) mod checks;

use std::sync::Arc;

pub use self::change::{Edit, Expiry, StatusChange};
pub use self::checks::{
    CLEAR_AFTER_MAX, EMOJI_BYTES_MAX, MESSAGE_CHARS_MAX, StatusError, checked_emoji,
    checked_message,
};
use crate::Timestamp;
use crate::words::words;

/// The status that a person chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chosen {
    /// Visible: shown as online while a session is active, and as away otherwise.
    #[default]
    Online,
    /// Shown as away, even while a session is active.
    Away,
    /// Shown as busy: the person does not want to be disturbed.
    Busy,
    /// Connected, and shown to others as offline.
    Invisible,
    /// Shown to others as offline, even while sessions are active. It becomes `online` when the person next connects.
    Offline,
}

words!(
    Chosen is a "chosen status":
    Online = "online",
    Away = "away",
    Busy = "busy",
    Invisible = "invisible",
    Offline = "offline",
);

impl Chosen {
    /// Whether this status hides the person from others.
    pub fn hides(self) -> bool {
        matches!(self, Chosen::Invisible | Chosen::Offline)
    }

    /// The status that others are shown of a person who chose this, where `here` describes all their
    /// live sessions together.
    pub fn shown(self, here: Here) -> Visible {
        match (self, here) {
            (Chosen::Invisible | Chosen::Offline, _) | (_, Here::Nowhere) => Visible::Offline,
            (Chosen::Away, _) => Visible::Away,
            (Chosen::Busy, _) => Visible::Busy,
            (Chosen::Online, Here::Active) => Visible::Online,
            (Chosen::Online, Here::Idle) => Visible::Away,
        }
    }
}

/// How active the live sessions of a person are, all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Here {
    /// The person has no live session.
    Nowhere,
    /// The person has live sessions, and all of them are idle.
    Idle,
    /// At least one live session is active.
    Active,
}

/// The status that others are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visible {
    /// The person is connected and active.
    Online,
    /// The person is connected, and idle or away.
    Away,
    /// The person is connected, and does not want to be disturbed.
    Busy,
    /// The person is not connected, or hides: others cannot tell which.
    Offline,
}

words!(Visible is a "visible status": Online = "online", Away = "away", Busy = "busy", Offline = "offline");

/// A chosen status, with its message, its emoji and its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Status {
    /// The status that the person chose.
    pub chosen: Chosen,
    /// The custom message. Others see it while the person is offline, too.
    #[cfg_attr(
        feature = "serde",
        serde(default, deserialize_with = "checks::read_message")
    )]
    pub message: Option<Arc<str>>,
    /// The emoji. Others see it while the person is offline, too.
    #[cfg_attr(
        feature = "serde",
        serde(default, deserialize_with = "checks::read_emoji")
    )]
    pub emoji: Option<Arc<str>>,
    /// When the status, the message and the emoji are reset to a plain `online`; `None` if they stay.
    pub expires_at: Option<Timestamp>,
    /// The revision, which grows with every change: by one on a gateway that is alone, and to the moment of the change
    /// in milliseconds where gateways share a store. Of two records of one user the one with the higher revision wins.
    pub revision: u64,
}

impl Status {
    /// The change that turns any other status into this one.
    pub(crate) fn as_change(&self) -> StatusChange {
        fn edit<T>(value: Option<T>) -> Edit<T> {
            value.map_or(Edit::Clear, Edit::Set)
        }
        StatusChange {
            chosen: Some(self.chosen),
            message: edit(self.message.clone()),
            emoji: edit(self.emoji.clone()),
            expiry: edit(self.expires_at.map(Expiry::At)),
        }
    }
}
