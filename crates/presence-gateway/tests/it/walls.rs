//! Walls: nobody gets where only a signature, or only this machine, may lead.

use std::net::SocketAddr;
use std::time::Duration;

use presence_client::wire::event::Broadcast;
use presence_client::wire::{ErrorCode, Event};
use serde_json::{Value, json};

use crate::gateway::{self, Running, start, start_closed};
use crate::people::Person;
use crate::pusher::{self, OTHER_SECRET};
use crate::raw::{self, Raw};
use crate::{cable, phoenix};

const HOUR: Duration = Duration::from_secs(3600);

/// Channels of Pusher applications: a user's own, private ones, and those of another application.
const APART: [&str; 4] = [
    "pusher/3/#server-to-user-bob",
    "pusher/3/private-secret",
    "pusher/3/orders",
    "pusher/7/presence-lobby",
];

/// What tokens may say that does not open them: `None` is what `channels_default` gives.
const CLOSED: [Option<&[&str]>; 4] = [
    None,
    Some(&["*"]),
    Some(&["p*", "pusher*"]),
    Some(&["room:*"]),
];

/// What may be said besides: nothing but a pattern is enough.
const SCOPES: [&[&str]; 3] = [
    &[],
    &["join", "watch", "broadcast", "act", "read"],
    &["admin"],
];

/// Starts a gateway with keys, with applications 3 and 7.
async fn start_with_apps(settings: &[(&str, &str)]) -> Running {
    let keys = [("PRESENCE_JWT_SECRET", gateway::SECRET)];
    pusher::start_with_apps(&[&keys[..], settings].concat()).await
}

fn token(gateway: &Running, channels: Option<&[&str]>, scopes: &[&str]) -> String {
    gateway.token("mallory", HOUR, |it| {
        let texts = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        it.channels = texts(channels.unwrap_or(&[]));
        it.scopes = texts(scopes);
    })
}

/// Every token that opens nothing of an application, one after the other.
fn closed(gateway: &Running) -> Vec<String> {
    let all = CLOSED
        .iter()
        .flat_map(|channels| SCOPES.iter().map(move |it| (channels, it)));
    all.map(|(channels, scopes)| token(gateway, *channels, scopes))
        .collect()
}

#[tokio::test]
async fn natively_no_token_opens_a_channel_of_an_application_that_does_not_name_it() {
    let gateway = start_with_apps(&[("PRESENCE_RATE_QUERY", "1000/s burst 1000")]).await;
    for token in closed(&gateway) {
        let mut mallory = Person::connects(&gateway.options_with(&token)).await;
        for channel in APART {
            for command in [
                json!({"type": "presence:watch", "channel": channel}),
                json!({"type": "presence:join", "channel": channel}),
                json!({"type": "presence:join", "channel": channel, "watch": false}),
                json!({"type": "presence:list", "channel": channel}),
                json!({"type": "presence:broadcast", "channel": channel, "event": "x"}),
            ] {
                let why = mallory.is_refused(&command.to_string()).await;
                let found = (why.code, why.field.as_deref());
                assert_eq!(found, (ErrorCode::Forbidden, Some("channel")), "{command}");
            }
            for command in [
                json!({"type": "presence:typing", "channel": channel, "typing": true}),
                json!({"type": "presence:cursor", "channel": channel, "x": 1, "y": 1}),
                json!({"type": "presence:update", "channel": channel, "meta": {}}),
            ] {
                let why = mallory.is_refused(&command.to_string()).await;
                assert_eq!(why.code, ErrorCode::NotJoined, "{command}");
            }
        }
    }
}

#[tokio::test]
async fn in_the_other_dialects_neither() {
    let gateway = start_with_apps(&[]).await;
    for token in closed(&gateway) {
        let params = format!("token={token}");
        let mut page = phoenix::Page::connects_with(&gateway, &params).await;
        page.joins("presence:mallory", json!({})).await;
        for channel in APART {
            for params in [json!({}), json!({"watch": true})] {
                let join = json!(["2", "2", channel, "phx_join", params]);
                page.is_refused(join).await;
            }
            let join =
                json!(["1", "3", "presence:mallory", "join_channel", {"channel_id": channel}]);
            page.is_refused(join).await;
            let said = json!(["2", "4", channel, "wave", {}]);
            page.is_refused(said).await;
        }
    }
    // The classes of Action Cable lead to `room:`, `document:` and `page:`, whatever an id looks like.
    let token = token(&gateway, None, &["admin"]);
    let mut watcher = watcher_of(&gateway, "pusher/3/private-secret").await;
    let target = format!("/cable?token={token}");
    let mut page = cable::Page::at(gateway.address(), &target, cable::EXTENDED).await;
    for identifier in [
        json!({"channel": "PresenceChannel", "room_id": "pusher/3/private-secret", "events": true}),
        json!({"channel": "CursorChannel", "document_id": "../pusher/3/private-secret"}),
        json!({"channel": "PagePresenceChannel", "path": "pusher/3/private-secret"}),
    ] {
        let identifier = identifier.to_string();
        page.says(json!({"command": "subscribe", "identifier": identifier}))
            .await;
        let is_answer = |it: &Value| {
            it["type"]
                .as_str()
                .filter(|it| it.ends_with("_subscription"))
                .map(str::to_owned)
        };
        page.hears(is_answer).await;
        page.says(json!({"command": "whisper", "identifier": identifier, "data": {"x": 1}}))
            .await;
    }
    watcher
        .notices_nothing_for(Duration::from_millis(300))
        .await;
    assert!(broadcasts(&watcher).is_empty());
}

#[tokio::test]
async fn over_http_neither_whatever_is_asked() {
    let gateway = start_with_apps(&[
        ("PRESENCE_RATE_QUERY", "1000/s burst 1000"),
        ("PRESENCE_RATE_JOIN", "1000/s burst 1000"),
    ])
    .await;
    for token in closed(&gateway) {
        for channel in APART {
            let encoded = channel.replace('#', "%23").replace('/', "%2F");
            for path in [channel.replace('#', "%23"), encoded] {
                for what in ["viewers", "count", "typing"] {
                    let path = format!("/api/presence/channel/{path}/{what}");
                    let (status, body) = call(gateway.address(), "GET", &path, &token, None).await;
                    assert_eq!(
                        (status, &body["error"]["code"]),
                        (403, &json!("forbidden")),
                        "{path} {body}"
                    );
                }
                for what in ["join", "leave", "heartbeat", "broadcast"] {
                    let path = format!("/api/presence/channel/{path}/{what}");
                    let mut sent = json!({"user_id": "mallory"});
                    if what == "broadcast" {
                        sent["event"] = json!("x");
                    }
                    let (status, body) =
                        call(gateway.address(), "POST", &path, &token, Some(sent)).await;
                    assert_eq!(
                        (status, &body["error"]["code"]),
                        (403, &json!("forbidden")),
                        "{path} {body}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_pattern_that_names_them_opens_them_and_pushers_own_signature_does() {
    let gateway = start_with_apps(&[]).await;
    let channel = "pusher/3/private-secret";
    let mut watcher = watcher_of(&gateway, channel).await;
    let mut page = pusher::Page::connects(&gateway).await;
    // Without a signature, or with that of another application, there is no way in.
    for auth in [
        String::new(),
        format!("key-of-3:{}", pusher::sign(OTHER_SECRET, "x")),
    ] {
        page.says(
            "pusher:subscribe",
            json!({"channel": "private-secret", "auth": auth}),
        )
        .await;
        page.is_refused("private-secret", 401).await;
    }
    let auth = page.auth(":private-secret");
    page.says(
        "pusher:subscribe",
        json!({"channel": "private-secret", "auth": auth}),
    )
    .await;
    page.hears("pusher_internal:subscription_succeeded").await;
    page.says_in("private-secret", "client-wave", json!({"n": 1}))
        .await;
    let heard = watcher
        .hears_of("a wave", |event| match event {
            Event::Broadcast(it) if &*it.event == "wave" => Some(it.clone()),
            _ => None,
        })
        .await;
    assert_eq!(heard.payload.unwrap().as_str(), r#"{"n":1}"#);
    // Only what it names.
    let why = watcher
        .is_refused(r#"{"type":"presence:watch","channel":"pusher/3/private-other"}"#)
        .await;
    assert_eq!(why.code, ErrorCode::Forbidden);
    // A default may name them, too.
    let gateway = start_with_apps(&[("PRESENCE_JWT_CHANNELS_DEFAULT", "room:*,pusher/3/*")]).await;
    let token = token(&gateway, None, &[]);
    let mut person = Person::connects(&gateway.options_with(&token)).await;
    person
        .does(r#"{"type":"presence:watch","channel":"pusher/3/private-secret"}"#)
        .await;
    let why = person
        .is_refused(r#"{"type":"presence:watch","channel":"pusher/7/private-secret"}"#)
        .await;
    assert_eq!(why.code, ErrorCode::Forbidden);
}

#[tokio::test]
async fn without_keys_the_only_way_in_is_a_signature_too() {
    let gateway = pusher::start_with_apps(&[]).await;
    let mut ann = Person::connects(&gateway.options("ann")).await;
    for channel in APART {
        let why = ann
            .is_refused(&json!({"type": "presence:watch", "channel": channel}).to_string())
            .await;
        assert_eq!(why.code, ErrorCode::Forbidden);
    }
    let mut page = phoenix::Page::connects(&gateway, "ann").await;
    page.is_refused(json!(["1", "1", APART[1], "phx_join", {}]))
        .await;
    let path = "/api/presence/channel/pusher/3/private-secret/viewers?user_id=ann";
    assert_eq!(call(gateway.address(), "GET", path, "", None).await.0, 403);
    let page = pusher::Page::enters(&gateway, "bob", "presence-room;1").await;
    ann.does(r#"{"type":"presence:join","channel":"room:1"}"#)
        .await;
    ann.until("bob", |it| it.room.user("bob").is_some()).await;
    drop(page);
}

#[tokio::test]
async fn no_user_has_an_id_that_looks_like_an_application() {
    const IDS: [&str; 3] = ["pusher/7/ann", "pusher/", "app:3"];
    let open = pusher::start_with_apps(&[("PRESENCE_RATE_QUERY", "1000/s burst 1000")]).await;
    let closed = start_with_apps(&[]).await;
    for id in IDS {
        // At the doors, without keys.
        let mut raw = Raw::upgrade(open.address(), &format!("/ws?user_id={id}"), "").await;
        let why = raw.error().await;
        let message = format!(
            "user_id must not begin with `{}`",
            &id[..id.find(['/', ':']).unwrap() + 1]
        );
        assert_eq!((why.code, why.message), (ErrorCode::Invalid, message));
        let handshake = raw::handshake(&format!("/socket/websocket?vsn=2.0.0&user_id={id}"), "");
        let answer = raw::exchange(open.address(), handshake.as_bytes()).await;
        assert_eq!(raw::status(&answer), 403, "{answer}");
        let mut page = phoenix::Page::connects_with(&open, "x=1").await;
        page.is_refused(json!(["1", "1", "room:1", "phx_join", {"user_id": id}]))
            .await;
        page.is_refused(json!(["1", "1", format!("presence:{id}"), "phx_join", {}]))
            .await;
        let target = format!("/cable?user_id={id}");
        let page = cable::Page::at(open.address(), &target, cable::PLAIN).await;
        assert_eq!(page.welcome["type"], "disconnect", "{}", page.welcome);
        let path = format!("/api/presence/users/ann?user_id={id}");
        assert_eq!(call(open.address(), "GET", &path, "", None).await.0, 400);

        // In what is asked for.
        let mut ann = Person::connects(&open.options("ann")).await;
        for command in [
            json!({"type": "presence:watch", "users": ["bob", id]}),
            json!({"type": "presence:get", "users": [id]}),
        ] {
            let why = ann.is_refused(&command.to_string()).await;
            assert_eq!(
                (why.code, why.field.as_deref()),
                (ErrorCode::Invalid, Some("users"))
            );
        }
        let mut page = phoenix::Page::connects(&open, "ann").await;
        page.is_refused(json!(["1", "1", format!("user:{id}"), "phx_join", {}]))
            .await;
        let encoded = id.replace('/', "%2F");
        for (method, path, body) in [
            ("GET", format!("/api/presence/users/{encoded}"), None),
            (
                "PUT",
                format!("/api/presence/users/{encoded}/status"),
                Some(json!({"status": "busy"})),
            ),
            (
                "PATCH",
                format!("/api/presence/users/{encoded}/status"),
                Some(json!({"status": "busy"})),
            ),
            (
                "POST",
                "/api/presence/bulk".to_owned(),
                Some(json!({"user_ids": ["bob", id]})),
            ),
            (
                "POST",
                "/api/presence/channel/room:1/join".to_owned(),
                Some(json!({"user_id": id})),
            ),
            (
                "POST",
                "/api/presence/channel/room:1/bulk-heartbeat".to_owned(),
                Some(json!({"user_ids": [id]})),
            ),
            (
                "POST",
                "/api/presence/channel/room:1/leave".to_owned(),
                Some(json!({"user_id": id})),
            ),
            (
                "POST",
                "/api/presence/channel/room:1/heartbeat".to_owned(),
                Some(json!({"user_id": id})),
            ),
            (
                "POST",
                "/api/presence/channel/room:1/broadcast".to_owned(),
                Some(json!({"user_id": id, "event": "x"})),
            ),
        ] {
            let (status, body) = call(open.address(), method, &path, "", body).await;
            assert_eq!(status, 400, "{method} {path}: {body}");
            let field = body["error"]["field"].as_str().unwrap_or_default();
            assert!(field.starts_with("user_id"), "{method} {path}: {body}");
        }

        // In what an application's server signs.
        let mut page = pusher::Page::connects(&open).await;
        page.subscribes("presence-room;1", &json!({ "user_id": id }).to_string())
            .await;
        page.is_refused("presence-room;1", 400).await;
        let data = json!({ "id": id }).to_string();
        let auth = page.auth(&format!("::user::{data}"));
        page.says("pusher:signin", json!({"auth": auth, "user_data": data}))
            .await;
        page.is_told(None).await;

        // In a token, whatever its key says.
        let claims = json!({"sub": id, "exp": 4_000_000_000_u64, "scopes": ["admin"]});
        let token = signed(&claims);
        let mut raw = Raw::upgrade(closed.address(), &format!("/ws?token={token}"), "").await;
        let why = raw.error().await;
        assert!(
            why.message.starts_with("sub must not begin with"),
            "{}",
            why.message
        );
    }
    // Who throws out and forgets users of an application is an admin.
    let admin = closed.token("root", HOUR, |it| it.scopes = vec!["admin".into()]);
    let path = "/api/presence/users/pusher%2F7%2Fann";
    let kicked = call(
        closed.address(),
        "POST",
        &format!("{path}/kick"),
        &admin,
        None,
    )
    .await;
    assert_eq!(kicked.0, 200, "{}", kicked.1);
    let kicked = call(
        closed.address(),
        "POST",
        "/api/presence/users/app:3/kick",
        &admin,
        None,
    )
    .await;
    assert_eq!(kicked.0, 400, "{}", kicked.1);
}

#[tokio::test]
async fn without_keys_nothing_is_answered_to_a_name_that_was_pointed_at_this_machine() {
    let open = pusher::start_with_apps(&[]).await;
    let port = open.address().port();
    let paths = [
        "/",
        "/presence.js",
        "/presence-elements.js",
        "/favicon.svg",
        "/health",
        "/livez",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/api/presence/users/ann",
        "/api/nothing",
        "/apps/3/channels",
        "/nowhere",
        "/ws",
        "/socket/websocket?vsn=2.0.0",
        "/cable",
        "/app/key-of-3?protocol=7",
    ];
    let foreign = [
        format!("evil.example:{port}"),
        "evil.example".into(),
        "127.0.0.1.evil.example".into(),
        "localhost@evil.example".into(),
    ];
    for path in paths {
        for host in &foreign {
            for request in [
                format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
                format!("HEAD {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
                format!("OPTIONS {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"),
                format!(
                    "GET {path} HTTP/1.1\r\nhost: localhost\r\nhost: {host}\r\nconnection: close\r\n\r\n"
                ),
                raw::handshake(path, "").replace("host: localhost", &format!("host: {host}")),
            ] {
                let answer = raw::exchange(open.address(), request.as_bytes()).await;
                assert_eq!(raw::status(&answer), 403, "{request}\n{answer}");
                assert!(raw::body(&answer).len() < 200, "{answer}");
            }
        }
    }
    for host in [
        "localhost".to_owned(),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
        format!("app.localhost:{port}"),
    ] {
        for path in ["/", "/health", "/metrics", "/openapi.json", "/readyz"] {
            let request =
                format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            let answer = raw::exchange(open.address(), request.as_bytes()).await;
            assert_eq!(raw::status(&answer), 200, "{host} {path}: {answer}");
        }
    }
    // One that is in the list may, and with keys a name means nothing.
    let listed = start(&[("PRESENCE_ALLOWED_ORIGINS", "http://dev.example.org")]).await;
    let closed = start_closed(&[]).await;
    for gateway in [&listed, &closed] {
        let request = "GET /health HTTP/1.1\r\nhost: dev.example.org\r\nconnection: close\r\n\r\n";
        let answer = raw::exchange(gateway.address(), request.as_bytes()).await;
        assert_eq!(raw::status(&answer), 200, "{answer}");
    }
}

/// Somebody whose token names a channel of an application, and who watches it.
async fn watcher_of(gateway: &Running, channel: &str) -> Person {
    let token = gateway.token("auditor", HOUR, |it| it.channels = vec![channel.to_owned()]);
    let mut watcher = Person::connects(&gateway.options_with(&token)).await;
    watcher
        .does(&json!({"type": "presence:watch", "channel": channel}).to_string())
        .await;
    watcher
}

fn broadcasts(person: &Person) -> Vec<&Broadcast> {
    let all = person.heard.iter().filter_map(|event| match event {
        Event::Broadcast(it) => Some(it),
        _ => None,
    });
    all.collect()
}

/// Signs claims with the secret of tests.
fn signed(claims: &Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(gateway::SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).unwrap()
}

/// Asks the HTTP API: the status, and the body.
pub(crate) async fn call(
    address: SocketAddr,
    method: &str,
    path: &str,
    token: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let body = body.map(|it| it.to_string()).unwrap_or_default();
    let token = match token {
        "" => String::new(),
        token => format!("authorization: Bearer {token}\r\n"),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{token}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = raw::exchange(address, request.as_bytes()).await;
    let body = serde_json::from_str(raw::body(&answer)).unwrap_or_default();
    (raw::status(&answer), body)
}
