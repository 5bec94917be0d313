//! The lists of several gateways that share one Redis, and ending connections on all of them: over HTTP and over the
//! native protocol.

use std::time::{Duration, Instant};

use presence_testkit::redis::{Redis, Settings, Topology};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{Caller, Reply, Socket, token};
use crate::gateway::{Running, SECRET, config, soon, start_with};
use crate::program::{Program, ProgramFolder};
use crate::raw::Raw;

const LIST: &str = "/api/presence/connections";
const DISCONNECT: &str = "/api/presence/connections/disconnect";
const ROOM: &str = r#"{"type":"presence:join","channel":"room:1"}"#;

/// Two gateways that share a Redis.
struct Pair {
    one: Running,
    two: Running,
    redis: Redis,
    _folder: TempDir,
}

fn settings<'a>(url: &'a str, name: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("PRESENCE_JWT_SECRET", SECRET),
        ("PRESENCE_RATE_QUERY", "1000/s burst 1000"),
        ("REDIS_URL", url),
        ("NODE_NAME", name),
    ]
}

impl Pair {
    async fn start() -> Pair {
        let folder = tempfile::tempdir().unwrap();
        let redis = Redis::start(folder.path(), &Settings::of(Topology::Single)).unwrap();
        let url = redis.url();
        let one = start_with(config(&settings(&url, "one"))).await;
        let two = start_with(config(&settings(&url, "two"))).await;
        let pair = Pair {
            one,
            two,
            redis,
            _folder: folder,
        };
        for gateway in [&pair.one, &pair.two] {
            knows(gateway, &["one", "two"]).await;
        }
        pair
    }
}

fn admin(gateway: &Running) -> Caller<'_> {
    Caller::with(gateway, "operator", &["admin"], &[])
}

/// Waits until `gateway` asks all of these.
async fn knows(gateway: &Running, names: &[&str]) {
    let known = async {
        loop {
            let page = admin(gateway).get(LIST).await.ok();
            let mut found = names_of(&page["gateways"]);
            found.extend(page["silent"].as_array().unwrap().iter().map(text));
            if found == names {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("the gateways know each other", known).await;
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn names_of(gateways: &Value) -> Vec<String> {
    let gateways = gateways.as_array().unwrap().iter();
    gateways.map(|it| text(&it["name"])).collect()
}

/// `name count` of each gateway that answered.
fn counts_of(answer: &Value) -> Vec<String> {
    let gateways = answer["gateways"].as_array().unwrap().iter();
    let counts = gateways.map(|it| format!("{} {}", text(&it["name"]), it["count"]));
    counts.collect()
}

/// `user gateway` of each connection of a page, in the order of the users.
fn who(page: &Value) -> Vec<String> {
    let connections = page["connections"].as_array().unwrap().iter();
    let who = connections.map(|it| {
        let user = text(&it["sessions"][0]["user_id"]);
        format!("{user} {}", text(&it["gateway"]))
    });
    let mut who: Vec<String> = who.collect();
    who.sort();
    who
}

#[tokio::test(flavor = "multi_thread")]
async fn any_gateway_lists_the_connections_of_all() {
    let pair = Pair::start().await;
    let mut ann = Socket::of(&pair.one, "ann").await;
    let mut bob = Socket::of(&pair.two, "bob").await;
    let _tab = Socket::of(&pair.two, "ann").await;
    let mut eve = Socket::of(&pair.two, "eve").await;
    eve.says(r#"{"type":"presence:status","status":"invisible"}"#)
        .await;
    ann.says(ROOM).await;
    bob.says(ROOM).await;
    let everybody = ["ann one", "ann two", "bob two", "eve two"];
    for gateway in [&pair.one, &pair.two] {
        let admin = admin(gateway);
        let listed = async |query: &str| admin.get(&format!("{LIST}{query}")).await.ok();
        let all = listed("").await;
        assert_eq!(who(&all), everybody);
        assert_eq!(counts_of(&all), ["one 1", "two 3"]);
        assert_eq!((&all["silent"], &all["total"]), (&json!([]), &json!(4)));
        // Each sees the other's people a moment later.
        let both = async {
            while who(&listed("?channel_id=room:1").await) != ["ann one", "bob two"] {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        soon("both are in the room", both).await;
        let two = text(&all["gateways"][1]["id"]);
        for (query, expected) in [
            ("?user_id=ann".to_owned(), &["ann one", "ann two"][..]),
            ("?user_id=eve".to_owned(), &["eve two"]),
            ("?gateway=one".to_owned(), &["ann one"]),
            (format!("?gateway={two}"), &everybody[1..]),
            ("?gateway=two&user_id=ann".to_owned(), &["ann two"]),
            ("?dialect=native".to_owned(), &everybody),
            ("?dialect=cable".to_owned(), &[]),
        ] {
            let page = listed(&query).await;
            assert_eq!(who(&page), expected, "{query}");
            assert_eq!(page["total"], expected.len(), "{query}");
        }
        assert_eq!(counts_of(&listed("?gateway=two").await), ["two 3"]);
        let wrong = admin.get(&format!("{LIST}?gateway=three")).await;
        assert_eq!(wrong.refused(400, "invalid")["field"], "gateway");
        // Pages have everything once, whichever gateway has it.
        let mut ids = Vec::new();
        let mut query = "?limit=1".to_owned();
        loop {
            let page = listed(&query).await;
            ids.push(text(&page["connections"][0]["id"]));
            match page["next"].as_str() {
                Some(next) => query = format!("?limit=1&after={next}"),
                None => break,
            }
        }
        assert!(ids.len() == 4 && ids.is_sorted(), "{ids:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_of_all_gateways_are_counted_and_one_that_is_left_is_not() {
    let pair = Pair::start().await;
    let mut ann = Socket::of(&pair.one, "ann").await;
    let mut bob = Socket::of(&pair.two, "bob").await;
    ann.says(ROOM).await;
    bob.says(ROOM).await;
    bob.says(r#"{"type":"presence:join","channel":"room:2"}"#)
        .await;
    bob.says(r#"{"type":"presence:leave","channel":"room:2"}"#)
        .await;
    let reader = Caller::with(&pair.one, "service", &["read"], &[]);
    let expected = json!({
        "channels": [{"id": "room:1", "count": 2}], "total": 1, "limit": 100, "offset": 0
    });
    let listed = async {
        while reader.get("/api/presence/channels").await.ok() != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the list of both", listed).await;
}

/// Waits until this gateway explains the user, and finds no difference.
async fn agrees(gateway: &Running, user: &str) -> Value {
    let path = format!("/api/presence/users/{user}/explain");
    let agreed = async {
        loop {
            let explained = admin(gateway).get(&path).await.ok();
            if explained["differences"] == json!([]) {
                return explained;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon(format!("no difference about {user}"), agreed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_with_a_file_each_do_not_miss_the_profile_of_somebody_elsewhere() {
    let pair = Pair::start().await;
    let mut ann = Socket::of(&pair.one, "ann").await;
    ann.says(r#"{"type":"presence:status","status":"busy"}"#)
        .await;
    for gateway in [&pair.one, &pair.two] {
        let explained = agrees(gateway, "ann").await;
        assert_eq!(explained["chosen"]["status"], "busy");
    }
    // What is left of somebody who was erased is a revision, and for a while only.
    let erased = admin(&pair.one);
    let erased = erased.call("DELETE", "/api/presence/users/ann", None).await;
    assert_eq!(erased.status, 204);
    for gateway in [&pair.one, &pair.two] {
        let explained = agrees(gateway, "ann").await;
        assert_eq!(explained["shown"], "offline");
        assert_eq!(explained["history"], json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_erased_is_gone_from_the_file_of_each_gateway_that_runs() {
    let pair = Pair::start().await;
    let mut ann = Socket::of(&pair.two, "ann").await;
    ann.says(r#"{"type":"presence:status","status":"busy"}"#)
        .await;
    ann.leaves().await;
    let path = "/api/presence/users/ann/explain";
    let there = async |known: &str, stored: &str| loop {
        let says = admin(&pair.two).get(path).await.ok()["says"].clone();
        let mut gateways = says["gateways"].as_array().unwrap().iter();
        let two = gateways.find(|it| it["gateway"] == "two").unwrap();
        if two["knows"] == known && says["profile_store"]["state"] == stored {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // It forgets her once nothing can be said about her session any more.
    let in_file_only = there("nothing", "present");
    let in_file_only = tokio::time::timeout(Duration::from_secs(90), in_file_only).await;
    in_file_only.expect("it is in the file only");
    let erased = admin(&pair.one);
    let erased = erased.call("DELETE", "/api/presence/users/ann", None).await;
    assert_eq!(erased.status, 204);
    soon("it is gone", there("nothing", "nothing")).await;
    let ann = admin(&pair.two).get("/api/presence/users/ann").await.ok();
    assert_eq!(
        (&ann["status"], &ann["last_seen"]),
        (&json!("online"), &json!(null))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connections_of_a_user_are_ended_on_both_gateways() {
    let pair = Pair::start().await;
    let admin = admin(&pair.one);
    let ends = async |body: Value| -> Reply { admin.post(DISCONNECT, body).await };
    let mut here = Socket::of(&pair.one, "ann").await;
    let mut there = Socket::of(&pair.two, "ann").await;
    let mut bob = Socket::of(&pair.two, "bob").await;
    let ended = ends(json!({"user_id": "ann"})).await.ok();
    assert_eq!(ended["disconnected"], 2);
    assert_eq!(counts_of(&ended), ["one 1", "two 1"]);
    assert_eq!(ended["silent"], json!([]));
    for socket in [&mut here, &mut there] {
        assert_eq!(socket.hears("presence:closing").await["reconnect"], true);
        socket.is_over().await;
    }
    bob.says(r#"{"type":"presence:heartbeat"}"#).await;
    let nobody = ends(json!({"user_id": "nobody"})).await.ok();
    assert_eq!(counts_of(&nobody), ["one 0", "two 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_another_gateway_is_ended_by_its_id_or_by_that_of_its_session() {
    let pair = Pair::start().await;
    let admin = admin(&pair.one);
    let mut bob = Socket::of(&pair.two, "bob").await;
    let id_of = async |user: &str, what: &str| {
        let page = admin.get(&format!("{LIST}?user_id={user}")).await.ok();
        let it = &page["connections"][0];
        match what {
            "session" => text(&it["sessions"][0]["session_id"]),
            _ => text(&it["id"]),
        }
    };
    let id = id_of("bob", "connection").await;
    let path = format!("{LIST}/{id}/disconnect?reconnect=false");
    let ended = admin.call("POST", &path, None).await.ok();
    assert_eq!(ended["disconnected"], true);
    assert_eq!(counts_of(&ended), ["one 0", "two 1"]);
    assert_eq!(bob.hears("presence:closing").await["reconnect"], false);
    bob.is_over().await;
    let mut carl = Socket::of(&pair.two, "carl").await;
    let session = id_of("carl", "session").await;
    let body = json!({"session_id": session});
    let ended = admin.post(DISCONNECT, body).await.ok();
    assert_eq!(counts_of(&ended), ["one 0", "two 1"]);
    carl.is_over().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_ended_that_fit_all_that_is_said() {
    let pair = Pair::start().await;
    let admin = admin(&pair.one);
    let ends = async |body: Value| -> Reply { admin.post(DISCONNECT, body).await };
    let mut dan = Socket::of(&pair.one, "dan").await;
    let mut eve = Socket::of(&pair.two, "eve").await;
    let mut watcher = Socket::of(&pair.two, "fay").await;
    dan.says(ROOM).await;
    eve.says(ROOM).await;
    watcher
        .says(r#"{"type":"presence:watch","channel":"room:1"}"#)
        .await;
    let body = json!({"channel_id": "room:1", "gateway": "two", "reconnect": false});
    let ended = ends(body).await.ok();
    assert_eq!(counts_of(&ended), ["two 1"]);
    eve.is_over().await;
    watcher.says(r#"{"type":"presence:heartbeat"}"#).await;
    let ended = ends(json!({"gateway": "one", "dialect": "native"})).await;
    assert_eq!(counts_of(&ended.ok()), ["one 1"]);
    dan.is_over().await;
    watcher.says(r#"{"type":"presence:heartbeat"}"#).await;
}

#[tokio::test]
async fn whoever_does_not_say_which_connections_ends_none() {
    let gateway = crate::gateway::start_closed(&[]).await;
    let mut fay = Socket::of(&gateway, "fay").await;
    let admin = admin(&gateway);
    for (body, field) in [
        (json!({}), "user_id"),
        (json!({"reconnect": false}), "user_id"),
        (json!({"user_id": null, "gateway": "two"}), "user_id"),
        (json!({"user_id": "a b"}), "user_id"),
        (json!({"channel_id": ""}), "channel_id"),
        (json!({"session_id": "x"}), "session_id"),
        (json!({"connection_id": "x"}), "connection_id"),
        (json!({"gateway": "three"}), "gateway"),
        (json!({"dialect": "esperanto"}), "dialect"),
        (json!({"user_id": "fay", "reconnect": "no"}), "reconnect"),
        (json!({"user_id": "fay", "device_id": "web:1"}), "device_id"),
    ] {
        let refused = admin.post(DISCONNECT, body.clone()).await;
        let error = refused.refused(400, "invalid");
        assert_eq!(error["field"], field, "{body}: {error}");
    }
    fay.says(r#"{"type":"presence:heartbeat"}"#).await;
}

/// A gateway that hangs.
struct Hangs {
    program: Program,
    _place: ProgramFolder,
}

impl Hangs {
    fn start(redis: &Redis, name: &str) -> Hangs {
        let place = ProgramFolder::new();
        let url = redis.url();
        let program = place.start(&settings(&url, name));
        Hangs {
            program,
            _place: place,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_hangs_is_said_to_be_silent() {
    let pair = Pair::start().await;
    let three = Hangs::start(&pair.redis, "three");
    knows(&pair.one, &["one", "three", "two"]).await;
    three.program.pauses().await;
    let mut ann = Socket::of(&pair.two, "ann").await;
    let admin = admin(&pair.one);
    // On a busy machine one that is well may need longer than it has, too. Then it is silent for once, and only then.
    let listed = async |query: &str, silent: Value| loop {
        let began = Instant::now();
        let page = admin.get(&format!("{LIST}{query}")).await.ok();
        let of_three = page["silent"].as_array().unwrap().contains(&json!("three"));
        assert_eq!(of_three, silent == json!(["three"]), "{page}");
        // Half a second, and some for the machine.
        if page["silent"] == silent && began.elapsed() < Duration::from_secs(2) {
            return page;
        }
    };
    let all = listed("", json!(["three"]));
    let page = soon("only the one that hangs is silent", all).await;
    assert_eq!(counts_of(&page), ["one 0", "two 1"]);
    // Who is not meant is not said to be silent.
    let page = soon("two answers", listed("?gateway=two", json!([]))).await;
    assert_eq!(counts_of(&page), ["two 1"]);
    let ended = admin.post(DISCONNECT, json!({"user_id": "ann"})).await.ok();
    let silent = ended["silent"].as_array().unwrap();
    assert!(silent.contains(&json!("three")), "{ended}");
    ann.is_over().await;
    three.program.kill();
}

/// A WebSocket of somebody with these scopes.
async fn socket(gateway: &Running, scopes: &[&str], channels: &[&str]) -> Raw {
    let token = token(gateway, "operator", scopes, channels);
    Raw::upgrade(gateway.address(), &format!("/ws?token={token}"), "").await
}

/// The answer to a command.
async fn asks(raw: &mut Raw, command: &Value) -> Value {
    raw.text(&command.to_string()).await;
    let ref_ = command["ref"].as_u64().unwrap();
    serde_json::from_str(&raw.answer(ref_).await.to_json()).unwrap()
}

/// The result of a command that is granted.
async fn result(raw: &mut Raw, command: Value) -> Value {
    let answer = asks(raw, &command).await;
    assert_eq!(answer["type"], "presence:ok", "{answer}");
    answer["result"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_native_protocol_has_the_same_lists() {
    let pair = Pair::start().await;
    let mut ann = Socket::of(&pair.one, "ann").await;
    let mut bob = Socket::of(&pair.two, "bob").await;
    ann.says(ROOM).await;
    bob.says(r#"{"type":"presence:join","channel":"room:2"}"#)
        .await;
    let mut raw = socket(&pair.one, &["admin"], &[]).await;
    let command = json!({"type": "presence:channels", "ref": 1, "prefix": "room:", "limit": 1});
    let first = async {
        loop {
            let page = result(&mut raw, command.clone()).await;
            if page["total"] == 2 {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let page = soon("both rooms", first).await;
    let expected = json!({
        "channels": [{"id": "room:1", "count": 1}], "total": 2, "limit": 1, "offset": 0
    });
    assert_eq!(page, expected);

    let nodes = result(&mut raw, json!({"type": "presence:nodes", "ref": 2})).await;
    assert_eq!(nodes["store"], "connected");
    let states = nodes["nodes"].as_array().unwrap().iter();
    let states: Vec<String> = states
        .map(|it| {
            format!(
                "{} {} {}",
                text(&it["name"]),
                text(&it["state"]),
                it["is_me"]
            )
        })
        .collect();
    assert!(states.contains(&"one alive true".to_owned()), "{states:?}");
    assert!(states.contains(&"two alive false".to_owned()), "{states:?}");

    let command = json!({"type": "presence:connections", "ref": 3, "gateway": "two"});
    let page = result(&mut raw, command).await;
    assert_eq!(who(&page), ["bob two"]);
    assert_eq!(
        (&page["gateway"], &page["total"]),
        (&json!("one"), &json!(1))
    );
    let over_http = admin(&pair.two).get(&format!("{LIST}?gateway=two")).await;
    let (mut natively, over_http) = (page["connections"][0].clone(), over_http.ok());
    let mut over_http = over_http["connections"][0].clone();
    assert_eq!(
        natively["connected_at"].as_u64().unwrap() / 1000,
        over_http["connected_at"]
    );
    assert_eq!(
        natively["sessions"][0]["session"],
        over_http["sessions"][0]["session_id"]
    );
    for it in [&mut natively, &mut over_http] {
        it["connected_at"] = Value::Null;
        let session = it["sessions"][0].as_object_mut().unwrap();
        session.retain(|name, _| !name.starts_with("session"));
    }
    assert_eq!(natively, over_http);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_client_pages_and_ends_what_it_has_found() {
    let pair = Pair::start().await;
    let _ann = Socket::of(&pair.one, "ann").await;
    let mut bob = Socket::of(&pair.two, "bob").await;
    let mut raw = socket(&pair.one, &["admin"], &[]).await;
    let command = json!({"type": "presence:connections", "ref": 3, "gateway": "two"});
    let page = result(&mut raw, command).await;
    let session = page["connections"][0]["sessions"][0]["session"].clone();
    let command = json!({"type": "presence:connections", "ref": 4, "limit": 2});
    let page = result(&mut raw, command).await;
    let next = page["next"].clone();
    let command = json!({"type": "presence:connections", "ref": 5, "limit": 2, "after": next});
    let rest = result(&mut raw, command).await;
    assert_eq!((&page["total"], &rest["next"]), (&json!(3), &Value::Null));
    assert_eq!(rest["connections"].as_array().unwrap().len(), 1);
    let command = json!({
        "type": "presence:disconnect", "ref": 6, "session": session, "reconnect": false
    });
    let ended = result(&mut raw, command).await;
    assert_eq!(ended["disconnected"], 1);
    assert_eq!(counts_of(&ended), ["one 0", "two 1"]);
    bob.is_over().await;

    // The operator's own connection is one, too, and is answered first.
    let command = json!({"type": "presence:disconnect", "ref": 8, "user_id": "operator"});
    assert_eq!(result(&mut raw, command).await["disconnected"], 1);
    raw.ends().await;
}

#[tokio::test]
async fn a_native_command_of_an_operator_names_the_field_that_is_wrong() {
    let gateway = crate::gateway::start_closed(&[]).await;
    let mut raw = socket(&gateway, &["admin"], &[]).await;
    for (command, field) in [
        (json!({"type": "presence:disconnect", "ref": 7}), "user_id"),
        (
            json!({"type": "presence:disconnect", "ref": 7, "connection": "x"}),
            "connection",
        ),
        (
            json!({"type": "presence:connections", "ref": 7, "channel": "a b"}),
            "channel",
        ),
        (
            json!({"type": "presence:connections", "ref": 7, "gateway": "three"}),
            "gateway",
        ),
        (
            json!({"type": "presence:connections", "ref": 7, "after": "x"}),
            "after",
        ),
        (
            json!({"type": "presence:connections", "ref": 7, "limit": 0}),
            "limit",
        ),
        (
            json!({"type": "presence:channels", "ref": 7, "limit": 1001}),
            "limit",
        ),
    ] {
        let error = asks(&mut raw, &command).await;
        assert_eq!(error["code"], "invalid", "{command}: {error}");
        assert_eq!(error["field"], field, "{command}: {error}");
    }
}

/// Channels of Pusher's applications are only there for tokens with a pattern for them.
#[tokio::test]
async fn the_lists_have_the_same_scopes_natively() {
    let gateway = crate::gateway::start_closed(&[]).await;
    let mut ann = Socket::of(&gateway, "ann").await;
    ann.says(ROOM).await;
    let commands = [
        json!({"type": "presence:channels", "ref": 1}),
        json!({"type": "presence:nodes", "ref": 2}),
        json!({"type": "presence:connections", "ref": 3, "user_id": "ann"}),
        json!({"type": "presence:disconnect", "ref": 4, "user_id": "ann"}),
    ];
    for (scopes, granted) in [
        (&["watch", "join", "act"][..], [false; 4]),
        (&["read"], [true, false, false, false]),
        (&["admin"], [true; 4]),
    ] {
        let mut raw = socket(&gateway, scopes, &[]).await;
        for (command, granted) in commands.iter().zip(granted) {
            let answer = asks(&mut raw, command).await;
            let kind = match granted {
                true => "presence:ok",
                false => "presence:error",
            };
            assert_eq!(answer["type"], kind, "{scopes:?} {command}: {answer}");
            if !granted {
                assert_eq!(answer["code"], "forbidden", "{answer}");
            }
        }
    }
    ann.is_over().await;
    let admin = admin(&gateway);
    let apart = "pusher/1/private-x";
    let refused = admin.get(&format!("{LIST}?channel_id={apart}")).await;
    assert_eq!(refused.refused(403, "forbidden")["field"], "channel_id");
    let refused = admin.post(DISCONNECT, json!({"channel_id": apart})).await;
    assert_eq!(refused.refused(403, "forbidden")["field"], "channel_id");
    let mut raw = socket(&gateway, &["admin"], &[]).await;
    let command = json!({"type": "presence:connections", "ref": 1, "channel": apart});
    let refused = asks(&mut raw, &command).await;
    assert_eq!(refused["code"], "forbidden", "{refused}");
    let mut raw = socket(&gateway, &["admin"], &["pusher/1/*"]).await;
    let found = asks(&mut raw, &command).await;
    assert_eq!(found["type"], "presence:ok", "{found}");
}
