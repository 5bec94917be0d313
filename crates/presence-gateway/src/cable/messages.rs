//! Turns the events of the core into the messages of the channel classes.

use std::sync::Arc;

use bytes::Bytes;
use presence_core::{
    Change, Cursor, Event, OwnView, Payload, Person, PublicView, Sender, SessionId, Timestamp,
    Topic, UserId, Visible,
};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::classes::Kind;
use super::tails::{For, Tails};
use super::{cursors, roster};
use crate::native::events::chosen_of;

/// The name of a broadcast whose payload is the whole message.
pub(super) const WHISPER: &str = "whisper";

/// Encodes `event` as the ends of messages.
pub(super) fn tails_of(event: &Event) -> Bytes {
    let mut tails = Tails::default();
    match event {
        Event::Everyone {
            topic,
            people,
            typing,
            cursors,
            ..
        } => everyone(&mut tails, topic, people, typing, cursors),
        Event::Changes {
            topic,
            changes,
            everyone,
            ..
        } => match (Kind::of(topic), everyone) {
            (Some(Kind::Room), Some(everyone)) => roster::change(&mut tails, changes, everyone),
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
            sample,
            ..
        } => match Kind::of(topic) {
            Some(Kind::Room) => {
                tails.push(For::All, None, &roster::summary(*count, sample));
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
                cursors::point(&mut tails, cursor, &it.person, it.pointed, it.selected);
            }
            for session in gone {
                tails.push(For::Curious, None, &cursors::gone(*session));
            }
        }
        Event::Broadcast {
            event,
            payload,
            user,
            sender,
            ..
        } => broadcast(&mut tails, event, payload, user, *sender),
        Event::PublicView(public_view) => tails.push(For::All, None, &public_view_of(public_view)),
        // Each connection is told by itself.
        Event::OwnView(_)
        | Event::Unchanged { .. }
        | Event::EpochStarted { .. }
        | Event::StoreAway { .. }
        | Event::Window { .. }
        | Event::WindowChanges { .. } => {}
    }
    tails.into_bytes()
}

/// The whole state of a topic: who is there, who types, and where the cursors are.
fn everyone(
    tails: &mut Tails,
    topic: &Topic,
    people: &[Arc<Person>],
    typing: &[UserId],
    cursors: &[Cursor],
) {
    match Kind::of(topic) {
        Some(Kind::Room) => {
            tails.push(For::Each, None, &roster::state(people));
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
            cursors::point(tails, cursor, person, true, cursor.selection.is_some());
        }
    }
}

/// A broadcast. A whisper is the whole message, and its sender does not get it.
fn broadcast(tails: &mut Tails, event: &str, payload: &Payload, user: &UserId, sender: Sender) {
    let payload = payload.json();
    if event == WHISPER && !pretends(payload) {
        let text = format!(",\"message\":{payload}}}");
        tails.push(For::All, sender.session(), &text);
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
#[derive(Serialize)]
struct Said<'a> {
    #[serde(rename = "type")]
    type_: &'static str,
    event: &'a str,
    payload: Option<&'a RawValue>,
    user_id: &'a str,
}

/// Whether a whisper could be mistaken for a message of the gateway: by its kind, or by members that pages read in a
/// message of any kind.
fn pretends(payload: &str) -> bool {
    let Ok(serde_json::Value::Object(said)) = serde_json::from_str(payload) else {
        return payload.is_empty();
    };
    const KINDS: [&str; 14] = [
        "presence_update",
        "viewer_count",
        "typing",
        "cursor_move",
        "selection",
        "cursor_gone",
        "cursor_reset",
        "broadcast",
        "error",
        "status_update",
        "own_status",
        "user_joined",
        "user_left",
        "user_updated",
    ];
    // A page that copies members of an object copies the last one into its prototype.
    const MEMBERS: [&str; 5] = ["users", "count", "member_ids", "member_count", "__proto__"];
    let kinds = ["type", "action"].map(|name| said.get(name).and_then(|it| it.as_str()));
    let is_kind = kinds.into_iter().flatten().any(|it| KINDS.contains(&it));
    is_kind || MEMBERS.iter().any(|it| said.contains_key(*it))
}

fn public_view_of(public_view: &PublicView) -> String {
    let last_seen = public_view
        .last_seen
        .filter(|_| public_view.look.status == Visible::Offline);
    data(&json!({
        "type": "status_update",
        "user_id": public_view.user.as_str(),
        "status": public_view.look.status.as_str(),
        "custom_message": public_view.look.message,
        "emoji": public_view.look.emoji,
        "last_seen": last_seen.map(Timestamp::as_millis),
    }))
}

/// What a user is told of themselves; `session` is what others are shown as the id of the session that is told.
pub(super) fn own_of(own_view: &OwnView, session: SessionId) -> String {
    data(&json!({
        "type": "own_status",
        "user_id": own_view.user.as_str(),
        "status": chosen_of(own_view.chosen).as_str(),
        "shown": own_view.shown.as_str(),
        "custom_message": own_view.message,
        "emoji": own_view.emoji,
        "expires_at": own_view.expires_at.map(Timestamp::as_millis),
        "session": format!("{:032x}", session.as_u128()),
    }))
}

/// The rest of a message that has `it` as its content.
pub(super) fn data(it: &impl Serialize) -> String {
    let it = serde_json::to_string(it).expect("a message can be written");
    format!(",\"message\":{it}}}")
}
