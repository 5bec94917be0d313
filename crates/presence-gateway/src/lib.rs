//! The Presence gateway as a library: WebSockets, HTTP API, identity, limits, metrics and the page, on one port.
//!
//! [`Gateway::start`] runs a gateway inside your own process; the `presence-gateway` program does little more.

mod admin;
mod api;
mod app;
mod assets;
#[path = "../../presence-native/src/authorized.rs"]
mod authorized;
mod cable;
mod callers;
pub mod cli;
#[path = "../../presence-native/src/closing.rs"]
mod closing;
#[path = "../../presence-native/src/color.rs"]
mod color;
pub mod config;
mod descriptors;
mod dialect;
mod dialect_name;
pub mod exposure;
#[path = "../../presence-native/src/frame.rs"]
mod frame;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod hostile;
mod http;
pub mod identity;
mod journal;
mod jwks;
mod listing;
pub mod logs;
mod lost_subscriptions;
mod metrics;
#[path = "../../presence-native/src/connection/mod.rs"]
mod native;
mod numbers;
mod origin;
mod out;
mod phoenix;
mod probes;
mod pusher;
mod pusher_names;
#[path = "../../presence-native/src/rates.rs"]
mod rates;
#[path = "../../presence-native/src/request.rs"]
mod request;
mod revoking;
mod roll;
mod router;
mod server;
mod socket;
pub mod traces;
mod upgrade;
mod web_client;
mod webhooks;

pub use server::Gateway;

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
