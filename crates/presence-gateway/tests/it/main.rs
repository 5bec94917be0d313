//! The gateway from outside: real sockets, the real client, the real program.

// In tests a panic is the message.
#![allow(clippy::unwrap_used)]
// A whole gateway is started in one future.
#![recursion_limit = "256"]

mod gateway;
mod people;
mod program;
mod raw;

mod visits;

mod bounds;
mod catching_up;
mod deployed;
mod ending;
mod frames;
mod garbage;
mod hiding;
mod hostile;
mod keys;
mod neighbours;
mod observing;
#[cfg(feature = "otel")]
mod otel;
mod process;
mod renewing;
mod requests;
mod restarting;
mod resuming;
mod revoking;
mod rfc6455;
mod rust_client;
mod rust_client_rooms;
mod slow;
mod telling;
mod tokens;
mod walls;
mod windows;

mod api;
mod cable;
mod phoenix;
mod pusher;
