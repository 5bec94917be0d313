//! What a machine asks of the store, and what it hears.

use super::{Incarnation, Murmur, Patch, Snapshot, Subject, Write};
use crate::ports::Written;
use crate::{Clock, Timestamp, Topic, UserId};

/// Something that is to be asked of the store. Of one subject, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Follow the subject, then read it: [`Reply::Read`].
    Open {
        /// Which.
        subject: Subject,
        /// Comes back with the reply.
        ask: u32,
    },
    /// Read the subject: [`Reply::Read`].
    Read {
        /// Which.
        subject: Subject,
        /// Comes back with the reply.
        ask: u32,
    },
    /// Read the subject for somebody else, whatever else is asked of it: [`Reply::Read`].
    Peek {
        /// Which.
        subject: Subject,
        /// Comes back with the reply. [`Request::Open`] and [`Request::Read`] have other numbers.
        ask: u32,
        /// What the store is asked.
        peek: Peek,
    },
    /// Follow the subject no longer.
    Close(Subject),
    /// Write: [`Reply::Written`].
    Write(Write),
    /// Write to the map of a place on behalf of a user: [`Reply::Fenced`], about the user.
    Fence {
        /// Who hides.
        user: UserId,
        /// Removes the user's entries from one place.
        write: Write,
    },
    /// Tell the others; nothing comes back.
    Murmur(Subject, Vec<Murmur>),
}

impl Request {
    /// What it is about.
    pub fn subject(&self) -> &Subject {
        match self {
            Request::Open { subject, .. }
            | Request::Read { subject, .. }
            | Request::Peek { subject, .. }
            | Request::Close(subject)
            | Request::Murmur(subject, _) => subject,
            Request::Write(write) | Request::Fence { write, .. } => &write.subject,
        }
    }
}

/// What the store is asked for somebody else, so that the time it takes does not tell what this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// To read, as of a subject that nobody here follows.
    Read,
    /// To follow, although the subject is followed, and then to read: as if somebody began to follow it.
    Followed,
}

/// What is heard of the store about one subject.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It was read.
    Read {
        /// Which of the requests that was.
        ask: u32,
        /// What is there; `None` where the store was away.
        snapshot: Option<Snapshot>,
    },
    /// The write was done; `None` where the store was away, and nobody knows.
    Written(Option<Written>),
    /// [`Request::Fence`] was done, or nobody knows.
    Fenced {
        /// In which place.
        topic: Topic,
        /// Whether it was done.
        is_done: bool,
    },
    /// Somebody changed it.
    Patched(Patch),
    /// Somebody told something.
    Murmured(Vec<Murmur>),
    /// Which version it is.
    At(Option<Clock>),
}

/// What every machine of a node has to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// The node is this incarnation now: everything of its own is to be written again.
    Become(Incarnation),
    /// Nothing that this incarnation wrote counts any more.
    Lost(Incarnation),
    /// This part of the store, or all of it, may have lost data, or told something that was not heard.
    Distrust(Option<u16>),
    /// Whatever a node with a lease did until then, by this node's clock, is in the store.
    Settled(Timestamp),
    /// The store's clock is so many milliseconds ahead of this node's.
    StoreAhead(i64),
    /// The node stood still, and may read now what was meant for it long ago.
    Woke,
}
