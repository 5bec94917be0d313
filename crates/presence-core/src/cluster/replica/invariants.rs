//! What must be true of a copy after every input. Builds with debug assertions check it, so tests and the simulator run
//! with it.

use super::remote::Missing;
use super::{Replica, StoredEntry};
use crate::cluster::Membership;
use crate::{SessionId, Timestamp};

impl<V: StoredEntry> Replica<V> {
    /// The sessions that this node has.
    pub(crate) fn owned(&self) -> impl Iterator<Item = SessionId> {
        let owned = self.local.iter().filter(|(_, it)| it.is_owned());
        owned.map(|(session, _)| session)
    }

    /// The sessions that are shown to the watchers on this node, no matter which node has them.
    pub(crate) fn shown(&self) -> impl Iterator<Item = SessionId> {
        let local = self.local.iter().filter(|(_, it)| it.shown().is_some());
        let local = local.map(|(session, _)| session);
        local.chain(self.remote.keys().copied())
    }

    /// Asserts what must hold after every input:
    ///
    /// - The operations that have to be sent are exactly those in the index, and nothing that is held or remembered ends
    ///   before somebody looks.
    /// - A session is this node's or another node's. Only a claim and a removal may stand beside the entry of another node.
    /// - Every token of an own session is this node's, and the node makes no smaller one from now on.
    /// - An operation is on its way only as part of the write that is under way, with the token that it has now.
    /// - Nothing that a dead node wrote counts, unless it waits for another node to replace it, or for the map to be read.
    pub(super) fn assert_invariants(&self, now: Timestamp, membership: &Membership) {
        self.local.assert_invariants();
        for (session, local) in self.local.iter() {
            let is_twice = local.is_owned() && self.remote.contains_key(&session);
            assert!(!is_twice, "{session} is this node's and another node's");
            let is_mine = local.token.owner == membership.me().node;
            assert!(is_mine, "the token of {session} is another node's");
            let is_old = local.token.revision() <= self.revision;
            assert!(is_old, "the token of {session} is newer than the newest");
            if local.is_in_flight() {
                let sent = self.writing.as_deref().unwrap_or_default();
                let is_sent = sent.binary_search(&(session, local.token)).is_ok();
                assert!(is_sent, "{session} is in flight, and nothing of it is");
            }
        }
        for (session, remote) in &self.remote {
            let is_lost = membership.is_lost(remote.token.incarnation());
            let counts = remote.missing == Missing::No && !self.is_behind();
            assert!(!(is_lost && counts), "{session} is of a dead node");
        }
        let held = self.remote.values();
        let held = held.filter_map(|it| it.missing.looks_at(now));
        let remembered = self.local.values().filter_map(|it| it.remembered_until());
        self.memory.assert_invariants(held.chain(remembered));
    }
}
