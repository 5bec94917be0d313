//! The errors of API calls, each with its HTTP status.

use hyper::StatusCode;
use hyper::header::{HeaderValue, WWW_AUTHENTICATE};
use presence_core::Refusal;
use presence_protocol::ErrorCode;

use crate::http::{self, Answer};
use crate::identity::Forbidden;
use crate::request::Refused;

/// Why an API call fails.
#[derive(Debug)]
pub(super) enum Problem {
    /// A refusal of the protocol, whose code decides the status.
    Refused(Refused),
    /// A refusal with a status for which the protocol has no code.
    Other(StatusCode, Refused),
    /// The path exists, but not for that method.
    Method(&'static str),
}

impl Problem {
    pub(super) fn nothing_here() -> Self {
        Refused::new(ErrorCode::UnknownCommand, "there is nothing at this path").into()
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        let (status, why) = match problem {
            Problem::Refused(why) => (status_of(why.code), why),
            Problem::Other(status, why) => (status, why),
            Problem::Method(allowed) => return http::method_not_allowed(allowed),
        };
        let mut answer = http::error(status, &why);
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            answer.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        answer
    }
}

fn status_of(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::Malformed | ErrorCode::Invalid => StatusCode::BAD_REQUEST,
        ErrorCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorCode::Forbidden => StatusCode::FORBIDDEN,
        ErrorCode::UnknownCommand => StatusCode::NOT_FOUND,
        ErrorCode::NotJoined | ErrorCode::TooMany => StatusCode::CONFLICT,
        ErrorCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorCode::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorCode::Overloaded | ErrorCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<Refused> for Problem {
    fn from(why: Refused) -> Self {
        Problem::Refused(why)
    }
}

impl From<Refusal> for Problem {
    fn from(why: Refusal) -> Self {
        Problem::Refused(why.into())
    }
}

impl From<Forbidden> for Problem {
    fn from(why: Forbidden) -> Self {
        let why = Refused::from(why);
        // The others are named as on the socket; here they are in the path, or in the token.
        let field = why.field.filter(|field| field == "user_id");
        Problem::Refused(Refused { field, ..why })
    }
}
