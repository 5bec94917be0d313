//! What one client, one address or one disk can do to everybody else.

use std::time::{Duration, Instant};

use presence_client::{Client, ConnectError};
use serde_json::{Value, json};

use crate::gateway::{Running, options, soon, start};
use crate::people::Person;
use crate::program::{Program, ProgramFolder};
use crate::pusher;
use crate::raw::{Raw, body, exchange, get, status};

#[tokio::test]
async fn who_asks_for_whole_states_all_the_time_gets_no_more_than_they_may_cost() {
    const SECONDS: u64 = 4;
    let gateway = start(&[
        ("PRESENCE_STATES_BYTES_BURST", "1000000"),
        ("PRESENCE_STATES_BYTES_PER_SECOND", "200000"),
    ])
    .await;
    let crowd = crowd(&gateway, 60).await;
    let state = 60 * 4100;
    let most = 1_000_000 + 200_000 * SECONDS as usize + 2 * state;
    for ask in [
        r#"{"type":"presence:watch","channel":"room:1"}"#,
        r#"{"type":"presence:watch","channel":"room:1","have":{"epoch":"0000000000000001","version":7}}"#,
        r#"{"type":"presence:list","channel":"room:1","limit":1000}"#,
    ] {
        let mut eve = Raw::connect(gateway.address(), "eve").await;
        let (began, mut asked, mut bytes) = (Instant::now(), 0, 0);
        while began.elapsed() < Duration::from_secs(SECONDS) {
            asked += 1;
            let ask = match ask.contains("have") {
                true => ask.to_owned(),
                false => ask.replace('}', &format!(",\"ref\":{asked}}}")),
            };
            eve.text(&ask).await;
            let until = Duration::from_millis(10);
            while let Ok(frame) = tokio::time::timeout(until, eve.next()).await {
                bytes += frame.unwrap().payload.len();
            }
        }
        assert!(bytes <= most, "{bytes} bytes, not {most}: {ask}");
        assert!(bytes >= 1_000_000, "{bytes} bytes: {ask}");
        eve.close(1000).await;
    }
    // Over HTTP too.
    let (began, mut bytes) = (Instant::now(), 0);
    let mut refused = None;
    while began.elapsed() < Duration::from_secs(SECONDS) {
        let target = "/api/presence/channel/room:1/viewers?limit=1000&user_id=eve";
        let answer = get(gateway.address(), target).await;
        match status(&answer) {
            200 => bytes += answer.len(),
            429 => refused = Some(answer),
            _ => panic!("{answer}"),
        }
    }
    assert!(bytes <= most, "{bytes} bytes over HTTP, not {most}");
    let refused = refused.expect("more was asked for than that");
    assert!(refused.to_lowercase().contains("retry-after"), "{refused}");
    drop(crowd);
}

#[tokio::test]
async fn a_page_that_unsubscribes_and_subscribes_again_gets_no_more_than_that_either() {
    const ROUNDS: usize = 30;
    let gateway = pusher::start_with_apps(&[
        ("PRESENCE_STATES_BYTES_BURST", "1000000"),
        ("PRESENCE_STATES_BYTES_PER_SECOND", "1024"),
    ])
    .await;
    let crowd = crowd(&gateway, 30).await;
    let channel = "presence-room;1";
    let mut page = pusher::Page::connects(&gateway).await;
    let mut states = 0;
    for _ in 0..ROUNDS {
        page.subscribes(channel, r#"{"user_id":"eve"}"#).await;
        // A state that may be had comes at once; one that may not takes longer. Changes in the room are told meanwhile.
        let state = async {
            while page.raw.json().await["event"] != "pusher_internal:subscription_succeeded" {}
        };
        if tokio::time::timeout(Duration::from_secs(2), state)
            .await
            .is_err()
        {
            break;
        }
        states += 1;
        page.says("pusher:unsubscribe", json!({ "channel": channel }))
            .await;
    }
    let paid = 1_000_000 / (30 * 3900) + 2;
    assert!((1..=paid).contains(&states), "{states} states, not {paid}");
    drop(crowd);
}

/// People in the room, each with a meta of nearly four kilobytes.
async fn crowd(gateway: &Running, people: usize) -> Vec<Person> {
    let mut crowd = Vec::new();
    for n in 0..people {
        let mut person = Person::connects(&gateway.options(&format!("user-{n}"))).await;
        let meta = "x".repeat(3900);
        let join =
            r#"{"type":"presence:join","channel":"room:1","watch":false,"meta":{"x":"META"}}"#;
        person.does(&join.replace("META", &meta)).await;
        crowd.push(person);
    }
    crowd
}

#[tokio::test]
async fn an_address_has_as_many_connections_as_it_may_have() {
    let gateway = start(&[("PRESENCE_CONNECTIONS_PER_ADDRESS_MAX", "2")]).await;
    let one = Person::comes(&gateway, "ann").await;
    let _two = Person::comes(&gateway, "bob").await;
    let three = soon("an answer", Client::connect(&gateway.options("eve"))).await;
    assert!(
        matches!(three, Err(ConnectError::Refused(503))),
        "{:?}",
        three.err()
    );
    let answer = get(gateway.address(), "/livez").await;
    assert_eq!(status(&answer), 503);
    let why: Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(why["error"]["code"], "overloaded");
    assert_eq!(
        why["error"]["message"],
        "too many connections of this address"
    );
    one.client.close().await;
    soon("room for one more", async {
        while Client::connect(&gateway.options("eve")).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Without the setting, there may be any number.
    let gateway = start(&[]).await;
    let mut many = Vec::new();
    for n in 0..20 {
        many.push(Person::comes(&gateway, &format!("user-{n}")).await);
    }
}

#[tokio::test]
async fn a_data_folder_that_vanishes_is_noticed_and_nothing_is_confirmed_until_it_is_back() {
    let place = ProgramFolder::new();
    let program = place.start(&[]);
    let mut ann = Person::connects(&options(program.address, "ann")).await;
    ann.does(r#"{"type":"presence:status","status":"busy"}"#)
        .await;
    let (folder, elsewhere) = (
        place.path().join("presence-data"),
        place.path().join("gone"),
    );
    std::fs::rename(&folder, &elsewhere).unwrap();
    let health = health(&program).await;
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["store"]["connected"], false);
    let request = "PATCH /api/presence/users/bob/status?user_id=bob HTTP/1.1\r\nhost: localhost\r\n\
        content-type: application/json\r\ncontent-length: 17\r\nconnection: close\r\n\r\n{\"status\":\"away\"}";
    let kept = exchange(program.address, request.as_bytes());
    tokio::pin!(kept);
    let early = tokio::time::timeout(Duration::from_secs(2), &mut kept).await;
    assert!(early.is_err(), "{early:?}");
    let log = program.log();
    assert!(log.contains("data folder is gone"), "{log}");
    std::fs::rename(&elsewhere, &folder).unwrap();
    let kept = soon("it is kept", kept).await;
    assert_eq!(status(&kept), 200, "{kept}");
    soon("it is healthy again", async {
        while self::health(&program).await["status"] != "healthy" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    program.kill();
    let program = place.start(&[]);
    let answer = get(program.address, "/api/presence/users/bob?user_id=bob").await;
    let own: Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(own["status"], "away", "{own}");
}

async fn health(program: &Program) -> Value {
    let answer = get(program.address, "/health").await;
    serde_json::from_str(body(&answer)).unwrap()
}

#[tokio::test]
async fn who_may_open_too_few_files_is_warned_and_does_not_fill_the_log() {
    let place = ProgramFolder::new();
    let program = place.start_with_files(64, &[]);
    soon("it is warned", async {
        while !program.log().contains("may open too few files") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let began = Instant::now();
    let mut connections = Vec::new();
    for _ in 0..100 {
        connections.push(
            tokio::net::TcpStream::connect(program.address)
                .await
                .unwrap(),
        );
    }
    let failed = |program: &Program| program.log().matches("cannot accept").count();
    soon("it runs out of files", async {
        while failed(&program) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // One each second, and not one for each attempt.
    let lines = failed(&program);
    let most = 1 + began.elapsed().as_secs() as usize;
    assert!((2..=most).contains(&lines), "{}", program.log());
    let last = program.log();
    let last = last
        .lines()
        .rfind(|it| it.contains("cannot accept"))
        .unwrap();
    assert!(last.contains("count"), "{last}");
    drop(connections);
    soon("it answers again", async {
        while status(&get(program.address, "/livez").await) != 200 {}
    })
    .await;
    program.kill();
    let enough = place.start_with_files(2000, &[("PRESENCE_CONNECTIONS_MAX", "500")]);
    assert!(!enough.log().contains("too few files"), "{}", enough.log());
}
