//! The service topic, `presence:{user_id}`: the user's own state, and short events about everything that the session watches.

use std::sync::Arc;

use bytes::Bytes;
use presence_core::{
    Change, ChannelId, Event, Look, OwnView, Person, Reason, SessionId, Topic, UserId, Visible,
    WorkspaceId,
};
use serde::Serialize;

use super::events::{Status, seconds};
use super::topics::PhoenixTopic;
use super::wire::{self, json};

/// The state of a client that has joined its service topic.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) place: PhoenixTopic,
    /// The workspace whose online list it asks for.
    pub(super) workspace: Option<WorkspaceId>,
    /// Whether it watches that workspace.
    pub(super) watches: bool,
    /// The channels that it has joined through this topic.
    pub(super) channels: Vec<ChannelId>,
    /// Whether its join was answered.
    pub(super) is_confirmed: bool,
    /// Whether it was sent the state of its user.
    pub(super) is_greeted: bool,
}

impl Service {
    /// The service topic of a user who has just asked for it.
    pub(super) fn of(user: UserId) -> Self {
        Service {
            place: PhoenixTopic::Service(user),
            workspace: None,
            watches: false,
            channels: Vec::new(),
            is_confirmed: false,
            is_greeted: false,
        }
    }

    /// The beginning of a frame on this topic, up to its event.
    pub(super) fn address(&self) -> String {
        wire::address(None, None, &self.place.to_string())
    }
}

/// Encodes what service topics are sent for `event`: the ends of frames, from the event on, one a line.
pub(super) fn on_service(event: &Event) -> Bytes {
    let mut ends = String::new();
    let mut tell = |event: &str, payload: String| {
        if !ends.is_empty() {
            ends.push('\n');
        }
        ends += &format!(r#""{event}",{payload}]"#);
    };
    match event {
        Event::Everyone {
            topic,
            people,
            typing,
            ..
        } => tell("channel_state", all(topic, people.len(), people, typing)),
        Event::Summary {
            topic,
            count,
            sample,
            ..
        } => tell("channel_state", all(topic, *count, sample, &[])),
        Event::Changes { topic, changes, .. } => {
            for change in changes {
                tell("presence_update", json(&Update::of(topic, change)));
            }
        }
        Event::Typing {
            topic,
            started,
            stopped,
            ..
        } => {
            let started = started.iter().map(|it| (it, "start"));
            for (user, action) in started.chain(stopped.iter().map(|it| (it, "stop"))) {
                let typing = Typing {
                    place: Name::of(topic),
                    user_id: user.as_str(),
                    action,
                };
                tell("typing_update", json(&typing));
            }
        }
        Event::PublicView(public_view) => tell("status_update", json(&Status::of(public_view))),
        Event::Unchanged { .. }
        | Event::EpochStarted { .. }
        | Event::Cursors { .. }
        | Event::Broadcast { .. }
        | Event::OwnView(_)
        | Event::Window { .. }
        | Event::WindowChanges { .. }
        | Event::StoreAway { .. } => {}
    }
    Bytes::from(ends)
}

/// Splits the lines of [`on_service`], without copying.
pub(super) fn lines(ends: &Bytes) -> impl Iterator<Item = Bytes> {
    // No frame has a line break in it, because the JSON writer escapes them.
    let lines = ends.split(|it| *it == b'\n').filter(|it| !it.is_empty());
    lines.map(|it| ends.slice_ref(it))
}

fn all(topic: &Topic, count: usize, people: &[Arc<Person>], typing: &[UserId]) -> String {
    json(&Everyone {
        place: Name::of(topic),
        count,
        users: people.iter().map(|it| ShownUser::of(it)).collect(),
        typing: typing.iter().map(UserId::as_str).collect(),
    })
}

/// The channel or workspace that a frame is about, by its id.
#[derive(Serialize)]
enum Name<'a> {
    #[serde(rename = "channel_id")]
    Channel(&'a str),
    #[serde(rename = "workspace_id")]
    Workspace(&'a str),
}

impl<'a> Name<'a> {
    fn of(topic: &'a Topic) -> Self {
        match topic {
            Topic::Channel(channel) => Name::Channel(channel.as_str()),
            Topic::Workspace(workspace) => Name::Workspace(workspace.as_str()),
        }
    }
}

#[derive(Serialize)]
struct Everyone<'a> {
    #[serde(flatten)]
    place: Name<'a>,
    count: usize,
    users: Vec<ShownUser<'a>>,
    typing: Vec<&'a str>,
}

#[derive(Serialize)]
struct ShownUser<'a> {
    user_id: &'a str,
    status: &'static str,
    custom_message: Option<&'a str>,
    emoji: Option<&'a str>,
}

impl<'a> ShownUser<'a> {
    fn of(person: &'a Person) -> Self {
        let Look {
            status,
            message,
            emoji,
        } = person.look();
        ShownUser {
            user_id: person.user.as_str(),
            status: status.as_str(),
            custom_message: message.as_deref(),
            emoji: emoji.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct Update<'a> {
    #[serde(flatten)]
    place: Name<'a>,
    action: &'static str,
    #[serde(flatten)]
    who: Who<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Who<'a> {
    Here(ShownUser<'a>),
    Gone {
        user_id: &'a str,
        reason: &'static str,
    },
}

impl<'a> Update<'a> {
    fn of(topic: &'a Topic, change: &'a Change) -> Self {
        let (action, who) = match change {
            Change::Joined(person) => ("join", Who::Here(ShownUser::of(person))),
            Change::Updated { to, .. } => ("update", Who::Here(ShownUser::of(to))),
            Change::Left { person, reason } => {
                let gone = Who::Gone {
                    user_id: person.user.as_str(),
                    reason: Reason::as_str(*reason),
                };
                ("leave", gone)
            }
        };
        Update {
            place: Name::of(topic),
            action,
            who,
        }
    }
}

/// The payload that says that `user` is out of `topic`, because their token no longer allows it.
pub(super) fn removed(topic: &Topic, user: &UserId) -> String {
    json(&Update {
        place: Name::of(topic),
        action: "leave",
        who: Who::Gone {
            user_id: user.as_str(),
            reason: Reason::Kicked.as_str(),
        },
    })
}

#[derive(Serialize)]
struct Typing<'a> {
    #[serde(flatten)]
    place: Name<'a>,
    user_id: &'a str,
    action: &'static str,
}

/// What a user is told of themselves, and nobody else.
/// `session` is what others are shown as the id of the session that is told.
pub(super) fn own(own_view: &OwnView, session: Option<SessionId>) -> String {
    // A user who hides is told what they chose; any other user is told what others see.
    let status = match own_view.chosen.hides() {
        true => chosen(own_view),
        false => own_view.shown.as_str(),
    };
    json(&Own {
        user_id: own_view.user.as_str(),
        status,
        custom_message: own_view.message.as_deref(),
        emoji: own_view.emoji.as_deref(),
        last_seen: own_view.last_seen.map(seconds),
        expires_at: own_view.expires_at.map(seconds),
        devices: own_view
            .devices
            .iter()
            .map(|it| Device {
                id: it.id.as_str(),
                timestamp: seconds(it.heard_at),
            })
            .collect(),
        session: session.map(|it| it.to_string()),
    })
}

fn chosen(own_view: &OwnView) -> &'static str {
    match own_view.chosen {
        presence_core::Chosen::Invisible => "invisible",
        _ => Visible::Offline.as_str(),
    }
}

#[derive(Serialize)]
struct Own<'a> {
    user_id: &'a str,
    status: &'static str,
    custom_message: Option<&'a str>,
    emoji: Option<&'a str>,
    last_seen: Option<u64>,
    expires_at: Option<u64>,
    devices: Vec<Device<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
}

#[derive(Serialize)]
struct Device<'a> {
    id: &'a str,
    timestamp: u64,
}
