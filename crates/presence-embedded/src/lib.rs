//! The ports of Presence in one process: nothing to install, nothing to connect to.
//!
//! - [`ProfileFile`] keeps profiles in one database file. What it has acknowledged is on the disk.
//! - [`ProfileMemory`] keeps them in memory, for tests and for running without a data directory.
//! - [`conformance`] is the contract of the ports as a suite. Every adapter and every wrapper of one runs it.
//!
//! ```
//! use presence_core::ports::Profiles;
//! use presence_core::{Profile, UserId};
//! use presence_embedded::ProfileFile;
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let profiles = ProfileFile::open(directory.join("profiles.redb"))?;
//! let ann = UserId::new("ann")?;
//! profiles.save(&[Profile::new(ann.clone())]).await?;
//! assert!(profiles.load(&[ann]).await?[0].is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod file;
mod memory;
mod record;

pub mod conformance;

pub use file::{
    CACHE_BYTES_MAX, LOADS_MAX, OpenError, PROFILES_PER_COMMIT, ProfileFile, SAVES_MAX,
};
pub use memory::ProfileMemory;
