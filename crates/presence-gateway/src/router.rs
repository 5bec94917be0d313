//! Routes every HTTP request: to the page, a probe, an API call or a dialect. The calls of the API are listed in `api/routes.rs`.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, StatusCode, Uri};
use presence_protocol::ErrorCode;

use crate::app::App;
use crate::cable::Cable;
use crate::dialect::Dialect;
use crate::http::{self, Answer};
use crate::native::Native;
use crate::phoenix::Phoenix;
use crate::pusher::{self, Pusher};
use crate::request::Refused;
use crate::traces::CallSpan;
use crate::{api, assets, probes, upgrade};

/// The dialect that is spoken at a path. A new dialect adds a line here.
pub(crate) fn dialect_at(path: &str) -> Option<Endpoint> {
    match path {
        "/ws" => Some(Endpoint::new::<Native>("ws")),
        "/socket/websocket" => Some(Endpoint::new::<Phoenix>("phoenix")),
        "/cable" => Some(Endpoint::new::<Cable>("cable")),
        path if path.starts_with(pusher::PATH) => Some(Endpoint::new::<Pusher>("pusher")),
        _ => None,
    }
}

/// A dialect that is spoken at a path.
pub(crate) struct Endpoint {
    /// The name of the path in the metrics.
    route: &'static str,
    upgrade: fn(Arc<App>, Request<Incoming>) -> Answer,
}

impl Endpoint {
    fn new<D: Dialect>(route: &'static str) -> Self {
        let upgrade = upgrade::answer::<D>;
        Endpoint { route, upgrade }
    }

    /// Answers an HTTP request to this path, which should ask for a WebSocket.
    fn answer(&self, app: Arc<App>, request: Request<Incoming>) -> Answer {
        (self.upgrade)(app, request)
    }
}

/// Answers one HTTP request, on any path.
pub(crate) async fn answer(app: Arc<App>, request: Request<Incoming>) -> Answer {
    let began = Instant::now();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if let Err(why) = check_host(&app, request.uri(), request.headers()) {
        let answer = http::error(StatusCode::FORBIDDEN, &why);
        let status = answer.status().as_u16();
        app.metrics
            .answered("foreign_host", status, began.elapsed());
        return answer;
    }
    if let Some(endpoint) = dialect_at(request.uri().path()) {
        let answer = endpoint.answer(app.clone(), request);
        let status = answer.status().as_u16();
        app.metrics
            .answered(endpoint.route, status, began.elapsed());
        return answer;
    }
    let (route, answer) = match request.uri().path() {
        path if path.starts_with("/api/") || path.starts_with("/admin/api/") => {
            let span = CallSpan::begin(request.method(), request.headers());
            let (name, answer) = api::answer(&app, request).await;
            span.end(api::pattern(name), answer.status());
            (name, answer)
        }
        path if path.starts_with(pusher::api::PATH) => {
            let span = CallSpan::begin(request.method(), request.headers());
            let (name, answer) = pusher::api::answer(&app, request).await;
            span.end(name, answer.status());
            (name, answer)
        }
        _ if !is_read => ("page", http::method_not_allowed("GET, HEAD")),
        "/livez" => ("livez", http::text(StatusCode::OK, "alive\n")),
        "/readyz" => ("readyz", probes::ready(&app)),
        "/health" => ("health", probes::health(&app).await),
        "/metrics" => (
            "metrics",
            probes::metrics_page(&app, request.headers()).await,
        ),
        "/openapi.json" => ("openapi", api::document()),
        "/admin/" => ("page", assets::answer("/admin", request.headers())),
        path => ("page", assets::answer(path, request.headers())),
    };
    let status = answer.status().as_u16();
    app.metrics.answered(route, status, began.elapsed());
    answer
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
