//! What the shared store says and keeps: outcomes of writes, the leases of nodes, and the queues of its outbox.

use super::{Fence, Field, Incarnation};
use crate::Timestamp;

/// The outcome of a write that was applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The version that the write made; `None` if it changed nothing.
    pub version: Option<u64>,
    /// The operations that were refused, each with the fence that refused it.
    pub refused: Vec<(Field, Fence)>,
    /// Entries that were to be removed, where the store had neither an entry nor a fence.
    pub absent: Vec<Field>,
    /// The revision of the profile that the store has now, if this is the map of a user.
    pub profile: Option<u64>,
}

/// The leases of all nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leases {
    /// The time of the store's clock when the leases were read.
    pub now: Timestamp,
    /// The outcome of the renewal of one's own lease.
    pub mine: Renewal,
    /// The leases of all nodes, one's own included.
    pub nodes: Vec<Lease>,
}

/// The outcome of the renewal of one's own lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease was there, and was extended.
    Renewed,
    /// The lease was not there: the node is new, or the store has lost data.
    New,
    /// Another node has declared this incarnation dead: nothing that it wrote counts any more.
    Dead,
}

/// The lease of a node: its promise to be alive until a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The node that holds the lease.
    pub who: Incarnation,
    /// The name of the node, for people.
    pub name: Box<str>,
    /// When the lease ends, by the store's clock. For a dead node: when it was declared dead.
    pub until: Timestamp,
    /// Whether the node was declared dead.
    pub is_dead: bool,
    /// Everything that the node did up to this moment, by the store's clock, is in the store. 0 if the node
    /// does not say.
    pub stored_up_to: Timestamp,
}

/// The system that a change is to be carried to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Queue {
    /// The store of profiles.
    Profiles,
    /// The endpoint of webhooks.
    Webhooks,
}

impl Queue {
    /// All queues that there are.
    pub const ALL: [Queue; 2] = [Queue::Profiles, Queue::Webhooks];
}
