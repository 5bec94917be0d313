//! What nodes ask each other for an explanation, and what they answer.

use super::{RoomReport, UserReport};
use crate::history::{Recent, RecentQuery};
use crate::incarnation::Incarnation;
use crate::{ChannelId, UserId};

/// A message to one node, on its own channel of the store. It is not stored, and may be lost.
#[derive(Clone, Debug, PartialEq)]
pub enum NodeMessage {
    /// A node asks. The answer goes to the channel of `reply_to`.
    Ask {
        /// The number of the question, which the answer repeats.
        ask: u64,
        /// The process that asks: see [`Incarnation::node`].
        reply_to: u64,
        /// The user, the channel or the list that the question is about.
        about: About,
    },
    /// The answer to a question.
    Answer {
        /// The number of the question.
        ask: u64,
        /// The node that answers.
        from: Incarnation,
        /// The answer of that node.
        answer: Box<Answer>,
    },
}

/// What a node is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// What it knows of this user.
    User(UserId),
    /// What it knows of this channel.
    Channel(ChannelId),
    /// To forget what it has recorded of this user, who was erased.
    Erase(UserId),
    /// The latest transitions that it has recorded, of all users.
    Recent(RecentQuery),
    /// A question of the program that embeds the asking node, to the program that embeds the other node. Only these
    /// programs understand the bytes.
    Program(Vec<u8>),
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// What it knows of the user.
    User(UserReport),
    /// What it knows of the channel.
    Channel(RoomReport),
    /// It has forgotten the user.
    Erased,
    /// The latest transitions.
    Recent(Recent),
    /// The answer of the program that embeds the node.
    Program(Vec<u8>),
}
