//! The reasons for a disconnect in Action Cable's words: the table of `docs/action-cable.md`.

use serde_json::json;

use crate::closing::Why;

/// The text of the `disconnect` message.
pub(super) fn disconnect(reason: &str, reconnect: bool) -> String {
    json!({ "type": "disconnect", "reason": reason, "reconnect": reconnect }).to_string()
}

/// The reason in a `disconnect`. Clients know those of Rails and of AnyCable.
pub(super) fn reason_of(why: Why) -> &'static str {
    match why {
        Why::Restarting => "server_restart",
        Why::WrongType | Why::NotWebSocket | Why::NotUtf8 | Why::FrameTooLarge | Why::Malformed => {
            "invalid_request"
        }
        Why::NoToken | Why::Unauthorized | Why::Forbidden => "unauthorized",
        Why::Expired => "token_expired",
        Why::TimedOut => "no_pong",
        Why::TooSlow => "too_slow",
        Why::Left | Why::Kicked => "remote",
        Why::Replaced => "replaced",
        Why::Full => "over_capacity",
        Why::Flooding => "rate_limited",
    }
}

/// Whether the client should connect again. An `extended` client whose token has expired is told not to: then it connects
/// again by itself, with a fresh token.
pub(super) fn reconnect(why: Why, extended: bool) -> bool {
    match why {
        Why::Expired => !extended,
        // The handshake was refused, and the same token, or none, would be refused again.
        Why::NoToken | Why::Unauthorized => false,
        _ => why.reconnect(),
    }
}

/// The close code, which the stock clients ignore.
pub(super) fn code_of(why: Why) -> u16 {
    match why {
        Why::Left => 1000,
        Why::NotWebSocket => 1002,
        Why::WrongType => 1003,
        Why::NotUtf8 => 1007,
        Why::FrameTooLarge => 1009,
        Why::Restarting => 1012,
        Why::Full | Why::TooSlow | Why::Flooding | Why::TimedOut => 1013,
        Why::Malformed
        | Why::NoToken
        | Why::Unauthorized
        | Why::Expired
        | Why::Forbidden
        | Why::Replaced
        | Why::Kicked => 1008,
    }
}
