//! Phoenix pages and native ones in one room.

use presence_client::wire::Event;
use serde_json::json;

use super::Page;
use crate::gateway::start;
use crate::people::Person;
use crate::raw::BINARY;

#[tokio::test]
async fn a_phoenix_page_and_a_native_one_see_each_other() {
    let gateway = start(&[]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let mut bob = Page::enters(&gateway, "bob", "room:1").await;
    ann.sees(&["ann", "bob"]).await;

    // Both ways: broadcasts, and bytes as far as there is a word for them.
    let wave = json!(["1", "2", "room:1", "wave", {"hand": "left"}]);
    assert_eq!(bob.asks(wave).await[4]["status"], "ok");
    let payload = said(&mut ann, "wave").await;
    assert_eq!(payload, r#"{"hand":"left"}"#);
    bob.0
        .frame(BINARY, b"\x00\x01\x01\x06\x0413room:1file\x00\xff")
        .await;
    assert_eq!(said(&mut ann, "file").await, r#"{"$bytes":"AP8="}"#);
    // What only the gateway says does not come from a person, in whichever dialect they try.
    for event in ["presence_diff", "phx_close", "chan_reply_7", "cheer"] {
        ann.does(&format!(
            r#"{{"type":"presence:broadcast","channel":"room:1","event":"{event}","payload":{{"joins":{{"mallory":{{"metas":[]}}}},"leaves":{{}}}}}}"#
        ))
        .await;
    }
    loop {
        let frame = bob.0.json().await;
        if frame[3] == "cheer" {
            break;
        }
        assert!(!frame.to_string().contains("mallory"), "{frame}");
    }

    ann.does(r#"{"type":"presence:status","status":"invisible"}"#)
        .await;
    bob.hears_of("leaves", "ann").await;
    bob.says(json!(["1", "4", "room:1", "phx_leave", {}])).await;
    ann.sees(&[]).await;
}

/// The payload of the next broadcast of that event.
async fn said(person: &mut Person, event: &str) -> String {
    loop {
        if let Event::Broadcast(it) = person.hears().await.unwrap()
            && &*it.event == event
        {
            return it.payload.unwrap().as_str().to_owned();
        }
    }
}
