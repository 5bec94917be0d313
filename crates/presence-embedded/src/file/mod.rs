//! Profiles, and the list of users whose older tokens are refused, in one database file.

pub(crate) mod database;
pub(crate) mod open;
mod revoked;
mod writer;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::{self, JoinHandle};

use presence_core::ports::{Profiles, StoreError};
use presence_core::{Profile, Timestamp, UserId};
use redb::{ReadableDatabase, ReadableTable};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::database::{Database, Failure, PROFILES};
use self::writer::{What, Write};
use crate::record;
use crate::time::StoreTime;

pub use self::database::CACHE_BYTES_MAX;
pub use self::open::OpenError;
pub use self::writer::PROFILES_PER_COMMIT;

/// How many calls of [`save`](Profiles::save) and [`remove`](Profiles::remove) may wait for the disk. The next one waits
/// until one of them is done.
pub const SAVES_MAX: usize = 1024;
/// How many calls of [`load`](Profiles::load) and [`unseen`](Profiles::unseen) read at once, each on a thread of its own.
/// The next one waits until one of them is done.
pub const LOADS_MAX: usize = 4;

/// Keeps profiles in one database file, and beside them the list of users whose older tokens are refused.
///
/// A thread writes all waiting calls in one commit, and acknowledges them when the commit is on the disk. A call that
/// is alone waits for one sync; a thousand calls at once wait for a few. A call is written even if its caller has gone.
///
/// Loads run on tokio's threads for blocking work, so they need its runtime. Reading from memory takes a microsecond,
/// less than handing over to another thread, but a read from a slow disk would block every connection of the calling
/// thread. A load of many users is handed over once. `unseen` scans the file until it has found enough: it is called
/// seldom, and an index would have to be written with every save.
///
/// After an error of the disk, such as a full one, the file is closed. The next call reopens it.
///
/// Dropping it waits for the writing thread: waiting calls are written and the file is closed, so it
/// can be opened again.
pub struct ProfileFile {
    database: Arc<Database>,
    loads: Arc<Semaphore>,
    time: StoreTime,
    /// The version of the list of revoked users. It is made of the time, so it differs after the file was opened again.
    revoked_version: AtomicU64,
    /// `None` once it is being dropped: that ends the writing thread.
    writes: Option<mpsc::Sender<Write>>,
    writer: Option<JoinHandle<()>>,
}

impl ProfileFile {
    /// Opens the file at `path`. The file and the directories above it are created if they are not there.
    ///
    /// Opening checks the whole file, which takes a tenth of a second for a million users on a fast disk. Opening and
    /// dropping block the thread, so do both at the start and the end of a program only.
    ///
    /// # Errors
    ///
    /// The error says what to do about it. No profile has changed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let redb = open::create(path, open::tables)?;
        let database = Database::new(path, redb, open::reopen);
        Self::start(database).map_err(|source| OpenError::io(path, source))
    }

    /// Whether the file is still in its place. If it is not, every call fails until the file is back, because a disk that has
    /// gone must not be taken for a fresh start.
    pub fn is_there(&self) -> bool {
        self.database.is_there()
    }

    fn start(database: Database) -> io::Result<Self> {
        let database = Arc::new(database);
        let (writes, waiting) = mpsc::channel(SAVES_MAX);
        let writer = thread::Builder::new().name("profiles".into()).spawn({
            let database = Arc::clone(&database);
            move || writer::run(&database, waiting)
        })?;
        let time = StoreTime::new();
        Ok(ProfileFile {
            database,
            loads: Arc::new(Semaphore::new(LOADS_MAX)),
            revoked_version: AtomicU64::new(time.now_us()),
            time,
            writes: Some(writes),
            writer: Some(writer),
        })
    }

    /// Returns when the writing thread has committed `what` to the disk.
    async fn write(&self, what: What) -> writer::Outcome {
        let writes = self.writes.as_ref().ok_or_else(writer_ended)?;
        let (done, outcome) = oneshot::channel();
        let write = Write { what, done };
        writes.send(write).await.map_err(|_| writer_ended())?;
        outcome.await.map_err(|_| writer_ended())?
    }

    /// Runs a read on a blocking thread, when one of [`LOADS_MAX`] permits is free.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = Arc::clone(&self.loads).acquire_owned().await;
        let database = Arc::clone(&self.database);
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read(&database)
        });
        // The task fails if it panics, or if the runtime is being shut down.
        let unavailable = |error| Err(StoreError::Unavailable(Box::new(error)));
        reading.await.unwrap_or_else(unavailable)
    }
}

impl Profiles for ProfileFile {
    async fn save(&self, profiles: &[Profile]) -> Result<(), StoreError> {
        if profiles.is_empty() {
            return Ok(());
        }
        let what = What::Save(profiles.to_vec(), self.time.now());
        self.write(what).await.map(drop)
    }

    async fn load(&self, users: &[UserId]) -> Result<Vec<Option<Profile>>, StoreError> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let users = users.to_vec();
        self.read(move |database| load(database, &users)).await
    }

    async fn remove(&self, users: &[UserId]) -> Result<(), StoreError> {
        if users.is_empty() {
            return Ok(());
        }
        self.write(What::Remove(users.to_vec())).await.map(drop)
    }

    async fn unseen(&self, before: Timestamp, max: usize) -> Result<Vec<UserId>, StoreError> {
        self.read(move |database| unseen(database, before, max))
            .await
    }
}

impl Drop for ProfileFile {
    fn drop(&mut self) {
        self.writes = None;
        if let Some(writer) = self.writer.take() {
            // If the thread has panicked, the panic was reported there, and its callers got an error.
            let _ = writer.join();
        }
        self.database.close();
    }
}

fn load(database: &Database, users: &[UserId]) -> Result<Vec<Option<Profile>>, StoreError> {
    let read = database.with(|redb| {
        let table = redb.begin_read()?.open_table(PROFILES)?;
        let mut records = Vec::with_capacity(users.len());
        for user in users {
            let stored = table.get(user.as_str())?;
            records.push(stored.map(|bytes| decode(user, bytes.value())).transpose());
        }
        Ok(records)
    });
    let records = read.map_err(Failure::store_error)?;
    let profile = |record: Result<Option<(Profile, _)>, _>| {
        record.map(|record| record.map(|(profile, _)| profile))
    };
    records.into_iter().map(profile).collect()
}

fn unseen(database: &Database, before: Timestamp, max: usize) -> Result<Vec<UserId>, StoreError> {
    let read = database.with(|redb| {
        let table = redb.begin_read()?.open_table(PROFILES)?;
        let mut unseen = Vec::new();
        for entry in table.iter()? {
            if unseen.len() == max {
                break;
            }
            let (key, bytes) = entry?;
            let Ok(user) = UserId::new(key.value()) else {
                continue;
            };
            if let Ok((profile, Some(saved_at))) = decode(&user, bytes.value())
                && profile.known_at(saved_at) < before
            {
                unseen.push(user);
            }
        }
        Ok(unseen)
    });
    read.map_err(Failure::store_error)
}

/// Decodes the stored `bytes` of the profile of `user`, and the time at which it was saved if they have it.
fn decode(user: &UserId, bytes: &[u8]) -> Result<(Profile, Option<Timestamp>), StoreError> {
    record::decode(user, bytes).map_err(|source| StoreError::Corrupt {
        key: format!("profiles/{user}"),
        source: source.into(),
    })
}

fn writer_ended() -> StoreError {
    StoreError::Unavailable("the thread that writes profiles has ended".into())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::atomic::{AtomicBool, Ordering};

    use redb::StorageBackend;
    use redb::backends::FileBackend;

    use super::*;

    #[tokio::test]
    async fn after_the_disk_was_full_saves_go_through_again_and_nothing_is_lost() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("profiles.redb");
        let full = Arc::new(AtomicBool::new(false));
        let file = open_on_a_disk_that_fills(&path, &full);

        file.save(&[ann(1)]).await.unwrap();
        full.store(true, Ordering::SeqCst);
        for _ in 0..2 {
            let error = file.save(&[ann(2)]).await.unwrap_err();
            assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        }
        full.store(false, Ordering::SeqCst);
        assert_eq!(revision(&file).await, 1);
        file.save(&[ann(3)]).await.unwrap();
        assert_eq!(revision(&file).await, 3);
    }

    #[tokio::test]
    async fn a_record_of_a_later_release_is_refused_and_left_alone_and_the_others_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("profiles.redb");
        let later: &[u8] = &[2, 0, 0];
        let redb = open::create(&path, open::tables).unwrap();
        let transaction = redb.begin_write().unwrap();
        let mut table = transaction.open_table(PROFILES).unwrap();
        table.insert("ann", later).unwrap();
        drop(table);
        transaction.commit().unwrap();
        drop(redb);

        let file = ProfileFile::open(&path).unwrap();
        let bob = Profile::new(UserId::new("bob").unwrap());
        for error in [
            file.save(&[ann(9), bob.clone()]).await.unwrap_err(),
            file.load(&[ann(9).user]).await.unwrap_err(),
        ] {
            let StoreError::Corrupt { key, source } = error else {
                panic!("{error:?}");
            };
            assert_eq!(key, "profiles/ann");
            assert!(source.to_string().contains("later release"), "{source}");
        }
        let loaded = file.load(std::slice::from_ref(&bob.user)).await.unwrap();
        assert_eq!(loaded, [Some(bob)]);
        drop(file);

        let redb = open::create(&path, open::tables).unwrap();
        let table = redb.begin_read().unwrap().open_table(PROFILES).unwrap();
        assert_eq!(table.get("ann").unwrap().unwrap().value(), later);
    }

    async fn revision(file: &ProfileFile) -> u64 {
        let loaded = file.load(&[ann(0).user]).await.unwrap();
        loaded[0].as_ref().unwrap().status.revision
    }

    fn ann(revision: u64) -> Profile {
        let mut ann = Profile::new(UserId::new("ann").unwrap());
        ann.status.revision = revision;
        ann
    }

    /// A file whose writes fail while `full`.
    fn open_on_a_disk_that_fills(path: &Path, full: &Arc<AtomicBool>) -> ProfileFile {
        drop(open::create(path, open::tables).unwrap());
        let full = Arc::clone(full);
        let open = move |path: &Path| {
            let file = File::options().read(true).write(true).open(path).unwrap();
            let disk = Disk {
                file: FileBackend::new(file).unwrap(),
                full: Arc::clone(&full),
            };
            let redb = redb::Builder::new().create_with_backend(disk);
            redb.map_err(|error| OpenError::of(path, error.into()))
        };
        let redb = open(path).unwrap();
        ProfileFile::start(Database::new(path, redb, open)).unwrap()
    }

    #[derive(Debug)]
    struct Disk {
        file: FileBackend,
        full: Arc<AtomicBool>,
    }

    impl Disk {
        fn check(&self) -> io::Result<()> {
            match self.full.load(Ordering::SeqCst) {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => Ok(()),
            }
        }
    }

    impl StorageBackend for Disk {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            self.check()?;
            self.file.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.check()?;
            self.file.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.check()?;
            self.file.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.file.close()
        }
    }
}
