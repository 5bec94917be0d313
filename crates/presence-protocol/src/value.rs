//! The types of the fields of frames.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error, MapAccess};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::frame::frame;
use super::member::{Member, members};
use super::mend::mend;
use super::sound::check_json;

/// Ties an answer to its command: a string or a whole number that the client chose, kept as its JSON text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Ref(Arc<str>);

impl Ref {
    /// The longest string that can be a ref, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// Reads a ref from its JSON text.
    ///
    /// # Errors
    ///
    /// Says in words that the text is neither a short string nor a whole number.
    pub fn from_json(text: &str) -> Result<Self, &'static str> {
        const WRONG: &str = "must be a string of up to 64 bytes or a whole number";
        if text.starts_with('"') {
            let string: String = serde_json::from_str(text).map_err(|_| WRONG)?;
            return Ref::text(&string).ok_or(WRONG);
        }
        match (text.parse::<i64>(), text.parse::<u64>()) {
            // Not `text` itself: `parse` takes a `+`, JSON does not.
            (Ok(number), _) => Ok(Ref(number.to_string().into())),
            (_, Ok(number)) => Ok(Ref(number.to_string().into())),
            _ => Err(WRONG),
        }
    }

    /// Makes a ref of a string; `None` if it is longer than [`BYTES_MAX`](Self::BYTES_MAX).
    pub fn text(string: &str) -> Option<Self> {
        let short = string.len() <= Ref::BYTES_MAX;
        short.then(|| Ref(quoted(string).into()))
    }

    /// The JSON text of the ref.
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

fn quoted(string: &str) -> String {
    serde_json::to_string(string).expect("a string can always be written")
}

impl From<u64> for Ref {
    fn from(number: u64) -> Self {
        Ref(number.to_string().into())
    }
}

impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Ref {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        write_raw(&self.0, to)
    }
}

impl<'de> Deserialize<'de> for Ref {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = read_raw(from)?;
        Ref::from_json(&text).map_err(D::Error::custom)
    }
}

/// Any JSON value, kept as its text. The text is always valid JSON, so it can be sent on as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Json(Arc<str>);

impl Json {
    /// Checks that `text` is JSON. Half a surrogate pair in it becomes U+FFFD.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the text: not JSON, nested too deep, or a number out of range.
    pub fn new(text: &str) -> Result<Self, serde_json::Error> {
        let text = mend(text);
        check_json(&text)?;
        Ok(Json(text.trim().into()))
    }

    /// Takes a text that has been checked before, such as one out of a [`Json`].
    pub fn checked(text: Arc<str>) -> Self {
        debug_assert!(check_json(&text).is_ok(), "not JSON: {text}");
        Json(text)
    }

    /// The JSON of `value`.
    ///
    /// # Errors
    ///
    /// Fails if `value` cannot be serialised, or is nested too deep.
    pub fn of<T: Serialize>(value: &T) -> Result<Self, serde_json::Error> {
        Json::new(&serde_json::to_string(value)?)
    }

    /// The JSON text of the value.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The JSON text of the value, as a shared string.
    pub fn into_text(self) -> Arc<str> {
        self.0
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        write_raw(&self.0, to)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            // Valid already: the reader of the frame has checked all of it.
            return read_raw(from).map(|text| Json(text.into()));
        }
        Json::new(&read_raw(from)?).map_err(D::Error::custom)
    }
}

/// Writes a JSON text: as it is in JSON, as a string in binary frames.
fn write_raw<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
    if !to.is_human_readable() {
        return to.serialize_str(text);
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(serde::ser::Error::custom)?;
    raw.serialize(to)
}

fn read_raw<'de, D: Deserializer<'de>>(from: D) -> Result<std::borrow::Cow<'de, str>, D::Error> {
    if from.is_human_readable() {
        let raw = <&RawValue>::deserialize(from)?;
        return Ok(raw.get().into());
    }
    Ok(<&str>::deserialize(from)?.into())
}

/// Declares a number that JSON shows as hexadecimal digits, with leading zeros.
macro_rules! hexadecimal {
    ($(#[$doc:meta])* $name:ident, $number:ty, $digits:literal, $wrong:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $number);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let digits = hexadecimal_digits::<$digits>(self.0.into());
                f.write_str(str::from_utf8(&digits).expect("digits are ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = &'static str;

            fn from_str(text: &str) -> Result<Self, &'static str> {
                let is_digit = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
                if text.len() != $digits || !text.bytes().all(is_digit) {
                    return Err($wrong);
                }
                let number = <$number>::from_str_radix(text, 16);
                number.map($name).map_err(|_| $wrong)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if !to.is_human_readable() {
                    return self.0.serialize(to);
                }
                let digits = hexadecimal_digits::<$digits>(self.0.into());
                to.serialize_str(str::from_utf8(&digits).expect("digits are ASCII"))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if !from.is_human_readable() {
                    return <$number>::deserialize(from).map($name);
                }
                let super::member::Key(text) = Deserialize::deserialize(from)?;
                text.parse().map_err(D::Error::custom)
            }
        }

        members!($name);
    };
}

/// The last `N` hexadecimal digits of `number`.
fn hexadecimal_digits<const N: usize>(number: u128) -> [u8; N] {
    let mut digits = [b'0'; N];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(rest & 15) as usize];
        rest >>= 4;
    }
    digits
}

hexadecimal! {
    /// Identifies one run of version numbers. A topic gets a new epoch when its versions start again.
    Epoch, u64, 16, "must be 16 lower-case hexadecimal digits"
}
hexadecimal! {
    /// The id of a session: one logical connection, named by the gateway.
    Session, u128, 32, "must be 32 lower-case hexadecimal digits"
}

/// A field with three states: absent, `null`, or a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Field<T> {
    /// The field is absent: what was stored stays.
    #[default]
    Absent,
    /// The field is `null`: what was stored is cleared.
    Null,
    /// The field has this value, which replaces what was stored.
    Value(T),
}

impl<T> Field<T> {
    /// Applies `f` to the value, if there is one.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Field::Absent => Field::Absent,
            Field::Null => Field::Null,
            Field::Value(it) => Field::Value(f(it)),
        }
    }

    /// `None` if absent, `Some(None)` if `null`, otherwise the value.
    pub fn as_option(&self) -> Option<Option<&T>> {
        match self {
            Field::Absent => None,
            Field::Null => Some(None),
            Field::Value(it) => Some(Some(it)),
        }
    }
}

impl<T: Serialize> Serialize for Field<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.as_option().serialize(to)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let it: Option<Option<T>> = if from.is_human_readable() {
            Some(Option::deserialize(from)?)
        } else {
            Option::deserialize(from)?
        };
        Ok(match it {
            None => Field::Absent,
            Some(None) => Field::Null,
            Some(Some(it)) => Field::Value(it),
        })
    }
}

impl<'de, T: Member<'de>> Member<'de> for Field<T> {
    fn write<S: SerializeStruct>(&self, name: &'static str, out: &mut S) -> Result<(), S::Error> {
        match self {
            Field::Absent => out.skip_field(name),
            it => out.serialize_field(name, it),
        }
    }

    fn absent() -> Option<Self> {
        Some(Field::Absent)
    }
}

/// A place that has a roster. In JSON its kind is the key: `"channel":"room:42"`, `"workspace":"acme"`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TopicId {
    /// A channel, which sessions join and leave.
    Channel(Arc<str>),
    /// A workspace (a tenant), whose roster is everyone of it who is online.
    Workspace(Arc<str>),
}

impl<'de> Member<'de> for TopicId {
    const KEYS: &'static [&'static str] = &["channel", "workspace"];

    fn write<S: SerializeStruct>(&self, _: &'static str, out: &mut S) -> Result<(), S::Error> {
        match self {
            TopicId::Channel(id) => out.serialize_field("channel", id),
            TopicId::Workspace(id) => out.serialize_field("workspace", id),
        }
    }

    fn read<A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Self, A::Error> {
        match key {
            "channel" => map.next_value().map(TopicId::Channel),
            _ => map.next_value().map(TopicId::Workspace),
        }
    }
}

/// A topic, or several users, that can be watched. In JSON its kind is the key, as with [`TopicId`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// The id of a channel.
    Channel(String),
    /// The id of a workspace.
    Workspace(String),
    /// The ids of up to 1,000 users.
    Users(Vec<String>),
}

impl<'de> Member<'de> for Target {
    const KEYS: &'static [&'static str] = &["channel", "workspace", "users"];

    fn write<S: SerializeStruct>(&self, _: &'static str, out: &mut S) -> Result<(), S::Error> {
        match self {
            Target::Channel(id) => out.serialize_field("channel", id),
            Target::Workspace(id) => out.serialize_field("workspace", id),
            Target::Users(ids) => out.serialize_field("users", ids),
        }
    }

    fn read<A: MapAccess<'de>>(key: &str, map: &mut A) -> Result<Self, A::Error> {
        match key {
            "channel" => map.next_value().map(Target::Channel),
            "workspace" => map.next_value().map(Target::Workspace),
            _ => map.next_value().map(Target::Users),
        }
    }
}

members!(Ref, Json);

frame! { closed
    /// The version of a topic's state that a watcher already has.
    pub struct Have {
        /// The epoch that the version belongs to.
        pub epoch: Epoch,
        /// The version of the state within the epoch.
        pub version: u64,
    }
}

frame! { closed
    /// The place in an order after which the rows of a window begin.
    pub struct After {
        /// When the last row before them joined, in milliseconds since 1970; only in the order `joined`.
        pub joined_at: Option<u64>,
        /// The name of the last row before them, or its id if it has no name; only in the order `name`.
        pub name: Option<String>,
        /// The id of the last row before them. In the order `name` it may be left out: then the rows begin with that name.
        pub user_id: Option<String>,
    }
}

frame! { lenient
    /// A selected range of text.
    pub struct Selection {
        /// The first position of the range.
        pub start: u64,
        /// The position behind the last of the range.
        pub end: u64,
    }
}

impl Copy for Have {}
impl Copy for Selection {}
