//! The program from its start to its end, wanted or not.

use std::time::{Duration, Instant};

use presence_client::wire::event::{Answer, UserStatus};
use presence_client::wire::{Event, Visible};
use presence_client::{Client, ConnectError, Options};
use presence_testkit::pulse::Pulse;

use crate::gateway::{SECRET, now, options, soon};
use crate::people::{Person, connect};
use crate::program::{Program, ProgramFolder};
use crate::raw::{get, status};
use crate::walls::call;

/// The program keeps what it confirmed in the folder that it runs in, by default.
#[tokio::test]
async fn what_was_confirmed_survives_a_power_cut() {
    let place = ProgramFolder::new();
    let program = place.start(&[]);
    let as_user = |program: &Program, user: &str| options(program.address, user);
    let expires_at = now().as_millis() + 3_600_000;
    let mut ann = Person::connects(&as_user(&program, "ann")).await;
    ann.does(&format!(
        r#"{{"type":"presence:status","status":"busy","custom_message":"Deep work","emoji":"🎯","expires_at":{expires_at}}}"#
    ))
    .await;
    let mut bob = Person::connects(&as_user(&program, "bob")).await;
    bob.does(r#"{"type":"presence:status","status":"away","custom_message":"Back soon","clear_after":1}"#).await;
    let mut eve = Person::connects(&as_user(&program, "eve")).await;
    eve.does(r#"{"type":"presence:status","status":"invisible"}"#)
        .await;
    // Dan leaves, and was last seen then; once that is told it is on its way to the disk, and confirmed with the next change.
    let mut dan = Person::connects(&as_user(&program, "dan")).await;
    dan.says(r#"{"type":"presence:leave"}"#).await;
    dan.is_closed().await;
    let seen = statuses(&program, &["dan"])
        .await
        .remove(0)
        .last_seen
        .unwrap();
    saved(&program).await;
    program.kill();

    // Long enough for bob's status to have ended meanwhile.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let program = place.start(&[]);
    let found = statuses(&program, &["ann", "bob", "eve", "dan"]).await;
    // Who was here is held for a while, with the status that was confirmed; who hid or had left is not.
    let shown: Vec<Visible> = found.iter().map(|it| it.status).collect();
    let [busy, online, offline] = [Visible::Busy, Visible::Online, Visible::Offline];
    assert_eq!(shown, [busy, online, offline, offline], "{found:#?}");
    assert_eq!(found[3].last_seen, Some(seen));

    let own = async |user: &str| {
        let mut person = Person::connects(&as_user(&program, user)).await;
        let is_own = |event: &Event| match event {
            Event::Own(it) => Some(it.clone()),
            _ => None,
        };
        person.hears_of("their own status", is_own).await
    };
    let ann = own("ann").await;
    assert_eq!((ann.status.as_str(), ann.shown), ("busy", Visible::Busy));
    assert_eq!(ann.custom_message.as_deref(), Some("Deep work"));
    assert_eq!(ann.emoji.as_deref(), Some("🎯"));
    assert_eq!(ann.expires_at, Some(expires_at));
    let bob = own("bob").await;
    assert_eq!(
        (bob.status.as_str(), bob.custom_message, bob.expires_at),
        ("online", None, None)
    );
    let eve = own("eve").await;
    assert_eq!(
        (eve.status.as_str(), eve.shown),
        ("invisible", Visible::Offline)
    );
}

/// How others see `users`.
async fn statuses(program: &Program, users: &[&str]) -> Vec<UserStatus> {
    let mut client = connect(&options(program.address, "asks")).await;
    let json = format!(
        r#"{{"type":"presence:get","users":{}}}"#,
        serde_json::to_string(users).unwrap()
    );
    match client.request(crate::people::command(&json)).await {
        Ok(Event::Ok(it)) => match it.result {
            Some(Answer::Statuses(it)) => it.statuses,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Waits until nothing is unsaved.
async fn saved(program: &Program) {
    soon("everything is saved", async {
        loop {
            let page = get(program.address, "/metrics").await;
            if page.contains("presence_profiles_unsaved 0\n") {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_restart_closes_everybody_in_their_turn_and_ends_well_in_time() {
    let pulse = Pulse::start();
    let place = ProgramFolder::new();
    let mut program = place.start(&[("PRESENCE_DRAIN", "2s")]);
    let mut people = Vec::new();
    for n in 0..20 {
        people.push(Person::connects(&options(program.address, &format!("user-{n}"))).await);
    }
    assert_eq!(status(&get(program.address, "/readyz").await), 200);
    let began = Instant::now();
    program.signal("TERM");
    drains(&program).await;
    // Nobody new is let in.
    let late = Client::connect(&options(program.address, "late")).await;
    assert!(
        matches!(late, Err(ConnectError::Refused(503))),
        "{:?}",
        late.err()
    );

    let mut closings = Vec::new();
    let mut told = Vec::new();
    for mut person in people {
        told.push(tokio::spawn(async move {
            assert_eq!(person.is_closed().await, 1012);
            let at = began.elapsed();
            match person.heard.last() {
                Some(Event::Closing(it)) if it.code == 1012 && it.reconnect => (at, it.retry_after),
                other => panic!("{other:?}"),
            }
        }));
    }
    for it in told {
        closings.push(it.await.unwrap());
    }
    let exit = program.ends().await;
    assert!(exit.success(), "{exit}: {}", program.log());
    assert!(
        began.elapsed() < Duration::from_secs(4) + pulse.slack(),
        "{:?}",
        began.elapsed()
    );
    let first = closings.iter().map(|(at, _)| *at).min().unwrap();
    let last = closings.iter().map(|(at, _)| *at).max().unwrap();
    assert!(
        last - first > Duration::from_millis(500),
        "they go one by one: {closings:?}"
    );
    assert!(
        last < Duration::from_millis(2500) + pulse.slack(),
        "within the drain time: {closings:?}"
    );
    let waits: std::collections::BTreeSet<_> = closings.iter().map(|(_, it)| it.unwrap()).collect();
    assert!(waits.len() > 10, "they come back one by one: {waits:?}");
    assert!(
        waits.iter().all(|it| (100..10_000).contains(it)),
        "{waits:?}"
    );
}

/// Waits until `/readyz` says no. A request that comes in the same moment may find its connection closed.
async fn drains(program: &Program) {
    soon("readyz says no", async {
        while !get(program.address, "/readyz")
            .await
            .starts_with("HTTP/1.1 503 ")
        {}
    })
    .await;
}

#[tokio::test]
async fn with_nobody_there_it_ends_at_once_and_twice_means_now() {
    let pulse = Pulse::start();
    let place = ProgramFolder::new();
    let mut program = place.start(&[]);
    let began = Instant::now();
    program.signal("TERM");
    assert!(program.ends().await.success());
    assert!(
        began.elapsed() < Duration::from_secs(2) + pulse.slack(),
        "{:?}",
        began.elapsed()
    );

    for (first, second) in [("TERM", "TERM"), ("INT", "INT"), ("TERM", "INT")] {
        let mut program = place.start(&[("PRESENCE_DRAIN", "1h")]);
        // They hold their connections and answer nothing.
        let mut people = Vec::new();
        for n in 0..60 {
            people.push(Person::connects(&options(program.address, &format!("user-{n}"))).await);
        }
        program.signal(first);
        drains(&program).await;
        let began = Instant::now();
        program.signal(second);
        let exit = program.ends().await;
        assert!(!exit.success(), "{exit}: {}", program.log());
        assert!(
            began.elapsed() < Duration::from_secs(2) + pulse.slack(),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn without_a_data_folder_who_comes_back_is_new_there() {
    let place = ProgramFolder::new();
    let settings = [("PRESENCE_DATA_DIR", ":memory:")];
    let mut program = place.start(&settings);
    let mut ann = Person::comes_with(&options(program.address, "ann")).await;
    let resume = ann.client.hello().resume.to_string();
    program.signal("TERM");
    assert_eq!(ann.is_closed().await, 1012);
    program.ends().await;

    let program = place.start(&settings);
    let eve = Person::comes_with(&options(program.address, "eve")).await;
    assert_eq!(eve.ids(), ["eve"]);
    let again = Options {
        resume: Some(resume),
        ..options(program.address, "ann")
    };
    let ann = Person::comes_with(&again).await;
    assert!(!ann.client.restored());
}

/// The events in a log of JSON lines, each with its name.
fn events(log: &str) -> Vec<(String, serde_json::Value)> {
    let lines = log.lines().map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        (event["event"].as_str().unwrap_or("").to_owned(), event)
    });
    lines.filter(|(name, _)| !name.is_empty()).collect()
}

#[tokio::test]
async fn what_becomes_of_connections_is_logged() {
    let place = ProgramFolder::new();
    let json = ("PRESENCE_LOG_FORMAT", "json");
    let mut program = place.start(&[json]);
    let mut ann = Person::connects(&options(program.address, "ann")).await;
    ann.does(r#"{"type":"presence:heartbeat"}"#).await;
    let resume = ann.client.hello().resume.to_string();
    let again = Options {
        resume: Some(resume.clone()),
        ..options(program.address, "ann")
    };
    let mut ann = Person::connects(&again).await;
    ann.says(r#"{"type":"presence:leave"}"#).await;
    ann.is_closed().await;
    let _bob = Person::connects(&options(program.address, "bob")).await;
    let _ = get(program.address, "/ws").await;
    program.signal("TERM");
    program.ends().await;

    let log = program.log();
    assert!(!log.contains(&resume), "tokens are not logged: {log}");
    let events = events(&log);
    let all = |name: &str| {
        let these = events.iter().filter(|(it, _)| it == name);
        these.map(|(_, event)| event).collect::<Vec<_>>()
    };
    let begun = all("connection_begin");
    assert_eq!(begun.len(), 3, "{log}");
    assert_eq!(
        (&begun[0]["user"], &begun[0]["dialect"]),
        (&"ann".into(), &"native".into())
    );
    assert_eq!([&begun[0]["resumed"], &begun[1]["resumed"]], [false, true]);
    let takeover = all("session_takeover");
    assert_eq!(
        (takeover.len(), &takeover[0]["user"]),
        (1, &"ann".into()),
        "{log}"
    );
    let refused = all("connection_refused");
    assert_eq!(
        (refused.len(), &refused[0]["status"]),
        (1, &426.into()),
        "{log}"
    );
    let ended = all("connection_end");
    let reasons: Vec<_> = ended
        .iter()
        .map(|it| it["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["replaced", "left", "restarting"], "{log}");
    assert_eq!(ended[2]["code"], 1012);
    for (begun, ended) in begun.iter().zip(&ended) {
        assert_eq!(begun["connection"], ended["connection"]);
        assert!(ended["seconds"].as_f64() >= Some(0.0), "{ended}");
        assert!(ended["bytes_out"].as_u64() > Some(0), "{ended}");
    }
    assert_eq!(ended[0]["frames_in"], 1);
    assert_eq!([all("drain_begin").len(), all("drain_end").len()], [1, 1]);
}

#[tokio::test]
async fn a_refused_token_is_logged_with_the_reason_and_without_the_token() {
    let place = ProgramFolder::new();
    let settings = [
        ("PRESENCE_LOG_FORMAT", "json"),
        (
            "PRESENCE_JWT_SECRET",
            "a secret of thirty-two bytes, or more",
        ),
    ];
    let mut program = place.start(&settings);
    let token = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.e30.hush";
    let mut refused = options(program.address, "ann");
    refused.token = Some(token.into());
    assert!(Client::connect(&refused).await.is_err());
    let path = format!("/api/presence/channels?token={token}");
    let _ = get(program.address, &path).await;
    let _ = get(program.address, "/api/presence/nodes").await;
    program.signal("TERM");
    program.ends().await;

    let log = program.log();
    assert!(!log.contains("hush"), "{log}");
    let events = events(&log);
    let named = events.iter().filter(|(name, _)| name == "token_refused");
    let reasons: Vec<_> = named
        .map(|(_, it)| it["reason"].as_str().unwrap())
        .collect();
    let wrong = "the token's signature is wrong";
    assert_eq!(reasons, [wrong, wrong, "a token is required"], "{log}");
    let refused = events.iter().find(|(name, _)| name == "connection_refused");
    assert_eq!(refused.unwrap().1["code"], 4401, "{log}");
}

#[tokio::test]
async fn what_an_operator_does_is_logged_with_who_did_it_and_to_whom() {
    let place = ProgramFolder::new();
    let settings = [
        ("PRESENCE_LOG_FORMAT", "json"),
        // What operators do is logged all the same.
        ("PRESENCE_LOG_CONNECTIONS", "off"),
        ("NODE_NAME", "eu-1"),
        ("PRESENCE_JWT_SECRET", SECRET),
    ];
    let mut program = place.start(&settings);
    let token = |args: &[&str]| {
        let args = [&["token", "--user"], args].concat();
        let (is_well, token, why) = place.run(&settings, &args);
        assert!(is_well, "{why}");
        token.trim().to_owned()
    };
    let root = token(&["root", "--scope", "admin"]);
    let mut ann = options(program.address, "");
    (ann.user_id, ann.token) = (None, Some(token(&["ann"])));
    let _ann = Person::connects(&ann).await;
    let ask = async |method: &str, path: &str| {
        let (status, body) = call(program.address, method, path, &root, None).await;
        assert!(
            matches!(status, 200 | 204),
            "{method} {path}: {status} {body}"
        );
        body
    };
    let list = ask("GET", "/api/presence/connections?user_id=ann").await;
    let connection = list["connections"][0]["id"].as_str().unwrap().to_owned();
    let end = format!("/api/presence/connections/{connection}/disconnect");
    ask("POST", &end).await;
    ask("POST", "/api/presence/users/ann/kick").await;
    ask("DELETE", "/api/presence/users/ann").await;
    // Who may not do it does nothing.
    let eve = token(&["eve"]);
    let kick = "/api/presence/users/ann/kick";
    let (status, _) = call(program.address, "POST", kick, &eve, None).await;
    assert_eq!(status, 403);
    let (status, _) = call(
        program.address,
        "POST",
        "/admin/api/nodes/eu-9/drain",
        &root,
        None,
    )
    .await;
    assert_eq!(status, 404);
    ask("POST", "/admin/api/nodes/eu-1/drain").await;
    program.ends().await;

    let log = program.log();
    let events = events(&log);
    let acts = events.iter().filter(|(name, _)| name == "operator_act");
    let acts: Vec<_> = acts
        .map(|(_, it)| {
            ["act", "by", "subject", "outcome"].map(|name| it[name].as_str().unwrap_or("-"))
        })
        .collect();
    assert_eq!(
        acts,
        [
            ["disconnect", "root", connection.as_str(), "done"],
            ["kick", "root", "ann", "done"],
            ["erase", "root", "ann", "done"],
            ["drain", "root", "eu-9", "failed"],
            ["drain", "root", "eu-1", "done"],
        ],
        "{log}"
    );
    let asked = events.iter().find(|(name, _)| name == "drain_asked");
    assert_eq!(asked.unwrap().1["by"], "root", "{log}");
}

#[tokio::test]
async fn the_journal_of_connections_is_as_it_is_set() {
    let place = ProgramFolder::new();
    let log_of = async |settings: &[(&str, &str)], people: usize| {
        let settings = [&[("PRESENCE_LOG_FORMAT", "json")], settings].concat();
        let mut program = place.start(&settings);
        for n in 0..people {
            let user = format!("user-{n}");
            let mut person = Person::connects(&options(program.address, &user)).await;
            person.says(r#"{"type":"presence:leave"}"#).await;
            person.is_closed().await;
        }
        program.signal("TERM");
        program.ends().await;
        program.log()
    };
    let hashed = log_of(&[("PRESENCE_LOG_USER_IDS", "hashed")], 1).await;
    let again = log_of(&[("PRESENCE_LOG_USER_IDS", "hashed")], 1).await;
    let user = |log: &str| events(log)[0].1["user"].as_str().unwrap().to_owned();
    assert!(!hashed.contains("user-0"), "{hashed}");
    assert_eq!(user(&hashed), user(&again), "the key is in the folder");
    assert_eq!(user(&hashed).len(), 16);

    let without = log_of(&[("PRESENCE_LOG_USER_IDS", "off")], 1).await;
    assert_eq!(events(&without)[0].1.get("user"), None, "{without}");

    for level in ["off", "debug"] {
        let log = log_of(&[("PRESENCE_LOG_CONNECTIONS", level)], 1).await;
        assert!(!log.contains("connection_begin"), "{log}");
    }
    let settings = [
        ("PRESENCE_LOG_CONNECTIONS", "debug"),
        ("PRESENCE_LOG", "debug"),
    ];
    let log = log_of(&settings, 1).await;
    assert!(log.contains("connection_begin"), "{log}");

    let seldom = [("PRESENCE_LOG_CONNECTIONS_PER_SECOND", "1")];
    let log = log_of(&seldom, 20).await;
    let connections = log.lines().filter(|it| it.contains("connection_")).count();
    assert!((1..40).contains(&connections), "{log}");
}

#[test]
fn what_cannot_work_is_said_clearly_and_ends_with_an_error() {
    let place = ProgramFolder::new();
    let first = place.start(&[]);
    let (ok, out, err) = place.run(&[], &[]);
    assert!(!ok && out.is_empty(), "{out}");
    for word in [
        "presence-gateway: ",
        "presence-data/profiles.redb is in use",
    ] {
        assert!(err.contains(word), "two on one folder: {err}");
    }

    let listen = first.address.to_string();
    let (ok, out, err) = place.run(&[("PRESENCE_DATA_DIR", ":memory:")], &["--listen", &listen]);
    assert!(!ok && out.is_empty(), "{out}");
    assert!(err.contains(&format!("cannot listen on {listen}")), "{err}");
    assert!(err.contains("in use"), "{err}");
    assert!(err.contains("--listen"), "says what would do: {err}");

    for (settings, args, words) in [
        (
            &[][..],
            &["--listen", "0.0.0.0:0"][..],
            &["everybody is who they say", "PRESENCE_JWT_SECRET"][..],
        ),
        (
            &[("PRESENCE_GRACE", "soon")],
            &[],
            &["timing.grace", "PRESENCE_GRACE", "would do"],
        ),
        (
            &[("PRESENCE_GRACES", "1s")],
            &[],
            &["PRESENCE_GRACES", "PRESENCE_GRACE"],
        ),
        (
            &[("PRESENCE_JWT_SECRET", "short")],
            &[],
            &["jwt.secret", "at least 32"],
        ),
        (&[], &["--frob"], &["--frob"]),
        (
            &[],
            &["--config", "nowhere.toml"],
            &["nowhere.toml", "--config", "would do"],
        ),
        (
            &[("PRESENCE_JWT_SECRET_FILE", "nowhere")],
            &[],
            &["jwt.secret_file", "nowhere", "would do"],
        ),
        (
            &[
                ("REDIS_URL", "redis://127.0.0.1:1"),
                ("PRESENCE_DATA_DIR", ":memory:"),
            ],
            &["--listen", "127.0.0.1:0"],
            &["127.0.0.1:1", "start that Redis", "redis.url"],
        ),
        (
            &[("PRESENCE_JWT_SECRET", SECRET)],
            &["--listen", "192.0.2.1:4001"],
            &["192.0.2.1:4001", "0.0.0.0"],
        ),
        (
            &[],
            &["token", "--user", "ann"],
            &["no secret", "PRESENCE_JWT_SECRET"],
        ),
    ] {
        let (ok, out, err) = place.run(settings, args);
        assert!(!ok && out.is_empty(), "{settings:?} {args:?}: {out}");
        for word in words {
            assert!(
                err.contains(word),
                "{settings:?} {args:?}: no {word:?} in {err}"
            );
        }
    }
}

/// Like `presence-gateway --check-config | head -1`.
#[test]
fn who_reads_only_the_beginning_of_an_answer_breaks_nothing() {
    let place = ProgramFolder::new();
    let (status, err) = place.run_unread(&["--check-config"]);
    assert!(status.success() && err.is_empty(), "{status} {err}");
}

#[test]
fn the_configuration_is_explained_without_its_secrets() {
    let place = ProgramFolder::new();
    let settings = [("PRESENCE_JWT_SECRET", SECRET), ("PRESENCE_GRACE", "3s")];
    let (ok, out, err) = place.run(&settings, &["--check-config"]);
    assert!(ok, "{err}");
    assert!(!out.contains(SECRET), "{out}");
    let line = |key: &str| {
        out.lines()
            .find(|it| it.starts_with(key))
            .unwrap_or_else(|| panic!("{out}"))
    };
    assert!(line("timing.grace").contains("3s"), "{out}");
    assert!(line("timing.grace").contains("PRESENCE_GRACE"), "{out}");
    assert!(line("jwt.secret").contains("hidden"), "{out}");
    assert!(out.contains("every client needs a token"), "{out}");
    // Nothing was opened.
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_token_of_the_program_gets_one_in() {
    let place = ProgramFolder::new();
    let settings = [("PRESENCE_JWT_SECRET", SECRET)];
    let program = place.start(&settings);
    let (ok, token, err) = place.run(
        &settings,
        &[
            "token",
            "--user",
            "ann",
            "--name",
            "Ann",
            "--workspace",
            "acme",
            "--channel",
            "room:*",
            "--ttl",
            "1h",
        ],
    );
    assert!(ok, "{err}");
    let options = Options {
        user_id: None,
        token: Some(token.trim().to_owned()),
        ..options(program.address, "")
    };
    let options = Options {
        device_id: None,
        ..options
    };
    let ann = Person::comes_with(&options).await;
    assert_eq!(&*ann.client.hello().user_id, "ann");
    assert_eq!(ann.room.user("ann").unwrap().name.as_deref(), Some("Ann"));
    assert_eq!(ann.client.hello().workspaces, ["acme".into()]);
    assert!(
        !program.log().contains(token.trim()),
        "tokens are not logged"
    );
}

#[test]
fn a_file_or_folder_that_is_not_there_is_named_with_its_setting() {
    let place = ProgramFolder::new();
    std::fs::write(place.path().join("file"), "not a folder").unwrap();
    for (setting, value, args, what) in [
        (
            "PRESENCE_CONFIG",
            "missing.toml",
            &["--check-config"][..],
            "PRESENCE_CONFIG",
        ),
        (
            "PRESENCE_JWKS_FILE",
            "missing.json",
            &["--check-config"],
            "jwt.jwks_file (PRESENCE_JWKS_FILE)",
        ),
        (
            "PRESENCE_JWT_KEYS",
            "RS256:missing.pem",
            &["--check-config"],
            "jwt.keys (PRESENCE_JWT_KEYS)",
        ),
        (
            "PRESENCE_DATA_DIR",
            "file/below",
            &[],
            "data_dir (PRESENCE_DATA_DIR)",
        ),
    ] {
        let (is_fine, _, complaint) = place.run(&[(setting, value)], args);
        assert!(!is_fine, "{setting}");
        assert!(complaint.contains(what), "{complaint}");
        assert_eq!(complaint.matches("os error").count(), 1, "{complaint}");
    }
}
