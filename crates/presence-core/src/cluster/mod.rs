//! Several nodes that behave as one: what they write to the store that they share, and when one of them counts as dead.
//!
//! Each [`Subject`] in the store is a small map with a version. A node writes only the entries of its own sessions, and
//! reads those of the others. [`FencingToken`] decides which of two writes of one entry wins. That is the only rule that the
//! store itself applies, in the same step as the write.

mod fencing_token;
mod map;
mod membership;
pub mod nodes;
mod profile_task;
mod record;
mod replica;
mod request;
mod shared_user;
pub(crate) mod store;
mod subject;

pub use crate::incarnation::Incarnation;
pub use fencing_token::{Author, FencingToken};
pub use map::{Applied, TopicMap};
pub(crate) use membership::Membership;
pub use profile_task::ProfileTask;
pub use record::{
    Change, Ephemeral, FENCE_TTL, Fence, Field, Guard, JoinedTopic, Op, Patch, Record, Removed,
    SessionRecord, Snapshot, Write,
};
pub(crate) use replica::{Claimed, HOLD_AFTER_MOVE, Hold, Put, Replica, ReplicaChanges, Verdict};
pub use request::{News, PaddedRead, Reply, Request};
pub use subject::{PARTITIONS, Subject};
