//! Coming back with a `sid`.

use std::time::Duration;

use serde_json::json;

use super::{EXTENDED, Page, room};
use crate::gateway::{start, start_closed};

fn sid(page: &Page) -> String {
    let sid = page.welcome["sid"].as_str().unwrap();
    form_urlencoded::byte_serialize(sid.as_bytes()).collect()
}

#[tokio::test]
async fn who_comes_back_in_time_goes_on_with_what_was_subscribed_and_nobody_notices() {
    let gateway = start(&[]).await;
    let page = r#"{"channel":"PagePresenceChannel","path":"/x"}"#;
    let mut bob = Page::extended(gateway.address(), "bob").await;
    bob.subscribes(&room(1)).await;
    let mut ann = Page::extended(gateway.address(), "ann").await;
    ann.subscribes(&room(1)).await;
    ann.subscribes(page).await;
    bob.sees(&room(1), &["ann", "bob"]).await;
    let target = format!("/cable?user_id=ann&sid={}", sid(&ann));
    drop(ann);
    gateway.is_left_with(1).await;

    let mut ann = Page::at(gateway.address(), &target, EXTENDED).await;
    assert_eq!(ann.welcome["restored"], true);
    assert_eq!(ann.welcome["restored_ids"], json!([room(1), page]));
    ann.sees(&room(1), &["ann", "bob"]).await;
    ann.receives(page, |it| it["count"] == 1).await;
    ann.performs(
        &room(1),
        json!({ "action": "update", "meta": { "name": "A" } }),
    )
    .await;
    let next = bob.receives(&room(1), |it| it["user"]["id"] == "ann").await;
    assert_eq!(next["action"], "user_updated", "neither left nor joined");
    // And as before, unsubscribing is leaving.
    ann.unsubscribes(&room(1)).await;
    bob.sees(&room(1), &["bob"]).await;
    let next = format!("/cable?user_id=ann&sid={}", sid(&ann));
    assert_ne!(next, target);
}

#[tokio::test]
async fn a_sid_is_worth_nothing_to_anybody_else_nor_too_late() {
    let gateway = start(&[("PRESENCE_GRACE", "300ms")]).await;
    let mut bob = Page::of(gateway.address(), "bob").await;
    bob.subscribes(&room(1)).await;
    let mut ann = Page::extended(gateway.address(), "ann").await;
    ann.subscribes(&room(1)).await;
    let sid = sid(&ann);
    drop(ann);
    for target in [
        format!("/cable?user_id=eve&sid={sid}"),
        format!("/cable?user_id=ann&sid=x{sid}"),
        "/cable?user_id=ann&sid=nonsense".to_owned(),
        "/cable?user_id=ann&sid=".to_owned(),
        format!("/cable?user_id=ann&device_id=web:other&sid={sid}"),
    ] {
        let page = Page::at(gateway.address(), &target, EXTENDED).await;
        assert!(page.welcome.get("restored").is_none(), "{target}");
    }
    // Once she has left, the grace time is over.
    bob.receives(&room(1), |it| it["action"] == "user_left")
        .await;
    let target = format!("/cable?user_id=ann&sid={sid}");
    let page = Page::at(gateway.address(), &target, EXTENDED).await;
    assert!(page.welcome.get("restored").is_none());
}

#[tokio::test]
async fn a_token_that_allows_less_restores_less() {
    let gateway = start_closed(&[]).await;
    let hour = Duration::from_secs(3600);
    let all = gateway.token("ann", hour, |_| {});
    let target = format!("/cable?jid={all}");
    let mut ann = Page::at(gateway.address(), &target, EXTENDED).await;
    ann.subscribes(&room(1)).await;
    ann.subscribes(&room(2)).await;
    let sid = sid(&ann);
    drop(ann);
    gateway.is_left_with(0).await;
    let less = gateway.token("ann", hour, |it| it.channels = vec!["room:2".into()]);
    let target = format!("/cable?jid={less}&sid={sid}");
    let ann = Page::at(gateway.address(), &target, EXTENDED).await;
    assert_eq!(ann.welcome["restored_ids"], json!([room(2)]));
}

#[tokio::test]
async fn a_restored_session_leaves_where_nobody_subscribes_again() {
    // The subscriptions are not restored to who speaks the plain protocol meanwhile; the session is not either.
    let gateway = start(&[("PRESENCE_GRACE", "500ms")]).await;
    let mut bob = Page::of(gateway.address(), "bob").await;
    bob.subscribes(&room(1)).await;
    let mut ann = Page::extended(gateway.address(), "ann").await;
    ann.subscribes(&room(1)).await;
    bob.sees(&room(1), &["ann", "bob"]).await;
    let target = format!("/cable?user_id=ann&sid={}", sid(&ann));
    drop(ann);
    let _plain = Page::at(gateway.address(), &target, super::PLAIN).await;
    bob.sees(&room(1), &["bob"]).await;
}
