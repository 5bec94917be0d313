//! Keeps the sessions of a single node in files, so that its next process can continue them.
//!
//! ```text
//! sessions/lock            held as long as a process uses the folder
//! sessions/7/alive         when process 7 was last alive
//! sessions/7/3-2.journal   what it stored of part 3, after it rewrote that twice
//! ```
//!
//! A journal is only appended to, with one `write` for everything that happened at once and without `fsync`. What is written is
//! in the page cache, so it survives the end of the process but not a crash of the machine.

mod alive;
mod format;
mod part;
mod recall;

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use presence_core::Timestamp;
use presence_core::ports::{Recalled, SessionChange, Sessions};

use self::alive::{Alive, Moment};
use self::part::Part;

pub use self::part::{PART_BYTES_MAX, REWRITE_BYTES_LEAST};

/// Why the sessions cannot be kept in a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionsError {
    /// Another process keeps its sessions in the folder.
    #[error("{} is in use by another process: give this one a data directory of its own", path.display())]
    InUse {
        /// The path of the folder.
        path: PathBuf,
    },
    /// Any other error of the operating system.
    #[error("sessions cannot be kept in {}: {source}", path.display())]
    Io {
        /// The path of the folder.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// What earlier processes have left.
#[derive(Debug, Default)]
pub struct Left {
    /// The sessions that the last process had at its end.
    pub sessions: Vec<Recalled>,
    /// How long ago the last process ended; `None` if there was none, or if nobody can say.
    pub away: Option<Duration>,
    /// The time of that process's clock at its end.
    pub ended_at: Timestamp,
    /// How many journals had a part that could not be read.
    pub garbled: usize,
}

/// Keeps sessions in a folder. It implements [`Sessions`].
///
/// A part has at most [`PART_BYTES_MAX`] bytes, and twice that on the disk. A larger part is forgotten as a whole.
#[derive(Debug)]
pub struct SessionFiles {
    folder: PathBuf,
    /// The folder of this process, inside `folder`.
    own: PathBuf,
    /// The folders of earlier processes, inside `folder`.
    earlier: Vec<PathBuf>,
    parts: Vec<Mutex<Part>>,
    alive: Mutex<Option<Alive>>,
    /// The lock on `folder`, held until the end of the process.
    _lock: File,
}

impl SessionFiles {
    /// Opens `folder` for this many `parts`, and reads what earlier processes have left. Creates the folder if it
    /// does not exist.
    ///
    /// # Errors
    ///
    /// Fails if another process uses the folder, or if it cannot be created, read or written.
    pub fn open(folder: &Path, parts: usize) -> Result<(SessionFiles, Left), SessionsError> {
        let failed = |source| SessionsError::Io {
            path: folder.to_owned(),
            source,
        };
        make_folder(folder).map_err(failed)?;
        let lock = File::create(folder.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let path = folder.to_owned();
                return Err(SessionsError::InUse { path });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let earlier = recall::processes_in(folder).map_err(failed)?;
        let left = recall::recall(&earlier, &Moment::now());
        let number = earlier.last().map_or(1, |(number, _)| number + 1);
        let own = folder.join(number.to_string());
        make_folder(&own).map_err(failed)?;
        let files = SessionFiles {
            folder: folder.to_owned(),
            parts: (0..parts)
                .map(|it| Mutex::new(Part::new(&own, it)))
                .collect(),
            alive: Mutex::new(Some(Alive::create(&own).map_err(failed)?)),
            earlier: earlier.into_iter().map(|(_, path)| path).collect(),
            own,
            _lock: lock,
        };
        Ok((files, left))
    }

    /// The folder that [`open`](Self::open) was given.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// How many parts are not kept, because they cannot be written or are too large.
    pub fn forgotten(&self) -> usize {
        let forgotten = |part: &&Mutex<Part>| lock(part).is_forgotten();
        self.parts.iter().filter(forgotten).count()
    }
}

impl Sessions for SessionFiles {
    fn append(&self, part: usize, changes: &[SessionChange]) -> bool {
        let Some(part) = self.parts.get(part) else {
            return false;
        };
        lock(part).append(changes)
    }

    fn rewrite(&self, part: usize, changes: &[SessionChange]) {
        if let Some(part) = self.parts.get(part) {
            lock(part).rewrite(changes);
        }
    }

    fn alive(&self, now: Timestamp) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let again = match alive.take() {
            Some(alive) => Ok(alive),
            None => Alive::create(&self.own),
        };
        // Without this record nothing would be recalled, so the next call tries again.
        *alive = again.and_then(|it| it.note(now).map(|()| it)).ok();
    }

    fn forget_earlier(&self) {
        for folder in &self.earlier {
            // A folder that cannot be removed is too old to be recalled by the time it matters.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn lock(part: &Mutex<Part>) -> std::sync::MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Creates a folder that only its owner may read: it has what people say about themselves.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests;
