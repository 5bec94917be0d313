//! What a node that is alone stores of its sessions, for the next process.

use std::fmt;

use crate::cluster::Stay;
use crate::users::{Activity, KnownBy};
use crate::{DeviceId, SessionId, Timestamp, Topic, UserId};

/// Stores the sessions of a node that is alone, so that nobody is shown leaving when the process restarts on
/// the same machine.
///
/// The users of a node are spread over parts, and each part has one writer. A part holds its notes in order.
///
/// # Contract
///
/// - Notes for which [`note`](Self::note) has returned outlive the process, kill -9 included. They need not
///   outlive the machine.
/// - A call does not fail. If nothing can be written, the whole part is forgotten until it is
///   [rewritten](Self::rewrite): old notes are worse than none.
/// - A part is bounded. If it would be larger, it is forgotten as a whole.
pub trait Sessions: fmt::Debug + Send + Sync + 'static {
    /// Appends `notes` to a part. Returns whether the part should be [rewritten](Self::rewrite) now.
    fn note(&self, part: usize, notes: &[Note]) -> bool;

    /// Replaces all notes of a part by `notes`.
    fn rewrite(&self, part: usize, notes: &[Note]);

    /// Stores that the process is alive at `now`, by the clock of the node. It must be called every
    /// [`Timing::ALIVE_EVERY`](crate::Timing::ALIVE_EVERY): from this the next process knows how long no
    /// process was running.
    fn alive(&self, now: Timestamp);

    /// Deletes what earlier processes have noted. The caller has noted again all that was recalled.
    fn forget_earlier(&self);
}

/// One change of what is stored of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The session exists, or has changed. The places that it is in stay as they were noted.
    Is {
        /// The session that the note is about.
        session: SessionId,
        /// What is stored of it.
        kept: Box<StoredSession>,
    },
    /// The session joined a channel or a workspace, or changed its meta there.
    Joined {
        /// The session that the note is about.
        session: SessionId,
        /// The place that it is in, with its meta there.
        stay: Stay,
    },
    /// The session left a channel or a workspace.
    Departed {
        /// The session that the note is about.
        session: SessionId,
        /// The place that it left.
        topic: Topic,
    },
    /// The session has ended.
    Ended {
        /// The session that the note is about.
        session: SessionId,
    },
}

/// What is stored of a session, except for the places that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    /// The user of the session.
    pub user: UserId,
    /// The epoch of its last connection.
    pub epoch: u32,
    /// The device that the session is on.
    pub device: DeviceId,
    /// How its client is recognised when it comes back.
    pub known_by: KnownBy,
    /// Whether a service acts through it.
    pub by_service: bool,
    /// The activity that its client reported last.
    pub activity: Activity,
    /// Whether that counted as active when this was noted.
    pub is_active: bool,
    /// Whether the user was hidden from others.
    pub is_hidden: bool,
    /// When its connection was lost, if it has none.
    pub lost_at: Option<Timestamp>,
    /// When the service was last heard from, if a service acts through it.
    pub heard_at: Option<Timestamp>,
    /// What others are shown as its id, if that is another one.
    pub alias: Option<SessionId>,
}

/// A session that an earlier process has noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// The id of the session.
    pub session: SessionId,
    /// What was stored of it.
    pub kept: StoredSession,
    /// The places that it was in, with its meta in each.
    pub stays: Vec<Stay>,
}
