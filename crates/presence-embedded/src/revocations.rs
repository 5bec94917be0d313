//! The list of users whose older tokens are refused, in memory.

use std::sync::{Mutex, MutexGuard, PoisonError};

use presence_core::Timestamp;
use presence_core::ports::{RevocationList, Revocations, StoreError};
use presence_core::revocation::{Revocation, Revoke, RevokedUsers};

use crate::time::StoreTime;

/// Keeps the list as long as it lives. It keeps all clauses of the contract except those about crashes.
#[derive(Debug)]
pub struct RevocationMemory {
    kept: Mutex<StoredList>,
    time: StoreTime,
}

#[derive(Debug, Default)]
struct StoredList {
    users: RevokedUsers,
    version: u64,
}

impl RevocationMemory {
    /// Makes an empty list.
    pub fn new() -> Self {
        RevocationMemory {
            kept: Mutex::default(),
            time: StoreTime::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, StoredList> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for RevocationMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Revocations for RevocationMemory {
    async fn revoke(
        &self,
        now: Timestamp,
        revocations: &[Revocation],
    ) -> Result<Vec<Revoke>, StoreError> {
        let mut kept = self.lock();
        let revoked = revocations.iter().map(|it| kept.users.revoke(now, it));
        let revoked: Vec<Revoke> = revoked.collect();
        if revoked.contains(&Revoke::Changed) {
            kept.version = (kept.version + 1).max(self.time.now_us());
        }
        Ok(revoked)
    }

    async fn revoked(&self, known: u64) -> Result<Option<RevocationList>, StoreError> {
        let kept = self.lock();
        if known != 0 && known == kept.version {
            return Ok(None);
        }
        Ok(Some(RevocationList {
            version: kept.version,
            revocations: kept.users.iter().cloned().collect(),
        }))
    }
}
