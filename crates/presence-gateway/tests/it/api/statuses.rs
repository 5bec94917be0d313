//! What users choose, and what others see of it.

use serde_json::{Value, json};

use super::support::{Caller, Socket, send};
use crate::gateway::{config, now, start, start_closed};
use presence_gateway::Gateway;
use presence_gateway::config::DataDir;

#[tokio::test]
async fn put_replaces_patch_merges_and_null_clears() {
    let gateway = start_closed(&[]).await;
    let ann = Caller::of(&gateway, "ann");
    let path = "/api/presence/users/ann/status";
    let set = |state: &Value| {
        ["status", "custom_message", "emoji"]
            .map(|key| state[key].as_str().unwrap_or("-").to_owned())
    };

    let state = ann
        .put(path, json!({"status": "busy", "custom_message": " Deep work ", "emoji": "🎯", "clear_after": 3600}))
        .await
        .ok();
    assert_eq!(set(&state), ["busy", "Deep work", "🎯"]);
    let in_an_hour = now().as_millis() / 1000 + 3600;
    let expires_at = state["expires_at"].as_u64().unwrap();
    assert!(
        (in_an_hour - 5..=in_an_hour + 1).contains(&expires_at),
        "{state}"
    );

    let state = ann.patch(path, json!({"custom_message": null})).await.ok();
    assert_eq!(set(&state), ["busy", "-", "🎯"]);
    assert_eq!(state["expires_at"], expires_at);
    let state = ann.patch(path, json!({})).await.ok();
    assert_eq!(set(&state), ["busy", "-", "🎯"]);

    let state = ann.put(path, json!({"status": "away"})).await.ok();
    assert_eq!(set(&state), ["away", "-", "-"]);
    assert_eq!(state["expires_at"], Value::Null);
    let state = ann
        .patch(path, json!({"status": null, "emoji": "☕"}))
        .await
        .ok();
    assert_eq!(set(&state), ["online", "-", "☕"]);
}

#[tokio::test]
async fn the_same_request_with_a_moment_changes_nothing() {
    let gateway = start_closed(&[]).await;
    let ann = Caller::of(&gateway, "ann");
    let body = json!({"status": "busy", "expires_at": now().as_millis() / 1000 + 600});
    let first = ann
        .put("/api/presence/users/ann/status", body.clone())
        .await
        .ok();
    let second = ann
        .put("/api/presence/users/ann/status", body.clone())
        .await
        .ok();
    assert_eq!(first, second);
    assert_eq!(second["expires_at"], body["expires_at"]);
}

#[tokio::test]
async fn a_mistake_is_refused_by_name_and_changes_nothing() {
    let gateway = start_closed(&[("PRESENCE_RATE_STATUS", "100/s burst 100")]).await;
    let ann = Caller::of(&gateway, "ann");
    let path = "/api/presence/users/ann/status";
    let now = now().as_millis() / 1000;
    for (body, field) in [
        (json!({"custom_message": "x"}), "status"),
        (json!({"status": null}), "status"),
        (json!({"status": "sleeping"}), "status"),
        (
            json!({"status": "busy", "custom_mesage": "x"}),
            "custom_mesage",
        ),
        (
            json!({"status": "busy", "custom_message": "x".repeat(257)}),
            "custom_message",
        ),
        (
            json!({"status": "busy", "custom_message": "a\nb"}),
            "custom_message",
        ),
        (json!({"status": "busy", "emoji": "abc"}), "emoji"),
        (json!({"status": "busy", "clear_after": -1}), "clear_after"),
        (json!({"status": "busy", "clear_after": 0}), "clear_after"),
        (json!({"status": "busy", "clear_after": 1.5}), "clear_after"),
        (
            json!({"status": "busy", "clear_after": u64::MAX}),
            "clear_after",
        ),
        (json!({"status": "busy", "expires_at": now}), "expires_at"),
        (
            json!({"status": "busy", "expires_at": now * 1000}),
            "expires_at",
        ),
        (
            json!({"status": "busy", "expires_at": u64::MAX}),
            "expires_at",
        ),
        (
            json!({"status": "busy", "clear_after": 60, "expires_at": now + 60}),
            "expires_at",
        ),
    ] {
        let error = ann.put(path, body.clone()).await.refused(400, "invalid");
        assert_eq!(error["field"], field, "{body}: {error}");
        assert!(
            error["message"].as_str().unwrap().contains(field),
            "{error}"
        );
    }
    assert_eq!(ann.get("/api/presence/users/ann").await.ok()["revision"], 0);
}

#[tokio::test]
async fn a_status_is_kept_before_it_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let path = "/api/presence/users/ann?user_id=ann";
    let on_disk = async || {
        let mut config = config(&[]);
        config.data_dir = DataDir::Folder(folder.path().to_owned());
        Gateway::start(config).await.unwrap()
    };
    let gateway = on_disk().await;
    let words =
        json!({"status": "busy", "custom_message": "Bin gleich zurück – 会議中", "emoji": "👩‍👩‍👧‍👦"});
    let target = "/api/presence/users/ann/status?user_id=ann";
    let headers = [("content-type", "application/json")];
    let body = words.to_string();
    let before = send(gateway.address(), "PUT", target, &headers, body.as_bytes())
        .await
        .ok();
    gateway.stop().await;
    drop(gateway);
    let gateway = on_disk().await;
    let after = send(gateway.address(), "GET", path, &[], b"").await.ok();
    assert_eq!(before, after);
    assert_eq!(after["custom_message"], words["custom_message"]);
}

#[tokio::test]
async fn the_status_of_somebody_else_is_changed_by_those_who_act_only() {
    let gateway = start_closed(&[]).await;
    let path = "/api/presence/users/ann/status";
    let busy = json!({"status": "busy"});
    Caller::of(&gateway, "bob")
        .put(path, busy.clone())
        .await
        .refused(403, "forbidden");
    let service = Caller::with(&gateway, "service", &["status", "act"], &[]);
    assert_eq!(service.put(path, busy.clone()).await.ok()["status"], "busy");
    let mute = Caller::with(&gateway, "ann", &["join", "watch"], &[]);
    mute.put(path, busy).await.refused(403, "forbidden");
}

#[tokio::test]
async fn who_is_invisible_is_in_no_answer_but_their_own() {
    let gateway = start_closed(&[]).await;
    let ann = Caller::of(&gateway, "ann");
    let bob = Caller::of(&gateway, "bob");
    let mut socket = Socket::of(&gateway, "ann").await;
    socket
        .says(r#"{"type":"presence:join","channel":"room:42"}"#)
        .await;
    socket
        .says(r#"{"type":"presence:typing","channel":"room:42","typing":true}"#)
        .await;

    let seen = bob.get("/api/presence/users/ann").await.ok();
    assert_eq!(seen["status"], "online");
    assert_eq!(seen["last_seen"], Value::Null);
    assert_eq!(seen["devices"], json!([{"kind": "web"}]));
    let typing = bob.get("/api/presence/channel/room:42/typing").await.ok();
    assert_eq!(typing, json!({"users": ["ann"]}));

    let state = ann
        .put(
            "/api/presence/users/ann/status",
            json!({"status": "invisible"}),
        )
        .await
        .ok();
    assert_eq!(
        (&state["status"], &state["shown"]),
        (&json!("invisible"), &json!("offline"))
    );
    assert_eq!(state["devices"][0]["id"], "web:laptop");
    assert_eq!(state["devices"][0]["sessions"], 1);

    for (path, key, expected) in [
        ("channel/room:42/viewers", "users", json!([])),
        ("channel/room:42/count", "count", json!(0)),
        ("channel/room:42/typing", "users", json!([])),
        ("workspace/acme/online", "total", json!(0)),
    ] {
        for caller in [&ann, &bob] {
            let answer = caller.get(&format!("/api/presence/{path}")).await.ok();
            assert_eq!(answer[key], expected, "{path}");
        }
    }
    let hidden = bob.get("/api/presence/users/ann").await.ok();
    assert_eq!(hidden["status"], "offline");
    assert_eq!(hidden["devices"], json!([]));
    assert!(hidden["last_seen"].is_u64());
    let body = json!({"user_ids": ["ann"]});
    for caller in [&ann, &bob] {
        let answer = caller.post("/api/presence/bulk", body.clone()).await.ok();
        assert_eq!(
            answer["users"],
            json!([hidden]),
            "in bulk one is seen as others see one"
        );
    }
    let admin = Caller::with(&gateway, "root", &["admin"], &[]);
    assert_eq!(
        admin.get("/api/presence/users/ann").await.ok()["status"],
        "invisible"
    );
}

#[tokio::test]
async fn hiding_works_where_nobody_needs_a_token_too() {
    let gateway = start(&[]).await;
    let nobody = Caller::nobody(&gateway);
    let path = "/api/presence/users/ann/status?user_id=ann";
    nobody.put(path, json!({"status": "invisible"})).await.ok();
    let seen = nobody.get("/api/presence/users/ann?user_id=bob").await.ok();
    assert_eq!(
        (&seen["status"], seen.get("revision")),
        (&json!("offline"), None)
    );
    let own = nobody.get("/api/presence/users/ann?user_id=ann").await.ok();
    assert_eq!(own["status"], "invisible");
}

#[tokio::test]
async fn a_thousand_users_are_looked_up_at_once_each_one_time() {
    let gateway = start_closed(&[]).await;
    let ann = Caller::of(&gateway, "ann");
    let long = |i: usize| format!("{i:-<128}");
    let ids: Vec<String> = (0..1000).map(long).collect();
    let answer = ann
        .post("/api/presence/bulk", json!({"user_ids": ids}))
        .await
        .ok();
    let users = answer["users"].as_array().unwrap();
    let found: Vec<&str> = users
        .iter()
        .map(|it| it["user_id"].as_str().unwrap())
        .collect();
    assert_eq!(found, ids);

    let body = json!({"user_ids": ["b", "a", "b", "c", "a"]});
    let answer = ann.post("/api/presence/bulk", body).await.ok();
    let users = answer["users"].as_array().unwrap();
    let found: Vec<&str> = users
        .iter()
        .map(|it| it["user_id"].as_str().unwrap())
        .collect();
    assert_eq!(found, ["b", "a", "c"]);

    let ids: Vec<String> = (0..1001).map(|i| i.to_string()).collect();
    for ids in [
        json!(ids),
        json!([]),
        json!(["a b"]),
        json!("ann"),
        json!([7]),
    ] {
        let body = json!({"user_ids": ids});
        let error = ann
            .post("/api/presence/bulk", body)
            .await
            .refused(400, "invalid");
        assert!(
            error["field"].as_str().unwrap().starts_with("user_ids"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_ask_again_and_others_notice_nothing() {
    let gateway = start_closed(&[("PRESENCE_RATE_STATUS", "1/m burst 3")]).await;
    let ann = Caller::of(&gateway, "ann");
    let busy = || json!({"status": "busy"});
    for _ in 0..3 {
        ann.put("/api/presence/users/ann/status", busy()).await;
    }
    let answer = ann.put("/api/presence/users/ann/status", busy()).await;
    let error = answer.refused(429, "rate_limited");
    assert!(error["retry_after"].as_u64().unwrap() > 50_000, "{error}");
    let bob = Caller::of(&gateway, "bob");
    let answer = bob.put("/api/presence/users/bob/status", busy()).await;
    assert_eq!(answer.status, 200);
}

/// Only an admin learns whether a user who has shown nothing exists.
#[tokio::test]
async fn a_user_nobody_knows_looks_like_one_who_is_away_and_has_shown_nothing() {
    let gateway = start_closed(&[]).await;
    let service = Caller::with(&gateway, "service", &["status", "act"], &[]);
    let admin = Caller::with(&gateway, "root", &["watch", "admin"], &[]);
    let watcher = Caller::of(&gateway, "ann");
    let path = |user: &str| format!("/api/presence/users/{user}");
    for (known, status) in [("known_1", "offline"), ("known_2", "invisible")] {
        let set = format!("{}/status", path(known));
        service.put(&set, json!({ "status": status })).await.ok();
    }
    let unknown = watcher.get(&path("nobody_")).await;
    let truth = admin.get(&path("nobody_")).await.ok();
    assert_eq!(
        (&truth["revision"], &truth["last_seen"]),
        (&json!(0), &json!(null))
    );
    for known in ["known_1", "known_2"] {
        let answer = watcher.get(&path(known)).await;
        assert_eq!(answer.status, unknown.status);
        assert_eq!(answer.text().replace(known, "nobody_"), unknown.text());
        for header in ["content-length", "content-type", "cache-control", "etag"] {
            assert_eq!(answer.header(header), unknown.header(header));
        }
        let body = |user| json!({ "user_ids": [user] });
        let [one, other] = [
            watcher.post("/api/presence/bulk", body(known)).await,
            watcher.post("/api/presence/bulk", body("nobody_")).await,
        ];
        assert_eq!(one.text().replace(known, "nobody_"), other.text());
        assert!(admin.get(&path(known)).await.ok()["revision"].as_u64() > Some(0));
    }
}

#[tokio::test]
async fn words_that_would_spoil_the_pages_of_others_are_refused_or_cleaned() {
    let gateway = start(&[("PRESENCE_RATE_STATUS", "1000/s burst 1000")]).await;
    let nobody = Caller::nobody(&gateway);
    let path = "/api/presence/users/ann/status?user_id=ann";
    for (field, value) in [
        ("custom_message", "a\nb"),
        ("custom_message", "a\u{202e}b"),
        ("custom_message", "\u{2066}a\u{2069}"),
        ("custom_message", "a\u{2028}b"),
        ("emoji", "\u{202e}"),
        ("emoji", "\u{200b}"),
        ("emoji", "§"),
        ("emoji", "12→"),
        ("emoji", "🎯🎯"),
    ] {
        let body = json!({ "status": "busy", field: value });
        let error = nobody.put(path, body).await.refused(400, "invalid");
        assert_eq!(error["field"], field, "{value:?}");
    }
    for (field, value, shown) in [
        ("custom_message", " \u{200b} Lunch \u{feff}", json!("Lunch")),
        ("custom_message", "\u{200d}", json!(null)),
        ("custom_message", "", json!(null)),
        ("emoji", "", json!(null)),
        ("emoji", "ℹ️", json!("ℹ️")),
        ("emoji", "🅿️", json!("🅿️")),
        ("emoji", ":wave::skin-tone-3:", json!(":wave::skin-tone-3:")),
    ] {
        let body = json!({ "status": "busy", field: value });
        let answer = nobody.put(path, body).await.ok();
        assert_eq!(answer[field], shown, "{value:?}");
    }
}

#[tokio::test]
async fn a_name_is_shown_clean_and_a_color_in_one_way() {
    let gateway = start(&[]).await;
    let nobody = Caller::nobody(&gateway);
    for (meta, name, color) in [
        (
            json!({ "name": "\u{202e} Ann \u{2069}", "color": "Tomato" }),
            json!("Ann"),
            json!("#ff6347"),
        ),
        (
            json!({ "name": "\u{2028}\u{200d}", "color": "rgb(1 2 3 / 50%)" }),
            json!(null),
            json!("#01020380"),
        ),
        (
            json!({ "name": "Ann", "color": "red;background:url(//evil)" }),
            json!("Ann"),
            json!("#c02712"),
        ),
    ] {
        let body = json!({ "user_id": "ann", "meta": meta });
        let path = "/api/presence/channel/room:1/join?user_id=ann";
        nobody.post(path, body).await.ok();
        let joined = async {
            loop {
                let page = nobody
                    .get("/api/presence/channel/room:1/viewers")
                    .await
                    .ok();
                let user = &page["users"][0];
                if (&user["name"], &user["color"]) == (&name, &color) {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        crate::gateway::soon(format!("{meta}"), joined).await;
    }
}
