//! What a dialect is: a client wire protocol, in a folder of its own. And the table of all there are.
//!
//! A connection is one task that runs [`Socket`](crate::socket::Socket), and that knows of time, bytes and endings.
//! A dialect knows words: it reads the handshake, lets clients in as [`Guest`]s, does what their frames ask for, and puts
//! what guests are told into frames.

use std::sync::Arc;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{HeaderMap, SEC_WEBSOCKET_PROTOCOL};
use hyper::{Request, StatusCode};
use presence_core::Timestamp;
use presence_hub::{DIALECTS_MAX, Delivery};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::app::App;
use crate::cable::Cable;
use crate::closing::{Closing, Why};
use crate::guest::Guest;
use crate::http::{self, Answer, Query};
use crate::native::Native;
use crate::out::Out;
use crate::phoenix::Phoenix;
use crate::pusher::{self, Pusher};
use crate::request::Refused;
use crate::upgrade;

/// Which dialect is spoken where: the line that a new one adds.
pub(crate) fn spoken_at(path: &str) -> Option<Spoken> {
    match path {
        "/ws" => Some(Spoken::new::<Native>("ws")),
        "/socket/websocket" => Some(Spoken::new::<Phoenix>("phoenix")),
        "/cable" => Some(Spoken::new::<Cable>("cable")),
        path if path.starts_with(pusher::PATH) => Some(Spoken::new::<Pusher>("pusher")),
        _ => None,
    }
}

/// The encodings of an event that are made once and shared: the numbers in [`presence_hub::Told`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// `presence.v1.json`
    NativeJson,
    /// `presence.v1.postcard`
    NativePostcard,
    /// Phoenix, on the topic that it is about.
    PhoenixTopic,
    /// Phoenix, on the service topic.
    PhoenixService,
    /// Action Cable, by channel class.
    Cable,
    /// What its extension adds.
    CableExtended,
    /// Pusher 7.
    Pusher,
}

const _: () = assert!((Slot::Pusher as usize) < DIALECTS_MAX);

/// A dialect, at a path.
pub(crate) struct Spoken {
    /// What the metrics call it.
    pub(crate) route: &'static str,
    upgrade: fn(Arc<App>, Request<Incoming>) -> Answer,
}

impl Spoken {
    fn new<D: Dialect>(route: &'static str) -> Self {
        let upgrade = upgrade::answer::<D>;
        Spoken { route, upgrade }
    }

    /// Answers a request for it.
    pub(crate) fn answer(&self, app: Arc<App>, request: Request<Incoming>) -> Answer {
        (self.upgrade)(app, request)
    }
}

/// A client wire protocol, for one connection.
///
/// Where a default is given, it is what browsers and well-behaved clients need; the native dialect keeps most of them.
pub(crate) trait Dialect: Sized + Send + 'static {
    /// What a client says in its handshake.
    type Hello: Send + 'static;

    /// Whether the answer to a WebSocket ping is a sign of life that keeps the session. A page that hangs answers pings
    /// too; so only where the stock clients say nothing else by themselves, or not often enough.
    const PONGS_COUNT: bool = false;

    /// Reads the handshake.
    ///
    /// # Errors
    ///
    /// The answer to one that is not even upgraded. A page cannot see what it says.
    fn read(app: &App, handshake: &Handshake<'_>) -> Result<Agreed<Self::Hello>, Box<Answer>>;

    /// Answers a request that is no WebSocket as it should be, comes from a foreign page, or at the wrong time.
    fn not_upgraded(status: StatusCode, why: &Refused) -> Answer {
        http::not_upgraded(status, why)
    }

    /// Lets a client in, or not yet, or tells it why not. The first frames go to `out`.
    ///
    /// # Errors
    ///
    /// With what code to close, after what is in `out`.
    fn enter(
        app: Arc<App>,
        hello: Self::Hello,
        out: &mut Out,
    ) -> impl Future<Output = Result<Self, Farewell>> + Send;

    /// Those who were let in through this connection. The socket waits for what they are told, keeps them alive, asks
    /// for fresh tokens in time, and ends when one of them does. There may be more after a frame than before.
    fn guests(&self) -> &[Guest];

    /// The same, to be told something.
    fn guests_mut(&mut self) -> &mut [Guest];

    /// The same, to go.
    fn into_guests(self) -> Vec<Guest>;

    /// Makes frames of what a guest is told: none, for what the client need not know. The end is told by
    /// [`farewell`](Self::farewell).
    fn deliver(&mut self, guest: usize, delivery: Delivery, out: &mut Out);

    /// Does what a frame asks for. What can be answered at once goes to `out`.
    fn take(&mut self, frame: Frame, out: &mut Out) -> impl Future<Output = Next> + Send;

    /// Says why it is over, and with what code to close.
    fn farewell(&mut self, closing: &Closing, out: &mut Out) -> Farewell;

    /// Whether a client that closes like that is not coming back.
    fn is_goodbye(close: Option<&CloseFrame>) -> bool {
        close.is_some_and(|it| it.code == CloseCode::Normal)
    }

    /// Asks for a fresh token, if there are words for that.
    fn expiring(&mut self, at: Timestamp, out: &mut Out) {
        let _ = (at, out);
    }

    /// When it wants to act by itself next.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Does what is due at its deadline. Calling it early or twice does nothing.
    fn expire(&mut self, now: Instant, out: &mut Out) {
        let _ = (now, out);
    }
}

/// What a client sent.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A text.
    Text(Utf8Bytes),
    /// Bytes.
    Binary(Bytes),
}

/// What a connection does after a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It goes on.
    Continue,
    /// The client left.
    Leave,
    /// The client is closed.
    Close(Closing),
}

/// The close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// Its code.
    pub(crate) code: u16,
    /// Its reason.
    pub(crate) reason: &'static str,
}

impl Farewell {
    /// That code, with the reason in the words all dialects use.
    pub(crate) fn new(code: u16, why: Why) -> Self {
        let reason = why.reason();
        Farewell { code, reason }
    }
}

/// The request that a client began with.
pub(crate) struct Handshake<'a> {
    /// The path of its URL.
    #[allow(dead_code, reason = "for dialects that have a part of it")]
    pub(crate) path: &'a str,
    /// The query of its URL.
    pub(crate) query: Query,
    /// Its headers.
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

    /// The first offered subprotocol with that prefix, without it: where browsers put tokens.
    pub(crate) fn offered_after(&self, prefix: &str) -> Option<&'a str> {
        self.offered.iter().find_map(|it| it.strip_prefix(prefix))
    }
}

/// What a handshake came to.
pub(crate) struct Agreed<H> {
    /// The subprotocol to speak, if any was offered.
    pub(crate) protocol: Option<String>,
    /// What the client said.
    pub(crate) hello: H,
}

#[cfg(test)]
mod tests;
