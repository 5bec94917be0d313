//! Turns structs into frames: the macros that declare frames, and the trait of their fields.
//!
//! Derived serde does not fit: JSON leaves out a field that is `None`, postcard must not; the JSON key of a
//! [`TopicId`](super::TopicId) depends on its value; and errors must name the field.

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
        impl<'de> $crate::frame::Member<'de> for $type {}
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

/// Declares structs that are frames or parts of frames.
///
/// `strict` ones refuse unknown fields (commands: a misspelt name is found), `lenient` ones ignore them
/// (events: an older client understands a newer gateway).
macro_rules! frame {
    ($strictness:ident $(
        $(#[$doc:meta])*
        $vis:vis struct $name:ident {
            $( $(#[$field_doc:meta])* $field_vis:vis $field:ident: $type:ty, )*
        }
    )+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $( $(#[$field_doc])* $field_vis $field: $type, )*
        }

        impl $name {
            /// Writes the fields as JSON, without those that are absent.
            #[allow(dead_code)]
            pub(super) fn write_fields<S: serde::ser::SerializeStruct>(
                &self,
                _out: &mut S,
            ) -> Result<(), S::Error> {
                $( $crate::frame::Member::write(
                    &self.$field,
                    const { $crate::frame::json_name(stringify!($field)) },
                    _out,
                )?; )*
                Ok(())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct;
                const FIELDS: usize = [$(stringify!($field)),*].len();
                let readable = to.is_human_readable();
                let mut out = to.serialize_struct(stringify!($name), FIELDS)?;
                if readable {
                    self.write_fields(&mut out)?;
                } else {
                    $( out.serialize_field(stringify!($field), &self.$field)?; )*
                }
                out.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                use $crate::frame::{Key, is_key, json_name, missing, twice, Member};
                use serde::de::Error as _;

                struct Read;
                impl<'de> serde::de::Visitor<'de> for Read {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("an object")
                    }

                    // Binary: every field, in order.
                    fn visit_seq<A: serde::de::SeqAccess<'de>>(
                        self,
                        mut from: A,
                    ) -> Result<$name, A::Error> {
                        Ok($name {
                            $( $field: from
                                .next_element()?
                                .ok_or_else(|| A::Error::missing_field(stringify!($field)))?, )*
                        })
                    }

                    // JSON: by name.
                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut from: A,
                    ) -> Result<$name, A::Error> {
                        $( let mut $field: Option<$type> = None; )*
                        while let Some(Key(key)) = from.next_key::<Key<'de>>()? {
                            $( if is_key::<$type>(const { json_name(stringify!($field)) }, &key) {
                                if $field.is_some() {
                                    return Err(twice::<$type, A::Error>(&key));
                                }
                                $field = Some(<$type as Member<'de>>::read(&key, &mut from)?);
                                continue;
                            } )*
                            $crate::frame::unknown!($strictness, key, from);
                        }
                        Ok($name {
                            $( $field: match $field {
                                Some(it) => it,
                                None => missing(const { json_name(stringify!($field)) })?,
                            }, )*
                        })
                    }
                }
                from.deserialize_struct(stringify!($name), &[$(stringify!($field)),*], Read)
            }
        }

        impl<'de> $crate::frame::Member<'de> for $name {}
    )+};
}
pub(super) use frame;

/// What a struct does with a field that it does not have. The decoder has read `type` before.
macro_rules! unknown {
    (lenient, $key:ident, $from:ident) => {{
        let _ = $key;
        $from.next_value::<serde::de::IgnoredAny>()?;
    }};
    (strict, $key:ident, $from:ident) => {{
        if $key != "type" {
            return Err(A::Error::custom(format_args!(
                "unknown field `{}`",
                $key.escape_debug()
            )));
        }
        $from.next_value::<serde::de::IgnoredAny>()?;
    }};
    (closed, $key:ident, $from:ident) => {
        return Err(A::Error::custom(format_args!(
            "unknown field `{}`",
            $key.escape_debug()
        )))
    };
}
pub(super) use unknown;

/// Declares the enum of all frames of one direction, from each frame's `type` and struct.
macro_rules! frames {
    (
        $(#[$doc:meta])*
        pub enum $name:ident {
            $( $kind:literal => $variant:ident($type:ty), )+
        }
    ) => {
        $(#[$doc])*
        ///
        /// Its serde form is the schema of binary frames. For JSON use [`to_json`](Self::to_json).
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[allow(missing_docs)] // Each variant is documented at its struct.
        #[allow(clippy::large_enum_variant)] // Frames live for one function call.
        pub enum $name {
            $( $variant($type), )+
        }

        impl $name {
            /// The `type` of every frame of this direction.
            pub const TYPES: &'static [&'static str] = &[$($kind),+];

            /// The `type` of this frame.
            pub fn kind(&self) -> &'static str {
                match self {
                    $( $name::$variant(_) => $kind, )+
                }
            }

            /// Appends the JSON text of the frame to `out`.
            pub fn encode_json(&self, out: &mut Vec<u8>) {
                match self {
                    $( $name::$variant(frame) => $crate::codec::write_json(
                        $kind,
                        |fields| frame.write_fields(fields),
                        out,
                    ), )+
                }
            }

            /// The JSON text of the frame.
            pub fn to_json(&self) -> String {
                let mut out = Vec::with_capacity(256);
                self.encode_json(&mut out);
                String::from_utf8(out).expect("JSON is UTF-8")
            }

            /// Reads a frame from its JSON text. Half a surrogate pair in it is read as U+FFFD.
            ///
            /// # Errors
            ///
            /// Says what is wrong with the text, in which field, and with which `ref`.
            pub fn from_json(text: &str) -> Result<Self, $crate::DecodeError> {
                let text = &*$crate::mend(text);
                let head = $crate::codec::head(text)?;
                match &*head.kind {
                    $( $kind => $crate::codec::body(text, head.ref_).map($name::$variant), )+
                    kind => Err($crate::DecodeError::unknown(kind, head.ref_)),
                }
            }

            /// Appends the bytes of the binary frame to `out`.
            pub fn encode_postcard(&self, out: &mut Vec<u8>) {
                $crate::codec::write_postcard(self, out);
            }

            /// The bytes of the binary frame.
            pub fn to_postcard(&self) -> Vec<u8> {
                let mut out = Vec::with_capacity(128);
                self.encode_postcard(&mut out);
                out
            }

            /// Reads a frame from the bytes of a binary frame.
            ///
            /// # Errors
            ///
            /// Says what is wrong with the bytes. Binary frames have no field names, so `field` is set only for a JSON
            /// text inside the frame.
            pub fn from_postcard(frame: &[u8]) -> Result<Self, $crate::DecodeError> {
                $crate::codec::read_postcard(frame)
            }
        }
    };
}
pub(super) use frames;
