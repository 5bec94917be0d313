//! What a node remembers of one map for a while, and when the first of it ends.

use std::collections::BTreeMap;

use crate::cluster::FencingToken;
use crate::{SessionId, Timestamp};

/// What is remembered of one map, beside its entries.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Sessions that other nodes have taken over recently: with which token, and until when that is remembered.
    taken: BTreeMap<SessionId, (FencingToken, Timestamp)>,
    /// Until when a write of this node may have to be repeated, because a server that takes over may not know about it.
    writes_until: Option<Timestamp>,
    /// The earliest moment at which something ends that is remembered here, or that is held of an entry.
    ends_at: Option<Timestamp>,
}

impl Memory {
    /// When something ends, if anything is held or remembered.
    pub(super) fn ends_at(&self) -> Option<Timestamp> {
        self.ends_at
    }

    /// Notes that something of an entry ends at `at`.
    pub(super) fn note_end(&mut self, at: Option<Timestamp>) {
        self.ends_at = self.ends_at.into_iter().chain(at).min();
    }

    /// Remembers until `until` that this node has written to the map.
    pub(super) fn note_write(&mut self, until: Timestamp) {
        self.writes_until = Some(until);
        self.note_end(Some(until));
    }

    /// Whether a write of this node may have to be repeated.
    pub(super) fn has_written(&self) -> bool {
        self.writes_until.is_some()
    }

    /// Remembers until `until` that another node has taken over a session of this node, with `token`.
    pub(super) fn note_taken(&mut self, session: SessionId, token: FencingToken, until: Timestamp) {
        let known = self.taken.entry(session).or_insert((token, until));
        *known = (known.0.max(token), until);
        self.note_end(Some(until));
    }

    /// The token with which another node has taken over a session, if that is remembered.
    pub(super) fn taken(&self, session: SessionId) -> Option<FencingToken> {
        self.taken.get(&session).map(|(token, _)| *token)
    }

    /// Forgets everything that was to be remembered until `now`. `held` has the times at which entries stop being held.
    pub(super) fn forget(&mut self, now: Timestamp, held: impl Iterator<Item = Timestamp>) {
        self.taken.retain(|_, (_, until)| now < *until);
        self.writes_until = self.writes_until.filter(|until| now < *until);
        let taken = self.taken.values().map(|(_, until)| *until);
        self.ends_at = held.chain(taken).chain(self.writes_until).min();
    }

    /// Asserts what must hold after every input: `ends_at` is not later than anything that ends. `held` is when something
    /// ends that is held of an entry.
    #[cfg(debug_assertions)]
    pub(super) fn assert_invariants(&self, held: impl Iterator<Item = Timestamp>) {
        let taken = self.taken.values().map(|(_, until)| *until);
        let first = held.chain(taken).chain(self.writes_until).min();
        let is_noted = first.is_none_or(|it| self.ends_at.is_some_and(|at| at <= it));
        assert!(is_noted, "something ends at {first:?}, and nobody looks");
    }
}
