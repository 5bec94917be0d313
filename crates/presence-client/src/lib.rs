//! The native protocol of Presence: its frames as types, and a small client.
//!
//! [`wire`] declares every frame. With the feature `client` (on by default) there is also a [`Client`], which sends and
//! receives frames. A [`Picture`] keeps the list of the people in one place up to date.

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod options;
mod picture;
pub mod wire;

#[cfg(feature = "client")]
pub use client::{Client, ConnectError, Ending, Frame, RequestError};
#[cfg(feature = "client")]
pub use options::{Options, Protocol};
pub use picture::{Difference, Gap, Picture};
