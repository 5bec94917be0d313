//! The list of users whose older tokens are refused: a hash on the server of the leases.
//!
//! The field of a user has two moments in milliseconds, `at` and `until`, with a space between; a later release adds
//! more after them. A field whose name no user can have has the version of the list.

use fred::types::Value;
use presence_core::ports::{RevocationList, Revocations, StoreError};
use presence_core::revocation::{REVOKED_MAX, Revocation, Revoke};
use presence_core::{Timestamp, UserId};

use crate::fault::Fault;
use crate::script;
use crate::survey::Target;
use crate::topics::{ENTRIES_PER_SCAN, RedisTopics};

/// The field with the version. No user id has this character.
const VERSION: &str = "#";
/// The number of revocations that one script adds.
pub const REVOKED_PER_SCRIPT_MAX: usize = 500;

impl Revocations for RedisTopics {
    async fn revoke(
        &self,
        now: Timestamp,
        revocations: &[Revocation],
    ) -> Result<Vec<Revoke>, StoreError> {
        let mut outcomes = Vec::with_capacity(revocations.len());
        for some in revocations.chunks(REVOKED_PER_SCRIPT_MAX) {
            outcomes.extend(self.revoke_some(now, some).await?);
        }
        Ok(outcomes)
    }

    async fn revoked(&self, known: u64) -> Result<Option<RevocationList>, StoreError> {
        let key = self.keys.revoked();
        let args = vec![Value::from(key.as_str()), Value::from(VERSION)];
        let answer = self.call(Target::Nodes, "HGET", args).await?;
        if answer.is_null() {
            // A change of the list writes the list's version, too: there is no list.
            return Ok(Some(RevocationList {
                version: 0,
                revocations: Vec::new(),
            }));
        }
        // A version that is not understood is like none: the list is read, and the next change writes another version.
        let version = answer.as_str().and_then(|it| it.parse().ok()).unwrap_or(0);
        if known != 0 && known == version {
            return Ok(None);
        }
        let mut revocations = Vec::new();
        let mut cursor = "0".to_owned();
        loop {
            let place = Target::Nodes;
            let (next, pairs) = self.scan(place, &key, &cursor, ENTRIES_PER_SCAN).await?;
            revocations.extend(pairs.chunks_exact(2).filter_map(|it| read(&it[0], &it[1])));
            if next == "0" {
                break;
            }
            cursor = next;
        }
        // What moves while it is read may come twice.
        revocations.sort_by(|a, b| a.user.cmp(&b.user));
        revocations.dedup_by(|again, first| {
            let is_same = again.user == first.user;
            if is_same {
                first.merge(again);
            }
            is_same
        });
        Ok(Some(RevocationList {
            version,
            revocations,
        }))
    }
}

impl RedisTopics {
    async fn revoke_some(
        &self,
        now: Timestamp,
        revocations: &[Revocation],
    ) -> Result<Vec<Revoke>, Fault> {
        let millis = |it: Timestamp| Value::from(i64::try_from(it.as_millis()).unwrap_or(i64::MAX));
        let max = i64::try_from(REVOKED_MAX).unwrap_or(i64::MAX);
        let mut args = vec![Value::from(VERSION), millis(now), Value::from(max)];
        for it in revocations {
            args.extend([
                Value::from(it.user.as_str()),
                millis(it.at),
                millis(it.until),
            ]);
        }
        let keys = [self.keys.revoked()];
        let answer = self
            .run(Target::Nodes, &script::REVOKE, &keys, &args)
            .await?;
        let outcomes: Vec<Revoke> = answer
            .into_array()
            .iter()
            .map(|it| match it.as_i64() {
                Some(2) => Ok(Revoke::Changed),
                Some(1) => Ok(Revoke::Known),
                Some(0) => Ok(Revoke::Full),
                _ => Err(Fault::Strange),
            })
            .collect::<Result<_, _>>()?;
        match outcomes.len() == revocations.len() {
            true => Ok(outcomes),
            false => Err(Fault::Strange),
        }
    }
}

/// The revocation in the field `user`. One that cannot be understood is left out, so that the others still count.
fn read(user: &Value, record: &Value) -> Option<Revocation> {
    let (user, record) = (user.as_str()?, record.as_str()?);
    if user == VERSION {
        return None;
    }
    let read = || {
        let mut moments = record.split(' ').map(|it| it.parse().ok());
        let mut moment = || moments.next().flatten().map(Timestamp::from_millis);
        Some(Revocation {
            user: UserId::new(&user).ok()?,
            at: moment()?,
            until: moment()?,
        })
    };
    let revocation = read();
    if revocation.is_none() {
        tracing::warn!(%user, %record, "cannot understand a revocation");
    }
    revocation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revocations_are_read_as_they_are_written() {
        let read = |user: &str, record: &str| read(&Value::from(user), &Value::from(record));
        let ann = Revocation {
            user: UserId::new("ann").unwrap(),
            at: Timestamp::from_millis(1_764_000_000_000),
            until: Timestamp::from_millis(1_766_592_000_000),
        };
        let record = "1764000000000 1766592000000";
        assert_eq!(read("ann", record), Some(ann.clone()));
        assert_eq!(read("ann", &format!("{record} more")), Some(ann));
        for (user, record) in [
            ("#", record),
            ("a b", record),
            ("ann", "1"),
            ("ann", "1 x"),
            ("ann", ""),
        ] {
            assert_eq!(read(user, record), None, "{user} {record}");
        }
    }
}
