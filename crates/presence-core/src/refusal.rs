//! Why a request is refused.

use std::fmt;
use std::time::Duration;

/// Why a request was refused. A refused request has changed nothing, but after [`Unavailable`](Refusal::Unavailable) and
/// [`Stopped`](Refusal::Stopped) that is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The session has ended, or a newer connection has taken it over.
    NoSession,
    /// The session is not in that channel, or its user hides.
    NotJoined,
    /// A limit is reached, such as the sessions of one user.
    TooMany {
        /// What there would be too many of, such as `sessions of one user`.
        what: &'static str,
        /// The limit that is reached.
        max: usize,
    },
    /// There are too many broadcasts in this channel within [`Timing::RATE_WINDOW`](crate::Timing::RATE_WINDOW).
    TooFast {
        /// How long to wait before the request may succeed.
        retry_after: Duration,
    },
    /// A store that is needed for this is not available, or the node is overloaded with requests that wait for it. A
    /// change may have been made already, and may still be stored. The same request may succeed later.
    Unavailable,
    /// The node has stopped, perhaps after it made a change. No request to it succeeds any more. Another node may serve
    /// the same request.
    Stopped,
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
            Refusal::Stopped => f.write_str("this node has stopped"),
        }
    }
}

impl std::error::Error for Refusal {}
