//! Every way in which we close a connection: the table of `docs/protocol.md`.

use std::time::Duration;

/// How a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    /// The WebSocket close code.
    pub(crate) code: u16,
    /// Why, in a word or two.
    pub(crate) reason: &'static str,
    /// Whether the client is to come back.
    pub(crate) reconnect: bool,
    /// When.
    pub(crate) retry_after: Option<Duration>,
}

impl Closing {
    const fn final_one(code: u16, reason: &'static str) -> Self {
        Closing {
            code,
            reason,
            reconnect: false,
            retry_after: None,
        }
    }

    const fn come_back(code: u16, reason: &'static str) -> Self {
        Closing {
            reconnect: true,
            ..Closing::final_one(code, reason)
        }
    }

    pub(crate) const BYE: Closing = Closing::final_one(1000, "you left");
    pub(crate) const RESTARTING: Closing = Closing::come_back(1012, "restarting");
    pub(crate) const FULL: Closing = Closing::come_back(1013, "full");
    pub(crate) const WRONG_TYPE: Closing = Closing::final_one(1003, "wrong frame type");
    pub(crate) const MALFORMED: Closing = Closing::final_one(4400, "too many malformed frames");
    pub(crate) const UNAUTHORIZED: Closing = Closing::come_back(4401, "token refused");
    pub(crate) const EXPIRED: Closing = Closing::come_back(4401, "token expired");
    pub(crate) const FORBIDDEN: Closing = Closing::final_one(4403, "forbidden");
    pub(crate) const TIMED_OUT: Closing = Closing::come_back(4408, "timed out");
    pub(crate) const REPLACED: Closing = Closing::final_one(4409, "replaced");
    pub(crate) const KICKED: Closing = Closing::final_one(4410, "kicked");
    pub(crate) const TOO_SLOW: Closing = Closing::come_back(4413, "too slow");
    pub(crate) const FLOODING: Closing = Closing::come_back(4429, "flooding");

    /// The same with a time to come back.
    pub(crate) const fn after(self, span: Duration) -> Self {
        Closing {
            retry_after: Some(span),
            ..self
        }
    }
}
