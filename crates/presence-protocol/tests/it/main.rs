//! What the native protocol promises, and what it does with nonsense.

// In tests a panic is the message.
#![allow(clippy::unwrap_used)]

mod mistakes;
mod noise;
mod page;
