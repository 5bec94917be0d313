//! Requests to the shared store, and what the store answers and announces.

use super::{Ephemeral, Incarnation, Patch, Snapshot, Subject, Write};
use crate::cluster::store::Written;
use crate::{Timestamp, Topic, TopicVersion, UserId};

/// A request to the shared store. Requests about one subject are carried out in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Follow the subject, then read its map. [`Reply::Read`] is the answer.
    Open {
        /// The subject to follow.
        subject: Subject,
        /// The number of the request, which the reply repeats.
        ask: u32,
    },
    /// Read the map of the subject. [`Reply::Read`] is the answer.
    Read {
        /// The subject to read.
        subject: Subject,
        /// The number of the request, which the reply repeats.
        ask: u32,
    },
    /// Read the map to answer a question of somebody else, also while another request reads it. [`Reply::Read`] is
    /// the answer.
    PaddedRead {
        /// The map to read.
        subject: Subject,
        /// Comes back with the reply. [`Request::Open`] and [`Request::Read`] have other numbers.
        ask: u32,
        /// How the map is read.
        as_if: PaddedRead,
    },
    /// Follow the subject no longer.
    Close(Subject),
    /// Write to the map of a subject. [`Reply::Written`] is the answer.
    Write(Write),
    /// Write to the map of a place on behalf of a user who hides. [`Reply::PlaceHidden`] is the answer, and goes
    /// to the user.
    HidePlace {
        /// The user who hides.
        user: UserId,
        /// The write, which removes the user's entries from one place.
        write: Write,
    },
    /// Send ephemeral messages about the subject to the other nodes. There is no answer.
    Ephemeral(Subject, Vec<Ephemeral>),
}

impl Request {
    /// The subject that the request is about.
    pub fn subject(&self) -> &Subject {
        match self {
            Request::Open { subject, .. }
            | Request::Read { subject, .. }
            | Request::PaddedRead { subject, .. }
            | Request::Close(subject)
            | Request::Ephemeral(subject, _) => subject,
            Request::Write(write) | Request::HidePlace { write, .. } => &write.subject,
        }
    }
}

/// How a map is read for somebody else. The time that it takes must not reveal what this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaddedRead {
    /// Read the map, like that of a subject that nobody on this node follows.
    Read,
    /// Follow the subject, even if it is followed already, and then read its map, as when somebody begins to watch it.
    Followed,
}

/// What the store answers or announces about one subject.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// The answer to [`Request::Open`] or [`Request::Read`].
    Read {
        /// The number of the request.
        ask: u32,
        /// The map; `None` if the store did not answer.
        snapshot: Option<Snapshot>,
    },
    /// The answer to [`Request::Write`]. `None` if the store did not answer: then it is not known whether the
    /// write was applied.
    Written(Option<Written>),
    /// The answer to [`Request::HidePlace`].
    PlaceHidden {
        /// The place that was written to.
        topic: Topic,
        /// Whether the store has confirmed the write. If it has not, the write may have been applied or not.
        is_done: bool,
    },
    /// A node has changed the map.
    Patched(Patch),
    /// A node has sent ephemeral messages.
    Ephemeral(Vec<Ephemeral>),
    /// The version of the map now; `None` if the map is empty.
    At(Option<TopicVersion>),
}

/// Something that every state machine of a node has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The node is this incarnation now, and has to write all its own entries again.
    Become(Incarnation),
    /// This incarnation is dead: nothing that it wrote counts any more.
    Lost(Incarnation),
    /// This partition of the store (`None`: all of it) may have lost data, or announced something that was not received.
    Invalidate(Option<u16>),
    /// Everything that a node with a lease did up to this moment, by this node's clock, is in the store.
    StoredUpTo(Timestamp),
    /// The store's clock is ahead of this node's clock by this many milliseconds.
    StoreAhead(i64),
    /// The store does not answer (`None`), or answers again since this moment, by this node's clock.
    Reached(Option<Timestamp>),
    /// The node did not run for a while. It may now read messages that were sent to it long ago.
    Woke {
        /// When it last ran, by this node's clock.
        since: Timestamp,
    },
}

impl News {
    /// Whether this concerns what is known of a subject. `subject` makes its name.
    pub(crate) fn concerns(self, subject: impl FnOnce() -> Subject) -> bool {
        match self {
            News::Invalidate(Some(partition)) => subject().partition() == partition,
            News::StoreAhead(_) | News::Reached(_) => false,
            _ => true,
        }
    }
}
