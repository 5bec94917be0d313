//! One entry of a map: its token, a version byte, and what postcard makes of the structs below.
//!
//! The user of a profile and the session of the others are key and field, and not in the record.

use std::sync::Arc;

use presence_core::cluster::{FencingToken, Field, Record, SessionRecord, Stay, Subject};
use presence_core::users::Activity;
use presence_core::{
    ChannelId, Chosen, DeviceId, DeviceKind, Look, Member, Meta, Moments, Profile, SessionId,
    Shown, Status, Timestamp, Topic, UserId, Visible, WorkspaceId,
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
    places: Vec<StayRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
struct StayRecord<'a> {
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
            public_status: profile.public_status.as_ref().map(StatusRecord::of),
            last_seen_ms: profile.last_seen.map(Timestamp::as_millis),
        }
    }

    fn profile(&self, user: &UserId) -> Result<Profile, RecordError> {
        let public_status = self.public_status.as_ref().map(StatusRecord::status);
        let other = self.user.map(|user| id(UserId::new(user))).transpose()?;
        Ok(Profile {
            user: other.unwrap_or_else(|| user.clone()),
            status: self.status.status()?,
            public_status: public_status.transpose()?,
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
            places: session.places.iter().map(StayRecord::of).collect(),
        }
    }

    fn session(&self) -> Result<SessionRecord, RecordError> {
        let places = self.places.iter().map(StayRecord::stay);
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

impl<'a> StayRecord<'a> {
    fn of(stay: &'a Stay) -> Self {
        let (is_workspace, id) = match &stay.topic {
            Topic::Channel(channel) => (false, channel.as_str()),
            Topic::Workspace(workspace) => (true, workspace.as_str()),
        };
        StayRecord {
            is_workspace,
            id,
            joined_at_ms: stay.joined_at.as_millis(),
            meta: MetaRecord::of(&stay.meta),
        }
    }

    fn stay(&self) -> Result<Stay, RecordError> {
        Ok(Stay {
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
pub(crate) mod tests {
    use super::*;

    const TOKEN: &[u8] = b"\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x03";

    #[test]
    fn the_bytes_of_a_profile_are_these_for_ever() {
        let bytes = b"\x01\x00\
            \x03\x01\x05caf\xc3\xa9\x01\x04\xf0\x9f\x8e\xaf\x01\x80\x01\x07\
            \x01\x02\x00\x01\x08:coffee:\x00\x06\
            \x01\x80\xd0\x95\xff\xbc\x31\
            \x01\x80\x01\x00\x04";
        let profile = Profile {
            user: UserId::new("ann").unwrap(),
            status: Status {
                chosen: Chosen::Invisible,
                message: Some("café".into()),
                emoji: Some("🎯".into()),
                expires_at: Some(Timestamp::from_millis(128)),
                revision: 7,
            },
            public_status: Some(Status {
                chosen: Chosen::Busy,
                message: None,
                emoji: Some(":coffee:".into()),
                expires_at: None,
                revision: 6,
            }),
            last_seen: Some(Timestamp::from_millis(1_700_000_000_000)),
            moments: Moments {
                chosen: Timestamp::from_millis(1),
                message: Timestamp::from_millis(128),
                emoji: Timestamp::from_millis(0),
                expiry: Timestamp::from_millis(4),
            },
        };
        check(
            &ann(),
            Field::Profile,
            bytes,
            Record::Profile(Arc::new(profile)),
        );
    }

    #[test]
    fn the_bytes_of_a_session_are_these_for_ever() {
        let bytes = b"\x01\x07web:abc\x0e\x80\xd0\x95\xff\xbc\x31\x02\
            \x00\x07room:42\x81\xd0\x95\xff\xbc\x31\
            \x1b{\"name\":\"Ann\",\"avatar\":\"u\"}\x01\x09\x03\x02\x05a\\b\"c\x01\x18\x01\
            \x01\x04acme\x80\xd0\x95\xff\xbc\x31\x00\x00\x00\x00";
        let mut session = session();
        let meta = &mut session.places[0].meta;
        let shown = Shown {
            color: Some("a\\b\"c".into()),
            ..meta.shown().clone()
        };
        *meta = Arc::new(Meta::showing(meta.json().clone(), shown).unwrap());
        check(
            &ann(),
            Field::Session(SessionId::from_u128(5)),
            bytes,
            Record::Session(Arc::new(session)),
        );
    }

    #[test]
    fn the_bytes_of_a_member_are_these_for_ever() {
        let bytes = b"\x01\x03ann\x02\x01\x80\xd0\x95\xff\xbc\x31\
            \x0e{\"name\":\"Ann\"}\x01\x09\x03\x00\x00\x02\x01\x05lunch\x00\x07\
            \0\0\0\0\0\0\x01\x02";
        check(&room(), FIELD, bytes, Record::Member(Arc::new(member())));
    }

    #[test]
    fn every_value_has_a_number_and_keeps_it() {
        for (number, chosen) in CHOSEN.into_iter().enumerate() {
            assert_eq!(usize::from(number_in(&CHOSEN, chosen)), number);
        }
        assert_eq!(number_in(&CHOSEN, Chosen::Offline), 4);
        assert_eq!(number_in(&VISIBLE, Visible::Offline), 3);
        assert_eq!(number_in(&ACTIVITIES, Activity::Active), 2);
        assert_eq!(number_in(&DEVICES, DeviceKind::Other), 3);
    }

    #[test]
    fn an_alias_goes_behind_the_record_and_without_one_the_session_has_its_own_id() {
        const ALIAS: &[u8] = b"\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";
        let alias = SessionId::from_u128(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f);
        let aliased = Member { alias, ..member() };
        let plain = encode(&room(), a_token(), &Record::Member(Arc::new(member())));
        // In a member, the revision of the profile stays at the end, where the script looks for it.
        let (fields, profile) = plain[TOKEN.len()..].split_last_chunk::<8>().unwrap();
        let bytes = [fields, ALIAS, profile].concat();
        check(&room(), FIELD, &bytes, Record::Member(Arc::new(aliased)));
        let plain = encode(&ann(), a_token(), &Record::Session(Arc::new(session())));
        let bytes = [&plain[TOKEN.len()..], ALIAS].concat();
        let aliased = SessionRecord {
            alias: Some(alias),
            ..session()
        };
        check(&ann(), FIELD, &bytes, Record::Session(Arc::new(aliased)));
    }

    #[test]
    fn fields_that_a_later_release_has_added_at_the_end_are_ignored() {
        let alias = SessionId::from_u128(6);
        let record = Record::Member(Arc::new(Member { alias, ..member() }));
        let bytes = encode(&room(), a_token(), &record);
        // But for the last 8 bytes, which stay the last.
        let (fields, profile) = bytes.split_at(bytes.len() - 8);
        let later = [fields, b"something else", profile].concat();
        assert_eq!(decode(&room(), FIELD, &later).unwrap().1, record);
    }

    #[test]
    fn what_is_not_known_is_refused_with_the_reason() {
        let check = |bytes: &[u8], why: &str| {
            let bytes = [TOKEN, bytes].concat();
            let error = decode(&room(), FIELD, &bytes).unwrap_err();
            assert_eq!(error.to_string(), why);
        };
        check(b"", "the record is cut off or out of place");
        check(
            b"\x02\x00",
            "the record has version 2, of a later release: run that one",
        );
        check(
            b"\x01\x03ann\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00",
            "the record has an unknown kind of device 9",
        );
    }

    #[test]
    fn a_record_cut_off_anywhere_is_refused_and_a_garbled_one_does_no_harm() {
        let cases = [
            (ann(), Record::Session(Arc::new(session()))),
            (room(), Record::Member(Arc::new(member()))),
        ];
        for (subject, record) in cases {
            let bytes = encode(&subject, a_token(), &record);
            for length in 0..bytes.len() {
                // A release before wrote nothing behind the fields of a member.
                let is_older = matches!(record, Record::Member(_)) && length + 8 == bytes.len();
                let decoded = decode(&subject, FIELD, &bytes[..length]);
                assert_eq!(decoded.is_ok(), is_older, "{length}");
            }
            for i in TOKEN.len()..bytes.len() {
                for flipped in 1..=u8::MAX {
                    let mut bytes = bytes.clone();
                    bytes[i] ^= flipped;
                    // Whatever comes of it, it is an answer.
                    let _ = decode(&subject, FIELD, &bytes);
                }
            }
        }
    }

    #[track_caller]
    fn check(subject: &Subject, field: Field, bytes: &[u8], record: Record) {
        let bytes = [TOKEN, bytes].concat();
        let encoded = encode(subject, a_token(), &record);
        assert_eq!(
            encoded.escape_ascii().to_string(),
            bytes.escape_ascii().to_string()
        );
        assert_eq!(decode(subject, field, &bytes).unwrap(), (a_token(), record));
    }

    pub(crate) const FIELD: Field = Field::Session(SessionId::from_u128(5));

    pub(crate) fn a_token() -> FencingToken {
        FencingToken {
            epoch: 2,
            owner: 10,
            order: 3,
        }
    }

    fn ann() -> Subject {
        Subject::User(UserId::new("ann").unwrap())
    }

    pub(crate) fn room() -> Subject {
        Subject::Topic(Topic::Channel(ChannelId::new("room:42").unwrap()))
    }

    fn session() -> SessionRecord {
        let meta = Meta::from_json(r#"{"name":"Ann","avatar":"u"}"#).unwrap();
        SessionRecord {
            device: DeviceId::new("web:abc").unwrap(),
            by_service: true,
            activity: Activity::Active,
            is_active: true,
            heard_at: Timestamp::from_millis(1_700_000_000_000),
            places: vec![
                Stay {
                    topic: Topic::Channel(ChannelId::new("room:42").unwrap()),
                    joined_at: Timestamp::from_millis(1_700_000_000_001),
                    meta: Arc::new(meta),
                },
                Stay {
                    topic: Topic::Workspace(WorkspaceId::new("acme").unwrap()),
                    joined_at: Timestamp::from_millis(1_700_000_000_000),
                    meta: Arc::new(Meta::default()),
                },
            ],
            alias: None,
        }
    }

    pub(crate) fn member() -> Member {
        Member {
            session: SessionId::from_u128(5),
            alias: SessionId::from_u128(5),
            epoch: 2,
            user: UserId::new("ann").unwrap(),
            device: DeviceKind::Mobile,
            joined_at: Timestamp::from_millis(1_700_000_000_000),
            meta: Arc::new(Meta::from_json(r#"{"name":"Ann"}"#).unwrap()),
            look: Arc::new(Look {
                status: Visible::Busy,
                message: Some("lunch".into()),
                emoji: None,
            }),
            look_revision: 7,
            profile: 0x102,
        }
    }
}
