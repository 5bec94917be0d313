//! How ids and addresses of people are written to the log and kept for explanations.

use std::str::FromStr;

/// How the addresses of clients are kept for explanations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addresses {
    /// As a hash, which is the same for the same address on all gateways of a cluster.
    #[default]
    Hashed,
    /// The address itself.
    Full,
    /// No address is kept.
    Off,
}

impl FromStr for Addresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "hashed" => Ok(Addresses::Hashed),
            "full" => Ok(Addresses::Full),
            "off" => Ok(Addresses::Off),
            _ => Err("hashed, full or off would do".into()),
        }
    }
}

/// How much of the journal is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalSettings {
    /// The level of the events of connections.
    pub level: JournalLevel,
    /// How many of them are logged in a second, at most; as many may come at once.
    pub per_second: u32,
    /// How user ids are written.
    pub user_ids: UserIds,
}

/// The level of the events of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalLevel {
    /// Events of connections are not logged.
    Off,
    /// They are logged where `log.filter` allows `debug`.
    Debug,
    /// They are logged where `log.filter` allows `info`.
    Info,
}

/// How user ids are written to the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserIds {
    /// The id itself.
    Plain,
    /// As a keyed hash, which is the same for the same user on every gateway that shares the store.
    Hashed,
    /// No id is written.
    Off,
}

impl FromStr for JournalLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(JournalLevel::Off),
            "debug" => Ok(JournalLevel::Debug),
            "info" => Ok(JournalLevel::Info),
            _ => Err("off, debug or info would do".into()),
        }
    }
}

impl FromStr for UserIds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "plain" => Ok(UserIds::Plain),
            "hashed" => Ok(UserIds::Hashed),
            "off" => Ok(UserIds::Off),
            _ => Err("plain, hashed or off would do".into()),
        }
    }
}
