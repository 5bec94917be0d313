//! Serves the page and the browser client, which `presence-web` has inside the binary.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use presence_protocol::ErrorCode;

use crate::http::{self, Answer};
use crate::request::Refused;

/// The Content-Security-Policy of our pages: they may load from this gateway, show pictures, and open sockets.
const POLICY: &str = "default-src 'self'; style-src 'self'; img-src 'self' data: https:; \
    connect-src 'self' ws: wss:; frame-ancestors 'none'; base-uri 'none'";

/// Answers a request for `path` with the file, or with status 404.
pub(crate) fn answer(path: &str, headers: &HeaderMap) -> Answer {
    let Some(asset) = presence_web::asset(path) else {
        let why = Refused::new(ErrorCode::UnknownCommand, "there is nothing at this path");
        return http::error(StatusCode::NOT_FOUND, &why);
    };
    let tag = tag(asset.bytes);
    let known = headers.get(IF_NONE_MATCH).is_some_and(|it| *it == tag);
    let body = match known {
        true => Full::default(),
        false => Full::new(Bytes::from_static(asset.bytes)),
    };
    let mut answer = Response::new(body);
    if known {
        *answer.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let fixed = [
        (CONTENT_TYPE, asset.kind),
        // Pages of other origins import the browser client from here.
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        // Browsers revalidate each time: they see a new release at once, and an unchanged file costs nothing.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let headers = answer.headers_mut();
    headers.insert(ETAG, tag);
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn tag(bytes: &[u8]) -> HeaderValue {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    HeaderValue::from_str(&tag).expect("hexadecimal digits are fine")
}
