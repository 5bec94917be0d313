//! Phoenix Channels frame by frame. What the stock client makes of them is in `tests/stock/phoenix.test.mjs`.

mod bounds;
mod door;
mod frames;
mod hostile;
mod meeting;

use serde_json::{Value, json};

use crate::gateway::Running;
use crate::raw::Raw;

/// A connection whose frames the test writes.
pub(crate) struct Page(pub(crate) Raw);

impl Page {
    /// Connects as `user`, where nobody needs a token.
    pub(crate) async fn connects(gateway: &Running, user: &str) -> Page {
        Page::connects_with(gateway, &format!("user_id={user}&device_id=web:{user}")).await
    }

    /// Connects with parameters.
    pub(crate) async fn connects_with(gateway: &Running, params: &str) -> Page {
        let target = format!("/socket/websocket?{params}&vsn=2.0.0");
        Page(Raw::upgrade(gateway.address(), &target, "").await)
    }

    /// Connects as `user`, joins a topic, and reads its state.
    pub(crate) async fn enters(gateway: &Running, user: &str, topic: &str) -> Page {
        let mut page = Page::connects(gateway, user).await;
        page.joins(topic, json!({})).await;
        page.hears("presence_state").await;
        page
    }

    /// Says a frame.
    pub(crate) async fn says(&mut self, frame: Value) {
        self.0.text(&frame.to_string()).await;
    }

    /// Says a frame that is answered at once, or before anything else happens.
    pub(crate) async fn asks(&mut self, frame: Value) -> Value {
        let ref_ = frame[1].clone();
        self.says(frame).await;
        loop {
            let answer = self.0.json().await;
            if answer[1] == ref_ && answer[3] == "phx_reply" {
                return answer;
            }
        }
    }

    /// Joins a topic with reference 1.
    pub(crate) async fn joins(&mut self, topic: &str, params: Value) {
        let answer = self
            .asks(json!(["1", "1", topic, "phx_join", params]))
            .await;
        assert_eq!(answer, reply("1", "1", topic, "ok", json!({})));
    }

    /// The reason for which a frame is refused.
    pub(crate) async fn is_refused(&mut self, frame: Value) -> String {
        let answer = self.asks(frame).await;
        assert_eq!(answer[4]["status"], "error", "{answer}");
        answer[4]["response"]["reason"].as_str().unwrap().to_owned()
    }

    /// Reads up to a frame of that event.
    pub(crate) async fn hears(&mut self, event: &str) -> Value {
        loop {
            let frame = self.0.json().await;
            if frame[3] == event {
                return frame;
            }
        }
    }

    /// Reads until it is shown somebody whose id begins like that, and returns how.
    pub(crate) async fn sees(&mut self, user: &str) -> Value {
        loop {
            let frame = self.0.json().await;
            let shown = match frame[3].as_str() {
                Some("presence_state") => &frame[4],
                Some("presence_diff") => &frame[4]["joins"],
                _ => continue,
            };
            let mut shown = shown.as_object().unwrap().iter();
            if let Some((_, found)) = shown.find(|(id, _)| id.starts_with(user)) {
                return found.clone();
            }
        }
    }

    /// Asks for nothing, and so hears of nothing but what had happened before.
    pub(crate) async fn heard(&mut self) -> Vec<Value> {
        self.says(json!([null, "end", "phoenix", "heartbeat", {}]))
            .await;
        let mut heard = Vec::new();
        loop {
            let frame = self.0.json().await;
            if frame[1] == "end" {
                return heard;
            }
            heard.push(frame);
        }
    }
}

/// An answer.
pub(crate) fn reply(
    join_ref: &str,
    ref_: &str,
    topic: &str,
    status: &str,
    response: Value,
) -> Value {
    let payload = json!({"status": status, "response": response});
    json!([join_ref, ref_, topic, "phx_reply", payload])
}
