//! The native protocol of Presence for your own server: whatever upgrades a WebSocket can serve `presence.js` and the other
//! clients of Presence.
//!
//! [`Server::serve`] runs one connection. It takes an upgraded WebSocket, which is a stream and a sink of messages; what the
//! client says in its [`Handshake`]; and the [`Identity`] that your server gives it. It does the rest on a
//! [`Hub`](presence_hub::Hub): frames in JSON and in binary, checks of every value, [`Rates`], resume tokens, heartbeats, fresh tokens,
//! slow readers and close codes.
//!
#![cfg_attr(feature = "axum", doc = "```no_run")]
#![cfg_attr(feature = "axum", doc = include_str!("../examples/axum.rs"))]
#![cfg_attr(feature = "axum", doc = "```")]
//!
//!
//! # How it is cut
//!
//! A gateway and your server share everything that is the protocol, and differ in two things. The first is the socket. A gateway
//! writes frames that thousands of connections share directly to its sockets, in its own loop; your server has a library
//! for WebSockets, and a plain loop here (`serving.rs`). Both ask `connection` what to do with a frame and with a delivery
//! of the hub, and `upkeep` what time asks for. An event is encoded once for all connections, as a whole WebSocket frame;
//! the plain loop takes the header off, without a copy. The second is what is around the protocol: revoked users, lists for
//! operators, metrics. The trait `Host` has that; a gateway implements it, and [`Server`] does with less. The modules that a gateway
//! uses besides are public for it and hidden here: they change with it, in any version.

mod handshake;
pub mod identity;
mod message;
mod server;
mod serving;

#[doc(hidden)]
pub mod authorized;
#[doc(hidden)]
pub mod closing;
#[doc(hidden)]
pub mod connection;
#[doc(hidden)]
pub mod end;
#[doc(hidden)]
pub mod frame;
#[doc(hidden)]
pub mod host;
#[doc(hidden)]
pub mod rates;
#[doc(hidden)]
pub mod request;
#[doc(hidden)]
pub mod rows;
#[doc(hidden)]
pub mod unanswered;
#[doc(hidden)]
pub mod upkeep;

mod color;

pub use presence_hub;

pub use connection::Encoding;
pub use handshake::Handshake;
pub use identity::{Identity, Patterns, ResumeKey, Scope, Scopes};
pub use message::Message;
pub use presence_protocol::ErrorCode;
pub use rates::Rates;
pub use request::Refused;
pub use server::{Server, Settings};

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(all(doctest, feature = "axum"))]
#[doc = include_str!("../README.md")]
struct Readme;
