//! The fields of frames in JSON: their keys, and what a missing one means.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize};

/// A type that can be a field of a frame in JSON.
pub(super) trait Member<'de>: Serialize + Deserialize<'de> {
    /// The JSON keys of the field if its value decides the key; empty if the key is the field's name.
    const KEYS: &'static [&'static str] = &[];

    /// Writes the field under `name`, or nothing if it is absent.
    fn write<S: SerializeStruct>(&self, name: &'static str, out: &mut S) -> Result<(), S::Error> {
        out.serialize_field(name, self)
    }

    /// Reads the value that `map` has under `key`.
    fn read<A: MapAccess<'de>>(_key: &str, map: &mut A) -> Result<Self, A::Error> {
        map.next_value()
    }

    /// The value if the field is missing; `None` if it must be there.
    fn absent() -> Option<Self> {
        None
    }
}

/// Whether `key` is one of the keys of the field `name`.
pub(super) fn is_key<'de, T: Member<'de>>(name: &str, key: &str) -> bool {
    match T::KEYS {
        [] => name == key,
        keys => keys.contains(&key),
    }
}

/// The value of a missing field, or the error. The error has the field's name in backticks, where the decoder
/// looks for it.
pub(super) fn missing<'de, T: Member<'de>, E: Error>(name: &str) -> Result<T, E> {
    T::absent().ok_or_else(|| match T::KEYS {
        [] => E::custom(format_args!("missing field `{name}`")),
        keys => E::custom(format_args!(
            "missing field `{}`: one of {} is needed",
            keys[0],
            keys.join(", ")
        )),
    })
}

/// The error for a field that is given twice.
pub(super) fn twice<'de, T: Member<'de>, E: Error>(key: &str) -> E {
    match T::KEYS {
        [] => E::custom(format_args!("duplicate field `{key}`")),
        keys => E::custom(format_args!(
            "duplicate field `{key}`: only one of {} may be given",
            keys.join(", ")
        )),
    }
}

/// The JSON name of a field. Fields named like a Rust keyword end in `_` here and not in JSON.
pub(super) const fn json_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [.., b'_'] => field.split_at(field.len() - 1).0,
        _ => field,
    }
}

/// A key of a JSON object, borrowed from the text where it has no escapes.
pub(super) struct Key<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }
            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        from.deserialize_str(Read)
    }
}

/// Implements [`Member`] for types that must be present and whose key is the field's name.
macro_rules! members {
    ($($type:ty),+ $(,)?) => {$(
        impl<'de> $crate::member::Member<'de> for $type {}
    )+};
}
pub(super) use members;

members!(String, Arc<str>, bool, u16, u32, u64, f64);

impl<'de, T: Member<'de>> Member<'de> for Vec<T> {}

impl<'de, T: Member<'de>> Member<'de> for Option<T> {
    fn write<S: SerializeStruct>(&self, name: &'static str, out: &mut S) -> Result<(), S::Error> {
        match self {
            Some(it) => it.write(name, out),
            None => out.skip_field(name),
        }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}
