//! The native protocol as types: every frame of `docs/protocol.md`, in JSON and in binary.
//!
//! A frame is a [`Command`] or an [`Event`]. Ids are unchecked strings here; the receiver checks them.

pub mod command;
pub mod event;

mod choice;
mod lists;
mod people;
mod value;
mod words;

mod frame;
mod frames;
mod member;

mod codec;
mod error;
mod mend;
mod sound;

pub use codec::VERSION;
pub use command::Command;
pub use error::{DecodeError, DecodeErrorKind};
pub use event::Event;
pub use mend::mend;
pub use sound::{Fault, fault_in};
pub use value::{After, Epoch, Field, Have, Json, Ref, Selection, Session, Target, TopicId};
pub use words::{Activity, Chosen, DeviceKind, ErrorCode, Mode, Order, Reason, Visible};

/// The name of the WebSocket subprotocol of JSON frames.
pub const JSON: &str = "presence.v1.json";
/// The name of the WebSocket subprotocol of binary frames.
pub const POSTCARD: &str = "presence.v1.postcard";
/// The prefix of the subprotocol that carries a token: the token follows it.
pub const BEARER: &str = "presence.bearer.";

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
