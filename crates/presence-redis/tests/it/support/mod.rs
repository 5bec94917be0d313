//! Real servers, for as long as a test runs.

mod cluster;
mod node;
mod sentinel;
mod server;
mod talk;

pub(crate) use self::cluster::Cluster;
pub(crate) use self::node::{Node, slot_of, user_in, users};
pub(crate) use self::sentinel::Sentinels;
pub(crate) use self::server::{Server, free_port};
