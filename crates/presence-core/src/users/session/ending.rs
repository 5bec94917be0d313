//! How a session ends: its grace time, and the proof that it is on no other node.

use std::time::Duration;

use super::Session;
use crate::cluster::Membership;
use crate::{Reason, Timestamp, Timing};

/// Healthy nodes report often enough that what they did this long ago is known to be in the store.
const STORED_WITHIN: Duration = Duration::from_secs(10);

/// How far a session is from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::users) enum Stage {
    /// It has a connection, or a service acts through it.
    Live,
    /// The connection broke: until when it may come back, and why it broke.
    Grace { until: Timestamp, reason: Reason },
    /// The grace time is over since `since`. The session ends when the store has accepted that, unless another
    /// node has it.
    Ending {
        since: Timestamp,
        reason: Reason,
        proof: Proof,
    },
}

/// What is still missing before an ending session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::users) enum Proof {
    /// Everything that other nodes did up to `stored_up_to` has to be in the store first. A node that cannot report that
    /// delays the end by a lease at most.
    Awaited { stored_up_to: Timestamp },
    /// The store has been asked to remove the session.
    Asked,
}

impl Session {
    pub(in crate::users) fn is_ending(&self) -> bool {
        matches!(self.stage, Stage::Ending { .. })
    }

    pub(in crate::users) fn vanish(&mut self, until: Timestamp, reason: Reason) {
        self.stage = Stage::Grace { until, reason };
        self.armed = false;
    }

    /// Begins to end the session: the grace time is over.
    pub(in crate::users) fn begin_to_end(&mut self, since: Timestamp, reason: Reason) {
        let stored_up_to = since.as_millis() - STORED_WITHIN.as_millis() as u64;
        let stored_up_to = Timestamp::from_millis(stored_up_to);
        let proof = Proof::Awaited { stored_up_to };
        self.stage = Stage::Ending {
            since,
            reason,
            proof,
        };
        self.armed = false;
    }

    /// The store knows nothing of the session although it should. Wait for other nodes to write again what they have.
    pub(in crate::users) fn end_later(&mut self, now: Timestamp) {
        if let Stage::Ending { reason, .. } = self.stage {
            let proof = Proof::Awaited { stored_up_to: now };
            self.stage = Stage::Ending {
                since: now,
                reason,
                proof,
            };
            self.armed = false;
        }
    }

    /// Returns the reason with which the store has to be asked now to remove the session. If it is too early for that, notes
    /// up to when everything has to be stored first, and returns `None`.
    pub(in crate::users) fn due_removal(
        &mut self,
        now: Timestamp,
        membership: &Membership,
    ) -> Option<Reason> {
        let Stage::Ending {
            since,
            reason,
            proof: Proof::Awaited { stored_up_to },
        } = &mut self.stage
        else {
            return None;
        };
        // While the store is away, people may go to other nodes, which cannot say so.
        let reached_since = membership.reached_since();
        *since = (*since).max(reached_since.unwrap_or(now));
        let is_proven = membership.is_stored(*stored_up_to) || *since + Timing::LEASE <= now;
        if is_proven && reached_since.is_some() {
            return Some(*reason);
        }
        // Some node cannot report that its writes are stored, so the session may have moved there at any time up to
        // `since`.
        *stored_up_to = (*since).max(*stored_up_to);
        None
    }

    /// Notes that the store was asked to remove it.
    pub(in crate::users) fn mark_asked(&mut self) {
        if let Stage::Ending { proof, .. } = &mut self.stage {
            *proof = Proof::Asked;
        }
    }
}
