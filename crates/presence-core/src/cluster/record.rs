//! What nodes write to the shared store, and what they read from it.

use std::sync::Arc;
use std::time::Duration;

use super::store::Queue;
use super::{Author, FencingToken, Incarnation, Subject};
use crate::activity::Activity;
use crate::explain::NodeMessage;
use crate::{
    Cursor, DeviceId, Member, Meta, Outsider, Payload, Profile, Reason, SessionId, Timestamp,
    Topic, TopicVersion, UserId,
};

/// What an entry in a subject's map is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// The profile of the user. Only the map of a user has it.
    Profile,
    /// The session with this id.
    Session(SessionId),
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The profile of the user, in the entry [`Field::Profile`].
    Profile(Arc<Profile>),
    /// A session, in the map of its user.
    Session(Arc<SessionRecord>),
    /// A session, in the map of a place that it is in.
    Member(Arc<Member>),
}

/// Everything that another node needs to go on with a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRecord {
    /// The device that the session is on.
    pub device: DeviceId,
    /// Whether a service acts through the session.
    pub by_service: bool,
    /// The activity that its client reported last.
    pub activity: Activity,
    /// Whether that still counted as active when the record was written.
    pub is_active: bool,
    /// When the session was last heard from, as of this record. A heartbeat alone does not write a record.
    pub heard_at: Timestamp,
    /// The channels and workspaces that the session is in.
    pub places: Vec<JoinedTopic>,
    /// What others are shown as its id, if that is another one.
    pub alias: Option<SessionId>,
}

/// A channel or a workspace that a session has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedTopic {
    /// The channel or workspace that the session is in.
    pub topic: Topic,
    /// When the session joined it.
    pub joined_at: Timestamp,
    /// The meta of the session there.
    pub meta: Arc<Meta>,
}

/// An operation on one entry of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Adds or replaces an entry.
    Put {
        /// The entry to put.
        field: Field,
        /// The fencing token of the entry.
        token: FencingToken,
        /// The new content of the entry.
        record: Record,
        /// The condition under which the entry is put.
        guard: Guard,
        /// The revision of the user's profile that the entry shows, if this is the map of a place; 0 elsewhere. If
        /// [`Op::Hide`] removed the entry at a later revision, the put is refused.
        profile: u64,
    },
    /// Removes an entry whose token is not greater than `token`. In any case `token` is left as a fence: for
    /// [`FENCE_TTL`] no smaller token is accepted.
    Remove {
        /// The entry to remove.
        field: Field,
        /// The fencing token of the removal.
        token: FencingToken,
        /// The reason that watchers are told.
        reason: Reason,
    },
    /// Removes the entry of a session from the map of a place because its user hides, whichever node wrote it. An
    /// entry that shows this revision of the profile or a later one stays. The fence that is left refuses puts with
    /// an earlier revision.
    Hide {
        /// The entry to remove.
        field: Field,
        /// The revision of the profile with which the user began to hide.
        profile: u64,
    },
}

/// How long a fence is kept after the removal of its entry: a lease, and some seconds for writes that are on their way.
pub const FENCE_TTL: Duration = Duration::from_secs(20);

/// The condition under which an entry is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The stored token, of an entry or a fence, is not greater than the new one.
    Newer,
    /// The stored token is not greater than the new one. One of two more things holds: the stored token is exactly this
    /// one (`None`: neither an entry nor a fence is stored), or the process that writes also began the stored epoch.
    Replaces(Option<FencingToken>),
}

impl Guard {
    /// Whether a put with the token `new` may replace what is stored with the token `stored`.
    pub fn admits(self, new: FencingToken, stored: FencingToken) -> bool {
        let is_expected = match self {
            Guard::Newer => true,
            Guard::Replaces(expected) => expected == Some(stored) || stored.owner == new.owner,
        };
        is_expected && new >= stored
    }
}

/// What is left of an entry that was removed: it refuses late writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Puts with a smaller token are refused.
    pub token: FencingToken,
    /// Puts that show an earlier revision of the profile are refused.
    pub profile: u64,
}

impl Op {
    /// A put of an entry, unless a greater token is stored.
    pub fn put(field: Field, token: FencingToken, record: Record) -> Self {
        Op::Put {
            field,
            token,
            record,
            guard: Guard::Newer,
            profile: 0,
        }
    }

    /// The entry that the operation is about.
    pub fn field(&self) -> Field {
        match self {
            Op::Put { field, .. } | Op::Remove { field, .. } | Op::Hide { field, .. } => *field,
        }
    }

    /// Whether the operation puts the entry of a session.
    pub fn puts_session(&self) -> bool {
        matches!((self, self.field()), (Op::Put { .. }, Field::Session(_)))
    }
}

/// A write to the map of one subject. All operations that are not refused are applied in one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The subject whose map is written.
    pub subject: Subject,
    /// The node that writes. The store notes that it has entries in this map, so that they are found when it has died.
    pub by: Incarnation,
    /// The operations, which are applied in order.
    pub ops: Vec<Op>,
    /// Whether the writer has no session entry in this map afterwards: then the note about it is removed.
    pub is_last: bool,
    /// The end of the writer's lease, by the store's clock. The store refuses the write after it. `None`: no deadline.
    pub until: Option<Timestamp>,
}

impl Write {
    /// Whether the writer has the entry of a session in the map because of this write, of which the operations on these
    /// fields were `refused`.
    pub fn leaves_session(&self, refused: &[(Field, Fence)]) -> bool {
        let is_refused = |field: Field| refused.iter().any(|(it, _)| *it == field);
        let mut ops = self.ops.iter();
        ops.any(|op| op.puts_session() && !is_refused(op.field()))
    }

    /// Whether the changes of this write have to be carried to the system behind `queue`.
    ///
    /// The removal of a profile does not count: it was carried before as a [blank](Profile::is_blank) profile, or
    /// belongs to nobody. A profile that was changed without [being read](Author::Unread) does not count either: it
    /// would replace the one that has yet to be read.
    pub fn is_due_for(&self, queue: Queue) -> bool {
        let is_profile = |op: &Op| match op {
            Op::Put { field, token, .. } => {
                *field == Field::Profile && token.author() != Author::Unread
            }
            Op::Remove { .. } | Op::Hide { .. } => false,
        };
        match (queue, &self.subject) {
            (Queue::Profiles, Subject::User(user)) => {
                !user.is_anonymous() && self.ops.iter().any(is_profile)
            }
            (Queue::Profiles, Subject::Topic(_)) | (_, Subject::Node(_)) => false,
            (Queue::Webhooks, Subject::User(_) | Subject::Topic(Topic::Channel(_))) => true,
            (Queue::Webhooks, Subject::Topic(Topic::Workspace(_))) => false,
        }
    }
}

/// A change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The entry that has changed.
    pub field: Field,
    /// The token and the content that it has now, or how it was removed.
    pub entry: Result<(FencingToken, Record), Removed>,
}

/// The removal of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removed {
    /// The reason that watchers are told.
    pub reason: Reason,
    /// The fence that the entry has left.
    pub fence: Fence,
}

/// A change of a map, from version `from` to version `clock.version`.
///
/// Versions of one epoch grow, by any number. Two histories of one map practically never have the same version. `from`
/// is 0 if the map was empty: then the patch has everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// The version before the change.
    pub from: u64,
    /// The version after the change.
    pub clock: TopicVersion,
    /// The entries that are different; never empty.
    pub changes: Vec<Change>,
}

/// The whole map of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The version of the map; `None` if the map is empty.
    pub clock: Option<TopicVersion>,
    /// All entries, each with its token and its content.
    pub entries: Vec<(Field, FencingToken, Record)>,
}

/// An ephemeral message about a subject, from one node to the others. It is not stored, and may be lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Ephemeral {
    /// A session started typing, goes on typing, or stopped.
    Typed {
        /// The session that types.
        session: SessionId,
        /// Whether the session types now.
        typing: bool,
    },
    /// A session pointed at a position, or changed its selection.
    Pointed(Cursor),
    /// A service that is not in the channel sent a broadcast to it.
    Announced {
        /// The service that sent the broadcast.
        outsider: Outsider,
        /// The tag of the node through which it spoke.
        node: u32,
        /// The user in whose name the service sent it.
        user: UserId,
        /// The name of the event, as the service chose it.
        event: Arc<str>,
        /// The content of the broadcast.
        payload: Payload,
    },
    /// A session sent a broadcast to the channel.
    Said {
        /// The session that sent it.
        session: SessionId,
        /// The user who sent it.
        user: UserId,
        /// The name of the event, as the sender chose it.
        event: Arc<str>,
        /// The content of the broadcast.
        payload: Payload,
    },
    /// The user is kicked on every node.
    Kicked,
    /// A node asks the node whose channel this is, or answers it.
    Node(NodeMessage),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChannelId, WorkspaceId};

    #[test]
    fn a_profile_that_is_put_is_due_unless_it_is_nobodys() {
        let put_as = |user: &UserId, author| {
            let record = Record::Profile(Arc::new(Profile::new(user.clone())));
            let token = FencingToken::of_profile(1, author, Timestamp::default());
            Op::put(Field::Profile, token, record)
        };
        let put = |user| put_as(user, Author::Node(1));
        let removal = |field| Op::Remove {
            field,
            token: token(),
            reason: Reason::Left,
        };
        let session = Field::Session(SessionId::from_u128(1));
        let (ann, anonymous) = (user("ann"), user("anon_1"));
        assert!(anonymous.is_anonymous());
        for (user, ops, is_due) in [
            (&ann, vec![put(&ann)], true),
            (&ann, vec![removal(session), put(&ann)], true),
            (&ann, vec![put_as(&ann, Author::Unread)], false),
            (&ann, vec![removal(session)], false),
            (&ann, vec![removal(Field::Profile)], false),
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
            (Subject::Topic(channel), true),
            (Subject::Topic(workspace), false),
        ] {
            let write = write(subject, vec![]);
            assert_eq!(write.is_due_for(Queue::Webhooks), is_due);
            assert!(!write.is_due_for(Queue::Profiles));
        }
    }

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn token() -> FencingToken {
        FencingToken {
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
