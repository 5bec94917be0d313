//! One connection, without a network, in paused time.

use std::time::Duration;

use futures_util::StreamExt;
use presence_core::UserId;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::*;
use crate::socket::far::{self, Far, session};

const SECRET: &str = "7ad3773142a6692b25b8";

#[tokio::test(start_paused = true)]
async fn who_only_listens_stays_as_long_as_the_browser_answers_pings() {
    let app = app();
    let mut page = Page::opens(&app).await;
    page.subscribes("presence-room;1", "ann").await;
    page.hears("pusher_internal:subscription_succeeded").await;
    let hour = Instant::now() + Duration::from_secs(3600);
    while Instant::now() < hour {
        match page.far.client.next().await {
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("{other:?}"),
        }
    }
    let ann: UserId = "ann".parse().unwrap();
    assert_eq!(app.hub.public_view(&ann).await.unwrap().devices.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_their_last_channel_is_gone_though_the_connection_is_not() {
    let app = app();
    let mut eve = session(&app, "eve").await;
    let ann: UserId = "ann".parse().unwrap();
    eve.watch_user(ann, None).unwrap();
    let mut page = Page::opens(&app).await;
    for room in ["presence-room;1", "presence-room;2"] {
        page.subscribes(room, "ann").await;
        page.hears("pusher_internal:subscription_succeeded").await;
    }
    assert!(is_online(&mut eve).await);
    page.says(
        "pusher:unsubscribe",
        json!({ "channel": "presence-room;1" }),
    )
    .await;
    page.says("pusher:ping", json!({})).await;
    page.hears("pusher:pong").await;
    page.says(
        "pusher:unsubscribe",
        json!({ "channel": "presence-room;2" }),
    )
    .await;
    assert!(!is_online(&mut eve).await);
    page.says("pusher:ping", json!({})).await;
    page.hears("pusher:pong").await;
}

#[tokio::test(start_paused = true)]
async fn one_connection_may_be_several_users_up_to_a_limit() {
    let app = app();
    let mut page = Page::opens(&app).await;
    for n in 0..8 {
        page.subscribes(&format!("presence-room;{n}"), &format!("user-{n}"))
            .await;
        let roster = page.hears("pusher_internal:subscription_succeeded").await;
        let ids = data(&roster)["presence"]["ids"].clone();
        assert_eq!(ids, json!([format!("user-{n}")]));
    }
    page.subscribes("presence-room;8", "user-8").await;
    let refused = page.hears("pusher:subscription_error").await;
    assert_eq!(refused["data"]["status"], 429);
    page.subscribes("presence-room;8", "user-3").await;
    page.hears("pusher_internal:subscription_succeeded").await;
    // The same channel as somebody else: not while one is on it.
    page.subscribes("presence-room;8", "user-4").await;
    let refused = page.hears("pusher:subscription_error").await;
    assert_eq!(refused["data"]["status"], 400);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_a_count_with_a_sample_and_oneself() {
    let app = far::app(
        &[
            &SETTINGS[..],
            &[("PRESENCE_LISTED_MAX", "3"), ("PRESENCE_FACES_MAX", "2")],
        ]
        .concat(),
    );
    let mut others = Vec::new();
    for n in 0..6 {
        let mut other = session(&app, &format!("user-{n}")).await;
        let channel = "room:1".parse().unwrap();
        other.join(channel, Arc::default(), None, None).unwrap();
        others.push(other);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut page = Page::opens(&app).await;
    page.subscribes("presence-room;1", "me").await;
    let roster = page.hears("pusher_internal:subscription_succeeded").await;
    let presence = data(&roster)["presence"].clone();
    assert_eq!(presence["ids"], json!(["me", "user-0", "user-1"]));
    let hash = presence["hash"].as_object().unwrap();
    assert_eq!(hash.keys().collect::<Vec<_>>(), ["me", "user-0", "user-1"]);
    assert_eq!(presence["count"], 7);
    others.remove(0).end().await;
    let roster = page.hears("pusher_internal:subscription_succeeded").await;
    let presence = data(&roster)["presence"].clone();
    assert_eq!(presence["ids"], json!(["me", "user-1", "user-2"]));
    assert_eq!(presence["count"], 6);
}

#[tokio::test(start_paused = true)]
async fn all_who_come_at_once_are_told_once_each_and_nobody_of_themselves() {
    const PAGES: usize = 100;
    let app = app();
    let mut pages = Vec::new();
    for _ in 0..PAGES {
        pages.push(Page::opens(&app).await);
    }
    for (n, page) in pages.iter_mut().enumerate() {
        page.subscribes("presence-room;1", &format!("user-{n}"))
            .await;
    }
    for (n, page) in pages.iter_mut().enumerate() {
        let roster = page.hears("pusher_internal:subscription_succeeded").await;
        let roster = data(&roster);
        let me = format!("user-{n}");
        let mut members: Vec<String> = roster["presence"]["hash"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(roster["presence"]["count"], members.len());
        assert!(members.contains(&me));
        while members.len() < PAGES {
            let added = page.hears("pusher_internal:member_added").await;
            let id = data(&added)["user_id"].as_str().unwrap().to_owned();
            assert!(!members.contains(&id), "{id} twice");
            members.push(id);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoked_user_signs_in_anew_over_a_new_connection() {
    let app = app();
    let mut before = Page::opens(&app).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let ann: UserId = "ann".parse().unwrap();
    let hour = Duration::from_secs(3600);
    app.gate.revoked.revoke(&ann, app.now(), hour).unwrap();
    before.subscribes("presence-room;1", "ann").await;
    let refused = before.hears("pusher:subscription_error").await;
    assert_eq!(refused["data"]["status"], 401);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut after = Page::opens(&app).await;
    after.subscribes("presence-room;1", "ann").await;
    after.hears("pusher_internal:subscription_succeeded").await;
}

const SETTINGS: [(&str, &str); 3] = [
    ("PRESENCE_PUSHER_APP_ID", "3"),
    ("PRESENCE_PUSHER_KEY", "key"),
    ("PRESENCE_PUSHER_SECRET", SECRET),
];

fn app() -> Arc<App> {
    far::app(&SETTINGS)
}

async fn is_online(eve: &mut presence_hub::Session) -> bool {
    let mut online = None;
    // What is so after a while, whatever was in between.
    while let Ok(delivery) = tokio::time::timeout(Duration::from_secs(2), eve.next()).await {
        if let Delivery::Event(shared) = delivery
            && let Event::PublicView(public_view) = &*shared.event
        {
            online = Some(public_view.look.status != presence_core::Visible::Offline);
        }
    }
    online.expect("something was told")
}

fn data(message: &Value) -> Value {
    serde_json::from_str(message["data"].as_str().unwrap()).unwrap()
}

/// A page that speaks raw frames.
struct Page {
    far: Far,
    socket: String,
}

impl Page {
    async fn opens(app: &Arc<App>) -> Page {
        let mut out = Out::default();
        let pusher = Pusher::enter(app.clone(), Ok(0), crate::origin::of_a_test(), &mut out)
            .await
            .unwrap();
        let socket = pusher.socket.to_string();
        let far = far::serve(app, pusher, out, 64 * 1024).await;
        let mut page = Page { far, socket };
        let hello = page.hears("pusher:connection_established").await;
        assert_eq!(data(&hello)["socket_id"], *page.socket);
        page
    }

    async fn says(&mut self, event: &str, data: Value) {
        let message = json!({ "event": event, "data": data });
        self.far.text(&message.to_string()).await;
    }

    async fn subscribes(&mut self, channel: &str, user: &str) {
        let data = json!({ "user_id": user }).to_string();
        let auth = signature::sign(SECRET, &format!("{}:{channel}:{data}", self.socket));
        let auth = format!("key:{auth}");
        let data = json!({ "channel": channel, "auth": auth, "channel_data": data });
        self.says("pusher:subscribe", data).await;
    }

    /// The next message, which has to be that one; pings are answered meanwhile.
    async fn hears(&mut self, event: &str) -> Value {
        loop {
            match self.far.client.next().await {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).unwrap();
                    assert_eq!(message["event"], event, "{message}");
                    return message;
                }
                Some(Ok(Message::Ping(_))) => {}
                other => panic!("no {event}: {other:?}"),
            }
        }
    }
}
