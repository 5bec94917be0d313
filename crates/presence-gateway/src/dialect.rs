//! The trait of a dialect, which is a client wire protocol in a folder of its own. `router.rs` has the table of all dialects.
//!
//! A connection is one task that runs [`Socket`](crate::socket::Socket), which handles time, bytes and endings. A dialect
//! handles words: it reads the handshake, lets clients in as [`Authorized`]s, does what their frames ask for, and turns what
//! authorized sessions are told into frames.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use hyper::{Request, StatusCode};
use presence_core::Timestamp;
use presence_core::explain::ClientOrigin;
use presence_hub::{Delivery, ENCODINGS_MAX};
pub(crate) use presence_native::connection::Next;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::app::App;
use crate::authorized::Authorized;
use crate::closing::{Closing, Farewell};
use crate::dialect_name::DialectName;
use crate::http::{self, Answer, Query};
use crate::out::Out;
use crate::request::Refused;

/// The encodings of an event that are made once and shared: the slots of [`presence_hub::SharedEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The JSON text of the native protocol, `presence.v1.json`.
    NativeJson,
    /// The binary frame of the native protocol, `presence.v1.postcard`.
    NativePostcard,
    /// The frames of Phoenix on the topic that the event is about.
    PhoenixTopic,
    /// The frames of Phoenix on the service topic.
    PhoenixService,
    /// The messages of Action Cable, by channel class.
    Cable,
    /// The messages that only `actioncable-v1-ext-json` has.
    CableExtended,
    /// The frames of Pusher protocol 7.
    Pusher,
}

const _: () = assert!((Slot::Pusher as usize) < ENCODINGS_MAX);

/// A client wire protocol, for one connection.
///
/// The defaults are what browsers and well-behaved clients need; the native dialect keeps most of them.
pub(crate) trait Dialect: Sized + Send + 'static {
    /// What a client says in its handshake.
    type Hello: Send + 'static;

    /// The dialect that this type implements.
    const NAME: DialectName;

    /// Whether the answer to a WebSocket ping keeps the session alive. A page that hangs answers pings too, so this is
    /// true only where the stock clients send nothing else by themselves, or not often enough.
    const PONGS_COUNT: bool = false;

    /// Reads the handshake of a client.
    ///
    /// # Errors
    ///
    /// The answer to a request that is not upgraded. A page cannot read that answer.
    fn read(app: &App, handshake: &Handshake<'_>) -> Result<Agreed<Self::Hello>, Box<Answer>>;

    /// Answers a request that is not a correct WebSocket handshake, that comes from a foreign page, or that comes at
    /// the wrong time.
    fn not_upgraded(status: StatusCode, why: &Refused) -> Answer {
        http::not_upgraded(status, why)
    }

    /// Lets the client in now, or later, or refuses it. The first frames go to `out`. Every authorized session is let in with
    /// `origin`.
    ///
    /// # Errors
    ///
    /// The close of a refused client, to be sent after what is in `out`.
    fn enter(
        app: Arc<App>,
        hello: Self::Hello,
        origin: Arc<ClientOrigin>,
        out: &mut Out,
    ) -> impl Future<Output = Result<Self, Farewell>> + Send;

    /// The authorized sessions that were let in through this connection. The socket waits for their deliveries, keeps them alive,
    /// asks for fresh tokens in time, and ends when one of them ends. A frame may add authorized sessions.
    fn sessions(&self) -> &[Authorized];

    /// The authorized sessions, mutable, so that the socket can wait for their deliveries.
    fn sessions_mut(&mut self) -> &mut [Authorized];

    /// The authorized sessions, by value, so that the socket can end them.
    fn into_sessions(self) -> Vec<Authorized>;

    /// Turns a delivery of the hub into frames; into none if the client need not know. The end of an authorized session is not
    /// delivered here but by [`farewell`](Self::farewell).
    fn deliver(&mut self, authorized: usize, delivery: Delivery, out: &mut Out);

    /// Does what a frame asks for. Answers that are ready at once go to `out`.
    fn take(&mut self, frame: Frame, out: &mut Out) -> impl Future<Output = Next> + Send;

    /// Says why the connection ends, and with which code to close it.
    fn farewell(&mut self, closing: &Closing, out: &mut Out) -> Farewell;

    /// Whether a client that closes with this frame is not coming back.
    fn is_goodbye(close: Option<&CloseFrame>) -> bool {
        close.is_some_and(|it| it.code == CloseCode::Normal)
    }

    /// Asks the client for a fresh token, if the dialect has a frame for that.
    fn expiring(&mut self, at: Timestamp, out: &mut Out) {
        let _ = (at, out);
    }

    /// When the dialect wants to act by itself next.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Does what is due by `now`. Calling it early or twice does nothing.
    fn expire(&mut self, now: Instant, out: &mut Out) {
        let _ = (now, out);
    }
}

/// A frame that a client sent.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A text frame, which is UTF-8.
    Text(Utf8Bytes),
    /// The payload of a binary frame.
    Binary(Bytes),
}

impl Frame {
    /// The bytes of its payload.
    pub(crate) fn len(&self) -> usize {
        match self {
            Frame::Text(text) => text.len(),
            Frame::Binary(bytes) => bytes.len(),
        }
    }
}

/// The HTTP request that a connection began with.
pub(crate) struct Handshake<'a> {
    /// The path of its URL.
    #[allow(dead_code, reason = "for dialects that have a part of it")]
    pub(crate) path: &'a str,
    /// The query of its URL, decoded.
    pub(crate) query: Query,
    /// The headers of the request.
    pub(crate) headers: &'a HeaderMap,
    /// The subprotocols it offers.
    pub(crate) offered: Vec<&'a str>,
}

impl<'a> Handshake<'a> {
    pub(crate) fn of(request: &'a Request<Incoming>) -> Self {
        let headers = request.headers();
        let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        Handshake {
            path: request.uri().path(),
            query: Query::of(request.uri()),
            headers,
            offered: offered
                .filter_map(|it| it.to_str().ok())
                .flat_map(|it| it.split(','))
                .map(str::trim)
                .collect(),
        }
    }

    /// The rest of the first offered subprotocol that begins with `prefix`: browsers put tokens there.
    pub(crate) fn offered_after(&self, prefix: &str) -> Option<&'a str> {
        self.offered.iter().find_map(|it| it.strip_prefix(prefix))
    }
}

/// What the gateway and the client agree on in a handshake.
pub(crate) struct Agreed<H> {
    /// The subprotocol to speak, if any was offered.
    pub(crate) protocol: Option<String>,
    /// What the client said in its handshake.
    pub(crate) hello: H,
}

#[cfg(test)]
mod tests;
