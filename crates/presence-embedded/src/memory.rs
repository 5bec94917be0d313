//! Profiles in memory: for tests, and for running without a data directory.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use presence_core::ports::{Profiles, StoreError};
use presence_core::{Profile, Timestamp, UserId};

use crate::time::StoreTime;

/// Keeps profiles as long as it lives. It keeps all clauses of the contract except those about crashes.
///
/// It forgets nothing that is not removed: every user who was ever saved takes about 300 bytes.
#[derive(Debug)]
pub struct ProfileMemory {
    profiles: Mutex<StoredProfiles>,
    time: StoreTime,
}

/// The profiles by user, each with the moment at which it was last saved.
type StoredProfiles = HashMap<UserId, (Profile, Timestamp)>;

impl ProfileMemory {
    /// Makes an empty store.
    pub fn new() -> Self {
        ProfileMemory {
            profiles: Mutex::default(),
            time: StoreTime::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, StoredProfiles> {
        // No profile is ever half written, so a panic elsewhere leaves the map intact.
        self.profiles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ProfileMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Profiles for ProfileMemory {
    async fn save(&self, profiles: &[Profile]) -> Result<(), StoreError> {
        let now = self.time.now();
        let mut stored = self.lock();
        for profile in profiles {
            let newer = stored
                .get(&profile.user)
                .is_none_or(|(stored, _)| profile.supersedes(stored));
            if newer {
                stored.insert(profile.user.clone(), (profile.clone(), now));
            }
        }
        Ok(())
    }

    async fn load(&self, users: &[UserId]) -> Result<Vec<Option<Profile>>, StoreError> {
        let stored = self.lock();
        let load = |user| stored.get(user).map(|(profile, _)| profile.clone());
        Ok(users.iter().map(load).collect())
    }

    async fn remove(&self, users: &[UserId]) -> Result<(), StoreError> {
        let mut stored = self.lock();
        for user in users {
            stored.remove(user);
        }
        Ok(())
    }

    async fn unseen(&self, before: Timestamp, max: usize) -> Result<Vec<UserId>, StoreError> {
        let stored = self.lock();
        let unseen = stored
            .values()
            .filter(|(profile, saved_at)| profile.known_at(*saved_at) < before);
        Ok(unseen
            .take(max)
            .map(|(profile, _)| profile.user.clone())
            .collect())
    }
}
