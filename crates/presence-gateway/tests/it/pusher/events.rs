//! What pages tell each other.

use super::*;
use crate::people::Person;
use crate::raw::{body, get};

#[tokio::test]
async fn the_others_hear_a_client_event_with_who_says_it() {
    let gateway = start_with_apps(&[]).await;
    let mut ann = Page::enters(&gateway, "ann", "presence-room;1").await;
    let mut bob = Page::enters(&gateway, "bob", "presence-room;1").await;
    ann.hears("pusher_internal:member_added").await;
    for (said, heard) in [
        (json!({ "a": "ü" }), r#"{"a":"ü"}"#),
        (json!("text"), "text"),
        (json!(r#"{"a":1}"#), r#"{"a":1}"#),
        (json!(7), "7"),
        (json!("7"), "7"),
    ] {
        ann.says_in("presence-room;1", "client-wave", said).await;
        let message = bob.hears("client-wave").await;
        let wanted = json!({ "event": "client-wave", "channel": "presence-room;1", "data": heard, "user_id": "ann" });
        assert_eq!(message, wanted);
    }
    ann.raw
        .text(r#"{"event":"client-wave","channel":"presence-room;1"}"#)
        .await;
    assert_eq!(bob.hears("client-wave").await["data"], "null");
    ann.has_heard_all().await;
}

#[tokio::test]
async fn client_events_are_refused_where_they_do_not_belong() {
    let gateway = start_with_apps(&[]).await;
    let mut ann = Page::enters(&gateway, "ann", "presence-room;1").await;
    ann.says("pusher:subscribe", json!({ "channel": "news" }))
        .await;
    ann.hears("pusher_internal:subscription_succeeded").await;
    ann.hears("pusher_internal:subscription_count").await;
    let auth = ann.auth(":private-encrypted-x");
    ann.says(
        "pusher:subscribe",
        json!({ "channel": "private-encrypted-x", "auth": auth }),
    )
    .await;
    ann.hears("pusher_internal:subscription_succeeded").await;
    ann.hears("pusher_internal:subscription_count").await;
    for (channel, event, why) in [
        (
            "news",
            "client-x",
            "client events are for private and presence channels",
        ),
        (
            "private-encrypted-x",
            "client-x",
            "client events are for private and presence channels",
        ),
        (
            "presence-elsewhere",
            "client-x",
            "client events need a channel that is subscribed to",
        ),
        (
            "",
            "client-x",
            "client events need a channel that is subscribed to",
        ),
        (
            "presence-room;1",
            "client-",
            "event must be 1 to 64 characters, none of them invisible, without blanks at its ends",
        ),
    ] {
        ann.says_in(channel, event, json!({})).await;
        assert_eq!(ann.is_told(None).await, why);
    }
    ann.says_in("presence-room;1", "client-x", json!("x".repeat(10 * 1024)))
        .await;
    assert_eq!(
        ann.is_told(None).await,
        "the data of an event are at most 10240 bytes"
    );
    ann.raw
        .text(r#"{"event":"client-x","channel":"presence-room;1","data":{"n":1e400}}"#)
        .await;
    assert_eq!(
        ann.is_told(None).await,
        "data.n is wrong: number out of range"
    );
    ann.says_in(
        "presence-room;1",
        "client-cursor",
        json!({ "x": 1, "y": 2 }),
    )
    .await;
    ann.says_in(
        "presence-room;1",
        "client-selection",
        json!({ "start": 2, "end": 1 }),
    )
    .await;
    assert_eq!(ann.is_told(None).await, "end must not be before start");

    let gateway = start_with_apps(&[("PRESENCE_PUSHER_CLIENT_EVENTS", "false")]).await;
    let mut ann = Page::enters(&gateway, "ann", "presence-room;1").await;
    ann.says_in("presence-room;1", "client-x", json!({})).await;
    assert_eq!(ann.is_told(None).await, "client events are not enabled");
}

#[tokio::test]
async fn too_many_events_are_refused_and_the_connection_stays() {
    let gateway = start_with_apps(&[
        ("PRESENCE_RATE_BROADCAST", "1/m burst 2"),
        ("PRESENCE_RATE_JOIN", "1/m burst 100"),
    ])
    .await;
    let mut ann = Page::enters(&gateway, "ann", "presence-room;1").await;
    for _ in 0..3 {
        ann.says_in("presence-room;1", "client-x", json!({})).await;
    }
    ann.is_told(Some(4301)).await;
    for _ in 0..99 {
        ann.says("pusher:unsubscribe", json!({ "channel": "never-was" }))
            .await;
    }
    ann.says("pusher:subscribe", json!({ "channel": "news" }))
        .await;
    ann.is_refused("news", 429).await;
    ann.says("pusher:unsubscribe", json!({ "channel": "news" }))
        .await;
    ann.is_told(Some(4301)).await;
}

/// Laravel Echo's `whisper('typing', {name})` is a client event with data that the page chose.
#[tokio::test]
async fn a_page_that_says_in_its_own_words_that_it_types_is_typing_to_everybody() {
    let gateway = start_with_apps(&[("TYPING_TTL", "1s")]).await;
    let mut bob = Person::comes_with(&gateway.options("bob")).await;
    let mut ann = Page::enters(&gateway, "ann", "presence-room;1").await;
    let mut cal = Page::enters(&gateway, "cal", "presence-room;1").await;
    let mut first = true;
    for words in [
        json!({ "name": "Ann" }),
        json!({ "typing": true, "name": "Ann" }),
        json!("Ann"),
        json!(null),
    ] {
        ann.says_in("presence-room;1", "client-typing", words.clone())
            .await;
        bob.until("ann types", |it| types(it, "ann")).await;
        bob.until("ann has stopped", |it| it.room.typing().is_empty())
            .await;
        // The other pages hear the words, and nothing in place of them.
        let heard = typing_of(&mut cal).await;
        assert_eq!(
            (&heard["user_id"], words_of(&heard)),
            (&json!("ann"), words)
        );
        if std::mem::take(&mut first) {
            assert_eq!(typing_over_http(&gateway).await, json!([]));
        }
    }
    ann.says_in("presence-room;1", "client-typing", json!({ "name": "Ann" }))
        .await;
    bob.until("ann types", |it| types(it, "ann")).await;
    for words in [
        json!({ "name": "Ann", "typing": false }),
        json!({ "typing": false }),
    ] {
        ann.says_in("presence-room;1", "client-typing", words).await;
    }
    bob.until("ann has stopped", |it| it.room.typing().is_empty())
        .await;
    for words in [
        json!({ "name": "Ann" }),
        json!({ "name": "Ann", "typing": false }),
        json!({ "typing": false }),
    ] {
        assert_eq!(words_of(&typing_of(&mut cal).await), words);
    }
    // Somebody else's typing is still told.
    bob.does(r#"{"type":"presence:typing","channel":"room:1","typing":true}"#)
        .await;
    let heard = typing_of(&mut cal).await;
    assert_eq!(
        (&heard["user_id"], words_of(&heard)),
        (&json!("bob"), json!({ "typing": true }))
    );
}

/// The next event but for who comes.
async fn typing_of(page: &mut Page) -> Value {
    loop {
        let message = page.raw.json().await;
        if message["event"] != "pusher_internal:member_added" {
            assert_eq!(message["event"], "client-typing", "{message}");
            return message;
        }
    }
}

/// Whether `person` sees that exactly `user` is typing.
fn types(person: &Person, user: &str) -> bool {
    matches!(person.room.typing(), [only] if **only == *user)
}

/// What a page said, which came as JSON in a string, or as a plain string.
fn words_of(heard: &Value) -> Value {
    let data = heard["data"].as_str().unwrap();
    serde_json::from_str(data).unwrap_or_else(|_| json!(data))
}

async fn typing_over_http(gateway: &Running) -> Value {
    let answer = get(gateway.address(), "/api/presence/channel/room:1/typing").await;
    let answer: Value = serde_json::from_str(body(&answer)).unwrap();
    answer["users"].clone()
}

#[tokio::test]
async fn typing_and_pointing_are_what_they_are_to_everybody() {
    let gateway = start_with_apps(&[("TYPING_TTL", "3s")]).await;
    let mut ann = Page::enters(&gateway, "ann", "presence-room;1").await;
    let mut bob = Page::enters(&gateway, "bob", "presence-room;1").await;
    ann.hears("pusher_internal:member_added").await;
    ann.says_in(
        "presence-room;1",
        "client-typing",
        json!({ "typing": true }),
    )
    .await;
    let typing = bob.hears("client-typing").await;
    assert_eq!(
        (&typing["user_id"], &typing["data"]),
        (&json!("ann"), &json!(r#"{"typing":true}"#))
    );
    // A late comer is told; and that it ends is told without a word of ann.
    let mut cal = Page::enters(&gateway, "cal", "presence-room;1").await;
    assert_eq!(cal.hears("client-typing").await["user_id"], "ann");
    bob.hears("pusher_internal:member_added").await;
    for page in [&mut bob, &mut cal] {
        assert_eq!(
            page.hears("client-typing").await["data"],
            r#"{"typing":false}"#
        );
    }
    ann.says_in(
        "presence-room;1",
        "client-cursor",
        json!({ "x": 1, "y": 2.5 }),
    )
    .await;
    let cursor = data(&bob.hears("client-cursor").await);
    assert_eq!(
        (&cursor["x"], &cursor["y"], &cursor["visible"]),
        (&json!(1.0), &json!(2.5), &json!(true))
    );
    ann.says_in(
        "presence-room;1",
        "client-selection",
        json!({ "start": 1, "end": 2 }),
    )
    .await;
    let selection = data(&bob.hears("client-selection").await);
    assert_eq!(
        (&selection["start"], &selection["end"]),
        (&json!(1), &json!(2))
    );
    ann.hears("pusher_internal:member_added").await;
    ann.has_heard_all().await;
}
