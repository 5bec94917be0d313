//! One life of a node.

use std::fmt;

/// One life of a node. Leases are held, and entries are owned, by an incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation {
    /// The number of the process: random, and drawn when it starts.
    pub node: u64,
    /// The generation of the process: it grows when the process loses its lease and takes a new
    /// one. At most [`FencingToken::GENERATION_MAX`](crate::cluster::FencingToken::GENERATION_MAX).
    pub generation: u32,
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.node, self.generation)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.node, self.generation)
    }
}
