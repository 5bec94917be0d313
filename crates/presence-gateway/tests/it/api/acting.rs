//! What services do for users, and what an admin does to them.

use std::time::Duration;

use serde_json::json;

use super::support::{Caller, Socket};
use crate::gateway::{soon, start, start_closed};

const ROOM: &str = "/api/presence/channel/room:42";

#[tokio::test]
async fn a_service_puts_a_user_into_a_channel_and_takes_them_out() {
    let gateway = start_closed(&[]).await;
    let scopes = ["join", "watch", "broadcast", "act"];
    let service = Caller::with(&gateway, "service", &scopes, &["room:*"]);
    let call = async |action: &str, body| service.post(&format!("{ROOM}/{action}"), body).await;
    let bob = json!({"user_id": "bob"});

    call("heartbeat", bob.clone())
        .await
        .refused(409, "not_joined");
    let meta = json!({"name": "Bob", "role": "editor", "color": "#e11d48"});
    let join = json!({"user_id": "bob", "device_id": "mobile:ios_xyz", "meta": meta});
    assert_eq!(
        call("join", join).await.ok(),
        json!({"ok": true, "expires_in": 60})
    );
    let page = service.get(&format!("{ROOM}/viewers")).await.ok();
    let viewer = &page["users"][0];
    // The name in the token is the service's, and stays with it.
    assert_eq!(
        (&viewer["id"], &viewer["name"]),
        (&json!("bob"), &json!("Bob"))
    );
    assert_eq!(viewer["color"], "#e11d48");
    assert_eq!(viewer["metas"][0]["device"], "mobile");
    assert_eq!(viewer["metas"][0]["meta"], meta);
    assert_eq!(
        call("heartbeat", bob.clone()).await.ok(),
        json!({"ok": true, "expires_in": 60})
    );

    let count = async || service.get(&format!("{ROOM}/count")).await.ok()["count"].clone();
    assert_eq!(count().await, 1);
    assert_eq!(call("leave", bob.clone()).await.ok(), json!({"ok": true}));
    assert_eq!(count().await, 0);
    assert_eq!(
        call("leave", bob.clone()).await.ok(),
        json!({"ok": true}),
        "again"
    );
    call("broadcast", json!({"user_id": "bob", "event": "x"}))
        .await
        .refused(409, "not_joined");
}

#[tokio::test]
async fn a_user_whom_no_service_speaks_of_any_more_is_gone() {
    let ttl = [("HEARTBEAT_INTERVAL", "200ms"), ("PRESENCE_TTL", "1s")];
    let gateway = start(&ttl).await;
    let nobody = Caller::nobody(&gateway);
    let bob = json!({"user_id": "bob"});
    let answer = nobody.post(&format!("{ROOM}/join"), bob.clone()).await.ok();
    assert_eq!(answer["expires_in"], 1);
    soon("an empty room", async {
        while nobody.get(&format!("{ROOM}/count")).await.ok()["count"] != 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    nobody
        .post(&format!("{ROOM}/heartbeat"), bob)
        .await
        .refused(409, "not_joined");
}

#[tokio::test]
async fn a_service_puts_a_thousand_users_into_a_channel_in_one_call() {
    let ttl = [("HEARTBEAT_INTERVAL", "500ms"), ("PRESENCE_TTL", "4s")];
    let gateway = start_closed(&ttl).await;
    let service = Caller::with(&gateway, "service", &["join", "watch", "act"], &["room:*"]);
    let call = async |action: &str, body| service.post(&format!("{ROOM}/{action}"), body).await;
    let count = async || service.get(&format!("{ROOM}/count")).await.ok()["count"].clone();
    let ids: Vec<String> = (0..1000).map(|n| format!("user-{n}")).collect();
    let users = ids
        .iter()
        .map(|id| json!({"user_id": id, "device_id": "mobile:1", "meta": {"name": id}}));
    let body = json!({"users": users.collect::<Vec<_>>()});
    let done = ids.iter().map(|id| json!({"user_id": id, "ok": true}));
    let done = json!({"results": done.collect::<Vec<_>>(), "expires_in": 4});
    assert_eq!(call("bulk-join", body).await.ok(), done);
    assert_eq!(count().await, 1000);
    let viewers = service
        .get(&format!("{ROOM}/viewers?order=name&limit=1"))
        .await
        .ok();
    let viewer = &viewers["users"][0];
    assert_eq!(
        (&viewer["id"], &viewer["name"]),
        (&json!("user-0"), &json!("user-0"))
    );
    assert_eq!(viewer["metas"][0]["device"], "mobile");

    // Those who are still spoken of stay, and nobody else does.
    let stay = json!({"user_ids": ids[..500]});
    let done = ids[..500]
        .iter()
        .map(|id| json!({"user_id": id, "ok": true}));
    let done = json!({"results": done.collect::<Vec<_>>(), "expires_in": 4});
    soon("half of them", async {
        loop {
            assert_eq!(call("bulk-heartbeat", stay.clone()).await.ok(), done);
            if count().await == 500 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    })
    .await;
    let body = json!({"user_ids": ["user-999", "user-0"]});
    let why = json!({"code": "not_joined", "message": "join the channel first"});
    let results = json!([
        {"user_id": "user-999", "ok": false, "error": why},
        {"user_id": "user-0", "ok": true}
    ]);
    assert_eq!(call("bulk-heartbeat", body).await.ok()["results"], results);
}

#[tokio::test]
async fn of_many_users_each_has_a_result_and_a_mistake_refuses_all() {
    let gateway = start_closed(&[("PRESENCE_CHANNELS_MAX", "1")]).await;
    let service = Caller::with(&gateway, "service", &["join", "watch", "act"], &["room:*"]);
    let post = async |path: &str, body| {
        let path = format!("/api/presence/channel/{path}");
        service.post(&path, body).await
    };
    let count = async || service.get(&format!("{ROOM}/count")).await.ok()["count"].clone();
    post("room:1/join", json!({"user_id": "bob"})).await.ok();
    let body = json!({"users": [
        {"user_id": "ann", "meta": {"name": "Ann"}},
        {"user_id": "bob"},
        {"user_id": "ann", "meta": {"name": "Anna"}},
    ]});
    let why = json!({"code": "too_many", "message": "at most 1 channels of one session"});
    let ann = json!({"user_id": "ann", "ok": true});
    let results = json!([ann, {"user_id": "bob", "ok": false, "error": why}, ann]);
    assert_eq!(
        post("room:42/bulk-join", body).await.ok()["results"],
        results
    );
    let viewers = service.get(&format!("{ROOM}/viewers")).await.ok();
    assert_eq!(
        (&viewers["total"], &viewers["users"][0]["name"]),
        (&json!(1), &json!("Anna"))
    );

    let many = |n: usize| vec![json!({"user_id": "eve"}); n];
    for (users, status, code, field) in [
        (json!([]), 400, "invalid", "users"),
        (json!(many(1001)), 400, "invalid", "users"),
        (
            json!([{"user_id": "eve"}, {"user_id": "a b"}]),
            400,
            "invalid",
            "users[1].user_id",
        ),
        (
            json!([{"user_id": "eve", "device_id": ""}]),
            400,
            "invalid",
            "users[0].device_id",
        ),
        (
            json!([{"user_id": "eve"}, {"user_id": "eva", "meta": []}]),
            400,
            "invalid",
            "users[1].meta",
        ),
        (
            json!([{"user_id": "eve"}, {"meta": {}}]),
            400,
            "invalid",
            "user_id",
        ),
        (
            json!([{"user_id": "eve"}, {"user_id": "eva", "meta": {"x": "x".repeat(5000)}}]),
            413,
            "too_large",
            "users[1].meta",
        ),
    ] {
        let answer = post("room:42/bulk-join", json!({"users": users})).await;
        let error = answer.refused(status, code);
        assert_eq!(error["field"], field, "{error}");
    }
    for ids in [json!([]), json!(["a b"]), json!(vec!["eve"; 1001])] {
        let answer = post("room:42/bulk-heartbeat", json!({"user_ids": ids})).await;
        let error = answer.refused(400, "invalid");
        assert_eq!(error["field"], "user_ids");
    }
    assert_eq!(count().await, 1, "nobody of those has joined");

    let eve = Caller::of(&gateway, "eve");
    for (action, body, field) in [
        (
            "bulk-join",
            json!({"users": [{"user_id": "eve"}, {"user_id": "bob"}]}),
            "users[1].user_id",
        ),
        (
            "bulk-heartbeat",
            json!({"user_ids": ["eve", "bob"]}),
            "user_ids",
        ),
    ] {
        let answer = eve.post(&format!("{ROOM}/{action}"), body.clone()).await;
        assert_eq!(answer.refused(403, "forbidden")["field"], field);
        let answer = post(&format!("board:1/{action}"), body).await;
        answer.refused(403, "forbidden");
    }
    let body = json!({"users": [{"user_id": "eve"}]});
    eve.post(&format!("{ROOM}/bulk-join"), body).await.ok();
    let viewers = eve
        .get(&format!("{ROOM}/viewers?after=&order=name"))
        .await
        .ok();
    assert_eq!(viewers["users"][1]["name"], "The real eve");
}

#[tokio::test]
async fn what_a_service_tells_a_channel_is_heard_there() {
    let gateway = start_closed(&[]).await;
    let mut ann = Socket::of(&gateway, "ann").await;
    ann.says(r#"{"type":"presence:join","channel":"room:42"}"#)
        .await;
    let service = Caller::with(
        &gateway,
        "service",
        &["join", "broadcast", "act"],
        &["room:*"],
    );
    service
        .post(&format!("{ROOM}/join"), json!({"user_id": "bob"}))
        .await
        .ok();
    let body = json!({"user_id": "bob", "event": "reaction", "payload": {"emoji": "🎉"}});
    service.post(&format!("{ROOM}/broadcast"), body).await.ok();
    let heard = ann.hears("presence:broadcast").await;
    assert_eq!(
        (&heard["user_id"], &heard["event"]),
        (&json!("bob"), &json!("reaction"))
    );
    assert_eq!(heard["payload"], json!({"emoji": "🎉"}));
}

#[tokio::test]
async fn to_act_for_others_takes_the_scope_and_the_channel() {
    let gateway = start_closed(&[]).await;
    let bob = json!({"user_id": "bob"});
    let eve = Caller::of(&gateway, "eve");
    let error = eve
        .post(&format!("{ROOM}/join"), bob.clone())
        .await
        .refused(403, "forbidden");
    assert_eq!(error["field"], "user_id");
    eve.post(&format!("{ROOM}/join"), json!({"user_id": "eve"}))
        .await
        .ok();
    let viewers = eve.get(&format!("{ROOM}/viewers")).await.ok();
    assert_eq!(viewers["users"][0]["name"], "The real eve");

    let elsewhere = Caller::with(&gateway, "service", &["join", "act"], &["board:*"]);
    elsewhere
        .post(&format!("{ROOM}/join"), bob.clone())
        .await
        .refused(403, "forbidden");
    let mute = Caller::with(&gateway, "service", &["join", "act"], &["room:*"]);
    mute.post(&format!("{ROOM}/join"), bob).await.ok();
    let body = json!({"user_id": "bob", "event": "x"});
    mute.post(&format!("{ROOM}/broadcast"), body)
        .await
        .refused(403, "forbidden");
}

#[tokio::test]
async fn without_tokens_everybody_may_act() {
    let gateway = start(&[]).await;
    let nobody = Caller::nobody(&gateway);
    nobody
        .post(&format!("{ROOM}/join"), json!({"user_id": "bob"}))
        .await
        .ok();
    assert_eq!(nobody.get(&format!("{ROOM}/count")).await.ok()["count"], 1);
    nobody
        .post("/api/presence/users/bob/kick", json!(null))
        .await
        .ok();
    assert_eq!(nobody.get(&format!("{ROOM}/count")).await.ok()["count"], 0);
    nobody.get("/api/presence/users/bob?user_id=bob").await.ok();
}

#[tokio::test]
async fn a_user_with_too_many_sessions_is_refused_with_the_limit() {
    let gateway = start_closed(&[("PRESENCE_SESSIONS_MAX", "1")]).await;
    let _socket = Socket::of(&gateway, "ann").await;
    let ann = Caller::of(&gateway, "ann");
    let reply = ann
        .post(&format!("{ROOM}/join"), json!({"user_id": "ann"}))
        .await;
    let error = reply.refused(409, "too_many");
    assert_eq!(error["message"], "at most 1 sessions of one user");
}

#[tokio::test]
async fn a_meta_that_is_too_big_is_refused() {
    let gateway = start_closed(&[]).await;
    let ann = Caller::of(&gateway, "ann");
    let body = json!({"user_id": "ann", "meta": {"text": "x".repeat(5000)}});
    let error = ann
        .post(&format!("{ROOM}/join"), body)
        .await
        .refused(413, "too_large");
    assert_eq!(error["field"], "meta");
    let body = json!({"user_id": "ann", "meta": [1]});
    let error = ann
        .post(&format!("{ROOM}/join"), body)
        .await
        .refused(400, "invalid");
    assert_eq!(error["field"], "meta");
}

#[tokio::test]
async fn who_is_kicked_is_gone_and_needs_a_newer_token() {
    let gateway = start_closed(&[("PRESENCE_JWT_LEEWAY", "0s")]).await;
    let mut socket = Socket::of(&gateway, "ann").await;
    let ann = Caller::of(&gateway, "ann");
    ann.post("/api/presence/users/ann/kick", json!(null))
        .await
        .refused(403, "forbidden");
    let admin = Caller::with(&gateway, "root", &["admin"], &[]);
    admin
        .post("/api/presence/users/ann/kick", json!(null))
        .await
        .ok();
    socket.is_over().await;
    ann.get("/api/presence/users/ann")
        .await
        .refused(401, "unauthorized");
    assert_eq!(
        admin.get("/api/presence/users/ann").await.ok()["devices"],
        json!([])
    );
    admin
        .post("/api/presence/users/ann/kick", json!(null))
        .await
        .ok();
    // Tokens say the second in which they were made.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    Caller::of(&gateway, "ann")
        .get("/api/presence/users/ann")
        .await
        .ok();
}

#[tokio::test]
async fn who_is_erased_is_gone_with_everything_that_was_kept() {
    let gateway = start_closed(&[]).await;
    let mut socket = Socket::of(&gateway, "ann").await;
    let ann = Caller::of(&gateway, "ann");
    let status = json!({"status": "busy", "custom_message": "secret", "emoji": "🎯"});
    ann.put("/api/presence/users/ann/status", status).await.ok();
    let path = "/api/presence/users/ann";
    ann.call("DELETE", path, None)
        .await
        .refused(403, "forbidden");
    let admin = Caller::with(&gateway, "root", &["admin"], &[]);
    assert_eq!(admin.call("DELETE", path, None).await.status, 204);
    socket.is_over().await;
    let left = admin.get(path).await.ok();
    assert_eq!(
        (&left["status"], &left["custom_message"], &left["emoji"]),
        (&json!("online"), &json!(null), &json!(null))
    );
    assert_eq!(left["last_seen"], json!(null));
    assert_eq!(left["devices"], json!([]));
    // Again, and for somebody nobody has heard of, it is the same.
    for path in [path, "/api/presence/users/nobody-knows"] {
        assert_eq!(admin.call("DELETE", path, None).await.status, 204);
    }
    ann.get(path).await.refused(401, "unauthorized");
    // Whoever comes back is somebody new.
    let _socket = Socket::of(&gateway, "bob").await;
    assert_eq!(admin.get(path).await.ok()["custom_message"], json!(null));
}
