//! Parts of events that are one of several shapes.

use std::sync::Arc;

use serde::de::Error;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::frame::frame;
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

/// The result that comes with an `ok`. In JSON its fields tell which of the two it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The result of `presence:list`.
    Page(Page),
    /// The result of `presence:get`.
    Statuses(Statuses),
}

members!(Change, Answer);

/// The binary form of a [`Change`].
#[derive(Serialize, Deserialize)]
enum BinaryChange<U, I> {
    Joined(U),
    Updated(U),
    Left { user_id: I, reason: Reason },
}

/// The binary form of an [`Answer`].
#[derive(Serialize, Deserialize)]
enum BinaryAnswer<P, S> {
    Page(P),
    Statuses(S),
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
        match (to.is_human_readable(), self) {
            (true, Answer::Page(page)) => page.serialize(to),
            (true, Answer::Statuses(statuses)) => statuses.serialize(to),
            (false, Answer::Page(page)) => BinaryAnswer::<_, ()>::Page(page).serialize(to),
            (false, Answer::Statuses(statuses)) => {
                BinaryAnswer::<(), _>::Statuses(statuses).serialize(to)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if !from.is_human_readable() {
            return Ok(match BinaryAnswer::deserialize(from)? {
                BinaryAnswer::Page(page) => Answer::Page(page),
                BinaryAnswer::Statuses(statuses) => Answer::Statuses(statuses),
            });
        }
        let it = AnyAnswer::deserialize(from)?;
        match (it.statuses, it.users, it.total, it.limit, it.offset) {
            (Some(statuses), ..) => Ok(Answer::Statuses(Statuses { statuses })),
            (None, Some(users), Some(total), Some(limit), Some(offset)) => Ok(Answer::Page(Page {
                users,
                total,
                limit,
                offset,
            })),
            _ => Err(D::Error::custom("neither a page nor statuses")),
        }
    }
}
