//! Presence on tokio: the state machines of [`presence_core`] with a clock, mailboxes, and a bounded queue
//! for every connection.
//!
//! [`Hub`] is a whole node inside your own server. It does not know sockets: connect a session, report what its person
//! does, and read what the session is told.
//!
//! ```
#![doc = include_str!("../examples/embed.rs")]
//! ```
//!
//! Users are spread over shards by user id, and channels and workspaces by name. Each shard is one task that owns its
//! part of the state and handles messages. Entries go from users to rosters, and events from rosters to send queues.
//! Nothing goes back, so no two shards can wait for each other.

mod backlog;
mod clock;
mod counters;
mod delivery;
mod explain;
mod guarded;
mod histogram;
mod holding;
mod hook_counters;
mod hooks;
mod hub;
mod lease;
mod link;
mod listening;
mod mailbox;
mod padding;
mod pending;
mod profile_writer;
mod program;
mod pulse;
mod retention;
mod roster_shard;
mod router;
mod save_outcomes;
mod send_queue;
mod session;
mod session_journal;
mod shards;
mod shared_event;
mod store_worker;
mod sweeper;
mod tasks;
mod user_shard;

pub use presence_core;

pub use clock::WallClock;
pub use counters::{Counters, Counts, Measured};
pub use delivery::{Delivery, Ended, Reference};
pub use explain::ANSWERED_WITHIN;
pub use histogram::{Buckets, Histogram};
pub use hook_counters::HookCounters;
pub use hub::{ConnectRequest, Hub, MailboxDepth, Settings};
pub use mailbox::Occupied;
pub use program::Program;
pub use session::{Budget, Busy, COMMANDS_WAITING_MAX, Commander, Reader, Session, Watches};
pub use shared_event::{ENCODINGS_MAX, SharedEvent};

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
