//! The adapters against the contract, and against what contracts cannot say: kill -9, two processes, a broken file.

// Clippy knows a test by its attribute, and would not let its helpers unwrap.
#![allow(clippy::unwrap_used)]

mod crash;
mod opening;
mod profiles;
mod revocations;
mod topics;
mod webhooks;
