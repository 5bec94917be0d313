//! What Presence does, told as stories. Read [`story`] for their words, then any of the others.

#![allow(clippy::unwrap_used)] // here, a panic is how a test fails
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // seeds come from the environment, and shrinking has threads

mod story;

mod activity;
mod catching_up;
mod cluster;
mod crowds;
mod devices;
mod emoji;
mod ephemeral_events;
mod explaining;
mod grace;
mod hiding;
mod hooks;
mod limits;
mod pace;
mod privacy;
mod restarting;
mod rosters;
#[cfg(feature = "serde")]
mod serialized;
mod services;
mod status;

mod windows;

mod chance;
mod model;
mod simulation;
