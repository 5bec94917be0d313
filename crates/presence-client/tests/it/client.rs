//! The client, against a gateway that follows a script.

use std::future::Future;

use futures_util::{SinkExt, StreamExt};
use presence_client::wire::event::{self, Hello};
use presence_client::wire::{Command, ErrorCode, Event, Ref, command};
use presence_client::{Client, ConnectError, Ending, Options, Protocol, RequestError};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// The gateway's side of a connection.
pub(crate) struct Script {
    socket: WebSocketStream<TcpStream>,
    binary: bool,
}

impl Script {
    pub(crate) async fn says(&mut self, event: &Event) {
        let message = match self.binary {
            true => Message::binary(event.to_postcard()),
            false => Message::text(event.to_json()),
        };
        self.socket.send(message).await.unwrap();
    }

    pub(crate) async fn hears(&mut self) -> Command {
        match self.socket.next().await.unwrap().unwrap() {
            Message::Text(text) => Command::from_json(&text).unwrap(),
            Message::Binary(bytes) => Command::from_postcard(&bytes).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn closes(mut self, code: u16, reason: &'static str) {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        self.socket.close(Some(frame)).await.unwrap();
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

/// The example of `docs/protocol.md`.
pub(crate) fn hello() -> Hello {
    let page = include_str!("../../../../docs/protocol.md");
    let hello = page
        .lines()
        .find(|it| it.starts_with(r#"{"type":"presence:hello""#));
    match Event::from_json(hello.unwrap()) {
        Ok(Event::Hello(hello)) => hello,
        other => panic!("{other:?}"),
    }
}

fn ping() -> Command {
    command::Ping { ref_: None }.into()
}

fn pong(ref_: Option<u64>, now: u64) -> Event {
    let ref_ = ref_.map(Ref::from);
    Event::Pong(event::Pong { ref_, now })
}

/// Accepts the next connection. Returns it with the query of its request.
pub(crate) async fn accept(listener: &TcpListener, protocol: Protocol) -> (Script, String) {
    let (stream, _) = listener.accept().await.unwrap();
    let mut query = String::new();
    #[allow(clippy::result_large_err)] // The shape is tungstenite's.
    let choose = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        query = request.uri().query().unwrap_or_default().to_owned();
        let offered = request.headers()[SEC_WEBSOCKET_PROTOCOL].clone();
        response
            .headers_mut()
            .insert(SEC_WEBSOCKET_PROTOCOL, offered);
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, choose)
        .await
        .unwrap();
    let binary = protocol == Protocol::Binary;
    (Script { socket, binary }, query)
}

/// Plays `gateway` for one connection, and runs `client` with options for it.
async fn check<G, C>(
    protocol: Protocol,
    gateway: impl FnOnce(Script) -> G,
    client: impl FnOnce(Options) -> C,
) where
    G: Future<Output = ()>,
    C: Future<Output = ()>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let options = Options {
        protocol,
        ..Options::user(&url, "ann")
    };
    let gateway = async {
        let (script, _) = accept(&listener, protocol).await;
        gateway(script).await;
    };
    tokio::join!(gateway, client(options));
}

#[tokio::test]
async fn a_request_gets_its_own_answer_and_loses_no_event() {
    for protocol in [Protocol::Json, Protocol::Binary] {
        check(
            protocol,
            async |mut gateway| {
                gateway.says(&Event::Hello(hello())).await;
                let asked = gateway.hears().await;
                assert_eq!(asked.ref_(), Some(&Ref::from(1)));
                gateway.says(&pong(None, 1)).await;
                gateway.says(&pong(Some(9), 2)).await;
                gateway.says(&pong(Some(1), 3)).await;
                gateway.closes(1012, "restarting").await;
            },
            async |options| {
                let mut client = Client::connect(&options).await.unwrap();
                assert_eq!((client.hello(), client.restored()), (&hello(), false));
                assert_eq!(client.request(ping()).await.unwrap(), pong(Some(1), 3));
                assert_eq!(client.next().await, Some(pong(None, 1)));
                assert_eq!(client.next().await, Some(pong(Some(9), 2)));
                assert_eq!(client.next().await, None);
                let closed = Ending::Closed {
                    code: 1012,
                    reason: "restarting".to_owned(),
                };
                assert_eq!(client.ending(), Some(&closed));
                assert_eq!(client.next().await, None);
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_refused_request_says_why() {
    check(
        Protocol::Json,
        async |mut gateway| {
            gateway.says(&Event::Restored(hello())).await;
            gateway.hears().await;
            let error = event::Error {
                ref_: Some(Ref::from(1)),
                code: ErrorCode::RateLimited,
                message: "too many pings".to_owned(),
                field: None,
                retry_after: Some(250),
            };
            gateway.says(&Event::Error(error)).await;
        },
        async |options| {
            let mut client = Client::connect(&options).await.unwrap();
            assert!(client.restored());
            let error = client.request(ping()).await.unwrap_err();
            assert_eq!(error.to_string(), "rate_limited: too many pings");
            let error = client.request(ping()).await.unwrap_err();
            assert!(
                matches!(error, RequestError::Ended(Ending::Lost(_))),
                "{error}"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn a_connection_that_says_no_hello_says_how_it_ended() {
    check(
        Protocol::Json,
        async |gateway| gateway.closes(4401, "token expired").await,
        async |options| {
            let error = Client::connect(&options).await.err().unwrap();
            assert_eq!(
                error.to_string(),
                "closed with 4401 token expired before hello"
            );
        },
    )
    .await;
}

#[tokio::test]
async fn events_of_the_future_are_skipped_and_garbage_ends_it() {
    check(
        Protocol::Json,
        async |mut gateway| {
            gateway.says(&Event::Hello(hello())).await;
            for text in [
                r#"{"type":"presence:dance"}"#,
                r#"{"type":"presence:pong","now":1}"#,
                "{",
            ] {
                gateway.socket.send(Message::text(text)).await.unwrap();
            }
        },
        async |options| {
            let mut client = Client::connect(&options).await.unwrap();
            assert_eq!(client.next().await, Some(pong(None, 1)));
            assert_eq!(client.next().await, None);
            assert!(matches!(client.ending(), Some(Ending::Garbled(_))));
        },
    )
    .await;
}

#[tokio::test]
async fn what_does_not_answer_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    drop(listener);
    let error = Client::connect(&Options::new(&url)).await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreachable(_)), "{error}");
    let error = Client::connect(&Options::new("http://localhost"))
        .await
        .err()
        .unwrap();
    assert!(matches!(error, ConnectError::Url(_)), "{error}");
}
