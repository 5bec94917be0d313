//! What must be true of a topic after every input. Builds with debug assertions check it, so tests and the simulator run
//! with it.

use std::collections::BTreeSet;

use super::roster::Roster;
use super::topic_state::TopicState;
use crate::{SessionId, Topic};

/// The number of people in a room that is checked in full. In a bigger one only the numbers are compared, because the check
/// of each input would take too long.
const CHECKED_MAX: usize = 100;

impl TopicState {
    /// Asserts what must hold after every input:
    ///
    /// - A watcher waits for the store's entries only while those are being read.
    /// - Each session that is listed is in the copy of the map, and each that the copy shows is listed.
    /// - The list agrees with itself.
    pub(super) fn assert_invariants(&self, topic: &Topic) {
        let is_waiting = !self.waiting.is_empty();
        assert!(
            !is_waiting || self.is_opening(),
            "watchers of {topic:?} wait for what nobody reads"
        );
        let watchers = self.watchers();
        assert!(watchers.whole <= watchers.full, "watchers of {topic:?}");
        self.roster.assert_invariants(topic);
        if let Some(copy) = self.copy.as_ref().filter(|_| self.roster.is_small()) {
            let shown: BTreeSet<SessionId> = copy.shown().collect();
            let listed: BTreeSet<SessionId> = self.roster.sessions().collect();
            assert_eq!(listed, shown, "the list of {topic:?} beside its copy");
        }
    }
}

impl Roster {
    fn is_small(&self) -> bool {
        self.len() <= CHECKED_MAX
    }

    /// Asserts that the list agrees with itself: each session is one of its user's, and each user is listed once, as of the
    /// first of their sessions that is there.
    fn assert_invariants(&self, topic: &Topic) {
        let (listed, sorted) = (self.len(), self.order_len());
        assert_eq!(listed, sorted, "{topic:?} lists somebody twice");
        let names = self.names_len();
        assert!(
            names.is_none_or(|it| it == listed),
            "{topic:?} sorts other people by name than it lists"
        );
        if !self.is_small() {
            return;
        }
        let mut members = 0;
        for person in self.people() {
            let user = &person.user;
            assert!(
                !person.members.is_empty(),
                "{user:?} is in {topic:?} with no session"
            );
            for member in &person.members {
                let is_theirs = self.user_of(member.session) == Some(user);
                assert!(is_theirs, "{} is not {user:?}'s", member.session);
            }
            members += person.members.len();
        }
        assert_eq!(members, self.sessions().count(), "sessions in {topic:?}");
    }
}
