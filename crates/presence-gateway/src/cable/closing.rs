//! The reasons for a disconnect in Action Cable's words: the table of `docs/action-cable.md`.

use serde_json::json;

use crate::closing::CloseReason;

/// The text of the `disconnect` message.
pub(super) fn disconnect(reason: &str, reconnect: bool) -> String {
    json!({ "type": "disconnect", "reason": reason, "reconnect": reconnect }).to_string()
}

/// The reason in a `disconnect`. Clients know those of Rails and of AnyCable.
pub(super) fn reason_of(why: CloseReason) -> &'static str {
    match why {
        CloseReason::Restarting => "server_restart",
        CloseReason::WrongType
        | CloseReason::NotWebSocket
        | CloseReason::NotUtf8
        | CloseReason::FrameTooLarge
        | CloseReason::Malformed => "invalid_request",
        CloseReason::NoToken | CloseReason::Unauthorized | CloseReason::Forbidden => "unauthorized",
        CloseReason::Expired => "token_expired",
        CloseReason::TimedOut => "no_pong",
        CloseReason::TooSlow => "too_slow",
        CloseReason::Left | CloseReason::Kicked => "remote",
        CloseReason::Replaced => "replaced",
        CloseReason::Full => "over_capacity",
        CloseReason::Flooding => "rate_limited",
    }
}

/// Whether the client should connect again. An `extended` client whose token has expired is told not to: then it connects
/// again by itself, with a fresh token.
pub(super) fn reconnect(why: CloseReason, extended: bool) -> bool {
    match why {
        CloseReason::Expired => !extended,
        // The handshake was refused, and the same token, or none, would be refused again.
        CloseReason::NoToken | CloseReason::Unauthorized => false,
        _ => why.reconnect(),
    }
}

/// The close code, which the stock clients ignore.
pub(super) fn code_of(why: CloseReason) -> u16 {
    match why {
        CloseReason::Left => 1000,
        CloseReason::NotWebSocket => 1002,
        CloseReason::WrongType => 1003,
        CloseReason::NotUtf8 => 1007,
        CloseReason::FrameTooLarge => 1009,
        CloseReason::Restarting => 1012,
        CloseReason::Full
        | CloseReason::TooSlow
        | CloseReason::Flooding
        | CloseReason::TimedOut => 1013,
        CloseReason::Malformed
        | CloseReason::NoToken
        | CloseReason::Unauthorized
        | CloseReason::Expired
        | CloseReason::Forbidden
        | CloseReason::Replaced
        | CloseReason::Kicked => 1008,
    }
}
