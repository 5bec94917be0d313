//! Servers of our own, for chores and tests: Redis in three shapes, MongoDB, gateways, a network to break between them.
//!
//! ```no_run
//! use presence_testkit::redis::{Redis, Settings, Topology};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut redis = Redis::start("target/my-test".as_ref(), &Settings::of(Topology::Cluster))?;
//! println!("{}", redis.url());
//! redis.flush_all()?;
//! # Ok(())
//! # }
//! ```
//!
//! Whatever is started here ends with the value that stands for it, and on Linux with our process, however that ends.

#[cfg(feature = "conformance")]
pub mod conformance;

pub mod cluster;

pub mod gateway;
pub mod mongo;
pub mod proxy;
pub mod redis;

pub mod folder;
pub mod http;
pub mod ports;
pub mod process;
pub mod pulse;
pub mod wait;

pub mod run;
pub mod tools;
pub mod workspace;

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
