//! A page of somebody who hides counts nowhere.

use super::api::Server;
use super::*;

/// How many subscriptions of `news` the server is told of.
async fn count(server: &Server) -> String {
    let (status, answer) = server.get("channels/news", "info=subscription_count").await;
    assert_eq!(status, 200);
    answer
}

async fn becomes(server: &Server, expected: &str) {
    let counted = async {
        while count(server).await != expected {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    crate::gateway::soon(expected, counted).await;
}

async fn ann_chooses(gateway: &Running, status: &str) {
    let mut ann = Raw::connect(gateway.address(), "ann").await;
    ann.text(&json!({ "type": "presence:status", "ref": 1, "status": status }).to_string())
        .await;
    ann.answer(1).await;
    ann.text(r#"{"type":"presence:leave"}"#).await;
}

const NOBODY: &str = r#"{"occupied":false,"subscription_count":0}"#;
const ONE: &str = r#"{"occupied":true,"subscription_count":1}"#;
const TWO: &str = r#"{"occupied":true,"subscription_count":2}"#;

#[tokio::test]
async fn the_page_of_whoever_hides_counts_in_no_channel() {
    let gateway = start_with_apps(&[]).await;
    let server = Server::of(&gateway);
    ann_chooses(&gateway, "invisible").await;

    // Who hides already: not for a moment.
    let mut ann = Page::enters(&gateway, "ann", "presence-room;1").await;
    ann.says("pusher:subscribe", json!({ "channel": "news" }))
        .await;
    ann.hears("pusher_internal:subscription_succeeded").await;
    assert_eq!(count(&server).await, NOBODY);
    let channels = server.get("channels", "").await.1;
    assert_eq!(channels, r#"{"channels":{}}"#);

    // Others count as ever.
    let mut bob = Page::connects(&gateway).await;
    bob.says("pusher:subscribe", json!({ "channel": "news" }))
        .await;
    bob.hears("pusher_internal:subscription_succeeded").await;
    let told = bob.hears("pusher_internal:subscription_count").await;
    assert_eq!(data(&told)["subscription_count"], 1);
    becomes(&server, ONE).await;

    // Coming out is coming, and hiding again is leaving.
    ann_chooses(&gateway, "online").await;
    becomes(&server, TWO).await;
    while data(&bob.hears("pusher_internal:subscription_count").await)["subscription_count"] != 2 {}
    ann_chooses(&gateway, "invisible").await;
    becomes(&server, ONE).await;

    // Once nobody is on the page who hides, it counts.
    ann.says(
        "pusher:unsubscribe",
        json!({ "channel": "presence-room;1" }),
    )
    .await;
    becomes(&server, TWO).await;
}

#[tokio::test]
async fn a_page_that_counts_counts_no_more_once_somebody_on_it_hides() {
    let gateway = start_with_apps(&[]).await;
    let server = Server::of(&gateway);
    let mut ann = Page::connects(&gateway).await;
    ann.says("pusher:subscribe", json!({ "channel": "news" }))
        .await;
    becomes(&server, ONE).await;
    ann.subscribes("presence-room;1", &json!({ "user_id": "ann" }).to_string())
        .await;
    becomes(&server, ONE).await;
    ann_chooses(&gateway, "invisible").await;
    becomes(&server, NOBODY).await;
    ann_chooses(&gateway, "online").await;
    becomes(&server, ONE).await;
}
