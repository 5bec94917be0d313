//! Keeps profiles in MongoDB: one document per user, which a person can read with `mongosh`.
//!
//! [`MongoProfiles`] implements the port [`Profiles`](presence_core::ports::Profiles); [`Settings`] say which MongoDB to
//! use. It makes no decisions: the core says which of two profiles stays, and the update command carries what the server
//! needs for that.
//!
//! `docs/mongodb.md` describes what is stored.

mod document;
mod index;
mod profiles;
mod settings;
mod srv;

pub use self::profiles::{CLOSE_TIME_MAX, MongoProfiles, PROFILES_PER_COMMAND_MAX};
pub use self::settings::{
    CONNECT_TIME_MAX, DATABASE, OPERATION_TIME_MAX, SELECTION_TIME_MAX, Settings, SettingsError,
};
pub use self::srv::LOOKUP_TIME_MAX;

/// The examples of `README.md`, compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
