//! Core types in the formats of serde, behind the feature `serde`. What is read goes through the constructors that check it.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use serde::de::{Error as _, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::activity::Activity;
use crate::{
    ChannelId, Chosen, DeviceId, DeviceKind, Meta, Order, Payload, Reason, SessionId, Shown,
    Timestamp, UserId, Visible, Watching, WorkspaceId,
};

/// What is written as a text by `as_str`, and read by `FromStr`.
macro_rules! texts {
    ($($name:ident)+) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                from.deserialize_str(Parsed(PhantomData))
            }
        }
    )+};
}

texts!(UserId DeviceId ChannelId WorkspaceId);
texts!(Activity Chosen DeviceKind Order Reason Visible Watching);

/// Reads a text.
struct Parsed<T>(PhantomData<T>);

impl<T> Visitor<'_> for Parsed<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// The digits of the id; its number in a binary format.
impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match to.is_human_readable() {
            true => to.collect_str(self),
            false => self.as_u128().serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match from.is_human_readable() {
            true => from.deserialize_str(Parsed(PhantomData)),
            false => u128::deserialize(from).map(SessionId::from_u128),
        }
    }
}

/// The milliseconds since the start of 1970 (UTC).
impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.as_millis().serialize(to)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u64::deserialize(from).map(Timestamp::from_millis)
    }
}

/// The object, with the name, the color and the avatar that the meta shows. It is the same value, and not always the same text: members may
/// have another order. In a binary format it is the text as it is, and what the meta shows.
impl Serialize for Meta {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if !to.is_human_readable() {
            return (self.json(), self.shown()).serialize(to);
        }
        let mut object = match &**self.json() {
            "" => Map::new(),
            json => serde_json::from_str(json).map_err(S::Error::custom)?,
        };
        let Shown {
            name,
            color,
            avatar,
        } = self.shown();
        for (key, part) in [("name", name), ("color", color), ("avatar", avatar)] {
            match (part, object.get(key)) {
                (Some(text), _) => drop(object.insert(key.to_owned(), text.to_string().into())),
                (None, Some(Value::String(_))) => drop(object.remove(key)),
                (None, _) => {}
            }
        }
        object.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let meta = match from.is_human_readable() {
            true => match Map::<String, Value>::deserialize(from)? {
                object if object.is_empty() => return Ok(Meta::default()),
                object => Meta::of(&object),
            },
            false => {
                let (json, shown) = <(String, Shown)>::deserialize(from)?;
                Meta::showing(json, shown)
            }
        };
        meta.map_err(D::Error::custom)
    }
}

/// The value, and `null` for no content. In a binary format it is the text as it is.
impl Serialize for Payload {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &**self.json() {
            json if !to.is_human_readable() => json.serialize(to),
            "" => to.serialize_unit(),
            json => serde_json::from_str::<Value>(json)
                .map_err(S::Error::custom)?
                .serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Payload {
    /// `null` is no content.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let payload = match from.is_human_readable() {
            true => match Value::deserialize(from)? {
                Value::Null => return Ok(Payload::none()),
                value => Payload::of(&value),
            },
            false => Payload::from_json(String::deserialize(from)?),
        };
        payload.map_err(D::Error::custom)
    }
}
