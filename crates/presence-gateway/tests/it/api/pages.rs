//! Lists, ids, methods, and which web pages may ask.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::{Caller, Socket, send, token};
use crate::gateway::{start, start_closed};

#[tokio::test]
async fn a_list_is_read_in_pages_in_the_order_people_came() {
    let gateway = start(&[]).await;
    let nobody = Caller::nobody(&gateway);
    let people: Vec<String> = (0..25).map(|i| format!("user-{i}")).collect();
    for user in &people {
        let body = json!({"user_id": user});
        nobody
            .post("/api/presence/channel/room:42/join", body)
            .await
            .ok();
    }
    let all = nobody
        .get("/api/presence/channel/room:42/viewers?limit=1000")
        .await
        .ok();
    let all = all["users"].as_array().unwrap();
    assert!(all.is_sorted_by_key(|it| it["joined_at"].as_u64()));
    let mut read = Vec::new();
    while read.len() < people.len() {
        let path = format!(
            "/api/presence/channel/room:42/viewers?limit=10&offset={}",
            read.len()
        );
        let page = nobody.get(&path).await.ok();
        assert_eq!((&page["total"], &page["limit"]), (&json!(25), &json!(10)));
        assert_eq!(page["offset"], read.len());
        let users = page["users"].as_array().unwrap();
        read.extend(users.clone());
    }
    assert_eq!(read, *all);
    let ids: BTreeSet<&str> = all.iter().map(|it| it["id"].as_str().unwrap()).collect();
    assert_eq!(ids, people.iter().map(String::as_str).collect());
    let beyond = nobody
        .get("/api/presence/channel/room:42/viewers?offset=1000")
        .await
        .ok();
    assert_eq!(
        (&beyond["users"], &beyond["limit"]),
        (&json!([]), &json!(100))
    );

    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("offset=-1", "offset"),
    ] {
        let path = format!("/api/presence/workspace/acme/online?{query}");
        let error = nobody.get(&path).await.refused(400, "invalid");
        assert_eq!(error["field"], field);
    }
}

#[tokio::test]
async fn people_are_looked_up_by_name_and_read_on_from_one_of_them() {
    // However big the room is.
    let gateway = start(&[("PRESENCE_LISTED_MAX", "2"), ("PRESENCE_FACES_MAX", "1")]).await;
    let nobody = Caller::nobody(&gateway);
    let names = ["Dora", "anna", "Bea", "Ann B. Ä", "", "ANNE", "bea"];
    for (n, name) in names.iter().enumerate() {
        let body = json!({"user_id": format!("u.{n}"), "meta": {"name": name}});
        nobody
            .post("/api/presence/channel/room:1/join", body)
            .await
            .ok();
    }
    let get = async |query: &str| {
        let path = format!("/api/presence/channel/room:1/viewers?{query}");
        nobody.get(&path).await.ok()
    };
    let ids = |page: &Value| -> Vec<String> {
        let users = page["users"].as_array().unwrap().iter();
        users
            .map(|it| it["id"].as_str().unwrap().to_owned())
            .collect()
    };
    for (order, all) in [
        ("name", ["u.3", "u.1", "u.5", "u.2", "u.6", "u.0", "u.4"]),
        ("joined", ["u.0", "u.1", "u.2", "u.3", "u.4", "u.5", "u.6"]),
    ] {
        for limit in [1, 2, 7, 100] {
            let (mut read, mut after, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let query = format!("order={order}&limit={limit}&after={after}");
                let page = get(&query).await;
                assert_eq!((&page["total"], &page["limit"]), (&json!(7), &json!(limit)));
                read.extend(ids(&page));
                pages += 1;
                let Some(next) = page["next"].as_str() else {
                    assert_eq!(page["next"], Value::Null);
                    break;
                };
                after = form_encoded(next);
            }
            assert_eq!(read, all, "{order}, {limit} a page");
            assert_eq!(pages, 7_usize.div_ceil(limit), "{order}, {limit} a page");
        }
    }
    // Whatever order is asked for with it: people with a prefix are in the order of their names.
    for order in ["", "&order=name", "&order=joined"] {
        let page = get(&format!("prefix=aN{order}")).await;
        assert_eq!(ids(&page), ["u.3", "u.1", "u.5"], "{order}");
    }
    let page = get("prefix=AN&limit=2").await;
    assert_eq!(
        (ids(&page), &page["total"]),
        (vec!["u.3".into(), "u.1".into()], &json!(7))
    );
    let after = form_encoded(page["next"].as_str().unwrap());
    let rest = get(&format!("prefix=AN&limit=2&after={after}")).await;
    assert_eq!(
        (ids(&rest), &rest["next"]),
        (vec!["u.5".to_owned()], &Value::Null)
    );
    // `offset` skips people of what the rest of the query asks for.
    let after_bea = form_encoded("u.2 bea");
    let anna_next = form_encoded("u.1 anna");
    let second_joined = get("limit=2").await;
    let second_joined = form_encoded(second_joined["next"].as_str().unwrap());
    for (query, expected) in [
        ("order=name&offset=2&limit=3", vec!["u.5", "u.2", "u.6"]),
        ("order=name&offset=6", vec!["u.4"]),
        ("order=name&offset=7", vec![]),
        ("order=joined&offset=5", vec!["u.5", "u.6"]),
        ("prefix=an&offset=1", vec!["u.1", "u.5"]),
        ("prefix=an&offset=1&order=joined&limit=1", vec!["u.1"]),
        ("prefix=an&offset=3", vec![]),
        (
            &format!("order=name&after={after_bea}&offset=1"),
            vec!["u.0", "u.4"],
        ),
        (
            &format!("prefix=AN&after={anna_next}&offset=0"),
            vec!["u.5"],
        ),
        (&format!("prefix=AN&after={anna_next}&offset=1"), vec![]),
        (
            &format!("after={second_joined}&offset=2&limit=2"),
            vec!["u.4", "u.5"],
        ),
        (
            &format!("after={second_joined}&offset=18446744073709551616"),
            vec![],
        ),
    ] {
        let page = get(query).await;
        assert_eq!(ids(&page), expected, "{query}");
        assert_eq!(page["total"], 7, "{query}");
    }
    // A page that skips some has the place where the next one goes on, too.
    let page = get("order=name&offset=2&limit=2").await;
    let after = form_encoded(page["next"].as_str().unwrap());
    let page = get(&format!("order=name&limit=2&after={after}")).await;
    assert_eq!(
        (ids(&page), &page["offset"]),
        (vec!["u.6".into(), "u.0".into()], &json!(0))
    );
    // Whoever leaves meanwhile does not move the next page.
    let first = get("limit=3").await;
    let leave = json!({"user_id": "u.0"});
    nobody
        .post("/api/presence/channel/room:1/leave", leave)
        .await
        .ok();
    let after = form_encoded(first["next"].as_str().unwrap());
    assert_eq!(
        ids(&get(&format!("limit=2&after={after}")).await),
        ["u.3", "u.4"]
    );

    let long = format!("prefix={}", "x".repeat(257));
    for (query, field) in [
        ("order=size", "order"),
        (long.as_str(), "prefix"),
        ("after=nonsense", "after"),
        ("after=1.a%20b", "after"),
        ("order=name&after=1.a", "after"),
        ("order=joined&prefix=a&after=1.a", "after"),
        ("order=size&prefix=a", "order"),
        ("order=name&offset=x", "offset"),
    ] {
        let path = format!("/api/presence/channel/room:1/viewers?{query}");
        let error = nobody.get(&path).await.refused(400, "invalid");
        assert_eq!(error["field"], field, "{query}");
    }
}

/// The text as a value in a query.
fn form_encoded(text: &str) -> String {
    let bytes = text.bytes().map(|it| format!("%{it:02X}"));
    bytes.collect()
}

#[tokio::test]
async fn a_workspace_lists_who_is_connected() {
    let gateway = start_closed(&[]).await;
    let _ann = Socket::of(&gateway, "ann").await;
    let page = Caller::of(&gateway, "bob")
        .get("/api/presence/workspace/acme/online")
        .await
        .ok();
    assert_eq!(page["total"], 1);
    let ann = &page["users"][0];
    assert_eq!(
        (&ann["id"], &ann["status"], &ann["name"]),
        (&json!("ann"), &json!("online"), &json!("The real ann"))
    );
    let error = Caller::of(&gateway, "bob")
        .get("/api/presence/workspace/umbrella/online")
        .await;
    error.refused(403, "forbidden");
    let reader = Caller::with(&gateway, "service", &["read"], &[]);
    reader
        .get("/api/presence/workspace/umbrella/online")
        .await
        .ok();
}

#[tokio::test]
async fn an_id_may_have_slashes_bare_or_encoded() {
    let gateway = start(&[]).await;
    let nobody = Caller::nobody(&gateway);
    let join = "/api/presence/channel/page:/docs/a%3Fb=1%25/join";
    nobody.post(join, json!({"user_id": "team/ann"})).await.ok();
    for path in [
        "channel/page:/docs/a%3Fb=1%25/viewers",
        "channel/page%3A%2Fdocs%2Fa%3fb%3D1%25/viewers",
    ] {
        let page = nobody.get(&format!("/api/presence/{path}")).await.ok();
        assert_eq!(page["users"][0]["id"], "team/ann", "{path}");
    }
    let user = nobody.get("/api/presence/users/team%2Fann").await.ok();
    assert_eq!(user["user_id"], "team/ann");
    for path in [
        "users/team/ann",
        "users/ann/",
        "users/ann/sessions",
        "users/ann/status/busy",
        "users/team/ann/status",
        "workspace/a/b/online",
    ] {
        let path = format!("/api/presence/{path}");
        nobody.get(&path).await.refused(404, "unknown_command");
        let body = json!({ "status": "busy" });
        let answer = nobody.put(&path, body).await;
        answer.refused(404, "unknown_command");
    }
    for (query, offset) in [
        ("offset=18446744073709551616", u64::MAX),
        ("offset=000000000000000000000000000001", 1),
        ("offset=0", 0),
    ] {
        let path = format!("/api/presence/channel/room:1/viewers?{query}");
        let page = nobody.get(&path).await.ok();
        assert_eq!(
            (&page["offset"], &page["users"]),
            (&json!(offset), &json!([]))
        );
    }
    for query in [
        "offset=-1",
        "offset=+1",
        "offset=1.0",
        "offset=1e3",
        "offset=0x1",
        "limit=1001",
        "limit=0",
        "limit=99999999999999999999",
    ] {
        let path = format!("/api/presence/channel/room:1/viewers?{query}");
        nobody.get(&path).await.refused(400, "invalid");
    }
    let error = nobody
        .get("/api/presence/users/%ff")
        .await
        .refused(400, "invalid");
    assert_eq!(error["field"], "user_id");
}

#[tokio::test]
async fn other_paths_and_methods_are_told_so() {
    let gateway = start(&[]).await;
    let nobody = Caller::nobody(&gateway);
    nobody
        .get("/api/presence/rooms")
        .await
        .refused(404, "unknown_command");
    let reply = nobody
        .call("DELETE", "/api/presence/users/ann/status", None)
        .await;
    assert_eq!(reply.header("allow"), Some("PUT, PATCH"));
    reply.refused(405, "unknown_command");
    let reply = nobody.call("HEAD", "/api/presence/users/ann", None).await;
    assert_eq!((reply.status, reply.text()), (200, ""));
}

#[tokio::test]
async fn a_page_of_another_site_may_ask_only_if_it_is_allowed() {
    let allowed = [("PRESENCE_ALLOWED_ORIGINS", "https://app.example.org")];
    let gateway = start_closed(&allowed).await;
    let token = format!("Bearer {}", token(&gateway, "ann", &[], &[]));
    let get = async |origin: &str| {
        let headers = [("authorization", token.as_str()), ("origin", origin)];
        send(
            gateway.address(),
            "GET",
            "/api/presence/users/ann",
            &headers,
            b"",
        )
        .await
    };
    let reply = get("https://app.example.org").await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://app.example.org")
    );
    assert_eq!(reply.header("vary"), Some("origin"));
    let reply = get("https://evil.example").await;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    reply.refused(403, "forbidden");

    let preflight = async |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "PUT"),
            (
                "access-control-request-headers",
                "authorization,content-type",
            ),
        ];
        send(
            gateway.address(),
            "OPTIONS",
            "/api/presence/users/ann/status",
            &headers,
            b"",
        )
        .await
    };
    let reply = preflight("https://app.example.org").await;
    assert_eq!((reply.status, reply.text()), (204, ""));
    assert!(
        reply
            .header("access-control-allow-methods")
            .unwrap()
            .contains("PUT")
    );
    assert_eq!(
        reply.header("access-control-allow-headers"),
        Some("authorization, content-type")
    );
    assert_eq!(preflight("https://evil.example").await.status, 403);

    // An error is for the page to read, too.
    let headers = [("origin", "https://app.example.org")];
    let reply = send(
        gateway.address(),
        "GET",
        "/api/presence/users/ann",
        &headers,
        b"",
    )
    .await;
    assert_eq!(reply.status, 401);
    assert_eq!(
        reply.header("access-control-allow-origin"),
        Some("https://app.example.org")
    );
}

#[tokio::test]
async fn without_tokens_no_page_but_one_of_this_machine_gets_through() {
    let gateway = start(&[]).await;
    let port = gateway.address().port();
    let status = async |headers: &[(&str, &str)]| {
        send(
            gateway.address(),
            "GET",
            "/api/presence/users/ann",
            headers,
            b"",
        )
        .await
        .status
    };
    assert_eq!(status(&[]).await, 200);
    assert_eq!(status(&[("origin", "http://localhost:3000")]).await, 200);
    assert_eq!(status(&[("origin", "https://evil.example")]).await, 403);
    assert_eq!(status(&[("origin", "null")]).await, 403);
    // A name that was pointed at this machine.
    let host = format!("evil.example:{port}");
    assert_eq!(status(&[("host", &host)]).await, 403);
}

#[tokio::test]
async fn a_body_is_json_of_a_sound_kind() {
    let gateway = start(&[]).await;
    let path = "/api/presence/bulk";
    let post = async |kind: &str, body: &[u8]| {
        send(
            gateway.address(),
            "POST",
            path,
            &[("content-type", kind)],
            body,
        )
        .await
    };
    let body = br#"{"user_ids":["ann"]}"#;
    assert_eq!(post("application/json", body).await.status, 200);
    assert_eq!(
        post("Application/JSON; charset=utf-8", body).await.status,
        200
    );
    post("text/plain", body).await.refused(415, "malformed");
    for bad in [
        &b"{"[..],
        b"[]",
        b"{\"user_ids\":[\"\xff\"]}",
        b"{\"user_ids\":[\"a\"]}}",
    ] {
        post("application/json", bad)
            .await
            .refused(400, "malformed");
    }
    let deep = format!("{{\"user_ids\":{}{}}}", "[".repeat(500), "]".repeat(500));
    for (bad, field) in [
        (deep.as_bytes(), "user_ids"),
        (br#"{"user_ids":["a",1e400]}"#, "user_ids[1]"),
        (br#"{"user_ids":["ann \ud83c"]}"#, "user_ids"),
    ] {
        let error = post("application/json", bad).await.refused(400, "invalid");
        assert_eq!(error["field"], field);
    }
    let headers = [
        ("content-type", "application/json"),
        ("transfer-encoding", "chunked"),
    ];
    let reply = send(gateway.address(), "POST", path, &headers, &chunked(300_000)).await;
    reply.refused(413, "too_large");
}

/// One chunk of so many bytes, in a request that does not say how many there will be.
fn chunked(bytes: usize) -> Vec<u8> {
    let text = Value::from("x".repeat(bytes)).to_string();
    format!("{:x}\r\n{text}\r\n0\r\n\r\n", text.len()).into_bytes()
}
