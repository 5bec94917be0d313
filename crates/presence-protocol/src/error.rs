//! The error of a frame that cannot be decoded.

use std::fmt;

use super::value::Ref;
use super::words::ErrorCode;

/// The kind of mistake in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeErrorKind {
    /// It is not a frame at all: not JSON, not an object, of another version, or cut short.
    Malformed,
    /// It is a frame whose `type` this version does not know.
    Unknown,
    /// A field is missing, unknown, or has a bad value.
    Invalid,
}

/// Why a frame cannot be decoded, in words for the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecodeError {
    /// The kind of mistake in the frame.
    pub kind: DecodeErrorKind,
    /// The field that is wrong, as a path such as `have.epoch`.
    pub field: Option<String>,
    /// What is wrong, in words.
    pub message: String,
    /// The `ref` of the frame, if that could be read.
    pub ref_: Option<Ref>,
}

impl DecodeError {
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        DecodeError {
            kind: DecodeErrorKind::Malformed,
            field: None,
            message: message.into(),
            ref_: None,
        }
    }

    pub(super) fn invalid(field: &str, message: impl Into<String>, ref_: Option<Ref>) -> Self {
        DecodeError {
            kind: DecodeErrorKind::Invalid,
            field: Some(field.to_owned()),
            message: message.into(),
            ref_,
        }
    }

    pub(super) fn unknown(kind: &str, ref_: Option<Ref>) -> Self {
        // The start of the type is enough to recognise it.
        let shown: String = kind.chars().take(64).collect();
        DecodeError {
            kind: DecodeErrorKind::Unknown,
            field: Some("type".to_owned()),
            message: format!("unknown type `{shown}`"),
            ref_,
        }
    }

    /// The error code that the protocol has for this kind of mistake.
    pub fn code(&self) -> ErrorCode {
        match self.kind {
            DecodeErrorKind::Malformed => ErrorCode::Malformed,
            DecodeErrorKind::Unknown => ErrorCode::UnknownCommand,
            DecodeErrorKind::Invalid => ErrorCode::Invalid,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DecodeError {}
