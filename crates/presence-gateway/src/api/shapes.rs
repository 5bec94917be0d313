//! The JSON of answers. Unlike on the socket, times are whole seconds, and an absent value is `null`.

use presence_core::{OwnView, PublicView, Timestamp};
use presence_protocol::event::{self, User};
use presence_protocol::{self as wire, Activity, Chosen, DeviceKind, Json, Visible};
use serde::Serialize;

use crate::native::events::{activity_of, chosen_of, kind_of, visible_of};

/// What others see of a user.
#[derive(Debug, Serialize)]
pub(super) struct Seen<'a> {
    user_id: &'a str,
    status: Visible,
    custom_message: Option<&'a str>,
    emoji: Option<&'a str>,
    last_seen: Option<u64>,
    devices: Vec<Kind>,
}

#[derive(Debug, Serialize)]
struct Kind {
    kind: DeviceKind,
}

impl<'a> Seen<'a> {
    pub(super) fn of(public_view: &'a PublicView) -> Self {
        Seen {
            user_id: public_view.user.as_str(),
            status: visible_of(public_view.look.status),
            custom_message: public_view.look.message.as_deref(),
            emoji: public_view.look.emoji.as_deref(),
            last_seen: public_view.last_seen.map(seconds),
            devices: public_view
                .devices
                .iter()
                .map(|&kind| Kind {
                    kind: kind_of(kind),
                })
                .collect(),
        }
    }
}

/// What a user sees of themselves.
#[derive(Debug, Serialize)]
pub(super) struct Own<'a> {
    user_id: &'a str,
    status: Chosen,
    shown: Visible,
    custom_message: Option<&'a str>,
    emoji: Option<&'a str>,
    expires_at: Option<u64>,
    revision: u64,
    last_seen: Option<u64>,
    devices: Vec<Device<'a>>,
}

#[derive(Debug, Serialize)]
struct Device<'a> {
    id: &'a str,
    timestamp: u64,
    kind: DeviceKind,
    activity: Activity,
    sessions: usize,
}

impl<'a> Own<'a> {
    pub(super) fn of(own_view: &'a OwnView) -> Self {
        Own {
            user_id: own_view.user.as_str(),
            status: chosen_of(own_view.chosen),
            shown: visible_of(own_view.shown),
            custom_message: own_view.message.as_deref(),
            emoji: own_view.emoji.as_deref(),
            // Up, so that nobody asks again for what ends within this second and finds it still there.
            expires_at: own_view.expires_at.map(|it| it.as_millis().div_ceil(1000)),
            revision: own_view.revision,
            last_seen: own_view.last_seen.map(seconds),
            devices: own_view
                .devices
                .iter()
                .map(|device| Device {
                    id: device.id.as_str(),
                    timestamp: seconds(device.heard_at),
                    kind: kind_of(device.id.kind()),
                    activity: activity_of(device.activity),
                    sessions: device.sessions,
                })
                .collect(),
        }
    }
}

/// One page of a list.
#[derive(Debug, Serialize)]
pub(super) struct Page<T> {
    pub(super) users: Vec<T>,
    /// How many items there are on all pages.
    pub(super) total: usize,
    pub(super) limit: usize,
    pub(super) offset: usize,
    /// The `after` of the next page, if there is one.
    pub(super) next: Option<String>,
}

/// A user in the online list of a workspace.
#[derive(Debug, Serialize)]
pub(super) struct Online<'a> {
    id: &'a str,
    timestamp: u64,
    status: Visible,
    custom_message: Option<&'a str>,
    emoji: Option<&'a str>,
    name: Option<&'a str>,
    avatar: Option<&'a str>,
    color: Option<&'a str>,
}

impl<'a> Online<'a> {
    pub(super) fn of(user: &'a User) -> Self {
        Online {
            id: &user.id,
            timestamp: user.joined_at / 1000,
            status: user.status,
            custom_message: user.custom_message.as_deref(),
            emoji: user.emoji.as_deref(),
            name: user.name.as_deref(),
            avatar: user.avatar.as_deref(),
            color: user.color.as_deref(),
        }
    }
}

/// A user in a channel.
#[derive(Debug, Serialize)]
pub(super) struct Viewer<'a> {
    id: &'a str,
    name: Option<&'a str>,
    avatar: Option<&'a str>,
    color: Option<&'a str>,
    status: Visible,
    custom_message: Option<&'a str>,
    emoji: Option<&'a str>,
    joined_at: u64,
    metas: Vec<Meta<'a>>,
}

#[derive(Debug, Serialize)]
struct Meta<'a> {
    session: wire::Session,
    device: DeviceKind,
    meta: &'a Json,
    joined_at: u64,
}

impl<'a> Viewer<'a> {
    pub(super) fn of(user: &'a User) -> Self {
        Viewer {
            id: &user.id,
            name: user.name.as_deref(),
            avatar: user.avatar.as_deref(),
            color: user.color.as_deref(),
            status: user.status,
            custom_message: user.custom_message.as_deref(),
            emoji: user.emoji.as_deref(),
            joined_at: user.joined_at / 1000,
            metas: user.metas.iter().map(Meta::of).collect(),
        }
    }
}

impl<'a> Meta<'a> {
    fn of(meta: &'a event::Meta) -> Self {
        Meta {
            session: meta.session,
            device: meta.device,
            meta: &meta.meta,
            joined_at: meta.joined_at / 1000,
        }
    }
}

fn seconds(moment: Timestamp) -> u64 {
    moment.as_millis() / 1000
}
