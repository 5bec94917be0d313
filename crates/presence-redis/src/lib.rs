//! The store that nodes share, on Redis: one server, the master of some sentinels, or a cluster, with or without TLS.
//!
//! [`RedisTopics`] is the ports [`Topics`](presence_core::ports::Topics), [`Outbox`](presence_core::ports::Outbox) and
//! [`Revocations`](presence_core::ports::Revocations); [`Settings`] say which Redis. It decides nothing:
//! which write of two wins is said by the core, and done by one script in the same step as the write.
//!
//! A cluster is not left to the driver: that would stop all servers for the time that one is away. Each server has
//! connections of its own, and a map of this crate says which has what.
//!
//! What is stored is described in `docs/data.md`.

mod batch;
mod client;
mod clocks;
mod compare;
mod fault;
mod followed;
mod garbled;
mod hooks;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod hostile;
mod kept;
mod keys;
mod leases;
mod listener;
mod node;
mod notices;
mod outbox;
mod reap;
mod record;
mod report;
mod revocations;
mod script;
mod settings;
mod shards;
mod survey;
mod topics;

pub use self::batch::{BYTES_PER_SCRIPT_MAX, OPS_PER_SCRIPT_MAX};
pub use self::node::IN_FLIGHT_KIB_MAX;
pub use self::notices::NOTICES_BYTES_MAX;
pub use self::outbox::ROWS_PER_SCRIPT_MAX;
pub use self::reap::REAPED_PER_SHARD_MAX;
pub use self::revocations::REVOKED_PER_SCRIPT_MAX;
pub use self::settings::{
    CONNECTIONS_MAX, PREFIX, Parts, Settings, SettingsError, TIMEOUT, TIMEOUT_MAX,
};
pub use self::topics::{ConnectError, READING_MAX, RedisTopics};

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
