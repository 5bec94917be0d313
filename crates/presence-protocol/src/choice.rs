//! Parts of events that are one of several shapes.

use std::sync::Arc;

use serde::de::Error;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::frame::frame;
use super::lists::{
    ChannelCount, ChannelPage, Connection, ConnectionPage, Disconnected, GatewayCount, Node,
    NodeList,
};
use super::member::members;
use super::people::{Page, Statuses, User, UserStatus};
use super::words::Reason;

/// A change of one person in a roster. In JSON it has the `type` of the event that would report it alone.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The user has joined the place.
    Joined(User),
    /// The user is still there, and something about them has changed.
    Updated(User),
    /// The user has left the place.
    Left {
        /// The id of the user who left.
        user_id: Arc<str>,
        /// Why the user left the place.
        reason: Reason,
    },
}

/// The result that comes with an `ok`. In JSON its fields tell which one it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The result of `presence:list`.
    Page(Page),
    /// The result of `presence:get`.
    Statuses(Statuses),
    /// The result of `presence:channels`.
    Channels(ChannelPage),
    /// The result of `presence:nodes`.
    Nodes(NodeList),
    /// The result of `presence:connections`.
    Connections(ConnectionPage),
    /// The result of `presence:disconnect`.
    Disconnected(Disconnected),
}

members!(Change, Answer);

/// The binary form of a [`Change`].
#[derive(Serialize, Deserialize)]
enum BinaryChange<U, I> {
    Joined(U),
    Updated(U),
    Left { user_id: I, reason: Reason },
}

/// The binary form of an [`Answer`], to read it. Its variants have the numbers with which [`Answer`] is written.
#[derive(Deserialize)]
enum BinaryAnswer {
    Page(Page),
    Statuses(Statuses),
    Channels(ChannelPage),
    Nodes(NodeList),
    Connections(ConnectionPage),
    Disconnected(Disconnected),
}

frame! { lenient
    /// Every field that a change can have.
    struct AnyChange {
        type_: String,
        user: Option<User>,
        user_id: Option<Arc<str>>,
        reason: Option<Reason>,
    }

    /// Every field that an answer can have.
    struct AnyAnswer {
        users: Option<Vec<User>>,
        total: Option<u64>,
        limit: Option<u64>,
        offset: Option<u64>,
        statuses: Option<Vec<UserStatus>>,
        channels: Option<Vec<ChannelCount>>,
        nodes: Option<Vec<Node>>,
        store: Option<Arc<str>>,
        gateway: Option<Arc<str>>,
        connections: Option<Vec<Connection>>,
        next: Option<Arc<str>>,
        disconnected: Option<u64>,
        gateways: Option<Vec<GatewayCount>>,
        silent: Option<Vec<Arc<str>>>,
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if !to.is_human_readable() {
            let it = match self {
                Change::Joined(user) => BinaryChange::Joined(user),
                Change::Updated(user) => BinaryChange::Updated(user),
                Change::Left { user_id, reason } => BinaryChange::Left {
                    user_id,
                    reason: *reason,
                },
            };
            return it.serialize(to);
        }
        let mut out = to.serialize_struct("Change", 3)?;
        match self {
            Change::Joined(user) => {
                out.serialize_field("type", "presence:userJoined")?;
                out.serialize_field("user", user)?;
            }
            Change::Updated(user) => {
                out.serialize_field("type", "presence:userUpdated")?;
                out.serialize_field("user", user)?;
            }
            Change::Left { user_id, reason } => {
                out.serialize_field("type", "presence:userLeft")?;
                out.serialize_field("user_id", user_id)?;
                out.serialize_field("reason", reason)?;
            }
        }
        out.end()
    }
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return Ok(match BinaryChange::deserialize(from)? {
                BinaryChange::Joined(user) => Change::Joined(user),
                BinaryChange::Updated(user) => Change::Updated(user),
                BinaryChange::Left { user_id, reason } => Change::Left { user_id, reason },
            });
        }
        let it = AnyChange::deserialize(from)?;
        let missing = |field: &str| D::Error::custom(format_args!("missing field `{field}`"));
        match &*it.type_ {
            "presence:userJoined" => Ok(Change::Joined(it.user.ok_or_else(|| missing("user"))?)),
            "presence:userUpdated" => Ok(Change::Updated(it.user.ok_or_else(|| missing("user"))?)),
            "presence:userLeft" => Ok(Change::Left {
                user_id: it.user_id.ok_or_else(|| missing("user_id"))?,
                reason: it.reason.ok_or_else(|| missing("reason"))?,
            }),
            other => Err(D::Error::custom(format_args!("unknown change `{other}`"))),
        }
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return match self {
                Answer::Page(it) => it.serialize(to),
                Answer::Statuses(it) => it.serialize(to),
                Answer::Channels(it) => it.serialize(to),
                Answer::Nodes(it) => it.serialize(to),
                Answer::Connections(it) => it.serialize(to),
                Answer::Disconnected(it) => it.serialize(to),
            };
        }
        const NAME: &str = "BinaryAnswer";
        match self {
            Answer::Page(it) => to.serialize_newtype_variant(NAME, 0, "Page", it),
            Answer::Statuses(it) => to.serialize_newtype_variant(NAME, 1, "Statuses", it),
            Answer::Channels(it) => to.serialize_newtype_variant(NAME, 2, "Channels", it),
            Answer::Nodes(it) => to.serialize_newtype_variant(NAME, 3, "Nodes", it),
            Answer::Connections(it) => to.serialize_newtype_variant(NAME, 4, "Connections", it),
            Answer::Disconnected(it) => to.serialize_newtype_variant(NAME, 5, "Disconnected", it),
        }
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return Ok(match BinaryAnswer::deserialize(from)? {
                BinaryAnswer::Page(it) => Answer::Page(it),
                BinaryAnswer::Statuses(it) => Answer::Statuses(it),
                BinaryAnswer::Channels(it) => Answer::Channels(it),
                BinaryAnswer::Nodes(it) => Answer::Nodes(it),
                BinaryAnswer::Connections(it) => Answer::Connections(it),
                BinaryAnswer::Disconnected(it) => Answer::Disconnected(it),
            });
        }
        let answer = AnyAnswer::deserialize(from)?.into_answer();
        answer.ok_or_else(|| D::Error::custom("no result that is known"))
    }
}

impl AnyAnswer {
    /// The answer that has these fields; `None` if one is missing.
    fn into_answer(self) -> Option<Answer> {
        if let Some(statuses) = self.statuses {
            return Some(Answer::Statuses(Statuses { statuses }));
        }
        if let Some(nodes) = self.nodes {
            let store = self.store?;
            return Some(Answer::Nodes(NodeList { nodes, store }));
        }
        if let Some(disconnected) = self.disconnected {
            return Some(Answer::Disconnected(Disconnected {
                disconnected,
                gateways: self.gateways?,
                silent: self.silent?,
            }));
        }
        let (total, limit) = (self.total?, self.limit?);
        if let Some(connections) = self.connections {
            return Some(Answer::Connections(ConnectionPage {
                gateway: self.gateway?,
                connections,
                total,
                limit,
                next: self.next,
                gateways: self.gateways?,
                silent: self.silent?,
            }));
        }
        let offset = self.offset?;
        if let Some(channels) = self.channels {
            return Some(Answer::Channels(ChannelPage {
                channels,
                total,
                limit,
                offset,
            }));
        }
        Some(Answer::Page(Page {
            users: self.users?,
            total,
            limit,
            offset,
        }))
    }
}
