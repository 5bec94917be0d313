//! Rooms and pages: who is there, as both readers want it.

use serde_json::json;

use super::{Page, ids, room};
use crate::gateway::start;
use crate::people::Person;

#[tokio::test]
async fn a_message_satisfies_the_reader_of_lists_and_the_reader_of_changes() {
    let gateway = start(&[]).await;
    let target = "/cable?user_id=ann&name=Ann";
    let mut ann = Page::at(gateway.address(), target, super::PLAIN).await;
    assert!(ann.subscribes(&room(42)).await);
    let own = ann.sees(&room(42), &["ann"]).await;
    assert_eq!(
        (&own["action"], &own["user"]["name"]),
        (&json!("user_joined"), &json!("Ann"))
    );
    assert_eq!(
        (&own["count"], &own["member_count"]),
        (&json!(1), &json!(1))
    );

    let mut bob = Page::of(gateway.address(), "bob").await;
    let with_meta = r#"{"channel":"PresenceChannel","room_id":"42","meta":{"avatar":"/bob.png"}}"#;
    assert!(bob.subscribes(with_meta).await);
    let joined = ann
        .receives(&room(42), |it| it["action"] == "user_joined")
        .await;
    let bobs = json!({
        "id": "bob", "name": "bob", "avatar": "/bob.png", "avatar_url": "/bob.png",
        "color": "#c02712", "status": "online",
    });
    assert_eq!(joined["user"], bobs);
    assert_eq!(joined["type"], "presence_update");
    assert_eq!((&joined["users"][1], &joined["count"]), (&bobs, &json!(2)));
    assert_eq!(joined["member_ids"], json!(["ann", "bob"]));
    assert_eq!(joined["member_count"], 2);
    let first = bob.sees(with_meta, &["ann", "bob"]).await;
    assert_eq!(
        (&first["action"], &first["user"]["id"]),
        (&json!("user_joined"), &json!("bob"))
    );

    bob.performs(
        with_meta,
        json!({ "action": "update", "meta": { "name": "Bobby" } }),
    )
    .await;
    let updated = ann
        .receives(&room(42), |it| it["action"] == "user_updated")
        .await;
    assert_eq!(
        (&updated["user"]["name"], &updated["count"]),
        (&json!("Bobby"), &json!(2))
    );

    bob.unsubscribes(with_meta).await;
    let left = ann
        .receives(&room(42), |it| it["action"] == "user_left")
        .await;
    assert_eq!(
        (&left["user"]["id"], &left["member_ids"]),
        (&json!("bob"), &json!(["ann"]))
    );
    assert_eq!(
        (ids(&left["users"]), &left["count"]),
        (vec!["ann".to_owned()], &json!(1))
    );
}

#[tokio::test]
async fn two_tabs_are_one_member_and_the_last_one_leaves() {
    let gateway = start(&[]).await;
    let mut eve = Page::of(gateway.address(), "eve").await;
    eve.subscribes(&room(1)).await;
    let mut tabs = [
        Page::of(gateway.address(), "ann").await,
        Page::of(gateway.address(), "ann").await,
    ];
    for tab in &mut tabs {
        tab.subscribes(&room(1)).await;
        let seen = tab.sees(&room(1), &["ann", "eve"]).await;
        assert_eq!(seen["count"], 2);
    }
    tabs[0].unsubscribes(&room(1)).await;
    tabs[1]
        .performs(
            &room(1),
            json!({ "action": "update", "meta": { "name": "A" } }),
        )
        .await;
    let mut actions = Vec::new();
    while actions.last().is_none_or(|it| it != "user_left") {
        let message = eve.receives(&room(1), |it| it["user"]["id"] == "ann").await;
        actions.push(message["action"].as_str().unwrap().to_owned());
        if message["action"] == "user_updated" {
            tabs[1].unsubscribes(&room(1)).await;
        }
    }
    assert_eq!(actions, ["user_joined", "user_updated", "user_left"]);
}

#[tokio::test]
async fn identifiers_come_back_byte_for_byte_and_two_of_one_room_leave_with_the_last() {
    let gateway = start(&[]).await;
    let mut eve = Page::of(gateway.address(), "eve").await;
    eve.subscribes(&room(1)).await;
    let mut ann = Page::of(gateway.address(), "ann").await;
    let odd =
        "{ \"room_id\" :\t1, \"x\":\"\u{fc}\\u00fc \u{2028}\", \"channel\":\"PresenceChannel\"}";
    assert!(ann.subscribes(odd).await);
    ann.sees(odd, &["ann", "eve"]).await;
    assert!(ann.subscribes(&room(1)).await);
    ann.sees(&room(1), &["ann", "eve"]).await;
    // Asked again: confirmed again.
    assert!(ann.subscribes(odd).await);
    assert!(ann.subscribes(&room(1)).await);
    ann.unsubscribes(odd).await;
    let mut bob = Page::of(gateway.address(), "bob").await;
    bob.subscribes(&room(1)).await;
    bob.sees(&room(1), &["ann", "bob", "eve"]).await;
    ann.sees(&room(1), &["ann", "bob", "eve"]).await;
    ann.unsubscribes(&room(1)).await;
    bob.sees(&room(1), &["bob", "eve"]).await;
}

#[tokio::test]
async fn subscribing_twice_at_once_is_confirmed_twice_and_unsubscribing_counts_in_order() {
    let gateway = start(&[]).await;
    let mut ann = Page::of(gateway.address(), "ann").await;
    let subscribe = json!({ "command": "subscribe", "identifier": room(1) });
    ann.says(subscribe.clone()).await;
    ann.says(subscribe.clone()).await;
    for _ in 0..2 {
        ann.hears(|it| (it["type"] == "confirm_subscription").then_some(()))
            .await;
    }
    ann.unsubscribes(&room(1)).await;
    ann.says(subscribe).await;
    ann.hears(|it| (it["type"] == "confirm_subscription").then_some(()))
        .await;
    ann.sees(&room(1), &["ann"]).await;
}

#[tokio::test]
async fn a_lost_socket_has_the_grace_time_and_a_native_page_sees_the_same() {
    let gateway = start(&[("PRESENCE_GRACE", "3s")]).await;
    let mut eve = Person::comes(&gateway, "eve").await;
    let mut bob = Page::of(gateway.address(), "bob").await;
    bob.subscribes(&room(1)).await;
    bob.sees(&room(1), &["bob", "eve"]).await;

    let mut ann = Page::of(gateway.address(), "ann").await;
    ann.subscribes(&room(1)).await;
    bob.sees(&room(1), &["ann", "bob", "eve"]).await;
    eve.sees(&["eve", "bob", "ann"]).await;
    drop(ann);
    let mut again = Page::of(gateway.address(), "ann").await;
    again.subscribes(&room(1)).await;
    again.sees(&room(1), &["ann", "bob", "eve"]).await;
    // The session of the lost socket ends, and nobody left.
    for sessions in [2, 1] {
        let are_left = |it: &Person| {
            let ann = it.room.user("ann");
            ann.is_some_and(|it| it.metas.len() == sessions)
        };
        eve.until(format!("{sessions} sessions of ann"), are_left)
            .await;
    }
    assert_eq!(eve.departures(), 0);
    drop(again);
    let change = bob.receives(&room(1), |it| it["user"]["id"] == "ann").await;
    assert_eq!(change["action"], "user_left", "{change}");
    eve.sees(&["eve", "bob"]).await;
    assert_eq!(eve.departures(), 1);
}

#[tokio::test]
async fn an_invisible_person_is_nowhere_and_still_sees_the_others() {
    let gateway = start(&[]).await;
    let (appearance, page) = (
        r#"{"channel":"AppearanceChannel"}"#,
        r#"{"channel":"PagePresenceChannel","path":"/x"}"#,
    );
    let mut eve = Page::of(gateway.address(), "eve").await;
    eve.subscribes(&room(1)).await;
    eve.subscribes(page).await;
    let mut ann = Page::of(gateway.address(), "ann").await;
    for identifier in [&room(1), page, appearance] {
        assert!(ann.subscribes(identifier).await);
    }
    eve.sees(&room(1), &["ann", "eve"]).await;
    let hide = json!({ "action": "set_status", "status": "invisible" });
    ann.performs(appearance, hide).await;
    let own = ann
        .receives(appearance, |it| it["status"] == "invisible")
        .await;
    assert_eq!(
        (&own["type"], &own["shown"]),
        (&json!("own_status"), &json!("offline"))
    );
    let left = eve
        .receives(&room(1), |it| it["action"] == "user_left")
        .await;
    assert_eq!(left["member_ids"], json!(["eve"]));

    let mut bob = Page::of(gateway.address(), "bob").await;
    bob.subscribes(&room(1)).await;
    bob.sees(&room(1), &["bob", "eve"]).await;
    ann.sees(&room(1), &["bob", "eve"]).await;
    bob.subscribes(page).await;
    let count = bob
        .receives(page, |it| it["type"] == "viewer_count" && it["count"] != 1)
        .await;
    assert_eq!(count["count"], 2);
}

#[tokio::test]
async fn a_page_counts_people_not_tabs() {
    let gateway = start(&[]).await;
    let page = r#"{"channel":"PagePresenceChannel","path":"/pages/1"}"#;
    let mut ann = Page::of(gateway.address(), "ann").await;
    ann.subscribes(page).await;
    ann.receives(page, |it| {
        *it == json!({ "type": "viewer_count", "count": 1 })
    })
    .await;
    let mut tab = Page::of(gateway.address(), "ann").await;
    tab.subscribes(page).await;
    tab.receives(page, |it| it["count"] == 1).await;
    let mut bob = Page::of(gateway.address(), "bob").await;
    bob.subscribes(page).await;
    let next = ann.receives(page, |_| true).await;
    assert_eq!(next, json!({ "type": "viewer_count", "count": 2 }));
    bob.unsubscribes(page).await;
    let next = ann.receives(page, |_| true).await;
    assert_eq!(next, json!({ "type": "viewer_count", "count": 1 }));
}

#[tokio::test]
async fn a_big_room_is_a_count_and_a_sample() {
    let gateway = start(&[("PRESENCE_LISTED_MAX", "3"), ("PRESENCE_FACES_MAX", "3")]).await;
    let mut ann = Page::of(gateway.address(), "ann").await;
    ann.subscribes(&room(1)).await;
    let mut others = Vec::new();
    for n in 0..5 {
        let mut page = Page::of(gateway.address(), &format!("user-{n}")).await;
        page.subscribes(&room(1)).await;
        others.push(page);
    }
    let big = ann.receives(&room(1), |it| it["count"] == 6).await;
    assert_eq!(
        (&big["type"], &big["summary"]),
        (&json!("presence_update"), &json!(true))
    );
    assert_eq!(big["member_count"], 6);
    assert!(big.get("action").is_none());
}

#[tokio::test]
async fn who_only_looks_is_not_there() {
    let gateway = start(&[]).await;
    let looking = r#"{"channel":"PresenceChannel","room_id":1,"watch":true}"#;
    let mut eve = Page::of(gateway.address(), "eve").await;
    assert!(eve.subscribes(looking).await);
    eve.sees(looking, &[]).await;
    let mut ann = Page::of(gateway.address(), "ann").await;
    ann.subscribes(&room(1)).await;
    eve.sees(looking, &["ann"]).await;
}
