//! Who is here, right now, and what are they doing? Every rule of Presence, as a pure state machine.
//!
//! Facts go in with the time at which they happened; effects come out, for somebody else to perform.
//! Nothing here opens, waits, reads a clock or rolls a die, so a whole node runs in one test in virtual time.
//!
//! Two machines share the work, because two kinds of thing are shared out over cores:
//!
//! - [`users::Users`] knows people: their sessions and devices, what they chose, what others may see.
//!   It alone knows who is invisible.
//! - [`rosters::Rosters`] knows places: who is in a channel or a workspace, who types, who points where,
//!   and what every watcher has been told. It only ever hears of people who may be seen.
//!
//! What the first writes, the second shows: [`users::Effect::Write`] is [`rosters::Input::Wrote`].
//! [`node::Node`] is both together, for a test or a small embedding.

mod bucket;
pub mod cluster;
mod epochs;
mod event;
pub mod hooks;
mod id;
mod json;
mod limits;
mod member;
mod meta;
pub mod node;
mod payload;
pub mod ports;
mod refusal;
pub mod revocation;
mod room;
pub mod rosters;
mod seldom;
mod status;
pub mod text;
mod time;
mod timers;
pub mod users;

pub use bucket::{ByteBucket, ByteRate, Rate, TokenBucket};
pub use event::{
    Change, Clock, Cursor, Event, Face, Move, Owned, OwnedDevice, Pointer, Selection, Topic,
    Watching,
};
pub use id::{ChannelId, DeviceId, DeviceKind, IdError, Outsider, SessionId, UserId, WorkspaceId};
pub use json::{JSON_DEPTH_MAX, JsonError, check_json};
pub use limits::{Limits, Timing, TimingError};
pub use member::{Look, Member, Person, Reason};
pub use meta::{META_BYTES_MAX, Meta, MetaError, Shown, color_of};
pub use payload::{EVENT_BYTES_MAX, PAYLOAD_BYTES_MAX, Payload, PayloadError};
pub use refusal::Refusal;
pub use room::shrink_after_burst;
pub use seldom::Seldom;
pub use status::{
    CLEAR_AFTER_MAX, Chosen, EMOJI_BYTES_MAX, Edit, Expiry, MESSAGE_CHARS_MAX, Moments, Profile,
    Status, StatusChange, StatusError, Visible, checked_emoji, checked_message,
};
pub use time::Timestamp;
pub use timers::Timers;

/// The examples of `README.md`, compiled and run with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
