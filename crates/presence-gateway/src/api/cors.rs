//! Decides which pages may use the API, and tells their browsers.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    CACHE_CONTROL, HeaderMap, HeaderValue, ORIGIN, VARY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

use crate::app::App;
use crate::http::{self, Answer};
use crate::request::Refused;

/// The origin of the page that asks, if a page asks and is allowed to.
pub(super) fn page(app: &App, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refused> {
    http::check_origin(app, headers)?;
    Ok(headers.get(ORIGIN).cloned())
}

/// Whether the request is a CORS preflight.
pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS
        && request
            .headers()
            .contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers every preflight alike. Permissions are checked with the request itself.
pub(super) fn preflight(page: Option<HeaderValue>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let fixed = [
        (
            ACCESS_CONTROL_ALLOW_METHODS,
            "GET, HEAD, PUT, PATCH, POST, DELETE",
        ),
        (ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type"),
        (ACCESS_CONTROL_MAX_AGE, "600"),
        (CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
    }
    readable(answer, page)
}

/// Adds the header that lets the page read the answer.
pub(super) fn readable(mut answer: Answer, page: Option<HeaderValue>) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("origin"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(page) = page {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, page);
        let exposed = HeaderValue::from_static("retry-after");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    answer
}
