//! The journal of one part of the sessions.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use presence_core::ports::SessionChange;

use super::format::{self, MAGIC};

/// The most that is kept of one part, in bytes. It may take twice that on the disk until it is rewritten.
pub const PART_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A journal is rewritten once as much has been appended as it had after the last rewrite, and at least
/// this many bytes.
pub const REWRITE_BYTES_LEAST: usize = 1024 * 1024;

/// The journal of one part of the sessions.
#[derive(Debug)]
pub(super) struct Part {
    folder: PathBuf,
    number: usize,
    rewrites: u64,
    journal: State,
    bytes_max: usize,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Nothing has been stored yet.
    Empty,
    Open {
        file: File,
        path: PathBuf,
        /// The size after the last rewrite, and what was appended since, in bytes.
        bytes: usize,
        appended: usize,
    },
    /// It could not be written, or was too large. It has no file until `unsaid`, the bytes noted
    /// since, reaches [`REWRITE_BYTES_LEAST`].
    Forgotten { unsaid: usize },
}

impl Part {
    pub(super) fn new(folder: &Path, number: usize) -> Part {
        Part {
            folder: folder.to_owned(),
            number,
            rewrites: 0,
            journal: State::Empty,
            bytes_max: PART_BYTES_MAX,
            buffer: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn with_bytes_max(self, bytes_max: usize) -> Part {
        Part { bytes_max, ..self }
    }

    pub(super) fn is_forgotten(&self) -> bool {
        matches!(self.journal, State::Forgotten { .. })
    }

    /// Appends `changes`. Returns whether it is time to rewrite the journal.
    pub(super) fn append(&mut self, changes: &[SessionChange]) -> bool {
        self.buffer.clear();
        changes
            .iter()
            .for_each(|it| format::write(it, &mut self.buffer));
        if let State::Empty = self.journal {
            self.create(0);
        }
        let more = self.buffer.len();
        match &mut self.journal {
            State::Open {
                file,
                bytes,
                appended,
                ..
            } => {
                if file.write_all(&self.buffer).is_err() {
                    self.forget();
                    return false;
                }
                *appended += more;
                *appended >= (*bytes).max(REWRITE_BYTES_LEAST)
            }
            State::Forgotten { unsaid } => {
                *unsaid += more;
                *unsaid >= REWRITE_BYTES_LEAST
            }
            State::Empty => false,
        }
    }

    /// Replaces the journal by one of `changes`. The old journal is kept until the new one is complete.
    pub(super) fn rewrite(&mut self, changes: &[SessionChange]) {
        let mut bytes = Vec::new();
        for change in changes {
            format::write(change, &mut bytes);
            if bytes.len() > self.bytes_max {
                return self.forget();
            }
        }
        let before = match &self.journal {
            State::Open { path, .. } => Some(path.clone()),
            State::Empty | State::Forgotten { .. } => None,
        };
        self.create(bytes.len());
        if let State::Open { file, .. } = &mut self.journal
            && file.write_all(&bytes).is_err()
        {
            self.forget();
        }
        if let Some(before) = before {
            let _ = fs::remove_file(before);
        }
    }

    /// Creates a journal that is about to have `bytes` bytes.
    fn create(&mut self, bytes: usize) {
        let path = self
            .folder
            .join(format!("{}-{}.journal", self.number, self.rewrites));
        self.rewrites += 1;
        self.journal = match begin(&path) {
            Ok(file) => State::Open {
                file,
                path,
                bytes,
                appended: 0,
            },
            Err(_) => State::Forgotten { unsaid: 0 },
        };
    }

    /// Removes the journal: it is better to keep nothing than what is no longer true.
    fn forget(&mut self) {
        if let State::Open { path, .. } = &self.journal {
            let _ = fs::remove_file(path);
        }
        self.journal = State::Forgotten { unsaid: 0 };
    }
}

fn begin(path: &Path) -> io::Result<File> {
    let mut file = fs::OpenOptions::new()
        .create_new(true)
        .append(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(MAGIC)?;
    Ok(file)
}
