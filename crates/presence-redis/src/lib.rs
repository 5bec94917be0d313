//! The shared store of several nodes, on Redis: a single server, the master behind Sentinel, or a cluster, with
//! or without TLS.
//!
//! [`RedisTopics`] implements the ports [`Topics`](presence_core::ports::Topics),
//! [`Outbox`](presence_core::ports::Outbox), [`Hooks`](presence_core::ports::Hooks) and
//! [`Revocations`](presence_core::ports::Revocations). [`Settings`] name the Redis to use. The adapter decides nothing:
//! the core defines which of two writes wins, and one script applies that in the same step as the write.
//!
//! This crate does not leave a cluster to the driver, which would stop all servers while one is not available. Each
//! server has connections of its own, and this crate keeps the map of which server has which slots.
//!
//! `docs/data.md` describes what is stored.

mod batch;
mod client;
mod clocks;
mod compare;
mod fault;
mod followed;
mod garbled;
mod goodbyes;
mod hooks;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod hostile;
mod kept;
mod keys;
mod leases;
mod listener;
mod listing;
mod node;
mod notices;
mod outbox;
mod partitions;
mod reap;
mod record;
mod report;
mod revocations;
mod script;
mod settings;
mod survey;
mod topics;

pub use self::batch::{BYTES_PER_SCRIPT_MAX, OPS_PER_SCRIPT_MAX};
pub use self::goodbyes::{GOODBYE_KEPT, Goodbye};
pub use self::listing::LISTED_CHANNELS_MAX;
pub use self::node::IN_FLIGHT_KIB_MAX;
pub use self::notices::NOTICES_BYTES_MAX;
pub use self::outbox::ROWS_PER_SCRIPT_MAX;
pub use self::reap::REAPED_PER_PARTITION_MAX;
pub use self::revocations::REVOKED_PER_SCRIPT_MAX;
pub use self::settings::{
    CONNECTIONS_MAX, PREFIX, Parts, Settings, SettingsError, TIMEOUT, TIMEOUT_MAX,
};
pub use self::topics::{ConnectError, READING_MAX, RedisTopics};

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
