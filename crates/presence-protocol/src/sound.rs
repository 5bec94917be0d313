//! Checks JSON texts that are kept and sent on as they are.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use super::member::Key;

/// How deep objects and lists may be nested in one another. JSON readers give up at 100 or more, and the gateway sends
/// what a command carries inside of events.
const DEPTH_MAX: usize = 64;
const TOO_DEEP: &str = "nested too deep";

/// The reason why a JSON text cannot be sent on.
pub struct Fault {
    /// The place of the fault, to be appended to the name of the text, such as `.a[0]`; empty if all of it is at fault.
    pub path: String,
    /// What is wrong at that place.
    pub message: String,
}

/// The longest path that an error names, in bytes.
const PATH_BYTES_MAX: usize = 200;

/// Finds the first fault in `text`: a number out of range, nesting too deep, or a text that is not one JSON value.
pub fn fault_in(text: &str) -> Option<Fault> {
    let mut from = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut from, &mut track);
    let outcome = Sound::FIELD.deserialize(tracked);
    let why = outcome.and_then(|()| from.end()).err()?;
    let path = track.path().to_string();
    let path = match path.as_bytes() {
        [b'.'] => String::new(),
        [b'[', ..] => path,
        _ => format!(".{path}"),
    };
    let words = why.to_string();
    let message = words
        .rfind(" at line ")
        .map_or(&words[..], |end| &words[..end]);
    // Where something is nested too deep, the first step of the path is enough.
    let is_short = path.len() <= PATH_BYTES_MAX && message != TOO_DEEP;
    Some(Fault {
        path: if is_short { path } else { beginning(&path) },
        message: message.to_owned(),
    })
}

/// The first step of a path; empty if that is too long.
fn beginning(path: &str) -> String {
    let mut steps = path.match_indices(['.', '[']).map(|(at, _)| at);
    let end = steps.nth(1).unwrap_or(path.len());
    let first = &path[..end];
    if first.len() <= PATH_BYTES_MAX {
        first
    } else {
        ""
    }
    .to_owned()
}

/// Reads any JSON and keeps nothing: strings must be whole Unicode, numbers finite, depth within bounds.
/// (What is merely skipped or kept raw is not looked at that closely.)
#[derive(Clone, Copy)]
pub(super) struct Sound {
    depth: usize,
}

impl Sound {
    /// Reads the value of a field. The frame that has the field is one level of [`DEPTH_MAX`].
    pub(super) const FIELD: Sound = Sound {
        depth: DEPTH_MAX - 1,
    };

    fn deeper<E: Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Sound { depth }),
            None => Err(E::custom(TOO_DEEP)),
        }
    }
}

/// Whether `text` is one sound JSON value.
pub(super) fn check_json(text: &str) -> Result<(), serde_json::Error> {
    let mut from = serde_json::Deserializer::from_str(text);
    Sound::FIELD.deserialize(&mut from)?;
    from.end()
}

impl<'de> DeserializeSeed<'de> for Sound {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<(), A::Error> {
        let deeper = self.deeper()?;
        while from.next_element_seed(deeper)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<(), A::Error> {
        let deeper = self.deeper()?;
        while from.next_key::<Key<'de>>()?.is_some() {
            from.next_value_seed(deeper)?;
        }
        Ok(())
    }
}
