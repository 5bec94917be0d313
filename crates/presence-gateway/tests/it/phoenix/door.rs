//! Who may come in, and as whom.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};
use serde_json::json;

use super::Page;
use crate::gateway::{start, start_closed};
use crate::raw::{Raw, exchange, handshake, status};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn only_the_second_serializer_is_spoken() {
    let gateway = start(&[]).await;
    for params in ["", "vsn=", "vsn=1.0.0", "vsn=3.0.0", "vsn=20.0.0", "vsn=x"] {
        let request = handshake(&format!("/socket/websocket?user_id=ann&{params}"), "");
        let answer = exchange(gateway.address(), request.as_bytes()).await;
        assert_eq!(status(&answer), 400, "{params}");
    }
    for params in ["vsn=2.0.0", "vsn=2.1.3"] {
        Raw::upgrade(
            gateway.address(),
            &format!("/socket/websocket?{params}"),
            "",
        )
        .await;
    }
    let no_socket =
        "GET /socket/websocket?vsn=2.0.0 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = exchange(gateway.address(), no_socket.as_bytes()).await;
    assert_eq!(status(&answer), 426);
}

#[tokio::test]
async fn who_is_nobody_or_on_a_foreign_page_is_not_upgraded() {
    let gateway = start_closed(&[]).await;
    let good = gateway.token("ann", HOUR, |_| {});
    let target = |token: &str| format!("/socket/websocket?vsn=2.0.0&user_id=ann&token={token}");
    for (target, headers) in [
        (target(""), ""),
        (target("nonsense"), ""),
        (
            target(""),
            "sec-websocket-protocol: phoenix, base64url.bearer.phx.!!\r\n",
        ),
        (target(&good), "origin: https://evil.example\r\n"),
    ] {
        let request = handshake(&target, headers);
        let answer = exchange(gateway.address(), request.as_bytes()).await;
        assert_eq!(status(&answer), 403, "{target} {headers}");
    }
    let open = start(&[]).await;
    let request = handshake("/socket/websocket?vsn=2.0.0&user_id=a%20b", "");
    let answer = exchange(open.address(), request.as_bytes()).await;
    assert_eq!(status(&answer), 403);
}

#[tokio::test]
async fn a_token_is_good_wherever_it_stands() {
    let gateway = start_closed(&[]).await;
    let good = gateway.token("ann", HOUR, |_| {});
    let with = |encoded: String| {
        format!("sec-websocket-protocol: phoenix, base64url.bearer.phx.{encoded}\r\n")
    };
    for (params, headers, protocol) in [
        ("", with(STANDARD_NO_PAD.encode(&good)), true),
        ("", with(URL_SAFE.encode(&good)), true),
        ("", format!("authorization: Bearer {good}\r\n"), false),
        (&*format!("&token={good}"), String::new(), false),
        // That of the subprotocol counts.
        ("&token=nonsense", with(STANDARD_NO_PAD.encode(&good)), true),
    ] {
        let target = format!("/socket/websocket?vsn=2.0.0{params}");
        let mut page = Page(Raw::upgrade(gateway.address(), &target, &headers).await);
        let echoed = page
            .0
            .head
            .to_lowercase()
            .contains("\r\nsec-websocket-protocol: phoenix\r\n");
        assert_eq!(echoed, protocol, "{headers}");
        page.joins("presence:ann", json!({})).await;
        assert_eq!(page.hears("presence_state").await[4]["user_id"], "ann");
    }
}

#[tokio::test]
async fn without_tokens_the_first_join_can_still_say_who_it_is() {
    let gateway = start(&[]).await;
    let mut page = Page::connects_with(&gateway, "").await;
    let params = json!({"user_id": 7, "name": "Ann", "device_id": "mobile:x"});
    page.joins("room:1", params).await;
    let them = page.sees("7").await;
    assert_eq!(them["user"]["name"], "Ann");
    assert_eq!(them["metas"][0]["device"], "mobile");
    // From then on it is them.
    let other = json!(["2", "2", "room:2", "phx_join", {"user_id": "bob"}]);
    assert_eq!(page.is_refused(other).await, "unauthorized");
    let other = json!(["3", "3", "presence:bob", "phx_join", {}]);
    assert_eq!(page.is_refused(other).await, "unauthorized");
    page.joins("presence:7", json!({"user_id": "7"})).await;

    // The service topic names its user; whoever says nothing is a visitor.
    let mut page = Page::connects_with(&gateway, "").await;
    page.joins("presence:eve", json!({})).await;
    assert_eq!(page.hears("presence_state").await[4]["user_id"], "eve");
    let mut page = Page::connects_with(&gateway, "").await;
    page.joins("room:3", json!({})).await;
    page.sees("anon_").await;
}

#[tokio::test]
async fn nobody_is_there_before_they_have_joined_anything() {
    let gateway = start(&[]).await;
    let mut ann = Page::enters(&gateway, "ann", "workspace:default").await;
    let mut bob = Page::connects(&gateway, "bob").await;
    bob.asks(json!([null, "1", "phoenix", "heartbeat", {}]))
        .await;
    let wrong = json!(["1", "1", "room:1", "phx_join", {"device_id": 7, "meta": 7}]);
    assert_eq!(bob.is_refused(wrong).await, "invalid");
    let told = ann.heard().await;
    assert!(
        told.iter().all(|it| !it.to_string().contains("bob")),
        "{told:?}"
    );
    bob.joins("room:2", json!({})).await;
    ann.sees("bob").await;
}
