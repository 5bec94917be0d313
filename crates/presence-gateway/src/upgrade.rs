//! From an HTTP request to a WebSocket that was let in, or told why not.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use presence_client::wire::{self, ErrorCode};
use presence_core::users::Connection;
use presence_core::{DeviceId, Refusal};
use presence_hub::Entry;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::app::App;
use crate::http::{self, Query};
use crate::identity::Identity;
use crate::native::{Encoding, Native, confine};
use crate::request::{self, Refused};
use crate::socket::{Socket, turn_away, websocket_config};

/// How long to wait for the profile of who wants in: they are not shown before it is known whether they hide.
const PROFILE_WAIT: Duration = Duration::from_secs(10);

/// Whether the client wants a WebSocket.
pub(crate) fn is_websocket(request: &Request<Incoming>) -> bool {
    let says = |name, word: &str| {
        let values = request.headers().get_all(name).iter();
        let mut words = values
            .filter_map(|it| it.to_str().ok())
            .flat_map(|it| it.split(','));
        words.any(|it| it.trim().eq_ignore_ascii_case(word))
    };
    request.version() == Version::HTTP_11
        && says(CONNECTION, "upgrade")
        && says(UPGRADE, "websocket")
}

/// Answers the request, and has the socket run once the client has the answer.
pub(crate) fn upgrade(app: Arc<App>, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    let headers = request.headers();
    let version = headers.get(SEC_WEBSOCKET_VERSION);
    let (Some(key), Some(b"13")) = (
        headers.get(SEC_WEBSOCKET_KEY),
        version.map(HeaderValue::as_bytes),
    ) else {
        return http::upgrade_required("not a WebSocket handshake of version 13");
    };
    if let Err(why) = http::check_origin(&app, headers) {
        return http::error(StatusCode::FORBIDDEN, &why);
    }
    if app.is_draining() {
        let why = Refused::new(ErrorCode::Unavailable, "the gateway is stopping");
        return http::error(StatusCode::SERVICE_UNAVAILABLE, &why);
    }
    let offered = protocols(headers);
    let names = |it: &str| it == wire::JSON || it == wire::POSTCARD;
    let chosen = offered.iter().find(|it| names(it)).cloned();
    if chosen.is_none() && !offered.is_empty() {
        let message = format!("offer {} or {}", wire::JSON, wire::POSTCARD);
        return http::error(
            StatusCode::BAD_REQUEST,
            &Refused::new(ErrorCode::Malformed, message),
        );
    }
    let encoding = Encoding::ALL
        .into_iter()
        .find(|(name, _)| Some(*name) == chosen.as_deref())
        .map_or(Encoding::Json, |(_, encoding)| encoding);

    let accept = derive_accept_key(key.as_bytes());
    let bearer = offered.iter().find_map(|it| it.strip_prefix(wire::BEARER));
    let door = Door::of(&app, &request, bearer.map(str::to_owned));
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else {
            return; // the client did not wait for the answer
        };
        // The bare socket: hyper's wrapper would cost several kilobytes for as long as the connection lives.
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            return;
        };
        let config = websocket_config(app.config.socket.frame_bytes_max);
        let websocket = WebSocketStream::from_partially_read(
            parts.io.into_inner(),
            parts.read_buf.to_vec(),
            Role::Server,
            Some(config),
        )
        .await;
        enter(app, websocket, door, encoding).await;
    });

    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(chosen) = chosen {
        response = response.header(SEC_WEBSOCKET_PROTOCOL, chosen);
    }
    let response = response.body(Full::default());
    response.expect("the headers are well-formed")
}

fn protocols(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
    all.filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .map(|it| it.trim().to_owned())
        .collect()
}

/// What a client says of itself at the door.
struct Door {
    identity: Result<Identity, Refused>,
    resume: Option<String>,
}

impl Door {
    fn of(app: &App, request: &Request<Incoming>, bearer: Option<String>) -> Self {
        let query = Query::of(request.uri());
        let token = bearer.or_else(|| http::bearer(request.headers(), &query));
        Door {
            identity: http::identify(app, token.as_deref(), &query),
            resume: query.get("resume").map(str::to_owned),
        }
    }
}

async fn enter(
    app: Arc<App>,
    websocket: WebSocketStream<TcpStream>,
    door: Door,
    encoding: Encoding,
) {
    let _counted = app.connections.go_on();
    let (identity, session, device) = match let_in(&app, door).await {
        Ok(let_in) => let_in,
        Err(why) => {
            app.metrics.refused(why.code);
            return turn_away(websocket, encoding, why).await;
        }
    };
    app.metrics.connected();
    let Connection { session: id, epoch } = session.connection();
    let now = app.now();
    let resume = app.resume.mint(id, epoch, session.user(), &device, now);
    let native = Native::new(encoding, app.clone(), identity);
    let hello = native.hello(&session, device.text(), resume);
    let socket = Socket::new(app.clone(), websocket, session, native);
    // A task of its own, so that what letting in needed is not kept for as long as the connection lives.
    tokio::spawn(Box::new(socket).run(hello));
}

async fn let_in(
    app: &App,
    door: Door,
) -> Result<(Identity, presence_hub::Session, DeviceId), Refused> {
    let identity = door.identity?;
    let user = identity.user.clone();
    let device = identity.device.clone().unwrap_or_else(random_device);
    let now = app.now();
    let resume = door.resume.as_deref();
    let resume = resume.and_then(|token| app.resume.verify(token, &user, &device, now));
    let resume = resume.map(|(session, epoch)| Connection { session, epoch });
    let entry = Entry {
        user,
        device: device.clone(),
        workspaces: identity.workspaces.clone(),
        card: request::meta(None, &identity)?,
        resume,
    };
    let entered = timeout(PROFILE_WAIT, app.hub.connect(entry)).await;
    let mut session = entered.unwrap_or(Err(Refusal::Unavailable))?;
    // Some time has passed at the door, and a restored session was allowed what its older token allowed.
    app.gate.revoked.check(&identity, app.now())?;
    confine(&identity, &mut session)?;
    Ok((identity, session, device))
}

/// A device for a client that names none: a browser, most likely, and another one each time.
fn random_device() -> DeviceId {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    let name = format!("web:{:016x}", u64::from_le_bytes(bytes));
    DeviceId::new(&name).expect("hexadecimal digits are fine")
}
