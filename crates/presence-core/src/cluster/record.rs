//! What is written to the store, and what comes back.

use std::sync::Arc;
use std::time::Duration;

use super::{Incarnation, Stamp, Subject};
use crate::ports::Queue;
use crate::users::Activity;
use crate::{
    Clock, Cursor, DeviceId, Member, Meta, Payload, Profile, Reason, SessionId, Timestamp, Topic,
    UserId,
};

/// What an entry of a subject's map is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The user's profile. In the map of a user only.
    Profile,
    /// One session.
    Session(SessionId),
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Of [`Field::Profile`].
    Profile(Arc<Profile>),
    /// Of a session, in the map of its user.
    Session(Arc<SessionRecord>),
    /// Of a session, in the map of a place.
    Member(Arc<Member>),
}

/// All that another node needs to go on with a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// On which device.
    pub device: DeviceId,
    /// A service acts through it.
    pub acted: bool,
    /// How its person is doing.
    pub activity: Activity,
    /// Whether that still counts as being active.
    pub is_active: bool,
    /// When it was last heard from, as far as that is written: not for every heartbeat.
    pub heard_at: Timestamp,
    /// Where it is.
    pub places: Vec<Stay>,
    /// What others are shown as its id, if that is another one.
    pub alias: Option<SessionId>,
}

/// A session's stay in a channel or a workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stay {
    /// Where.
    pub topic: Topic,
    /// Since when.
    pub joined_at: Timestamp,
    /// What it says about itself there.
    pub meta: Arc<Meta>,
}

/// What is to become of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Puts an entry.
    Put {
        /// Which entry.
        field: Field,
        /// Its fencing token.
        stamp: Stamp,
        /// Its new content.
        record: Record,
        /// The condition under which it is put.
        guard: Guard,
        /// In the map of a place: the revision of the user's profile that the entry shows. A removal by
        /// [`Op::Hide`] at a later revision refuses it. 0 elsewhere.
        profile: u64,
    },
    /// Removes an entry whose token is not greater than `stamp`, and leaves that as a fence in any case: for
    /// [`FENCE_TTL`] no smaller token is taken.
    Cut {
        /// Which entry.
        field: Field,
        /// The fencing token.
        stamp: Stamp,
        /// The reason, for those who watch.
        reason: Reason,
    },
    /// In the map of a place: removes the entry of a session whose user hides, whoever wrote it, unless it shows this revision
    /// of the profile or a later one; and leaves a fence that refuses puts with an earlier one.
    Hide {
        /// Which entry.
        field: Field,
        /// The revision of the profile since which the user hides.
        profile: u64,
    },
}

/// For how long a fence outlives the entry that it fenced: a lease, and some seconds for what was on its way.
pub const FENCE_TTL: Duration = Duration::from_secs(20);

/// The condition of a put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The stored token, that of an entry or of a fence, is not greater.
    Newer,
    /// The same; and the stored token is exactly this one, or there is none, or the writer itself has begun the stored
    /// epoch.
    Replaces(Option<Stamp>),
}

impl Guard {
    /// Whether a put with the token `new` may take the place of what is stored with the token `stored`.
    pub fn admits(self, new: Stamp, stored: Stamp) -> bool {
        let is_expected = match self {
            Guard::Newer => true,
            Guard::Replaces(expected) => expected == Some(stored) || stored.owner == new.owner,
        };
        is_expected && new >= stored
    }
}

/// What is left of an entry that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// No smaller token is taken.
    pub stamp: Stamp,
    /// Nor an earlier revision of the profile.
    pub profile: u64,
}

impl Op {
    /// Puts an entry unless a greater token is stored.
    pub fn put(field: Field, stamp: Stamp, record: Record) -> Self {
        Op::Put {
            field,
            stamp,
            record,
            guard: Guard::Newer,
            profile: 0,
        }
    }

    /// Which entry it is about.
    pub fn field(&self) -> Field {
        match self {
            Op::Put { field, .. } | Op::Cut { field, .. } | Op::Hide { field, .. } => *field,
        }
    }

    /// Whether it puts the entry of a session.
    pub fn puts_session(&self) -> bool {
        matches!((self, self.field()), (Op::Put { .. }, Field::Session(_)))
    }
}

/// What a node wants of one subject: done in one step, all that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which subject.
    pub subject: Subject,
    /// Who writes: the store notes that it has entries there, so that they can be found when it has died.
    pub by: Incarnation,
    /// What.
    pub ops: Vec<Op>,
    /// After this the writer has no entry of a session there: the note is taken back.
    pub is_last: bool,
    /// The end of the writer's lease, by the store's clock: the store refuses the write after it. `None`: no deadline.
    pub until: Option<Timestamp>,
}

impl Write {
    /// Whether what this changes is to be carried elsewhere.
    ///
    /// A profile that is cut is not: it was carried before, as one that is [blank](Profile::is_blank), or is nobody's. Nor is
    /// one that was changed without [being read](Stamp::UNREAD): it would replace what is yet to be read.
    pub fn is_due_for(&self, queue: Queue) -> bool {
        let is_profile = |op: &Op| match op {
            Op::Put { field, stamp, .. } => {
                *field == Field::Profile && stamp.owner != Stamp::UNREAD
            }
            Op::Cut { .. } | Op::Hide { .. } => false,
        };
        match (queue, &self.subject) {
            (Queue::Profiles, Subject::User(user)) => {
                !user.is_anonymous() && self.ops.iter().any(is_profile)
            }
            (Queue::Profiles, Subject::Place(_)) => false,
            (Queue::Webhooks, Subject::User(_) | Subject::Place(Topic::Channel(_))) => true,
            (Queue::Webhooks, Subject::Place(Topic::Workspace(_))) => false,
        }
    }
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub field: Field,
    /// What it says now, or how it was removed.
    pub entry: Result<(Stamp, Record), Removed>,
}

/// How an entry was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The reason, for those who watch.
    pub reason: Reason,
    /// The fence that is left of it.
    pub fence: Fence,
}

/// A change of a map: what turns version `from` into `clock.version`.
///
/// Versions of one epoch grow, by any number; two histories of one map do not meet in one, except by a chance that is next
/// to none. `from` is 0 where the map was empty: then the patch is all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The version before.
    pub from: u64,
    /// The version it makes.
    pub clock: Clock,
    /// What is different; never empty.
    pub changes: Vec<Change>,
}

/// A whole map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Which version; `None` where there is nothing.
    pub clock: Option<Clock>,
    /// All of it.
    pub entries: Vec<(Field, Stamp, Record)>,
}

/// What nodes tell each other of a subject without keeping it. It may be lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Murmur {
    /// Somebody types, still or no longer.
    Typed {
        /// Through which session.
        session: SessionId,
        /// Whether they type.
        typing: bool,
    },
    /// Where somebody points, and what they have selected.
    Pointed(Cursor),
    /// Somebody told the channel something.
    Said {
        /// Through which session.
        session: SessionId,
        /// Who.
        user: UserId,
        /// What kind of thing.
        event: Arc<str>,
        /// The thing.
        payload: Payload,
    },
    /// The user is thrown out, wherever they are.
    Kicked,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChannelId, WorkspaceId};

    #[test]
    fn a_profile_that_is_put_is_due_unless_it_is_nobodys() {
        let put_as = |user: &UserId, owner| {
            let record = Record::Profile(Arc::new(Profile::new(user.clone())));
            Op::put(Field::Profile, Stamp { owner, ..stamp() }, record)
        };
        let put = |user| put_as(user, 1);
        let cut = |field| Op::Cut {
            field,
            stamp: stamp(),
            reason: Reason::Left,
        };
        let session = Field::Session(SessionId::from_u128(1));
        let (ann, anonymous) = (user("ann"), user("anon_1"));
        assert!(anonymous.is_anonymous());
        for (user, ops, is_due) in [
            (&ann, vec![put(&ann)], true),
            (&ann, vec![cut(session), put(&ann)], true),
            (&ann, vec![put_as(&ann, Stamp::UNREAD)], false),
            (&ann, vec![cut(session)], false),
            (&ann, vec![cut(Field::Profile)], false),
            (&anonymous, vec![put(&anonymous)], false),
        ] {
            let write = write(Subject::User(user.clone()), ops);
            assert_eq!(write.is_due_for(Queue::Profiles), is_due, "{write:?}");
        }
    }

    #[test]
    fn whatever_changes_of_a_user_or_a_channel_is_due_for_webhooks() {
        let channel = Topic::Channel(ChannelId::new("room:42").unwrap());
        let workspace = Topic::Workspace(WorkspaceId::new("acme").unwrap());
        for (subject, is_due) in [
            (Subject::User(user("ann")), true),
            (Subject::Place(channel), true),
            (Subject::Place(workspace), false),
        ] {
            let write = write(subject, vec![]);
            assert_eq!(write.is_due_for(Queue::Webhooks), is_due);
            assert!(!write.is_due_for(Queue::Profiles));
        }
    }

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn stamp() -> Stamp {
        Stamp {
            epoch: 1,
            owner: 1,
            order: 0,
        }
    }

    fn write(subject: Subject, ops: Vec<Op>) -> Write {
        let (node, generation) = (1, 0);
        Write {
            subject,
            by: Incarnation { node, generation },
            ops,
            is_last: false,
            until: None,
        }
    }
}
