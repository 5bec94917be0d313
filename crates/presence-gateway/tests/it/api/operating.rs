//! What the operator's page asks for: how the gateways are, what happens, and stopping one.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::support::{Caller, Socket, send};
use crate::gateway::{Running, soon, start, start_closed};

const OVERVIEW: &str = "/admin/api/overview";
const TRANSITIONS: &str = "/admin/api/transitions";
const ROOM: &str = r#"{"type":"presence:join","channel":"room:1"}"#;

fn admin(gateway: &Running) -> Caller<'_> {
    Caller::with(gateway, "operator", &["admin"], &[])
}

/// What was recorded, oldest first.
fn whats(answer: &Value) -> Vec<String> {
    let lines = answer["transitions"].as_array().unwrap().iter().rev();
    let lines = lines.map(|it| {
        let [what, user] = ["what", "user_id"].map(|name| it[name].as_str().unwrap());
        format!("{user} {what}")
    });
    lines.collect()
}

#[tokio::test]
async fn a_gateway_that_is_alone_says_how_it_is_and_who_is_in_its_rooms() {
    let settings = [
        ("NODE_NAME", "eu-1"),
        ("PRESENCE_RATE_QUERY", "1000/s burst 1000"),
    ];
    let gateway = start_closed(&settings).await;
    let mut ann = Socket::of(&gateway, "ann").await;
    let mut bob = Socket::of(&gateway, "bob").await;
    ann.says(ROOM).await;
    bob.says(ROOM).await;
    bob.says(r#"{"type":"presence:join","channel":"room:2"}"#)
        .await;
    let admin = admin(&gateway);
    // A sample is taken soon after the start.
    let sampled = async {
        loop {
            let overview = admin.get(&format!("{OVERVIEW}?limit=1")).await.ok();
            let node = &overview["nodes"][0];
            if node["samples"][0].is_array() && node["levels"]["users"] == 2 {
                return overview;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let overview = soon("a sample", sampled).await;
    assert_eq!(overview["degraded"], json!([]));
    assert_eq!(overview["store"], "none");
    assert_eq!(overview["is_open"], false);
    let node = &overview["nodes"][0];
    for (field, value) in [
        ("name", json!("eu-1")),
        ("id", Value::Null),
        ("state", json!("alive")),
        ("is_me", json!(true)),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
    ] {
        assert_eq!(node[field], value, "{field}");
    }
    assert!(node["levels"]["connections"].as_u64() >= Some(2));
    assert_eq!(node["levels"]["channels"], 2);
    assert!(node["levels"]["memory_bytes"].as_u64() > Some(1_000_000));
    let columns = overview["columns"].as_array().unwrap().len();
    assert_eq!(node["samples"][0][1].as_array().unwrap().len(), columns);
    let biggest = &overview["rooms"]["by_size"];
    assert_eq!(biggest.as_array().unwrap().len(), 1);
    let (id, people) = (&biggest[0]["channel_id"], &biggest[0]["people"]);
    assert_eq!((id, people), (&json!("room:1"), &json!(2)));
    assert!(overview["rooms"]["by_rate"][0]["events_per_second"].as_f64() > Some(0.0));

    // Samples that the page has are not sent again.
    let last = node["samples"][0][0].as_u64().unwrap();
    let next = admin.get(&format!("{OVERVIEW}?after_ms={last}")).await.ok();
    let samples = next["nodes"][0]["samples"].as_array().unwrap();
    assert!(samples.iter().all(|it| it[0].as_u64() > Some(last)));
    assert_eq!(next["rooms"]["by_size"], json!([]));
}

#[tokio::test]
async fn what_happens_is_told_and_filtered() {
    let settings = [("PRESENCE_RATE_QUERY", "1000/s burst 1000")];
    let gateway = start_closed(&settings).await;
    let mut ann = Socket::of(&gateway, "ann").await;
    let mut bob = Socket::of(&gateway, "bob").await;
    ann.says(ROOM).await;
    bob.says(ROOM).await;
    bob.leaves().await;
    let admin = admin(&gateway);
    let asked = async |query: &str| admin.get(&format!("{TRANSITIONS}{query}")).await.ok();
    let left = async {
        while !whats(&asked("").await).contains(&"bob left".to_owned()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    soon("bob left", left).await;
    let all = asked("").await;
    assert_eq!(all["is_recorded"], true);
    // Of two people within a millisecond either may be the first.
    let mut joined = whats(&asked("?filter=joined").await);
    joined.sort();
    assert_eq!(joined, ["ann joined", "bob joined"]);
    assert_eq!(
        whats(&asked("?filter=BOB%20room:1").await),
        ["bob joined", "bob left"]
    );
    assert_eq!(whats(&asked("?filter=nobody").await), [""; 0]);
    let one = asked("?limit=1").await;
    assert_eq!((whats(&one).len(), &one["is_cut"]), (1, &json!(true)));
    let last = all["transitions"][0]["at_ms"].as_u64().unwrap();
    assert_eq!(whats(&asked(&format!("?after_ms={last}")).await), [""; 0]);
    let long = format!("{TRANSITIONS}?filter={}", "a".repeat(257));
    let many = format!("{TRANSITIONS}?filter={}", "a+".repeat(9));
    for (path, field) in [
        (long.as_str(), "filter"),
        (many.as_str(), "filter"),
        ("/admin/api/transitions?before=", "before"),
        ("/admin/api/transitions?before=5", "before"),
        ("/admin/api/transitions?before=5-x-0-1", "before"),
        ("/admin/api/transitions?limit=201", "limit"),
        ("/admin/api/transitions?after_ms=x", "after_ms"),
        ("/admin/api/overview?limit=0", "limit"),
        ("/admin/api/overview?limit=", "limit"),
        ("/admin/api/overview?after_ms=-1", "after_ms"),
    ] {
        let error = admin.get(path).await.refused(400, "invalid");
        assert_eq!(error["field"], field, "{path}");
    }
    // Who is erased is gone from here, too.
    let erased = admin.call("DELETE", "/api/presence/users/bob", None).await;
    assert_eq!(erased.status, 204);
    assert_eq!(whats(&asked("?filter=bob").await), [""; 0]);
}

/// More happens than one answer has: who asks on misses nothing that is kept, and gets nothing twice.
#[tokio::test]
async fn what_does_not_fit_into_one_answer_is_in_the_next_one() {
    let settings = [
        ("PRESENCE_RATE_QUERY", "1000/s burst 1000"),
        ("PRESENCE_RATE_JOIN", "1000/s burst 1000"),
        ("PRESENCE_SHARDS", "3"),
    ];
    let gateway = start_closed(&settings).await;
    let mut people = Vec::new();
    for user in ["ann", "bob", "eve", "joe"] {
        people.push(Socket::of(&gateway, user).await);
    }
    for n in 0..60 {
        for person in &mut people {
            person
                .says(&format!(
                    r#"{{"type":"presence:join","channel":"room:{n}"}}"#
                ))
                .await;
        }
    }
    let admin = admin(&gateway);
    let page = async |query: &str| admin.get(&format!("{TRANSITIONS}?{query}")).await.ok();
    for (limit, filter) in [("7", ""), ("200", ""), ("9", "room:5")] {
        let mut query = format!("limit={limit}&filter={filter}");
        let mut rooms: Vec<String> = Vec::new();
        let mut ids = std::collections::BTreeSet::new();
        let mut last_at = u64::MAX;
        loop {
            let answer = page(&query).await;
            for line in answer["transitions"].as_array().unwrap() {
                let id = line["id"].as_str().unwrap().to_owned();
                assert!(ids.insert(id), "twice: {line}");
                let at = line["at_ms"].as_u64().unwrap();
                assert!(at <= last_at, "out of order: {line}");
                last_at = at;
                if line["what"] == "joined" {
                    rooms.push(format!("{} {}", line["user_id"], line["channel"]));
                }
            }
            assert_eq!(answer["is_cut"], !answer["next"].is_null());
            let Some(next) = answer["next"].as_str() else {
                break;
            };
            query = format!("limit={limit}&filter={filter}&before={next}");
        }
        rooms.sort();
        rooms.dedup();
        // `room:5`, and `room:50` to `room:59`.
        let expected = if filter.is_empty() { 240 } else { 44 };
        assert_eq!(rooms.len(), expected, "limit {limit}, filter {filter:?}");
    }
    // A line is a place to begin at, too.
    let all = page("limit=5").await;
    let third = all["transitions"][2]["id"].as_str().unwrap();
    let older = page(&format!("limit=2&before={third}")).await;
    let of = |answer: &Value, n: usize| answer["transitions"][n]["id"].clone();
    assert_eq!([of(&older, 0), of(&older, 1)], [of(&all, 3), of(&all, 4)]);
}

/// Without `admin` all answers of a gateway with a hidden user are those of one where the user is not.
#[tokio::test]
async fn without_the_scope_everything_is_refused_alike() {
    let mut answers = Vec::new();
    for hides in [true, false] {
        let gateway = start_closed(&[("NODE_NAME", "eu-1")]).await;
        let mut bob = None;
        if hides {
            let mut it = Socket::of(&gateway, "bob").await;
            it.says(r#"{"type":"presence:status","status":"invisible"}"#)
                .await;
            it.says(ROOM).await;
            bob = Some(it);
        }
        let mut replies = Vec::new();
        for scopes in [&["join"][..], &["read"], &["act"]] {
            let caller = Caller::with(&gateway, "eve", scopes, &[]);
            for path in [OVERVIEW, TRANSITIONS, "/admin/api/transitions?filter=bob"] {
                let reply = caller.get(path).await;
                reply.refused(403, "forbidden");
                replies.push(format!("{:?}", reply.everything()));
            }
            let drain = caller.post("/admin/api/nodes/eu-1/drain", json!({})).await;
            drain.refused(403, "forbidden");
            replies.push(format!("{:?}", drain.everything()));
        }
        let nobody = Caller::nobody(&gateway);
        for path in [OVERVIEW, TRANSITIONS] {
            let reply = nobody.get(path).await;
            reply.refused(401, "unauthorized");
            replies.push(format!("{:?}", reply.everything()));
        }
        answers.push(replies);
        drop(bob);
    }
    assert_eq!(answers[0], answers[1]);
}

/// Where everybody is who they say, nobody may see who hides.
#[tokio::test]
async fn without_a_key_nothing_says_who_hides() {
    let mut told = Vec::new();
    for hides in [true, false] {
        let gateway = start(&[("PRESENCE_GRACE", "0s")]).await;
        let mut bob = presence_client::Client::connect(&gateway.options("bob"))
            .await
            .unwrap();
        let mut ann = presence_client::Client::connect(&gateway.options("ann"))
            .await
            .unwrap();
        let says = |json: &str| presence_client::wire::Command::from_json(json).unwrap();
        bob.request(says(ROOM)).await.unwrap();
        ann.request(says(ROOM)).await.unwrap();
        let last = match hides {
            true => r#"{"type":"presence:status","status":"invisible"}"#,
            false => r#"{"type":"presence:leave"}"#,
        };
        ann.send(&says(last)).await.unwrap();
        let caller = Caller::nobody(&gateway);
        for query in ["", "&filter=hid", "&filter=ann"] {
            let path = format!("{TRANSITIONS}?user_id=eve{query}");
            caller.get(&path).await.refused(403, "forbidden");
        }
        let alone = async {
            loop {
                let path = format!("{OVERVIEW}?user_id=eve&limit=5");
                let overview = caller.get(&path).await.ok();
                let rooms = &overview["rooms"]["by_size"];
                if rooms[0]["people"] == 1 {
                    return (overview["is_open"].clone(), rooms[0].clone());
                }
                sleep(Duration::from_millis(20)).await;
            }
        };
        let (is_open, mut room) = soon("ann is gone", alone).await;
        assert_eq!(is_open, true);
        room["events_per_second"] = Value::Null;
        told.push(room);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0]["watchers"], Value::Null);
}

#[tokio::test]
async fn a_gateway_is_asked_to_stop_by_its_name_and_says_so_to_who_runs_it() {
    let gateway = start_closed(&[("NODE_NAME", "eu-1")]).await;
    let admin = admin(&gateway);
    let drain = async |id: &str| {
        let path = format!("/admin/api/nodes/{id}/drain");
        admin.post(&path, json!({})).await
    };
    let unknown = drain("eu-2").await.refused(404, "invalid");
    assert_eq!(unknown["field"], "id");
    assert!(unknown["message"].as_str().unwrap().contains("eu-2"));
    let wrong = drain("eu%201").await.refused(400, "invalid");
    assert_eq!(wrong["field"], "id");
    let drains = json!({ "draining": true, "confirmed": true });
    assert_eq!(drain("eu-1").await.ok(), drains);
    soon("it is asked to stop", gateway.asked_to_stop()).await;
    gateway.stop().await;
}

#[tokio::test]
async fn the_page_is_served_to_this_machine_only_where_there_is_no_key() {
    let gateway = start(&[]).await;
    let address = gateway.address();
    for path in ["/admin", "/admin/"] {
        let page = send(address, "GET", path, &[], b"").await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.text().contains("Presence for operators"));
    }
    let foreign = [("host", "evil.example")];
    for path in ["/admin", OVERVIEW, TRANSITIONS] {
        let refused = send(address, "GET", path, &foreign, b"").await;
        assert_eq!(refused.status, 403, "{path}");
    }
    let page = [("origin", "https://evil.example")];
    let refused = send(address, "POST", "/admin/api/nodes/eu-1/drain", &page, b"").await;
    assert_eq!(refused.status, 403);
}
