//! What to do after a connection ended. The numbers are those of the browser client.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::client::Refusal;
use crate::wire::event::{self, Closing};
use crate::{ConnectError, Ending};

/// The longest wait between two attempts to connect, unless the gateway names another.
pub(crate) const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// No gateway makes the client wait longer than this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The code of a connection whose token was refused: a new token helps.
const TOKEN_REFUSED: u16 = 4401;

/// The code of a connection that the token does not allow: nothing helps.
const FORBIDDEN: u16 = 4403;

/// Codes after which coming back would not help: close codes, and HTTP statuses of a refused upgrade.
const FINAL_CODES: &[u16] = &[
    400, 403, 1000, 1002, 1003, 1007, 1009, 4400, FORBIDDEN, 4409, 4410,
];

/// How a connection ended.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Ended {
    /// The close code of the WebSocket (1000 to 4999, see `docs/protocol.md`), or the HTTP status (below 600) if the gateway refused the
    /// upgrade; `None` if the connection broke, or if there was none.
    pub code: Option<u16>,
    /// Why, in words.
    pub reason: Arc<str>,
}

/// Why the gateway refused who you are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// The gateway wants a token and got none.
    Missing,
    /// The token has expired.
    Expired,
    /// Something else is wrong with the token.
    Invalid,
    /// The token is good, but does not allow this connection.
    Forbidden,
}

/// A connection that ended, and what the gateway said about that.
#[derive(Debug)]
pub(crate) struct Lost {
    pub(crate) ended: Ended,
    pub(crate) complaint: Option<event::Error>,
    closing: Option<Closing>,
    /// The options are wrong: each attempt would fail likewise.
    is_hopeless: bool,
}

/// What to do after a connection ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Plan {
    Stop,
    ComeBack { wait: Duration, new_token: bool },
}

/// How long to wait before attempt `attempt` (from 0): 250 to 500 ms first, twice as long after each failure, up to
/// 30 s. One half is chance (`random` is from 0 to 1), so that a crowd does not come back as one.
pub(crate) fn backoff(attempt: u32, random: f64) -> Duration {
    let whole = Duration::from_millis(500 << attempt.min(10)).min(BACKOFF_MAX);
    whole.mul_f64(0.5 + random / 2.0)
}

impl Lost {
    /// A connection that ended while it was open.
    pub(crate) fn open(ending: &Ending, closing: Option<Closing>) -> Self {
        let (code, reason) = match ending {
            Ending::Closed { code, reason } => (Some(*code), reason.clone()),
            other => (None, other.to_string()),
        };
        Lost::new(code, reason, None, closing)
    }

    /// A connection that did not come about.
    pub(crate) fn unopened(why: &ConnectError, refusal: Refusal) -> Self {
        let (code, reason) = match why {
            ConnectError::Ended(Ending::Closed { code, reason }) => (Some(*code), reason.clone()),
            ConnectError::Token => (Some(TOKEN_REFUSED), why.to_string()),
            ConnectError::Refused(status) => (Some(*status), why.to_string()),
            other => (None, in_full(other)),
        };
        Lost {
            is_hopeless: matches!(why, ConnectError::Url(_) | ConnectError::Tls(_)),
            ..Lost::new(code, reason, refusal.complaint, refusal.closing)
        }
    }

    /// A connection that was given up.
    pub(crate) fn given_up(why: &str) -> Self {
        Lost::new(None, why.to_owned(), None, None)
    }

    fn new(
        code: Option<u16>,
        reason: String,
        complaint: Option<event::Error>,
        closing: Option<Closing>,
    ) -> Self {
        // What the gateway says counts more than what the socket says.
        let ended = match &closing {
            Some(it) => Ended {
                code: Some(it.code),
                reason: it.reason.clone(),
            },
            None => Ended {
                code,
                reason: reason.into(),
            },
        };
        Lost {
            ended,
            complaint,
            closing,
            is_hopeless: false,
        }
    }

    /// Whether and when to come back. `can_renew` says whether there is where to get another token from.
    pub(crate) fn plan(&self, attempt: u32, can_renew: bool, random: f64) -> Plan {
        let code = self.ended.code;
        if code == Some(TOKEN_REFUSED) || code == Some(401) {
            return match can_renew {
                true => Plan::ComeBack {
                    wait: backoff(attempt, random),
                    new_token: true,
                },
                false => Plan::Stop,
            };
        }
        let is_final = match &self.closing {
            Some(closing) => !closing.reconnect,
            None => code.is_some_and(|it| FINAL_CODES.contains(&it)),
        };
        if is_final || self.is_hopeless {
            return Plan::Stop;
        }
        // The gateway spreads its clients over time itself, so its word is taken as it is.
        let told = self.closing.as_ref().and_then(|it| it.retry_after);
        let told = told.map(|it| Duration::from_millis(it).min(RETRY_AFTER_MAX));
        Plan::ComeBack {
            wait: told.unwrap_or_else(|| backoff(attempt, random)),
            new_token: false,
        }
    }

    /// Whether the gateway refused who we are, and why.
    pub(crate) fn refused(&self) -> Option<Refused> {
        match self.ended.code? {
            FORBIDDEN | 403 => Some(Refused::Forbidden),
            TOKEN_REFUSED | 401 => Some(match &*self.ended.reason {
                "token missing" => Refused::Missing,
                "token expired" => Refused::Expired,
                _ => Refused::Invalid,
            }),
            _ => None,
        }
    }
}

/// An error with what caused it.
fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(it) = cause {
        text = format!("{text}: {it}");
        cause = it.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(code: u16, closing: Option<Closing>) -> Lost {
        let reason = String::new();
        Lost::open(&Ending::Closed { code, reason }, closing)
    }

    fn again(wait: u64, new_token: bool) -> Plan {
        let wait = Duration::from_millis(wait);
        Plan::ComeBack { wait, new_token }
    }

    #[test]
    fn waits_double_up_to_half_a_minute_and_half_of_each_is_chance() {
        let waits = |random| [0, 1, 2, 6, 40].map(|it| backoff(it, random).as_millis());
        assert_eq!(waits(0.0), [250, 500, 1000, 15_000, 15_000]);
        assert_eq!(waits(1.0), [500, 1000, 2000, 30_000, 30_000]);
    }

    #[test]
    fn a_refused_token_is_worth_another_attempt_only_if_there_can_be_another_token() {
        assert_eq!(closed(4401, None).plan(0, true, 0.0), again(250, true));
        assert_eq!(closed(4401, None).plan(0, false, 0.0), Plan::Stop);
    }

    #[test]
    fn what_no_attempt_mends_ends_it() {
        for code in FINAL_CODES {
            assert_eq!(closed(*code, None).plan(0, true, 0.0), Plan::Stop, "{code}");
        }
        for code in [1001, 1005, 1012, 4408, 4413, 404, 502] {
            assert_eq!(
                closed(code, None).plan(0, true, 0.0),
                again(250, false),
                "{code}"
            );
        }
    }

    #[test]
    fn the_word_of_the_gateway_counts_more_than_the_code() {
        let closing = |reconnect, retry_after| Closing {
            code: 1012,
            reason: "restarting".into(),
            reconnect,
            retry_after,
        };
        let plan = |it| closed(1000, Some(it)).plan(0, true, 0.0);
        assert_eq!(plan(closing(false, None)), Plan::Stop);
        assert_eq!(plan(closing(true, Some(1234))), again(1234, false));
        assert_eq!(plan(closing(true, Some(u64::MAX))), again(3_600_000, false));
        let lost = closed(1000, Some(closing(true, None)));
        assert_eq!(lost.ended.code, Some(1012));
        assert_eq!(&*lost.ended.reason, "restarting");
    }
}
