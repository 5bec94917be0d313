//! Pusher's protocol frame by frame, and its HTTP API byte by byte. What the stock client and the stock server library make
//! of them is in `tests/stock/pusher.test.mjs`.

mod api;
mod channels;
mod door;
mod events;
mod hiding;

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::gateway::{Running, start};
use crate::raw::Raw;

pub(crate) const SECRET: &str = "7ad3773142a6692b25b8";
pub(crate) const OTHER_SECRET: &str = "f1b8d2c7a09e3b5d4c6a";

/// Starts a gateway with application 3, which meets everybody, and application 7, which does not.
pub(crate) async fn start_with_apps(settings: &[(&str, &str)]) -> Running {
    let others = format!("7:key-of-7:{OTHER_SECRET}");
    let apps = [
        ("PRESENCE_PUSHER_APP_ID", "3"),
        ("PRESENCE_PUSHER_KEY", "key-of-3"),
        ("PRESENCE_PUSHER_SECRET", SECRET),
        ("PRESENCE_PUSHER_APPS", &others),
    ];
    start(&[&apps[..], settings].concat()).await
}

/// A connection whose frames the test writes.
pub(crate) struct Page {
    pub(crate) raw: Raw,
    pub(crate) socket: String,
}

impl Page {
    /// Connects to application 3.
    pub(crate) async fn connects(gateway: &Running) -> Page {
        Page::connects_to(gateway, "key-of-3").await
    }

    pub(crate) async fn connects_to(gateway: &Running, key: &str) -> Page {
        let target = format!("/app/{key}?protocol=7&client=js&version=8.6.0&flash=false");
        let mut raw = Raw::upgrade(gateway.address(), &target, "").await;
        let hello = raw.json().await;
        assert_eq!(hello["event"], "pusher:connection_established");
        let hello = data(&hello);
        assert_eq!(hello["activity_timeout"], 15);
        let socket = hello["socket_id"].as_str().unwrap().to_owned();
        Page { raw, socket }
    }

    /// Connects, and subscribes to a presence channel as `user`.
    pub(crate) async fn enters(gateway: &Running, user: &str, channel: &str) -> Page {
        let mut page = Page::connects(gateway).await;
        page.subscribes(channel, &json!({ "user_id": user }).to_string())
            .await;
        page.hears("pusher_internal:subscription_succeeded").await;
        page
    }

    pub(crate) async fn says(&mut self, event: &str, data: Value) {
        let message = json!({ "event": event, "data": data });
        self.raw.text(&message.to_string()).await;
    }

    pub(crate) async fn says_in(&mut self, channel: &str, event: &str, data: Value) {
        let message = json!({ "event": event, "channel": channel, "data": data });
        self.raw.text(&message.to_string()).await;
    }

    /// Subscribes with these data, signed by application 3.
    pub(crate) async fn subscribes(&mut self, channel: &str, channel_data: &str) {
        let auth = self.auth(&format!(":{channel}:{channel_data}"));
        let data = json!({ "channel": channel, "auth": auth, "channel_data": channel_data });
        self.says("pusher:subscribe", data).await;
    }

    /// The signature of application 3 for this connection.
    pub(crate) fn auth(&self, text: &str) -> String {
        format!(
            "key-of-3:{}",
            sign(SECRET, &format!("{}{text}", self.socket))
        )
    }

    /// The next message, which has to be of that event.
    pub(crate) async fn hears(&mut self, event: &str) -> Value {
        let message = self.raw.json().await;
        assert_eq!(message["event"], event, "{message}");
        message
    }

    /// Has heard nothing since what it heard last.
    pub(crate) async fn has_heard_all(&mut self) {
        self.says("pusher:ping", json!({})).await;
        self.hears("pusher:pong").await;
    }

    /// The next message is a refusal of that channel.
    pub(crate) async fn is_refused(&mut self, channel: &str, status: u16) -> String {
        let message = self.hears("pusher:subscription_error").await;
        assert_eq!(message["channel"], channel);
        assert_eq!(message["data"]["status"], status, "{message}");
        message["data"]["error"].as_str().unwrap().to_owned()
    }

    /// The next message is an error.
    pub(crate) async fn is_told(&mut self, code: Option<u16>) -> String {
        let message = self.hears("pusher:error").await;
        assert_eq!(message["data"]["code"], json!(code), "{message}");
        message["data"]["message"].as_str().unwrap().to_owned()
    }
}

/// The data of a message: JSON in a string.
pub(crate) fn data(message: &Value) -> Value {
    serde_json::from_str(message["data"].as_str().unwrap()).unwrap()
}

pub(crate) fn sign(secret: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex(&mac.finalize().into_bytes())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
