//! The sessions of a node that is alone, in files, for the process that comes after this one.
//!
//! ```text
//! sessions/lock            held as long as a process uses the folder
//! sessions/7/alive         when process 7 was last alive
//! sessions/7/3-2.journal   what it noted of part 3, after it rewrote that twice
//! ```
//!
//! A journal is only ever appended to, with one `write` for all that happened at once and without `fsync`: what is written is in
//! the page cache, so it outlives the process and not the machine.

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
use presence_core::ports::{Note, Recalled, Sessions};

use self::alive::{Alive, Moment};
use self::part::Part;

pub use self::part::{PART_BYTES_MAX, REWRITE_BYTES_LEAST};

/// Why the sessions cannot be kept in a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionsError {
    /// Another process keeps its sessions there.
    #[error("{} is in use by another process: give this one a data directory of its own", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// Anything that the system said.
    #[error("sessions cannot be kept in {}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What the process before has left.
#[derive(Debug, Default)]
pub struct Left {
    /// Its sessions.
    pub sessions: Vec<Recalled>,
    /// For how long nobody has been there; nothing, if there was no process before, or nobody can say.
    pub away: Option<Duration>,
    /// What the clock of its node said at its end.
    pub ended_at: Timestamp,
    /// Journals of which a part could not be read.
    pub garbled: usize,
}

/// Keeps sessions in a folder. See [`Sessions`].
///
/// A part is at most [`PART_BYTES_MAX`] bytes, twice that on the disk: a larger one is forgotten as a whole.
#[derive(Debug)]
pub struct SessionFiles {
    folder: PathBuf,
    /// The folder of this process.
    own: PathBuf,
    /// Those of processes before.
    earlier: Vec<PathBuf>,
    parts: Vec<Mutex<Part>>,
    alive: Mutex<Option<Alive>>,
    /// Held until the end of the process.
    _lock: File,
}

impl SessionFiles {
    /// Opens `folder`, which is made if it is not there, for as many `parts`; and reads what the process before has left.
    ///
    /// # Errors
    ///
    /// The folder is in use, or cannot be made, read or written.
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

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Which parts of it cannot be written, or are too large.
    pub fn forgotten(&self) -> usize {
        let forgotten = |part: &&Mutex<Part>| lock(part).is_forgotten();
        self.parts.iter().filter(forgotten).count()
    }
}

impl Sessions for SessionFiles {
    fn note(&self, part: usize, notes: &[Note]) -> bool {
        let Some(part) = self.parts.get(part) else {
            return false;
        };
        lock(part).note(notes)
    }

    fn rewrite(&self, part: usize, notes: &[Note]) {
        if let Some(part) = self.parts.get(part) {
            lock(part).rewrite(notes);
        }
    }

    fn alive(&self, now: Timestamp) {
        let mut alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner);
        let again = match alive.take() {
            Some(alive) => Ok(alive),
            None => Alive::create(&self.own),
        };
        // Without it nothing is recalled. It is tried again the next time.
        *alive = again.and_then(|it| it.note(now).map(|()| it)).ok();
    }

    fn forget_earlier(&self) {
        for folder in &self.earlier {
            // What cannot be removed is too old to be recalled by the time it matters.
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn lock(part: &Mutex<Part>) -> std::sync::MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What people say of themselves is in it: nobody else may read that.
fn make_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests;
