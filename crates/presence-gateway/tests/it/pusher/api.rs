//! The HTTP API.

use std::net::SocketAddr;

use md5::{Digest, Md5};

use super::*;
use crate::gateway::now;
use crate::raw;

#[tokio::test]
async fn what_a_server_says_is_heard_by_all_but_the_one_it_leaves_out() {
    let gateway = start_with_apps(&[]).await;
    let mut ann = Page::enters(&gateway, "ann", "presence-room;1").await;
    let mut bob = Page::enters(&gateway, "bob", "presence-room;1").await;
    ann.hears("pusher_internal:member_added").await;
    let server = Server::of(&gateway);
    let event = json!({
        "name": "order", "data": r#"{"n": 1}"#, "channels": ["presence-room;1"], "socket_id": ann.socket,
    });
    assert_eq!(server.post("events", &event).await, (200, "{}".into()));
    let heard = bob.hears("order").await;
    assert_eq!(
        heard,
        json!({ "event": "order", "channel": "presence-room;1", "data": r#"{"n": 1}"# })
    );
    ann.has_heard_all().await;

    let event = json!({ "name": "order", "data": "plain", "channel": "presence-room;1", "info": "user_count" });
    let (status, answer) = server.post("events", &event).await;
    assert_eq!(
        (status, &answer[..]),
        (200, r#"{"channels":{"presence-room;1":{"user_count":2}}}"#)
    );
    for page in [&mut ann, &mut bob] {
        assert_eq!(page.hears("order").await["data"], "plain");
    }
    let batch = json!({ "batch": [
        { "name": "a", "data": "1", "channel": "presence-room;1", "info": "subscription_count" },
        { "name": "b", "data": "2", "channel": "nobody-here" },
    ]});
    let (status, answer) = server.post("batch_events", &batch).await;
    assert_eq!(
        (status, &answer[..]),
        (200, r#"{"batch":[{"subscription_count":2},{}]}"#)
    );
    ann.hears("a").await;
}

#[tokio::test]
async fn native_watchers_hear_a_server_too() {
    let gateway = start_with_apps(&[]).await;
    let mut eve = Raw::connect(gateway.address(), "eve").await;
    eve.text(r#"{"type":"presence:watch","channel":"room:1"}"#)
        .await;
    eve.hears_of(|it| matches!(it, presence_client::wire::Event::CurrentUsers(_)).then_some(()))
        .await;
    let event = json!({ "name": "order", "data": r#"{"n":1}"#, "channel": "presence-room;1" });
    assert_eq!(Server::of(&gateway).post("events", &event).await.0, 200);
    let heard = eve
        .hears_of(|it| match it {
            presence_client::wire::Event::Broadcast(it) => Some(it.clone()),
            _ => None,
        })
        .await;
    assert_eq!((&*heard.event, &*heard.user_id), ("order", "app:3"));
    assert_eq!(heard.payload.unwrap().as_str(), r#"{"n":1}"#);
}

#[tokio::test]
async fn events_that_will_not_do_are_refused_and_a_batch_is_all_or_nothing() {
    let gateway = start_with_apps(&[]).await;
    let mut news = Page::connects(&gateway).await;
    news.says("pusher:subscribe", json!({ "channel": "news" }))
        .await;
    news.hears("pusher_internal:subscription_succeeded").await;
    news.hears("pusher_internal:subscription_count").await;
    let server = Server::of(&gateway);
    let good = json!({ "name": "e", "data": "{}", "channel": "news" });
    let with = |key: &str, value: Value| {
        let mut event = good.clone();
        event[key] = value;
        event
    };
    let names = |count: usize| json!((0..count).map(|n| format!("c{n}")).collect::<Vec<_>>());
    for (event, status) in [
        (with("name", json!("")), 400),
        (with("name", json!("x".repeat(201))), 400),
        (with("name", json!("pusher:error")), 400),
        (with("name", json!("pusher_internal:member_added")), 400),
        (with("data", json!({})), 400),
        (with("data", json!("x".repeat(10_241))), 413),
        (with("channel", json!("a b")), 400),
        (with("channel", json!("")), 400),
        (with("channel", Value::Null), 400),
        (with("channels", names(100)), 400),
        (with("socket_id", json!("none")), 400),
        (with("info", json!("nothing")), 400),
        (with("info", json!("cache")), 400),
        (json!([]), 400),
    ] {
        assert_eq!(server.post("events", &event).await.0, status, "{event}");
        let batch = json!({ "batch": [good, event] });
        let refused = server.post("batch_events", &batch).await.0;
        assert_eq!(refused, status, "{batch}");
    }
    let batch = json!({ "batch": vec![good.clone(); 11] });
    assert_eq!(server.post("batch_events", &batch).await.0, 400);
    let batch = json!({ "batch": [{ "name": "e", "data": "{}", "channels": ["news"] }] });
    assert_eq!(server.post("batch_events", &batch).await.0, 400);
    assert_eq!(
        server.send("POST", "events", "", b"{", now_s()).await.0,
        400
    );
    assert_eq!(server.send("POST", "events", "", b"", now_s()).await.0, 400);
    assert_eq!(
        server
            .send("POST", "events", "", &vec![b' '; 300_000], now_s())
            .await
            .0,
        413
    );
    news.has_heard_all().await;
    assert_eq!(
        server
            .post("events", &with("name", json!("x".repeat(200))))
            .await
            .0,
        200
    );
    news.hears(&"x".repeat(200)).await;
}

#[tokio::test]
async fn a_server_asks_who_is_where() {
    let gateway = start_with_apps(&[]).await;
    let _ann = Page::enters(&gateway, "ann", "presence-room;1").await;
    let _anns_other = Page::enters(&gateway, "ann", "presence-room;1").await;
    let mut bob = Page::enters(&gateway, "bob", "presence-room;2").await;
    bob.says("pusher:subscribe", json!({ "channel": "news" }))
        .await;
    bob.hears("pusher_internal:subscription_succeeded").await;
    bob.hears("pusher_internal:subscription_count").await;
    let server = Server::of(&gateway);
    for (path, query, status, answer) in [
        (
            "channels",
            "",
            200,
            r#"{"channels":{"news":{},"presence-room;1":{},"presence-room;2":{}}}"#,
        ),
        (
            "channels",
            "filter_by_prefix=presence-&info=user_count",
            200,
            r#"{"channels":{"presence-room;1":{"user_count":1},"presence-room;2":{"user_count":1}}}"#,
        ),
        (
            "channels",
            "filter_by_prefix=ne&info=subscription_count",
            200,
            r#"{"channels":{"news":{"subscription_count":1}}}"#,
        ),
        (
            "channels",
            "filter_by_prefix=none",
            200,
            r#"{"channels":{}}"#,
        ),
        (
            "channels/presence-room;1",
            "info=user_count,subscription_count",
            200,
            r#"{"occupied":true,"subscription_count":2,"user_count":1}"#,
        ),
        (
            "channels/news",
            "info=subscription_count",
            200,
            r#"{"occupied":true,"subscription_count":1}"#,
        ),
        ("channels/nobody", "", 200, r#"{"occupied":false}"#),
        (
            "channels/presence-room;1/users",
            "",
            200,
            r#"{"users":[{"id":"ann"}]}"#,
        ),
        ("channels/presence-nobody/users", "", 200, r#"{"users":[]}"#),
    ] {
        let told = server.get(path, query).await;
        assert_eq!((told.0, &told.1[..]), (status, answer), "{path}?{query}");
    }
    for (path, query, status) in [
        ("channels", "info=user_count", 400),
        ("channels/news", "info=user_count", 400),
        ("channels/news", "info=cache", 400),
        ("channels/news/users", "", 400),
        ("channels/a%20b", "", 400),
        ("channels/news/x", "", 404),
        ("", "", 404),
        ("events", "", 405),
        ("users/ann/terminate_connections", "", 405),
    ] {
        assert_eq!(server.get(path, query).await.0, status, "{path}?{query}");
    }
    assert_eq!(server.post("channels", &json!({})).await.0, 405);
    assert_eq!(
        server
            .post("users/a%20b/terminate_connections", &json!({}))
            .await
            .0,
        400
    );
    // Somebody of everybody is there, too, and nobody of another application.
    let mut eve = Raw::connect(gateway.address(), "eve").await;
    eve.text(r#"{"ref":1,"type":"presence:join","channel":"room:1"}"#)
        .await;
    eve.answer(1).await;
    let users = r#"{"users":[{"id":"ann"},{"id":"eve"}]}"#;
    assert_eq!(
        server.get("channels/presence-room;1/users", "").await.1,
        users
    );
    let other = Server {
        id: "7",
        key: "key-of-7",
        secret: OTHER_SECRET,
        ..server
    };
    assert_eq!(other.get("channels", "").await.1, r#"{"channels":{}}"#);
    assert_eq!(
        other.get("channels/presence-room;1/users", "").await.1,
        r#"{"users":[]}"#
    );
}

#[tokio::test]
async fn a_user_is_thrown_out_of_every_connection() {
    let gateway = start_with_apps(&[]).await;
    let mut ann = Page::enters(&gateway, "ann", "presence-room;1").await;
    let mut other = Page::connects_to(&gateway, "key-of-7").await;
    let server = Server::of(&gateway);
    assert_eq!(
        server
            .post("users/ann/terminate_connections", &json!({}))
            .await,
        (200, "{}".into())
    );
    let (texts, code) = ann.raw.closes().await;
    assert_eq!(
        (code, &texts[0]["data"]["code"]),
        (Some(4009), &json!(4009))
    );
    assert_eq!(
        server
            .post("users/ann/terminate_connections", &json!({}))
            .await
            .0,
        200,
        "twice is fine"
    );
    other.has_heard_all().await;
}

#[tokio::test]
async fn requests_are_signed_as_a_whole_and_good_for_ten_minutes() {
    let gateway = start_with_apps(&[]).await;
    let server = Server::of(&gateway);
    let at = |seconds| server.send("GET", "channels", "", b"", seconds);
    for (seconds, status) in [(0, 200), (-590, 200), (590, 200), (-610, 401), (610, 401)] {
        assert_eq!(at(now_s() + seconds).await.0, status, "{seconds}");
    }
    let wrong = |change: Server| async move { change.get("channels", "").await.0 };
    assert_eq!(
        wrong(Server {
            secret: OTHER_SECRET,
            ..server
        })
        .await,
        401
    );
    assert_eq!(
        wrong(Server {
            key: "key-of-7",
            ..server
        })
        .await,
        401
    );
    assert_eq!(wrong(Server { id: "7", ..server }).await, 401);
    assert_eq!(wrong(Server { id: "4", ..server }).await, 404);
    for path in ["/apps/3/channels", "/apps/3/channels?auth_key=key-of-3"] {
        assert_eq!(raw::status(&raw::get(server.address, path).await), 401);
    }
    // The body is tied to the signature, and may not come without.
    let event = json!({ "name": "e", "data": "{}", "channel": "news" }).to_string();
    let query = server.signed(
        "POST",
        "events",
        "body_md5=d41d8cd98f00b204e9800998ecf8427e",
        now_s(),
    );
    assert_eq!(
        server
            .exchange("POST", "events", &query, event.as_bytes())
            .await
            .0,
        401
    );
    let query = server.signed("POST", "events", "", now_s());
    assert_eq!(
        server
            .exchange("POST", "events", &query, event.as_bytes())
            .await
            .0,
        401
    );
    let query = query.replace("auth_version=1.0", "auth_version=2.0");
    assert_eq!(server.exchange("POST", "events", &query, b"").await.0, 401);
}

/// An application's server.
#[derive(Clone, Copy)]
pub(super) struct Server {
    address: SocketAddr,
    id: &'static str,
    key: &'static str,
    secret: &'static str,
}

impl Server {
    pub(super) fn of(gateway: &Running) -> Server {
        Server {
            address: gateway.address(),
            id: "3",
            key: "key-of-3",
            secret: SECRET,
        }
    }

    pub(super) async fn get(&self, path: &str, query: &str) -> (u16, String) {
        self.send("GET", path, query, b"", now_s()).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, String) {
        self.send("POST", path, "", body.to_string().as_bytes(), now_s())
            .await
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
        at: i64,
    ) -> (u16, String) {
        let digest = match body.is_empty() {
            true => String::new(),
            false => format!("body_md5={}", hex(&Md5::digest(body))),
        };
        let query = [query, &digest].into_iter().filter(|it| !it.is_empty());
        let query = query.collect::<Vec<_>>().join("&");
        let query = self.signed(method, path, &query, at);
        self.exchange(method, path, &query, body).await
    }

    fn signed(&self, method: &str, path: &str, query: &str, at: i64) -> String {
        let at = at.to_string();
        let own = [
            ("auth_key", self.key),
            ("auth_timestamp", &at),
            ("auth_version", "1.0"),
        ];
        let own = own.map(|(key, value)| format!("{key}={value}"));
        let mut pairs: Vec<&str> = query.split('&').filter(|it| !it.is_empty()).collect();
        pairs.extend(own.iter().map(String::as_str));
        pairs.sort_unstable();
        let query = pairs.join("&");
        let text = format!("{method}\n/apps/{}/{path}\n{query}", self.id);
        format!("{query}&auth_signature={}", sign(self.secret, &text))
    }

    async fn exchange(&self, method: &str, path: &str, query: &str, body: &[u8]) -> (u16, String) {
        let head = format!(
            "{method} /apps/{}/{path}?{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.id,
            body.len()
        );
        let answer = raw::exchange(self.address, &[head.as_bytes(), body].concat()).await;
        (raw::status(&answer), raw::body(&answer).to_owned())
    }
}

fn now_s() -> i64 {
    (now().as_millis() / 1000).try_into().unwrap()
}
