//! Documents: who points where, who types, what is said.

use serde_json::json;

use super::{Page, room};
use crate::gateway::start;
use crate::people::Person;

const DOCUMENT: &str = r#"{"channel":"CursorChannel","document_id":7}"#;

#[tokio::test]
async fn a_move_and_a_selection_reach_the_others_with_a_name_and_a_color() {
    let gateway = start(&[]).await;
    let target = "/cable?user_id=ann&name=Ann";
    let mut ann = Page::at(gateway.address(), target, super::PLAIN).await;
    let mut bob = Page::of(gateway.address(), "bob").await;
    let mut tab = Page::at(gateway.address(), target, super::PLAIN).await;
    for page in [&mut ann, &mut bob, &mut tab] {
        assert!(page.subscribes(DOCUMENT).await);
    }
    ann.performs(DOCUMENT, json!({ "action": "move", "x": 12.5, "y": 3 }))
        .await;
    for other in [&mut bob, &mut tab] {
        let moved = other
            .receives(DOCUMENT, |it| it["type"] == "cursor_move")
            .await;
        let session = moved["session"].clone();
        assert_eq!(session.as_str().unwrap().len(), 32);
        let expected = json!({
            "type": "cursor_move", "user_id": "ann", "user_name": "Ann", "user_color": "#c02712",
            "session": session, "x": 12.5, "y": 3.0, "visible": true,
        });
        assert_eq!(moved, expected);
    }
    ann.performs(
        DOCUMENT,
        json!({ "action": "selection", "start": 3, "end": 9 }),
    )
    .await;
    let next = bob.receives(DOCUMENT, |_| true).await;
    assert_eq!(
        (&next["type"], &next["start"], &next["end"]),
        (&json!("selection"), &json!(3), &json!(9))
    );
    assert_eq!(
        (&next["user_name"], &next["user_color"]),
        (&json!("Ann"), &json!("#c02712"))
    );
    ann.performs(DOCUMENT, json!({ "action": "move", "x": 1, "y": 1 }))
        .await;
    let next = bob.receives(DOCUMENT, |_| true).await;
    assert_eq!(
        (&next["type"], &next["x"]),
        (&json!("cursor_move"), &json!(1.0))
    );
    ann.performs(
        DOCUMENT,
        json!({ "action": "selection", "start": null, "end": null }),
    )
    .await;
    let next = bob.receives(DOCUMENT, |_| true).await;
    assert_eq!(
        (&next["type"], &next["start"], &next["end"]),
        (&json!("selection"), &json!(null), &json!(null))
    );

    // Who comes later finds the last ones.
    let mut eve = Page::of(gateway.address(), "eve").await;
    eve.subscribes(DOCUMENT).await;
    let found = eve.receives(DOCUMENT, |_| true).await;
    assert_eq!(
        (&found["type"], &found["user_name"], &found["x"]),
        (&json!("cursor_move"), &json!("Ann"), &json!(1.0))
    );

    // Nothing of its own ever came back to who moved, and the others hear that it is over.
    ann.unsubscribes(DOCUMENT).await;
    bob.receives(DOCUMENT, |it| it["type"] == "cursor_gone")
        .await;
    ann.subscribes(DOCUMENT).await;
    bob.performs(DOCUMENT, json!({ "action": "move", "x": 5, "y": 5 }))
        .await;
    let first = ann.receives(DOCUMENT, |_| true).await;
    assert_eq!(first["user_id"], "bob");
}

#[tokio::test]
async fn bad_moves_are_refused_with_a_reason_and_change_nothing() {
    let gateway = start(&[]).await;
    let mut ann = Page::of(gateway.address(), "ann").await;
    ann.subscribes(DOCUMENT).await;
    for data in [
        json!({ "action": "move" }),
        json!({ "action": "move", "x": "1", "y": 2 }),
        json!({ "action": "move", "x": [], "y": 2 }),
        json!({ "action": "selection", "start": 5, "end": 1 }),
        json!({ "action": "selection", "start": 5 }),
        json!({ "action": "selection", "start": -5, "end": 1 }),
        json!({ "action": "update", "meta": "text" }),
    ] {
        ann.performs(DOCUMENT, data.clone()).await;
        let error = ann.receives(DOCUMENT, |it| it["type"] == "error").await;
        assert_eq!(
            (&error["action"], &error["code"]),
            (&data["action"], &json!("invalid")),
            "{data}"
        );
    }
    ann.performs(DOCUMENT, json!({ "action": "dance" })).await;
    let error = ann.receives(DOCUMENT, |it| it["type"] == "error").await;
    assert_eq!(error["code"], "unknown_command");
}

#[tokio::test]
async fn typing_and_words_reach_those_who_want_to_hear_them_and_native_pages() {
    let gateway = start(&[]).await;
    let curious = r#"{"channel":"PresenceChannel","room_id":1,"events":true}"#;
    let mut eve = Person::comes(&gateway, "eve").await;
    let mut ann = Page::of(gateway.address(), "ann").await;
    ann.subscribes(curious).await;
    let mut bob = Page::of(gateway.address(), "bob").await;
    bob.subscribes(&room(1)).await;
    eve.sees(&["eve", "ann", "bob"]).await;

    bob.performs(&room(1), json!({ "action": "typing_start" }))
        .await;
    let typing = ann.receives(curious, |it| it["type"] == "typing").await;
    assert_eq!(
        (&typing["users"], &typing["started"]),
        (&json!(["bob"]), &json!(["bob"]))
    );
    eve.until("bob types", |it| {
        it.room.typing().iter().any(|it| **it == *"bob")
    })
    .await;
    bob.performs(&room(1), json!({ "action": "typing_stop" }))
        .await;
    let typing = ann.receives(curious, |it| it["type"] == "typing").await;
    assert_eq!(
        (&typing["users"], &typing["stopped"]),
        (&json!([]), &json!(["bob"]))
    );

    let said = json!({ "action": "broadcast", "event": "reaction", "payload": { "emoji": "🎉" } });
    bob.performs(&room(1), said).await;
    let heard = ann.receives(curious, |it| it["type"] == "broadcast").await;
    let expected = json!({
        "type": "broadcast", "event": "reaction", "payload": { "emoji": "🎉" }, "user_id": "bob",
    });
    assert_eq!(heard, expected);
    // A reader of rosters is told nothing that is none.
    ann.unsubscribes(curious).await;
    bob.receives(&room(1), |it| {
        assert_eq!(it["type"], "presence_update");
        it["action"] == "user_left"
    })
    .await;
}
