//! From what the core tells to the messages of the channel classes.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use presence_core::{
    Change, Cursor, Event, Face, Owned, Person, Timestamp, UserId, Visible, color_of,
};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::classes::Kind;
use super::tails::{For, Tails};
use crate::native::events::chosen_of;

/// The name of a broadcast whose payload is the whole message.
pub(super) const WHISPER: &str = "whisper";
/// Names in as many lists as there are messages of one tick: beyond that only the last of them has lists.
const NAMES_MAX: usize = 1000;

/// What `event` is to pages here: the ends of messages.
pub(super) fn tails_of(event: &Event) -> Bytes {
    let mut tails = Tails::default();
    match event {
        Event::Everyone {
            topic,
            people,
            typing,
            cursors,
            ..
        } => {
            match Kind::of(topic) {
                Some(Kind::Room) => {
                    let state = format!("\"type\":\"presence_update\",{}}}}}", lists(people));
                    tails.push(For::Each, None, &state);
                }
                Some(Kind::Page) => tails.push(For::All, None, &viewers(people.len())),
                Some(Kind::Document) | None => {}
            }
            if !typing.is_empty() {
                tails.push(For::Curious, None, &typists(typing, &[], &[]));
            }
            for cursor in cursors {
                let person = people.iter().find(|it| it.user == cursor.user);
                if let Some(person) = person {
                    point(&mut tails, cursor, person, true, cursor.selection.is_some());
                }
            }
        }
        Event::Changes {
            topic,
            changes,
            everyone,
            ..
        } => match (Kind::of(topic), everyone) {
            (Some(Kind::Room), Some(everyone)) => change(&mut tails, changes, everyone),
            (Some(Kind::Page), Some(everyone)) => {
                let is_news = |it: &Change| !matches!(it, Change::Updated { .. });
                if changes.iter().any(is_news) {
                    tails.push(For::All, None, &viewers(everyone.len()));
                }
            }
            _ => {}
        },
        Event::Summary {
            topic,
            count,
            faces,
            ..
        } => match Kind::of(topic) {
            Some(Kind::Room) => {
                let text = data(&json!({
                    "type": "presence_update",
                    "users": users(faces),
                    "count": count,
                    "member_ids": ids(faces),
                    "member_count": count,
                    "summary": true,
                }));
                tails.push(For::All, None, &text);
            }
            Some(Kind::Page) => tails.push(For::All, None, &viewers(*count)),
            Some(Kind::Document) | None => {}
        },
        Event::Typing {
            typing,
            started,
            stopped,
            ..
        } => {
            tails.push(For::Curious, None, &typists(typing, started, stopped));
        }
        Event::Cursors {
            cursors,
            moves,
            gone,
            ..
        } => {
            for (cursor, it) in cursors.iter().zip(moves) {
                point(&mut tails, cursor, &it.person, it.pointed, it.selected);
            }
            for session in gone {
                let session = hexadecimal(session.as_u128());
                let text = data(&json!({ "type": "cursor_gone", "session": session }));
                tails.push(For::Curious, None, &text);
            }
        }
        Event::Broadcast {
            event,
            payload,
            user,
            session,
            ..
        } => {
            if &**event == WHISPER && !pretends(payload) {
                let text = format!(",\"message\":{payload}}}");
                tails.push(For::All, Some(*session), &text);
            } else {
                let payload: Option<&RawValue> = serde_json::from_str(payload).ok();
                let said = Said {
                    type_: "broadcast",
                    event,
                    payload,
                    user_id: user.as_str(),
                };
                tails.push(For::Curious, None, &data(&said));
            }
        }
        Event::Face(face) => tails.push(For::All, None, &face_of(face)),
        Event::Own(owned) => tails.push(For::All, None, &own_of(owned)),
        Event::Unchanged { .. } => {}
    }
    tails.into_bytes()
}

/// The beginning of the message with the whole state of a room, for who has just come: they have joined, too.
pub(super) fn joined(person: &Person) -> String {
    let user = serde_json::to_string(&User::of(person)).expect("a user can be written");
    format!("\"action\":\"user_joined\",\"user\":{user},")
}

/// A person in a roster: with `avatar` for one reader, `avatar_url` for the other.
#[derive(PartialEq, Serialize)]
struct User<'a> {
    id: &'a str,
    name: &'a str,
    avatar: Option<&'a str>,
    avatar_url: Option<&'a str>,
    color: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    emoji: Option<&'a str>,
}

impl<'a> User<'a> {
    fn of(person: &'a Person) -> Self {
        let avatar = person.newest(|meta| meta.avatar.as_ref()).map(|it| &**it);
        let look = person.look();
        User {
            id: person.user.as_str(),
            name: name_of(person),
            avatar,
            avatar_url: avatar,
            color: color_of_person(person),
            status: look.status.as_str(),
            custom_message: look.message.as_deref(),
            emoji: look.emoji.as_deref(),
        }
    }
}

fn name_of(person: &Person) -> &str {
    let name = person.newest(|meta| meta.name.as_ref());
    name.map_or(person.user.as_str(), |it| it)
}

fn color_of_person(person: &Person) -> &str {
    let color = person.newest(|meta| meta.color.as_ref());
    color.map_or(color_of(&person.user), |it| it)
}

fn users(people: &[Arc<Person>]) -> Vec<User<'_>> {
    people.iter().map(|it| User::of(it)).collect()
}

fn ids(people: &[Arc<Person>]) -> Vec<&str> {
    people.iter().map(|it| it.user.as_str()).collect()
}

/// The lists that both readers want, without the braces around them.
fn lists(people: &[Arc<Person>]) -> String {
    #[derive(Serialize)]
    struct Lists<'a> {
        users: Vec<User<'a>>,
        count: usize,
        member_ids: Vec<&'a str>,
        member_count: usize,
    }
    let lists = Lists {
        users: users(people),
        count: people.len(),
        member_ids: ids(people),
        member_count: people.len(),
    };
    let text = serde_json::to_string(&lists).expect("lists can be written");
    text[1..text.len() - 1].to_owned()
}

/// One message for each change that can be seen here.
fn change(tails: &mut Tails, changes: &[Change], everyone: &[Arc<Person>]) {
    let seen = changes.iter().filter_map(|change| match change {
        Change::Joined(person) => Some(("user_joined", person)),
        Change::Left { person, .. } => Some(("user_left", person)),
        // A second tab, say, is nothing to them.
        Change::Updated { from, to } if User::of(from) == User::of(to) => None,
        Change::Updated { to, .. } => Some(("user_updated", to)),
    });
    let seen: Vec<(&str, &Arc<Person>)> = seen.collect();
    if seen.is_empty() {
        return;
    }
    let lists = lists(everyone);
    let fits = seen.len() * everyone.len() <= NAMES_MAX;
    for (index, (action, person)) in seen.iter().enumerate() {
        let user = serde_json::to_string(&User::of(person)).expect("a user can be written");
        let mut text = format!(",\"message\":{{\"action\":\"{action}\",\"user\":{user},");
        let written = match fits || index + 1 == seen.len() {
            true => write!(text, "\"type\":\"presence_update\",{lists}}}}}"),
            false => write!(text, "\"member_count\":{}}}}}", everyone.len()),
        };
        written.expect("writing to memory does not fail");
        tails.push(For::All, None, &text);
    }
}

fn viewers(count: usize) -> String {
    data(&json!({ "type": "viewer_count", "count": count }))
}

fn typists(typing: &[UserId], started: &[UserId], stopped: &[UserId]) -> String {
    fn texts(users: &[UserId]) -> Vec<&str> {
        users.iter().map(UserId::as_str).collect()
    }
    data(&json!({
        "type": "typing",
        "users": texts(typing),
        "started": texts(started),
        "stopped": texts(stopped),
    }))
}

/// What is new of a cursor, for everybody but the session that has it.
fn point(tails: &mut Tails, cursor: &Cursor, person: &Person, pointed: bool, selected: bool) {
    let session = hexadecimal(cursor.session.as_u128());
    let whose = |type_| Whose {
        type_,
        user_id: person.user.as_str(),
        user_name: name_of(person),
        user_color: color_of_person(person),
        session: &session,
    };
    if let Some(pointer) = cursor.pointer.filter(|_| pointed) {
        let text = data(&Moved {
            whose: whose("cursor_move"),
            x: pointer.x,
            y: pointer.y,
            visible: pointer.visible,
        });
        tails.push(For::Curious, Some(cursor.session), &text);
    }
    if selected {
        let text = data(&Selected {
            whose: whose("selection"),
            start: cursor.selection.map(|it| it.start),
            end: cursor.selection.map(|it| it.end),
        });
        tails.push(For::Curious, Some(cursor.session), &text);
    }
}

#[derive(Serialize)]
struct Whose<'a> {
    #[serde(rename = "type")]
    type_: &'static str,
    user_id: &'a str,
    user_name: &'a str,
    user_color: &'a str,
    session: &'a str,
}

#[derive(Serialize)]
struct Moved<'a> {
    #[serde(flatten)]
    whose: Whose<'a>,
    x: f64,
    y: f64,
    visible: bool,
}

#[derive(Serialize)]
struct Selected<'a> {
    #[serde(flatten)]
    whose: Whose<'a>,
    start: Option<u64>,
    end: Option<u64>,
}

#[derive(Serialize)]
struct Said<'a> {
    #[serde(rename = "type")]
    type_: &'static str,
    event: &'a str,
    payload: Option<&'a RawValue>,
    user_id: &'a str,
}

/// Whether a whisper could be taken for something that only the gateway says.
fn pretends(payload: &str) -> bool {
    let Ok(serde_json::Value::Object(said)) = serde_json::from_str(payload) else {
        return payload.is_empty();
    };
    const OURS: [&str; 12] = [
        "presence_update",
        "viewer_count",
        "typing",
        "cursor_move",
        "selection",
        "cursor_gone",
        "broadcast",
        "status_update",
        "own_status",
        "user_joined",
        "user_left",
        "user_updated",
    ];
    let words = ["type", "action"].map(|name| said.get(name).and_then(|it| it.as_str()));
    words.into_iter().flatten().any(|it| OURS.contains(&it))
}

fn face_of(face: &Face) -> String {
    let last_seen = face
        .last_seen
        .filter(|_| face.look.status == Visible::Offline);
    data(&json!({
        "type": "status_update",
        "user_id": face.user.as_str(),
        "status": face.look.status.as_str(),
        "custom_message": face.look.message,
        "emoji": face.look.emoji,
        "last_seen": last_seen.map(Timestamp::as_millis),
    }))
}

fn own_of(owned: &Owned) -> String {
    data(&json!({
        "type": "own_status",
        "user_id": owned.user.as_str(),
        "status": chosen_of(owned.chosen).as_str(),
        "shown": owned.shown.as_str(),
        "custom_message": owned.message,
        "emoji": owned.emoji,
        "expires_at": owned.expires_at.map(Timestamp::as_millis),
    }))
}

/// The end of a message that is `it`.
pub(super) fn data(it: &impl Serialize) -> String {
    let it = serde_json::to_string(it).expect("a message can be written");
    format!(",\"message\":{it}}}")
}

fn hexadecimal(number: u128) -> String {
    format!("{number:032x}")
}
