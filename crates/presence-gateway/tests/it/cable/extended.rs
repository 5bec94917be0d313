//! What only AnyCable's protocol has: presence, whispers, history.

use serde_json::{Value, json};

use super::{Page, room};
use crate::gateway::start;

/// The next presence message.
async fn presence(page: &mut Page) -> Value {
    page.hears(|it| (it["type"] == "presence").then(|| it["message"].clone()))
        .await
}

fn command(command: &str, more: Value) -> Value {
    let mut it = json!({ "command": command, "identifier": room(1) });
    for (name, value) in more.as_object().unwrap() {
        it[name] = value.clone();
    }
    it
}

#[tokio::test]
async fn joins_and_leaves_are_told_once_and_the_records_on_request() {
    let gateway = start(&[]).await;
    let mut ann = Page::extended(gateway.address(), "ann").await;
    assert!(ann.subscribes(&room(1)).await);
    let mut bob = Page::extended(gateway.address(), "bob").await;
    let presence_of_bob = json!({ "id": "bob", "info": { "name": "Bob", "role": "x" } });
    bob.says(command("subscribe", json!({ "presence": presence_of_bob })))
        .await;
    assert_eq!(
        presence(&mut ann).await,
        json!({ "type": "join", "id": "bob", "info": { "name": "Bob", "role": "x" } })
    );
    // Again, with other info: silent for the others, and who asked hears of it.
    let mut tab = Page::extended(gateway.address(), "bob").await;
    tab.subscribes(&room(1)).await;
    bob.says(command(
        "join",
        json!({ "presence": { "id": "bob", "info": { "name": "Bob", "role": "y" } } }),
    ))
    .await;
    let again = json!({ "type": "join", "id": "bob", "info": { "name": "Bob", "role": "y" } });
    bob.hears(|it| (it["message"] == again).then_some(())).await;
    ann.says(command(
        "presence",
        json!({ "data": { "return_records": true } }),
    ))
    .await;
    let info = presence(&mut ann).await;
    assert_eq!((&info["type"], &info["total"]), (&json!("info"), &json!(2)));
    let ids = super::ids(&info["records"]);
    assert_eq!(ids, ["ann", "bob"]);
    ann.says(command(
        "presence",
        json!({ "data": { "return_records": false } }),
    ))
    .await;
    assert_eq!(
        presence(&mut ann).await,
        json!({ "type": "info", "total": 2 })
    );

    // Present no more, and still told of the others.
    tab.says(command("leave", json!({}))).await;
    bob.says(command("leave", json!({}))).await;
    assert_eq!(
        presence(&mut ann).await,
        json!({ "type": "leave", "id": "bob" })
    );
    ann.says(command("leave", json!({}))).await;
    bob.hears(|it| (it["message"] == json!({ "type": "leave", "id": "ann" })).then_some(()))
        .await;
    bob.says(command("join", json!({ "presence": { "id": "bob" } })))
        .await;
    ann.hears(|it| {
        let message = &it["message"];
        (message["type"] == "join" && message["id"] == "bob").then_some(())
    })
    .await;
}

#[tokio::test]
async fn nobody_is_present_as_somebody_else() {
    let gateway = start(&[]).await;
    let mut ann = Page::extended(gateway.address(), "ann").await;
    ann.subscribes(&room(1)).await;
    ann.says(command(
        "join",
        json!({ "presence": { "id": "bob", "info": {} } }),
    ))
    .await;
    assert_eq!(presence(&mut ann).await, json!({ "type": "error" }));
    for bad in [
        json!({ "presence": { "id": "ann", "info": "text" } }),
        json!({ "presence": [] }),
    ] {
        ann.says(command("join", bad)).await;
        assert_eq!(presence(&mut ann).await, json!({ "type": "error" }));
    }
    let mut eve = Page::extended(gateway.address(), "eve").await;
    eve.says(command("subscribe", json!({ "presence": { "id": "ann" } })))
        .await;
    eve.hears(|it| (it["type"] == "reject_subscription").then_some(()))
        .await;
}

#[tokio::test]
async fn a_whisper_reaches_the_others_and_cannot_pretend_to_be_the_gateway() {
    let gateway = start(&[]).await;
    let mut ann = Page::extended(gateway.address(), "ann").await;
    let mut bob = Page::of(gateway.address(), "bob").await;
    ann.subscribes(&room(1)).await;
    bob.subscribes(&room(1)).await;
    ann.sees(&room(1), &["ann", "bob"]).await;
    let lie = json!({ "type": "presence_update", "users": [], "count": 0 });
    ann.says(command("whisper", json!({ "data": lie }))).await;
    ann.says(command(
        "whisper",
        json!({ "data": { "event": "wave", "to": [1] } }),
    ))
    .await;
    let heard = bob
        .receives(&room(1), |it| it["count"] == 0 || it.get("count").is_none())
        .await;
    assert_eq!(heard, json!({ "event": "wave", "to": [1] }));
    ann.unsubscribes(&room(1)).await;
    ann.subscribes(&room(1)).await;
    let next = ann.receives(&room(1), |_| true).await;
    assert_eq!(
        next["type"], "presence_update",
        "own whispers do not come back"
    );
}

#[tokio::test]
async fn there_is_no_history_and_that_is_said() {
    let gateway = start(&[]).await;
    let mut ann = Page::extended(gateway.address(), "ann").await;
    let history = json!({ "history": { "since": 1_764_000_000, "streams": {} } });
    ann.says(command("subscribe", history.clone())).await;
    assert_eq!(ann.next().await["type"], "confirm_subscription");
    let rejected = json!({ "type": "reject_history", "identifier": room(1) });
    assert_eq!(ann.next().await, rejected);
    ann.says(command("history", history)).await;
    ann.hears(|it| (*it == rejected).then_some(())).await;
    ann.says(json!({ "command": "pong" })).await;
}

#[tokio::test]
async fn who_speaks_the_plain_protocol_hears_nothing_of_the_other_and_cannot_use_it() {
    let gateway = start(&[]).await;
    let mut bob = Page::of(gateway.address(), "bob").await;
    bob.subscribes(&room(1)).await;
    for more in ["join", "leave", "presence", "whisper", "history", "pong"] {
        bob.says(command(
            more,
            json!({ "presence": { "id": "bob" }, "data": {} }),
        ))
        .await;
    }
    let mut ann = Page::extended(gateway.address(), "ann").await;
    ann.subscribes(&room(1)).await;
    let mut seen = Vec::new();
    loop {
        let next = bob.next().await;
        assert!(
            next.get("type").is_none() && next.get("sid").is_none(),
            "{next}"
        );
        let is_last = next["message"]["user"]["id"] == "ann";
        seen.push(next);
        if is_last {
            break;
        }
    }
    assert!(seen.len() <= 2, "{seen:?}");
}
