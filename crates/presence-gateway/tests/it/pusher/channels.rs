//! Subscriptions: granted, refused, told.

use super::*;

#[tokio::test]
async fn a_presence_channel_says_who_is_there_and_who_comes_and_goes() {
    let gateway = start_with_apps(&[]).await;
    let mut ann = Page::connects(&gateway).await;
    let signed = r#"{"user_id": 10, "user_info":{"name":"Mr. Channels", "é\"":[1]}}"#;
    ann.subscribes("presence-room;1", signed).await;
    let told = ann.hears("pusher_internal:subscription_succeeded").await;
    assert_eq!(told["channel"], "presence-room;1");
    let info = json!({ "name": "Mr. Channels", "é\"": [1] });
    let presence = json!({ "count": 1, "ids": ["10"], "hash": { "10": info } });
    assert_eq!(data(&told), json!({ "presence": presence }));

    let mut bob = Page::enters(&gateway, "bob", "presence-room;1").await;
    let added = ann.hears("pusher_internal:member_added").await;
    assert_eq!(added["channel"], "presence-room;1");
    assert_eq!(data(&added), json!({ "user_id": "bob", "user_info": {} }));
    bob.says(
        "pusher:unsubscribe",
        json!({ "channel": "presence-room;1" }),
    )
    .await;
    let removed = ann.hears("pusher_internal:member_removed").await;
    assert_eq!(data(&removed), json!({ "user_id": "bob" }));
    ann.has_heard_all().await;
    bob.has_heard_all().await;
}

#[tokio::test]
async fn data_may_be_a_string_of_json_as_older_clients_send_them() {
    let gateway = start_with_apps(&[]).await;
    let mut page = Page::connects(&gateway).await;
    page.says("pusher:subscribe", json!(r#"{"channel":"news"}"#))
        .await;
    let told = page.hears("pusher_internal:subscription_succeeded").await;
    assert_eq!(
        (&told["channel"], &told["data"]),
        (&json!("news"), &json!("{}"))
    );
}

#[tokio::test]
async fn a_channel_without_a_roster_says_how_many_listen() {
    let gateway = start_with_apps(&[]).await;
    let mut ann = Page::connects(&gateway).await;
    ann.says("pusher:subscribe", json!({ "channel": "news" }))
        .await;
    ann.hears("pusher_internal:subscription_succeeded").await;
    let count = ann.hears("pusher_internal:subscription_count").await;
    assert_eq!(count["channel"], "news");
    let mut count = data(&count)["subscription_count"].clone();
    let mut bob = Page::connects(&gateway).await;
    bob.says("pusher:subscribe", json!({ "channel": "news" }))
        .await;
    while count != 2 {
        count = data(&ann.hears("pusher_internal:subscription_count").await)["subscription_count"]
            .clone();
    }
    // Once more is no second one.
    ann.says("pusher:subscribe", json!({ "channel": "news" }))
        .await;
    ann.hears("pusher_internal:subscription_succeeded").await;
    ann.has_heard_all().await;
}

#[tokio::test]
async fn signatures_are_for_one_connection_one_channel_and_the_very_data() {
    let gateway = start_with_apps(&[]).await;
    let mut page = Page::connects(&gateway).await;
    let ann = r#"{"user_id":"ann"}"#;
    let other_app = format!(
        "key-of-7:{}",
        sign(OTHER_SECRET, &format!("{}:presence-x:{ann}", page.socket))
    );
    let other_key = page
        .auth(&format!(":presence-x:{ann}"))
        .replace("key-of-3", "key-of-7");
    let other_socket = format!(
        "key-of-3:{}",
        sign(SECRET, &format!("1.1:presence-x:{ann}"))
    );
    for auth in [
        Value::Null,
        json!(""),
        json!("key-of-3"),
        json!("key-of-3:"),
        json!("key-of-3:00"),
        json!(other_app),
        json!(other_key),
        json!(other_socket),
        json!(page.auth(&format!(":presence-y:{ann}"))),
        json!(page.auth(r#":presence-x:{"user_id": "ann"}"#)),
        json!(page.auth(":presence-x")),
    ] {
        let data = json!({ "channel": "presence-x", "auth": auth, "channel_data": ann });
        page.says("pusher:subscribe", data).await;
        page.is_refused("presence-x", 401).await;
    }
    page.says("pusher:subscribe", json!({ "channel": "private-x" }))
        .await;
    page.is_refused("private-x", 401).await;
    let auth = page.auth(":private-x");
    page.says(
        "pusher:subscribe",
        json!({ "channel": "private-x", "auth": auth }),
    )
    .await;
    page.hears("pusher_internal:subscription_succeeded").await;
    // Who says who they are nowhere is nobody.
    let auth = page.auth(":presence-x");
    page.says(
        "pusher:subscribe",
        json!({ "channel": "presence-x", "auth": auth }),
    )
    .await;
    page.hears("pusher_internal:subscription_count").await;
    assert_eq!(
        page.is_refused("presence-x", 400).await,
        "channel_data is missing"
    );
}

#[tokio::test]
async fn names_and_data_that_will_not_do_are_refused_in_words() {
    let gateway = start_with_apps(&[]).await;
    let mut page = Page::connects(&gateway).await;
    for (channel, why) in [
        ("", "the channel has no name"),
        ("presence-", "the channel has no name"),
        ("a b", "a channel's name has no ' '"),
        (
            "presence-room:1",
            "a channel's name has no ':'; presence-room;42 is room:42",
        ),
        ("presence-pusher=2F7=2Fx", "the name is reserved"),
        ("cache-x", "channels do not keep their last event here"),
        (
            "private-cache-x",
            "channels do not keep their last event here",
        ),
        (
            "private-encrypted-cache-x",
            "channels do not keep their last event here",
        ),
        (
            "presence-cache-x",
            "channels do not keep their last event here",
        ),
    ] {
        page.subscribes(channel, r#"{"user_id":"ann"}"#).await;
        assert_eq!(page.is_refused(channel, 400).await, why, "{channel}");
    }
    for data in [
        "",
        "ann",
        "{}",
        r#"{"user_id":""}"#,
        r#"{"user_id":"__proto__"}"#,
        r#"{"user_id":["ann"]}"#,
        r#"{"user_id":"ann","user_info":"text"}"#,
    ] {
        page.subscribes("presence-x", data).await;
        page.is_refused("presence-x", 400).await;
    }
    let long = "x".repeat(129);
    page.subscribes("presence-x", &json!({ "user_id": long }).to_string())
        .await;
    page.is_refused("presence-x", 400).await;
    let big = json!({ "user_id": "ann", "user_info": { "x": "x".repeat(4097) } });
    page.subscribes("presence-x", &big.to_string()).await;
    page.is_refused("presence-x", 413).await;
    page.says(
        "pusher:subscribe",
        json!({ "channel": "#server-to-user-ann" }),
    )
    .await;
    page.is_refused("#server-to-user-ann", 401).await;
    page.says("pusher:unsubscribe", json!({ "channel": "never-was" }))
        .await;
    page.has_heard_all().await;
}

#[tokio::test]
async fn a_page_subscribes_to_as_many_channels_as_a_session_may_be_in() {
    let gateway = start_with_apps(&[("PRESENCE_CHANNELS_MAX", "3")]).await;
    let mut page = Page::connects(&gateway).await;
    for n in 0..3 {
        page.subscribes(&format!("presence-{n}"), r#"{"user_id":"ann"}"#)
            .await;
        page.hears("pusher_internal:subscription_succeeded").await;
    }
    page.subscribes("presence-3", r#"{"user_id":"ann"}"#).await;
    page.is_refused("presence-3", 429).await;
    page.says("pusher:unsubscribe", json!({ "channel": "presence-0" }))
        .await;
    page.subscribes("presence-3", r#"{"user_id":"ann"}"#).await;
    page.hears("pusher_internal:subscription_succeeded").await;
}

#[tokio::test]
async fn who_signs_in_needs_no_data_and_listens_to_their_own_channel() {
    let gateway = start_with_apps(&[]).await;
    let mut ann = Page::connects(&gateway).await;
    let user_data = r#"{"id":"ann", "user_info":{"name":"Ann"}, "watchlist":["bob"]}"#;
    ann.signs_in(user_data).await;
    let told = ann.hears("pusher:signin_success").await;
    assert_eq!(data(&told), json!({ "user_data": user_data }));
    let offline = ann.hears("pusher_internal:watchlist_events").await;
    assert_eq!(
        data(&offline),
        json!({ "events": [{ "name": "offline", "user_ids": ["bob"] }] })
    );

    ann.says(
        "pusher:subscribe",
        json!({ "channel": "#server-to-user-ann" }),
    )
    .await;
    ann.hears("pusher_internal:subscription_succeeded").await;
    ann.says(
        "pusher:subscribe",
        json!({ "channel": "#server-to-user-bob" }),
    )
    .await;
    ann.is_refused("#server-to-user-bob", 401).await;
    let auth = ann.auth(":presence-x");
    ann.says(
        "pusher:subscribe",
        json!({ "channel": "presence-x", "auth": auth }),
    )
    .await;
    let roster = data(&ann.hears("pusher_internal:subscription_succeeded").await);
    assert_eq!(
        roster["presence"]["hash"],
        json!({ "ann": { "name": "Ann" } })
    );

    ann.signs_in(r#"{"id":"bob"}"#).await;
    ann.is_told(None).await;
    let many: Vec<String> = (0..101).map(|n| format!("user-{n}")).collect();
    ann.signs_in(&json!({ "id": "ann", "watchlist": many }).to_string())
        .await;
    ann.hears("pusher:signin_success").await;
    ann.is_told(Some(4302)).await;

    let mut bob = Page::connects(&gateway).await;
    bob.signs_in(r#"{"id":"bob"}"#).await;
    bob.hears("pusher:signin_success").await;
    let online = ann.hears("pusher_internal:watchlist_events").await;
    assert_eq!(
        data(&online),
        json!({ "events": [{ "name": "online", "user_ids": ["bob"] }] })
    );
    for bad in ["{}", r#"{"id":7}"#, r#"{"id":"a b"}"#] {
        bob.signs_in(bad).await;
        bob.is_told(None).await;
    }
}

impl Page {
    async fn signs_in(&mut self, user_data: &str) {
        let auth = self.auth(&format!("::user::{user_data}"));
        self.says(
            "pusher:signin",
            json!({ "auth": auth, "user_data": user_data }),
        )
        .await;
    }
}

#[tokio::test]
async fn signed_workspaces_are_those_of_a_token() {
    let gateway = start_with_apps(&[]).await;
    let mut page = Page::connects(&gateway).await;
    page.subscribes("presence-x", r#"{"user_id":"ann","workspaces":["acme"]}"#)
        .await;
    page.hears("pusher_internal:subscription_succeeded").await;
    let answer = crate::raw::get(
        gateway.address(),
        "/api/presence/workspace/acme/online?user_id=eve&workspace_id=acme",
    )
    .await;
    let online: Value = serde_json::from_str(crate::raw::body(&answer)).unwrap();
    assert_eq!(online["total"], 1, "{online}");
}
