//! Who is in a channel or a workspace: a member is one session, a person is all sessions of one user.

use std::sync::Arc;

use crate::words::words;
use crate::{
    DeviceKind, EMOJI_BYTES_MAX, MESSAGE_CHARS_MAX, Meta, SessionId, Timestamp, UserId, Visible,
};

/// How others see a person: the visible status, the message and the emoji.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Look {
    /// The status that others are shown.
    pub status: Visible,
    /// The person's custom message, if they have one.
    #[cfg_attr(
        feature = "serde",
        serde(default, deserialize_with = "crate::status::checks::read_message")
    )]
    pub message: Option<Arc<str>>,
    /// The person's emoji, if they have one.
    #[cfg_attr(
        feature = "serde",
        serde(default, deserialize_with = "crate::status::checks::read_emoji")
    )]
    pub emoji: Option<Arc<str>>,
}

impl Look {
    /// Whether message and emoji are within the bounds of what people may choose. In a store that other programs write
    /// to they may be longer.
    pub fn is_bounded(&self) -> bool {
        let message = self.message.as_ref();
        let emoji = self.emoji.as_ref();
        message.is_none_or(|it| it.chars().count() <= MESSAGE_CHARS_MAX)
            && emoji.is_none_or(|it| it.len() <= EMOJI_BYTES_MAX)
    }
}

/// One session's entry in a channel or a workspace. Users who hide have no entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The id of the session. Nobody is shown this.
    pub session: SessionId,
    /// The id of the session that others are shown. It gets a new one each time its user comes out of hiding.
    pub alias: SessionId,
    /// The epoch of the connection that wrote the entry. Nobody is shown this.
    pub epoch: u32,
    /// The user of the session.
    pub user: UserId,
    /// The kind of device that the session is on.
    pub device: DeviceKind,
    /// When the session joined.
    pub joined_at: Timestamp,
    /// What the session says about itself here.
    pub meta: Arc<Meta>,
    /// How others saw the user when the entry was written.
    pub look: Arc<Look>,
    /// Grows whenever `look` changes. Of the members of a person that show the same profile revision, the one with the
    /// highest number has the current look.
    pub look_revision: u64,
    /// The revision of the user's profile that `look` shows.
    pub profile: u64,
}

/// A user in a channel or a workspace: all sessions that the user has there, folded into one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The user that the sessions belong to.
    pub user: UserId,
    /// When the first of the sessions joined.
    pub joined_at: Timestamp,
    /// The user's sessions here, ordered by when they joined; at least one.
    pub members: Vec<Arc<Member>>,
}

impl Person {
    /// How others see the person now.
    pub fn look(&self) -> &Look {
        let newest = |it: &&Arc<Member>| (it.profile, it.look_revision);
        let newest = self.members.iter().max_by_key(newest);
        &newest.expect("a person has at least one session").look
    }

    /// Whether watchers could not tell the person from `other`.
    pub(crate) fn shows_the_same_as(&self, other: &Person) -> bool {
        // A member's own look may lag behind: that of the newest counts.
        let same = |(a, b): (&Arc<Member>, &Arc<Member>)| {
            (a.alias, a.device, a.joined_at) == (b.alias, b.device, b.joined_at) && a.meta == b.meta
        };
        self.joined_at == other.joined_at
            && self.look() == other.look()
            && self.members.len() == other.members.len()
            && self.members.iter().zip(&other.members).all(same)
    }

    /// One part of the metas, such as the name, which `part` reads: the value of the newest session that has one.
    pub fn newest<'a>(
        &'a self,
        part: impl Fn(&'a Meta) -> Option<&'a Arc<str>>,
    ) -> Option<&'a Arc<str>> {
        self.members.iter().rev().find_map(|it| part(&it.meta))
    }
}

/// Why a session or a person left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// They left, or went invisible: others cannot tell which.
    Left,
    /// Their connection broke, and did not come back within the grace time.
    Lost,
    /// Nothing was heard from them for too long.
    TimedOut,
    /// A newer connection took over the session.
    Replaced,
    /// The node that they were connected to died.
    NodeLost,
    /// Somebody kicked or erased the user.
    Kicked,
}

words!(
    Reason is a "reason":
    Left = "left",
    Lost = "lost",
    TimedOut = "timed_out",
    Replaced = "replaced",
    NodeLost = "node_lost",
    Kicked = "kicked",
);
