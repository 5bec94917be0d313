//! The ports of Presence in one process: there is nothing to install, and nothing to connect to.
//!
//! - [`ProfileFile`] keeps profiles, and the list of users whose older tokens are refused, in one database file. What it has
//!   acknowledged is on the disk.
//! - [`ProfileMemory`] and [`RevocationMemory`] keep them in memory, for tests and for running without a data directory.
//! - [`SessionFiles`] keeps the sessions of a single node, so that the next process of that node can continue them.
//! - [`WebhookStore`] keeps the webhook events of a single node until they are delivered, in a file or in memory.
//! - [`TopicMemory`] is the store that nodes share: all that a single node needs, and a whole cluster in a test. A test can
//!   make it fail.
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
//!
//! Two nodes on one store. One receives what the other sends:
//!
//! ```
//! use presence_core::cluster::{Ephemeral, Subject};
//! use presence_core::ports::{Notice, Topics};
//! use presence_core::{ChannelId, Topic};
//! use presence_embedded::TopicMemory;
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let store = TopicMemory::new();
//! let (here, there) = (store.connect(), store.connect());
//! let room = Subject::Topic(Topic::Channel(ChannelId::new("room:42")?));
//! there.follow(&[room.clone()]).await;
//! here.send_ephemeral(&[(room.clone(), vec![Ephemeral::Kicked])]).await;
//! assert_eq!(there.next().await, Notice::Ephemeral(room, vec![Ephemeral::Kicked]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod file;
mod memory;
mod record;
mod revocations;
mod sessions;
mod time;
mod topics;
mod webhooks;

pub use file::{
    CACHE_BYTES_MAX, LOADS_MAX, OpenError, PROFILES_PER_COMMIT, ProfileFile, SAVES_MAX,
};
pub use memory::ProfileMemory;
pub use revocations::RevocationMemory;
pub use sessions::{Left, PART_BYTES_MAX, REWRITE_BYTES_LEAST, SessionFiles, SessionsError};
pub use topics::{NOTICES_MAX, REAPED_MAX, RECENT, TopicLink, TopicMemory};
pub use webhooks::{ROWS_PER_PARTITION_MAX, WebhookStore, WebhooksFound};

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
