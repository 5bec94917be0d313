//! A channel or workspace that a session is in, and what others have been told of that.

use std::sync::Arc;

use crate::cluster::JoinedTopic;
use crate::{Meta, Timestamp, Topic};

/// A channel or workspace that a session is in.
#[derive(Debug)]
pub(in crate::users) struct SessionTopic {
    pub(in crate::users) topic: Topic,
    pub(in crate::users) joined_at: Timestamp,
    pub(in crate::users) meta: Arc<Meta>,
    pub(in crate::users) entry: RosterEntry,
    pub(in crate::users) share: Share,
    /// Whether the client that goes on with the session has not joined this place again.
    pub(in crate::users) is_unclaimed: bool,
    /// Whether the place was stored for the next process, as it is.
    pub(in crate::users) is_journaled: bool,
    /// Whether others were shown the session there before it came to this node, or to this process.
    pub(in crate::users) was_shown: bool,
}

/// The roster entry of a session in one place, as this node wrote it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::users) enum RosterEntry {
    /// There is none: others may not see the session there.
    Absent,
    /// There is one, and it has to be written again.
    Stale,
    /// There is one, which shows the look with this revision.
    Written(u64),
}

/// Whether other nodes may be told that a session is in a place: not before the user's map says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::users) enum Share {
    /// The user's map does not name the place.
    Unnamed,
    /// This revision of the session's record names it, and is on its way to the store.
    Named(u64),
    /// The store has a record of the session that names the place.
    Open,
}

impl SessionTopic {
    /// A place in which nobody was shown yet, and which the user's map does not name.
    pub(in crate::users) fn new(joined: JoinedTopic) -> Self {
        SessionTopic {
            topic: joined.topic,
            joined_at: joined.joined_at,
            meta: joined.meta,
            entry: RosterEntry::Absent,
            share: Share::Unnamed,
            is_unclaimed: false,
            is_journaled: false,
            was_shown: false,
        }
    }

    /// A place that the user's map names already.
    pub(super) fn open(joined: JoinedTopic) -> Self {
        SessionTopic {
            share: Share::Open,
            was_shown: true,
            ..SessionTopic::new(joined)
        }
    }

    /// A place in which others were shown the session by an earlier process.
    pub(in crate::users) fn restored(joined: JoinedTopic) -> Self {
        SessionTopic {
            was_shown: true,
            ..SessionTopic::new(joined)
        }
    }

    /// Whether the place has a roster entry of the session, so that others may see the session there.
    pub(in crate::users) fn has_entry(&self) -> bool {
        self.entry != RosterEntry::Absent
    }

    /// Lets the roster entry, if there is one, be written again.
    pub(in crate::users) fn write_again(&mut self) {
        if self.has_entry() {
            self.entry = RosterEntry::Stale;
        }
    }

    /// The same place, as it is stored for other nodes.
    pub(in crate::users) fn joined(&self) -> JoinedTopic {
        JoinedTopic {
            topic: self.topic.clone(),
            joined_at: self.joined_at,
            meta: self.meta.clone(),
        }
    }
}
