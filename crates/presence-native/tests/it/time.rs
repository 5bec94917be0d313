//! What only takes long: silence, and clients that do not read. Time is paused, and passes when nothing else does. The socket
//! is one of tungstenite, in memory.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use presence_hub::presence_core::{ChannelId, Payload};
use presence_hub::{ConnectRequest, Hub};
use presence_native::{Handshake, Server, Settings};
use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::hub;

const PING_EVERY: Duration = Duration::from_secs(25);
const PONG_WAIT: Duration = Duration::from_secs(8);
const WRITE_WAIT: Duration = Duration::from_secs(10);
const CLOSE_WAIT: Duration = Duration::from_secs(2);
/// More than nothing, less than anything that is waited for.
const SLACK: Duration = Duration::from_millis(1500);

/// The client side of a connection.
struct Far {
    client: WebSocketStream<DuplexStream>,
    running: JoinHandle<()>,
}

/// A connection of `user`, with `buffer` bytes on the way in each direction.
async fn connect(hub: &Hub, user: &str, buffer: usize) -> Far {
    connect_with(hub, &format!("user_id={user}&device_id=web:1"), buffer).await
}

/// A connection that is opened with this query.
async fn connect_with(hub: &Hub, query: &str, buffer: usize) -> Far {
    let (near, far) = tokio::io::duplex(buffer);
    let server = Server::new(hub.clone(), Settings::default());
    let near = WebSocketStream::from_raw_socket(near, Role::Server, None).await;
    let handshake = Handshake::read(query, []).unwrap();
    let identity = handshake.claimed();
    let running = tokio::spawn(async move { server.serve(near, handshake, identity).await });
    Far {
        client: WebSocketStream::from_raw_socket(far, Role::Client, None).await,
        running,
    }
}

impl Far {
    async fn says(&mut self, json: &str) {
        self.client.send(Message::text(json)).await.unwrap();
    }

    /// Reads to the end, answering what WebSocket has to answer: what it was, in a word each.
    async fn heard(&mut self) -> Vec<String> {
        let mut heard = Vec::new();
        while let Some(Ok(message)) = self.client.next().await {
            heard.push(match message {
                Message::Text(text) => text.split('"').nth(3).unwrap_or_default().to_owned(),
                Message::Ping(_) => "ping".to_owned(),
                Message::Close(Some(frame)) => format!("close {}", u16::from(frame.code)),
                other => format!("{other:?}"),
            });
        }
        heard
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_is_asked_and_who_does_not_answer_is_timed_out() {
    let hub = hub();
    let mut ann = connect(&hub, "ann", 64 * 1024).await;
    let began = Instant::now();
    (&mut ann.running).await.unwrap();
    let span = began.elapsed();
    let most = PING_EVERY + PONG_WAIT + CLOSE_WAIT + SLACK;
    assert!(PING_EVERY + PONG_WAIT <= span && span <= most, "{span:?}");
    let mut told = Vec::new();
    ann.client.get_mut().read_to_end(&mut told).await.unwrap();
    assert!(told.windows(2).any(|it| it == [0x89, 0]), "asked before");
    assert!(told.ends_with(b"timed out"), "and a close frame");
}

#[tokio::test(start_paused = true)]
async fn who_answers_pings_has_to_say_something_once_in_a_ttl() {
    let hub = hub();
    let mut ann = connect(&hub, "ann", 64 * 1024).await;
    let began = Instant::now();
    let heard = ann.heard().await;
    assert_eq!(
        heard[heard.len() - 4..],
        ["ping", "ping", "presence:closing", "close 4408"]
    );
    let (ttl, span) = (hub.settings().timing.ttl(), began.elapsed());
    assert!(ttl <= span && span <= ttl + SLACK, "{span:?}");
    ann.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_sends_heartbeats_stays() {
    let hub = hub();
    let mut ann = connect(&hub, "ann", 64 * 1024).await;
    let mut ticks = tokio::time::interval(Duration::from_secs(15));
    let hour = Instant::now() + Duration::from_secs(3600);
    while Instant::now() < hour {
        tokio::select! {
            _ = ticks.tick() => ann.says(r#"{"type":"presence:heartbeat"}"#).await,
            it = ann.client.next() => assert!(matches!(it, Some(Ok(Message::Text(_)))), "{it:?}"),
        }
    }
    assert!(!ann.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_is_let_go_of_and_slows_down_nobody() {
    let hub = hub();
    let mut slow = connect(&hub, "slow", 1000).await;
    slow.says(r#"{"type":"presence:join","channel":"room:1"}"#)
        .await;
    flood(&hub, 20).await;
    let began = Instant::now();
    slow.running.await.unwrap();
    // The wait has a part for what waits: 20 KB are five seconds.
    let most = WRITE_WAIT + Duration::from_secs(5) + CLOSE_WAIT + SLACK;
    let span = began.elapsed();
    assert!(WRITE_WAIT <= span && span <= most, "{span:?}");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_can_be_kicked() {
    let hub = hub();
    let mut slow = connect(&hub, "slow", 1000).await;
    slow.says(r#"{"type":"presence:join","channel":"room:1"}"#)
        .await;
    flood(&hub, 20).await;
    let began = Instant::now();
    hub.kick(&"slow".parse().unwrap()).await.unwrap();
    slow.running.await.unwrap();
    assert!(
        began.elapsed() <= CLOSE_WAIT + SLACK,
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_frame_of_ours_closes_with_the_code_for_it() {
    let hub = hub();
    for (message, code) in [
        (Message::binary(vec![0xff]), "close 1003"),
        (Message::text("x".repeat(65_537)), "close 1009"),
        (Message::text(r#"{"type":"presence:leave"}"#), "close 1000"),
    ] {
        let mut ann = connect(&hub, "ann", 256 * 1024).await;
        ann.client.send(message).await.unwrap();
        let heard = ann.heard().await;
        assert_eq!(heard.last().unwrap(), code);
        assert_eq!(heard[heard.len() - 2], "presence:closing");
        ann.running.await.unwrap();
    }
    let mut ann = connect(&hub, "ann", 64 * 1024).await;
    for _ in 0..25 {
        ann.says("not json").await;
    }
    assert_eq!(ann.heard().await.last().unwrap(), "close 4400");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_let_in_is_told_which_value_is_bad() {
    let hub = hub();
    for (query, field) in [
        ("user_id=a%20b", "user_id"),
        ("user_id=ann&device_id=a%20b", "device_id"),
        ("user_id=ann&workspace_id=a,,b", "workspace_id"),
    ] {
        let mut ann = connect_with(&hub, query, 64 * 1024).await;
        let Some(Ok(Message::Text(error))) = ann.client.next().await else {
            panic!("nothing is told")
        };
        assert!(error.contains(r#""code":"invalid""#), "{error}");
        let named = format!(r#""field":"{field}""#);
        assert!(error.contains(&named), "{error}");
        assert_eq!(ann.heard().await, ["presence:closing", "close 4403"]);
        ann.running.await.unwrap();
    }
}

/// Somebody who tells the room a kilobyte many times, and goes.
async fn flood(hub: &Hub, times: usize) {
    let request = ConnectRequest::new("loud".parse().unwrap(), "web:1".parse().unwrap());
    let mut loud = hub.connect(request).await.unwrap();
    let channel: ChannelId = "room:1".parse().unwrap();
    loud.join(channel.clone(), Default::default(), None, None)
        .unwrap();
    let payload = Payload::from_json(format!("\"{}\"", "x".repeat(1000))).unwrap();
    for _ in 0..times {
        loud.say(channel.clone(), "e".into(), payload.clone(), None)
            .unwrap();
    }
    // Until a tick has told it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    loud.end().await;
}
