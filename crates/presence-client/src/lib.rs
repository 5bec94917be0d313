//! The client of Presence in Rust, for bots, tools and tests.
//!
//! A [`Presence`] is a connection that stays: it reconnects, resumes, catches up, sends heartbeats and renews its token by
//! itself, and shows states and events. A [`Client`] is one connection, which does nothing by itself. A [`Picture`] keeps the list of
//! the people in one place up to date. The frames themselves are the types of `presence-protocol`, here called [`wire`].
//!
//! | feature | |
//! |---|---|
//! | `client` (default) | [`Presence`] and [`Client`], on tokio |
//! | `tls` | `wss://`, with rustls |
//!
//! Without features there are the types of the frames and [`Picture`], without a runtime.

#![cfg_attr(not(feature = "client"), allow(rustdoc::broken_intra_doc_links))]

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod ending;
#[cfg(feature = "client")]
mod error;
#[cfg(feature = "client")]
mod handle;
#[cfg(feature = "client")]
mod line;
#[cfg(feature = "client")]
mod options;
#[cfg(feature = "client")]
mod pace;
#[cfg(feature = "client")]
mod people;
mod picture;
#[cfg(feature = "client")]
mod place;
#[cfg(feature = "client")]
mod presence;
#[cfg(feature = "client")]
mod pulled;
#[cfg(feature = "client")]
mod requests;
#[cfg(feature = "client")]
mod room;
#[cfg(feature = "client")]
mod security;
#[cfg(feature = "client")]
mod stays;
#[cfg(feature = "client")]
mod task;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "client")]
mod token;
#[cfg(feature = "client")]
mod user;
#[cfg(feature = "client")]
mod window;
#[cfg(feature = "client")]
mod windows;

pub use presence_protocol as wire;

pub use picture::{Difference, Gap, Picture};

#[cfg(feature = "client")]
pub use self::{
    client::{Client, Frame},
    ending::{Ended, Refused},
    error::{ConnectError, Ending, PresenceError, RequestError},
    handle::{Connection, PresenceEvent, Trouble, Trying},
    options::{Options, Protocol},
    pace::{Rate, Rates},
    presence::{Builder, Events, Presence},
    room::{Channel, Entered, RoomState, Workspace},
    stays::Stay,
    user::{Follow, User},
    window::Window,
    windows::{Rows, WindowState},
};

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
