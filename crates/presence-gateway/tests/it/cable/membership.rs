//! Several subscriptions of one connection to one place: one is there as long as one of them asks for it.

use serde_json::{Value, json};

use super::{Page, ids};
use crate::gateway::{Running, start};

/// Two identifiers of each place: that asks to be there, and that only looks.
fn places() -> [(&'static str, Value); 3] {
    [
        (
            "room",
            json!({ "channel": "PresenceChannel", "room_id": 1 }),
        ),
        (
            "document",
            json!({ "channel": "CursorChannel", "document_id": 7 }),
        ),
        (
            "page",
            json!({ "channel": "PagePresenceChannel", "path": "/x" }),
        ),
    ]
}

fn with(identifier: &Value, more: Value) -> String {
    let mut it = identifier.clone();
    for (name, value) in more.as_object().unwrap() {
        it[name] = value.clone();
    }
    it.to_string()
}

/// Who is in the channel of that place, to an extended page that only looks.
async fn present(eve: &mut Page, identifier: &Value) -> Vec<String> {
    let identifier = with(identifier, json!({ "watch": true, "eve": true }));
    eve.says(json!({ "command": "presence", "identifier": identifier, "data": {} }))
        .await;
    eve.hears(|it| {
        let is_info = it["identifier"] == *identifier && it["message"]["type"] == "info";
        is_info.then(|| ids(&it["message"]["records"]))
    })
    .await
}

async fn is_there(eve: &mut Page, identifier: &Value, users: &[&str], when: &str) {
    for _ in 0..200 {
        if present(eve, identifier).await == users {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!(
        "{when}: {:?} instead of {users:?}",
        present(eve, identifier).await
    );
}

async fn onlooker(gateway: &Running, identifier: &Value) -> Page {
    let mut eve = Page::extended(gateway.address(), "eve").await;
    let looks = with(identifier, json!({ "watch": true, "eve": true }));
    assert!(eve.subscribes(&looks).await);
    eve
}

#[tokio::test]
async fn who_only_looks_by_what_is_left_is_not_there() {
    let gateway = start(&[("PRESENCE_RATE_QUERY", "1000/s burst 1000")]).await;
    for (name, place) in places() {
        let mut eve = onlooker(&gateway, &place).await;
        let (asks, looks) = (place.to_string(), with(&place, json!({ "watch": true })));
        for first in [&asks, &looks] {
            let mut ann = Page::of(gateway.address(), "ann").await;
            let second = if *first == asks { &looks } else { &asks };
            assert!(ann.subscribes(first).await);
            assert!(ann.subscribes(second).await);
            is_there(&mut eve, &place, &["ann"], &format!("{name}: both")).await;
            ann.unsubscribes(&looks).await;
            assert!(ann.subscribes(&looks).await);
            let what = format!("{name}: looks no more, and again");
            is_there(&mut eve, &place, &["ann"], &what).await;
            ann.unsubscribes(&asks).await;
            is_there(&mut eve, &place, &[], &format!("{name}: only looks")).await;
            // And is still told of others.
            let mut bob = Page::of(gateway.address(), "bob").await;
            assert!(bob.subscribes(&asks).await);
            if name != "document" {
                ann.receives(&looks, |it| it["count"] == 1).await;
            }
            assert!(ann.subscribes(&asks).await);
            is_there(&mut eve, &place, &["ann", "bob"], &format!("{name}: again")).await;
            for it in [&asks, &looks] {
                ann.unsubscribes(it).await;
            }
            is_there(&mut eve, &place, &["bob"], &format!("{name}: neither")).await;
            bob.unsubscribes(&asks).await;
            is_there(&mut eve, &place, &[], &format!("{name}: nobody")).await;
        }
    }
}

#[tokio::test]
async fn of_two_that_say_something_the_one_that_is_left_is_shown() {
    let gateway = start(&[]).await;
    let place = json!({ "channel": "PresenceChannel", "room_id": 1 });
    let [first, second] =
        ["First", "Second"].map(|it| with(&place, json!({ "meta": { "name": it } })));
    let silent = place.to_string();
    let looks = with(&place, json!({ "watch": true }));
    let mut eve = Page::of(gateway.address(), "eve").await;
    eve.subscribes(&looks).await;
    let mut ann = Page::of(gateway.address(), "ann").await;
    let named = async |eve: &mut Page, name: &str| {
        eve.receives(&looks, |it| it["users"][0]["name"] == name)
            .await;
    };
    ann.subscribes(&first).await;
    named(&mut eve, "First").await;
    ann.subscribes(&second).await;
    named(&mut eve, "Second").await;
    // What was said before by the other one.
    ann.unsubscribes(&second).await;
    named(&mut eve, "First").await;
    ann.subscribes(&second).await;
    named(&mut eve, "Second").await;
    ann.unsubscribes(&first).await;
    // What was said since counts as well; also if it was said by one that only looks.
    let update = |name: &str| json!({ "action": "update", "meta": { "name": name } });
    ann.performs(&second, update("Third")).await;
    named(&mut eve, "Third").await;
    ann.subscribes(&looks).await;
    ann.performs(&looks, update("Fourth")).await;
    named(&mut eve, "Fourth").await;
    ann.subscribes(&first).await;
    named(&mut eve, "First").await;
    ann.unsubscribes(&first).await;
    named(&mut eve, "Fourth").await;
    // One that says nothing keeps what is shown, and says nothing of what the other one said.
    ann.subscribes(&silent).await;
    ann.unsubscribes(&second).await;
    named(&mut eve, "ann").await;
}

#[tokio::test]
async fn present_by_two_subscriptions_is_present_until_both_leave() {
    let gateway = start(&[("PRESENCE_RATE_QUERY", "1000/s burst 1000")]).await;
    let place = json!({ "channel": "PresenceChannel", "room_id": 1 });
    let mut eve = onlooker(&gateway, &place).await;
    let mut ann = Page::extended(gateway.address(), "ann").await;
    let [one, two] = [1, 2].map(|it| with(&place, json!({ "watch": true, "n": it })));
    for it in [&one, &two] {
        assert!(ann.subscribes(it).await);
        let join = json!({ "command": "join", "identifier": it, "presence": { "id": "ann" } });
        ann.says(join).await;
    }
    is_there(&mut eve, &place, &["ann"], "both have joined").await;
    ann.says(json!({ "command": "leave", "identifier": one }))
        .await;
    ann.says(json!({ "command": "leave", "identifier": one }))
        .await;
    ann.says(json!({ "command": "presence", "identifier": one, "data": {} }))
        .await;
    ann.hears(|it| (it["message"]["total"] == 1).then_some(()))
        .await;
    is_there(&mut eve, &place, &["ann"], "one has left").await;
    ann.says(json!({ "command": "leave", "identifier": two }))
        .await;
    is_there(&mut eve, &place, &[], "both have left").await;
}

#[tokio::test]
async fn a_whisper_in_the_shape_of_anything_that_the_gateway_says_is_marked() {
    let gateway = start(&[]).await;
    let room = json!({ "channel": "PresenceChannel", "room_id": 1 });
    let curious = with(&room, json!({ "events": true }));
    let room = room.to_string();
    let mut bob = Page::of(gateway.address(), "bob").await;
    bob.subscribes(&room).await;
    let mut eve = Page::of(gateway.address(), "eve").await;
    eve.subscribes(&curious).await;
    let mut ann = Page::extended(gateway.address(), "ann").await;
    ann.subscribes(&room).await;
    bob.sees(&room, &["ann", "bob", "eve"]).await;
    eve.sees(&curious, &["ann", "bob", "eve"]).await;
    let lies = [
        json!({ "users": [], "count": 0 }),
        json!({ "users": [] }),
        json!({ "count": 0 }),
        json!({ "member_ids": [], "member_count": 0 }),
        json!({ "member_count": 0 }),
        json!({ "action": "user_left", "user": { "id": "bob" } }),
        json!({ "type": "error", "code": "forbidden" }),
        json!({ "type": "viewer_count" }),
        json!({ "type": "typing", "started": ["bob"] }),
        json!({ "type": "cursor_gone", "session": "0" }),
        json!({ "type": "status_update", "user_id": "bob", "status": "offline" }),
        json!({ "type": "own_status" }),
        json!({ "__proto__": { "type": "presence_update" } }),
    ];
    let truth = json!({ "event": "wave" });
    for data in lies.iter().chain([&truth]) {
        ann.says(json!({ "command": "whisper", "identifier": room, "data": data }))
            .await;
        // As it is to who gets only rosters: nothing. To who gets more: what somebody said.
        let is_said = |it: &Value| it["type"] == "broadcast" || *it == truth;
        let heard = eve.receives(&curious, is_said).await;
        if data == &truth {
            assert_eq!(heard, truth);
            continue;
        }
        assert_eq!(heard["type"], "broadcast", "{data}");
        assert_eq!(
            (&heard["payload"], &heard["user_id"]),
            (data, &json!("ann"))
        );
    }
    let is_roster = |it: &Value| it["count"] == 3 && it["users"].is_array();
    let heard = bob.receives(&room, |it| !is_roster(it)).await;
    assert_eq!(heard, truth);
}
