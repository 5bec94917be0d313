//! Phoenix's protocol, as its stock client speaks it: joins, pushes, and a picture made of states and diffs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::socket::Socket;
use super::{Heard, Say, VirtualUser, Welcome};
use crate::random::journal::{Ask, Look, Mark, Outcome, People, Room, UserId, View};

/// How often the stock client says that it is here.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// References of our own that nobody waits for.
const NOBODY: &str = "0";

/// A connection that speaks the protocol of Phoenix.
pub(super) struct Line {
    socket: Socket,
    /// The topic through which one's status is chosen.
    service: String,
    /// The reference of the last join of each topic.
    joins: BTreeMap<String, String>,
    last_join: u32,
    pictures: BTreeMap<Room, Picture>,
}

/// A room: of each person the user, and the metas by their `phx_ref`.
type Picture = BTreeMap<UserId, (Value, BTreeMap<String, Value>)>;

impl Line {
    /// Connects, and joins the service topic: a socket alone is nobody.
    pub(super) async fn connect(
        address: &str,
        vu: &VirtualUser,
    ) -> Result<(Line, Welcome), String> {
        let path = format!("/socket/websocket?vsn=2.0.0&user_id={}", vu.name());
        let mut line = Line {
            socket: Socket::open(address, &path).await?,
            service: format!("presence:{}", vu.name()),
            joins: BTreeMap::new(),
            last_join: 0,
            pictures: BTreeMap::new(),
        };
        let service = line.service.clone();
        let device = json!({ "device_id": format!("web:{}", vu.id.0) });
        let said = line.join(&service, NOBODY, device).await;
        said.map_err(|()| line.socket.ending())?;
        loop {
            let frame = line.socket.next().await;
            let frame = frame.ok_or_else(|| line.socket.ending())?;
            match (frame[3].as_str(), frame[4]["status"].as_str()) {
                (Some("phx_reply"), Some("ok")) => break,
                (Some("phx_reply"), _) => return Err(frame.to_string()),
                _ => {}
            }
        }
        let welcome = Welcome {
            resume: None,
            is_restored: false,
            heartbeat: HEARTBEAT,
        };
        Ok((line, welcome))
    }

    pub(super) async fn say(&mut self, say: &Say) -> Result<(), ()> {
        match say {
            Say::Ask(number, ask) => self.ask(&number.to_string(), ask).await,
            Say::Type(room) => {
                self.push(&room.name(), NOBODY, "typing_start", json!({}))
                    .await
            }
            Say::Heartbeat => {
                let heartbeat = json!([null, NOBODY, "phoenix", "heartbeat", {}]);
                self.socket.say(&heartbeat).await
            }
            // Watchers speak the native protocol.
            Say::Watch(_) | Say::WatchUsers(_) => Ok(()),
        }
    }

    async fn ask(&mut self, number: &str, ask: &Ask) -> Result<(), ()> {
        match ask {
            Ask::Join(room, mark) => {
                self.pictures.remove(room);
                let meta = json!({ "meta": meta(*mark) });
                self.join(&room.name(), number, meta).await
            }
            Ask::Update(room, mark) => {
                self.push(&room.name(), number, "update_meta", meta(*mark))
                    .await
            }
            Ask::Leave(room) => {
                self.pictures.remove(room);
                let left = self
                    .push(&room.name(), number, "phx_leave", json!({}))
                    .await;
                self.joins.remove(&room.name());
                left
            }
            Ask::Choose(choice) => {
                let mut status = serde_json::Map::new();
                let mut set = |name: &str, value: Option<Value>| {
                    status.extend(value.map(|value| (name.to_owned(), value)));
                };
                set("status", choice.status.clone().map(Value::from));
                set("custom_message", choice.message.clone().map(Value::from));
                set("clear_after", choice.clear_after.map(Value::from));
                let service = self.service.clone();
                self.push(&service, number, "set_status", Value::Object(status))
                    .await
            }
        }
    }

    async fn join(&mut self, topic: &str, number: &str, payload: Value) -> Result<(), ()> {
        self.last_join += 1;
        let join = format!("j{}", self.last_join);
        self.joins.insert(topic.to_owned(), join.clone());
        let frame = json!([join, number, topic, "phx_join", payload]);
        self.socket.say(&frame).await
    }

    async fn push(
        &mut self,
        topic: &str,
        number: &str,
        event: &str,
        payload: Value,
    ) -> Result<(), ()> {
        let join = self.joins.get(topic);
        let frame = json!([join, number, topic, event, payload]);
        self.socket.say(&frame).await
    }

    pub(super) async fn next(&mut self) -> Option<Vec<Heard>> {
        let frame = self.socket.next().await?;
        self.understand(&frame)
    }

    /// `None` where the stock client would give up the channel.
    fn understand(&mut self, frame: &Value) -> Option<Vec<Heard>> {
        let (topic, event) = (frame[2].as_str()?, frame[3].as_str()?);
        let payload = &frame[4];
        if event == "phx_reply" {
            return Some(reply(frame[1].as_str().unwrap_or_default(), payload));
        }
        // What is the same for everybody in a channel comes without the reference of a join.
        let join = self.joins.get(topic).map(String::as_str);
        let is_of_this_join = frame[0].is_null() || frame[0].as_str() == join;
        let Some(room) = Room::of(topic).filter(|_| is_of_this_join) else {
            return Some(Vec::new());
        };
        match event {
            "presence_state" => {
                let picture = picture_of(payload);
                let people = people(&picture);
                self.pictures.insert(room, picture);
                Some(vec![Heard::Whole(room, people)])
            }
            "presence_diff" => {
                let picture = self.pictures.get_mut(&room);
                Some(picture.map_or_else(Vec::new, |it| change(room, it, payload)))
            }
            "phx_error" | "phx_close" => None,
            _ => Some(Vec::new()),
        }
    }

    pub(super) fn ending(&self) -> String {
        self.socket.ending()
    }

    pub(super) async fn goodbye(self) {
        self.socket.goodbye().await;
    }
}

/// Takes a diff in, as the stock client does: joins, then leaves.
fn change(room: Room, picture: &mut Picture, diff: &Value) -> Vec<Heard> {
    let before = people(picture);
    for (user, (view, metas)) in picture_of(&diff["joins"]) {
        let known = picture.entry(user).or_default();
        known.0 = view;
        known.1.extend(metas);
    }
    for (user, (_, metas)) in picture_of(&diff["leaves"]) {
        if let Some((_, known)) = picture.get_mut(&user) {
            known.retain(|ref_, _| !metas.contains_key(ref_));
            if known.is_empty() {
                picture.remove(&user);
            }
        }
    }
    let after = people(picture);
    let mut heard = Vec::new();
    for (user, view) in &after {
        match before.get(user) {
            None => heard.push(Heard::Joined(room, *user, view.clone())),
            Some(old) if old != view => heard.push(Heard::Updated(room, *user, view.clone())),
            Some(_) => {}
        }
    }
    let gone = before.keys().filter(|user| !after.contains_key(user));
    heard.extend(gone.map(|user| Heard::Left(room, *user, "diff".to_owned())));
    heard
}

fn meta(mark: Mark) -> Value {
    json!({ "mark": mark.to_string() })
}

fn reply(number: &str, payload: &Value) -> Vec<Heard> {
    let Some(number) = number.parse().ok().filter(|it| *it > 0) else {
        return Vec::new();
    };
    let outcome = match payload["status"].as_str() {
        Some("ok") => Outcome::Ok,
        _ => {
            let reason = payload["response"]["reason"].as_str();
            Outcome::Refused(reason.unwrap_or_default().to_owned())
        }
    };
    vec![Heard::Answer(number, outcome)]
}

/// Reads the object that Phoenix sends as `presence_state`.
fn picture_of(presences: &Value) -> Picture {
    let mut picture = Picture::new();
    for (id, presence) in presences.as_object().into_iter().flatten() {
        let Some(user) = UserId::of(id) else { continue };
        let metas = presence["metas"].as_array().into_iter().flatten();
        let by_ref = metas.map(|meta| {
            let ref_ = meta["phx_ref"].as_str().unwrap_or_default();
            (ref_.to_owned(), meta.clone())
        });
        picture.insert(user, (presence["user"].clone(), by_ref.collect()));
    }
    picture
}

fn people(picture: &Picture) -> People {
    let view = |(user, (view, metas)): (&UserId, &(Value, BTreeMap<String, Value>))| {
        let look = Look {
            status: view["status"].as_str().unwrap_or_default().to_owned(),
            message: view["custom_message"].as_str().map(str::to_owned),
        };
        let marks = metas
            .values()
            .flat_map(|meta| Mark::all_in(&meta.to_string()))
            .collect();
        (*user, View { look, marks })
    };
    picture.iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room(1);

    #[test]
    fn a_diff_with_the_new_meta_and_the_old_one_is_an_update() {
        let mut picture = picture_of(&presence("s0.1.1", "a"));
        let diff = json!({ "joins": presence("s0.1.2", "b"), "leaves": presence("s0.1.1", "a") });
        let heard = change(ROOM, &mut picture, &diff);
        let [Heard::Updated(ROOM, UserId(1), view)] = &heard[..] else {
            panic!("{} things were heard", heard.len());
        };
        assert_eq!(view.marks, Mark::all_in(r#""mark":"s0.1.2""#));
        let diff = json!({ "joins": {}, "leaves": presence("s0.1.2", "b") });
        let heard = change(ROOM, &mut picture, &diff);
        assert!(matches!(&heard[..], [Heard::Left(ROOM, UserId(1), _)]));
    }

    #[test]
    fn a_reply_is_an_answer_unless_nobody_waits_for_it() {
        let refused = json!({ "status": "error", "response": { "reason": "not_joined" } });
        let heard = reply("7", &refused);
        assert!(
            matches!(&heard[..], [Heard::Answer(7, Outcome::Refused(why))] if why == "not_joined")
        );
        assert!(reply(NOBODY, &json!({ "status": "ok" })).is_empty());
    }

    fn presence(mark: &str, ref_: &str) -> Value {
        json!({ "u1": {
            "user": { "status": "online" }, "metas": [{ "mark": mark, "phx_ref": ref_ }],
        }})
    }
}
