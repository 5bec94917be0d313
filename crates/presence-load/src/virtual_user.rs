//! The place of one client in a run.

/// The user of a client, and the room that it is in or watches.
#[derive(Clone, Debug)]
pub(crate) struct VirtualUser {
    pub(crate) user: String,
    pub(crate) room: usize,
    pub(crate) channel: String,
    /// The user's number in the schedule if they join the channel; `None` if they only watch it.
    pub(crate) member: Option<usize>,
    pub(crate) watches: bool,
    /// Whether every frame is decoded; otherwise frames are only counted.
    pub(crate) is_sampled: bool,
}
