//! The dialects of other servers' clients: the few frames of each that being in a room takes.
//!
//! These dialects have no versions. Changes are counted, and told apart by the name that they show.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::crowd::Crowd;
use crate::endpoint::{App, Dialect, Endpoint, READ_BUFFER_BYTES};
use crate::frame_kind::FrameKind;
use crate::schedule::Mark;
use crate::virtual_user::VirtualUser;

/// The prefix of every channel of a run, which each dialect can express.
pub(crate) const ROOM: &str = "room:";

/// The dialect of a client, and what it has to remember.
enum Family {
    Phoenix,
    Cable { identifier: String },
    Pusher { app: App, socket: String },
}

/// A connection to the gateway in another server's dialect, in one room.
pub(crate) struct Stock {
    socket: WebSocketStream<TcpStream>,
    family: Family,
    user: String,
    /// The name of the room in this dialect.
    room: String,
    is_member: bool,
    ending: Option<String>,
}

impl Stock {
    /// Connects to the gateway as the user of `vu`.
    pub(crate) async fn open(endpoint: &Endpoint, vu: &VirtualUser) -> Result<Stock, String> {
        let opened = Stock::try_open(endpoint, vu).await;
        opened.map_err(|it| format!("a client cannot connect: {it:#}"))
    }

    async fn try_open(endpoint: &Endpoint, vu: &VirtualUser) -> Result<Stock> {
        let rest = endpoint.url.strip_prefix("ws://").context("no ws:// URL")?;
        let address = rest.split('/').next().unwrap_or_default();
        let user = &vu.user;
        let room = vu.channel.strip_prefix(ROOM).context("no room")?;
        let is_member = vu.member.is_some();
        let (target, protocol, family, room) = match endpoint.dialect {
            Dialect::Phoenix => (
                format!("/socket/websocket?vsn=2.0.0&user_id={user}"),
                None,
                Family::Phoenix,
                vu.channel.clone(),
            ),
            Dialect::Cable => {
                let identifier = json!({
                    "channel": "PresenceChannel", "room_id": room, "watch": !is_member,
                });
                (
                    format!("/cable?user_id={user}"),
                    Some("actioncable-v1-json"),
                    Family::Cable {
                        identifier: identifier.to_string(),
                    },
                    room.to_owned(),
                )
            }
            Dialect::Pusher => {
                let app = endpoint
                    .app
                    .clone()
                    .context("--pusher KEY:SECRET is missing")?;
                let query = "protocol=7&client=js&version=8.6.0&flash=false";
                let socket = String::new();
                (
                    format!("/app/{}?{query}", app.key),
                    None,
                    Family::Pusher { app, socket },
                    format!("presence-room;{room}"),
                )
            }
            Dialect::Json | Dialect::Binary => bail!("no dialect of others"),
        };
        let mut request = format!("ws://{address}{target}").into_client_request()?;
        if let Some(protocol) = protocol {
            let protocol = HeaderValue::from_static(protocol);
            request
                .headers_mut()
                .insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(1024)
            .max_write_buffer_size(1 << 20);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
        Ok(Stock {
            socket,
            family,
            user: user.clone(),
            room,
            is_member,
            ending: None,
        })
    }

    /// Subscribes to the room.
    pub(crate) async fn enter(&mut self) -> Result<(), String> {
        let entered = self.try_enter().await;
        entered.map_err(|it| format!("a client cannot enter: {it:#}"))
    }

    async fn try_enter(&mut self) -> Result<()> {
        let hello = match &self.family {
            Family::Phoenix => None,
            Family::Cable { .. } | Family::Pusher { .. } => {
                let text = self.next().await;
                let Some(text) = text else {
                    bail!("{:?}", self.ending);
                };
                Some(serde_json::from_str::<Value>(&text)?)
            }
        };
        let join = match (&mut self.family, hello) {
            (Family::Phoenix, _) => {
                json!(["1", "1", self.room, "phx_join", { "watch": !self.is_member }])
            }
            (Family::Cable { identifier }, _) => {
                json!({ "command": "subscribe", "identifier": identifier })
            }
            (Family::Pusher { socket, .. }, hello) => {
                let hello = inner(&hello.unwrap_or_default()["data"])?;
                let id = hello["socket_id"].as_str().context("no socket id")?;
                *socket = id.to_owned();
                self.subscription(json!({ "name": self.user }))
            }
        };
        Ok(self.say(&join).await?)
    }

    /// The frame that subscribes a Pusher client to the channel, with `info` about the user.
    fn subscription(&self, info: Value) -> Value {
        let Family::Pusher { app, socket } = &self.family else {
            unreachable!("only its pages sign");
        };
        let data = json!({ "user_id": self.user, "user_info": info }).to_string();
        json!({ "event": "pusher:subscribe", "data": {
            "channel": self.room, "auth": app.sign(socket, &self.room, &data), "channel_data": data,
        }})
    }

    /// Makes a change that carries `mark`.
    pub(crate) async fn update(&mut self, mark: Mark) -> Result<(), tungstenite::Error> {
        let meta = json!({ "name": mark.to_string() });
        let update = match &self.family {
            Family::Phoenix => json!(["1", "2", self.room, "update_meta", meta]),
            Family::Cable { .. } => self.action(&json!({ "action": "update", "meta": meta })),
            Family::Pusher { .. } => self.subscription(meta),
        };
        self.say(&update).await
    }

    /// How often clients of this dialect send a heartbeat.
    pub(crate) fn heartbeat_interval(&self) -> Duration {
        Duration::from_secs(match self.family {
            Family::Phoenix => 30,
            Family::Cable { .. } => 25,
            Family::Pusher { .. } => 15,
        })
    }

    pub(crate) async fn heartbeat(&mut self) -> Result<(), tungstenite::Error> {
        let heartbeat = match &self.family {
            Family::Phoenix => json!([null, "3", "phoenix", "heartbeat", {}]),
            Family::Cable { .. } => self.action(&json!({ "action": "heartbeat" })),
            Family::Pusher { .. } => json!({ "event": "pusher:ping", "data": {} }),
        };
        self.say(&heartbeat).await
    }

    pub(crate) async fn leave(&mut self) -> Result<(), tungstenite::Error> {
        let leave = match &self.family {
            Family::Phoenix => json!(["1", "4", self.room, "phx_leave", {}]),
            Family::Cable { identifier } => {
                json!({ "command": "unsubscribe", "identifier": identifier })
            }
            Family::Pusher { .. } => {
                json!({ "event": "pusher:unsubscribe", "data": { "channel": self.room } })
            }
        };
        self.say(&leave).await
    }

    fn action(&self, data: &Value) -> Value {
        let Family::Cable { identifier } = &self.family else {
            unreachable!("only its pages perform");
        };
        json!({ "command": "message", "identifier": identifier, "data": data.to_string() })
    }

    async fn say(&mut self, frame: &Value) -> Result<(), tungstenite::Error> {
        self.socket.send(Message::text(frame.to_string())).await
    }

    /// The next frame. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Option<Utf8Bytes> {
        loop {
            let ending = match self.socket.next().await {
                Some(Ok(Message::Text(text))) => return Some(text),
                Some(Ok(Message::Close(frame))) => format!("closed: {frame:?}"),
                Some(Ok(_)) => continue,
                Some(Err(it)) => it.to_string(),
                None => "no more".to_owned(),
            };
            self.ending.get_or_insert(ending);
            return None;
        }
    }

    pub(crate) fn ending(&self) -> Option<&str> {
        self.ending.as_deref()
    }

    /// Finds out the sort of a frame by how it begins.
    pub(crate) fn kind_of(&self, text: &str) -> FrameKind {
        match &self.family {
            Family::Phoenix => kind_of_phoenix(text),
            Family::Cable { .. } => kind_of_cable(text),
            Family::Pusher { .. } => kind_of_pusher(text),
        }
    }

    /// Updates `crowd` with what a frame says about who is there.
    ///
    /// # Errors
    ///
    /// Fails if the frame refuses something, or cannot be decoded.
    pub(crate) fn show(&self, text: &str, crowd: &mut Crowd) -> Result<()> {
        if self.kind_of(text) == FrameKind::Error {
            bail!("refused: {text}");
        }
        let frame: Value = serde_json::from_str(text)?;
        match &self.family {
            Family::Phoenix => crowd.see_phoenix(&frame[3], &frame[4]),
            Family::Cable { .. } => crowd.see_cable(&frame["message"]),
            Family::Pusher { .. } => crowd.see_pusher(&frame["event"], &inner(&frame["data"])?),
        }
        Ok(())
    }
}

/// Parses the JSON text that is a string in the frame.
fn inner(data: &Value) -> Result<Value> {
    let text = data.as_str().context("no data in a string")?;
    Ok(serde_json::from_str(text)?)
}

/// Finds out the sort of a Phoenix frame, `[join_ref, ref, topic, event, {payload}]`.
fn kind_of_phoenix(text: &str) -> FrameKind {
    let head = text.split(",{").next().unwrap_or_default();
    match head.rsplit('"').nth(1) {
        Some("presence_diff") => FrameKind::Step(None),
        Some("presence_state" | "presence_summary") => FrameKind::Whole(None),
        Some("phx_reply") if text.contains(r#""status":"ok""#) => FrameKind::Other,
        Some("phx_reply" | "phx_error" | "phx_close") => FrameKind::Error,
        _ => FrameKind::Other,
    }
}

fn kind_of_cable(text: &str) -> FrameKind {
    match text.split_once(r#","message":{""#) {
        Some((_, data)) if data.starts_with(r#"action":"user_"#) => FrameKind::Step(None),
        Some((_, _)) if text.contains(r#""type":"presence_update""#) => FrameKind::Whole(None),
        _ if text.contains(r#""reject_subscription""#) => FrameKind::Error,
        _ if text.contains(r#""type":"disconnect""#) => FrameKind::Error,
        _ => FrameKind::Other,
    }
}

fn kind_of_pusher(text: &str) -> FrameKind {
    let event = text.strip_prefix(r#"{"event":""#).unwrap_or_default();
    match event.split('"').next().unwrap_or_default() {
        "pusher_internal:member_added" | "pusher_internal:member_removed" => FrameKind::Step(None),
        "pusher_internal:subscription_succeeded" => FrameKind::Whole(None),
        "pusher:pong" | "pusher:ping" => FrameKind::Other,
        _ => FrameKind::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_at_how_a_frame_begins_says_what_it_is() {
        let phoenix = |event, payload| format!(r#"["1",null,"room:1","{event}",{payload}]"#);
        let replied = r#"{"status":"error","response":{"reason":"invalid"}}"#;
        assert_eq!(
            kind_of_phoenix(&phoenix("presence_diff", r#"{"joins":{}}"#)),
            FrameKind::Step(None)
        );
        assert_eq!(
            kind_of_phoenix(&phoenix("presence_state", "{}")),
            FrameKind::Whole(None)
        );
        assert_eq!(
            kind_of_phoenix(&phoenix("phx_reply", replied)),
            FrameKind::Error
        );
        let cable =
            |message| format!(r#"{{"identifier":"{{\"room_id\":1}}","message":{message}}}"#);
        assert_eq!(
            kind_of_cable(&cable(r#"{"action":"user_left","member_count":1}"#)),
            FrameKind::Step(None)
        );
        assert_eq!(
            kind_of_cable(&cable(r#"{"type":"presence_update","users":[]}"#)),
            FrameKind::Whole(None)
        );
        assert_eq!(
            kind_of_cable(r#"{"type":"ping","message":1}"#),
            FrameKind::Other
        );
        let pusher = |event| format!(r#"{{"event":"{event}","data":"{{}}"}}"#);
        assert_eq!(
            kind_of_pusher(&pusher("pusher_internal:member_added")),
            FrameKind::Step(None)
        );
        assert_eq!(kind_of_pusher(&pusher("pusher:error")), FrameKind::Error);
    }
}
