//! A small client of Presence in Rust, for bots and tests.
//!
//! A [`Client`] sends and receives frames. A [`Picture`] keeps the list of the people in one place up to date. The frames
//! themselves are the types of `presence-protocol`, here called [`wire`].

mod client;
mod options;
mod picture;

pub use presence_protocol as wire;

pub use client::{Client, ConnectError, Ending, Frame, RequestError};
pub use options::{Options, Protocol};
pub use picture::{Difference, Gap, Picture};

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
