//! The list of users whose older tokens are refused, in a table of its own in the file.
//!
//! A record is a version byte and two big-endian numbers of eight bytes, in milliseconds: `at` and `until`. A reader ignores
//! what a later release appends.

use std::sync::atomic::Ordering::SeqCst;

use presence_core::ports::{RevocationList, Revocations, StoreError};
use presence_core::revocation::{REVOKED_MAX, Revocation, Revoke};
use presence_core::{Timestamp, UserId};
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata, Table};

use super::ProfileFile;
use super::database::{Database, Failure, REVOKED};
use super::writer::What;

/// The version byte that [`encode`] writes.
const VERSION: u8 = 1;

impl Revocations for ProfileFile {
    async fn revoke(
        &self,
        now: Timestamp,
        revocations: &[Revocation],
    ) -> Result<Vec<Revoke>, StoreError> {
        if revocations.is_empty() {
            return Ok(Vec::new());
        }
        let revoked = self.write(What::Revoke(revocations.to_vec(), now)).await;
        // A failed write may have been done, so it makes a new version too.
        if revoked
            .as_ref()
            .is_ok_and(|it| !it.contains(&Revoke::Changed))
        {
            return revoked;
        }
        let moment = self.time.now_us();
        let next = |version: u64| Some((version + 1).max(moment));
        let _ = self.revoked_version.fetch_update(SeqCst, SeqCst, next);
        revoked
    }

    async fn revoked(&self, known: u64) -> Result<Option<RevocationList>, StoreError> {
        let version = self.revoked_version.load(SeqCst);
        if version == known {
            return Ok(None);
        }
        let revocations = self.read(read_all).await?;
        Ok(Some(RevocationList {
            version,
            revocations,
        }))
    }
}

fn read_all(database: &Database) -> Result<Vec<Revocation>, StoreError> {
    let read = database.with(|redb| {
        let table = redb.begin_read()?.open_table(REVOKED)?;
        let mut all = Vec::new();
        for entry in table.iter()? {
            let (user, bytes) = entry?;
            all.push(decode(user.value(), bytes.value()));
        }
        Ok(all)
    });
    let all = read.map_err(Failure::store_error)?;
    all.into_iter().collect()
}

/// Merges `revocations` into the table. A record that cannot be read stays as it is and fails its slice.
pub(super) fn revoke_all(
    table: &mut Table<'_, &str, &[u8]>,
    revocations: &[Revocation],
    now: Timestamp,
) -> Result<Result<Vec<Revoke>, StoreError>, redb::Error> {
    let mut outcome = Ok(Vec::with_capacity(revocations.len()));
    for new in revocations {
        let key = new.user.as_str();
        let stored = table.get(key)?.map(|bytes| decode(key, bytes.value()));
        let (merged, revoke) = match stored.transpose() {
            Ok(Some(mut known)) => match known.merge(new) {
                true => (Some(known), Revoke::Changed),
                false => (None, Revoke::Known),
            },
            Ok(None) if is_full(table, now)? => (None, Revoke::Full),
            Ok(None) => (Some(new.clone()), Revoke::Changed),
            Err(corrupt) => {
                outcome = outcome.and(Err(corrupt));
                continue;
            }
        };
        if let Some(merged) = merged {
            table.insert(key, encode(&merged).as_slice())?;
        }
        if let Ok(all) = &mut outcome {
            all.push(revoke);
        }
    }
    Ok(outcome)
}

/// Whether the table has no room for one more, even after ended revocations were removed.
fn is_full(table: &mut Table<'_, &str, &[u8]>, now: Timestamp) -> Result<bool, redb::Error> {
    if table.len()? < REVOKED_MAX as u64 {
        return Ok(false);
    }
    // A record that cannot be read is kept: a later release may have written it.
    table.retain(|key, bytes| !decode(key, bytes).is_ok_and(|it| it.has_ended(now)))?;
    Ok(table.len()? >= REVOKED_MAX as u64)
}

fn encode(revocation: &Revocation) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    for moment in [revocation.at, revocation.until] {
        bytes.extend(moment.as_millis().to_be_bytes());
    }
    bytes
}

fn decode(user: &str, bytes: &[u8]) -> Result<Revocation, StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt {
        key: format!("revoked/{user}"),
        source: what.into(),
    };
    let (&version, rest) = bytes
        .split_first()
        .ok_or_else(|| corrupt("the record is empty"))?;
    if version != VERSION {
        return Err(corrupt("the record is of a later release: run that one"));
    }
    let moment = |from: usize| {
        let bytes = rest.get(from..from + 8)?;
        let millis = u64::from_be_bytes(bytes.try_into().ok()?);
        Some(Timestamp::from_millis(millis))
    };
    let moments = moment(0).zip(moment(8));
    let (at, until) = moments.ok_or_else(|| corrupt("the record is cut off"))?;
    let user = UserId::new(user).map_err(|_| corrupt("its user is none"))?;
    Ok(Revocation { user, at, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn these_bytes_are_a_revocation_for_ever() {
        let ann = Revocation {
            user: UserId::new("ann").unwrap(),
            at: Timestamp::from_millis(0x0102_0304),
            until: Timestamp::from_millis(0x05),
        };
        let bytes = [1, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 5];
        assert_eq!(encode(&ann), bytes);
        assert_eq!(decode("ann", &bytes).unwrap(), ann);
        let later = [&bytes[..], b"more"].concat();
        assert_eq!(decode("ann", &later).unwrap(), ann);
    }

    #[test]
    fn what_is_not_known_or_cut_off_is_refused() {
        for length in 0..17 {
            assert!(decode("ann", &[1; 17][..length]).is_err(), "{length}");
        }
        assert!(decode("ann", &[2; 17]).is_err());
        assert!(decode("a b", &[1; 17]).is_err());
    }
}
