//! A folder that is gone when we are done.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A folder for one run. Dropping it removes it with all that is in it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Folder {
    /// Makes it, empty.
    ///
    /// # Errors
    ///
    /// It cannot be emptied or made.
    pub fn empty(path: PathBuf) -> Result<Folder> {
        let emptied = match fs::remove_dir_all(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        };
        emptied.with_context(|| format!("cannot empty {}", path.display()))?;
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Folder {
            path,
            is_kept: false,
        })
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it there, so that somebody can look at what happened.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            // Too late to complain.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
