//! The thread that writes: whatever waits, in one commit.

use presence_core::Profile;
use presence_core::ports::StoreError;
use redb::{ReadableTable, Table};
use tokio::sync::{mpsc, oneshot};

use super::database::{Database, PROFILES};
use super::profile;
use crate::record;

/// A commit that has this many profiles takes no further slice.
pub const PROFILES_PER_COMMIT: usize = 8192;

/// One call of `save`.
pub(super) struct Save {
    pub(super) profiles: Vec<Profile>,
    pub(super) done: oneshot::Sender<Outcome>,
}

type Outcome = Result<(), StoreError>;

/// Writes until nobody can send any more and nothing is left.
pub(super) fn run(database: &Database, mut saves: mpsc::Receiver<Save>) {
    while let Some(first) = saves.blocking_recv() {
        let batch = batch(first, &mut saves);
        match database.with(|redb| write(redb, &batch)) {
            Ok(outcomes) => answer(batch, outcomes),
            Err(failure) => {
                let failed = std::iter::repeat_with(|| Err(failure.clone().store_error()));
                answer(batch, failed);
            }
        }
    }
}

/// What is written in one commit: `first`, and what has come while the last commit was written.
fn batch(first: Save, saves: &mut mpsc::Receiver<Save>) -> Vec<Save> {
    let mut profiles = first.profiles.len();
    let mut batch = vec![first];
    while profiles < PROFILES_PER_COMMIT
        && let Ok(save) = saves.try_recv()
    {
        profiles += save.profiles.len();
        batch.push(save);
    }
    batch
}

fn answer(batch: Vec<Save>, outcomes: impl IntoIterator<Item = Outcome>) {
    for (save, outcome) in batch.into_iter().zip(outcomes) {
        // Whoever has stopped waiting does not want to know.
        let _ = save.done.send(outcome);
    }
}

/// Returns when it is on the disk.
fn write(redb: &redb::Database, batch: &[Save]) -> Result<Vec<Outcome>, redb::Error> {
    let transaction = redb.begin_write()?;
    let mut outcomes = Vec::with_capacity(batch.len());
    {
        let mut table = transaction.open_table(PROFILES)?;
        for save in batch {
            outcomes.push(put_all(&mut table, &save.profiles)?);
        }
    }
    transaction.commit()?;
    Ok(outcomes)
}

/// A record that cannot be read stays as it is and fails its own slice, but keeps nothing else from being written.
fn put_all(table: &mut Table<&str, &[u8]>, profiles: &[Profile]) -> Result<Outcome, redb::Error> {
    let mut outcome = Ok(());
    for new in profiles {
        let key = new.user.as_str();
        let stored = table.get(key)?;
        let stored = stored.map(|bytes| profile(&new.user, bytes.value()));
        match stored.transpose() {
            Ok(Some(stored)) if !new.supersedes(&stored) => {}
            Ok(_) => {
                table.insert(key, record::encode(new).as_slice())?;
            }
            Err(corrupt) => outcome = outcome.and(Err(corrupt)),
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use presence_core::UserId;

    use super::*;

    #[test]
    fn what_waits_goes_into_one_commit() {
        assert_eq!(commits(&[1, 1, 3, 1]), [6]);
    }

    #[test]
    fn a_commit_ends_with_the_slice_that_fills_it() {
        let full = PROFILES_PER_COMMIT;
        assert_eq!(commits(&[full, 1]), [full, 1]);
        assert_eq!(commits(&[full - 1, 5, 1, 1]), [full + 4, 2]);
        assert_eq!(commits(&[full * 2, full * 2]), [full * 2, full * 2]);
    }

    /// How many profiles each commit has if slices of these lengths wait.
    fn commits(slices: &[usize]) -> Vec<usize> {
        let (sender, mut saves) = mpsc::channel(slices.len());
        for &length in slices {
            let ann = Profile::new(UserId::new("ann").unwrap());
            let profiles = vec![ann; length];
            let (done, _) = oneshot::channel();
            assert!(sender.try_send(Save { profiles, done }).is_ok());
        }
        let mut commits = Vec::new();
        while let Ok(first) = saves.try_recv() {
            let batch = batch(first, &mut saves);
            commits.push(batch.iter().map(|save| save.profiles.len()).sum());
        }
        commits
    }
}
