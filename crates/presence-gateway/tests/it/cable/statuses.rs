//! One's own status, and those of others.

use serde_json::json;

use super::{PLAIN, Page};
use crate::gateway::start;

const OWN: &str = r#"{"channel":"AppearanceChannel"}"#;

#[tokio::test]
async fn a_status_is_set_seen_and_cleared() {
    let gateway = start(&[]).await;
    let watching = r#"{"channel":"StatusChannel","user_ids":["ann","cat"]}"#;
    let mut bob = Page::of(gateway.address(), "bob").await;
    assert!(bob.subscribes(watching).await);
    let nobody = bob.receives(watching, |it| it["user_id"] == "ann").await;
    assert_eq!(
        (&nobody["type"], &nobody["status"]),
        (&json!("status_update"), &json!("offline"))
    );

    let mut ann = Page::of(gateway.address(), "ann").await;
    assert!(ann.subscribes(OWN).await);
    let own = ann.receives(OWN, |_| true).await;
    assert_eq!(
        (&own["type"], &own["status"], &own["shown"]),
        (&json!("own_status"), &json!("online"), &json!("online"))
    );
    bob.receives(watching, |it| {
        it["user_id"] == "ann" && it["status"] == "online"
    })
    .await;

    let status = json!({
        "action": "set_status", "status": "busy", "custom_message": "Deep work", "emoji": "🎯", "clear_after": 3600,
    });
    ann.performs(OWN, status).await;
    let own = ann.receives(OWN, |it| it["status"] == "busy").await;
    assert!(own["expires_at"].as_u64().is_some());
    let seen = bob.receives(watching, |it| it["status"] == "busy").await;
    let expected = json!({
        "type": "status_update", "user_id": "ann", "status": "busy", "custom_message": "Deep work",
        "emoji": "🎯", "last_seen": null,
    });
    assert_eq!(seen, expected);

    ann.performs(
        OWN,
        json!({ "action": "set_status", "message": null, "emoji": null }),
    )
    .await;
    let seen = bob.receives(watching, |it| it["user_id"] == "ann").await;
    assert_eq!(
        (&seen["status"], &seen["custom_message"]),
        (&json!("busy"), &json!(null))
    );
    ann.performs(
        OWN,
        json!({ "action": "update_presence", "status": "online" }),
    )
    .await;
    bob.receives(watching, |it| it["status"] == "online").await;
    ann.performs(OWN, json!({ "action": "away" })).await;
    bob.receives(watching, |it| it["status"] == "away").await;
    ann.performs(OWN, json!({ "action": "appear" })).await;
    bob.receives(watching, |it| it["status"] == "online").await;

    ann.performs(
        OWN,
        json!({ "action": "set_status", "status": "invisible" }),
    )
    .await;
    ann.receives(OWN, |it| {
        it["status"] == "invisible" && it["shown"] == "offline"
    })
    .await;
    let seen = bob.receives(watching, |it| it["user_id"] == "ann").await;
    assert_eq!(seen["status"], "offline");
    assert!(seen["last_seen"].is_u64());
    // Whoever subscribes to their own later is told the truth at once.
    let again = r#"{"channel":"StatusChannel"}"#;
    assert!(ann.subscribes(again).await);
    ann.receives(again, |it| it["status"] == "invisible").await;
}

#[tokio::test]
async fn a_bad_status_is_refused_with_a_reason() {
    let gateway = start(&[]).await;
    let mut ann = Page::of(gateway.address(), "ann").await;
    ann.subscribes(OWN).await;
    for data in [
        json!({ "action": "set_status", "status": "dancing" }),
        json!({ "action": "set_status", "status": 7 }),
        json!({ "action": "set_status", "emoji": "not one" }),
        json!({ "action": "set_status", "clear_after": -1 }),
        json!({ "action": "set_status", "clear_after": 1, "expires_at": 2 }),
        json!({ "action": "set_status", "custom_message": "x".repeat(300) }),
    ] {
        ann.performs(OWN, data.clone()).await;
        let error = ann.receives(OWN, |it| it["type"] == "error").await;
        assert_eq!(error["code"], "invalid", "{data}");
    }
}

#[tokio::test]
async fn a_workspace_is_a_roster_of_who_is_online() {
    let gateway = start(&[]).await;
    let acme = r#"{"channel":"AppearanceChannel","workspace_id":"acme"}"#;
    let target = |user| format!("/cable?user_id={user}&workspace_id=acme");
    let mut ann = Page::at(gateway.address(), &target("ann"), PLAIN).await;
    assert!(ann.subscribes(acme).await);
    ann.sees(acme, &["ann"]).await;
    let bob = Page::at(gateway.address(), &target("bob"), PLAIN).await;
    ann.sees(acme, &["ann", "bob"]).await;
    drop(bob);
}
