//! The lists for operators, and ending a connection.

use serde_json::{Value, json};

use super::support::{Caller, Socket};
use crate::gateway::{Running, soon, start, start_closed};

fn admin(gateway: &Running) -> Caller<'_> {
    Caller::with(gateway, "operator", &["admin"], &[])
}

/// The ids and counts of a page of channels.
fn counts(page: &Value) -> Vec<(&str, u64)> {
    let channels = page["channels"].as_array().unwrap().iter();
    channels
        .map(|it| (it["id"].as_str().unwrap(), it["count"].as_u64().unwrap()))
        .collect()
}

#[tokio::test]
async fn channels_are_listed_with_exact_counts_in_pages() {
    let gateway = start_closed(&[]).await;
    let (mut ann, mut bob) = (
        Socket::of(&gateway, "ann").await,
        Socket::of(&gateway, "bob").await,
    );
    for channel in ["room:1", "room:2", "page:/a"] {
        ann.says(&format!(
            r#"{{"type":"presence:join","channel":"{channel}"}}"#
        ))
        .await;
    }
    bob.says(r#"{"type":"presence:join","channel":"room:2"}"#)
        .await;
    let reader = Caller::with(&gateway, "service", &["read"], &[]);
    let all = reader.get("/api/presence/channels").await.ok();
    assert_eq!(counts(&all), [("page:/a", 1), ("room:1", 1), ("room:2", 2)]);
    let rooms = reader
        .get("/api/presence/channels?prefix=room:&limit=1&offset=1")
        .await
        .ok();
    assert_eq!(counts(&rooms), [("room:2", 2)]);
    assert_eq!((&rooms["total"], &rooms["limit"]), (&json!(2), &json!(1)));
    let none = reader.get("/api/presence/channels?prefix=nobody").await;
    assert_eq!(none.ok()["total"], 0);

    let usual = Caller::of(&gateway, "eve");
    let refused = usual.get("/api/presence/channels").await;
    refused.refused(403, "forbidden");
    let error = reader.get("/api/presence/channels?limit=0").await;
    assert_eq!(error.refused(400, "invalid")["field"], "limit");
}

/// Without `admin` the lists of a gateway with a hidden user are those of one where the user is not.
#[tokio::test]
async fn who_hides_is_in_no_list_and_in_no_count() {
    let mut answers = Vec::new();
    for hides in [true, false] {
        let settings = [("PRESENCE_RATE_QUERY", "1000/s burst 1000")];
        let gateway = start_closed(&settings).await;
        let mut ann = Socket::of(&gateway, "ann").await;
        ann.says(r#"{"type":"presence:join","channel":"room:1"}"#)
            .await;
        let mut bob = None;
        if hides {
            let mut it = Socket::of(&gateway, "bob").await;
            it.says(r#"{"type":"presence:status","status":"invisible"}"#)
                .await;
            for channel in ["room:1", "room:2"] {
                it.says(&format!(
                    r#"{{"type":"presence:join","channel":"{channel}"}}"#
                ))
                .await;
            }
            bob = Some(it);
        }
        let mut found = Vec::new();
        for scopes in [&["read"][..], &["watch", "join"], &["act"], &["status"]] {
            let caller = Caller::with(&gateway, "service", scopes, &[]);
            found.extend(findings(&caller).await);
        }
        found.extend(findings(&Caller::nobody(&gateway)).await);
        answers.push(found);
        drop(bob);
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0][0].contains("room:1") && !answers[0][0].contains("room:2"));
}

/// All that whoever is no operator is answered about bob and the rooms he may be in.
async fn findings(caller: &Caller<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for path in [
        "channels",
        "channels?prefix=room:2",
        "channel/room:2/count",
        "nodes",
        "connections?user_id=bob",
        "connections?channel_id=room:2&dialect=native",
        "users/bob/explain",
        "channel/room:2/explain",
    ] {
        let reply = caller.get(&format!("/api/presence/{path}")).await;
        found.push(format!("{path}: {:?}", reply.everything()));
    }
    for (path, body) in [
        ("9f86d081884c7d65/disconnect", json!({})),
        ("disconnect", json!({"user_id": "bob"})),
        ("disconnect", json!({"channel_id": "room:2"})),
        ("disconnect", json!({})),
    ] {
        let path = format!("/api/presence/connections/{path}");
        let reply = caller.post(&path, body).await;
        found.push(format!("{path}: {:?}", reply.everything()));
    }
    found
}

#[tokio::test]
async fn connections_are_listed_and_can_be_ended() {
    let settings = [
        ("NODE_NAME", "gateway-1"),
        ("PRESENCE_RATE_QUERY", "1000/s burst 1000"),
    ];
    let gateway = start_closed(&settings).await;
    let mut ann = Socket::of(&gateway, "ann").await;
    let mut tab = Socket::of(&gateway, "ann").await;
    let mut bob = Socket::of(&gateway, "bob").await;
    ann.says(r#"{"type":"presence:join","channel":"room:1"}"#)
        .await;
    bob.says(r#"{"type":"presence:status","status":"invisible"}"#)
        .await;
    let admin = admin(&gateway);
    let listed = async |query: &str| {
        let page = admin
            .get(&format!("/api/presence/connections{query}"))
            .await;
        page.ok()
    };
    let all = listed("").await;
    assert_eq!(
        (&all["gateway"], &all["total"]),
        (&json!("gateway-1"), &json!(3))
    );
    for (query, total) in [
        ("?user_id=ann", 2),
        ("?user_id=bob", 1),
        ("?user_id=eve", 0),
        ("?channel_id=room:1", 1),
        ("?dialect=native", 3),
        ("?dialect=pusher", 0),
        ("?gateway=gateway-1", 3),
        ("?user_id=ann&channel_id=room:1", 1),
    ] {
        assert_eq!(listed(query).await["total"], total, "{query}");
    }
    // Pages have everything once.
    let mut ids = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = listed(&query).await;
        let connections = page["connections"].as_array().unwrap();
        ids.extend(
            connections
                .iter()
                .map(|it| it["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => query = format!("?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(ids.len(), 3);
    assert!(ids.is_sorted());

    for (query, field) in [
        ("?dialect=esperanto", "dialect"),
        ("?user_id=a%20b", "user_id"),
        ("?channel_id=a%20b", "channel_id"),
        ("?after=x", "after"),
        ("?limit=0", "limit"),
        ("?offset=1", "offset"),
        ("?gateway=gateway-2", "gateway"),
    ] {
        let error = admin
            .get(&format!("/api/presence/connections{query}"))
            .await;
        assert_eq!(error.refused(400, "invalid")["field"], field, "{query}");
    }

    let of_bob = listed("?user_id=bob").await;
    let id = of_bob["connections"][0]["id"].as_str().unwrap();
    let end = format!("/api/presence/connections/{id}/disconnect");
    let bad = admin
        .call("POST", &format!("{end}?reconnect=maybe"), None)
        .await;
    assert_eq!(bad.refused(400, "invalid")["field"], "reconnect");
    let ended = admin.call("POST", &end, None).await.ok();
    let here = json!({"name": "gateway-1", "id": null, "count": 1});
    let expected = json!({"disconnected": true, "gateways": [here], "silent": []});
    assert_eq!(ended, expected);
    let closing = bob.hears("presence:closing").await;
    assert_eq!(closing["reconnect"], true);
    bob.is_over().await;

    let of_room = listed("?channel_id=room:1").await;
    let id = of_room["connections"][0]["id"].as_str().unwrap();
    let end = format!("/api/presence/connections/{id}/disconnect?reconnect=false");
    admin.call("POST", &end, None).await.ok();
    let closing = ann.hears("presence:closing").await;
    assert_eq!(closing["reconnect"], false);
    ann.is_over().await;
    let gone = async {
        loop {
            let again = admin.call("POST", &end, None).await.ok();
            if again["disconnected"] == false {
                break;
            }
        }
    };
    soon("the end of the connection", gone).await;
    // The session has ended: nobody is held in the room for the grace time.
    let count = admin.get("/api/presence/channel/room:1/count").await.ok();
    assert_eq!(count["count"], 0);
    // The other tab is still there.
    tab.says(r#"{"type":"presence:heartbeat"}"#).await;
}

#[tokio::test]
async fn a_gateway_that_is_alone_lists_itself() {
    let gateway = start_closed(&[("NODE_NAME", "gateway-1")]).await;
    let nodes = admin(&gateway).get("/api/presence/nodes").await.ok();
    let me = json!({"name": "gateway-1", "id": null, "state": "alive", "lease_until": null, "is_me": true});
    assert_eq!(nodes, json!({"nodes": [me], "store": "none"}));
    let reader = Caller::with(&gateway, "service", &["read"], &[]);
    reader
        .get("/api/presence/nodes")
        .await
        .refused(403, "forbidden");
}

/// Without a key everybody is an admin, and whoever hides stays hidden.
#[tokio::test]
async fn a_gateway_without_a_key_shows_no_connections() {
    let gateway = start(&[]).await;
    let nobody = Caller::nobody(&gateway);
    let refused = nobody.get("/api/presence/connections").await;
    refused.refused(403, "forbidden");
    nobody.get("/api/presence/channels").await.ok();
    nobody.get("/api/presence/nodes").await.ok();
}
