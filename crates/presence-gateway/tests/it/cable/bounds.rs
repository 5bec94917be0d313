//! Nonsense, and too much of everything.

use std::time::Duration;

use serde_json::json;

use super::{PLAIN, Page, room};
use crate::gateway::{now, start, start_closed};
use crate::raw::BINARY;

#[tokio::test]
async fn what_is_not_granted_is_rejected_with_its_own_identifier() {
    let gateway = start_closed(&[]).await;
    let hour = Duration::from_secs(3600);
    let token = gateway.token("ann", hour, |it| it.channels = vec!["room:1".into()]);
    let target = format!("/cable?token={token}");
    let mut ann = Page::at(gateway.address(), &target, PLAIN).await;
    for identifier in [
        r#"{"channel":"ChatChannel","room_id":1}"#,
        r#"{"channel":"PresenceChannel"}"#,
        r#"{"channel":"PresenceChannel","room_id":null}"#,
        r#"{"channel":"PresenceChannel","room_id":2}"#,
        r#"{"channel":"PresenceChannel","room_id":2,"watch":true}"#,
        r#"{"channel":"AppearanceChannel","workspace_id":"acme"}"#,
        "PresenceChannel",
        "",
    ] {
        assert!(!ann.subscribes(identifier).await, "{identifier}");
    }
    let huge = format!(
        r#"{{"channel":"PresenceChannel","room_id":"{}"}}"#,
        "9".repeat(5000)
    );
    assert!(!ann.subscribes(&huge).await);
    assert!(ann.subscribes(&room(1)).await);
}

#[tokio::test]
async fn malformed_frames_are_passed_over_and_too_many_end_the_connection() {
    let gateway = start(&[]).await;
    let mut ann = Page::of(gateway.address(), "ann").await;
    for nonsense in [
        "",
        "{",
        "[]",
        "null",
        "\u{0}",
        r#"{"command":7}"#,
        r#"{"command":"subscribe","identifier":{"channel":"PresenceChannel"}}"#,
        r#"{"command":"subscribe"}"#,
        r#"{"command":"dance","identifier":"x"}"#,
        r#"{"command":"message","identifier":"x","data":"{}"}"#,
        r#"{"command":"unsubscribe","identifier":"x"}"#,
    ] {
        ann.raw.text(nonsense).await;
    }
    assert!(ann.subscribes(&room(1)).await);
    for data in [r#""nonsense""#, "7", "null", r#""{\"action\":7}""#, "[]"] {
        let identifier = serde_json::to_string(&room(1)).unwrap();
        let frame = format!(r#"{{"command":"message","identifier":{identifier},"data":{data}}}"#);
        ann.raw.text(&frame).await;
    }
    assert!(ann.subscribes(&room(2)).await);
    for _ in 0..50 {
        ann.raw.text("{").await;
    }
    let (texts, code) = ann.raw.closes().await;
    let expected = json!({ "type": "disconnect", "reason": "invalid_request", "reconnect": false });
    assert_eq!((texts.last(), code), (Some(&expected), Some(1008)));
}

#[tokio::test]
async fn bytes_and_frames_that_are_too_big_end_the_connection() {
    let gateway = start(&[]).await;
    for (opcode, payload, expected) in [
        (BINARY, b"{}".to_vec(), 1003),
        (crate::raw::TEXT, vec![b' '; 70_000], 1009),
        (crate::raw::TEXT, vec![0xFF], 1007),
    ] {
        let mut ann = Page::of(gateway.address(), "ann").await;
        ann.raw.frame(opcode, &payload).await;
        let (texts, code) = ann.raw.closes().await;
        assert_eq!(texts.last().unwrap()["reason"], "invalid_request");
        assert_eq!(code, Some(expected));
    }
}

#[tokio::test]
async fn subscriptions_beyond_the_rate_wait_and_beyond_the_bound_are_rejected() {
    let gateway = start(&[
        ("PRESENCE_RATE_JOIN", "100/s burst 5"),
        ("PRESENCE_CHANNELS_MAX", "5"),
    ])
    .await;
    let status = |n| format!(r#"{{"channel":"StatusChannel","user_id":{n}}}"#);
    let mut ann = Page::of(gateway.address(), "ann").await;
    for n in 0..201 {
        ann.says(json!({ "command": "subscribe", "identifier": status(n) }))
            .await;
    }
    let (mut confirmed, mut rejected) = (0, 0);
    while confirmed + rejected < 201 {
        match ann.next().await["type"].as_str() {
            Some("confirm_subscription") => confirmed += 1,
            Some("reject_subscription") => rejected += 1,
            _ => {}
        }
    }
    assert_eq!((confirmed, rejected), (200, 1));
}

#[tokio::test]
async fn one_channel_too_many_is_rejected_and_the_others_stay() {
    let gateway = start(&[("PRESENCE_CHANNELS_MAX", "2")]).await;
    let mut ann = Page::of(gateway.address(), "ann").await;
    assert!(ann.subscribes(&room(1)).await);
    assert!(ann.subscribes(&room(2)).await);
    assert!(!ann.subscribes(&room(3)).await);
    ann.unsubscribes(&room(1)).await;
    assert!(ann.subscribes(&room(3)).await);
    ann.sees(&room(3), &["ann"]).await;
}

#[tokio::test]
async fn who_does_not_listen_to_refusals_is_closed_and_may_come_back() {
    let gateway = start(&[]).await;
    let mut ann = Page::of(gateway.address(), "ann").await;
    for _ in 0..600 {
        ann.raw
            .text(r#"{"command":"dance","identifier":"x"}"#)
            .await;
    }
    let (texts, code) = ann.raw.closes().await;
    let expected = json!({ "type": "disconnect", "reason": "rate_limited", "reconnect": true });
    assert_eq!((texts.last(), code), (Some(&expected), Some(1013)));
}

#[tokio::test]
async fn too_fast_moves_are_refused_with_a_time_to_wait_and_harm_nothing() {
    let gateway = start(&[("PRESENCE_RATE_CURSOR", "1/m burst 2")]).await;
    let document = r#"{"channel":"CursorChannel","document_id":1}"#;
    let mut ann = Page::of(gateway.address(), "ann").await;
    ann.subscribes(document).await;
    for n in 0..3 {
        ann.performs(document, json!({ "action": "move", "x": n, "y": n }))
            .await;
    }
    let error = ann.receives(document, |it| it["type"] == "error").await;
    assert_eq!(
        (&error["code"], &error["action"]),
        (&json!("rate_limited"), &json!("move"))
    );
    assert!(error["retry_after"].as_u64().is_some());
}

/// Good frames, to be spoilt. None is about the room that is watched.
const GOOD: &[&str] = &[
    r#"{"command":"subscribe","identifier":"{\"channel\":\"PresenceChannel\",\"room_id\":7,\"meta\":{\"name\":\"E\"}}"}"#,
    r#"{"command":"subscribe","identifier":"{\"channel\":\"CursorChannel\",\"document_id\":\"7\"}","history":{"since":1},"presence":{"id":"eve","info":{"a":[]}}}"#,
    r#"{"command":"subscribe","identifier":"{\"channel\":\"AppearanceChannel\",\"user_ids\":[1,\"b\"]}"}"#,
    r#"{"command":"unsubscribe","identifier":"{\"channel\":\"CursorChannel\",\"document_id\":\"7\"}"}"#,
    r#"{"command":"message","identifier":"{\"channel\":\"CursorChannel\",\"document_id\":\"7\"}","data":"{\"action\":\"move\",\"x\":1e3,\"y\":-2}"}"#,
    r#"{"command":"message","identifier":"{\"channel\":\"CursorChannel\",\"document_id\":\"7\"}","data":"{\"action\":\"broadcast\",\"event\":\"e\",\"payload\":[1]}"}"#,
    r#"{"command":"message","identifier":"{\"channel\":\"AppearanceChannel\",\"user_ids\":[1,\"b\"]}","data":"{\"action\":\"set_status\",\"emoji\":\"x\"}"}"#,
    r#"{"command":"whisper","identifier":"{\"channel\":\"PresenceChannel\",\"room_id\":7,\"meta\":{\"name\":\"E\"}}","data":{"a":"\u00e9"}}"#,
    r#"{"command":"join","identifier":"{\"channel\":\"CursorChannel\",\"document_id\":\"7\"}","presence":{"id":"eve","info":{"name":"Né"}}}"#,
    r#"{"command":"leave","identifier":"{\"channel\":\"CursorChannel\",\"document_id\":\"7\"}"}"#,
    r#"{"command":"presence","identifier":"{\"channel\":\"CursorChannel\",\"document_id\":\"7\"}","data":{"return_records":true}}"#,
    r#"{"command":"history","identifier":"{\"channel\":\"CursorChannel\",\"document_id\":\"7\"}","history":{}}"#,
    r#"{"command":"pong"}"#,
];

#[tokio::test]
async fn whatever_is_thrown_at_it_is_passed_over_and_nobody_else_notices() {
    let seed = std::env::var("PRESENCE_SEED").ok();
    let seed = seed.and_then(|it| it.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| now().as_millis());
    println!("PRESENCE_SEED={seed}");
    let mut state = seed | 1;
    let mut dice = |sides: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % sides as u64) as usize
    };
    let gateway = start(&[]).await;
    let mut ann = Page::extended(gateway.address(), "ann").await;
    let mut bob = Page::of(gateway.address(), "bob").await;
    ann.subscribes(&room(1)).await;
    bob.subscribes(&room(1)).await;
    ann.sees(&room(1), &["ann", "bob"]).await;
    for _ in 0..40 {
        let mut eve = Page::extended(gateway.address(), "eve").await;
        for _ in 0..50 {
            let mut frame = GOOD[dice(GOOD.len())].as_bytes().to_vec();
            for _ in 0..dice(4) {
                if frame.is_empty() {
                    break;
                }
                let at = dice(frame.len());
                match dice(4) {
                    0 => drop(frame.remove(at)),
                    1 => frame[at] = b"\"{}[],:\\019eE-"[dice(14)],
                    2 => frame.truncate(at.max(1)),
                    _ => frame.insert(at, b' ' + dice(95) as u8),
                }
            }
            // Bytes that are no text are another test.
            eve.raw.text(&String::from_utf8_lossy(&frame)).await;
        }
        drop(eve);
    }
    // It is all there, and they still hear each other.
    bob.performs(
        &room(1),
        json!({ "action": "update", "meta": { "name": "B" } }),
    )
    .await;
    ann.receives(&room(1), |it| {
        assert_ne!(it["user"]["id"], "eve");
        it["action"] == "user_updated"
    })
    .await;
}
