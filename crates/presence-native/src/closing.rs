//! Every reason for which the gateway closes a connection. Each dialect has its own codes and words for them.

use std::time::Duration;

use presence_core::Reason;
use presence_core::history::Cause;
use presence_hub::Ended;
use presence_protocol::ErrorCode;

use crate::request::Refused;

/// Why the gateway closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
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

impl Why {
    /// The reason in one or two words.
    pub fn reason(self) -> &'static str {
        match self {
            Why::Left => "you left",
            Why::Restarting => "restarting",
            Why::Full => "full",
            Why::WrongType => "wrong frame type",
            Why::NotWebSocket => "not websocket as it should be",
            Why::NotUtf8 => "not utf-8",
            Why::FrameTooLarge => "frame too large",
            Why::Malformed => "too many malformed frames",
            Why::NoToken => "token missing",
            Why::Unauthorized => "token refused",
            Why::Expired => "token expired",
            Why::Forbidden => "forbidden",
            Why::TimedOut => "timed out",
            Why::Replaced => "replaced",
            Why::Kicked => "kicked",
            Why::TooSlow => "too slow",
            Why::Flooding => "flooding",
        }
    }

    /// The reason as one word for metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Why::Left => "left",
            Why::Restarting => "restarting",
            Why::Full => "full",
            Why::WrongType => "wrong_type",
            Why::NotWebSocket => "not_websocket",
            Why::NotUtf8 => "not_utf8",
            Why::FrameTooLarge => "frame_too_large",
            Why::Malformed => "malformed",
            Why::NoToken => "no_token",
            Why::Unauthorized => "unauthorized",
            Why::Expired => "expired",
            Why::Forbidden => "forbidden",
            Why::TimedOut => "timed_out",
            Why::Replaced => "replaced",
            Why::Kicked => "kicked",
            Why::TooSlow => "too_slow",
            Why::Flooding => "flooding",
        }
    }

    /// What is recorded as the cause of a connection that the gateway closes for this reason.
    pub fn cause(self) -> Cause {
        match self {
            Why::Left => Cause::Client,
            Why::Restarting => Cause::Drain,
            Why::NoToken | Why::Unauthorized | Why::Expired | Why::Forbidden => Cause::TokenEnded,
            Why::TimedOut => Cause::Silence,
            Why::Replaced => Cause::OtherNode,
            Why::Kicked => Cause::Kick,
            Why::TooSlow | Why::Full => Cause::TooSlow,
            Why::WrongType
            | Why::NotWebSocket
            | Why::NotUtf8
            | Why::FrameTooLarge
            | Why::Malformed
            | Why::Flooding => Cause::Misuse,
        }
    }

    /// Whether the client should connect again.
    pub fn reconnect(self) -> bool {
        match self {
            Why::Restarting
            | Why::Full
            | Why::NoToken
            | Why::Unauthorized
            | Why::Expired
            | Why::TimedOut
            | Why::TooSlow
            | Why::Flooding => true,
            Why::Left
            | Why::WrongType
            | Why::NotWebSocket
            | Why::NotUtf8
            | Why::FrameTooLarge
            | Why::Malformed
            | Why::Forbidden
            | Why::Replaced
            | Why::Kicked => false,
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

impl From<Ended> for Why {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Closed(Reason::TimedOut | Reason::Lost) => Why::TimedOut,
            Ended::Closed(Reason::Replaced) => Why::Replaced,
            Ended::Closed(Reason::Kicked) => Why::Kicked,
            Ended::Closed(Reason::Left) => Why::Left,
            Ended::Closed(Reason::NodeLost) | Ended::Stopped => Why::Restarting,
            Ended::TooSlow => Why::TooSlow,
            Ended::Crowded => Why::Full,
        }
    }
}

/// The close of a connection: the reason, and when the client should connect again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The reason of the close.
    pub why: Why,
    /// How long the client should wait before it connects again, if the gateway says so.
    pub retry_after: Option<Duration>,
}

impl Closing {
    /// Closes a client that kept exceeding its rates.
    pub fn flooding() -> Self {
        Why::Flooding.after(Duration::from_secs(5))
    }

    /// Closes a client whose session has ended. Of clients that are asked to come back, not all come at once: `lot` is a
    /// random number of the connection.
    pub fn of(ended: Ended, lot: u32) -> Self {
        let why = Why::from(ended);
        match why {
            Why::Full => why.after(Duration::from_millis(2000 + u64::from(lot % 3000))),
            _ => why.into(),
        }
    }

    /// Closes a client because the server stops. Clients come back later still than those of a drain, and not all at
    /// once, so that the next process is not overrun when it starts. `lot` is a random number of the connection.
    pub fn restarting(lot: u32) -> Self {
        Why::Restarting.after(Duration::from_millis(200 + u64::from(lot % 2000)))
    }

    /// Closes a client that was refused before it was let in.
    pub fn of_refused(refused: &Refused) -> Self {
        if let Some(why) = refused.ending {
            return why.into();
        }
        match refused.code {
            ErrorCode::Unauthorized => Why::Unauthorized.into(),
            ErrorCode::Unavailable | ErrorCode::Overloaded | ErrorCode::TooMany => {
                Why::Full.after(Duration::from_secs(2))
            }
            _ => Why::Forbidden.into(),
        }
    }
}

impl From<Why> for Closing {
    fn from(why: Why) -> Self {
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
    pub fn new(code: u16, why: Why) -> Self {
        let reason = why.reason();
        Farewell { code, reason }
    }
}
