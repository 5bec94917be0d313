//! The end of a program whose profiles are in MongoDB, while it is asked for something.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use presence_testkit::mongo::{Mongo, Settings};
use presence_testkit::pulse::Pulse;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::gateway::soon;
use crate::program::{Program, ProgramFolder};
use crate::raw::{body, get};

/// Programs that end one after the other. The fault itself is rare here; `presence-mongo` has the test that meets it at once.
const ROUNDS: usize = 12;
/// People who change their status all the time.
const PEOPLE: usize = 16;
/// Changes before the program is told to end.
const CHANGES: usize = 30;
/// What "at once" may take: what closing a database that does not answer takes, and a little.
const AT_ONCE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_while_its_database_is_asked_does_not_panic() {
    let (_folder, mongo) = mongo();
    for round in 0..ROUNDS {
        let place = ProgramFolder::new();
        let mut program = start(&place, &mongo, "1s");
        let mut people = JoinSet::new();
        for n in 0..PEOPLE {
            people.spawn(change_for_ever(program.address, n));
        }
        let changes = async {
            let mut count = 0;
            while count < CHANGES {
                count += usize::from(choose(program.address, "somebody").await == Some(200));
            }
        };
        soon("changes", changes).await;
        // Every other one is told twice, and ends without waiting for anybody.
        program.signal("TERM");
        if round % 2 == 1 {
            program.signal("INT");
        }
        program.ends().await;
        people.shutdown().await;
        check_no_panic(&program);
    }
}

/// What nobody answers is no reason to wait once more than is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_told_twice_ends_at_once_though_its_database_does_not_answer() {
    let pulse = Pulse::start();
    let (_folder, mut mongo) = mongo();
    let place = ProgramFolder::new();
    let mut program = start(&place, &mongo, "1h");
    assert_eq!(choose(program.address, "ann").await, Some(200));
    mongo.process.pause().unwrap();
    // Somebody waits for an answer, which keeps the program from ending by itself.
    let waits = tokio::spawn(choose_of(program.address, "bob".to_owned()));
    let under_way = async {
        loop {
            let answer = get(program.address, "/health").await;
            let health: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
            // The one that asks is one, too.
            if health["presence"]["connections"] == 2 {
                return;
            }
        }
    };
    soon("somebody waits for the database", under_way).await;
    program.signal("TERM");
    let drains = async {
        while !program.log().contains("draining") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("it drains", drains).await;
    let began = Instant::now();
    program.signal("TERM");
    let exit = program.ends().await;
    let took = began.elapsed();
    assert!(!exit.success(), "{exit}");
    assert!(
        took < AT_ONCE + pulse.slack(),
        "{took:?}: {}",
        program.log()
    );
    check_no_panic(&program);
    assert!(program.log().contains("asked twice"), "{}", program.log());
    let answer = waits.await.unwrap();
    assert!(
        matches!(answer, None | Some(503)),
        "{answer:?}: nobody is told that it was done"
    );
}

fn mongo() -> (TempDir, Mongo) {
    let folder = tempfile::tempdir().unwrap();
    let mongo = Mongo::start(folder.path(), &Settings::default()).unwrap();
    (folder, mongo)
}

fn start(place: &ProgramFolder, mongo: &Mongo, drain: &str) -> Program {
    place.start(&[
        ("MONGODB_URI", &mongo.uri()),
        ("PRESENCE_DATA_DIR", ":memory:"),
        ("PRESENCE_DRAIN", drain),
        ("PRESENCE_RATE_STATUS", "1000/s burst 100000"),
    ])
}

fn check_no_panic(program: &Program) {
    let log = program.log();
    assert!(!log.contains("panicked"), "{log}");
}

async fn change_for_ever(address: SocketAddr, person: usize) {
    let user = format!("user-{person}");
    while choose(address, &user).await.is_some() {}
}

async fn choose_of(address: SocketAddr, user: String) -> Option<u16> {
    choose(address, &user).await
}

/// The status of the answer to a change; `None` if the gateway is gone.
async fn choose(address: SocketAddr, user: &str) -> Option<u16> {
    let body = json!({"status": "busy"}).to_string();
    let length = body.len();
    let request = format!(
        "PUT /api/presence/users/{user}/status?user_id={user} HTTP/1.1\r\nhost: {address}\r\n\
        content-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.strip_prefix("HTTP/1.1 ")?;
    status.get(..3)?.parse().ok()
}
