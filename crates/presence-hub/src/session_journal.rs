//! What a node that is alone stores of its sessions for the next process.

use std::sync::{Arc, Weak};

use presence_core::ports::{SessionChange, Sessions};
use presence_core::users::{Effect, Users};
use presence_core::{Timestamp, Timing};

use crate::clock::WallClock;
use crate::pending::every;

/// Stores the sessions of one shard of users.
pub(crate) struct SessionJournal {
    sessions: Arc<dyn Sessions>,
    /// The part that belongs to the shard.
    part: usize,
    /// The notes that are written next, in one call.
    changes: Vec<SessionChange>,
}

impl SessionJournal {
    pub(crate) fn new(sessions: Arc<dyn Sessions>, part: usize) -> Self {
        SessionJournal {
            sessions,
            part,
            changes: Vec::new(),
        }
    }

    /// Collects what has to be remembered.
    pub(crate) fn collect<A>(&mut self, effects: impl Iterator<Item = Effect<A>>) {
        let changes = effects.filter_map(|effect| match effect {
            Effect::Remember(change) => Some(change),
            _ => None,
        });
        self.changes.extend(changes);
    }

    /// Writes the changes. With `is_erasing` the whole part is rewritten, so that nothing is left of the changes of a
    /// user who was erased.
    pub(crate) fn write<A>(&mut self, users: &Users<A>, now: Timestamp, is_erasing: bool) {
        if self.changes.is_empty() {
            return;
        }
        let is_erased = is_erasing
            && self
                .changes
                .iter()
                .any(|it| matches!(it, SessionChange::Ended { .. }));
        let is_due = self.sessions.append(self.part, &self.changes);
        if is_due || is_erased {
            self.sessions.rewrite(self.part, &users.kept_sessions(now));
        }
        self.changes.clear();
    }
}

/// Stores now and then that the process is alive, while anybody else uses `sessions`.
pub(crate) async fn stay_alive(sessions: Weak<dyn Sessions>, clock: WallClock) {
    let mut ticks = every(Timing::ALIVE_EVERY);
    loop {
        ticks.tick().await;
        match sessions.upgrade() {
            Some(sessions) => sessions.alive(clock.now()),
            None => return,
        }
    }
}
