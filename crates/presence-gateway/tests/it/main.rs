//! The gateway from outside: real sockets, the real client, the real program.

// In tests a panic is the message.
#![allow(clippy::unwrap_used)]

mod gateway;
mod people;
mod program;
mod raw;

mod visits;

mod bounds;
mod catching_up;
mod frames;
mod hostile;
mod observing;
mod process;
mod requests;
mod restarting;
mod resuming;
mod slow;
mod tokens;

mod api;
mod cable;
mod phoenix;
mod pusher;
