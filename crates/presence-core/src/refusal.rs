//! Why a request is not granted.

use std::fmt;
use std::time::Duration;

/// Why a request is not granted. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The session is over, or was taken over by a newer connection.
    NoSession,
    /// The session is not in that channel, or not visibly.
    NotJoined,
    /// A limit is reached.
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// Too much of it in this tick.
    TooFast {
        /// When it may work.
        retry_after: Duration,
    },
    /// What stores this is away.
    Unavailable,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NoSession => f.write_str("the session is over"),
            Refusal::NotJoined => {
                f.write_str("join the channel first (invisible people are not in it)")
            }
            Refusal::TooMany { what, max } => write!(f, "at most {max} {what}"),
            Refusal::TooFast { .. } => f.write_str("too much at once in this channel"),
            Refusal::Unavailable => f.write_str("the profile store is away"),
        }
    }
}

impl std::error::Error for Refusal {}
