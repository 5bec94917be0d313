//! Encodes frames to bytes, and decodes bytes to frames.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, Error, MapAccess, Visitor};
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::error::{DecodeError, DecodeErrorKind};
use super::member::Key;
use super::sound::{Fault, Sound, fault_in};
use super::value::Ref;

/// The first byte of every binary frame.
pub const VERSION: u8 = 1;

/// The two fields that the decoder needs before it can read the rest.
pub(super) struct Head<'a> {
    pub(super) kind: Cow<'a, str>,
    pub(super) ref_: Option<Ref>,
}

/// Reads `type` and `ref`, and checks that everything else is valid JSON, also what is later kept as a text.
pub(super) fn head(text: &str) -> Result<Head<'_>, DecodeError> {
    let RawHead { kind, ref_ } = read_json(text).map_err(|why| unreadable(text, &why))?;
    let ref_ = match ref_.map(RawValue::get) {
        None | Some("null") => None,
        Some(text) => match Ref::from_json(text) {
            Ok(ref_) => Some(ref_),
            Err(why) => return Err(DecodeError::invalid("ref", format!("ref {why}"), None)),
        },
    };
    let Some(kind) = kind else {
        return Err(DecodeError::invalid("type", "missing field `type`", ref_));
    };
    match serde_json::from_str::<Key<'_>>(kind.get()) {
        Ok(Key(kind)) => Ok(Head { kind, ref_ }),
        Err(_) => Err(DecodeError::invalid("type", "type must be a string", ref_)),
    }
}

/// The error for a text that is no frame. If it is an object in which only one value is bad, the error names that value and
/// carries the `ref` of the command.
fn unreadable(text: &str, why: &serde_json::Error) -> DecodeError {
    let malformed = || DecodeError::malformed(plain(why));
    let Ok(Parts(parts)) = read_json(text) else {
        return malformed();
    };
    let ref_ = parts.iter().find(|(key, _)| key == "ref");
    let ref_ = ref_.and_then(|(_, value)| Ref::from_json(value.get()).ok());
    let fault = parts.iter().find_map(|(key, value)| {
        let Fault { path, message } = fault_in(value.get())?;
        Some((format!("{key}{path}"), message))
    });
    match fault {
        Some((field, message)) => {
            let message = format!("{field}: {message}");
            DecodeError::invalid(&field, message, ref_)
        }
        None => malformed(),
    }
}

/// The members of an object, whose values have not been parsed.
struct Parts<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Parts<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Parts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Parts<'de>, A::Error> {
                let mut parts = Vec::new();
                while let Some(Key(key)) = from.next_key()? {
                    parts.push((key, from.next_value()?));
                }
                Ok(Parts(parts))
            }
        }
        from.deserialize_map(Read)
    }
}

/// Reads a frame of a type that is known by now.
pub(super) fn body<'a, T: Deserialize<'a>>(
    text: &'a str,
    ref_: Option<Ref>,
) -> Result<T, DecodeError> {
    read_json(text).or_else(|_| {
        // Parse again, this time with the path: good frames need not pay for tracking it.
        let mut from = serde_json::Deserializer::from_str(text);
        let it = match serde_path_to_error::deserialize::<_, T>(&mut from) {
            Ok(it) => return Ok(it),
            Err(it) => it,
        };
        let message = plain(it.inner());
        let path = it.path().to_string();
        let at = if path == "." { String::new() } else { path };
        let field = match (named(&message), at.is_empty()) {
            (Some(field), true) => field.to_owned(),
            (Some(field), false) => format!("{at}.{field}"),
            (None, _) => at,
        };
        let message = match named(&message) {
            Some(_) => message,
            None if message.starts_with("must ") => format!("{field} {message}"),
            None => format!("{field}: {message}"),
        };
        Err(DecodeError::invalid(&field, message, ref_.clone()))
    })
}

/// The field that a message of `frame.rs` names.
fn named(message: &str) -> Option<&str> {
    let field = ["missing field `", "unknown field `", "duplicate field `"]
        .iter()
        .find_map(|start| message.strip_prefix(start))?;
    field.split('`').next()
}

/// The words of an error without the line: a frame is one line, and the field says more.
fn plain(it: &serde_json::Error) -> String {
    let text = it.to_string();
    match text.rfind(" at line ") {
        Some(end) if it.is_data() || it.column() == 0 => text[..end].to_owned(),
        Some(end) => format!("{} at byte {}", &text[..end], it.column()),
        None => text,
    }
}

fn read_json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    serde_json::from_str(text)
}

#[derive(Default)]
struct RawHead<'a> {
    kind: Option<&'a RawValue>,
    ref_: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for RawHead<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = RawHead<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<RawHead<'de>, A::Error> {
                let mut head = RawHead::default();
                while let Some(Key(key)) = from.next_key()? {
                    let place = match &*key {
                        "type" => &mut head.kind,
                        "ref" => &mut head.ref_,
                        _ => {
                            from.next_value_seed(Sound::FIELD)?;
                            continue;
                        }
                    };
                    if place.is_some() {
                        return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
                    }
                    *place = Some(from.next_value()?);
                }
                Ok(head)
            }
        }
        from.deserialize_map(Read)
    }
}

/// Appends the JSON of a frame: its type, then its fields.
pub(super) fn write_json<F>(kind: &'static str, fields: F, out: &mut Vec<u8>)
where
    F: Fn(&mut Fields<'_>) -> Result<(), serde_json::Error>,
{
    let mut to = serde_json::Serializer::new(out);
    let written = (&mut to).serialize_struct("Frame", 1).and_then(|mut out| {
        out.serialize_field("type", kind)?;
        fields(&mut out)?;
        out.end()
    });
    written.expect("frames can always be written");
}

/// Where the fields of a JSON frame are written to.
pub(super) type Fields<'a> =
    <&'a mut serde_json::Serializer<&'a mut Vec<u8>> as Serializer>::SerializeStruct;

/// Appends a binary frame.
pub(super) fn write_postcard<T: Serialize>(frame: &T, out: &mut Vec<u8>) {
    out.push(VERSION);
    *out = postcard::to_extend(frame, std::mem::take(out)).expect("frames can always be written");
}

/// Reads a binary frame.
pub(super) fn read_postcard<T: DeserializeOwned>(frame: &[u8]) -> Result<T, DecodeError> {
    let bytes = match frame {
        [VERSION, bytes @ ..] => bytes,
        [other, ..] => {
            let message = format!("binary frames of version {other} are not known");
            return Err(DecodeError::malformed(message));
        }
        [] => return Err(DecodeError::malformed("an empty frame")),
    };
    match postcard::take_from_bytes(bytes) {
        Ok((frame, [])) => Ok(frame),
        Ok((_, rest)) => {
            let message = format!("{} bytes too many", rest.len());
            Err(DecodeError::malformed(message))
        }
        // postcard cannot pass on the text that says what a value must be like.
        Err(postcard::Error::SerdeDeCustom) => Err(DecodeError {
            kind: DecodeErrorKind::Invalid,
            ..DecodeError::malformed("a value is not as it should be")
        }),
        Err(it) => Err(DecodeError::malformed(it.to_string())),
    }
}
