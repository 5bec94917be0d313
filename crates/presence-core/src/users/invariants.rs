//! What must be true of a user after every input. Builds with debug assertions check it, so tests and the simulator run
//! with it.

use super::Users;
use super::loading::Slot;
use super::shared::Shared;
use super::user::{Entrance, User};
use crate::UserId;

impl<A> Users<A> {
    /// Asserts what must hold for the user `id` after every input:
    ///
    /// - Inputs wait for a map to be read, and connections for a session, only while the user is known: else nobody would
    ///   ever go on with them.
    /// - Nobody waits in an empty list.
    pub(super) fn assert_invariants(&self, id: &UserId) {
        let is_known = matches!(self.users.get(id), Some(Slot::Known(_)));
        let is_postponed = self.postponed.contains_key(id);
        assert!(
            is_known || !is_postponed,
            "inputs wait for a map of {id:?} that nobody reads"
        );
        if let Some(claims) = self.claims.get(id) {
            assert!(is_known, "a connection of {id:?} waits, who is not known");
            assert!(!claims.is_empty(), "no claim of {id:?} is kept");
        }
        let is_waiting = |it: &Vec<_>| !it.is_empty();
        let waiting = self.waiting.get(id);
        assert!(waiting.is_none_or(is_waiting), "nobody waits for {id:?}");
        if let Some(Slot::Known(user)) = self.users.get(id) {
            assert!(user.id() == id, "{id:?} is stored under another id");
            user.assert_invariants();
        }
    }
}

impl User {
    /// Asserts what must hold after every input:
    ///
    /// - The inputs that waited for the profile have been applied, and the timers of ended sessions are cancelled.
    /// - A session is here once, and in each place once.
    /// - Nobody who hides or is not there is shown in any place.
    fn assert_invariants(&self) {
        let id = self.id();
        assert!(self.entrance == Entrance::Over, "{id:?} is still coming");
        assert!(
            self.ended.is_empty(),
            "a timer of an ended session of {id:?} is left"
        );
        for (index, session) in self.sessions.iter().enumerate() {
            let mut earlier = self.sessions[..index].iter();
            let is_twice = earlier.any(|it| it.id == session.id);
            assert!(!is_twice, "{} of {id:?} is here twice", session.id);
            for (index, place) in session.places.iter().enumerate() {
                let mut earlier = session.places[..index].iter();
                let is_twice = earlier.any(|it| it.topic == place.topic);
                assert!(!is_twice, "{} is twice in {:?}", session.id, place.topic);
                let is_leaked = !self.is_shown() && place.has_entry();
                assert!(!is_leaked, "{id:?} hides, but not in {:?}", place.topic);
            }
        }
        if let Some(shared) = &self.shared {
            self.assert_agrees(shared);
        }
    }

    /// Asserts what must hold of the user and the copy of their map:
    ///
    /// - A session is here, or on another node. Entries wait for the node that took a session over only if it is not here;
    ///   or a service acts through it, which may have come back here with the same id.
    /// - The store is to have no record of this node for a session that is not here.
    fn assert_agrees(&self, shared: &Shared) {
        for session in &self.sessions {
            let id = session.id;
            let is_elsewhere = shared.replica.other(id).is_some();
            assert!(!is_elsewhere, "{id} is here and on another node");
            let is_handed_over = shared.handed_over.contains_key(&id) && !session.by_service;
            assert!(!is_handed_over, "{id} is here and handed over");
        }
        for id in shared.replica.owned() {
            let is_here = self.sessions.iter().any(|it| it.id == id);
            assert!(is_here, "the store is to have {id}, which is not here");
        }
    }
}
