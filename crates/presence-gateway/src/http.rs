//! Routes every HTTP request: to the page, a probe, an API call or a dialect.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderMap, HeaderValue, ORIGIN, RETRY_AFTER,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode, Uri};
use presence_protocol::ErrorCode;
use serde_json::json;

use crate::app::App;
use crate::identity::{Asked, Identity};
use crate::metrics::{Facts, Format};
use crate::request::Refused;
use crate::{api, assets, dialect, pusher};

/// The answer to an HTTP request, with its whole body.
pub(crate) type Answer = Response<Full<Bytes>>;

/// Answers one HTTP request, on any path.
pub(crate) async fn answer(app: Arc<App>, request: Request<Incoming>) -> Answer {
    let began = Instant::now();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if let Err(why) = check_host(&app, request.uri(), request.headers()) {
        let answer = error(StatusCode::FORBIDDEN, &why);
        let status = answer.status().as_u16();
        app.metrics
            .answered("foreign_host", status, began.elapsed());
        return answer;
    }
    if let Some(spoken) = dialect::spoken_at(request.uri().path()) {
        let answer = spoken.answer(app.clone(), request);
        let status = answer.status().as_u16();
        app.metrics.answered(spoken.route, status, began.elapsed());
        return answer;
    }
    let (route, answer) = match request.uri().path() {
        path if path.starts_with("/api/") || path.starts_with("/admin/api/") => {
            api::answer(&app, request).await
        }
        path if path.starts_with(pusher::api::PATH) => pusher::api::answer(&app, request).await,
        _ if !is_read => ("page", method_not_allowed("GET, HEAD")),
        "/livez" => ("livez", text(StatusCode::OK, "alive\n")),
        "/readyz" => ("readyz", ready(&app)),
        "/health" => ("health", health(&app).await),
        "/metrics" => ("metrics", metrics_page(&app, request.headers()).await),
        "/openapi.json" => ("openapi", api::document()),
        "/admin/" => ("page", assets::answer("/admin", request.headers())),
        path => ("page", assets::answer(path, request.headers())),
    };
    let status = answer.status().as_u16();
    app.metrics.answered(route, status, began.elapsed());
    answer
}

/// Answers the readiness probe: whether to send clients here. An unreachable profile store does not change that,
/// because the gateway still knows who is here.
fn ready(app: &App) -> Answer {
    match (app.is_draining(), app.gate.is_waiting_for_keys()) {
        (true, _) => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        (false, true) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the keys of tokens\n",
        ),
        (false, false) => text(StatusCode::OK, "ready\n"),
    }
}

async fn health(app: &App) -> Answer {
    let counters = app.hub.counters();
    app.kept.look();
    let away = counters.store_away.load(Relaxed) || app.kept.is_gone();
    let shared_away = counters.shared_away.load(Relaxed);
    let status = match (app.is_draining(), away || shared_away) {
        (true, _) => "draining",
        (false, true) => "degraded",
        (false, false) => "healthy",
    };
    let counts = app.hub.counts().await;
    let body = json!({
        "status": status,
        "store": {
            "kind": if app.config.mongodb.is_some() { "mongodb" } else { "embedded" },
            "connected": !away,
            "unsaved": counts.unsaved,
            "unsaved_seconds": counts.unsaved_for.as_secs(),
        },
        "cluster": app.config.redis.as_ref().map(|_| json!({
            "kind": "redis",
            "connected": !shared_away,
        })),
        "webhooks": app.config.webhook.as_ref().map(|_| json!({
            "connected": !counters.hooks.is_away.load(Relaxed),
            "waiting": counters.hooks.waiting.load(Relaxed),
            "oldest_seconds": counters.hooks.oldest_age(app.now()).as_secs(),
        })),
        "jwks": app.gate.fetched_keys().map(|jwks| {
            let (keys, at) = jwks.state();
            json!({ "keys": keys, "age_seconds": at.map(|it| app.now().since(it).as_secs()) })
        }),
        "revoked": {
            "users": app.gate.revoked.len(),
            "connected": !app.revoking.is_away(),
        },
        "presence": {
            "online_users": counts.users,
            "active_channels": counts.channels,
            "connections": app.connections.open(),
        },
        "node": app.config.node_name,
        "version": env!("CARGO_PKG_VERSION"),
    });
    let status = match app.is_draining() {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    };
    json(status, &body)
}

async fn metrics_page(app: &App, headers: &HeaderMap) -> Answer {
    let format = Format::wanted(headers);
    let page = app.board.page(Facts::of(app).await, format);
    let mut answer = text(StatusCode::OK, page);
    let kind = HeaderValue::from_static(format.content_type());
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

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
    let mut error = json!({ "code": why.code.as_str(), "message": why.message });
    if let Some(field) = &why.field {
        error["field"] = json!(field);
    }
    let millis = why.retry_after.map(|it| it.as_millis().max(1));
    if let Some(millis) = millis {
        error["retry_after"] = json!(u64::try_from(millis).unwrap_or(u64::MAX));
    }
    let mut answer = json(status, &json!({ "error": error }));
    if let Some(millis) = millis {
        let seconds = HeaderValue::from(u64::try_from(millis.div_ceil(1000)).unwrap_or(u64::MAX));
        answer.headers_mut().insert(RETRY_AFTER, seconds);
    }
    answer
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
        let found = self.0.iter().find(|(key, _)| key == name);
        found
            .map(|(_, value)| &value[..])
            .filter(|it| !it.is_empty())
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

/// Checks that a request without tokens is meant for this machine. Every answer is behind this check, so that a page whose
/// domain was pointed at this machine can read nothing.
fn check_host(app: &App, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
    let allowed = &app.config.allowed_origins;
    let hosts = headers.get_all(HOST).iter();
    let hosts = hosts.map(|it| it.to_str().unwrap_or("?"));
    // The request line may name a host, too.
    let hosts = hosts.chain(uri.authority().map(|it| it.as_str()));
    let checked = hosts.map(|host| allowed.check_host(Some(host)));
    checked.collect::<Result<(), _>>().map_err(|_| {
        let message = "this host is neither this machine nor among allowed_origins";
        Refused::new(ErrorCode::Forbidden, message)
    })
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
