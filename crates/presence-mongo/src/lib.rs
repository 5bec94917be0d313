//! The profiles on MongoDB: one document per user, which a person with `mongosh` understands.
//!
//! [`MongoProfiles`] is the port [`Profiles`](presence_core::ports::Profiles); [`Settings`] say which MongoDB. It decides
//! nothing: which of two profiles stays is said by the core, and the update carries what it needs for that.
//!
//! What is stored is described in `docs/mongodb.md`.

mod document;
mod index;
mod profiles;
mod settings;

pub use self::profiles::{CLOSE_TIME_MAX, MongoProfiles, PROFILES_PER_COMMAND_MAX};
pub use self::settings::{
    CONNECT_TIME_MAX, DATABASE, OPERATION_TIME_MAX, SELECTION_TIME_MAX, Settings, SettingsError,
};

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
