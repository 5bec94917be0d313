//! The close codes of Pusher's protocol: a client that gets 4000 to 4099 stays away, 4100 to 4199 comes back in a second,
//! 4200 to 4299 comes back at once. A code below 4000 counts as an accident, and the client comes back in a second.

use crate::closing::CloseReason;

/// There is no application with that key.
pub(super) const NO_APPLICATION: u16 = 4001;
/// The version of the protocol is not a number.
pub(super) const NOT_A_VERSION: u16 = 4006;
/// The gateway does not speak this version.
pub(super) const OTHER_VERSION: u16 = 4007;
/// The client names no version of the protocol.
pub(super) const NO_VERSION: u16 = 4008;
/// The client did not prove who it is, or the user was kicked.
const UNAUTHORIZED: u16 = 4009;
/// Too many malformed frames. The code is not in the protocol, but in the range of those that mean stay away.
const MALFORMED: u16 = 4040;
/// The client should come back in a second.
const LATER: u16 = 4100;
/// The client should come back at once.
const AGAIN: u16 = 4200;
/// The gateway heard nothing from the client.
const SILENT: u16 = 4201;

/// The code of an error, not of a close: the page sends too many events.
pub(super) const TOO_MANY_EVENTS: u16 = 4301;
/// The code of an error, not of a close: the watchlist is too long.
pub(super) const WATCHLIST_TOO_LONG: u16 = 4302;

/// The close code for a reason.
pub(super) fn code_of(why: CloseReason) -> u16 {
    match why {
        CloseReason::Left => 1000,
        CloseReason::NotWebSocket => 1002,
        CloseReason::WrongType => 1003,
        CloseReason::NotUtf8 => 1007,
        CloseReason::FrameTooLarge => 1009,
        CloseReason::NoToken
        | CloseReason::Unauthorized
        | CloseReason::Forbidden
        | CloseReason::Kicked => UNAUTHORIZED,
        CloseReason::Malformed => MALFORMED,
        CloseReason::Restarting
        | CloseReason::Full
        | CloseReason::TooSlow
        | CloseReason::Flooding => LATER,
        CloseReason::Expired | CloseReason::Replaced => AGAIN,
        CloseReason::TimedOut => SILENT,
    }
}
