//! The close codes of the native dialect: the table of `docs/protocol.md`.

use crate::closing::CloseReason;

/// The close code for a reason.
pub(super) fn code_of(why: CloseReason) -> u16 {
    match why {
        CloseReason::Left => 1000,
        CloseReason::NotWebSocket => 1002,
        CloseReason::WrongType => 1003,
        CloseReason::NotUtf8 => 1007,
        CloseReason::FrameTooLarge => 1009,
        CloseReason::Restarting => 1012,
        CloseReason::Full => 1013,
        CloseReason::Malformed => 4400,
        CloseReason::NoToken | CloseReason::Unauthorized | CloseReason::Expired => 4401,
        CloseReason::Forbidden => 4403,
        CloseReason::TimedOut => 4408,
        CloseReason::Replaced => 4409,
        CloseReason::Kicked => 4410,
        CloseReason::TooSlow => 4413,
        CloseReason::Flooding => 4429,
    }
}
