//! Who is let in, and how it ends.

use super::*;
use crate::raw;

#[tokio::test]
async fn only_pages_of_an_application_that_speak_this_version_are_let_in() {
    let gateway = start_with_apps(&[]).await;
    for (target, code) in [
        ("/app/nobody?protocol=7", 4001),
        ("/app/?protocol=7", 4001),
        ("/app/key-of-3/x?protocol=7", 4001),
        ("/app/key-of-3", 4008),
        ("/app/key-of-3?protocol=", 4008),
        ("/app/key-of-3?protocol=seven", 4006),
        ("/app/key-of-3?protocol=-7", 4006),
        ("/app/key-of-3?protocol=4", 4007),
        ("/app/key-of-3?protocol=8", 4007),
    ] {
        let mut raw = Raw::upgrade(gateway.address(), target, "").await;
        let (texts, closed) = raw.closes().await;
        assert_eq!(closed, Some(code), "{target}");
        assert_eq!(texts[0]["event"], "pusher:error");
        assert_eq!(texts[0]["data"]["code"], code);
        assert!(texts[0]["data"]["message"].is_string());
    }
    for version in 5..=7 {
        let target = format!("/app/key-of-3?protocol={version}");
        let mut raw = Raw::upgrade(gateway.address(), &target, "").await;
        assert_eq!(raw.json().await["event"], "pusher:connection_established");
    }
}

#[tokio::test]
async fn without_an_application_there_is_nothing_here() {
    let gateway = start(&[]).await;
    let mut raw = Raw::upgrade(gateway.address(), "/app/key?protocol=7", "").await;
    assert_eq!(raw.closes().await.1, Some(4001));
    for path in [
        "/app/key",
        "/app/key?protocol=7",
        "/apps/3/channels",
        "/apps/3/events",
    ] {
        let answer = raw::get(gateway.address(), path).await;
        assert_eq!(raw::status(&answer), 404, "{answer}");
    }
}

#[tokio::test]
async fn frames_that_are_nothing_are_answered_and_counted() {
    let gateway = start_with_apps(&[]).await;
    let mut page = Page::connects(&gateway).await;
    for frame in [
        "",
        "{",
        "7",
        "[]",
        "{}",
        r#"{"event":7}"#,
        r#"{"event":"pusher:subscribe"}"#,
    ] {
        page.raw.text(frame).await;
        page.is_told(None).await;
    }
    page.says("pusher:subscribe", json!({ "channel": 7 })).await;
    page.is_told(None).await;
    page.says("pusher:unsubscribe", json!("[")).await;
    page.is_told(None).await;
    page.says("pusher:hello", json!({})).await;
    assert!(page.is_told(None).await.contains("\"pusher:hello\""));
    page.says("pusher_internal:member_added", json!({})).await;
    page.is_told(None).await;
    page.says("pusher:pong", json!({})).await;
    page.has_heard_all().await;
    for _ in 0..20 {
        page.raw.text("{").await;
    }
    let (texts, code) = page.raw.closes().await;
    assert_eq!(code, Some(4040));
    assert_eq!(texts.last().unwrap()["data"]["code"], 4040);
}

#[tokio::test]
async fn each_ending_has_its_code() {
    let gateway = start_with_apps(&[("PRESENCE_FRAME_BYTES_MAX", "8192")]).await;
    let mut binary = Page::connects(&gateway).await;
    binary.raw.frame(raw::BINARY, b"{}").await;
    assert_eq!(binary.raw.closes().await.1, Some(1003));
    let mut long = Page::connects(&gateway).await;
    long.raw.text(&"x".repeat(8193)).await;
    assert_eq!(long.raw.closes().await.1, Some(1009));
    let mut forger = Page::connects(&gateway).await;
    let auth = forger.auth("::user::{}");
    forger
        .says(
            "pusher:signin",
            json!({ "auth": auth, "user_data": r#"{"id":"ann"}"# }),
        )
        .await;
    let (texts, code) = forger.raw.closes().await;
    assert_eq!(
        (code, &texts[0]["data"]["code"]),
        (Some(4009), &json!(4009))
    );
    let mut last = Page::connects(&gateway).await;
    gateway.stop().await;
    let (texts, code) = last.raw.closes().await;
    assert_eq!(
        (code, &texts[0]["data"]["code"]),
        (Some(4100), &json!(4100))
    );
}

#[tokio::test]
async fn a_page_that_disconnects_is_gone_at_once_and_one_that_is_lost_after_the_grace() {
    // With an hour of grace, who is not gone at once is not gone while this test waits.
    for (close, grace) in [
        (Some(&[][..]), "1h"),
        (Some(&[3, 233][..]), "1s"),
        (None, "1s"),
    ] {
        let gateway = start_with_apps(&[("PRESENCE_GRACE", grace)]).await;
        let mut ann = Page::enters(&gateway, "ann", "presence-room;1").await;
        let mut bob = Page::enters(&gateway, "bob", "presence-room;1").await;
        ann.hears("pusher_internal:member_added").await;
        let began = std::time::Instant::now();
        match close {
            Some(payload) => bob.raw.frame(raw::CLOSE, payload).await,
            None => drop(bob),
        }
        let gone = ann.hears("pusher_internal:member_removed").await;
        assert_eq!(data(&gone), json!({ "user_id": "bob" }));
        assert!(
            grace == "1h" || began.elapsed().as_millis() >= 1000,
            "{close:?}"
        );
    }
}
