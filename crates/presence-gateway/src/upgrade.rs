//! Turns an HTTP request into a WebSocket that is let in, or refuses it.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{Method, Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use presence_core::explain::ClientOrigin;
use presence_protocol::ErrorCode;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::app::{App, Neighbour};
use crate::dialect::{Agreed, Dialect, Handshake};
use crate::http::{self, Answer};
use crate::origin::{self, PeerAddress};
use crate::out::Out;
use crate::request::Refused;
use crate::socket::{Socket, turn_away, websocket_config};

/// Answers a request to the path of a dialect, and runs the socket once the client has the answer.
pub(crate) fn answer<D: Dialect>(app: Arc<App>, mut request: Request<Incoming>) -> Answer {
    if *request.method() != Method::GET {
        return http::method_not_allowed("GET");
    }
    let (key, Agreed { protocol, hello }) = match agree::<D>(&app, &request) {
        Ok(agreed) => agreed,
        Err(answer) => {
            let status = answer.status().as_u16();
            app.journal.refuses_handshake(app.now(), D::NAME, status);
            return *answer;
        }
    };
    let accept = derive_accept_key(key.as_bytes());
    let neighbour = request.extensions_mut().remove::<Arc<Neighbour>>();
    let address = request.extensions().get::<PeerAddress>().copied();
    let origin = origin::of((app.config.addresses, &app.resume), D::NAME, address);
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
        enter::<D>(app, websocket, (hello, origin), neighbour).await;
    });

    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(CONNECTION, "upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        response = response.header(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    let response = response.body(Full::<Bytes>::default());
    response.expect("the headers are well-formed")
}

/// Checks everything in a handshake.
fn agree<D: Dialect>(
    app: &App,
    request: &Request<Incoming>,
) -> Result<(HeaderValue, Agreed<D::Hello>), Box<Answer>> {
    let refused = |status, code, message: &str| {
        Box::new(D::not_upgraded(status, &Refused::new(code, message)))
    };
    let malformed = |message| refused(StatusCode::UPGRADE_REQUIRED, ErrorCode::Malformed, message);
    if !is_websocket(request) {
        return Err(malformed("this is a WebSocket"));
    }
    let headers = request.headers();
    let version = headers.get(SEC_WEBSOCKET_VERSION);
    let (Some(key), Some(b"13")) = (
        headers.get(SEC_WEBSOCKET_KEY),
        version.map(HeaderValue::as_bytes),
    ) else {
        return Err(malformed("not a WebSocket handshake of version 13"));
    };
    if !is_key(key) || headers.get_all(SEC_WEBSOCKET_KEY).iter().count() > 1 {
        let message = "sec-websocket-key must be 16 bytes in base64, once";
        return Err(refused(
            StatusCode::BAD_REQUEST,
            ErrorCode::Malformed,
            message,
        ));
    }
    if let Err(why) = http::check_origin(app, headers) {
        return Err(Box::new(D::not_upgraded(StatusCode::FORBIDDEN, &why)));
    }
    if app.is_draining() {
        return Err(refused(
            StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::Unavailable,
            "the gateway is stopping",
        ));
    }
    let agreed = D::read(app, &Handshake::of(request))?;
    Ok((key.clone(), agreed))
}

/// Whether the request asks for a WebSocket.
fn is_websocket(request: &Request<Incoming>) -> bool {
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

/// Whether it is a valid `Sec-WebSocket-Key`, which a client draws for each connection.
fn is_key(key: &HeaderValue) -> bool {
    let decoded = STANDARD.decode(key.as_bytes());
    decoded.is_ok_and(|it| it.len() == 16)
}

async fn enter<D: Dialect>(
    app: Arc<App>,
    websocket: WebSocketStream<TcpStream>,
    (hello, origin): (D::Hello, Arc<ClientOrigin>),
    neighbour: Option<Arc<Neighbour>>,
) {
    let _counted = app.connections.go_on();
    let mut out = Out::default();
    match D::enter(app.clone(), hello, origin, &mut out).await {
        Ok(dialect) => {
            app.metrics.connected(D::NAME);
            let socket = Socket::new(app.clone(), websocket, dialect, out);
            // A task of its own, so that what letting in needed is not kept for the life of the connection.
            let running = Box::new(socket).run();
            match neighbour {
                None => drop(tokio::spawn(running)),
                Some(neighbour) => drop(tokio::spawn(async move {
                    running.await;
                    drop(neighbour);
                })),
            }
        }
        Err(farewell) => {
            app.metrics.not_let_in(D::NAME, farewell.code);
            app.journal.refuses(app.now(), D::NAME, &farewell);
            turn_away(websocket, out, farewell).await;
        }
    }
}
