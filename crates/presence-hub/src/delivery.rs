//! What is delivered to a session, and how it watches topics.

use std::sync::Arc;

use presence_core::{Reason, Refusal, TopicVersion, Watching};

use crate::shared_event::SharedEvent;

/// The number of a command in its answer. The sender of the command chooses it, and the hub only returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(pub u64);

/// Something that a session is told.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// An event. Everyone else who is told it shares it.
    Event(Arc<SharedEvent>),
    /// The command with this reference was carried out.
    Granted(Reference),
    /// A command was not carried out. The reference is that of the command, if it had one.
    Refused(Option<Reference>, Refusal),
    /// The session has ended in this connection, for this reason. Nothing is delivered after it.
    Ended(Ended),
}

impl Delivery {
    pub(crate) fn weight(&self) -> usize {
        match self {
            Delivery::Event(shared) => shared.weight(),
            Delivery::Granted(_) | Delivery::Refused(..) => 64,
            Delivery::Ended(_) => 0,
        }
    }
}

/// Why a connection gets no further deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The core closed it: the session timed out, a newer connection replaced this one, or the user was kicked.
    Closed(Reason),
    /// More answers waited than the send queue has room for, because nobody read them.
    TooSlow,
    /// More bytes waited for all connections together than there is room for, and this one had the most answers.
    Crowded,
    /// The hub has stopped, so the session is over on this node.
    Stopped,
}

/// How a session watches a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watched {
    pub(crate) watching: Watching,
    /// The version that the session was told.
    pub(crate) known: Option<TopicVersion>,
    /// The number of the command among those that asked to watch something.
    pub(crate) ask: u32,
    /// Whether a state was asked for and has not been delivered yet.
    pub(crate) is_coming: bool,
}
