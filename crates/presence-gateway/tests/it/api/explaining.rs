//! Why others are shown what they are shown: asked over HTTP, of people with real sockets.

use std::time::Duration;

use presence_client::{Client, Options, Protocol};
use presence_protocol::Command;
use serde_json::{Value, json};

use super::support::{Caller, Reply, Socket};
use crate::gateway::{Running, SECRET, soon, start, start_closed};
use crate::program::ProgramFolder;
use crate::raw::Raw;

const ROOM: &str = r#"{"type":"presence:join","channel":"page:/a/b"}"#;
const ROOM_PATH: &str = "/api/presence/channel/page:/a/b/explain";

/// The explanation of a user, for an admin.
async fn explained(gateway: &Running, user: &str) -> Value {
    let admin = Caller::with(gateway, "root", &["admin"], &[]);
    admin.get(&path(user)).await.ok()
}

fn path(user: &str) -> String {
    format!("/api/presence/users/{user}/explain")
}

/// The facts, or the transitions with their causes, the oldest first.
fn names(list: &Value, name: &str, detail: &str) -> Vec<String> {
    let text = |it: &Value| it.as_str().unwrap_or("-").to_owned();
    let list = list.as_array().unwrap().iter();
    let list = list.map(|it| match detail {
        "" => text(&it[name]),
        detail => format!("{} {}", text(&it[name]), text(&it[detail])),
    });
    list.collect()
}

fn history(explained: &Value) -> Vec<String> {
    let mut history = names(&explained["history"], "what", "cause");
    history.reverse();
    history
}

/// No caller may ask more than ten times a second for long.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}

/// Asks until the last thing that happened to them is this.
async fn until_last(gateway: &Running, user: &str, last: &str) -> Value {
    let asking = async {
        loop {
            let explained = explained(gateway, user).await;
            if history(&explained).last().is_some_and(|it| it == last) {
                return explained;
            }
            pause().await;
        }
    };
    soon(format!("{user}: {last}"), asking).await
}

#[tokio::test]
async fn who_comes_idles_and_hides_is_explained_with_device_and_dialect() {
    let gateway = start_closed(&[("NODE_NAME", "eu-1")]).await;
    let mut ann = Socket::of(&gateway, "ann").await;
    ann.says(ROOM).await;
    ann.says(r#"{"type":"presence:activity","activity":"idle"}"#)
        .await;
    let explained_now = explained(&gateway, "ann").await;
    assert_eq!(explained_now["shown"], "away");
    assert_eq!(
        names(&explained_now["why"], "fact", ""),
        ["all_idle", "chose"]
    );
    let session = &explained_now["sessions"][0];
    for (field, value) in [
        ("gateway", json!("eu-1")),
        ("device_id", json!("web:laptop")),
        ("dialect", json!("native")),
        ("state", json!("connected")),
        ("activity", json!("idle")),
        ("channels", json!(["page:/a/b"])),
        ("by_service", json!(false)),
    ] {
        assert_eq!(session[field], value, "{field}");
    }
    // Hashed, and so not the address that everybody here has.
    let address = session["address"].as_str().unwrap();
    assert!(address.len() == 16 && address.bytes().all(|it| it.is_ascii_hexdigit()));
    assert_eq!(explained_now["silent"], json!([]));
    assert_eq!(explained_now["differences"], json!([]));

    ann.says(r#"{"type":"presence:status","status":"invisible"}"#)
        .await;
    let hidden = explained(&gateway, "ann").await;
    assert_eq!(hidden["shown"], "offline");
    assert_eq!(hidden["chosen"]["status"], "invisible");
    assert_eq!(hidden["chosen"]["by"], "client");
    let chose = &hidden["why"][1];
    let text = chose["text"].as_str().unwrap();
    assert!(
        text.ends_with("on gateway eu-1 by a client of theirs"),
        "{text}"
    );
    assert_eq!(chose["gateway"], "eu-1");
    assert_eq!(
        history(&hidden),
        [
            "session_began client",
            "shown client",
            "joined client",
            "activity client",
            "shown client",
            "chose client",
            "shown client",
            "left hid",
        ]
    );
}

#[tokio::test]
async fn leaving_losing_the_connection_and_being_kicked_are_told_apart() {
    let gateway = start_closed(&[("PRESENCE_GRACE", "1s")]).await;
    Socket::of(&gateway, "leaves").await.leaves().await;
    let left = until_last(&gateway, "leaves", "shown client").await;
    assert_eq!(left["shown"], "offline");
    let why = left["why"].as_array().unwrap().last().unwrap().clone();
    assert!(
        why["text"].as_str().unwrap().ends_with("the client left"),
        "{why}"
    );

    drop(Socket::of(&gateway, "breaks").await);
    let lost = until_last(&gateway, "breaks", "shown grace_over").await;
    let why = lost["why"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(why["fact"], "last_ended");
    let reasons = names(&lost["history"], "what", "reason");
    assert!(
        reasons.contains(&"session_ended lost".to_owned()),
        "{reasons:?}"
    );

    let mut kicked = Socket::of(&gateway, "kicked").await;
    let admin = Caller::with(&gateway, "root", &["admin"], &[]);
    admin
        .post("/api/presence/users/kicked/kick", json!({}))
        .await
        .ok();
    kicked.is_over().await;
    let kicked = until_last(&gateway, "kicked", "shown kick").await;
    let why = kicked["why"].as_array().unwrap().last().unwrap().clone();
    assert!(
        why["text"]
            .as_str()
            .unwrap()
            .ends_with("the user was kicked"),
        "{why}"
    );
}

/// The end of the only connection of `user`, as an operator asks for it.
async fn dismiss(gateway: &Running, user: &str, reconnect: bool) {
    let admin = Caller::with(gateway, "root", &["admin"], &[]);
    let list = format!("/api/presence/connections?user_id={user}");
    let listed = admin.get(&list).await.ok();
    let id = listed["connections"][0]["id"].as_str().unwrap();
    let end = format!("/api/presence/connections/{id}/disconnect?reconnect={reconnect}");
    let ended = admin.call("POST", &end, None).await.ok();
    assert_eq!(ended["disconnected"], true);
}

#[tokio::test]
async fn what_an_operator_ended_is_not_said_to_be_the_clients_doing() {
    let gateway = start_closed(&[("PRESENCE_GRACE", "60s")]).await;
    let mut ann = Socket::of(&gateway, "ann").await;
    dismiss(&gateway, "ann", false).await;
    ann.is_over().await;
    let gone = until_last(&gateway, "ann", "shown operator").await;
    assert!(history(&gone).contains(&"session_ended operator".to_owned()));
    let why = gone["why"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(why["fact"], "last_ended");
    let text = why["text"].as_str().unwrap();
    assert!(text.ends_with("an operator ended the connection"), "{text}");

    let mut bob = Socket::of(&gateway, "bob").await;
    dismiss(&gateway, "bob", true).await;
    bob.is_over().await;
    let held = until_last(&gateway, "bob", "disconnected operator").await;
    assert_eq!(held["shown"], "online");
    assert_eq!(held["sessions"][0]["state"], "held");
}

#[tokio::test]
async fn a_held_session_says_until_when_and_what_became_of_its_connection() {
    let gateway = start_closed(&[("PRESENCE_GRACE", "60s")]).await;
    drop(Socket::of(&gateway, "ann").await);
    let held = async {
        loop {
            let explained = explained(&gateway, "ann").await;
            if explained["sessions"][0]["state"] == "held" {
                return explained;
            }
            pause().await;
        }
    };
    let held = soon("a held session", held).await;
    assert_eq!(
        names(&held["why"], "fact", ""),
        ["active", "only_held", "chose"]
    );
    let session = &held["sessions"][0];
    assert_eq!(session["lost_reason"], "lost");
    assert!(session["held_until"].as_str() > session["lost_at"].as_str());
}

#[tokio::test]
async fn a_status_says_who_chose_it() {
    let gateway = start_closed(&[]).await;
    let owner = Caller::of(&gateway, "ann");
    let status = "/api/presence/users/ann/status";
    owner.put(status, json!({ "status": "busy" })).await.ok();
    assert_eq!(explained(&gateway, "ann").await["chosen"]["by"], "owner");
    let service = Caller::with(&gateway, "bot", &["status", "act"], &[]);
    service.put(status, json!({ "status": "away" })).await.ok();
    assert_eq!(explained(&gateway, "ann").await["chosen"]["by"], "service");
    // Nobody is there who could notice that it has ended, and it has all the same.
    let soon_over = json!({ "status": "busy", "clear_after": 1 });
    service.put(status, soon_over.clone()).await.ok();
    let ended = async {
        loop {
            let chosen = explained(&gateway, "ann").await["chosen"].clone();
            if chosen["by"] == "expiry" {
                return chosen;
            }
            pause().await;
        }
    };
    assert_eq!(soon("the status ends", ended).await["status"], "online");
    let _ann = Socket::of(&gateway, "ann").await;
    service.put(status, soon_over).await.ok();
    until_last(&gateway, "ann", "shown expiry").await;
    assert_eq!(explained(&gateway, "ann").await["chosen"]["by"], "expiry");
}

#[tokio::test]
async fn a_room_says_who_is_there_through_which_gateway_and_who_has_left() {
    let gateway = start_closed(&[("NODE_NAME", "eu-1"), ("PRESENCE_TICK", "50ms")]).await;
    let mut ann = Socket::of(&gateway, "ann").await;
    ann.says(ROOM).await;
    let mut bob = Socket::of(&gateway, "bob").await;
    bob.says(ROOM).await;
    bob.leaves().await;
    until_last(&gateway, "bob", "shown client").await;
    let admin = Caller::with(&gateway, "root", &["admin"], &[]);
    let room = admin.get(ROOM_PATH).await.ok();
    assert_eq!(
        (&room["people"], &room["channel_id"]),
        (&json!(1), &json!("page:/a/b"))
    );
    assert_eq!(names(&room["members"], "user_id", "gateway"), ["ann eu-1"]);
    assert_eq!(
        names(&room["history"], "user_id", "what"),
        ["bob left", "bob joined", "ann joined"]
    );
    let says = &room["by_gateway"][0];
    assert_eq!(
        (&says["mode"], &says["tick_ms"]),
        (&json!("listed"), &json!(50))
    );
    assert_eq!(says["watchers"]["full"], 1);
}

#[tokio::test]
async fn an_owner_is_told_about_themselves_and_not_about_those_who_watch_them() {
    let gateway = start_closed(&[]).await;
    let mut ann = Socket::of(&gateway, "ann").await;
    let mut bob = Socket::of(&gateway, "bob").await;
    bob.says(r#"{"type":"presence:watch","users":["ann"]}"#)
        .await;
    ann.says(ROOM).await;
    let own = Caller::of(&gateway, "ann").get(&path("ann")).await.ok();
    assert_eq!(own["sessions"][0]["channels"], json!(["page:/a/b"]));
    assert!(own["says"]["gateways"][0].get("watchers").is_none());
    assert!(!own.to_string().contains("bob"));
    let all = explained(&gateway, "ann").await;
    assert_eq!(all["says"]["gateways"][0]["watchers"], 1);
    for (caller, target) in [("bob", path("ann")), ("ann", ROOM_PATH.to_owned())] {
        let refused = Caller::of(&gateway, caller).get(&target).await;
        refused.refused(403, "forbidden");
    }
}

/// Somebody who hides, somebody who was there, and somebody nobody knows.
const TWINS: [&str; 3] = ["hides", "leaves", "stranger"];

async fn hides_and_leaves(gateway: &Running) {
    let mut leaves = Socket::of(gateway, "leaves").await;
    leaves.says(ROOM).await;
    leaves.leaves().await;
}

/// The whole answer, but for when it was given.
fn bytes(reply: &Reply, user: &str) -> String {
    let all = format!("{:?}", reply.everything());
    all.replace(user, "USER")
}

#[tokio::test]
async fn without_admin_a_hidden_and_an_absent_person_are_equal_to_the_byte() {
    let gateway = start_closed(&[]).await;
    let mut hides = Socket::of(&gateway, "hides").await;
    hides
        .says(r#"{"type":"presence:status","status":"invisible"}"#)
        .await;
    hides.says(ROOM).await;
    hides_and_leaves(&gateway).await;
    let callers = [
        Caller::of(&gateway, "bob"),
        Caller::with(&gateway, "bob", &["watch", "read", "act", "status"], &["*"]),
        Caller::nobody(&gateway),
    ];
    for caller in &callers {
        let mut answers = Vec::new();
        for user in TWINS {
            let reply = caller.get(&path(user)).await;
            assert!(matches!(reply.status, 401 | 403), "{}", reply.status);
            answers.push(bytes(&reply, user));
        }
        assert!(answers.windows(2).all(|it| it[0] == it[1]), "{answers:#?}");
        let rooms = [ROOM_PATH, "/api/presence/channel/empty/explain"];
        let mut answers = Vec::new();
        for room in rooms {
            answers.push(bytes(&caller.get(room).await, room));
        }
        assert_eq!(answers[0], answers[1]);
    }
}

#[tokio::test]
async fn without_keys_everybody_explains_themselves_only() {
    let gateway = start(&[]).await;
    let mut hides = Raw::connect(gateway.address(), "hides").await;
    hides
        .text(r#"{"type":"presence:status","ref":1,"status":"invisible"}"#)
        .await;
    hides.answer(1).await;
    let nobody = Caller::nobody(&gateway);
    let own = nobody
        .get(&format!("{}?user_id=hides", path("hides")))
        .await;
    assert_eq!(own.ok()["chosen"]["status"], "invisible");
    let mut answers = Vec::new();
    for user in TWINS {
        let reply = nobody.get(&format!("{}?user_id=bob", path(user))).await;
        reply.refused(403, "forbidden");
        answers.push(bytes(&reply, user));
    }
    assert!(answers.windows(2).all(|it| it[0] == it[1]), "{answers:#?}");
    let room = nobody.get(&format!("{ROOM_PATH}?user_id=bob")).await;
    room.refused(403, "forbidden");
}

#[tokio::test]
async fn addresses_are_kept_as_the_operator_wants() {
    for (setting, address) in [("full", json!("127.0.0.1")), ("off", Value::Null)] {
        let gateway = start_closed(&[("PRESENCE_EXPLAIN_ADDRESSES", setting)]).await;
        let _ann = Socket::of(&gateway, "ann").await;
        let explained = explained(&gateway, "ann").await;
        assert_eq!(explained["sessions"][0]["address"], address);
    }
    let wrong = [("PRESENCE_EXPLAIN_ADDRESSES", "some")];
    let (is_fine, _, errors) = ProgramFolder::new().run(&wrong, &["--check-config"]);
    assert!(
        !is_fine && errors.contains("hashed, full or off"),
        "{errors}"
    );
}

/// Two gateways on a Redis, of which one is killed.
mod cluster {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use presence_testkit::cluster::{Cluster, Settings};
    use presence_testkit::redis::Topology;

    use super::super::support::send;
    use super::*;
    use presence_gateway::identity::{Grant, mint};

    fn token(user: &str, scopes: &[&str]) -> String {
        let grant = Grant {
            user: user.parse().unwrap(),
            name: None,
            workspaces: Vec::new(),
            channels: Vec::new(),
            scopes: scopes.iter().map(|&it| it.to_owned()).collect(),
            device: None,
            ttl: Duration::from_secs(3600),
        };
        let config = crate::gateway::config(&[("PRESENCE_JWT_SECRET", SECRET)]);
        mint(&config.jwt, &grant, crate::gateway::now()).unwrap()
    }

    async fn client(address: SocketAddr, user: &str) -> Client {
        let options = Options {
            protocol: Protocol::Json,
            user_id: None,
            token: Some(token(user, &[])),
            device_id: Some(format!("web:{user}")),
            ..Options::user(&format!("ws://{address}/ws"), user)
        };
        let mut client = soon("a connection", Client::connect(&options))
            .await
            .unwrap();
        client
            .request(Command::from_json(ROOM).unwrap())
            .await
            .unwrap();
        client
    }

    async fn ask(address: SocketAddr, path: &str) -> Value {
        let authorization = format!("Bearer {}", token("root", &["admin"]));
        let headers = [("authorization", authorization.as_str())];
        send(address, "GET", path, &headers, b"").await.ok()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_was_on_a_killed_gateway_is_explained_by_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            binary: PathBuf::from(env!("CARGO_BIN_EXE_presence-gateway")),
            gateways: 2,
            redis: Some(Topology::Single),
            node_timeout: Duration::from_secs(2),
            mongo: false,
            port_base: None,
            env: vec![("PRESENCE_JWT_SECRET".to_owned(), SECRET.to_owned())],
        };
        let path = folder.path().to_owned();
        let start = move || Cluster::start(&path, &settings);
        let mut cluster = tokio::task::spawn_blocking(start).await.unwrap().unwrap();
        let [a, b] = [0, 1].map(|it| cluster.gateways[it].address());
        let names = [0, 1].map(|it| cluster.gateways[it].name().to_owned());
        let _bob = client(a, "bob").await;
        let _ann = client(b, "ann").await;
        let user = super::path("ann");

        // Each of them says the same, once it knows the other.
        for address in [a, b] {
            let known = async {
                loop {
                    let explained = ask(address, &user).await;
                    if explained["sessions"][0]["gateway"] == names[1].as_str() {
                        return explained;
                    }
                    pause().await;
                }
            };
            let explained = soon("an explanation", known).await;
            assert_eq!(explained["shown"], "online");
            assert_eq!(explained["sessions"][0]["dialect"], "native");
        }
        let room = ask(a, ROOM_PATH).await;
        let mut members = super::names(&room["members"], "user_id", "gateway");
        members.sort_unstable();
        assert_eq!(
            members,
            [format!("ann {}", names[1]), format!("bob {}", names[0])]
        );

        cluster.gateways[1].process.kill().unwrap();
        let explained = ask(a, &user).await;
        assert_eq!(explained["silent"], json!([names[1]]));
        assert_eq!(explained["sessions"][0]["state"], "unanswered");
        assert_eq!(explained["shown"], "online");

        let died = async {
            loop {
                let explained = ask(a, &user).await;
                if explained["shown"] == "offline" && explained["history"] != json!([]) {
                    return explained;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        };
        let died = tokio::time::timeout(Duration::from_secs(90), died).await;
        let died = died.expect("it is declared dead");
        let gateways = super::names(&died["gateways"], "gateway", "state");
        assert!(
            gateways.contains(&format!("{} dead", names[1])),
            "{gateways:?}"
        );
        let last = died["why"].as_array().unwrap().last().unwrap();
        assert_eq!(
            (&last["fact"], &last["gateway"]),
            (&json!("last_ended"), &json!(names[1]))
        );
        assert!(
            last["text"].as_str().unwrap().ends_with("its gateway died"),
            "{last}"
        );
        let room = ask(a, ROOM_PATH).await;
        let left = &room["history"][0];
        assert_eq!(
            (&left["what"], &left["reason"]),
            (&json!("left"), &json!("node_lost"))
        );
        assert_eq!(left["user_id"], "ann");
    }
}
