//! Pusher's protocol, as its stock client speaks it: subscriptions that this program signs, as an application's server
//! would, and members that are added and removed.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::socket::Socket;
use super::{Heard, Say, VirtualUser, Welcome};
use crate::random::journal::{Ask, Look, Mark, Outcome, People, Room, UserId, View};

/// The application whose pages they are: id, key, secret.
pub(crate) const APP: [(&str, &str); 3] = [
    ("PRESENCE_PUSHER_APP_ID", "chaos"),
    ("PRESENCE_PUSHER_KEY", "chaos-key"),
    ("PRESENCE_PUSHER_SECRET", "a-secret-that-everybody-knows"),
];

/// How often to say that one is here: `activity_timeout` of the gateway.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A connection that speaks the protocol of Pusher.
pub(super) struct Line {
    socket: Socket,
    socket_id: String,
    user: String,
    /// Subscriptions that wait for their `subscription_succeeded`.
    joining: BTreeMap<Room, u32>,
    /// What has no answer of its own is done when the answer to the ping behind it comes: the numbers, for each ping.
    pings: VecDeque<Option<u32>>,
    pictures: BTreeMap<Room, People>,
}

impl Line {
    pub(super) async fn connect(
        address: &str,
        vu: &VirtualUser,
    ) -> Result<(Line, Welcome), String> {
        let [_, (_, key), _] = APP;
        let path = format!("/app/{key}?protocol=7&client=js&version=8.6.0&flash=false");
        let mut socket = Socket::open(address, &path).await?;
        let hello = socket.next().await.ok_or_else(|| socket.ending())?;
        let id = inner(&hello)["socket_id"].as_str().map(str::to_owned);
        let line = Line {
            socket,
            socket_id: id.ok_or_else(|| hello.to_string())?,
            user: vu.name(),
            joining: BTreeMap::new(),
            pings: VecDeque::new(),
            pictures: BTreeMap::new(),
        };
        let welcome = Welcome {
            resume: None,
            is_restored: false,
            heartbeat: HEARTBEAT,
        };
        Ok((line, welcome))
    }

    pub(super) async fn say(&mut self, say: &Say) -> Result<(), ()> {
        match say {
            Say::Ask(number, Ask::Join(room, mark)) => {
                self.joining.insert(*room, *number);
                self.subscribe(*room, *mark).await
            }
            Say::Ask(number, Ask::Update(room, mark)) => {
                self.subscribe(*room, *mark).await?;
                self.ping(Some(*number)).await
            }
            Say::Ask(number, Ask::Leave(room)) => {
                self.pictures.remove(room);
                let data = json!({ "channel": channel(*room) });
                let leave = json!({ "event": "pusher:unsubscribe", "data": data });
                self.socket.say(&leave).await?;
                self.ping(Some(*number)).await
            }
            Say::Type(room) => {
                let data = json!({ "typing": true });
                let frame =
                    json!({ "event": "client-typing", "channel": channel(*room), "data": data });
                self.socket.say(&frame).await
            }
            Say::Heartbeat => self.ping(None).await,
            // There is no word for a status, and watchers speak the native protocol.
            Say::Ask(_, Ask::Choose(_)) | Say::Watch(_) | Say::WatchUsers(_) => Ok(()),
        }
    }

    async fn ping(&mut self, number: Option<u32>) -> Result<(), ()> {
        self.pings.push_back(number);
        let ping = json!({ "event": "pusher:ping", "data": {} });
        self.socket.say(&ping).await
    }

    async fn subscribe(&mut self, room: Room, mark: Mark) -> Result<(), ()> {
        let channel = channel(room);
        let info = json!({ "mark": mark.to_string() });
        let data = json!({ "user_id": self.user, "user_info": info }).to_string();
        let auth = sign(&format!("{}:{channel}:{data}", self.socket_id));
        let data = json!({ "channel": channel, "auth": auth, "channel_data": data });
        let frame = json!({ "event": "pusher:subscribe", "data": data });
        self.socket.say(&frame).await
    }

    pub(super) async fn next(&mut self) -> Option<Vec<Heard>> {
        let frame = self.socket.next().await?;
        Some(self.understand(&frame))
    }

    fn understand(&mut self, frame: &Value) -> Vec<Heard> {
        let event = frame["event"].as_str().unwrap_or_default();
        if event == "pusher:pong" {
            let number = self.pings.pop_front().flatten();
            return number
                .map(|it| Heard::Answer(it, Outcome::Ok))
                .into_iter()
                .collect();
        }
        let room = frame["channel"].as_str().and_then(room_of);
        let Some(room) = room else { return Vec::new() };
        let data = inner(frame);
        match event {
            "pusher_internal:subscription_succeeded" => {
                let members = data["presence"]["hash"].as_object().into_iter().flatten();
                let people: People = members
                    .filter_map(|(id, info)| Some((UserId::of(id)?, view(info))))
                    .collect();
                self.pictures.insert(room, people.clone());
                let answer = self.joining.remove(&room);
                let answer = answer.map(|it| Heard::Answer(it, Outcome::Ok));
                answer
                    .into_iter()
                    .chain([Heard::Whole(room, people)])
                    .collect()
            }
            "pusher:subscription_error" => {
                let kind = data["type"].as_str().unwrap_or_default().to_lowercase();
                let answer = self.joining.remove(&room);
                let answer = answer.map(|it| Heard::Answer(it, Outcome::Refused(kind)));
                answer.into_iter().collect()
            }
            "pusher_internal:member_added" => self.member(room, &data, |known, user, view| {
                match known.insert(user, view.clone()) {
                    None => Heard::Joined(room, user, view),
                    Some(_) => Heard::Updated(room, user, view),
                }
            }),
            "pusher_internal:member_removed" => self.member(room, &data, |known, user, _| {
                known.remove(&user);
                Heard::Left(room, user, "removed".to_owned())
            }),
            _ => Vec::new(),
        }
    }

    fn member(
        &mut self,
        room: Room,
        data: &Value,
        take: impl FnOnce(&mut People, UserId, View) -> Heard,
    ) -> Vec<Heard> {
        let user = data["user_id"].as_str().and_then(UserId::of);
        let known = self.pictures.get_mut(&room);
        let heard = known
            .zip(user)
            .map(|(known, user)| take(known, user, view(&data["user_info"])));
        heard.into_iter().collect()
    }

    pub(super) fn ending(&self) -> String {
        self.socket.ending()
    }

    pub(super) async fn goodbye(self) {
        self.socket.goodbye().await;
    }
}

/// The data of a frame, which are JSON in a string.
fn inner(frame: &Value) -> Value {
    let text = frame["data"].as_str().unwrap_or("null");
    serde_json::from_str(text).unwrap_or(Value::Null)
}

fn channel(room: Room) -> String {
    format!("presence-room;{}", room.0)
}

fn room_of(channel: &str) -> Option<Room> {
    channel
        .strip_prefix("presence-room;")?
        .parse()
        .ok()
        .map(Room)
}

/// Somebody as members are told: of several sessions the newest says what is shown.
fn view(info: &Value) -> View {
    let presence = &info["presence"];
    View {
        look: Look {
            status: presence["status"].as_str().unwrap_or("online").to_owned(),
            message: presence["custom_message"].as_str().map(str::to_owned),
        },
        marks: Mark::all_in(&info.to_string()),
    }
}

fn sign(text: &str) -> String {
    let [_, (_, key), (_, secret)] = APP;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any key would do");
    mac.update(text.as_bytes());
    let bytes = mac.finalize().into_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{key}:{hex}")
}
