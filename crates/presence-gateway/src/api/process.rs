//! Which process a gateway is: whether one that lives is one that was declared dead.

use presence_core::Timing;
use presence_core::cluster::Incarnation;

/// Which process a gateway is, as far as that is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    pub(super) who: Option<Incarnation>,
    /// When it started, as it said when it last answered.
    pub(super) started_at_ms: Option<u64>,
}

impl Process {
    /// Whether this is the process that was declared dead as `dead`, and goes on as a later generation.
    pub(super) fn continues(&self, dead: &Process) -> bool {
        let both = self.who.zip(dead.who);
        both.is_some_and(|(me, dead)| me.node == dead.node && me.generation > dead.generation)
    }

    /// Whether this process may run in place of one of the same name that died then. Names need not be unique: only one
    /// that started about when the other died, or later, does.
    pub(super) fn may_replace_one_that_died(&self, died_at_ms: u64) -> bool {
        let back_within = 2 * Timing::LEASE.as_millis() as u64;
        let started = self.started_at_ms;
        started.is_some_and(|it| it + back_within >= died_at_ms)
    }
}
