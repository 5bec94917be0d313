//! What a node that is alone stores of its sessions for the next process.

use std::sync::{Arc, Weak};

use presence_core::ports::{Note, Sessions};
use presence_core::users::{Effect, Users};
use presence_core::{Timestamp, Timing};

use crate::clock::WallClock;
use crate::pending::every;

/// Stores the sessions of one shard of users.
pub(crate) struct Memory {
    sessions: Arc<dyn Sessions>,
    /// The part that belongs to the shard.
    part: usize,
    /// The notes that are written next, in one call.
    notes: Vec<Note>,
}

impl Memory {
    pub(crate) fn new(sessions: Arc<dyn Sessions>, part: usize) -> Self {
        Memory {
            sessions,
            part,
            notes: Vec::new(),
        }
    }

    /// Collects what has to be remembered.
    pub(crate) fn note<A>(&mut self, effects: impl Iterator<Item = Effect<A>>) {
        let notes = effects.filter_map(|effect| match effect {
            Effect::Remember(note) => Some(note),
            _ => None,
        });
        self.notes.extend(notes);
    }

    /// Writes the notes. With `is_erasing` the whole part is rewritten, so that nothing is left of the notes about a
    /// user who was erased.
    pub(crate) fn write<A>(&mut self, users: &Users<A>, now: Timestamp, is_erasing: bool) {
        if self.notes.is_empty() {
            return;
        }
        let is_erased = is_erasing && self.notes.iter().any(|it| matches!(it, Note::Ended { .. }));
        let is_due = self.sessions.note(self.part, &self.notes);
        if is_due || is_erased {
            self.sessions.rewrite(self.part, &users.kept_sessions(now));
        }
        self.notes.clear();
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
