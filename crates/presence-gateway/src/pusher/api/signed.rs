//! Reads signed requests: which application signed it, when, and that nobody has changed it on the way.

use std::time::Duration;

use bytes::Bytes;
use form_urlencoded::parse;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use presence_core::Timestamp;
use tokio::time::timeout;

use super::{Call, Problem};
use crate::app::App;
use crate::config::PusherApp;
use crate::http::Query;
use crate::pusher::signature::{is_digest, is_signature};

/// How far the clock of a server may differ from ours.
const WINDOW: Duration = Duration::from_secs(600);
/// The longest body, in bytes: a batch of ten events, every character of them escaped.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// How long the gateway waits for a body.
const BODY_WAIT: Duration = Duration::from_secs(10);

/// Reads a request that `by` has signed. Nothing in the body counts before the signature is verified.
pub(super) async fn check<'a>(
    app: &'a App,
    by: &'a PusherApp,
    request: Request<Incoming>,
) -> Result<Call<'a>, Problem> {
    let method = request.method().as_str().to_owned();
    let path = request.uri().path().to_owned();
    let pairs = parse(request.uri().query().unwrap_or_default().as_bytes());
    let pairs: Vec<(String, String)> = pairs.into_owned().collect();
    check_signature(by, app.now(), &method, &path, &pairs)?;
    let query = Query::of(request.uri());
    let body = read(request).await?;
    let digest = query.get("body_md5").unwrap_or_default();
    let is_nothing = body.is_empty() && digest.is_empty();
    if !is_nothing && !is_digest(digest, &body) {
        return Err(unauthorized("body_md5 is not that of the body"));
    }
    Ok(Call {
        app,
        by,
        query,
        body,
    })
}

fn check_signature(
    by: &PusherApp,
    now: Timestamp,
    method: &str,
    path: &str,
    query: &[(String, String)],
) -> Result<(), Problem> {
    let get = |name: &str| {
        let found = query.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    };
    if get("auth_key") != by.key {
        return Err(unauthorized("auth_key is not that of the application"));
    }
    if get("auth_version") != "1.0" {
        return Err(unauthorized("auth_version must be 1.0"));
    }
    let mut signed: Vec<(String, &str)> = query
        .iter()
        .filter(|(key, _)| key != "auth_signature")
        .map(|(key, value)| (key.to_lowercase(), &value[..]))
        .collect();
    signed.sort();
    let pairs = signed.iter().map(|(key, value)| format!("{key}={value}"));
    let text = pairs.collect::<Vec<_>>().join("&");
    let parts = [method, "\n", path, "\n", &text];
    if !is_signature(by, get("auth_signature"), &parts) {
        return Err(unauthorized("auth_signature is not that of this request"));
    }
    let at = get("auth_timestamp").parse().ok();
    let at = at.map(|seconds: u64| Timestamp::from_millis(seconds.saturating_mul(1000)));
    match at {
        Some(at) if now.since(at) <= WINDOW && at.since(now) <= WINDOW => Ok(()),
        _ => Err(unauthorized(
            "auth_timestamp is more than 10 minutes from now",
        )),
    }
}

fn unauthorized(message: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, message)
}

async fn read(request: Request<Incoming>) -> Result<Bytes, Problem> {
    let reading = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let Ok(read) = timeout(BODY_WAIT, reading).await else {
        let status = StatusCode::REQUEST_TIMEOUT;
        return Err(Problem::new(status, "the body did not come in time"));
    };
    let read = read.map_err(|error| match error.is::<LengthLimitError>() {
        true => Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body must be at most {BODY_BYTES_MAX} bytes"),
        ),
        false => Problem::bad("the body broke off"),
    })?;
    Ok(read.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn the_vendors_request_is_good_for_ten_minutes() {
        let at = |seconds| outcome(seconds, |_| {});
        assert_eq!(at(1_353_088_179), None);
        assert_eq!(at(1_353_088_179 + 600), None);
        assert_eq!(at(1_353_088_179 - 600), None);
        let late = "auth_timestamp is more than 10 minutes from now";
        assert_eq!(at(1_353_088_179 + 601).as_deref(), Some(late));
        assert_eq!(at(1_353_088_179 - 601).as_deref(), Some(late));
    }

    #[test]
    fn the_order_of_the_query_and_the_case_of_its_names_do_not_matter() {
        let reordered = outcome(1_353_088_179, |query| query.reverse());
        assert_eq!(reordered, None);
        let shouted = outcome(1_353_088_179, |query| query[3].0 = "BODY_MD5".into());
        assert_eq!(shouted, None);
    }

    #[test]
    fn what_was_changed_on_the_way_is_refused() {
        let changed = |at: usize, value: &str| {
            outcome(1_353_088_179, |query| query[at].1 = value.into()).unwrap()
        };
        assert!(changed(0, "other").starts_with("auth_key"));
        assert!(changed(1, "1353088180").starts_with("auth_signature"));
        assert!(changed(2, "1.1").starts_with("auth_version"));
        assert!(changed(3, "").starts_with("auth_signature"));
        assert!(changed(4, "").starts_with("auth_signature"));
        let more = outcome(1_353_088_179, |query| {
            query.push(("info".into(), "x".into()))
        });
        assert!(more.unwrap().starts_with("auth_signature"));
    }

    fn outcome(now: u64, change: impl FnOnce(&mut Vec<(String, String)>)) -> Option<String> {
        let app = PusherApp {
            id: "3".into(),
            key: "278d425bdf160c739803".into(),
            secret: Secret::new("7ad3773142a6692b25b8"),
            meets_others: true,
        };
        let mut query: Vec<(String, String)> = [
            ("auth_key", "278d425bdf160c739803"),
            ("auth_timestamp", "1353088179"),
            ("auth_version", "1.0"),
            ("body_md5", "ec365a775a4cd0599faeb73354201b6f"),
            (
                "auth_signature",
                "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c",
            ),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        change(&mut query);
        let now = Timestamp::from_millis(now * 1000);
        let checked = check_signature(&app, now, "POST", "/apps/3/events", &query);
        checked.err().map(|it| it.message)
    }
}
