//! The HTTP API: what its document says, what its page says, and what both leave to be shown.

mod support;

mod contract;
mod schema;

mod acting;
mod cluster;
mod documents;
mod explaining;
mod lists;
mod operating;
mod pages;
mod statuses;
mod stored;
mod together;
