//! Tests of what takes time: silence, and tokens that expire.

use std::time::Duration;

use futures_util::StreamExt;
use hyper::header::HeaderMap;
use presence_core::{Change, Event, Reason};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::tungstenite::Message as WsMessage;

use super::*;
use crate::http::Query;
use crate::identity::{Grant, mint};
use crate::socket::far::{self, Far, app, session};

#[tokio::test(start_paused = true)]
async fn a_tab_whose_timers_are_stopped_stays_as_long_as_its_browser_answers() {
    let app = app(&[]);
    let mut ann = Page::connects(&app, "user_id=ann").await;
    ann.0.text(r#"["1","1","room:1","phx_join",{}]"#).await;
    let hour = Instant::now() + Duration::from_secs(3600);
    while Instant::now() < hour {
        // Whoever reads answers pings.
        ann.0.client.next().await.unwrap().unwrap();
    }
    assert!(!ann.0.running.is_finished());

    // From here on it reads nothing.
    let mut eve = session(&app, "eve").await;
    let watch = Some(Default::default());
    eve.join("room:1".parse().unwrap(), Arc::default(), watch, None)
        .unwrap();
    let silent = Instant::now();
    let reason = loop {
        if let Delivery::Event(shared) = eve.next().await
            && let Event::Changes { changes, .. } = &*shared.event
            && let [Change::Left { reason, .. }] = &changes[..]
        {
            break *reason;
        }
    };
    assert_eq!(reason, Reason::TimedOut);
    assert!(silent.elapsed() < app.config.timing.ttl());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_has_run_out_before_the_first_join_lets_nobody_in() {
    let app = app(&[(
        "PRESENCE_JWT_SECRET",
        "a secret of tests, which everybody knows",
    )]);
    let grant = Grant {
        user: "ann".parse().unwrap(),
        name: None,
        workspaces: Vec::new(),
        channels: Vec::new(),
        scopes: Vec::new(),
        device: None,
        ttl: Duration::from_secs(60),
    };
    let token = mint(&app.config.jwt, &grant, app.now()).unwrap();
    let mut ann = Page::connects(&app, &format!("token={token}")).await;
    for _ in 0..11 {
        sleep(Duration::from_secs(6)).await;
        ann.0.text(r#"[null,"1","phoenix","heartbeat",{}]"#).await;
        assert_eq!(ann.hears().await[1], "1");
    }
    ann.0.text(r#"["2","2","room:1","phx_join",{}]"#).await;
    assert_eq!(ann.is_closed().await, 4401);
}

#[tokio::test(start_paused = true)]
async fn the_service_says_in_a_line_each_what_happens() {
    let app = app(&[]);
    let mut ann = Page::connects(&app, "").await;
    ann.0
        .text(r#"["1","1","presence:ann","phx_join",{}]"#)
        .await;
    assert_eq!(ann.hears().await[3], "phx_reply");
    assert_eq!(ann.hears().await[3], "presence_state");
    ann.0
        .text(r#"["1","2","presence:ann","join_channel",{"channel_id":"room:1"}]"#)
        .await;
    assert_eq!(ann.hears().await[1], "2");
    let state = ann.hears().await;
    assert_eq!(state[3], "channel_state");
    assert_eq!(state[4]["channel_id"], "room:1");

    // Two in one tick.
    let channel: presence_core::ChannelId = "room:1".parse().unwrap();
    let mut users = Vec::new();
    let others = [session(&app, "bob").await, session(&app, "eve").await];
    for mut other in others {
        other
            .join(channel.clone(), Arc::default(), None, None)
            .unwrap();
        users.push(other);
    }
    let mut came = Vec::new();
    while came.len() < 2 {
        let update = ann.hears().await;
        if update[4]["user_id"] != "ann" {
            let payload = json!({
                "channel_id": "room:1", "action": "join", "user_id": update[4]["user_id"],
                "status": "online", "custom_message": null, "emoji": null,
            });
            assert_eq!(
                update,
                json!([null, null, "presence:ann", "presence_update", payload])
            );
            came.push(update[4]["user_id"].to_string());
        }
    }
    for user in users {
        user.end().await;
    }
    let update = ann.hears().await;
    assert_eq!(
        (&update[4]["action"], &update[4]["reason"]),
        (&json!("leave"), &json!("left"))
    );
}

/// The client side of a connection.
struct Page(Far);

impl Page {
    async fn connects(app: &Arc<App>, query: &str) -> Page {
        let uri = format!("/socket/websocket?vsn=2.0.0&{query}")
            .parse()
            .unwrap();
        let handshake = Handshake {
            path: "/socket/websocket",
            query: Query::of(&uri),
            headers: &HeaderMap::new(),
            offered: Vec::new(),
        };
        let Ok(agreed) = Phoenix::read(app, &handshake) else {
            panic!("{query} is refused");
        };
        let mut out = Out::default();
        let phoenix = Phoenix::enter(
            app.clone(),
            agreed.hello,
            crate::origin::of_a_test(),
            &mut out,
        )
        .await;
        Page(far::serve(app, phoenix.unwrap(), out, 64 * 1024).await)
    }

    async fn hears(&mut self) -> Value {
        loop {
            match self.0.client.next().await.unwrap().unwrap() {
                WsMessage::Text(text) => return serde_json::from_str(&text).unwrap(),
                WsMessage::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    async fn is_closed(&mut self) -> u16 {
        loop {
            match self.0.client.next().await.unwrap().unwrap() {
                WsMessage::Close(frame) => return frame.unwrap().code.into(),
                WsMessage::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
