//! What a node that is alone keeps of its sessions, for the process that comes after it.

use std::fmt;

use crate::cluster::Stay;
use crate::users::{Activity, KnownBy};
use crate::{DeviceId, SessionId, Timestamp, Topic, UserId};

/// Keeps the sessions of a node that is alone, so that the next process on the same machine shows nobody leaving.
///
/// The users of a node are shared out over parts, and each part has one writer. A part is what was noted of it, in order.
///
/// # Contract
///
/// - What [`note`](Self::note) has returned for outlives the death of the process, kill -9 included. It need not outlive the
///   death of the machine.
/// - It does not fail. Where nothing can be written, all of the part is forgotten until it is [rewritten](Self::rewrite): what
///   is old is worse than nothing.
/// - It is bounded. A part that would be larger than the bound is forgotten as a whole.
pub trait Sessions: fmt::Debug + Send + Sync + 'static {
    /// Appends `notes` to a part; says whether it is time to [rewrite](Self::rewrite) that.
    fn note(&self, part: usize, notes: &[Note]) -> bool;

    /// Replaces all that was noted of a part by `notes`.
    fn rewrite(&self, part: usize, notes: &[Note]);

    /// Notes that the process is alive at `now`, by the clock of the node. To be called every
    /// [`Timing::ALIVE_EVERY`](crate::Timing::ALIVE_EVERY): it is how the next process knows how long nobody was there.
    fn alive(&self, now: Timestamp);

    /// Forgets what earlier processes have noted: all that was recalled has been noted again.
    fn forget_earlier(&self);
}

/// One change of what is kept of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// The session is there, or is different. Where it is stays as it was noted.
    Is {
        /// Which session.
        session: SessionId,
        /// What is kept of it.
        kept: Box<Kept>,
    },
    /// It entered a channel or a workspace, or says something else of itself there.
    Joined {
        /// Which session.
        session: SessionId,
        /// Where it is now.
        stay: Stay,
    },
    /// It is no longer in a channel or a workspace.
    Departed {
        /// Which session.
        session: SessionId,
        /// Where it was.
        topic: Topic,
    },
    /// It is over.
    Ended {
        /// Which session.
        session: SessionId,
    },
}

/// What is kept of a session, but for where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Whose it is.
    pub user: UserId,
    /// The epoch of its last connection.
    pub epoch: u32,
    /// On which device.
    pub device: DeviceId,
    /// What its client is known by when it comes back.
    pub known_by: KnownBy,
    /// A service acts through it.
    pub acted: bool,
    /// How its person is doing.
    pub activity: Activity,
    /// Whether that counts as being active.
    pub is_active: bool,
    /// Others did not see its user.
    pub is_hidden: bool,
    /// When its connection was lost, if it has none.
    pub lost_at: Option<Timestamp>,
    /// When a service last said that it is there, if one acts through it.
    pub heard_at: Option<Timestamp>,
    /// What others are shown as its id, if that is another one.
    pub alias: Option<SessionId>,
}

/// A session that an earlier process has noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// Which session.
    pub session: SessionId,
    /// What was kept of it.
    pub kept: Kept,
    /// Where it was.
    pub stays: Vec<Stay>,
}
