//! Who comes in, and how it is said that somebody does not.

use std::time::{Duration, Instant};

use presence_core::Timestamp;
use presence_testkit::pulse::Pulse;
use serde_json::json;

use super::{EXTENDED, PLAIN, Page, room};
use crate::gateway::{now, start, start_closed};
use crate::raw::{self, Raw, handshake};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn the_first_protocol_that_is_known_is_spoken_and_the_first_frame_is_a_welcome() {
    let gateway = start(&[]).await;
    for (offered, spoken) in [
        ("actioncable-v1-json, actioncable-unsupported", PLAIN),
        ("actioncable-v1-ext-json, actioncable-v1-json", EXTENDED),
        ("actioncable-v1-msgpack, actioncable-v1-json", PLAIN),
    ] {
        let page = Page::at(gateway.address(), "/cable?user_id=ann", offered).await;
        let head = page.raw.head.to_lowercase();
        assert!(
            head.contains(&format!("sec-websocket-protocol: {spoken}\r\n")),
            "{head}"
        );
        assert_eq!(page.welcome["type"], "welcome");
        assert_eq!(page.welcome["sid"].is_string(), spoken == EXTENDED);
    }
}

#[tokio::test]
async fn what_is_no_websocket_or_from_a_foreign_page_finds_nothing_here() {
    let gateway = start(&[]).await;
    let address = gateway.address();
    assert_eq!(raw::status(&raw::get(address, "/cable").await), 404);
    let foreign = handshake("/cable?user_id=ann", "origin: https://evil.example\r\n");
    assert_eq!(
        raw::status(&raw::exchange(address, foreign.as_bytes()).await),
        404
    );
    for unknown in [
        "",
        "sec-websocket-protocol: actioncable-v1-msgpack\r\n",
        "sec-websocket-protocol: actioncable-unsupported\r\n",
        "sec-websocket-protocol: anycable-token.x\r\n",
    ] {
        let request = handshake("/cable?user_id=ann", unknown);
        let answer = raw::exchange(address, request.as_bytes()).await;
        assert_eq!(raw::status(&answer), 400, "{unknown}");
        assert!(answer.contains(PLAIN), "{answer}");
    }
}

#[tokio::test]
async fn a_token_is_good_wherever_clients_put_it() {
    let gateway = start_closed(&[]).await;
    let token = gateway.token("ann", HOUR, |it| it.name = Some("Ann".into()));
    for (target, headers) in [
        (format!("/cable?token={token}"), String::new()),
        (format!("/cable?jid={token}"), String::new()),
        (
            "/cable".into(),
            format!("sec-websocket-protocol: {PLAIN}, anycable-token.{token}\r\n"),
        ),
        (
            "/cable".into(),
            format!("authorization: Bearer {token}\r\n"),
        ),
        ("/cable".into(), format!("x-jid: {token}\r\n")),
        (
            "/cable".into(),
            format!("cookie: a=b; presence_token={token}\r\n"),
        ),
    ] {
        let headers = match headers.contains("protocol") {
            true => headers,
            false => format!("sec-websocket-protocol: {PLAIN}\r\n{headers}"),
        };
        let mut raw = Raw::upgrade(gateway.address(), &target, &headers).await;
        assert_eq!(raw.json().await["type"], "welcome", "{target} {headers}");
        assert!(!raw.head.contains("anycable-token"));
    }
    // A browser sends cookies for any page, so where every page may come they say nothing.
    let anyone = start_closed(&[("PRESENCE_ALLOWED_ORIGINS", "*")]).await;
    let cookie = format!("cookie: presence_token={token}\r\norigin: https://evil.example\r\n");
    let headers = format!("sec-websocket-protocol: {PLAIN}\r\n{cookie}");
    let mut raw = Raw::upgrade(anyone.address(), "/cable", &headers).await;
    assert_eq!(raw.json().await["reason"], "unauthorized");
}

#[tokio::test]
async fn who_is_not_let_in_is_told_why_and_stays_away() {
    let gateway = start_closed(&[]).await;
    let long_ago = Timestamp::from_millis(now().as_millis() - 7_200_000);
    let expired = gateway.token_made_at(long_ago, "ann", HOUR, |_| {});
    for (target, reason) in [
        ("/cable".to_owned(), "unauthorized"),
        ("/cable?token=nonsense".to_owned(), "unauthorized"),
        (format!("/cable?jid={expired}"), "token_expired"),
    ] {
        let headers = format!("sec-websocket-protocol: {PLAIN}\r\n");
        let mut raw = Raw::upgrade(gateway.address(), &target, &headers).await;
        let (texts, code) = raw.closes().await;
        let expected = json!({ "type": "disconnect", "reason": reason, "reconnect": false });
        assert_eq!((texts, code), (vec![expected], Some(1008)), "{target}");
    }
}

#[tokio::test]
async fn a_ping_comes_every_three_seconds_whatever_else_does() {
    let pulse = Pulse::start();
    let gateway = start(&[]).await;
    let mut page = Page::of(gateway.address(), "ann").await;
    let began = Instant::now();
    page.subscribes(&room(1)).await;
    for n in 1..=2_u64 {
        page.performs(&room(1), json!({ "action": "heartbeat" }))
            .await;
        let seconds = page
            .hears(|it| (it["type"] == "ping").then(|| it["message"].as_u64()))
            .await;
        let slack = pulse.slack().as_millis() as u64;
        let off = seconds.unwrap().abs_diff(now().as_millis() / 1000);
        assert!(off <= 1 + slack / 1000, "{seconds:?}");
        let elapsed = began.elapsed().as_millis() as u64;
        assert!(
            (n * 3000 - 100..n * 3000 + 1500 + slack).contains(&elapsed),
            "{elapsed}"
        );
    }
}

#[tokio::test]
async fn a_token_that_runs_out_ends_the_connection_and_each_client_comes_back_in_its_way() {
    let gateway = start_closed(&[("PRESENCE_JWT_LEEWAY", "0s")]).await;
    for (protocol, reconnect) in [(PLAIN, true), (EXTENDED, false)] {
        let token = gateway.token("ann", Duration::from_secs(4), |_| {});
        let target = format!("/cable?token={token}");
        let mut page = Page::at(gateway.address(), &target, protocol).await;
        let (texts, code) = page.raw.closes().await;
        let expected =
            json!({ "type": "disconnect", "reason": "token_expired", "reconnect": reconnect });
        assert_eq!((texts.last(), code), (Some(&expected), Some(1008)));
    }
}

#[tokio::test]
async fn a_gateway_that_stops_says_so_and_asks_to_come_back() {
    let gateway = start(&[("PRESENCE_DRAIN", "100ms")]).await;
    let mut page = Page::of(gateway.address(), "ann").await;
    let stopped = tokio::spawn(gateway.stop());
    let (texts, code) = page.raw.closes().await;
    let expected = json!({ "type": "disconnect", "reason": "server_restart", "reconnect": true });
    assert_eq!((texts.last(), code), (Some(&expected), Some(1012)));
    stopped.await.unwrap();
}
