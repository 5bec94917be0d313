//! Profiles in memory: for tests, and for running without a data directory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use presence_core::ports::{Profiles, StoreError};
use presence_core::{Profile, UserId};

/// Keeps profiles as long as it lives itself, and so all of the contract but its first clause.
///
/// Nothing is ever forgotten: it takes some 300 bytes for every user who was ever saved.
#[derive(Debug, Default)]
pub struct ProfileMemory {
    profiles: Mutex<HashMap<UserId, Profile>>,
}

impl ProfileMemory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, Profile>> {
        // No profile is ever half written, so a panic elsewhere leaves nothing to fear.
        self.profiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Profiles for ProfileMemory {
    async fn save(&self, profiles: &[Profile]) -> Result<(), StoreError> {
        let mut stored = self.lock();
        for profile in profiles {
            let newer = stored
                .get(&profile.user)
                .is_none_or(|stored| profile.supersedes(stored));
            if newer {
                stored.insert(profile.user.clone(), profile.clone());
            }
        }
        Ok(())
    }

    async fn load(&self, users: &[UserId]) -> Result<Vec<Option<Profile>>, StoreError> {
        let stored = self.lock();
        Ok(users.iter().map(|user| stored.get(user).cloned()).collect())
    }
}
