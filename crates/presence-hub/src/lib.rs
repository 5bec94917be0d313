//! Presence on tokio: the machines of [`presence_core`], a clock, mailboxes, and a bounded queue to every watcher.
//!
//! [`Hub`] is a whole node inside your own server. It knows no sockets: connect a session, tell it what its person does,
//! and read what it is told.
//!
//! ```
#![doc = include_str!("../examples/embed.rs")]
//! ```
//!
//! Users are shared out over shards by user id, channels and workspaces by their name; each shard is one task that owns its
//! part of the state and answers messages. What users write goes to rosters, what rosters tell goes to outboxes, and nothing
//! goes back, so no two can wait for each other.

mod backlog;
mod clock;
mod counters;
mod guarded;
mod hooks;
mod hub;
mod keeper;
mod lease;
mod link;
mod memory;
mod outbox;
mod pending;
mod people;
mod places;
mod pulse;
mod retention;
mod session;
mod shards;
mod sweeper;
mod tasks;
mod told;

pub use clock::Clock;
pub use counters::{Counters, Counts};
pub use hooks::HookCounters;
pub use hub::{Entry, Hub, Settings};
pub use outbox::Ended;
pub use places::Occupied;
pub use session::{Busy, Delivery, Reference, Session};
pub use told::{DIALECTS_MAX, Told};
