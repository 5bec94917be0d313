//! The client against a gateway that follows a script, and the picture of a place.

// In tests a panic is the message.
#![allow(clippy::unwrap_used)]

mod client;
mod picture;
mod presence;
