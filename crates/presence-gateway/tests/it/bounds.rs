//! Every bound has a name, and an answer for whoever reaches it.

use presence_client::wire::{ErrorCode, Event};
use presence_client::{Client, ConnectError, Ending};

use crate::gateway::{soon, start};
use crate::people::Person;
use crate::raw::Raw;

#[tokio::test]
async fn too_much_of_anything_is_rate_limited_with_a_time_to_wait() {
    const ONCE: &str = "1/m burst 2";
    let gateway = start(&[
        ("PRESENCE_CHANNELS_MAX", "2"),
        ("PRESENCE_RATE_JOIN", ONCE),
        ("PRESENCE_RATE_WATCH", ONCE),
        ("PRESENCE_RATE_STATUS", ONCE),
        ("PRESENCE_RATE_TYPING", ONCE),
        ("PRESENCE_RATE_CURSOR", ONCE),
        ("PRESENCE_RATE_BROADCAST", ONCE),
        ("PRESENCE_RATE_QUERY", ONCE),
        ("PRESENCE_RATE_OTHER", ONCE),
    ])
    .await;
    let mut ann = Person::comes(&gateway, "ann").await;
    ann.does(r#"{"type":"presence:update","channel":"room:1","meta":{}}"#)
        .await;
    for (first, second) in [
        (
            r#"{"type":"presence:watch","users":["bob"]}"#,
            r#"{"type":"presence:unwatch","users":["bob"]}"#,
        ),
        (
            r#"{"type":"presence:status","status":"busy"}"#,
            r#"{"type":"presence:status","status":"away"}"#,
        ),
        (
            r#"{"type":"presence:typing","channel":"room:1","typing":true}"#,
            r#"{"type":"presence:typing","channel":"room:1","typing":false}"#,
        ),
        (
            r#"{"type":"presence:cursor","channel":"room:1","x":1,"y":1}"#,
            r#"{"type":"presence:selection","channel":"room:1"}"#,
        ),
        (
            r#"{"type":"presence:broadcast","channel":"room:1","event":"a"}"#,
            r#"{"type":"presence:broadcast","channel":"room:1","event":"b"}"#,
        ),
        (
            r#"{"type":"presence:list","channel":"room:1"}"#,
            r#"{"type":"presence:get","users":["ann"]}"#,
        ),
        (
            r#"{"type":"presence:ping"}"#,
            r#"{"type":"presence:activity","activity":"idle"}"#,
        ),
    ] {
        ann.does(first).await;
        ann.does(second).await;
        let why = ann.is_refused(first).await;
        assert_eq!(why.code, ErrorCode::RateLimited, "{first}");
        let wait = why.retry_after.expect("a time to wait");
        assert!((1..=60_000).contains(&wait), "{first}: {wait}");
    }
    let why = ann
        .is_refused(r#"{"type":"presence:leave","channel":"room:1"}"#)
        .await;
    assert_eq!(why.code, ErrorCode::RateLimited);
    // Leaving for good always works.
    ann.says(r#"{"type":"presence:leave"}"#).await;
    assert_eq!(ann.is_closed().await, 1000);
}

#[tokio::test]
async fn who_goes_on_flooding_after_being_told_is_closed_with_a_time_to_come_back() {
    let gateway = start(&[("PRESENCE_RATE_OTHER", "1/m burst 2")]).await;
    // One floods with commands that are too many, one with commands that are none.
    for text in [
        r#"{"type":"presence:ping"}"#,
        r#"{"type":"presence:nonsense"}"#,
    ] {
        let mut raw = Raw::connect(gateway.address(), "ann").await;
        for _ in 0..2000 {
            raw.text(text).await;
        }
        let ended = raw.ends().await;
        assert_eq!(ended.code, Some(4429), "{text}");
        let errors = ended
            .events
            .iter()
            .filter(|it| matches!(it, Event::Error(_)))
            .count();
        assert!((500..2000).contains(&errors), "{text}: {errors}");
        let Some(Event::Closing(closing)) = ended.events.last() else {
            panic!("{:?}", ended.events.last());
        };
        assert!(closing.reconnect && closing.retry_after.is_some());
    }
}

#[tokio::test]
async fn too_many_malformed_frames_close_the_connection() {
    let gateway = start(&[]).await;
    let mut raw = Raw::connect(gateway.address(), "ann").await;
    for _ in 0..40 {
        raw.text("{").await;
    }
    let ended = raw.ends().await;
    assert_eq!(ended.code, Some(4400));
    let errors = ended
        .events
        .iter()
        .filter(|it| matches!(it, Event::Error(it) if it.code == ErrorCode::Malformed));
    assert!((20..=25).contains(&errors.count()), "{ended:?}");
}

#[tokio::test]
async fn too_many_channels_are_refused_and_the_others_stay() {
    let gateway = start(&[("PRESENCE_CHANNELS_MAX", "2")]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    ann.does(r#"{"type":"presence:join","channel":"room:2"}"#)
        .await;
    let why = ann
        .is_refused(r#"{"type":"presence:join","channel":"room:3"}"#)
        .await;
    assert_eq!(why.code, ErrorCode::TooMany);
    assert!(why.message.contains('2'), "{}", why.message);
    // Joining again is not one more; leaving makes room.
    ann.does(r#"{"type":"presence:join","channel":"room:2","meta":{"a":1}}"#)
        .await;
    ann.does(r#"{"type":"presence:leave","channel":"room:2"}"#)
        .await;
    ann.does(r#"{"type":"presence:join","channel":"room:3"}"#)
        .await;
    ann.sees(&["ann"]).await;
}

#[tokio::test]
async fn a_refused_join_watches_nothing() {
    let gateway = start(&[
        ("PRESENCE_CHANNELS_MAX", "1"),
        ("PRESENCE_WATCHES_MAX", "2"),
    ])
    .await;
    let mut ann = Person::comes(&gateway, "ann").await;
    for n in 2..6 {
        let json = format!(r#"{{"type":"presence:join","channel":"room:{n}"}}"#);
        assert_eq!(ann.is_refused(&json).await.code, ErrorCode::TooMany);
    }
    // One of two watches is still free.
    ann.does(r#"{"type":"presence:watch","channel":"board:1"}"#)
        .await;
}

#[tokio::test]
async fn an_error_is_told_without_a_ref_too() {
    let gateway = start(&[("PRESENCE_CHANNELS_MAX", "1")]).await;
    let mut raw = Raw::connect(gateway.address(), "ann").await;
    raw.text(r#"{"type":"presence:join","channel":"room:1"}"#)
        .await;
    for (json, code) in [
        (
            r#"{"type":"presence:typing","channel":"room:2","typing":true}"#,
            ErrorCode::NotJoined,
        ),
        (
            r#"{"type":"presence:cursor","channel":"room:2","x":1,"y":2}"#,
            ErrorCode::NotJoined,
        ),
        (
            r#"{"type":"presence:update","channel":"room:2","meta":{}}"#,
            ErrorCode::NotJoined,
        ),
        (
            r#"{"type":"presence:broadcast","channel":"room:2","event":"x"}"#,
            ErrorCode::NotJoined,
        ),
        (
            r#"{"type":"presence:join","channel":"room:2"}"#,
            ErrorCode::TooMany,
        ),
    ] {
        raw.text(json).await;
        let error = raw.error().await;
        assert_eq!((error.code, error.ref_), (code, None), "{json}");
    }
}

#[tokio::test]
async fn too_many_watches_are_refused_and_watching_again_is_not_one_more() {
    let gateway = start(&[("PRESENCE_WATCHES_MAX", "3")]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    ann.does(r#"{"type":"presence:watch","users":["bob","eve"]}"#)
        .await;
    for json in [
        r#"{"type":"presence:watch","channel":"room:2"}"#,
        r#"{"type":"presence:watch","workspace":"default"}"#,
        r#"{"type":"presence:join","channel":"room:2"}"#,
        r#"{"type":"presence:watch","users":["dan"]}"#,
    ] {
        let why = ann.is_refused(json).await;
        assert_eq!(why.code, ErrorCode::TooMany, "{json}");
        assert!(why.message.contains('3'), "{}", why.message);
    }
    ann.does(r#"{"type":"presence:watch","channel":"room:1"}"#)
        .await;
    ann.does(r#"{"type":"presence:join","channel":"room:1","meta":{"name":"A"}}"#)
        .await;
    ann.does(r#"{"type":"presence:watch","users":["bob","eve"]}"#)
        .await;
    ann.does(r#"{"type":"presence:join","channel":"room:2","watch":false}"#)
        .await;
    ann.does(r#"{"type":"presence:unwatch","users":["eve"]}"#)
        .await;
    ann.does(r#"{"type":"presence:watch","users":["dan"]}"#)
        .await;
}

#[tokio::test]
async fn too_many_sessions_of_one_user_are_turned_away_at_the_door() {
    let gateway = start(&[("PRESENCE_SESSIONS_MAX", "2")]).await;
    let _one = Person::comes(&gateway, "ann").await;
    let _two = Person::comes(&gateway, "ann").await;
    let three = soon("an answer", Client::connect(&gateway.options("ann"))).await;
    match three.err() {
        Some(ConnectError::Ended(Ending::Closed { code: 1013, .. })) => {}
        other => panic!("{other:?}"),
    }
    let _other = Person::comes(&gateway, "bob").await;
}

#[tokio::test]
async fn more_connections_than_there_may_be_are_told_to_come_back() {
    let gateway = start(&[("PRESENCE_CONNECTIONS_MAX", "2")]).await;
    let one = Person::comes(&gateway, "ann").await;
    let _two = Person::comes(&gateway, "bob").await;
    let three = soon("an answer", Client::connect(&gateway.options("eve"))).await;
    assert!(
        matches!(three, Err(ConnectError::Refused(503))),
        "{:?}",
        three.err()
    );
    one.client.close().await;
    soon("room for one more", async {
        while Client::connect(&gateway.options("eve")).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_too_big_is_named() {
    let gateway = start(&[]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let long = |n: usize| "x".repeat(n);
    let users = vec!["\"u\""; 1001].join(",");
    for (json, code, field) in [
        (
            format!(
                r#"{{"type":"presence:join","channel":"room:1","meta":{{"a":"{}"}}}}"#,
                long(4096)
            ),
            ErrorCode::TooLarge,
            "meta",
        ),
        (
            format!(
                r#"{{"type":"presence:update","channel":"room:1","meta":{{"a":"{}"}}}}"#,
                long(60_000)
            ),
            ErrorCode::TooLarge,
            "meta",
        ),
        (
            r#"{"type":"presence:update","channel":"room:1","meta":[1]}"#.into(),
            ErrorCode::Invalid,
            "meta",
        ),
        (
            format!(r#"{{"type":"presence:join","channel":"{}"}}"#, long(201)),
            ErrorCode::Invalid,
            "channel",
        ),
        (
            format!(
                r#"{{"type":"presence:status","custom_message":"{}"}}"#,
                long(257)
            ),
            ErrorCode::Invalid,
            "custom_message",
        ),
        (
            r#"{"type":"presence:status","emoji":"xy"}"#.into(),
            ErrorCode::Invalid,
            "emoji",
        ),
        (
            r#"{"type":"presence:status","status":"busy","clear_after":99999999}"#.into(),
            ErrorCode::Invalid,
            "clear_after",
        ),
        (
            format!(
                r#"{{"type":"presence:broadcast","channel":"room:1","event":"{}"}}"#,
                long(65)
            ),
            ErrorCode::Invalid,
            "event",
        ),
        (
            format!(r#"{{"type":"presence:get","users":[{users}]}}"#),
            ErrorCode::Invalid,
            "users",
        ),
        (
            format!(r#"{{"type":"presence:watch","users":["{}"]}}"#, long(129)),
            ErrorCode::Invalid,
            "users",
        ),
        (
            r#"{"type":"presence:list","channel":"room:1","limit":1001}"#.into(),
            ErrorCode::Invalid,
            "limit",
        ),
        (
            r#"{"type":"presence:list","channel":"room:1","limit":0}"#.into(),
            ErrorCode::Invalid,
            "limit",
        ),
        (
            r#"{"type":"presence:selection","channel":"room:1","start":5,"end":3}"#.into(),
            ErrorCode::Invalid,
            "end",
        ),
    ] {
        let why = ann.is_refused(&json).await;
        let shown = &json[..json.len().min(80)];
        assert_eq!(
            (why.code, why.field.as_deref()),
            (code, Some(field)),
            "{shown}: {}",
            why.message
        );
    }
    ann.does(r#"{"type":"presence:list","channel":"room:1","offset":18446744073709551615}"#)
        .await;
}
