//! Twins: what others can find out where somebody hides, and where nobody is.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use presence_client::wire::Event;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gateway::{Running, start};
use crate::people::Person;
use crate::program::ProgramFolder;
use crate::raw::{Raw, body, get};

const HIDE: &str = r#"{"type":"presence:status","ref":1,"status":"invisible"}"#;
const COME_OUT: &str = r#"{"type":"presence:status","ref":2,"status":"online"}"#;
const JOIN: &str = r#"{"type":"presence:join","ref":3,"channel":"room:1"}"#;

/// Somebody who hides, and is in the room all the same.
async fn hidden(address: SocketAddr, user: &str) -> Raw {
    let mut raw = Raw::connect(address, user).await;
    for (ref_, command) in [(1, HIDE), (3, JOIN)] {
        raw.text(command).await;
        raw.answer(ref_).await;
    }
    raw
}

/// Somebody who was there and is not any more.
async fn gone(address: SocketAddr, user: &str) {
    let mut raw = Raw::connect(address, user).await;
    raw.text(r#"{"type":"presence:leave","ref":1}"#).await;
    raw.ends().await;
}

/// The id of `user`'s session, as `person` sees it.
fn session_of(person: &Person, user: &str) -> Option<presence_client::wire::Session> {
    Some(person.room.user(user)?.metas[0].session)
}

#[tokio::test]
async fn coming_out_of_hiding_is_coming_as_somebody_nobody_has_seen() {
    let gateway = start(&[]).await;
    let mut bob = Person::comes(&gateway, "bob").await;
    let mut ann = Person::comes(&gateway, "ann").await;
    bob.sees(&["bob", "ann"]).await;
    let first = session_of(&bob, "ann").unwrap();
    assert_eq!(first, ann.client.hello().session);
    ann.does(r#"{"type":"presence:cursor","channel":"room:1","x":1,"y":2}"#)
        .await;
    bob.until("her cursor", |it| it.room.cursors().contains_key(&first))
        .await;

    ann.does(HIDE).await;
    bob.sees(&["bob"]).await;
    ann.does(COME_OUT).await;
    bob.sees(&["bob", "ann"]).await;
    let second = session_of(&bob, "ann").unwrap();
    assert_ne!(first, second);
    let told = |event: &Event| match event {
        Event::Own(own) => own.session.filter(|it| *it != first),
        _ => None,
    };
    assert_eq!(ann.hears_of("her new name", told).await, second);

    // Everything that she does is done under that name.
    ann.does(r#"{"type":"presence:cursor","channel":"room:1","x":1,"y":2}"#)
        .await;
    bob.until("her cursor", |it| it.room.cursors().contains_key(&second))
        .await;
    assert!(!bob.room.cursors().contains_key(&first));
    ann.does(r#"{"type":"presence:broadcast","channel":"room:1","event":"hi"}"#)
        .await;
    let said = |event: &Event| match event {
        Event::Broadcast(it) => Some(it.session),
        _ => None,
    };
    assert_eq!(bob.hears_of("her word", said).await, second);
    let list = get(
        gateway.address(),
        "/api/presence/channel/room:1/viewers?user_id=bob",
    )
    .await;
    assert!(!list.contains(&first.to_string()), "{list}");
    assert!(list.contains(&second.to_string()), "{list}");
    for event in &bob.heard[..] {
        let text = event.to_json();
        let is_after = text.contains(&second.to_string());
        assert!(!(is_after && text.contains(&first.to_string())), "{text}");
    }
}

/// What bob finds out of an empty room: everything he is told, but for the time.
async fn findings(gateway: &Running) -> Vec<String> {
    let mut found = Vec::new();
    let mut bob = Raw::upgrade(
        gateway.address(),
        "/ws?user_id=bob&device_id=web:b&workspace_id=elsewhere",
        "",
    )
    .await;
    let mut epochs: Vec<Value> = Vec::new();
    for (mode, topic) in [
        ("full", r#""channel":"room:1""#),
        ("summary", r#""channel":"room:1""#),
        ("full", r#""workspace":"default""#),
    ] {
        for _ in 0..3 {
            bob.text(&format!(
                r#"{{"type":"presence:watch",{topic},"mode":"{mode}"}}"#
            ))
            .await;
            let state = loop {
                let frame = bob.json().await;
                if frame.get("epoch").is_some() {
                    break frame;
                }
            };
            let epoch = state["epoch"].clone();
            let known = epochs.iter().position(|it| *it == epoch);
            let known = known.unwrap_or_else(|| {
                epochs.push(epoch.clone());
                epochs.len() - 1
            });
            let text = state.to_string();
            let text = text.replace(epoch.as_str().unwrap(), &format!("epoch {known}"));
            found.push(text);
            bob.text(&format!(r#"{{"type":"presence:unwatch","ref":9,{topic}}}"#))
                .await;
            bob.answer(9).await;
        }
    }
    for path in [
        "channel/room:1/viewers",
        "channel/room:1/count",
        "channel/room:1/typing",
        "workspace/default/online",
        "users/ann",
        "channels",
        "channels?prefix=room:1",
        "nodes",
        "connections?channel_id=room:1",
        "users/ann/explain",
        "channel/room:1/explain",
    ] {
        let more = match path.contains('?') {
            true => '&',
            false => '?',
        };
        let answer = get(
            gateway.address(),
            &format!("/api/presence/{path}{more}user_id=bob&workspace_id=elsewhere"),
        )
        .await;
        let (head, _) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.lines().filter(|it| !it.starts_with("date"));
        found.extend(head.map(str::to_owned));
        let mut body: Value = serde_json::from_str(body(&answer)).unwrap();
        found.push(without_moments(&mut body));
    }
    for command in [
        r#"{"type":"presence:channels","ref":5}"#,
        r#"{"type":"presence:channels","ref":5,"prefix":"room:1"}"#,
        r#"{"type":"presence:nodes","ref":5}"#,
        r#"{"type":"presence:connections","ref":5,"user_id":"ann"}"#,
        r#"{"type":"presence:disconnect","ref":5,"user_id":"ann"}"#,
        r#"{"type":"presence:get","ref":5,"users":["ann","nobody"]}"#,
        r#"{"type":"presence:watch","ref":6,"users":["ann"]}"#,
    ] {
        bob.text(command).await;
        // The answer; and of a watch what is told of her.
        for _ in 0..command.matches("\"ref\"").count() + command.matches(":watch").count() {
            found.push(without_moments(&mut bob.json().await));
        }
    }
    // A room of two, of whom one may hide.
    bob.text(JOIN).await;
    bob.answer(3).await;
    bob.text(r#"{"type":"presence:watch","ref":4,"channel":"room:1"}"#)
        .await;
    let state = loop {
        let frame = bob.json().await;
        if frame["type"] == "presence:currentUsers" {
            break frame;
        }
    };
    found.push(format!("{} {}", state["count"], state["version"]));
    // Somebody who has only just come.
    let mut cat = Raw::connect(gateway.address(), "cat").await;
    cat.text(r#"{"type":"presence:join","ref":7,"channel":"room:1","watch":true}"#)
        .await;
    let mut told = Vec::new();
    while told.len() < 3 {
        let frame = cat.json().await;
        let mut users: Vec<&str> = frame["users"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|it| it["user_id"].as_str())
            .collect();
        users.sort_unstable();
        told.push(format!(
            "{} {} {} {users:?}",
            frame["type"], frame["count"], frame["version"]
        ));
        if frame["type"] == "presence:currentUsers" && frame["count"] == 2 {
            break;
        }
    }
    found.extend(told);
    bob.close(1000).await;
    found.push(format!("{:?}", bob.ends().await.code));
    found
}

/// The text of `body`, but for moments and epochs: when they were last seen is when they left, or hid.
fn without_moments(body: &mut Value) -> String {
    match body {
        Value::Object(fields) => {
            for (name, value) in fields {
                if ["last_seen", "epoch"].contains(&name.as_str()) && !value.is_null() {
                    *value = Value::from("something");
                }
                without_moments(value);
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|it| drop(without_moments(it))),
        _ => {}
    }
    body.to_string()
}

/// Waits until others were told that nobody is in the workspace: ann was there for a moment.
async fn is_told_empty(address: SocketAddr) {
    let mut eve = Raw::upgrade(
        address,
        "/ws?user_id=eve&device_id=web:e&workspace_id=elsewhere",
        "",
    )
    .await;
    let told = async {
        loop {
            eve.text(r#"{"type":"presence:watch","workspace":"default"}"#)
                .await;
            let state = loop {
                let frame = eve.json().await;
                if frame["type"] == "presence:currentUsers" {
                    break frame;
                }
            };
            if state["count"] == 0 {
                break;
            }
            eve.text(r#"{"type":"presence:unwatch","ref":9,"workspace":"default"}"#)
                .await;
            eve.answer(9).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    crate::gateway::soon("nobody is there", told).await;
    eve.text(r#"{"type":"presence:leave","ref":1}"#).await;
    eve.ends().await;
}

#[tokio::test]
async fn a_room_with_somebody_hidden_is_an_empty_one() {
    let empty = start(&[]).await;
    gone(empty.address(), "ann").await;
    is_told_empty(empty.address()).await;
    let alone = findings(&empty).await;
    assert!(alone.len() > 30, "{alone:#?}");
    let haunted = start(&[]).await;
    let _ann = hidden(haunted.address(), "ann").await;
    is_told_empty(haunted.address()).await;
    assert_eq!(findings(&haunted).await, alone);
}

/// The chance that of two answers, one about who hides and one about who is gone, the former took longer; a half where nobody
/// can tell them apart.
fn area(hidden: &[Duration], gone: &[Duration]) -> f64 {
    let mut gone = gone.to_vec();
    gone.sort_unstable();
    let ranks = hidden.iter().map(|it| {
        let below = gone.partition_point(|other| other < it);
        let equal = gone.partition_point(|other| other <= it) - below;
        below as f64 + equal as f64 / 2.0
    });
    ranks.sum::<f64>() / (hidden.len() as f64 * gone.len() as f64)
}

/// Sends eve's request for `path`. Returns how long the answer took, and the answer.
async fn timed(stream: &mut TcpStream, path: &str) -> (Duration, String) {
    let request =
        format!("GET /api/presence/{path}user_id=eve HTTP/1.1\r\nhost: localhost\r\n\r\n");
    timed_request(stream, &request).await
}

/// Sends `request`. Returns how long the answer took, and the answer.
async fn timed_request(stream: &mut TcpStream, request: &str) -> (Duration, String) {
    let began = Instant::now();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).await.unwrap();
    let took = began.elapsed();
    (
        took,
        String::from_utf8_lossy(&answer[..length]).into_owned(),
    )
}

/// Somebody who hides through a socket that stays open, or is gone.
enum Twin {
    Hidden(Raw),
    Gone,
}

/// The ways to ask about one user.
const WAYS: [Way; 4] = [Way::Http, Way::Bulk, Way::Get, Way::Watch];

#[derive(Clone, Copy, Debug)]
enum Way {
    Http,
    Bulk,
    Get,
    Watch,
}

/// Eve, who measures how long answers take.
struct Prober {
    stream: TcpStream,
    raw: Raw,
}

impl Prober {
    /// Comes anew, because HTTP connections are closed that are not used for a while.
    async fn connect(address: SocketAddr) -> Prober {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let raw = Raw::connect(address, "eve").await;
        let mut prober = Prober { stream, raw };
        for _ in 0..20 {
            for way in WAYS {
                prober.ask(way, "warming-up").await;
            }
        }
        prober
    }

    /// Asks about `user`, who is offline for her, and returns how long the answer took.
    async fn ask(&mut self, way: Way, user: &str) -> Duration {
        let command = match way {
            Way::Http => {
                let (took, text) = timed(&mut self.stream, &format!("users/{user}?")).await;
                assert!(text.contains("offline") && text.ends_with('}'), "{text}");
                return took;
            }
            Way::Bulk => {
                let body = format!(r#"{{"user_ids":["{user}"]}}"#);
                let head = "POST /api/presence/bulk?user_id=eve HTTP/1.1\r\nhost: localhost\r\n\
                    content-type: application/json\r\ncontent-length:";
                let request = format!("{head} {}\r\n\r\n{body}", body.len());
                let (took, text) = timed_request(&mut self.stream, &request).await;
                assert!(text.contains("offline") && text.ends_with('}'), "{text}");
                return took;
            }
            Way::Get => "get",
            Way::Watch => "watch",
        };
        let command = format!(r#"{{"type":"presence:{command}","users":["{user}"]}}"#);
        let began = Instant::now();
        self.raw.text(&command).await;
        let answer = loop {
            let answer = self.raw.json().await.to_string();
            if answer.contains(&format!("\"{user}\"")) {
                break answer;
            }
        };
        let took = began.elapsed();
        assert!(answer.contains("offline"), "{answer}");
        if let Way::Watch = way {
            let command = format!(r#"{{"type":"presence:unwatch","ref":9,"users":["{user}"]}}"#);
            self.raw.text(&command).await;
            self.raw.answer(9).await;
        }
        took
    }
}

/// By request, best on a quiet machine: how well the time of an answer tells who hides, the first time that somebody asks about a
/// user, and when they ask again at once. With `PRESENCE_TWIN_REDIS_URL` the gateway shares that Redis.
#[tokio::test]
#[ignore = "measures time"]
async fn the_time_of_an_answer_does_not_tell_who_hides() {
    /// Each with users whom nobody has asked about, and one way to ask. No round takes as long as a client may be silent.
    const ROUNDS: usize = WAYS.len() * 40;
    const PAIRS: usize = 50;
    let place = ProgramFolder::new();
    let redis = std::env::var("PRESENCE_TWIN_REDIS_URL").ok();
    let redis = redis.iter().map(|url| ("REDIS_URL", url.as_str()));
    let mut settings: Vec<(&str, &str)> = redis.collect();
    settings.push(("PRESENCE_RATE_QUERY", "1000/s burst 100000"));
    let program = place.start(&settings);
    let address = program.address;
    // Of each way, the first answers and the repeated ones; of each, those about who hides and about who is gone.
    let mut times: [[[Vec<Duration>; 2]; 2]; WAYS.len()] = Default::default();
    for round in 0..ROUNDS {
        let way = round % WAYS.len();
        let mut twins = twins(address, round, PAIRS).await;
        // What they did is on its way to the store until then.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let mut prober = Prober::connect(address).await;
        for (number, pair) in twins.chunks(2).enumerate() {
            // Whichever comes first is another one each time.
            let order = match (round + number / 2) % 2 {
                0 => [0, 1],
                _ => [1, 0],
            };
            for at in order {
                let (user, twin) = &pair[at];
                let kind = usize::from(matches!(twin, Twin::Gone));
                for repeated in &mut times[way] {
                    repeated[kind].push(prober.ask(WAYS[way], user).await);
                }
            }
        }
        for (user, twin) in &mut twins {
            if let Twin::Hidden(raw) = twin {
                // They have been there all the time.
                let path = format!("/api/presence/users/{user}?user_id={user}");
                let answer = get(address, &path).await;
                assert!(answer.contains("web:"), "{answer}");
                raw.text(r#"{"type":"presence:leave"}"#).await;
            }
        }
        prober.raw.text(r#"{"type":"presence:leave"}"#).await;
    }
    let areas: Vec<f64> = WAYS
        .iter()
        .zip(&times)
        .flat_map(|(way, [first, repeated])| {
            [
                report(&format!("{way:?}, first"), first),
                report(&format!("{way:?}, repeated"), repeated),
            ]
        })
        .collect();
    let tells_nothing = |it: &f64| (0.45..=0.55).contains(it);
    assert!(areas.iter().all(tells_nothing), "{areas:?}");
}

/// Pairs of users whom nobody has asked about: one hides, and the other has left.
async fn twins(address: SocketAddr, round: usize, pairs: usize) -> Vec<(String, Twin)> {
    let mut twins = Vec::new();
    for pair in 0..pairs {
        // Whether the first or the second of a pair hides says nothing to anybody, nor does it to the store.
        let (one, other) = (format!("u{round}-{pair}-a"), format!("u{round}-{pair}-b"));
        let (hides, left) = match pair % 2 {
            0 => (one, other),
            _ => (other, one),
        };
        let raw = hidden(address, &hides).await;
        gone(address, &left).await;
        twins.push((hides, Twin::Hidden(raw)));
        twins.push((left, Twin::Gone));
    }
    twins
}

/// Prints how well these times tell who hides. Returns the area.
fn report(what: &str, [hidden, gone]: &[Vec<Duration>; 2]) -> f64 {
    let area = area(hidden, gone);
    let middle = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[times.len() / 2]
    };
    println!(
        "{what}: AUC {area:.3} of {} and {}, medians {:?} and {:?}",
        hidden.len(),
        gone.len(),
        middle(hidden),
        middle(gone)
    );
    area
}

/// By request, best on a quiet machine: the same of the lists and explanations. Each hidden user is in a room of their own,
/// and each who is gone was in one.
#[tokio::test]
#[ignore = "measures time"]
async fn the_time_of_a_list_or_of_a_refusal_does_not_tell_who_hides() {
    const PAIRS: usize = 100;
    const ROUNDS: usize = 20;
    let place = ProgramFolder::new();
    let redis = std::env::var("PRESENCE_TWIN_REDIS_URL").ok();
    let redis = redis.iter().map(|url| ("REDIS_URL", url.as_str()));
    let mut settings: Vec<(&str, &str)> = redis.collect();
    settings.push(("PRESENCE_RATE_QUERY", "1000/s burst 100000"));
    settings.push(("PRESENCE_GRACE", "0s"));
    let program = place.start(&settings);
    let address = program.address;
    let mut twins = Vec::new();
    for pair in 0..PAIRS {
        let [one, other] = ["a", "b"].map(|it| format!("{pair}-{it}"));
        let (hides, left) = match pair % 2 {
            0 => (one, other),
            _ => (other, one),
        };
        let joins = |id: &str| JOIN.replace("room:1", &format!("room:{id}"));
        let mut hidden = Raw::connect(address, &hides).await;
        let mut gone = Raw::connect(address, &left).await;
        for (raw, id) in [(&mut hidden, &hides), (&mut gone, &left)] {
            raw.text(&joins(id)).await;
            raw.answer(3).await;
        }
        hidden.text(HIDE).await;
        hidden.answer(1).await;
        gone.text(r#"{"type":"presence:leave","ref":1}"#).await;
        gone.ends().await;
        twins.push((hides, left, hidden));
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for path in [
        "channels?prefix=room:ID&",
        "channel/room:ID/count?",
        "users/ID/explain?",
        "channel/room:ID/explain?",
        "connections?channel_id=room:ID&",
    ] {
        let mut times = [Vec::new(), Vec::new()];
        for round in 0..ROUNDS {
            for (number, (hides, left, _)) in twins.iter().enumerate() {
                let order = match (round + number / 2) % 2 {
                    0 => [0, 1],
                    _ => [1, 0],
                };
                for kind in order {
                    let id = [hides, left][kind];
                    let (took, text) = timed(&mut stream, &path.replace("ID", id)).await;
                    let is_empty = ["\"total\":0", "\"count\":0", "forbidden"];
                    let is_empty = is_empty.iter().any(|it| text.contains(it));
                    assert!(is_empty && text.ends_with('}'), "{path} {id}: {text}");
                    times[kind].push(took);
                }
            }
            // Nobody may be silent for longer than that.
            for (_, _, raw) in &mut twins {
                raw.text(r#"{"type":"presence:heartbeat"}"#).await;
            }
        }
        let area = area(&times[0], &times[1]);
        println!("{path}: AUC {area:.3} of {} pairs", times[0].len());
        assert!((0.45..=0.55).contains(&area), "{path}: {area}");
    }
}
