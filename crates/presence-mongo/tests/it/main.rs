//! The port on a server of our own, really started: see `presence_testkit::mongo` for which.

// Clippy knows a test by its attribute, and would not let its helpers unwrap.
#![allow(clippy::unwrap_used)]

mod closing;
mod conformance;
mod crash;
mod doors;
mod outages;
mod srv;
mod strangers;
mod support;
mod writers;
