//! The Presence gateway as a library: WebSockets, HTTP API, identity, limits, metrics and the page, on one port.
//!
//! [`Gateway::start`] runs a gateway inside your own process; the `presence-gateway` program does little more.

mod admin;
mod api;
mod app;
mod assets;
mod authorized;
mod cable;
mod callers;
pub mod cli;
pub mod config;
mod connection_list;
mod descriptors;
mod dialect;
mod dialect_name;
pub mod exposure;
mod host;
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
mod native;
mod numbers;
mod origin;
mod out;
mod phoenix;
mod probes;
mod pusher;
mod pusher_names;
mod revoking;
mod router;
mod server;
mod socket;
pub mod traces;
mod upgrade;
mod web_client;
mod webhooks;

// What the dialects have in common with the native protocol, which other servers can speak too.
use presence_native::{closing, frame, rates, request, rows, unanswered};
pub use server::Gateway;

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
