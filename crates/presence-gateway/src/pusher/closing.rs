//! The close codes of Pusher's protocol: 4000 to 4099 mean stay away, 4100 to 4199 come back in a second, 4200 to 4299 come
//! back at once. Anything below 4000 the client takes for an accident, and comes back in a second.

use crate::closing::Why;

/// There is no application of that key.
pub(super) const NO_APPLICATION: u16 = 4001;
/// The version of the protocol is no number.
pub(super) const NOT_A_VERSION: u16 = 4006;
/// It is one that we do not speak.
pub(super) const OTHER_VERSION: u16 = 4007;
/// There is none.
pub(super) const NO_VERSION: u16 = 4008;
/// Who it is was not to be believed, or they were thrown out.
const UNAUTHORIZED: u16 = 4009;
/// Not of the protocol, but in the range of those that mean stay away.
const MALFORMED: u16 = 4040;
/// Come back in a second.
const LATER: u16 = 4100;
/// Come back at once.
const AGAIN: u16 = 4200;
/// Nothing was heard.
const SILENT: u16 = 4201;

/// In an error, not a close: too many events of a page.
pub(super) const TOO_MANY_EVENTS: u16 = 4301;
/// In an error, not a close: a watchlist that is too long.
pub(super) const WATCHLIST_TOO_LONG: u16 = 4302;

/// The close code that says why.
pub(super) fn code_of(why: Why) -> u16 {
    match why {
        Why::Left => 1000,
        Why::NotWebSocket => 1002,
        Why::WrongType => 1003,
        Why::NotUtf8 => 1007,
        Why::FrameTooLarge => 1009,
        Why::NoToken | Why::Unauthorized | Why::Forbidden | Why::Kicked => UNAUTHORIZED,
        Why::Malformed => MALFORMED,
        Why::Restarting | Why::Full | Why::TooSlow | Why::Flooding => LATER,
        Why::Expired | Why::Replaced => AGAIN,
        Why::TimedOut => SILENT,
    }
}
