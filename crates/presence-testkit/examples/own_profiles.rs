//! Your own store of profiles: a folder with a JSON file for each user, and the suite that says whether it keeps the contract.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use presence_core::ports::{Profiles, StoreError};
use presence_core::{Profile, Timestamp, UserId};
use presence_testkit::conformance;
use serde::{Deserialize, Serialize};

/// Runs the suite. A clause that does not hold is a panic which names it.
#[tokio::main]
pub async fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = async || ProfileFolder(Arc::new(Mutex::new(folder.path().to_owned())));
    conformance::durable_profiles(open).await;
    println!("the folder keeps the contract");
}

/// What is in a file.
#[derive(Serialize, Deserialize)]
struct Stored {
    profile: Profile,
    saved_at: Timestamp,
}

/// The folder. It is locked, because a profile is read before it is replaced.
#[derive(Clone)]
struct ProfileFolder(Arc<Mutex<PathBuf>>);

impl Profiles for ProfileFolder {
    async fn save(&self, profiles: &[Profile]) -> Result<(), StoreError> {
        let profiles = profiles.to_vec();
        self.with(move |folder| {
            for profile in profiles {
                // The contract: an older profile is ignored. One that cannot be read is an error, because it may be newer.
                match read(folder, &profile.user)? {
                    Some(stored) if !profile.supersedes(&stored.profile) => {}
                    _ => write(folder, profile).map_err(away)?,
                }
            }
            Ok(())
        })
        .await
    }

    async fn load(&self, users: &[UserId]) -> Result<Vec<Option<Profile>>, StoreError> {
        let users = users.to_vec();
        self.with(move |folder| {
            let load = |user| Ok(read(folder, user)?.map(|it| it.profile));
            users.iter().map(load).collect()
        })
        .await
    }

    async fn remove(&self, users: &[UserId]) -> Result<(), StoreError> {
        let users = users.to_vec();
        self.with(move |folder| {
            for user in users {
                match fs::remove_file(path(folder, &user)) {
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(away(error)),
                    _ => {}
                }
            }
            File::open(folder)
                .and_then(|it| it.sync_all())
                .map_err(away)
        })
        .await
    }

    async fn unseen(&self, before: Timestamp, max: usize) -> Result<Vec<UserId>, StoreError> {
        self.with(move |folder| {
            let files = fs::read_dir(folder).map_err(away)?;
            // A profile that cannot be read is not found.
            let stored = files.filter_map(|file| {
                let text = fs::read(file.ok()?.path()).ok()?;
                serde_json::from_slice::<Stored>(&text).ok()
            });
            let unseen = stored.filter(|it| it.profile.known_at(it.saved_at) < before);
            Ok(unseen.take(max).map(|it| it.profile.user).collect())
        })
        .await
    }
}

impl ProfileFolder {
    /// Files are read and written on a thread that may wait.
    async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let folder = self.0.clone();
        let done = tokio::task::spawn_blocking(move || {
            act(&folder.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.map_err(away)?
    }
}

fn read(folder: &Path, user: &UserId) -> Result<Option<Stored>, StoreError> {
    let path = path(folder, user);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(away)?,
    };
    let stored = serde_json::from_slice(&text);
    stored.map(Some).map_err(|source| StoreError::Corrupt {
        key: path.display().to_string(),
        source: source.into(),
    })
}

/// Writes a file that is there in whole or not at all, whenever the process or the machine ends.
fn write(folder: &Path, profile: Profile) -> io::Result<()> {
    let (path, next) = (path(folder, &profile.user), folder.join("next"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_err(io::Error::other)?.as_millis();
    let saved_at = Timestamp::from_millis(u64::try_from(now).map_err(io::Error::other)?);
    let mut file = File::create(&next)?;
    file.write_all(&serde_json::to_vec(&Stored { profile, saved_at })?)?;
    file.sync_all()?;
    fs::rename(next, path)?;
    File::open(folder)?.sync_all()
}

/// The file of a user. Of the characters that an id may have, only `/` may not stand in the name of a file.
fn path(folder: &Path, user: &UserId) -> PathBuf {
    folder.join(format!("{}.json", user.as_str().replace('/', "!")))
}

/// What may work later.
fn away(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::Unavailable(error.into())
}
