//! What operators ask: whether the gateway lives and is ready, its health, and its metrics.

use std::sync::atomic::Ordering::Relaxed;

use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::json;

use crate::app::App;
use crate::http::{Answer, json, text};
use crate::metrics::{Facts, Format, IdentityFacts};

/// Answers the readiness probe: whether to send clients here. An unreachable profile store does not change that,
/// because the gateway still knows who is here.
pub(crate) fn ready(app: &App) -> Answer {
    match (app.is_draining(), app.gate.is_waiting_for_keys()) {
        (true, _) => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        (false, true) => text(
            StatusCode::SERVICE_UNAVAILABLE,
            "waiting for the keys of tokens\n",
        ),
        (false, false) => text(StatusCode::OK, "ready\n"),
    }
}

/// Answers `/health`: what works, what is away, and how much there is.
pub(crate) async fn health(app: &App) -> Answer {
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

/// Answers `/metrics`, in the format that the headers ask for.
pub(crate) async fn metrics_page(app: &App, headers: &HeaderMap) -> Answer {
    let format = Format::wanted(headers);
    let page = app.board.page(facts(app).await, format);
    let mut answer = text(StatusCode::OK, page);
    let kind = HeaderValue::from_static(format.content_type());
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// Reads what a page of metrics shows beside what is counted.
async fn facts(app: &App) -> Facts {
    Facts {
        now: app.now(),
        open: app.connections.open(),
        counts: app.hub.counts().await,
        identity: identity(app),
        garbled: app.garbled(),
        is_folder_gone: app.kept.is_gone(),
        is_draining: app.is_draining(),
    }
}

fn identity(app: &App) -> IdentityFacts {
    IdentityFacts {
        revoked: app.gate.revoked.len() as u64,
        revoked_away: app.revoking.is_away(),
        jwks: app.gate.fetched_keys().map(|it| {
            let (keys, at) = it.state();
            let age = app.now().since(at.unwrap_or_default()).as_secs();
            let (fetches, failures) = (it.fetches.load(Relaxed), it.failures.load(Relaxed));
            [keys as u64, age, fetches, failures]
        }),
    }
}
