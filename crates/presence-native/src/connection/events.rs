//! Turns the events of the core into events of the native protocol.

use std::sync::Arc;

use crate::authorized::Lost;
use presence_core::{
    Change, Chosen, Cursor, DeviceKind, Event, Look, Member, OwnView, Person, PublicView, Reason,
    Row, SessionId, Timestamp, Topic, TopicVersion, UserId, Visible, color_of, users::Activity,
};
use presence_protocol::event;
use presence_protocol::{self as wire, Epoch, Json, Mode, TopicId};

/// The native event for `event`.
// Longer than a screen because it is a table: an arm for each kind of event.
pub fn event_of(event: &Event) -> wire::Event {
    match event {
        Event::Everyone {
            topic,
            clock,
            people,
            typing,
            cursors,
        } => wire::Event::CurrentUsers(event::CurrentUsers {
            place: place_of(topic),
            epoch: Epoch(clock.epoch),
            version: clock.version,
            mode: Mode::Full,
            count: people.len() as u64,
            users: people.iter().map(|it| user_of(it)).collect(),
            typing: texts(typing),
            cursors: cursors.iter().map(cursor_of).collect(),
        }),
        Event::Unchanged {
            topic,
            clock,
            typing,
            cursors,
        } => wire::Event::Unchanged(event::Unchanged {
            place: place_of(topic),
            epoch: Epoch(clock.epoch),
            version: clock.version,
            typing: texts(typing),
            cursors: cursors.iter().map(cursor_of).collect(),
        }),
        // As if the whole state were told once more, which every client understands.
        Event::EpochStarted { topic, clock } => wire::Event::CurrentUsers(event::CurrentUsers {
            place: place_of(topic),
            epoch: Epoch(clock.epoch),
            version: clock.version,
            mode: Mode::Full,
            count: 0,
            users: Vec::new(),
            typing: Vec::new(),
            cursors: Vec::new(),
        }),
        Event::Changes {
            topic,
            clock,
            changes,
            ..
        } => match &changes[..] {
            [change] => only_change_of(topic, *clock, change),
            changes => wire::Event::Changes(event::Changes {
                place: place_of(topic),
                epoch: Epoch(clock.epoch),
                version: clock.version,
                changes: changes.iter().map(change_of).collect(),
            }),
        },
        Event::Summary {
            topic,
            clock,
            count,
            sample,
        } => wire::Event::Summary(event::Summary {
            place: place_of(topic),
            epoch: Epoch(clock.epoch),
            version: clock.version,
            mode: Mode::Summary,
            count: *count as u64,
            users: sample.iter().map(|it| user_of(it)).collect(),
        }),
        Event::Window {
            topic,
            number,
            count,
            rows,
        } => wire::Event::Window(event::Window {
            place: place_of(topic),
            window: *number,
            count: *count as u64,
            users: rows.iter().map(|it| user_of(it)).collect(),
        }),
        Event::WindowChanges {
            topic,
            number,
            count,
            gone,
            rows,
        } => wire::Event::WindowChanges(event::WindowChanges {
            place: place_of(topic),
            window: *number,
            count: count.map(|it| it as u64),
            gone: texts(gone),
            rows: rows.iter().map(row_of).collect(),
        }),
        Event::Typing {
            topic,
            typing,
            started,
            stopped,
        } => wire::Event::Typing(event::Typing {
            place: place_of(topic),
            users: texts(typing),
            started: texts(started),
            stopped: texts(stopped),
        }),
        Event::Cursors {
            topic,
            cursors,
            gone,
            ..
        } => wire::Event::Cursors(event::Cursors {
            place: place_of(topic),
            cursors: cursors.iter().map(cursor_of).collect(),
            gone: gone.iter().map(|&it| session_of(it)).collect(),
        }),
        Event::Broadcast {
            topic,
            event,
            payload,
            user,
            sender,
        } => wire::Event::Broadcast(event::Broadcast {
            place: place_of(topic),
            event: event.clone(),
            payload: (!payload.json().is_empty()).then(|| Json::checked(payload.json().clone())),
            user_id: user.text(),
            session: session_of(sender.shown_as()),
        }),
        Event::PublicView(public_view) => wire::Event::Status(status_of(public_view)),
        Event::OwnView(own_view) => wire::Event::Own(own_of(own_view, None)),
        Event::StoreAway { is_away } => wire::Event::Health(event::Health { degraded: *is_away }),
    }
}

fn row_of(row: &Row) -> event::Row {
    event::Row {
        at: row.at as u64,
        user: user_of(&row.person),
    }
}

/// What was lost, as the target of a watch.
pub fn target_of(lost: &Lost) -> wire::Target {
    match lost {
        Lost::Topic(Topic::Channel(channel)) => wire::Target::Channel(channel.to_string()),
        Lost::Topic(Topic::Workspace(workspace)) => wire::Target::Workspace(workspace.to_string()),
        Lost::Users(users) => wire::Target::Users(users.iter().map(UserId::to_string).collect()),
    }
}

/// The status of a user, as an answer to `presence:get`.
pub fn user_status_of(public_view: &PublicView) -> event::UserStatus {
    let status = status_of(public_view);
    event::UserStatus {
        user_id: status.user_id,
        status: status.status,
        custom_message: status.custom_message,
        emoji: status.emoji,
        last_seen: status.last_seen,
        devices: (status.status != wire::Visible::Offline).then_some(status.devices),
    }
}

/// A person in a roster.
pub fn user_of(person: &Person) -> event::User {
    let Look {
        status,
        message,
        emoji,
    } = person.look();
    let color = person.newest(|meta| meta.color()).cloned();
    event::User {
        id: person.user.text(),
        status: visible_of(*status),
        custom_message: message.clone(),
        emoji: emoji.clone(),
        name: person.newest(|meta| meta.name()).cloned(),
        avatar: person.newest(|meta| meta.avatar()).cloned(),
        color: Some(color.unwrap_or_else(|| color_of(&person.user).into())),
        joined_at: person.joined_at.as_millis(),
        metas: person.members.iter().map(|it| meta_of(it)).collect(),
    }
}

fn meta_of(member: &Member) -> event::Meta {
    let json = match member.meta.json().is_empty() {
        true => "{}".into(),
        false => member.meta.json().clone(),
    };
    event::Meta {
        session: session_of(member.alias),
        device: kind_of(member.device),
        joined_at: member.joined_at.as_millis(),
        meta: Json::checked(json),
    }
}

fn only_change_of(topic: &Topic, clock: TopicVersion, change: &Change) -> wire::Event {
    let place = place_of(topic);
    let epoch = Epoch(clock.epoch);
    let version = clock.version;
    let changed = |person: &Person| event::UserChanged {
        place: place.clone(),
        epoch,
        version,
        user: user_of(person),
    };
    match change {
        Change::Joined(person) => wire::Event::UserJoined(changed(person)),
        Change::Updated { to, .. } => wire::Event::UserUpdated(changed(to)),
        Change::Left { person, reason } => wire::Event::UserLeft(event::UserLeft {
            place,
            epoch,
            version,
            user_id: person.user.text(),
            reason: reason_of(*reason),
        }),
    }
}

fn change_of(change: &Change) -> event::Change {
    match change {
        Change::Joined(person) => event::Change::Joined(user_of(person)),
        Change::Updated { to, .. } => event::Change::Updated(user_of(to)),
        Change::Left { person, reason } => event::Change::Left {
            user_id: person.user.text(),
            reason: reason_of(*reason),
        },
    }
}

fn status_of(public_view: &PublicView) -> event::Status {
    event::Status {
        epoch: Epoch(public_view.clock.epoch),
        version: public_view.clock.version,
        user_id: public_view.user.text(),
        status: visible_of(public_view.look.status),
        custom_message: public_view.look.message.clone(),
        emoji: public_view.look.emoji.clone(),
        last_seen: public_view.last_seen.map(Timestamp::as_millis),
        devices: public_view.devices.iter().map(|&it| kind_of(it)).collect(),
    }
}

/// What a user sees of themselves, told to `session`.
pub fn own_of(own_view: &OwnView, session: Option<SessionId>) -> event::Own {
    event::Own {
        user_id: own_view.user.text(),
        status: chosen_of(own_view.chosen),
        shown: visible_of(own_view.shown),
        custom_message: own_view.message.clone(),
        emoji: own_view.emoji.clone(),
        expires_at: own_view.expires_at.map(Timestamp::as_millis),
        revision: own_view.revision,
        devices: own_view
            .devices
            .iter()
            .map(|device| event::OwnDevice {
                id: device.id.text(),
                kind: kind_of(device.id.kind()),
                activity: activity_of(device.activity),
                sessions: device.sessions as u64,
            })
            .collect(),
        session: session.map(|it| session_of(own_view.alias_of(it))),
    }
}

fn cursor_of(cursor: &Cursor) -> event::Cursor {
    event::Cursor {
        session: session_of(cursor.alias),
        user_id: cursor.user.text(),
        x: cursor.pointer.map(|it| it.x),
        y: cursor.pointer.map(|it| it.y),
        visible: cursor.pointer.map(|it| it.visible),
        selection: cursor.selection.map(|it| wire::Selection {
            start: it.start,
            end: it.end,
        }),
    }
}

fn place_of(topic: &Topic) -> TopicId {
    match topic {
        Topic::Channel(channel) => TopicId::Channel(channel.text()),
        Topic::Workspace(workspace) => TopicId::Workspace(workspace.text()),
    }
}

/// The session's id in the native protocol.
pub fn session_of(session: SessionId) -> wire::Session {
    wire::Session(session.as_u128())
}

fn texts(users: &[UserId]) -> Vec<Arc<str>> {
    users.iter().map(UserId::text).collect()
}

pub fn visible_of(status: Visible) -> wire::Visible {
    match status {
        Visible::Online => wire::Visible::Online,
        Visible::Away => wire::Visible::Away,
        Visible::Busy => wire::Visible::Busy,
        Visible::Offline => wire::Visible::Offline,
    }
}

pub fn chosen_of(chosen: Chosen) -> wire::Chosen {
    match chosen {
        Chosen::Online => wire::Chosen::Online,
        Chosen::Away => wire::Chosen::Away,
        Chosen::Busy => wire::Chosen::Busy,
        Chosen::Invisible => wire::Chosen::Invisible,
        Chosen::Offline => wire::Chosen::Offline,
    }
}

pub fn activity_of(activity: Activity) -> wire::Activity {
    match activity {
        Activity::Active => wire::Activity::Active,
        Activity::Idle => wire::Activity::Idle,
        Activity::Hidden => wire::Activity::Hidden,
    }
}

pub fn kind_of(kind: DeviceKind) -> wire::DeviceKind {
    match kind {
        DeviceKind::Web => wire::DeviceKind::Web,
        DeviceKind::Mobile => wire::DeviceKind::Mobile,
        DeviceKind::Desktop => wire::DeviceKind::Desktop,
        DeviceKind::Other => wire::DeviceKind::Other,
    }
}

fn reason_of(reason: Reason) -> wire::Reason {
    match reason {
        Reason::Left => wire::Reason::Left,
        Reason::Lost => wire::Reason::Lost,
        Reason::TimedOut => wire::Reason::TimedOut,
        Reason::Replaced => wire::Reason::Replaced,
        Reason::NodeLost => wire::Reason::NodeLost,
        Reason::Kicked => wire::Reason::Kicked,
    }
}
