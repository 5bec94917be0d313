//! The HTTP API that Pusher's server libraries speak: `/apps/{id}/...`, each request signed.

mod asking;
mod publishing;
mod signed;

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use percent_encoding::percent_decode_str;
use presence_core::Refusal;
use presence_protocol::ErrorCode;
use serde_json::json;

use crate::app::App;
use crate::config::PusherApp;
use crate::http::{self, Answer, Query};
use crate::pusher_names::user_of;

/// The prefix of the paths.
pub(crate) const PATH: &str = "/apps/";

/// Why a call fails. Pusher's answer is in plain text.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    message: String,
}

impl Problem {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        let message = message.into();
        Problem { status, message }
    }

    fn bad(message: impl Into<String>) -> Self {
        Problem::new(StatusCode::BAD_REQUEST, message)
    }
}

impl From<Refusal> for Problem {
    fn from(why: Refusal) -> Self {
        let status = match why {
            Refusal::TooFast { .. } => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Problem::new(status, why.to_string())
    }
}

/// A request whose signature is right.
struct Call<'a> {
    app: &'a App,
    /// The application that signed it.
    by: &'a PusherApp,
    query: Query,
    body: Bytes,
}

/// Answers one request. Also returns the name of its route in the metrics.
pub(crate) async fn answer(app: &Arc<App>, request: Request<Incoming>) -> (&'static str, Answer) {
    let (route, outcome) = route(app, request).await;
    let answer = outcome.unwrap_or_else(|Problem { status, message }| {
        if status.is_client_error() {
            app.metrics.refused(code_of(status));
        }
        http::text(status, message + "\n")
    });
    (route, answer)
}

fn code_of(status: StatusCode) -> ErrorCode {
    match status {
        StatusCode::UNAUTHORIZED => ErrorCode::Unauthorized,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::RateLimited,
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => ErrorCode::UnknownCommand,
        _ => ErrorCode::Invalid,
    }
}

async fn route(
    app: &Arc<App>,
    request: Request<Incoming>,
) -> (&'static str, Result<Answer, Problem>) {
    let path = request.uri().path().to_owned();
    let method = request.method().clone();
    let rest = path.strip_prefix(PATH).unwrap_or_default();
    let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let parts: Vec<&str> = rest.split('/').collect();
    let (name, wants) = match &parts[..] {
        ["events"] => ("pusher_events", Method::POST),
        ["batch_events"] => ("pusher_batch", Method::POST),
        ["channels"] => ("pusher_channels", Method::GET),
        ["channels", _] => ("pusher_channel", Method::GET),
        ["channels", _, "users"] => ("pusher_users", Method::GET),
        ["users", _, "terminate_connections"] => ("pusher_terminate", Method::POST),
        _ => ("pusher", Method::GET),
    };
    let Some(by) = app.config.pusher.apps.iter().find(|it| it.id == id) else {
        let message = "there is no application of that id";
        return (name, Err(Problem::new(StatusCode::NOT_FOUND, message)));
    };
    if name == "pusher" {
        let message = "there is nothing at this path";
        return (name, Err(Problem::new(StatusCode::NOT_FOUND, message)));
    }
    if method != wants {
        let message = format!("only {wants} here");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return (name, Err(Problem::new(status, message)));
    }
    let call = match signed::check(app, by, request).await {
        Ok(call) => call,
        Err(problem) => return (name, Err(problem)),
    };
    let part = |at: usize| {
        percent_decode_str(parts[at])
            .decode_utf8_lossy()
            .into_owned()
    };
    let outcome = match &parts[..] {
        ["events"] => publishing::one(&call).await,
        ["batch_events"] => publishing::batch(&call).await,
        ["channels"] => asking::channels(&call).await,
        ["channels", _] => asking::channel(&call, &part(1)).await,
        ["channels", ..] => asking::users(&call, &part(1)).await,
        _ => terminate(&call, &part(1)).await,
    };
    (name, outcome)
}

/// Closes every connection of a user, in any dialect.
async fn terminate(call: &Call<'_>, user: &str) -> Result<Answer, Problem> {
    let user = user_of(call.by, user).map_err(|why| Problem::bad(format!("the user {why}")))?;
    match call.app.hub.kick(&user).await {
        Ok(()) | Err(Refusal::NoSession) => Ok(http::json(StatusCode::OK, &json!({}))),
        Err(why) => Err(why.into()),
    }
}
