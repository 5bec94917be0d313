//! The payload of a broadcast: what a session or a service sends to a channel.

use std::fmt;
use std::sync::Arc;

use crate::json::{JsonError, check_json};

/// The maximum size of a payload, in bytes of its JSON text.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// The maximum length of the name of a broadcast's event, in bytes.
pub const EVENT_BYTES_MAX: usize = 255;

/// The content of a broadcast: a JSON value of at most [`PAYLOAD_BYTES_MAX`] bytes, or nothing.
///
/// Its text is written into the frames of everybody who watches the channel. So a payload can be made only from a text
/// that was checked: by [`from_json`](Self::from_json), or `of` of the feature `serde`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload(Arc<str>);

/// Why a text or a value is not a valid [`Payload`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PayloadError {
    /// The text has more than [`PAYLOAD_BYTES_MAX`] bytes.
    TooLarge,
    /// The text is not JSON that every client can read.
    Json(JsonError),
    /// The value that `Payload::of` was given cannot be written as JSON. The text says why.
    Value(Arc<str>),
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PayloadError::TooLarge => write!(f, "must be at most {PAYLOAD_BYTES_MAX} bytes"),
            PayloadError::Json(error) => write!(f, "must be JSON: {error}"),
            PayloadError::Value(why) => write!(f, "must be writable as JSON: {why}"),
        }
    }
}

impl std::error::Error for PayloadError {}

impl Payload {
    /// The empty payload: a broadcast without content.
    pub fn none() -> Self {
        Payload::default()
    }

    /// Checks a JSON text. An empty text is the [empty payload](Self::none).
    ///
    /// # Errors
    ///
    /// [`PayloadError`] if the text has more than [`PAYLOAD_BYTES_MAX`] bytes, or is not JSON; see [`check_json`].
    pub fn from_json(json: impl Into<Arc<str>>) -> Result<Self, PayloadError> {
        let json = json.into();
        if json.len() > PAYLOAD_BYTES_MAX {
            return Err(PayloadError::TooLarge);
        }
        if !json.is_empty() {
            check_json(&json).map_err(PayloadError::Json)?;
        }
        Ok(Payload(json))
    }

    /// Writes `value` as JSON. A number that JSON cannot write (NaN, an infinity) becomes `null`.
    ///
    /// ```
    /// use presence_core::Payload;
    ///
    /// let payload = Payload::of(&("dice", [3, 5]))?;
    /// assert_eq!(&**payload.json(), r#"["dice",[3,5]]"#);
    /// # Ok::<(), presence_core::PayloadError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`PayloadError::Value`] if the value cannot be written, such as a map whose keys are lists; otherwise those of
    /// [`from_json`](Self::from_json).
    #[cfg(feature = "serde")]
    pub fn of(value: &(impl serde::Serialize + ?Sized)) -> Result<Self, PayloadError> {
        let json = serde_json::to_string(value);
        Payload::from_json(json.map_err(|why| PayloadError::Value(why.to_string().into()))?)
    }

    /// The JSON text of the payload; an empty text if there is no content.
    pub fn json(&self) -> &Arc<str> {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_json_of_bounded_size_or_nothing() {
        for text in ["", "7", "\"hi\"", "[1]", " {} "] {
            assert_eq!(&**Payload::from_json(text).unwrap().json(), text);
        }
        for text in ["hi", "{", "1 2", " "] {
            let error = Payload::from_json(text).unwrap_err();
            assert!(matches!(error, PayloadError::Json(_)), "{text}");
        }
        let big = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        assert!(Payload::from_json(big(PAYLOAD_BYTES_MAX)).is_ok());
        let error = Payload::from_json(big(PAYLOAD_BYTES_MAX + 1)).unwrap_err();
        assert_eq!(error, PayloadError::TooLarge);
    }
}
