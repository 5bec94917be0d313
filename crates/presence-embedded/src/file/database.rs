//! The open database, and how it is reopened after the disk has failed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use presence_core::ports::StoreError;
use redb::TableDefinition;

use super::OpenError;

/// How much of the file redb keeps in memory, in bytes. The operating system keeps more of it if it can.
pub const CACHE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The table of profiles: from user id to record.
pub(super) const PROFILES: TableDefinition<&str, &[u8]> = TableDefinition::new("profiles");

/// The table of revocations: from user id to record.
pub(super) const REVOKED: TableDefinition<&str, &[u8]> = TableDefinition::new("revoked");

/// A database that can be reopened after a failure.
pub(crate) struct Database {
    path: PathBuf,
    state: RwLock<State>,
    reopen: Box<Reopen>,
}

enum State {
    Open(redb::Database, Option<Identity>),
    /// A read or write failed. The next caller reopens the file.
    Failed,
    Closed,
}

/// Identifies a file by what it is and not by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    number: u64,
}

impl Identity {
    /// The identity of the file at `path`, if there is one and this system tells identities.
    #[cfg(unix)]
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).ok()?;
        Some(Identity {
            device: metadata.dev(),
            number: metadata.ino(),
        })
    }

    #[cfg(not(unix))]
    fn of(_: &Path) -> Option<Self> {
        None
    }
}

type Reopen = dyn Fn(&Path) -> Result<redb::Database, OpenError> + Send + Sync;

/// Why a call failed. Every call whose writes were in the failed commit gets it.
#[derive(Clone)]
pub(crate) enum Failure {
    Reopening(Arc<OpenError>),
    Working(Arc<redb::Error>),
}

impl Database {
    /// The database at `path`, which is open as `redb`.
    pub(crate) fn new(
        path: &Path,
        redb: redb::Database,
        reopen: impl Fn(&Path) -> Result<redb::Database, OpenError> + Send + Sync + 'static,
    ) -> Self {
        Database {
            path: path.to_owned(),
            state: RwLock::new(State::Open(redb, Identity::of(path))),
            reopen: Box::new(reopen),
        }
    }

    /// Runs `work` on the open database.
    ///
    /// After one failed read or write redb refuses everything until the file is opened again. It has to: nobody knows
    /// then what is on the disk and what is only in the cache of the operating system.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&redb::Database) -> Result<T, redb::Error>,
    ) -> Result<T, Failure> {
        self.reopen_if_failed()?;
        let result = match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(redb, identity) => match work(redb) {
                // What is written to a file without a name is lost when the process ends.
                Ok(_) if Identity::of(&self.path) != *identity => Err(self.is_gone()),
                done => done,
            },
            State::Failed | State::Closed => Err(redb::Error::DatabaseClosed),
        };
        result.map_err(|error| {
            self.leave(State::Failed);
            Failure::Working(Arc::new(error))
        })
    }

    /// Whether the path still names the file that is open; while none is open, whether there is a file.
    pub(crate) fn is_there(&self) -> bool {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Open(_, identity) => Identity::of(&self.path) == *identity,
            State::Failed | State::Closed => Identity::of(&self.path).is_some(),
        }
    }

    fn is_gone(&self) -> redb::Error {
        let path = self.path.display();
        let what =
            format!("{path} is no longer in its place: bring it back, or restart to begin without");
        redb::Error::Io(io::Error::new(io::ErrorKind::NotFound, what))
    }

    /// Waits until running work has ended, and closes the file.
    pub(crate) fn close(&self) {
        self.leave(State::Closed);
    }

    fn reopen_if_failed(&self) -> Result<(), Failure> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*state, State::Failed) {
            return Ok(());
        }
        drop(state);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Failed) {
            let redb = (self.reopen)(&self.path);
            let redb = redb.map_err(|error| Failure::Reopening(Arc::new(error)))?;
            *state = State::Open(redb, Identity::of(&self.path));
        }
        Ok(())
    }

    fn leave(&self, next: State) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*state, State::Closed) {
            *state = next;
        }
    }
}

impl Failure {
    /// Converts the failure to the error of the port.
    pub(crate) fn store_error(self) -> StoreError {
        match self {
            Failure::Reopening(error) if matches!(*error, OpenError::Corrupt { .. }) => {
                StoreError::Corrupt {
                    key: "profiles".into(),
                    source: Box::new(error),
                }
            }
            failure => failure.unavailable(),
        }
    }

    /// The same for a store whose content is never an error of the port.
    pub(crate) fn unavailable(self) -> StoreError {
        match self {
            Failure::Reopening(error) => StoreError::Unavailable(Box::new(error)),
            // This includes what redb calls corrupt: a commit that failed half-way looks corrupt until the file is
            // reopened. If reopening does not help, the error is `Reopening`.
            Failure::Working(error) => StoreError::Unavailable(Box::new(error)),
        }
    }
}
