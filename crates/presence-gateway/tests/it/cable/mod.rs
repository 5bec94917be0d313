//! Action Cable, frame by frame.

mod bounds;
mod cursors;
mod door;
mod extended;
mod membership;
mod restoring;
mod rosters;
mod statuses;

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::raw::Raw;

pub(crate) const PLAIN: &str = "actioncable-v1-json";
pub(crate) const EXTENDED: &str = "actioncable-v1-ext-json";

/// A page that speaks it, of which the test says every frame.
pub(crate) struct Page {
    pub(crate) raw: Raw,
    pub(crate) welcome: Value,
}

impl Page {
    /// A page of `user` on a gateway where nobody needs a token.
    pub(crate) async fn of(address: SocketAddr, user: &str) -> Page {
        Page::at(address, &format!("/cable?user_id={user}"), PLAIN).await
    }

    /// The same, with the extended protocol.
    pub(crate) async fn extended(address: SocketAddr, user: &str) -> Page {
        Page::at(address, &format!("/cable?user_id={user}"), EXTENDED).await
    }

    /// A page at any target, with any protocols.
    pub(crate) async fn at(address: SocketAddr, target: &str, protocols: &str) -> Page {
        let headers = format!("sec-websocket-protocol: {protocols}\r\n");
        let mut raw = Raw::upgrade(address, target, &headers).await;
        let welcome = raw.json().await;
        Page { raw, welcome }
    }

    pub(crate) async fn says(&mut self, command: Value) {
        self.raw.text(&command.to_string()).await;
    }

    /// Reads until `wanted` makes something of a frame; all before it is not looked at again.
    pub(crate) async fn hears<T>(&mut self, wanted: impl Fn(&Value) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(&self.raw.json().await) {
                return found;
            }
        }
    }

    /// The next frame but pings.
    pub(crate) async fn next(&mut self) -> Value {
        self.hears(|it| (it["type"] != "ping").then(|| it.clone()))
            .await
    }

    /// Sends a command about `identifier`, and reads up to the first answer of one of these types.
    async fn asks(&mut self, command: Value, types: &[&str]) -> String {
        let identifier = command["identifier"].clone();
        self.says(command).await;
        self.hears(|it| {
            let type_ = it["type"].as_str()?;
            let is_it = it["identifier"] == identifier && types.contains(&type_);
            is_it.then(|| type_.to_owned())
        })
        .await
    }

    /// Subscribes, and reads up to the answer.
    pub(crate) async fn subscribes(&mut self, identifier: &str) -> bool {
        let command = json!({ "command": "subscribe", "identifier": identifier });
        let types = ["confirm_subscription", "reject_subscription"];
        self.asks(command, &types).await == "confirm_subscription"
    }

    pub(crate) async fn unsubscribes(&mut self, identifier: &str) {
        self.says(json!({ "command": "unsubscribe", "identifier": identifier }))
            .await;
    }

    /// Performs an action.
    pub(crate) async fn performs(&mut self, identifier: &str, data: Value) {
        let data = data.to_string();
        self.says(json!({ "command": "message", "identifier": identifier, "data": data }))
            .await;
    }

    /// Reads up to the next message of a subscription for which `wanted` holds.
    pub(crate) async fn receives(
        &mut self,
        identifier: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        self.hears(|it| {
            let is_data = it["identifier"] == identifier && it.get("type").is_none();
            (is_data && wanted(&it["message"])).then(|| it["message"].clone())
        })
        .await
    }

    /// Reads up to a roster of exactly these users.
    pub(crate) async fn sees(&mut self, identifier: &str, users: &[&str]) -> Value {
        self.receives(identifier, |it| {
            it["type"] == "presence_update" && ids(&it["users"]) == users
        })
        .await
    }
}

/// The ids in a list of users, sorted.
pub(crate) fn ids(users: &Value) -> Vec<String> {
    let users = users.as_array().into_iter().flatten();
    let mut ids: Vec<String> = users
        .filter_map(|it| Some(it["id"].as_str()?.to_owned()))
        .collect();
    ids.sort();
    ids
}

pub(crate) fn room(id: u64) -> String {
    format!(r#"{{"channel":"PresenceChannel","room_id":{id}}}"#)
}
