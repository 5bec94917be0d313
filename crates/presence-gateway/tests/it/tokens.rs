//! Who may come in, what they may do there, and for how long.

use std::time::Duration;

use presence_client::wire::{ErrorCode, Event, Target};
use presence_client::{Client, ConnectError, Ending, Options};
use presence_core::Timestamp;
use presence_testkit::pulse::Pulse;
use serde_json::{Value, json};

use crate::gateway::{Running, now, soon, start_closed};
use crate::people::{Person, join};
use crate::raw::{self, Raw};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn without_a_good_token_nobody_gets_in_and_is_told_why() {
    let gateway = start_closed(&[]).await;
    let good = gateway.token("ann", HOUR, |_| {});
    let long_ago = Timestamp::from_millis(now().as_millis() - 7_200_000);
    let expired = gateway.token_made_at(long_ago, "ann", HOUR, |_| {});
    let other_key = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4iLCJleHAiOjQwMDAwMDAwMDB9.AAAA";
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4iLCJleHAiOjQwMDAwMDAwMDB9.";
    let middle = good.len() - 20;
    let other = if good.as_bytes()[middle] == b'A' {
        "B"
    } else {
        "A"
    };
    let changed = [&good[..middle], other, &good[middle + 1..]].concat();
    for (token, why, reason) in [
        (None, "a token is required", "token missing"),
        (Some("nonsense"), "the token is not a JWT", "token refused"),
        (
            Some(expired.as_str()),
            "the token has expired",
            "token expired",
        ),
        (Some(other_key), "signature is wrong", "token refused"),
        (
            Some(unsigned),
            "algorithm is not the one of the key",
            "token refused",
        ),
        (
            Some(changed.as_str()),
            "signature is wrong",
            "token refused",
        ),
    ] {
        // A page cannot see why an upgrade fails, so it succeeds, and says why.
        let protocols = token
            .map(|it| format!(", presence.bearer.{it}"))
            .unwrap_or_default();
        let protocols = format!("sec-websocket-protocol: presence.v1.json{protocols}\r\n");
        let mut raw = Raw::upgrade(gateway.address(), "/ws?user_id=ann", &protocols).await;
        let ended = raw.ends().await;
        assert_eq!(ended.code, Some(4401), "{token:?}");
        let [Event::Error(error), Event::Closing(closing)] = &ended.events[..] else {
            panic!("{token:?}: {ended:?}");
        };
        assert_eq!(error.code, ErrorCode::Unauthorized);
        assert!(error.message.contains(why), "{token:?}: {}", error.message);
        assert_eq!((closing.code, closing.reconnect), (4401, true));
        assert_eq!(&*closing.reason, reason, "{token:?}");
    }
    // The good one is good, wherever it stands.
    for (target, header) in [
        (
            "/ws".to_owned(),
            format!("authorization: Bearer {good}\r\n"),
        ),
        (format!("/ws?token={good}"), String::new()),
        (
            "/ws".to_owned(),
            format!("sec-websocket-protocol: presence.bearer.{good}, presence.v1.json\r\n"),
        ),
    ] {
        let mut raw = Raw::upgrade(gateway.address(), &target, &header).await;
        assert!(matches!(raw.event().await, Event::Hello(it) if &*it.user_id == "ann"));
    }
}

#[tokio::test]
async fn with_keys_only_the_token_says_who_one_is() {
    let gateway = start_closed(&[]).await;
    let token = gateway.token("ann", HOUR, |it| {
        it.name = Some("Ann A.".into());
        it.workspaces = vec!["acme".parse().unwrap()];
        it.device = Some("mobile:1".parse().unwrap());
    });
    let options = Options {
        user_id: Some("eve".into()),
        name: Some("Eve".into()),
        workspace_id: Some("umbrella".into()),
        device_id: Some("web:eve".into()),
        ..gateway.options_with(&token)
    };
    let mut ann = Person::connects(&options).await;
    let hello = ann.client.hello();
    assert_eq!((&*hello.user_id, &*hello.device_id), ("ann", "mobile:1"));
    assert_eq!(hello.workspaces, ["acme".into()]);
    assert!(hello.token_expires_at.is_some());
    // Nobody with a token shows a name that is not theirs.
    ann.does(r#"{"type":"presence:join","channel":"room:1","meta":{"name":"Eve"}}"#)
        .await;
    ann.sees(&["ann"]).await;
    assert_eq!(
        ann.room.user("ann").unwrap().name.as_deref(),
        Some("Ann A.")
    );
}

#[tokio::test]
async fn a_token_allows_its_scopes_in_its_channels_and_the_refusal_names_the_field() {
    let gateway = start_closed(&[]).await;
    let token = gateway.token("ann", HOUR, |it| {
        it.channels = vec!["room:*".into(), "board:7".into()];
        it.workspaces = vec!["acme".parse().unwrap()];
    });
    let mut ann = Person::comes_with(&gateway.options_with(&token)).await;
    ann.does(r#"{"type":"presence:join","channel":"board:7"}"#)
        .await;
    ann.does(r#"{"type":"presence:watch","workspace":"acme"}"#)
        .await;
    ann.does(r#"{"type":"presence:watch","users":["bob"]}"#)
        .await;
    for (json, field) in [
        (r#"{"type":"presence:join","channel":"board:8"}"#, "channel"),
        (r#"{"type":"presence:watch","channel":"rooms"}"#, "channel"),
        (r#"{"type":"presence:list","channel":"board:8"}"#, "channel"),
        (
            r#"{"type":"presence:broadcast","channel":"board:8","event":"x"}"#,
            "channel",
        ),
        (
            r#"{"type":"presence:watch","workspace":"umbrella"}"#,
            "workspace",
        ),
        (
            r#"{"type":"presence:list","workspace":"umbrella"}"#,
            "workspace",
        ),
    ] {
        let why = ann.is_refused(json).await;
        assert_eq!(
            (why.code, why.field.as_deref()),
            (ErrorCode::Forbidden, Some(field)),
            "{json}"
        );
    }

    let token = gateway.token("bob", HOUR, |it| it.scopes = vec!["watch".into()]);
    let mut bob = Person::connects(&gateway.options_with(&token)).await;
    bob.does(r#"{"type":"presence:watch","channel":"room:1"}"#)
        .await;
    for (json, field) in [
        (r#"{"type":"presence:join","channel":"room:1"}"#, "channel"),
        (
            r#"{"type":"presence:broadcast","channel":"room:1","event":"x"}"#,
            "channel",
        ),
        (r#"{"type":"presence:status","status":"busy"}"#, "status"),
    ] {
        let why = bob.is_refused(json).await;
        assert_eq!(
            (why.code, why.field.as_deref()),
            (ErrorCode::Forbidden, Some(field)),
            "{json}"
        );
    }
    // Who may only watch is in nobody's list.
    ann.does(r#"{"type":"presence:list","channel":"room:1"}"#)
        .await;
    assert_eq!(ann.ids(), ["ann"]);
}

#[tokio::test]
async fn a_token_that_runs_out_is_asked_for_and_the_connection_ends_with_it() {
    let pulse = Pulse::start();
    let gateway = start_closed(&[("PRESENCE_JWT_LEEWAY", "1s")]).await;
    let token = gateway.token("ann", Duration::from_secs(2), |_| {});
    let mut ann = Person::comes_with(&gateway.options_with(&token)).await;
    let expires_at = ann.client.hello().token_expires_at.unwrap();
    ann.until("expiring", |it| asked(it) == [expires_at]).await;
    assert_eq!(ann.is_closed().await, 4401);
    let late = now().as_millis() as i64 - expires_at as i64;
    let slack = pulse.slack().as_millis() as i64;
    assert!(
        (900..4000 + slack).contains(&late),
        "with the leeway: {late} ms after its end"
    );
    assert_eq!(asked(&ann).len(), 1, "once");
    assert!(
        ann.heard
            .iter()
            .any(|it| matches!(it, Event::Closing(it) if it.reconnect))
    );
}

#[tokio::test]
async fn a_refreshed_token_keeps_the_connection() {
    let gateway = start_closed(&[("PRESENCE_JWT_LEEWAY", "0s")]).await;
    let token = gateway.token("ann", Duration::from_secs(4), |_| {});
    let mut ann = Person::comes_with(&gateway.options_with(&token)).await;
    let expires_at = ann.client.hello().token_expires_at.unwrap();

    // Not by one of somebody else, nor by one that is wrong.
    let eve = gateway.token("eve", HOUR, |_| {});
    for wrong in [eve.as_str(), "nonsense"] {
        let json = format!(r#"{{"type":"presence:authenticate","token":"{wrong}"}}"#);
        let why = ann.is_refused(&json).await;
        assert_eq!(
            (why.code, why.field.as_deref()),
            (ErrorCode::Unauthorized, Some("token"))
        );
    }
    // A fresh one has a say in what is allowed, too.
    let fresh = gateway.token("ann", HOUR, |it| it.channels = vec!["room:*".into()]);
    ann.does(&format!(
        r#"{{"type":"presence:authenticate","token":"{fresh}"}}"#
    ))
    .await;
    while now().as_millis() < expires_at + 300 {
        ann.does(r#"{"type":"presence:ping"}"#).await;
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let why = ann
        .is_refused(r#"{"type":"presence:join","channel":"board:1"}"#)
        .await;
    assert_eq!(why.code, ErrorCode::Forbidden);
    ann.does(r#"{"type":"presence:ping"}"#).await;
}

#[tokio::test]
async fn a_refreshed_token_is_asked_for_again_when_it_runs_out_too() {
    let gateway = start_closed(&[("PRESENCE_JWT_LEEWAY", "0s")]).await;
    let short = |seconds| gateway.token("ann", Duration::from_secs(seconds), |_| {});
    let mut ann = Person::comes_with(&gateway.options_with(&short(4))).await;
    ann.until("expiring", |it| asked(it).len() == 1).await;
    ann.does(&format!(
        r#"{{"type":"presence:authenticate","token":"{}"}}"#,
        short(7)
    ))
    .await;
    ann.until("expiring again", |it| asked(it).len() == 2).await;
    let asked = asked(&ann);
    assert!(asked[1] > asked[0]);
    assert_eq!(ann.is_closed().await, 4401);
    assert!(now().as_millis() >= asked[1]);
}

#[tokio::test]
async fn a_refreshed_token_changes_everything_that_it_says() {
    let gateway = start_closed(&[]).await;
    let token = |name: Option<&str>, workspaces: &[&str], channels: &[&str]| {
        gateway.token("ann", HOUR, |it| {
            it.name = name.map(str::to_owned);
            it.workspaces = workspaces.iter().map(|it| it.parse().unwrap()).collect();
            it.channels = channels.iter().map(|it| (*it).to_owned()).collect();
        })
    };
    let first = token(Some("Ann"), &["acme", "both"], &["*"]);
    let mut ann = Person::comes_with(&gateway.options_with(&first)).await;
    for json in [
        r#"{"type":"presence:join","channel":"board:1"}"#,
        r#"{"type":"presence:watch","channel":"board:2"}"#,
        r#"{"type":"presence:watch","workspace":"acme"}"#,
        r#"{"type":"presence:watch","workspace":"both"}"#,
    ] {
        ann.does(json).await;
    }
    let reader = gateway.token("reader", HOUR, |it| it.scopes = vec!["read".into()]);
    let mut reader = Person::connects(&gateway.options_with(&reader)).await;
    for (workspace, name) in [
        ("acme", Some("Ann")),
        ("both", Some("Ann")),
        ("umbrella", None),
    ] {
        assert_eq!(
            name_in(&mut reader, workspace).await.as_deref(),
            name,
            "{workspace}"
        );
    }

    let fresh = token(Some("Anna"), &["both", "umbrella"], &["room:*"]);
    ann.does(&authenticate(&fresh)).await;
    ann.until("what she lost", |it| {
        removed(it) == ["board:1", "board:2", "acme"]
    })
    .await;
    for (workspace, name) in [
        ("acme", None),
        ("both", Some("Anna")),
        ("umbrella", Some("Anna")),
    ] {
        soon(workspace, async {
            while name_in(&mut reader, workspace).await.as_deref() != name {}
        })
        .await;
    }
    ann.until("the new name", |it| {
        let name = it.room.user("ann").and_then(|it| it.name.clone());
        name.as_deref() == Some("Anna")
    })
    .await;
    for json in [
        r#"{"type":"presence:list","channel":"board:1"}"#,
        r#"{"type":"presence:watch","workspace":"acme"}"#,
    ] {
        assert_eq!(ann.is_refused(json).await.code, ErrorCode::Forbidden);
    }
    ann.does(r#"{"type":"presence:watch","workspace":"umbrella"}"#)
        .await;

    // A token without a name gives back the one that the meta has.
    ann.does(r#"{"type":"presence:update","channel":"room:1","meta":{"name":"A."}}"#)
        .await;
    ann.does(&authenticate(&token(None, &[], &["room:*"])))
        .await;
    ann.until("the name of the meta", |it| {
        let name = it.room.user("ann").and_then(|it| it.name.clone());
        name.as_deref() == Some("A.")
    })
    .await;
    soon("nobody", async {
        while name_in(&mut reader, "umbrella").await.is_some() {}
    })
    .await;
    // The same again is no news.
    ann.does(&authenticate(&token(None, &[], &["room:*"])))
        .await;
    ann.tells("end").await;
    ann.hears_word("end").await;
    let all = ["board:1", "board:2", "acme", "both", "umbrella"];
    assert_eq!(removed(&ann), all);
}

#[tokio::test]
async fn a_refreshed_token_changes_what_one_may_do() {
    let gateway = start_closed(&[]).await;
    let token = |scopes: &[&str]| {
        gateway.token("ann", HOUR, |it| {
            it.scopes = scopes.iter().map(|it| (*it).to_owned()).collect();
        })
    };
    let mut ann = Person::comes_with(&gateway.options_with(&token(&[]))).await;
    ann.does(r#"{"type":"presence:watch","users":["bob","cid"]}"#)
        .await;
    ann.does(&authenticate(&token(&["join", "watch"]))).await;
    let wave = r#"{"type":"presence:broadcast","channel":"room:1","event":"x"}"#;
    let busy = r#"{"type":"presence:status","status":"busy"}"#;
    for json in [wave, busy] {
        assert_eq!(ann.is_refused(json).await.code, ErrorCode::Forbidden);
    }
    ann.does(&authenticate(&token(&["join"]))).await;
    ann.until("what she lost", |it| removed(it) == ["room:1", "bob cid"])
        .await;
    ann.does(&authenticate(&token(&["admin"]))).await;
    ann.does(r#"{"type":"presence:join","channel":"room:1"}"#)
        .await;
    for json in [wave, busy] {
        ann.does(json).await;
    }
}

#[tokio::test]
async fn a_restored_session_is_told_what_its_newer_token_does_not_allow() {
    let gateway = start_closed(&[]).await;
    let wide = gateway.token("ann", HOUR, |it| it.name = Some("Ann".into()));
    let mut ann = Person::comes_with(&gateway.options_with(&wide)).await;
    ann.does(r#"{"type":"presence:join","channel":"board:1"}"#)
        .await;
    let resume = Some(ann.client.hello().resume.to_string());
    ann.client.abort();
    let narrow = gateway.token("ann", HOUR, |it| {
        it.channels = vec!["room:*".into()];
        it.name = Some("Anna".into());
    });
    let options = Options {
        resume,
        ..gateway.options_with(&narrow)
    };
    let mut again = Person::connects(&options).await;
    assert!(again.client.restored());
    again
        .does(r#"{"type":"presence:watch","channel":"room:1"}"#)
        .await;
    again
        .until("what she lost", |it| removed(it) == ["board:1"])
        .await;
    again
        .until("the new name", |it| {
            let name = it.room.user("ann").and_then(|it| it.name.clone());
            name.as_deref() == Some("Anna")
        })
        .await;
}

#[tokio::test]
async fn on_phoenix_each_topic_that_was_lost_is_closed_and_the_service_hears_of_it() {
    let gateway = start_closed(&[]).await;
    let token = |workspaces: &[&str], channels: &[&str]| {
        gateway.token("ann", HOUR, |it| {
            it.workspaces = workspaces.iter().map(|it| it.parse().unwrap()).collect();
            it.channels = channels.iter().map(|it| (*it).to_owned()).collect();
        })
    };
    let params = format!("token={}", token(&["acme"], &["*"]));
    let mut page = crate::phoenix::Page::connects_with(&gateway, &params).await;
    page.joins("presence:ann", json!({"workspace_id": "acme"}))
        .await;
    page.joins("room:1", json!({})).await;
    page.joins("board:1", json!({})).await;
    page.joins("board:2", json!({"watch": true})).await;
    for channel in ["board:3", "room:3"] {
        let join = json!(["1", "7", "presence:ann", "join_channel", {"channel_id": channel}]);
        page.asks(join).await;
    }
    page.heard().await;
    let fresh = token(&["umbrella"], &["room:*"]);
    let renewal = json!(["1", "8", "room:1", "access_token", {"access_token": fresh}]);
    page.says(renewal).await;
    let (mut closed, mut left) = (Vec::new(), Vec::new());
    loop {
        let frame = page.0.json().await;
        match frame[3].as_str() {
            Some("phx_close") => closed.push(frame[2].as_str().unwrap().to_owned()),
            Some("presence_update") if frame[4]["reason"] == "kicked" => {
                assert_eq!(
                    (&frame[2], &frame[4]["user_id"]),
                    (&json!("presence:ann"), &json!("ann"))
                );
                let place = frame[4]["channel_id"]
                    .as_str()
                    .or(frame[4]["workspace_id"].as_str());
                left.push(place.unwrap().to_owned());
            }
            Some("phx_reply") if frame[1] == "8" => {
                assert_eq!(frame[4]["status"], "ok", "{frame}");
                break;
            }
            _ => {}
        }
    }
    closed.sort();
    left.sort();
    assert_eq!(closed, ["board:1", "board:2"]);
    assert_eq!(left, ["acme", "board:1", "board:2", "board:3"]);
    page.is_refused(json!(["2", "9", "board:1", "phx_join", {}]))
        .await;
    page.asks(json!(["1", "10", "presence:ann", "get_online_users", {}]))
        .await;
}

#[tokio::test]
async fn on_pusher_who_signs_in_again_is_in_the_workspaces_that_are_signed_now() {
    let gateway = crate::pusher::start_with_apps(&[]).await;
    let mut page = crate::pusher::Page::connects(&gateway).await;
    let mut reader = Person::connects(&gateway.options("reader")).await;
    for (workspaces, expected) in [
        (["acme"], ["acme", ""]),
        (["umbrella"], ["umbrella", "acme"]),
    ] {
        let data = json!({"id": "ann", "user_info": {"name": "Ann"}, "workspaces": workspaces});
        let data = data.to_string();
        let auth = page.auth(&format!("::user::{data}"));
        page.says("pusher:signin", json!({"auth": auth, "user_data": data}))
            .await;
        page.hears("pusher:signin_success").await;
        let [there, gone] = expected;
        soon(there, async {
            while name_in(&mut reader, there).await.is_none() {}
            while !gone.is_empty() && name_in(&mut reader, gone).await.is_some() {}
        })
        .await;
    }
}

fn authenticate(token: &str) -> String {
    json!({"type": "presence:authenticate", "token": token}).to_string()
}

/// What they were told they are out of, in order.
fn removed(person: &Person) -> Vec<String> {
    let all = person.heard.iter().filter_map(|event| match event {
        Event::Removed(it) => Some(match &it.target {
            Target::Channel(id) | Target::Workspace(id) => id.clone(),
            Target::Users(ids) => ids.join(" "),
        }),
        _ => None,
    });
    all.collect()
}

/// The name under which ann is in an online list.
async fn name_in(reader: &mut Person, workspace: &str) -> Option<String> {
    tokio::time::sleep(Duration::from_millis(120)).await;
    let answer = reader
        .does(&json!({"type": "presence:list", "workspace": workspace}).to_string())
        .await;
    let answer: Value = serde_json::from_str(&answer.to_json()).unwrap();
    let users = answer["result"]["users"].as_array().unwrap();
    let ann = users.iter().find(|it| it["id"] == "ann")?;
    Some(ann["name"].as_str().unwrap_or_default().to_owned())
}

/// For which ends of a token they were asked for a fresh one.
fn asked(person: &Person) -> Vec<u64> {
    let ends = person.heard.iter().filter_map(|event| match event {
        Event::Expiring(it) => Some(it.token_expires_at),
        _ => None,
    });
    ends.collect()
}

#[tokio::test]
async fn who_is_kicked_is_gone_at_once_and_does_not_get_back_with_an_old_token() {
    let gateway = start_closed(&[("PRESENCE_GRACE", "1h")]).await;
    let admin = gateway.token("root", HOUR, |it| it.scopes = vec!["admin".into()]);
    let ann = gateway.token("ann", HOUR, |_| {});
    let bob = gateway.token("bob", HOUR, |_| {});
    let mut ann = Person::comes_with(&gateway.options_with(&ann)).await;
    let mut kicked = Person::comes_with(&gateway.options_with(&bob)).await;
    ann.sees(&["ann", "bob"]).await;
    kick(&gateway, &admin, "bob").await;
    assert_eq!(kicked.is_closed().await, 4410);
    ann.sees(&["ann"]).await;
    let again = soon("an answer", Client::connect(&gateway.options_with(&bob))).await;
    assert!(matches!(
        again,
        Err(ConnectError::Ended(Ending::Closed { code: 4401, .. }))
    ));
    // Nor does its resume token help.
    let resume = Options {
        resume: Some(kicked.client.hello().resume.to_string()),
        ..gateway.options_with(&bob)
    };
    assert!(soon("an answer", Client::connect(&resume)).await.is_err());
}

async fn kick(gateway: &Running, token: &str, user: &str) {
    let request = format!(
        "POST /api/presence/users/{user}/kick HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
    );
    let answer = raw::exchange(gateway.address(), request.as_bytes()).await;
    assert!((200..300).contains(&raw::status(&answer)), "{answer}");
}

#[tokio::test]
async fn a_restored_session_needs_a_good_token_as_well() {
    let gateway = start_closed(&[]).await;
    let token = gateway.token("ann", HOUR, |_| {});
    let mut ann = Person::connects(&gateway.options_with(&token)).await;
    ann.client.request(join()).await.unwrap();
    let resume = Some(ann.client.hello().resume.to_string());
    ann.client.abort();
    let with = |token: &str| Options {
        resume: resume.clone(),
        ..gateway.options_with(token)
    };
    let eve = gateway.token("eve", HOUR, |_| {});
    assert!(!Person::connects(&with(&eve)).await.client.restored());
    assert!(Client::connect(&with("nonsense")).await.is_err());
    assert!(Person::connects(&with(&token)).await.client.restored());
}
