//! One entry of a map: its token, a version byte, and what postcard makes of the structs below.
//!
//! The user of a profile and the session of the others are key and field, and not in the record.

use std::sync::Arc;

use presence_core::cluster::{FencingToken, Field, JoinedTopic, Record, SessionRecord, Subject};
use presence_core::users::Activity;
use presence_core::{
    ChannelId, Chosen, DeviceId, DeviceKind, Look, Member, Meta, Moments, Profile, SessionId,
    Shown, Status, StatusSource, Timestamp, Topic, UserId, Visible, WorkspaceId,
};
use serde::{Deserialize, Serialize};

use super::{RecordError, split_token, token_bytes};

/// The version byte that [`encode`] writes.
const VERSION: u8 = 1;

/// The biggest entry that is read: a session in a thousand places, with the longest meta in each.
const ENTRY_BYTES_MAX: usize = 8 << 20;

/// The bytes of an entry.
pub(crate) fn encode(subject: &Subject, of: FencingToken, record: &Record) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    bytes.extend_from_slice(&token_bytes(of));
    bytes.push(VERSION);
    let bytes = match record {
        Record::Profile(profile) => {
            postcard::to_extend(&ProfileRecord::of(subject, profile), bytes)
                .and_then(|bytes| postcard::to_extend(&MomentsRecord::of(&profile.moments), bytes))
        }
        Record::Session(session) => {
            let bytes = postcard::to_extend(&SessionBytes::of(session), bytes);
            bytes.and_then(|bytes| with_alias(session.alias, bytes))
        }
        Record::Member(member) => {
            let bytes = postcard::to_extend(&MemberRecord::of(member), bytes);
            let alias = (member.alias != member.session).then_some(member.alias);
            let bytes = bytes.and_then(|bytes| with_alias(alias, bytes));
            bytes.map(|mut bytes| {
                bytes.extend(member.profile.to_be_bytes());
                bytes
            })
        }
    };
    bytes.expect("numbers and texts can be encoded")
}

/// What others are shown as the id of the session, if that is another one.
#[derive(Serialize, Deserialize)]
struct AliasRecord {
    alias: [u8; 16],
}

/// The alias goes behind the record, where a release that does not know it finds nothing that it looks for. A release that adds
/// a field behind it always writes it, so that there is no doubt what these bytes are.
fn with_alias(alias: Option<SessionId>, bytes: Vec<u8>) -> postcard::Result<Vec<u8>> {
    match alias {
        None => Ok(bytes),
        Some(alias) => {
            let alias = alias.as_u128().to_be_bytes();
            postcard::to_extend(&AliasRecord { alias }, bytes)
        }
    }
}

/// What is behind the record of a member, without the revision of the profile; and that. It is at the end, where `write.lua` looks
/// for it; an earlier release did not write it.
fn split_profile(rest: &[u8]) -> Result<(&[u8], u64), RecordError> {
    match rest.split_last_chunk() {
        Some((rest, profile)) => Ok((rest, u64::from_be_bytes(*profile))),
        None if rest.is_empty() => Ok((rest, 0)),
        None => Err(RecordError::Malformed),
    }
}

/// The alias in what is behind a record.
fn alias_in(rest: &[u8]) -> Result<Option<SessionId>, RecordError> {
    if rest.is_empty() {
        return Ok(None);
    }
    let (record, _later_fields) = postcard::take_from_bytes::<AliasRecord>(rest)?;
    Ok(Some(SessionId::from_u128(u128::from_be_bytes(
        record.alias,
    ))))
}

/// The entry `field` of the map of `subject` that `bytes` were stored for.
pub(crate) fn decode(
    subject: &Subject,
    field: Field,
    bytes: &[u8],
) -> Result<(FencingToken, Record), RecordError> {
    if bytes.len() > ENTRY_BYTES_MAX {
        return Err(RecordError::TooLarge(bytes.len()));
    }
    let (token, rest) = split_token(bytes)?;
    let (&version, rest) = rest.split_first().ok_or(RecordError::Malformed)?;
    if version != VERSION {
        return Err(RecordError::UnknownVersion(version));
    }
    let record = match (field, subject) {
        (Field::Profile, Subject::User(user)) => {
            let (record, rest) = postcard::take_from_bytes::<ProfileRecord>(rest)?;
            let mut profile = record.profile(user)?;
            if !rest.is_empty() {
                let (moments, _later_fields) = postcard::take_from_bytes::<MomentsRecord>(rest)?;
                profile.moments = moments.moments();
            }
            Record::Profile(Arc::new(profile))
        }
        (Field::Session(_), Subject::User(_)) => {
            let (record, rest) = postcard::take_from_bytes::<SessionBytes>(rest)?;
            Record::Session(Arc::new(SessionRecord {
                alias: alias_in(rest)?,
                ..record.session()?
            }))
        }
        (Field::Session(session), Subject::Topic(_)) => {
            let (record, rest) = postcard::take_from_bytes::<MemberRecord>(rest)?;
            let (rest, profile) = split_profile(rest)?;
            Record::Member(Arc::new(Member {
                session,
                alias: alias_in(rest)?.unwrap_or(session),
                profile,
                ..record.member()?
            }))
        }
        (Field::Profile, Subject::Topic(_)) | (_, Subject::Node(_)) => {
            return Err(RecordError::Malformed);
        }
    };
    Ok((token, record))
}

#[derive(Serialize, Deserialize)]
struct ProfileRecord<'a> {
    /// The user, if it is not the one that the map belongs to.
    user: Option<&'a str>,
    #[serde(borrow)]
    status: StatusRecord<'a>,
    public_status: Option<StatusRecord<'a>>,
    last_seen_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct StatusRecord<'a> {
    chosen: u8,
    message: Option<&'a str>,
    emoji: Option<&'a str>,
    expires_at_ms: Option<u64>,
    revision: u64,
}

/// Behind a [`ProfileRecord`]: when each field was chosen, in milliseconds.
#[derive(Serialize, Deserialize)]
struct MomentsRecord {
    chosen_ms: u64,
    message_ms: u64,
    emoji_ms: u64,
    expiry_ms: u64,
}

impl MomentsRecord {
    fn of(moments: &Moments) -> Self {
        MomentsRecord {
            chosen_ms: moments.chosen.as_millis(),
            message_ms: moments.message.as_millis(),
            emoji_ms: moments.emoji.as_millis(),
            expiry_ms: moments.expiry.as_millis(),
        }
    }

    fn moments(&self) -> Moments {
        Moments {
            chosen: Timestamp::from_millis(self.chosen_ms),
            message: Timestamp::from_millis(self.message_ms),
            emoji: Timestamp::from_millis(self.emoji_ms),
            expiry: Timestamp::from_millis(self.expiry_ms),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct SessionBytes<'a> {
    device: &'a str,
    /// What [`flags_of`] makes of it.
    flags: u8,
    heard_at_ms: u64,
    #[serde(borrow)]
    places: Vec<JoinedTopicRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
struct JoinedTopicRecord<'a> {
    /// A workspace, not a channel.
    is_workspace: bool,
    id: &'a str,
    joined_at_ms: u64,
    #[serde(borrow)]
    meta: MetaRecord<'a>,
}

#[derive(Serialize, Deserialize)]
struct MemberRecord<'a> {
    user: &'a str,
    epoch: u32,
    device: u8,
    joined_at_ms: u64,
    #[serde(borrow)]
    meta: MetaRecord<'a>,
    status: u8,
    message: Option<&'a str>,
    emoji: Option<&'a str>,
    look_revision: u64,
}

#[derive(Serialize, Deserialize)]
struct MetaRecord<'a> {
    json: &'a str,
    #[serde(borrow)]
    name: PartRecord<'a>,
    color: PartRecord<'a>,
    avatar: PartRecord<'a>,
}

/// What the owner of a [`Meta`] has copied out of its text: as a rule it stands there letter by letter.
#[derive(Serialize, Deserialize)]
enum PartRecord<'a> {
    Absent,
    /// The position in the text, and the length.
    Within(u32, u32),
    Apart(&'a str),
}

impl<'a> ProfileRecord<'a> {
    fn of(subject: &Subject, profile: &'a Profile) -> Self {
        let is_of = matches!(subject, Subject::User(user) if *user == profile.user);
        ProfileRecord {
            user: (!is_of).then(|| profile.user.as_str()),
            status: StatusRecord::of(&profile.status),
            public_status: profile.stored_public_status().map(StatusRecord::of),
            last_seen_ms: profile.last_seen.map(Timestamp::as_millis),
        }
    }

    fn profile(&self, user: &UserId) -> Result<Profile, RecordError> {
        let public_status = self.public_status.as_ref().map(StatusRecord::status);
        let (source, public_status) = StatusSource::of_stored(public_status.transpose()?);
        let other = self.user.map(|user| id(UserId::new(user))).transpose()?;
        Ok(Profile {
            user: other.unwrap_or_else(|| user.clone()),
            status: self.status.status()?,
            source,
            public_status,
            last_seen: self.last_seen_ms.map(Timestamp::from_millis),
            moments: Moments::default(),
        })
    }
}

impl<'a> StatusRecord<'a> {
    fn of(status: &'a Status) -> Self {
        StatusRecord {
            chosen: number_in(&CHOSEN, status.chosen),
            message: status.message.as_deref(),
            emoji: status.emoji.as_deref(),
            expires_at_ms: status.expires_at.map(Timestamp::as_millis),
            revision: status.revision,
        }
    }

    fn status(&self) -> Result<Status, RecordError> {
        Ok(Status {
            chosen: at(&CHOSEN, self.chosen, "choice")?,
            message: self.message.map(Arc::from),
            emoji: self.emoji.map(Arc::from),
            expires_at: self.expires_at_ms.map(Timestamp::from_millis),
            revision: self.revision,
        })
    }
}

impl<'a> SessionBytes<'a> {
    fn of(session: &'a SessionRecord) -> Self {
        SessionBytes {
            device: session.device.as_str(),
            flags: flags_of(session),
            heard_at_ms: session.heard_at.as_millis(),
            places: session.places.iter().map(JoinedTopicRecord::of).collect(),
        }
    }

    fn session(&self) -> Result<SessionRecord, RecordError> {
        let places = self.places.iter().map(JoinedTopicRecord::joined);
        Ok(SessionRecord {
            device: id(DeviceId::new(self.device))?,
            by_service: self.flags & BY_SERVICE != 0,
            activity: at(&ACTIVITIES, self.flags & ACTIVITY, "activity")?,
            is_active: self.flags & IS_ACTIVE != 0,
            heard_at: Timestamp::from_millis(self.heard_at_ms),
            places: places.collect::<Result<_, _>>()?,
            alias: None,
        })
    }
}

const ACTIVITY: u8 = 0b0011;
const BY_SERVICE: u8 = 0b0100;
const IS_ACTIVE: u8 = 0b1000;

fn flags_of(session: &SessionRecord) -> u8 {
    let mut flags = number_in(&ACTIVITIES, session.activity);
    if session.by_service {
        flags |= BY_SERVICE;
    }
    if session.is_active {
        flags |= IS_ACTIVE;
    }
    flags
}

impl<'a> JoinedTopicRecord<'a> {
    fn of(joined: &'a JoinedTopic) -> Self {
        let (is_workspace, id) = match &joined.topic {
            Topic::Channel(channel) => (false, channel.as_str()),
            Topic::Workspace(workspace) => (true, workspace.as_str()),
        };
        JoinedTopicRecord {
            is_workspace,
            id,
            joined_at_ms: joined.joined_at.as_millis(),
            meta: MetaRecord::of(&joined.meta),
        }
    }

    fn joined(&self) -> Result<JoinedTopic, RecordError> {
        Ok(JoinedTopic {
            topic: if self.is_workspace {
                Topic::Workspace(id(WorkspaceId::new(self.id))?)
            } else {
                Topic::Channel(id(ChannelId::new(self.id))?)
            },
            joined_at: Timestamp::from_millis(self.joined_at_ms),
            meta: Arc::new(self.meta.meta()?),
        })
    }
}

impl<'a> MemberRecord<'a> {
    fn of(member: &'a Member) -> Self {
        MemberRecord {
            user: member.user.as_str(),
            epoch: member.epoch,
            device: number_in(&DEVICES, member.device),
            joined_at_ms: member.joined_at.as_millis(),
            meta: MetaRecord::of(&member.meta),
            status: number_in(&VISIBLE, member.look.status),
            message: member.look.message.as_deref(),
            emoji: member.look.emoji.as_deref(),
            look_revision: member.look_revision,
        }
    }

    /// The member; its session and its alias are for the caller to fill in.
    fn member(&self) -> Result<Member, RecordError> {
        let session = SessionId::from_u128(0);
        Ok(Member {
            session,
            alias: session,
            epoch: self.epoch,
            user: id(UserId::new(self.user))?,
            device: at(&DEVICES, self.device, "kind of device")?,
            joined_at: Timestamp::from_millis(self.joined_at_ms),
            meta: Arc::new(self.meta.meta()?),
            look: Arc::new(Look {
                status: at(&VISIBLE, self.status, "status")?,
                message: self.message.map(Arc::from),
                emoji: self.emoji.map(Arc::from),
            }),
            look_revision: self.look_revision,
            profile: 0,
        })
    }
}

impl<'a> MetaRecord<'a> {
    fn of(meta: &'a Meta) -> Self {
        let part = |part: Option<&'a Arc<str>>| PartRecord::of(meta.json(), part.map(|it| &**it));
        MetaRecord {
            json: meta.json(),
            name: part(meta.name()),
            color: part(meta.color()),
            avatar: part(meta.avatar()),
        }
    }

    fn meta(&self) -> Result<Meta, RecordError> {
        let shown = Shown {
            name: self.name.text(self.json)?,
            color: self.color.text(self.json)?,
            avatar: self.avatar.text(self.json)?,
        };
        Ok(Meta::showing(self.json, shown)?)
    }
}

impl<'a> PartRecord<'a> {
    fn of(json: &str, part: Option<&'a str>) -> Self {
        let Some(text) = part else {
            return PartRecord::Absent;
        };
        let place = json.find(text).and_then(|from| u32::try_from(from).ok());
        match (place, u32::try_from(text.len())) {
            (Some(from), Ok(length)) => PartRecord::Within(from, length),
            _ => PartRecord::Apart(text),
        }
    }

    fn text(&self, json: &str) -> Result<Option<Arc<str>>, RecordError> {
        Ok(match *self {
            PartRecord::Absent => None,
            PartRecord::Apart(text) => Some(text.into()),
            PartRecord::Within(from, length) => {
                let from = from as usize;
                let text = json.get(from..from.saturating_add(length as usize));
                Some(text.ok_or(RecordError::Malformed)?.into())
            }
        })
    }
}

// The place of a value in these is its number for ever: add behind, in a release that only reads.
pub(super) const CHOSEN: [Chosen; 5] = [
    Chosen::Online,
    Chosen::Away,
    Chosen::Busy,
    Chosen::Invisible,
    Chosen::Offline,
];
pub(super) const VISIBLE: [Visible; 4] = [
    Visible::Online,
    Visible::Away,
    Visible::Busy,
    Visible::Offline,
];
pub(super) const ACTIVITIES: [Activity; 3] = [Activity::Hidden, Activity::Idle, Activity::Active];
const DEVICES: [DeviceKind; 4] = [
    DeviceKind::Web,
    DeviceKind::Mobile,
    DeviceKind::Desktop,
    DeviceKind::Other,
];

pub(super) fn number_in<T: PartialEq>(all: &[T], one: T) -> u8 {
    let place = all.iter().position(|it| *it == one);
    place.expect("every value is in its list") as u8
}

pub(super) fn at<T: Copy>(all: &[T], number: u8, what: &'static str) -> Result<T, RecordError> {
    let value = all.get(usize::from(number)).copied();
    value.ok_or(RecordError::Unknown(what, number))
}

pub(super) fn id<T, E>(id: Result<T, E>) -> Result<T, RecordError> {
    id.map_err(|_| RecordError::Malformed)
}

#[cfg(test)]
pub(crate) mod tests;
