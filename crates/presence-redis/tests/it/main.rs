//! The adapter against real servers: the contract, and what breaks in the field.

// Clippy knows a test by its attribute, and would not let its helpers unwrap.
#![allow(clippy::unwrap_used)]

mod support;

mod cluster;
mod conformance;
mod garbled;
mod memory;
mod one;
mod sentinel;
mod speed;
mod tls;
