//! What happens at each limit, and at each end.

use std::time::Duration;

use serde_json::{Value, json};

use super::Page;
use crate::gateway::{start, start_closed};
use crate::raw::{TEXT, exchange, status};

#[tokio::test]
async fn too_much_is_refused_and_costs_nothing_else() {
    let gateway = start(&[
        ("PRESENCE_CHANNELS_MAX", "2"),
        ("PRESENCE_WATCHES_MAX", "3"),
        ("PRESENCE_SESSIONS_MAX", "1"),
    ])
    .await;
    let mut ann = Page::connects(&gateway, "ann").await;
    for topic in ["room:1", "room:2"] {
        ann.joins(topic, json!({})).await;
    }
    let third = json!(["1", "1", "room:3", "phx_join", {}]);
    assert_eq!(ann.is_refused(third).await, "too many channels joined");
    // It is not in there, and what it is in it still is.
    assert_eq!(
        ann.is_refused(json!(["1", "2", "room:3", "wave", {}]))
            .await,
        "unmatched topic"
    );
    assert_eq!(
        ann.asks(json!(["1", "2", "room:2", "wave", {}])).await[4]["status"],
        "ok"
    );
    ann.joins("user:bob", json!({})).await;
    let fourth = json!(["1", "1", "user:eve", "phx_join", {}]);
    assert_eq!(ann.is_refused(fourth).await, "too many channels joined");
    // Leaving makes room.
    ann.asks(json!(["1", "3", "room:1", "phx_leave", {}])).await;
    ann.joins("room:3", json!({})).await;

    let mut again = Page::connects(&gateway, "ann").await;
    let join = json!(["1", "1", "room:1", "phx_join", {}]);
    assert_eq!(again.is_refused(join).await, "too_many");
}

#[tokio::test]
async fn too_fast_is_told_when_to_try_again_and_a_flood_is_cut() {
    let gateway = start(&[
        ("PRESENCE_CHANNELS_MAX", "1"),
        ("PRESENCE_RATE_JOIN", "1/m burst 1"),
        ("PRESENCE_RATE_OTHER", "1/s burst 2"),
    ])
    .await;
    let mut ann = Page::connects(&gateway, "ann").await;
    ann.joins("room:1", json!({})).await;
    let answer = ann.asks(json!(["1", "1", "room:2", "phx_join", {}])).await;
    assert_eq!(answer[4]["response"]["reason"], "rate_limited");
    assert!(answer[4]["response"]["retry_after"].as_u64().unwrap() > 0);
    // One may always leave.
    assert_eq!(
        ann.asks(json!(["1", "2", "room:1", "phx_leave", {}])).await[4]["status"],
        "ok"
    );
    for _ in 0..2000 {
        ann.0.text(r#"[null,"1","phoenix","heartbeat",{}]"#).await;
    }
    let (_, code) = ann.0.closes().await;
    assert_eq!(code, Some(4429));
}

#[tokio::test]
async fn a_frame_that_is_too_large_and_one_that_is_no_text_end_it() {
    let gateway = start(&[("PRESENCE_FRAME_BYTES_MAX", "8192")]).await;
    for (payload, wanted) in [(vec![b' '; 9000], 1009), (vec![0xFF, 0xFE], 1007)] {
        let mut ann = Page::connects(&gateway, "ann").await;
        ann.0.frame(TEXT, &payload).await;
        assert_eq!(ann.0.closes().await.1, Some(wanted));
    }
}

#[tokio::test]
async fn a_big_room_is_told_by_its_number_and_a_sample() {
    let gateway = start(&[("PRESENCE_LISTED_MAX", "3"), ("PRESENCE_FACES_MAX", "1")]).await;
    let mut pages = Vec::new();
    for user in ["a", "b", "c"] {
        pages.push(Page::enters(&gateway, user, "room:1").await);
    }
    // The last one is told of the sample in its first state.
    let mut last = Page::connects(&gateway, "d").await;
    last.joins("room:1", json!({})).await;
    pages.push(last);
    for page in &mut pages {
        let mut state = Value::Null;
        let summary = loop {
            let frame = page.0.json().await;
            match frame[3].as_str() {
                Some("presence_state") => state = frame,
                Some("presence_summary") if frame[4]["count"] == 4 => break frame,
                _ => {}
            }
        };
        assert_eq!(
            summary,
            json!([null, null, "room:1", "presence_summary", {"count": 4, "listed": 1}])
        );
        assert_eq!(state[4].as_object().unwrap().len(), 1);
    }
    // With two less everybody is listed once more.
    for page in &mut pages[2..] {
        page.asks(json!(["1", "2", "room:1", "phx_leave", {}]))
            .await;
    }
    loop {
        let state = pages[0].hears("presence_state").await;
        if state[4].as_object().unwrap().len() == 2 {
            break;
        }
    }
}

#[tokio::test]
async fn a_kick_closes_every_topic_first() {
    let gateway = start_closed(&[]).await;
    let hour = Duration::from_secs(3600);
    let token = gateway.token("ann", hour, |_| {});
    let mut ann = Page::connects_with(&gateway, &format!("token={token}")).await;
    ann.joins("room:1", json!({})).await;
    ann.joins("presence:ann", json!({})).await;
    let admin = gateway.token("root", hour, |it| it.scopes = vec!["admin".into()]);
    let request = format!(
        "POST /api/presence/users/ann/kick HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {admin}\r\n\
         content-length: 0\r\nconnection: close\r\n\r\n"
    );
    let answer = exchange(gateway.address(), request.as_bytes()).await;
    assert!((200..300).contains(&status(&answer)), "{answer}");
    let (texts, code) = ann.0.closes().await;
    assert_eq!(code, Some(1001));
    let last = &texts[texts.len() - 2..];
    assert_eq!(last[0], json!(["1", "1", "room:1", "phx_close", {}]));
    assert_eq!(last[1], json!(["1", "1", "presence:ann", "phx_close", {}]));
}

#[tokio::test]
async fn a_gateway_that_stops_says_come_back() {
    let gateway = start(&[("PRESENCE_DRAIN", "1s")]).await;
    let mut ann = Page::enters(&gateway, "ann", "room:1").await;
    gateway.stop().await;
    let (texts, code) = ann.0.closes().await;
    assert_eq!(code, Some(1012));
    assert!(texts.iter().all(|it| it[3] != "phx_close"), "{texts:?}");
}

#[tokio::test]
async fn a_goodbye_is_at_once_and_anything_else_waits() {
    let gateway = start(&[]).await;
    let mut eve = Page::enters(&gateway, "eve", "room:1").await;
    let mut ann = Page::enters(&gateway, "ann", "room:1").await;
    eve.hears_of("joins", "ann").await;
    ann.0.close(1000).await;
    eve.hears_of("leaves", "ann").await;

    // A heartbeat that was not answered, and a page that is reloaded.
    let mut bob = Page::enters(&gateway, "bob", "room:1").await;
    let reason = [&1000_u16.to_be_bytes()[..], b"heartbeat timeout"].concat();
    bob.0.frame(crate::raw::CLOSE, &reason).await;
    eve.sees("bob").await;
    let mut dan = Page::enters(&gateway, "dan", "room:1").await;
    dan.0.frame(crate::raw::CLOSE, b"").await;
    for page in [&mut bob, &mut dan] {
        while page.0.next().await.is_some() {}
    }
    eve.sees("dan").await;
    let mut fay = Page::connects(&gateway, "fay").await;
    fay.joins("room:1", json!({})).await;
    let state = fay.hears("presence_state").await;
    for user in ["bob", "dan"] {
        assert!(state[4].get(user).is_some(), "{state}");
    }
}
