//! Who is somewhere: a member is one session, a person is all of a user's.

use std::sync::Arc;

use crate::{
    DeviceKind, EMOJI_BYTES_MAX, MESSAGE_CHARS_MAX, Meta, SessionId, Timestamp, UserId, Visible,
};

/// How a person looks to others: what [`Visible`] says, with their words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// What others are shown.
    pub status: Visible,
    /// Their custom message.
    pub message: Option<Arc<str>>,
    /// Their emoji.
    pub emoji: Option<Arc<str>>,
}

impl Look {
    /// Whether its words are as short as what people may choose. In a store that others write to they may be longer.
    pub fn is_bounded(&self) -> bool {
        let message = self.message.as_ref();
        let emoji = self.emoji.as_ref();
        message.is_none_or(|it| it.chars().count() <= MESSAGE_CHARS_MAX)
            && emoji.is_none_or(|it| it.len() <= EMOJI_BYTES_MAX)
    }
}

/// One session's entry in a channel or a workspace. There are none of people who may not be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which session. Nobody is shown this.
    pub session: SessionId,
    /// What others are shown as its id: another one each time it comes out of hiding.
    pub alias: SessionId,
    /// Which of its connections said so. Nobody is shown this.
    pub epoch: u32,
    /// Whose.
    pub user: UserId,
    /// On what.
    pub device: DeviceKind,
    /// Since when.
    pub joined_at: Timestamp,
    /// What it says about itself.
    pub meta: Arc<Meta>,
    /// How its user looked when this was written.
    pub look: Arc<Look>,
    /// Grows whenever `look` changes: of members that show the same profile, the look of a person is that of the newest.
    pub look_revision: u64,
    /// The revision of the user's profile that this shows.
    pub profile: u64,
}

/// A user in a channel or a workspace: all their sessions there, folded into one face with several metas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who.
    pub user: UserId,
    /// Since when they have been there, through whichever session.
    pub joined_at: Timestamp,
    /// Their sessions, oldest first; at least one.
    pub members: Vec<Arc<Member>>,
}

impl Person {
    /// How they look now.
    pub fn look(&self) -> &Look {
        let newest = |it: &&Arc<Member>| (it.profile, it.look_revision);
        let newest = self.members.iter().max_by_key(newest);
        &newest.expect("a person has at least one session").look
    }

    /// Whether nobody could tell them from `other`.
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

    /// A member of their newest meta that has it.
    pub fn newest<'a>(
        &'a self,
        part: impl Fn(&'a Meta) -> Option<&'a Arc<str>>,
    ) -> Option<&'a Arc<str>> {
        self.members.iter().rev().find_map(|it| part(&it.meta))
    }
}

/// Why somebody is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// They said so, or went invisible: nobody can tell.
    Left,
    /// Their connection broke and did not come back in time.
    Lost,
    /// Nothing was heard of them.
    TimedOut,
    /// A newer session took the place.
    Replaced,
    /// The node they were on died.
    NodeLost,
    /// They were made to.
    Kicked,
}

impl Reason {
    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Left => "left",
            Reason::Lost => "lost",
            Reason::TimedOut => "timed_out",
            Reason::Replaced => "replaced",
            Reason::NodeLost => "node_lost",
            Reason::Kicked => "kicked",
        }
    }
}
