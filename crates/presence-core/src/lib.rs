//! The rules of Presence (who is here, right now, and what are they doing?) as a pure state machine.
//!
//! Inputs are facts, with the time at which they happened. Outputs are effects, which the caller performs. Nothing in
//! this crate does I/O, waits, reads a clock or draws random numbers, so a whole node runs in one test in virtual time.
//!
//! There are two state machines, because a node spreads users and channels over its cores separately:
//!
//! - [`users::Users`] holds the users: their sessions and devices, what they chose, and what others may see. Only this
//!   machine knows who is invisible.
//! - [`rosters::Rosters`] holds the channels and workspaces: who is there, who is typing, where the cursors are, and
//!   what every watcher was told. It is told only about users who may be seen.
//!
//! Entries go from the first to the second: [`users::Effect::Write`] becomes [`rosters::Input::Wrote`]. [`node::Node`]
//! is both machines in one, for tests and small programs that embed Presence.
//!
//! # Features
//!
//! `serde` (off by default) implements `Serialize` and `Deserialize` for the types that a program stores or sends: ids, statuses,
//! profiles, [`Look`], [`PublicView`], [`Meta`], [`Payload`] and their parts. Words are those of `as_str`. What a constructor refuses is refused in
//! what is read, too. It also adds `Meta::of` and `Payload::of`, which write any value that is `Serialize` as JSON.
//!
//! [`Event`]s and [`Member`]s have fields that nobody may be shown, so they cannot be written as a whole.

mod activity;
mod bucket;
pub mod cluster;
mod epochs;
mod event;
pub mod explain;
pub mod hash;
pub mod history;
pub mod hooks;
mod id;
mod incarnation;
mod json;
mod limits;
mod log_throttle;
mod member;
mod meta;
pub mod node;
mod payload;
pub mod ports;
mod profile;
mod refusal;
pub mod revocation;
pub mod rosters;
#[cfg(feature = "serde")]
mod serialized;
mod shrink;
mod status;
pub mod text;
mod time;
mod timers;
pub mod users;
mod window;
mod words;

pub use bucket::{ByteBucket, ByteRate, Rate, TokenBucket};
pub use event::{
    Change, Cursor, Event, Move, OwnDevice, OwnView, Pointer, PublicView, Row, Selection, Sender,
    Topic, TopicVersion, Watching,
};
pub use id::{ChannelId, DeviceId, DeviceKind, IdError, Outsider, SessionId, UserId, WorkspaceId};
pub use json::{JSON_DEPTH_MAX, JsonError, check_json};
pub use limits::{Limits, Tick, Timing, TimingError};
pub use log_throttle::LogThrottle;
pub use member::{Look, Member, Person, Reason};
pub use meta::{META_BYTES_MAX, Meta, MetaError, Shown, color_of};
pub use payload::{EVENT_BYTES_MAX, PAYLOAD_BYTES_MAX, Payload, PayloadError};
pub use profile::{Moments, Profile, StatusSource};
pub use refusal::Refusal;
pub use shrink::shrink_after_burst;
pub use status::{
    CLEAR_AFTER_MAX, Chosen, EMOJI_BYTES_MAX, Edit, Expiry, MESSAGE_CHARS_MAX, Status,
    StatusChange, StatusError, Visible, checked_emoji, checked_message,
};
pub use time::Timestamp;
pub use timers::Timers;
pub use window::{Order, ROW_SESSIONS_MAX, SORTED_NAME_BYTES_MAX, Span, WINDOW_ROWS_MAX, Window};
pub use words::WordError;

/// The example in virtual time, compiled and run with the doc tests.
///
/// ```
#[doc = include_str!("../examples/virtual_time.rs")]
/// ```
#[cfg(doctest)]
struct VirtualTime;

/// The example of rosters alone, compiled and run with the doc tests.
///
/// ```
#[doc = include_str!("../examples/lobby.rs")]
/// ```
#[cfg(doctest)]
struct Lobby;

/// The examples of `README.md`, compiled and run with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
