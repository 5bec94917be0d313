//! Opens the file, and sorts what can go wrong by what to do about it.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::database::{CACHE_BYTES_MAX, PROFILES, REVOKED};

/// Why a file of profiles cannot be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another part of this one, has the file open.
    #[error("{} is in use: end the process that has it open, or give this one a data directory of its own", path.display())]
    InUse {
        /// The path of the file.
        path: PathBuf,
    },
    /// The user of this process may not read and write the file.
    #[error("{} may not be read and written: give it, and the directory it is in, to the user this runs as", path.display())]
    Permission {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The content of the file is damaged, or is not a database of profiles.
    #[error("{} is damaged, or is not a file of profiles: bring it back from a backup, or move it away to start with none", path.display())]
    Corrupt {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with the content.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Any other error of the operating system.
    #[error("{} cannot be opened: see that its place is a file, and on a disk that is there and not full", path.display())]
    Io {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                OpenError::Permission { path, source }
            }
            // The file is not one of redb's, or a part of it is missing.
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => OpenError::Corrupt {
                path,
                source: source.into(),
            },
            _ => OpenError::Io { path, source },
        }
    }

    pub(crate) fn of(path: &Path, error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                let path = path.to_owned();
                OpenError::InUse { path }
            }
            redb::Error::Io(source) => OpenError::io(path, source),
            source => OpenError::Corrupt {
                path: path.to_owned(),
                source: source.into(),
            },
        }
    }
}

/// Creates the tables of a file.
pub(crate) type Tables = fn(&redb::WriteTransaction) -> Result<(), redb::Error>;

/// The tables of a file of profiles. Reading a table that does not exist is an error, so both are created.
pub(super) fn tables(creation: &redb::WriteTransaction) -> Result<(), redb::Error> {
    creation.open_table(PROFILES)?;
    creation.open_table(REVOKED)?;
    Ok(())
}

/// Opens the file at `path`, and creates it with its `tables` if it does not exist.
pub(crate) fn create(path: &Path, tables: Tables) -> Result<redb::Database, OpenError> {
    let directory = directory_of(path);
    create_directory(directory).map_err(|source| OpenError::io(path, source))?;
    let redb = created(path, tables).map_err(|error| OpenError::of(path, error))?;
    sync_directory(directory).map_err(|source| OpenError::io(path, source))?;
    Ok(redb)
}

/// Opens the file at `path`, which existed before. A disk that has gone must not be taken for a fresh start.
pub(crate) fn reopen(path: &Path) -> Result<redb::Database, OpenError> {
    builder()
        .open(path)
        .map_err(|error| OpenError::of(path, error.into()))
}

fn created(path: &Path, tables: Tables) -> Result<redb::Database, redb::Error> {
    let redb = builder().create(path)?;
    let creation = redb.begin_write()?;
    tables(&creation)?;
    creation.commit()?;
    Ok(redb)
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder
        .set_cache_size(CACHE_BYTES_MAX)
        // An error at the start is better than a panic at the first damaged page.
        .set_check_integrity_on_open(true);
    builder
}

fn create_directory(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    let above = directory_of(directory);
    create_directory(above)?;
    match fs::create_dir(directory) {
        // Another process was faster.
        Err(_) if directory.is_dir() => {}
        created => created?,
    }
    sync_directory(above)
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Syncs a directory. A sync of a new file makes its bytes safe, but not its name, which is in the directory.
fn sync_directory(directory: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(directory)?.sync_all() {
        // Some network file systems cannot sync directories.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_do() {
        let said = |kind: io::ErrorKind| {
            let error = redb::Error::Io(kind.into());
            OpenError::of(Path::new("/data/profiles.redb"), error).to_string()
        };
        assert_eq!(
            said(io::ErrorKind::PermissionDenied),
            "/data/profiles.redb may not be read and written: give it, and the directory it is in, to the user this runs as"
        );
        assert_eq!(
            said(io::ErrorKind::StorageFull),
            "/data/profiles.redb cannot be opened: see that its place is a file, and on a disk that is there and not full"
        );
    }
}
