//! What can go wrong: a connection that does not come about or ends, and a command without a result.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::wire::event;
use crate::wire::{DecodeError, ErrorCode};

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

    /// After what time to send the same again, if the gateway refused it because it came too fast. It has done nothing then.
    pub(crate) fn too_fast(&self) -> Option<Duration> {
        match self {
            PresenceError::Refused(it) if it.code == ErrorCode::RateLimited => self.retry_after(),
            _ => None,
        }
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

/// Why a client could not connect.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is neither `ws://host:port/path` nor `wss://host:port/path`.
    #[error("neither a ws:// nor a wss:// URL: {0}")]
    Url(String),
    /// The connection cannot be encrypted: the text says what is wrong with the certificates that the client should trust, or
    /// that this build has no TLS.
    #[error("no TLS: {0}")]
    Tls(String),
    /// The token has characters that cannot stand in an HTTP header.
    #[error("the token has characters that no token has")]
    Token,
    /// No TCP connection to the gateway could be made.
    #[error("cannot reach the gateway")]
    Unreachable(#[from] std::io::Error),
    /// The gateway answered the request with this HTTP status.
    #[error("the gateway answered with status {0}")]
    Refused(u16),
    /// The server's answer is not a correct WebSocket handshake.
    #[error("the WebSocket handshake failed")]
    Handshake(#[source] Box<tungstenite::Error>),
    /// The connection ended before the gateway sent hello.
    #[error("{0} before hello")]
    Ended(Ending),
}

/// How a connection ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Ending {
    /// The gateway closed the connection.
    Closed {
        /// The close code of the gateway; 1005 if it sent none.
        code: u16,
        /// The reason that the gateway gave, in words.
        reason: String,
    },
    /// The connection broke; the text says how.
    Lost(String),
    /// The gateway sent a frame that is not an event.
    Garbled(DecodeError),
}

/// Why a request has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The gateway refused the command.
    #[error("{}: {}", .0.code, .0.message)]
    Refused(event::Error),
    /// The connection ended before an answer came; the gateway may have carried out the command.
    #[error("{0} before an answer")]
    Ended(Ending),
}

impl Ending {
    pub(crate) fn closed(frame: Option<CloseFrame>) -> Self {
        match frame {
            Some(frame) => Ending::Closed {
                code: frame.code.into(),
                reason: frame.reason.as_str().to_owned(),
            },
            // RFC 6455 reserves 1005 for a close without a code.
            None => Ending::Closed {
                code: 1005,
                reason: String::new(),
            },
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ending::Closed { code, reason } => write!(f, "closed with {code} {reason}"),
            Ending::Lost(why) => write!(f, "lost ({why})"),
            Ending::Garbled(why) => write!(f, "garbled ({why})"),
        }
    }
}
