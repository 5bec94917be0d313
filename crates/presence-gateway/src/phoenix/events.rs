//! Encodes what clients that have joined a topic are sent. All of it is the same for everybody, except the reference of
//! their own join at the beginning of a `presence_state`.

use bytes::{BufMut, Bytes, BytesMut};
use presence_core::{Cursor, DeviceKind, Event, PublicView, SessionId, Timestamp, Topic, UserId};
use serde::Serialize;

use super::presences;
use super::topics::PhoenixTopic;
use super::wire::{broadcast, broadcast_bytes, json};

/// The content of [`Slot::PhoenixTopic`](crate::dialect::Slot::PhoenixTopic): what clients that have joined the
/// topic are sent.
#[derive(Debug)]
pub(super) struct OnTopic {
    /// The rest of a frame whose beginning differs from client to client; or nothing.
    pub(super) shared: Bytes,
    /// Whole frames that follow it; or nothing.
    pub(super) frames: Bytes,
}

impl OnTopic {
    /// Decodes the content of the slot.
    pub(super) fn of(slot: &Bytes) -> Self {
        let Some(length) = slot.first_chunk() else {
            return OnTopic {
                shared: Bytes::new(),
                frames: Bytes::new(),
            };
        };
        let start = size_of_val(length);
        let end = start + u32::from_be_bytes(*length) as usize;
        OnTopic {
            shared: slot.slice(start..end),
            frames: slot.slice(end..),
        }
    }

    /// Encodes the content of the slot.
    fn slot(shared: &str, frames: &[Bytes]) -> Bytes {
        let length = u32::try_from(shared.len()).expect("no event has gigabytes");
        let mut slot = BytesMut::new();
        slot.put_u32(length);
        slot.put_slice(shared.as_bytes());
        slot.extend(frames.iter().flatten());
        slot.freeze()
    }
}

/// Encodes what clients that have joined the topic of `event` are sent.
pub(super) fn on_topic(event: &Event) -> Bytes {
    let frames = |frames: &[Bytes]| OnTopic::slot("", frames);
    match event {
        Event::Everyone {
            topic,
            people,
            typing,
            cursors,
            ..
        } => {
            let state = format!(r#""presence_state",{}]"#, presences::state(people));
            OnTopic::slot(&state, &doing(topic, typing, cursors))
        }
        Event::Unchanged {
            topic,
            typing,
            cursors,
            ..
        } => frames(&doing(topic, typing, cursors)),
        Event::Summary {
            topic,
            count,
            sample,
            ..
        } => {
            let state = format!(r#""presence_state",{}]"#, presences::state(sample));
            let summary = json(&Summary {
                count: *count,
                listed: sample.len(),
            });
            let summary = broadcast(&name(topic), "presence_summary", &summary);
            OnTopic::slot(&state, &[summary])
        }
        Event::Changes { topic, changes, .. } => match presences::diff(changes) {
            Some(diff) => frames(&[broadcast(&name(topic), "presence_diff", &diff)]),
            None => Bytes::new(),
        },
        Event::Typing {
            topic,
            typing,
            started,
            stopped,
        } => frames(&[typing_frame(topic, typing, started, stopped)]),
        Event::Cursors {
            topic,
            cursors,
            gone,
            ..
        } => frames(&[cursors_frame(topic, cursors, gone)]),
        Event::Broadcast {
            topic,
            event,
            payload,
            ..
        } => match said(&name(topic), event, payload.json()) {
            Some(frame) => frames(&[frame]),
            None => Bytes::new(),
        },
        Event::PublicView(public_view) => {
            let topic = PhoenixTopic::User(public_view.user.clone()).to_string();
            let payload = json(&Status::of(public_view));
            frames(&[broadcast(&topic, "status_update", &payload)])
        }
        Event::EpochStarted { .. }
        | Event::OwnView(_)
        | Event::StoreAway { .. }
        | Event::Window { .. }
        | Event::WindowChanges { .. } => Bytes::new(),
    }
}

/// Whether only the gateway may send this event, because clients believe it.
pub(super) fn is_reserved(event: &str) -> bool {
    let ours = [
        "presence_state",
        "presence_diff",
        "presence_summary",
        "typing",
        "cursors",
    ];
    let prefixes = ["phx_", "chan_reply_"];
    ours.contains(&event) || prefixes.iter().any(|it| event.starts_with(it))
}

/// Bytes in base64, as they travel in a text.
#[derive(serde::Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InBase64 {
    #[serde(rename = "$bytes")]
    pub(super) bytes: String,
}

/// The frame of a broadcast, if clients may send its event.
fn said(topic: &str, event: &str, payload: &str) -> Option<Bytes> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    if is_reserved(event) {
        return None;
    }
    if payload.starts_with(r#"{"$bytes":"#)
        && let Ok(InBase64 { bytes }) = serde_json::from_str(payload)
        && let Ok(bytes) = STANDARD.decode(bytes)
        && let Some(frame) = broadcast_bytes(topic, event, &bytes)
    {
        return Some(frame);
    }
    let payload = if payload.is_empty() { "{}" } else { payload };
    Some(broadcast(topic, event, payload))
}

/// The frames about who types and points, for a client that has just joined.
fn doing(topic: &Topic, typing: &[UserId], cursors: &[Cursor]) -> Vec<Bytes> {
    let typing = (!typing.is_empty()).then(|| typing_frame(topic, typing, &[], &[]));
    let cursors = (!cursors.is_empty()).then(|| cursors_frame(topic, cursors, &[]));
    [typing, cursors].into_iter().flatten().collect()
}

fn typing_frame(topic: &Topic, typing: &[UserId], started: &[UserId], stopped: &[UserId]) -> Bytes {
    let payload = json(&Typing {
        users: ids(typing),
        started: ids(started),
        stopped: ids(stopped),
    });
    broadcast(&name(topic), "typing", &payload)
}

fn cursors_frame(topic: &Topic, cursors: &[Cursor], gone: &[SessionId]) -> Bytes {
    let payload = json(&Cursors {
        cursors: cursors.iter().map(Pointing::of).collect(),
        gone: gone.iter().map(SessionId::to_string).collect(),
    });
    broadcast(&name(topic), "cursors", &payload)
}

fn name(topic: &Topic) -> String {
    PhoenixTopic::Roster(topic.clone()).to_string()
}

fn ids(users: &[UserId]) -> Vec<&str> {
    users.iter().map(UserId::as_str).collect()
}

#[derive(Serialize)]
struct Summary {
    /// The exact number of people.
    count: usize,
    /// How many of them are in the state.
    listed: usize,
}

#[derive(Serialize)]
struct Typing<'a> {
    users: Vec<&'a str>,
    started: Vec<&'a str>,
    stopped: Vec<&'a str>,
}

#[derive(Serialize)]
struct Cursors<'a> {
    cursors: Vec<Pointing<'a>>,
    gone: Vec<String>,
}

#[derive(Serialize)]
struct Pointing<'a> {
    session: String,
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visible: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    selection: Option<Range>,
}

#[derive(Serialize)]
struct Range {
    start: u64,
    end: u64,
}

impl<'a> Pointing<'a> {
    fn of(cursor: &'a Cursor) -> Self {
        Pointing {
            session: cursor.alias.to_string(),
            user_id: cursor.user.as_str(),
            x: cursor.pointer.map(|it| it.x),
            y: cursor.pointer.map(|it| it.y),
            visible: cursor.pointer.map(|it| it.visible),
            selection: cursor.selection.map(|it| Range {
                start: it.start,
                end: it.end,
            }),
        }
    }
}

/// The status of a user as others see it.
#[derive(Serialize)]
pub(super) struct Status<'a> {
    user_id: &'a str,
    status: &'static str,
    custom_message: Option<&'a str>,
    emoji: Option<&'a str>,
    /// When the user was last seen, in seconds since 1970; only while they are offline.
    last_seen: Option<u64>,
    devices: Vec<&'static str>,
}

impl<'a> Status<'a> {
    pub(super) fn of(public_view: &'a PublicView) -> Self {
        Status {
            user_id: public_view.user.as_str(),
            status: public_view.look.status.as_str(),
            custom_message: public_view.look.message.as_deref(),
            emoji: public_view.look.emoji.as_deref(),
            last_seen: public_view.last_seen.map(seconds),
            devices: public_view
                .devices
                .iter()
                .map(|it| DeviceKind::as_str(*it))
                .collect(),
        }
    }
}

/// A moment in seconds since 1970, as Elixir programs write it.
pub(super) fn seconds(moment: Timestamp) -> u64 {
    moment.as_millis() / 1000
}
