//! What became of saves whose rows wait in the outbox of the shared store.

use presence_core::ports::Row;
use tokio::sync::mpsc;

/// The number of outcomes that wait. The sweeper finds the row of a further one later.
const OUTCOMES_MAX: usize = 16 * 1024;

/// The outcome of a save, for the row that waits in the outbox of the store.
#[derive(Debug)]
pub(crate) enum SaveOutcome {
    /// The profile is saved, so the row can be acknowledged.
    Saved(Row),
    /// The profile could not be saved. It is saved when the store of profiles works again.
    GivenUp(Row),
}

/// Takes the outcomes of saves from the shards.
#[derive(Clone, Debug)]
pub(crate) struct SaveOutcomes {
    outcomes: mpsc::Sender<SaveOutcome>,
}

impl SaveOutcomes {
    pub(crate) fn new() -> (Self, mpsc::Receiver<SaveOutcome>) {
        let (outcomes, inbox) = mpsc::channel(OUTCOMES_MAX);
        (SaveOutcomes { outcomes }, inbox)
    }

    /// Reports outcomes. If there is no room for one, the sweeper of that partition finds its row later.
    pub(crate) fn tell(&self, outcomes: Vec<SaveOutcome>) {
        for outcome in outcomes {
            let _ = self.outcomes.try_send(outcome);
        }
    }
}
