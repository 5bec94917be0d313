//! Why a command of a [`Presence`](crate::Presence) has no result.

use std::sync::Arc;
use std::time::Duration;

use crate::wire::ErrorCode;
use crate::wire::event;

/// Why a command of a [`Presence`](crate::Presence) has no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PresenceError {
    /// The gateway refused the command, with a code for programs, a message for people, and the field that is wrong.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(event::Error),
    /// There was no connection for this time. A join, a watch and what ends them still hold: the client does
    /// them once it is connected.
    #[error("not connected within {0:?}")]
    NotConnected(Duration),
    /// There is a connection, and no answer came for this time. It is not known whether the command was carried out.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// There is no connection for something that is worth nothing later, or the connection was lost before the answer came. In the latter case
    /// it is not known whether the command was carried out.
    #[error("disconnected before an answer")]
    Disconnected,
    /// The connection has ended for good; the text says why.
    #[error("closed: {0}")]
    Closed(Arc<str>),
    /// As many commands as this wait for a connection already.
    #[error("{0} commands wait for a connection already")]
    TooMany(usize),
    /// The command is longer than this gateway accepts, so it was not sent.
    #[error("the command has {bytes} bytes; the gateway accepts {bytes_max}")]
    TooLarge {
        /// The length of the command, in bytes.
        bytes: usize,
        /// The longest frame that the gateway accepts, in bytes.
        bytes_max: u64,
    },
}

impl PresenceError {
    /// A refusal that the client makes itself, because the gateway would.
    pub(crate) fn refused(code: ErrorCode, message: &str) -> Self {
        PresenceError::Refused(event::Error {
            ref_: None,
            code,
            message: message.to_owned(),
            field: None,
            retry_after: None,
        })
    }

    /// After what time to try again, if the refusal says "later" and not "no".
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        let PresenceError::Refused(it) = self else {
            return None;
        };
        let later = matches!(
            it.code,
            ErrorCode::RateLimited | ErrorCode::Overloaded | ErrorCode::Unavailable
        );
        let wait = it.retry_after.map_or(RETRY, Duration::from_millis);
        later.then_some(wait.min(RETRY_MAX))
    }
}

/// When to try again if the gateway does not say.
const RETRY: Duration = Duration::from_secs(1);

/// No refusal makes the client wait longer than this.
const RETRY_MAX: Duration = Duration::from_secs(300);
