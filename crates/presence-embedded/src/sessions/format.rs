//! The bytes of a journal. No other file knows their format.
//!
//! A journal begins with [`MAGIC`]. Frames follow: the length of the payload and its checksum, four little-endian bytes each,
//! and the postcard encoding of a [`NoteRecord`]. A release that changes any of this changes the magic. A journal of another
//! release is ignored; after such an update people who reconnect are shown as leaving and joining.

use std::sync::Arc;

use presence_core::cluster::JoinedTopic;
use presence_core::ports::{SessionChange, StoredSession};
use presence_core::users::{Activity, KnownBy};
use presence_core::{
    ChannelId, DeviceId, Meta, SessionId, Shown, Timestamp, Topic, UserId, WorkspaceId,
};
use serde::{Deserialize, Serialize};

/// What a journal begins with.
pub(super) const MAGIC: &[u8; 8] = b"presses2";
/// What stands before each payload.
const HEAD_BYTES: usize = 8;

#[derive(Serialize, Deserialize)]
enum ChangeRecord<'a> {
    Is {
        session: u128,
        user: &'a str,
        epoch: u32,
        device: &'a str,
        known_by: u8,
        activity: u8,
        by_service: bool,
        is_active: bool,
        is_hidden: bool,
        lost_at_ms: Option<u64>,
        heard_at_ms: Option<u64>,
        alias: Option<u128>,
    },
    Joined {
        session: u128,
        #[serde(borrow)]
        topic: TopicRecord<'a>,
        joined_at_ms: u64,
        json: &'a str,
        name: Option<&'a str>,
        color: Option<&'a str>,
        avatar: Option<&'a str>,
    },
    Departed {
        session: u128,
        #[serde(borrow)]
        topic: TopicRecord<'a>,
    },
    Ended {
        session: u128,
    },
}

#[derive(Serialize, Deserialize)]
enum TopicRecord<'a> {
    Channel(&'a str),
    Workspace(&'a str),
}

/// Appends the frame of `change` to `out`.
pub(super) fn write(change: &SessionChange, out: &mut Vec<u8>) {
    let session = |it: &SessionId| it.as_u128();
    let millis = |it: &Timestamp| it.as_millis();
    let record = match change {
        SessionChange::Is { session: id, kept } => ChangeRecord::Is {
            session: session(id),
            user: kept.user.as_str(),
            epoch: kept.epoch,
            device: kept.device.as_str(),
            known_by: kept.known_by as u8,
            activity: kept.activity as u8,
            by_service: kept.by_service,
            is_active: kept.is_active,
            is_hidden: kept.is_hidden,
            lost_at_ms: kept.lost_at.as_ref().map(millis),
            heard_at_ms: kept.heard_at.as_ref().map(millis),
            alias: kept.alias.as_ref().map(session),
        },
        SessionChange::Joined {
            session: id,
            joined,
        } => ChangeRecord::Joined {
            session: session(id),
            topic: TopicRecord::of(&joined.topic),
            joined_at_ms: millis(&joined.joined_at),
            json: joined.meta.json(),
            name: joined.meta.name().map(|it| &**it),
            color: joined.meta.color().map(|it| &**it),
            avatar: joined.meta.avatar().map(|it| &**it),
        },
        SessionChange::Left { session: id, topic } => ChangeRecord::Departed {
            session: session(id),
            topic: TopicRecord::of(topic),
        },
        SessionChange::Ended { session: id } => ChangeRecord::Ended {
            session: session(id),
        },
    };
    out.extend(frame(&record));
}

/// The meta that was stored; `None` if it is not a valid one because the file is damaged.
fn meta(json: &str, name: Option<&str>, color: Option<&str>, avatar: Option<&str>) -> Option<Meta> {
    let shown = Shown {
        name: name.map(Arc::from),
        color: color.map(Arc::from),
        avatar: avatar.map(Arc::from),
    };
    Meta::showing(json, shown).ok()
}

/// The changes in a journal up to the first unreadable one, and whether there is an unreadable one.
pub(super) fn read(bytes: &[u8]) -> (Vec<SessionChange>, bool) {
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        return (Vec::new(), true);
    };
    let mut changes = Vec::new();
    while !rest.is_empty() {
        let Some((payload, after)) = unframe(rest) else {
            return (changes, true);
        };
        let record = postcard::from_bytes::<ChangeRecord<'_>>(payload).ok();
        let Some(change) = record.and_then(change_of) else {
            return (changes, true);
        };
        changes.push(change);
        rest = after;
    }
    (changes, false)
}

/// The postcard encoding of `value`, with its length and its checksum in front.
pub(super) fn frame(value: &impl Serialize) -> Vec<u8> {
    let bytes = postcard::to_extend(value, vec![0; HEAD_BYTES]);
    let mut bytes = bytes.expect("numbers and texts can be encoded");
    let payload = &bytes[HEAD_BYTES..];
    let length = u32::try_from(payload.len()).expect("no change has gigabytes");
    let sum = crc32fast::hash(payload);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..HEAD_BYTES].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The payload of the first frame in `bytes`, and the rest; `None` if it is cut off or garbled.
pub(super) fn unframe(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let length = u32::from_le_bytes(*length) as usize;
    let (payload, after) = rest.split_at_checked(length)?;
    (crc32fast::hash(payload) == u32::from_le_bytes(*sum)).then_some((payload, after))
}

fn change_of(record: ChangeRecord<'_>) -> Option<SessionChange> {
    let session = SessionId::from_u128;
    Some(match record {
        ChangeRecord::Is {
            session: id,
            user,
            epoch,
            device,
            known_by,
            activity,
            by_service,
            is_active,
            is_hidden,
            lost_at_ms,
            heard_at_ms,
            alias,
        } => SessionChange::Is {
            session: session(id),
            kept: Box::new(StoredSession {
                user: UserId::new(user).ok()?,
                epoch,
                device: DeviceId::new(device).ok()?,
                known_by: known_by_of(known_by)?,
                by_service,
                activity: activity_of(activity)?,
                is_active,
                is_hidden,
                lost_at: lost_at_ms.map(Timestamp::from_millis),
                heard_at: heard_at_ms.map(Timestamp::from_millis),
                alias: alias.map(session),
            }),
        },
        ChangeRecord::Joined {
            session: id,
            topic,
            joined_at_ms,
            json,
            name,
            color,
            avatar,
        } => SessionChange::Joined {
            session: session(id),
            joined: JoinedTopic {
                topic: topic.topic()?,
                joined_at: Timestamp::from_millis(joined_at_ms),
                meta: Arc::new(meta(json, name, color, avatar)?),
            },
        },
        ChangeRecord::Departed { session: id, topic } => SessionChange::Left {
            session: session(id),
            topic: topic.topic()?,
        },
        ChangeRecord::Ended { session: id } => SessionChange::Ended {
            session: session(id),
        },
    })
}

impl<'a> TopicRecord<'a> {
    fn of(topic: &'a Topic) -> Self {
        match topic {
            Topic::Channel(it) => TopicRecord::Channel(it.as_str()),
            Topic::Workspace(it) => TopicRecord::Workspace(it.as_str()),
        }
    }

    fn topic(&self) -> Option<Topic> {
        Some(match self {
            TopicRecord::Channel(it) => Topic::Channel(ChannelId::new(it).ok()?),
            TopicRecord::Workspace(it) => Topic::Workspace(WorkspaceId::new(it).ok()?),
        })
    }
}

fn known_by_of(number: u8) -> Option<KnownBy> {
    let all = [KnownBy::Token, KnownBy::Device, KnownBy::Joining];
    all.into_iter().find(|it| *it as u8 == number)
}

fn activity_of(number: u8) -> Option<Activity> {
    let all = [Activity::Hidden, Activity::Idle, Activity::Active];
    all.into_iter().find(|it| *it as u8 == number)
}
