//! The close codes of the native dialect: the table of `docs/protocol.md`.

use crate::closing::Why;

/// The close code for a reason.
pub(super) fn code_of(why: Why) -> u16 {
    match why {
        Why::Left => 1000,
        Why::NotWebSocket => 1002,
        Why::WrongType => 1003,
        Why::NotUtf8 => 1007,
        Why::FrameTooLarge => 1009,
        Why::Restarting => 1012,
        Why::Full => 1013,
        Why::Malformed => 4400,
        Why::NoToken | Why::Unauthorized | Why::Expired => 4401,
        Why::Forbidden => 4403,
        Why::TimedOut => 4408,
        Why::Replaced => 4409,
        Why::Kicked => 4410,
        Why::TooSlow => 4413,
        Why::Flooding => 4429,
    }
}
