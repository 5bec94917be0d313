//! The thread that writes: it puts all waiting calls into one commit.

use presence_core::ports::StoreError;
use presence_core::revocation::{Revocation, Revoke};
use presence_core::{Profile, Timestamp, UserId};
use redb::{ReadableTable, Table};
use tokio::sync::{mpsc, oneshot};

use super::database::{Database, PROFILES, REVOKED};
use super::decode;
use super::revoked::revoke_all;
use crate::record;

/// A commit that has this many profiles takes no further call.
pub const PROFILES_PER_COMMIT: usize = 8192;

/// One call of `save`, `remove` or `revoke`.
pub(super) struct Write {
    pub(super) what: What,
    pub(super) done: oneshot::Sender<Outcome>,
}

pub(super) enum What {
    Save(Vec<Profile>, Timestamp),
    Remove(Vec<UserId>),
    Revoke(Vec<Revocation>, Timestamp),
}

impl What {
    fn profiles(&self) -> usize {
        match self {
            What::Save(profiles, _) => profiles.len(),
            What::Remove(users) => users.len(),
            What::Revoke(revocations, _) => revocations.len(),
        }
    }
}

/// The outcome of a call; of a call that revokes, one outcome for each revocation.
pub(super) type Outcome = Result<Vec<Revoke>, StoreError>;

/// Writes until all senders are gone and nothing waits.
pub(super) fn run(database: &Database, mut writes: mpsc::Receiver<Write>) {
    while let Some(first) = writes.blocking_recv() {
        let batch = batch(first, &mut writes);
        match database.with(|redb| write(redb, &batch)) {
            Ok(outcomes) => answer(batch, outcomes),
            Err(failure) => {
                let failed = std::iter::repeat_with(|| Err(failure.clone().store_error()));
                answer(batch, failed);
            }
        }
    }
}

/// The calls of one commit: `first`, and those that came while the last commit was written.
fn batch(first: Write, writes: &mut mpsc::Receiver<Write>) -> Vec<Write> {
    let mut profiles = first.what.profiles();
    let mut batch = vec![first];
    while profiles < PROFILES_PER_COMMIT
        && let Ok(write) = writes.try_recv()
    {
        profiles += write.what.profiles();
        batch.push(write);
    }
    batch
}

fn answer(batch: Vec<Write>, outcomes: impl IntoIterator<Item = Outcome>) {
    for (write, outcome) in batch.into_iter().zip(outcomes) {
        // The caller may have stopped waiting.
        let _ = write.done.send(outcome);
    }
}

/// Writes `batch` in one transaction. Returns when it is on the disk.
fn write(redb: &redb::Database, batch: &[Write]) -> Result<Vec<Outcome>, redb::Error> {
    let transaction = redb.begin_write()?;
    let mut outcomes = Vec::with_capacity(batch.len());
    {
        let mut table = transaction.open_table(PROFILES)?;
        let mut revoked = transaction.open_table(REVOKED)?;
        for write in batch {
            outcomes.push(match &write.what {
                What::Save(profiles, now) => put_all(&mut table, profiles, *now)?,
                What::Remove(users) => remove_all(&mut table, users)?,
                What::Revoke(revocations, now) => revoke_all(&mut revoked, revocations, *now)?,
            });
        }
    }
    transaction.commit()?;
    Ok(outcomes)
}

/// Saves profiles. A record that cannot be read stays as it is and fails its own call, but no other call of the commit.
fn put_all(
    table: &mut Table<&str, &[u8]>,
    profiles: &[Profile],
    now: Timestamp,
) -> Result<Outcome, redb::Error> {
    let mut outcome = Ok(Vec::new());
    for new in profiles {
        let key = new.user.as_str();
        let stored = table.get(key)?;
        let stored = stored.map(|bytes| decode(&new.user, bytes.value()));
        match stored.transpose() {
            Ok(Some((stored, _))) if !new.supersedes(&stored) => {}
            Ok(_) => {
                table.insert(key, record::encode(new, now).as_slice())?;
            }
            Err(corrupt) => outcome = outcome.and(Err(corrupt)),
        }
    }
    Ok(outcome)
}

fn remove_all(table: &mut Table<&str, &[u8]>, users: &[UserId]) -> Result<Outcome, redb::Error> {
    for user in users {
        table.remove(user.as_str())?;
    }
    Ok(Ok(Vec::new()))
}

#[cfg(test)]
mod tests {
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
        let (sender, mut writes) = mpsc::channel(slices.len());
        for &length in slices {
            let ann = Profile::new(UserId::new("ann").unwrap());
            let what = What::Save(vec![ann; length], Timestamp::from_millis(0));
            let (done, _) = oneshot::channel();
            assert!(sender.try_send(Write { what, done }).is_ok());
        }
        let mut commits = Vec::new();
        while let Ok(first) = writes.try_recv() {
            let batch = batch(first, &mut writes);
            commits.push(batch.iter().map(|write| write.what.profiles()).sum());
        }
        commits
    }
}
