//! Every reason for which we close a connection. What code and which words say so is each dialect's own.

use std::time::Duration;

use presence_client::wire::ErrorCode;
use presence_core::Reason;
use presence_hub::Ended;

use crate::request::Refused;

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The client said goodbye.
    Left,
    /// The gateway is stopping.
    Restarting,
    /// There is no room.
    Full,
    /// Text where it has to be binary, or the other way round.
    WrongType,
    /// Not WebSocket as it should be.
    NotWebSocket,
    /// A text that is none.
    NotUtf8,
    /// A frame that is too big.
    FrameTooLarge,
    /// Too many frames that are nothing.
    Malformed,
    /// It did not say with a token who it is.
    NoToken,
    /// Who it is was not to be believed.
    Unauthorized,
    /// Its token has run out.
    Expired,
    /// What it wants is not for it.
    Forbidden,
    /// Nothing was heard.
    TimedOut,
    /// A newer connection has its session.
    Replaced,
    /// It was thrown out.
    Kicked,
    /// It does not read.
    TooSlow,
    /// It kept asking for too much.
    Flooding,
}

impl Why {
    /// The same in a word or two.
    pub(crate) fn reason(self) -> &'static str {
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

    /// Whether the client is to come back.
    pub(crate) fn reconnect(self) -> bool {
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

    /// The same with a time to come back.
    pub(crate) fn after(self, span: Duration) -> Closing {
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

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    /// Why.
    pub(crate) why: Why,
    /// When to come back, where that is said.
    pub(crate) retry_after: Option<Duration>,
}

impl Closing {
    /// For whoever kept going too fast.
    pub(crate) fn flooding() -> Self {
        Why::Flooding.after(Duration::from_secs(5))
    }

    /// For whoever is refused before they are in.
    pub(crate) fn at_the_door(refused: &Refused) -> Self {
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
