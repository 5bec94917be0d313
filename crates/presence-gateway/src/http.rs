//! What answers to HTTP requests are made of, and who asks.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Response, StatusCode, Uri};
use presence_protocol::ErrorCode;
use serde_json::json;

use crate::app::App;
use crate::identity::{Asked, Identity};
use crate::request::Refused;

/// The answer to an HTTP request, with its whole body.
pub(crate) type Answer = Response<Full<Bytes>>;

/// The answer to a request that is not a correct WebSocket handshake.
pub(crate) fn not_upgraded(status: StatusCode, why: &Refused) -> Answer {
    let mut answer = error(status, why);
    if status == StatusCode::UPGRADE_REQUIRED {
        let headers = answer.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    answer
}

/// The answer to a request whose path exists, but not for its method.
pub(crate) fn method_not_allowed(allowed: &'static str) -> Answer {
    let message = format!("only {allowed} here");
    let why = Refused::new(ErrorCode::UnknownCommand, message);
    let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, &why);
    let allowed = HeaderValue::from_static(allowed);
    answer.headers_mut().insert(hyper::header::ALLOW, allowed);
    answer
}

/// Makes an answer in plain text.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Makes an answer without a body.
pub(crate) fn nothing(status: StatusCode) -> Answer {
    let mut answer = text(status, "");
    answer.headers_mut().remove(CONTENT_TYPE);
    answer
}

/// Makes an answer in JSON.
pub(crate) fn json(status: StatusCode, body: &impl serde::Serialize) -> Answer {
    let body = serde_json::to_vec(body).expect("what we answer can be written");
    let mut answer = text(status, body);
    let kind = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// Makes the answer for an error, `{"error":{"code","message"}}`, with the field and the time to wait where they help.
pub(crate) fn error(status: StatusCode, why: &Refused) -> Answer {
    let mut answer = json(status, &json!({ "error": error_json(why) }));
    if let Some(millis) = retry_millis(why) {
        answer
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(millis.div_ceil(1000)));
    }
    answer
}

/// A refusal as JSON.
pub(crate) fn error_json(why: &Refused) -> serde_json::Value {
    let mut error = json!({ "code": why.code.as_str(), "message": why.message });
    if let Some(field) = &why.field {
        error["field"] = json!(field);
    }
    if let Some(millis) = retry_millis(why) {
        error["retry_after"] = json!(millis);
    }
    error
}

fn retry_millis(why: &Refused) -> Option<u64> {
    let millis = why.retry_after?.as_millis().max(1);
    Some(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// The query of a URL, decoded.
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes the query of `uri`.
    pub(crate) fn of(uri: &Uri) -> Self {
        let pairs = form_urlencoded::parse(uri.query().unwrap_or("").as_bytes());
        Query(pairs.into_owned().collect())
    }

    /// The first value of `name`; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|it| !it.is_empty())
    }

    /// The first value of `name`, which may be empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| &value[..])
    }
}

/// The token of a request, from its `Authorization` header or its query.
pub(crate) fn bearer(headers: &HeaderMap, query: &Query) -> Option<String> {
    let header = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok());
    let token = header.and_then(|it| {
        let (scheme, token) = it.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    token.or_else(|| query.get("token")).map(str::to_owned)
}

/// The identity of the caller: from the token if the gateway has keys, otherwise from the query.
pub(crate) fn identify(app: &App, token: Option<&str>, query: &Query) -> Result<Identity, Refused> {
    let asked = Asked {
        user_id: query.get("user_id"),
        name: query.get("name"),
        device_id: query.get("device_id"),
        workspace_id: query.get("workspace_id"),
    };
    let now = app.now();
    let admitted = app.gate.admit(token, asked, now);
    admitted
        .inspect_err(|why| app.journal.refuses_identity(now, why))
        .map_err(Refused::from)
}

/// Checks that a page of this origin may ask the gateway anything.
pub(crate) fn check_origin(app: &App, headers: &HeaderMap) -> Result<(), Refused> {
    let text = |name| {
        headers
            .get(name)
            .map(|it: &HeaderValue| it.to_str().unwrap_or("?"))
    };
    let allowed = &app.config.allowed_origins;
    allowed
        .check(text(ORIGIN), text(HOST))
        .map_err(|why| Refused::new(ErrorCode::Forbidden, why.to_string()))
}
