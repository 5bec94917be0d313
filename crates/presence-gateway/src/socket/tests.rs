//! What only takes long: silence, clients that do not read, the way out. Time is paused, and passes when nothing else does.

use presence_core::{Meta, Payload};
use presence_native::upkeep::PONG_WAIT;
use presence_protocol::{self as wire, Command};
use tokio::io::DuplexStream;

use super::far::{Far, app, identity, session};
use super::*;
use crate::native::{Encoding, Native};

#[tokio::test(start_paused = true)]
async fn who_is_silent_is_asked_and_who_does_not_answer_is_timed_out() {
    let app = app(&[]);
    let mut ann = connect(&app, "ann", 64 * 1024).await;
    let began = Instant::now();
    (&mut ann.running).await.unwrap();
    let span = began.elapsed();
    let most = PING_EVERY + PONG_WAIT + CLOSE_WAIT;
    assert!(
        PING_EVERY + PONG_WAIT <= span && span <= most + SLACK,
        "{span:?}"
    );
    let mut told = Vec::new();
    ann.client.get_mut().read_to_end(&mut told).await.unwrap();
    let ping = [0x89, 0];
    assert!(told.windows(2).any(|it| it == ping), "asked before");
    assert!(String::from_utf8_lossy(&told).contains(r#"presence:closing","code":4408"#));
    assert!(told.ends_with(b"timed out"), "and a close frame");
}

#[tokio::test(start_paused = true)]
async fn who_answers_pings_is_not_silent_but_has_to_say_something_once_in_a_ttl() {
    let app = app(&[]);
    let ann = connect(&app, "ann", 64 * 1024).await;
    let began = Instant::now();
    // Reading answers pings.
    let heard = heard(ann.client).await;
    assert_eq!(
        heard[2..],
        ["ping", "ping", "presence:closing 4408", "close 4408"]
    );
    let ttl = app.config.timing.ttl();
    assert!(
        ttl <= began.elapsed() && began.elapsed() <= ttl + SLACK,
        "{:?}",
        began.elapsed()
    );
    ann.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_says_something_in_time_stays_and_a_hidden_tab_has_more_of_it() {
    let app = app(&[]);
    let mut ann = connect(&app, "ann", 64 * 1024).await;
    let mut tab = connect(&app, "tab", 64 * 1024).await;
    tab.says(r#"{"type":"presence:activity","activity":"hidden"}"#)
        .await;
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let hour = Instant::now() + Duration::from_secs(3600);
    let mut second = 0_u64;
    while Instant::now() < hour {
        tokio::select! {
            _ = ticks.tick() => {
                second += 1;
                if second.is_multiple_of(15) {
                    ann.says(r#"{"type":"presence:heartbeat"}"#).await;
                }
                // Browsers let a page in the background act once a minute.
                if second.is_multiple_of(60) {
                    tab.says(r#"{"type":"presence:heartbeat"}"#).await;
                }
            }
            it = ann.client.next() => assert!(!matches!(it, None | Some(Ok(Message::Ping(_) | Message::Close(_)))), "{it:?}"),
            it = tab.client.next() => assert!(!matches!(it, None | Some(Ok(Message::Close(_)))), "{it:?}"),
        }
    }
    assert!(!ann.running.is_finished() && !tab.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_is_closed_and_could_still_read_why() {
    let app = app(&[]);
    let mut slow = connect(&app, "slow", 1000).await;
    slow.says(r#"{"type":"presence:join","channel":"room:1"}"#)
        .await;
    flood(&app, 20).await;
    let began = Instant::now();
    // In the last moment; what was begun is ended first, so that everything can be understood.
    tokio::time::sleep(WRITE_WAIT + CLOSE_WAIT / 2).await;
    assert!(!slow.running.is_finished());
    let heard = heard(slow.client).await;
    assert_eq!(
        heard[heard.len() - 2..],
        ["presence:closing 4413", "close 4413"],
        "{heard:?}"
    );
    slow.running.await.unwrap();
    assert!(
        began.elapsed() <= WRITE_WAIT + CLOSE_WAIT + SLACK,
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn who_never_reads_is_let_go_of_in_bounded_time() {
    let app = app(&[]);
    let mut slow = connect(&app, "slow", 1000).await;
    slow.says(r#"{"type":"presence:join","channel":"room:1"}"#)
        .await;
    flood(&app, 20).await;
    let began = Instant::now();
    slow.running.await.unwrap();
    assert!(
        began.elapsed() <= WRITE_WAIT + CLOSE_WAIT + SLACK,
        "{:?}",
        began.elapsed()
    );
    assert_eq!(app.connections.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_but_reads_is_not_cut() {
    let app = app(&[]);
    let mut slow = connect(&app, "slow", 100).await;
    slow.says(r#"{"type":"presence:join","channel":"room:1"}"#)
        .await;
    let mut first = String::new();
    while !first.ends_with(r#""cursors":[]}"#) {
        first.push(slow.client.get_mut().read_u8().await.unwrap().into());
    }
    flood(&app, 20).await;
    // Twenty kilobytes at fifty bytes a second: far longer than any wait, and than the ttl.
    let mut read = 0;
    let mut some = [0; 50];
    for second in 0..200 {
        read += slow.client.get_mut().read(&mut some).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(
            !slow.running.is_finished(),
            "after {second} s and {read} bytes"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_asks_everybody_to_go_within_its_time_whenever_they_came() {
    let app = app(&[]);
    let mut before = Vec::new();
    for n in 0..20 {
        before.push(connect(&app, &format!("user-{n}"), 64 * 1024).await);
    }
    let time = Duration::from_secs(10);
    app.phase.send_replace(Phase::Draining(time));
    // One that was let in at the last moment, and has not run yet.
    before.push(connect(&app, "late", 64 * 1024).await);
    let began = Instant::now();
    let mut spans = Vec::new();
    for far in before {
        let heard = tokio::spawn(async move { (heard(far.client).await, began.elapsed()) });
        spans.push(heard);
    }
    let mut last = Duration::ZERO;
    let mut first = time;
    for span in spans {
        let (heard, span) = span.await.unwrap();
        assert_eq!(heard[2..], ["presence:closing 1012", "close 1012"]);
        (first, last) = (first.min(span), last.max(span));
    }
    assert!(
        last <= time + SLACK && last - first > time / 4,
        "{first:?} to {last:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_our_close_is_let_go_of() {
    let app = app(&[]);
    let mut ann = connect(&app, "ann", 64 * 1024).await;
    let began = Instant::now();
    ann.says(r#"{"type":"presence:leave"}"#).await;
    ann.running.await.unwrap();
    assert!(
        began.elapsed() <= CLOSE_WAIT + SLACK,
        "{:?}",
        began.elapsed()
    );
}

/// More than nothing, less than anything that is waited for.
const SLACK: Duration = Duration::from_millis(500);

impl Far {
    async fn says(&mut self, json: &str) {
        Command::from_json(json).unwrap();
        self.text(json).await;
    }
}

/// A connection of `user`, with `buffer` bytes on the way in each direction.
async fn connect(app: &Arc<App>, user: &str, buffer: usize) -> Far {
    let authorized = Authorized::enter(app.clone(), identity(app, user), None, None).await;
    let native = Native::new(
        Encoding::Json,
        authorized.map_err(|why| why.message).unwrap(),
    );
    let mut out = Out::default();
    out.push(native.hello());
    far::serve(app, native, out, buffer).await
}

/// Somebody who tells the room a kilobyte many times, and goes.
async fn flood(app: &App, times: usize) {
    let mut loud = session(app, "loud").await;
    let channel: presence_core::ChannelId = "room:1".parse().unwrap();
    let meta: Arc<Meta> = Arc::default();
    loud.join(channel.clone(), meta, None, None).unwrap();
    let payload = Payload::from_json(format!("\"{}\"", "x".repeat(1000))).unwrap();
    for _ in 0..times {
        loud.say(channel.clone(), "e".into(), payload.clone(), None)
            .unwrap();
    }
    // Until a tick has told it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    loud.end().await;
}

/// Reads to the end, answering what WebSocket has to answer: what it was, in a word each.
async fn heard(mut client: WebSocketStream<DuplexStream>) -> Vec<String> {
    let mut heard = Vec::new();
    while let Some(Ok(message)) = client.next().await {
        heard.push(match message {
            Message::Text(text) => match wire::Event::from_json(&text).unwrap() {
                wire::Event::Closing(it) => format!("presence:closing {}", it.code),
                event => event.kind().to_owned(),
            },
            Message::Ping(_) => "ping".to_owned(),
            Message::Close(Some(frame)) => format!("close {}", u16::from(frame.code)),
            other => format!("{other:?}"),
        });
    }
    heard
}
