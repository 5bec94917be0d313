//! Every reason for which the gateway closes a connection. Each dialect has its own codes and words for them.

use std::time::Duration;

use presence_core::Reason;
use presence_core::history::Cause;
use presence_hub::Ended;
use presence_protocol::ErrorCode;

use crate::request::Refused;

/// Why the gateway closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client left, or ended its session.
    Left,
    /// The gateway is stopping.
    Restarting,
    /// The gateway, or the user's list of sessions, is full.
    Full,
    /// The client sent a text frame where a binary one is needed, or the other way round.
    WrongType,
    /// The client violates the WebSocket protocol.
    NotWebSocket,
    /// The client sent a text frame that is not UTF-8.
    NotUtf8,
    /// The client sent a frame that is longer than the limit.
    FrameTooLarge,
    /// The client sent too many malformed frames.
    Malformed,
    /// The client gave no token where one is needed.
    NoToken,
    /// The client did not prove who it is.
    Unauthorized,
    /// The client's token has expired.
    Expired,
    /// The client is not allowed to do what it asks for.
    Forbidden,
    /// The gateway heard nothing from the client.
    TimedOut,
    /// A newer connection has continued the session.
    Replaced,
    /// The user was kicked.
    Kicked,
    /// The client does not read what it is sent.
    TooSlow,
    /// The client kept exceeding its rates.
    Flooding,
}

impl CloseReason {
    /// The reason in one or two words.
    pub fn reason(self) -> &'static str {
        match self {
            CloseReason::Left => "you left",
            CloseReason::Restarting => "restarting",
            CloseReason::Full => "full",
            CloseReason::WrongType => "wrong frame type",
            CloseReason::NotWebSocket => "not websocket as it should be",
            CloseReason::NotUtf8 => "not utf-8",
            CloseReason::FrameTooLarge => "frame too large",
            CloseReason::Malformed => "too many malformed frames",
            CloseReason::NoToken => "token missing",
            CloseReason::Unauthorized => "token refused",
            CloseReason::Expired => "token expired",
            CloseReason::Forbidden => "forbidden",
            CloseReason::TimedOut => "timed out",
            CloseReason::Replaced => "replaced",
            CloseReason::Kicked => "kicked",
            CloseReason::TooSlow => "too slow",
            CloseReason::Flooding => "flooding",
        }
    }

    /// The reason as one word for metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            CloseReason::Left => "left",
            CloseReason::Restarting => "restarting",
            CloseReason::Full => "full",
            CloseReason::WrongType => "wrong_type",
            CloseReason::NotWebSocket => "not_websocket",
            CloseReason::NotUtf8 => "not_utf8",
            CloseReason::FrameTooLarge => "frame_too_large",
            CloseReason::Malformed => "malformed",
            CloseReason::NoToken => "no_token",
            CloseReason::Unauthorized => "unauthorized",
            CloseReason::Expired => "expired",
            CloseReason::Forbidden => "forbidden",
            CloseReason::TimedOut => "timed_out",
            CloseReason::Replaced => "replaced",
            CloseReason::Kicked => "kicked",
            CloseReason::TooSlow => "too_slow",
            CloseReason::Flooding => "flooding",
        }
    }

    /// What is recorded as the cause of a connection that the gateway closes for this reason.
    pub fn cause(self) -> Cause {
        match self {
            CloseReason::Left => Cause::Client,
            CloseReason::Restarting => Cause::Drain,
            CloseReason::NoToken
            | CloseReason::Unauthorized
            | CloseReason::Expired
            | CloseReason::Forbidden => Cause::TokenEnded,
            CloseReason::TimedOut => Cause::Silence,
            CloseReason::Replaced => Cause::OtherNode,
            CloseReason::Kicked => Cause::Kick,
            CloseReason::TooSlow | CloseReason::Full => Cause::TooSlow,
            CloseReason::WrongType
            | CloseReason::NotWebSocket
            | CloseReason::NotUtf8
            | CloseReason::FrameTooLarge
            | CloseReason::Malformed
            | CloseReason::Flooding => Cause::Misuse,
        }
    }

    /// Whether the client should connect again.
    pub fn reconnect(self) -> bool {
        match self {
            CloseReason::Restarting
            | CloseReason::Full
            | CloseReason::NoToken
            | CloseReason::Unauthorized
            | CloseReason::Expired
            | CloseReason::TimedOut
            | CloseReason::TooSlow
            | CloseReason::Flooding => true,
            CloseReason::Left
            | CloseReason::WrongType
            | CloseReason::NotWebSocket
            | CloseReason::NotUtf8
            | CloseReason::FrameTooLarge
            | CloseReason::Malformed
            | CloseReason::Forbidden
            | CloseReason::Replaced
            | CloseReason::Kicked => false,
        }
    }

    /// The same reason, with a time after which the client should connect again.
    pub fn after(self, span: Duration) -> Closing {
        Closing {
            why: self,
            retry_after: Some(span),
        }
    }
}

impl From<Ended> for CloseReason {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Closed(Reason::TimedOut | Reason::Lost) => CloseReason::TimedOut,
            Ended::Closed(Reason::Replaced) => CloseReason::Replaced,
            Ended::Closed(Reason::Kicked) => CloseReason::Kicked,
            Ended::Closed(Reason::Left) => CloseReason::Left,
            Ended::Closed(Reason::NodeLost) | Ended::Stopped => CloseReason::Restarting,
            Ended::TooSlow => CloseReason::TooSlow,
            Ended::Crowded => CloseReason::Full,
        }
    }
}

/// The close of a connection: the reason, and when the client should connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The reason of the close.
    pub why: CloseReason,
    /// How long the client should wait before it connects again, if the gateway says so.
    pub retry_after: Option<Duration>,
}

impl Closing {
    /// Closes a client that kept exceeding its rates.
    pub fn flooding() -> Self {
        CloseReason::Flooding.after(Duration::from_secs(5))
    }

    /// Closes a client whose session has ended. Of clients that are asked to come back, not all come at once: `jitter` is a
    /// random number of the connection.
    pub fn of(ended: Ended, jitter: u32) -> Self {
        let why = CloseReason::from(ended);
        match why {
            CloseReason::Full => why.after(Duration::from_millis(2000 + u64::from(jitter % 3000))),
            _ => why.into(),
        }
    }

    /// Closes a client because the server stops. Clients come back later still than those of a drain, and not all at
    /// once, so that the next process is not overrun when it starts. `jitter` is a random number of the connection.
    pub fn restarting(jitter: u32) -> Self {
        CloseReason::Restarting.after(Duration::from_millis(200 + u64::from(jitter % 2000)))
    }

    /// Closes a client that was refused before it was let in.
    pub fn of_refused(refused: &Refused) -> Self {
        if let Some(why) = refused.ending {
            return why.into();
        }
        match refused.code {
            ErrorCode::Unauthorized => CloseReason::Unauthorized.into(),
            ErrorCode::Unavailable | ErrorCode::Overloaded | ErrorCode::TooMany => {
                CloseReason::Full.after(Duration::from_secs(2))
            }
            _ => CloseReason::Forbidden.into(),
        }
    }
}

impl From<CloseReason> for Closing {
    fn from(why: CloseReason) -> Self {
        Closing {
            why,
            retry_after: None,
        }
    }
}

/// The close frame that the gateway sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Farewell {
    /// The close code of the WebSocket.
    pub code: u16,
    /// The reason in the frame, in words.
    pub reason: &'static str,
}

impl Farewell {
    /// A close frame with `code`, and with the reason that all dialects use for `why`.
    pub fn new(code: u16, why: CloseReason) -> Self {
        let reason = why.reason();
        Farewell { code, reason }
    }
}
