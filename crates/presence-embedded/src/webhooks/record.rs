//! The records of the webhook state: a version byte, and what postcard makes of the structs below. No other file knows them.

use std::collections::BTreeSet;

use presence_core::cluster::Subject;
use presence_core::hooks::{HookEvent, LastNotified};
use presence_core::{ChannelId, Look, Timestamp, Topic, UserId, Visible};
use serde::{Deserialize, Serialize};

/// The version byte of every record.
const VERSION: u8 = 1;

const STATUSES: [Visible; 4] = [
    Visible::Online,
    Visible::Away,
    Visible::Busy,
    Visible::Offline,
];

/// The name of a subject that an event can be about.
pub(super) fn name_of(subject: &Subject) -> Option<String> {
    match subject {
        Subject::User(user) => Some(format!("user:{user}")),
        Subject::Topic(Topic::Channel(channel)) => Some(format!("channel:{channel}")),
        Subject::Topic(Topic::Workspace(_)) | Subject::Node(_) => None,
    }
}

/// The subject with this name.
pub(super) fn subject_of(name: &str) -> Option<Subject> {
    let (kind, id) = name.split_once(':')?;
    match kind {
        "user" => Some(Subject::User(UserId::new(id).ok()?)),
        "channel" => {
            let channel = ChannelId::new(id).ok()?;
            Some(Subject::Topic(Topic::Channel(channel)))
        }
        _ => None,
    }
}

pub(super) fn encode_told(revision: u64, told: &LastNotified) -> Vec<u8> {
    let told = match told {
        LastNotified::Here(look) => ToldRecord::Here(LookRecord::of(look)),
        LastNotified::Occupied(users) => {
            ToldRecord::Occupied(users.iter().map(UserId::as_str).collect())
        }
    };
    encode(&(revision, told))
}

/// The revision and what the endpoint knows; `None` if the record cannot be understood.
pub(super) fn decode_told(bytes: &[u8]) -> Option<(u64, LastNotified)> {
    let (revision, record) = decode::<(u64, ToldRecord<'_>)>(bytes)?;
    let told = match record {
        ToldRecord::Here(look) => LastNotified::Here(look.look()?),
        ToldRecord::Occupied(users) => {
            let users = users.into_iter().map(|it| UserId::new(it).ok());
            LastNotified::Occupied(users.collect::<Option<BTreeSet<_>>>()?)
        }
    };
    Some((revision, told))
}

pub(super) fn encode_event(event: &HookEvent) -> Vec<u8> {
    let look = LookRecord::of;
    encode(&match event {
        HookEvent::UserOnline { user, look: it } => EventRecord::Online(user.as_str(), look(it)),
        HookEvent::UserChanged { user, look: it } => EventRecord::Changed(user.as_str(), look(it)),
        HookEvent::UserOffline { user, last_seen } => {
            EventRecord::Offline(user.as_str(), last_seen.map(Timestamp::as_millis))
        }
        HookEvent::ChannelOccupied { channel } => EventRecord::Occupied(channel.as_str()),
        HookEvent::ChannelJoined { channel, user } => {
            EventRecord::Joined(channel.as_str(), user.as_str())
        }
        HookEvent::ChannelLeft { channel, user } => {
            EventRecord::Left(channel.as_str(), user.as_str())
        }
        HookEvent::ChannelVacated { channel } => EventRecord::Vacated(channel.as_str()),
    })
}

/// The event; `None` if the record cannot be understood.
pub(super) fn decode_event(bytes: &[u8]) -> Option<HookEvent> {
    let user = |it: &str| UserId::new(it).ok();
    let channel = |it: &str| ChannelId::new(it).ok();
    Some(match decode(bytes)? {
        EventRecord::Online(who, look) => HookEvent::UserOnline {
            user: user(who)?,
            look: look.look()?,
        },
        EventRecord::Changed(who, look) => HookEvent::UserChanged {
            user: user(who)?,
            look: look.look()?,
        },
        EventRecord::Offline(who, last_seen_ms) => HookEvent::UserOffline {
            user: user(who)?,
            last_seen: last_seen_ms.map(Timestamp::from_millis),
        },
        EventRecord::Occupied(it) => HookEvent::ChannelOccupied {
            channel: channel(it)?,
        },
        EventRecord::Joined(it, who) => HookEvent::ChannelJoined {
            channel: channel(it)?,
            user: user(who)?,
        },
        EventRecord::Left(it, who) => HookEvent::ChannelLeft {
            channel: channel(it)?,
            user: user(who)?,
        },
        EventRecord::Vacated(it) => HookEvent::ChannelVacated {
            channel: channel(it)?,
        },
    })
}

fn encode(record: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(record, vec![VERSION]).expect("numbers and texts can be encoded")
}

fn decode<'a, R: Deserialize<'a>>(bytes: &'a [u8]) -> Option<R> {
    let (&version, rest) = bytes.split_first()?;
    if version != VERSION {
        return None;
    }
    postcard::from_bytes(rest).ok()
}

#[derive(Serialize, Deserialize)]
enum ToldRecord<'a> {
    #[serde(borrow)]
    Here(LookRecord<'a>),
    Occupied(Vec<&'a str>),
}

#[derive(Serialize, Deserialize)]
enum EventRecord<'a> {
    Online(&'a str, #[serde(borrow)] LookRecord<'a>),
    Changed(&'a str, LookRecord<'a>),
    /// The user, and when others last saw them, in milliseconds since 1970.
    Offline(&'a str, Option<u64>),
    Occupied(&'a str),
    /// The channel, and the user who joined it.
    Joined(&'a str, &'a str),
    Left(&'a str, &'a str),
    Vacated(&'a str),
}

#[derive(Serialize, Deserialize)]
struct LookRecord<'a> {
    status: u8,
    message: Option<&'a str>,
    emoji: Option<&'a str>,
}

impl<'a> LookRecord<'a> {
    fn of(look: &'a Look) -> Self {
        let status = STATUSES.iter().position(|it| *it == look.status);
        LookRecord {
            status: u8::try_from(status.unwrap_or_default()).unwrap_or_default(),
            message: look.message.as_deref(),
            emoji: look.emoji.as_deref(),
        }
    }

    fn look(&self) -> Option<Look> {
        Some(Look {
            status: *STATUSES.get(usize::from(self.status))?,
            message: self.message.map(Into::into),
            emoji: self.emoji.map(Into::into),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ann() -> UserId {
        UserId::new("ann").unwrap()
    }

    fn room() -> ChannelId {
        ChannelId::new("r").unwrap()
    }

    fn look() -> Look {
        Look {
            status: Visible::Busy,
            message: Some("Hi".into()),
            emoji: None,
        }
    }

    #[test]
    fn what_was_told_is_these_bytes_for_ever() {
        let here = LastNotified::Here(look());
        let occupied = LastNotified::Occupied([ann()].into());
        for (told, golden) in [
            (here, &b"\x01\x07\x00\x02\x01\x02Hi\x00"[..]),
            (occupied, &b"\x01\x07\x01\x01\x03ann"[..]),
        ] {
            assert_eq!(encode_told(7, &told), golden, "{told:?}");
            assert_eq!(decode_told(golden), Some((7, told)));
        }
    }

    #[test]
    fn events_are_these_bytes_for_ever() {
        let (user, channel) = (ann(), room());
        let golden: [(HookEvent, &[u8]); 7] = [
            (
                HookEvent::UserOnline {
                    user: user.clone(),
                    look: look(),
                },
                b"\x01\x00\x03ann\x02\x01\x02Hi\x00",
            ),
            (
                HookEvent::UserChanged {
                    user: user.clone(),
                    look: look(),
                },
                b"\x01\x01\x03ann\x02\x01\x02Hi\x00",
            ),
            (
                HookEvent::UserOffline {
                    user: user.clone(),
                    last_seen: Some(Timestamp::from_millis(300)),
                },
                b"\x01\x02\x03ann\x01\xac\x02",
            ),
            (
                HookEvent::ChannelOccupied {
                    channel: channel.clone(),
                },
                b"\x01\x03\x01r",
            ),
            (
                HookEvent::ChannelJoined {
                    channel: channel.clone(),
                    user: user.clone(),
                },
                b"\x01\x04\x01r\x03ann",
            ),
            (
                HookEvent::ChannelLeft {
                    channel: channel.clone(),
                    user,
                },
                b"\x01\x05\x01r\x03ann",
            ),
            (HookEvent::ChannelVacated { channel }, b"\x01\x06\x01r"),
        ];
        for (event, golden) in golden {
            assert_eq!(encode_event(&event), golden, "{event:?}");
            assert_eq!(decode_event(golden), Some(event));
        }
    }

    #[test]
    fn names_lead_back_to_their_subjects() {
        for subject in [
            Subject::User(ann()),
            Subject::Topic(Topic::Channel(ChannelId::new("a:b/c").unwrap())),
        ] {
            let name = name_of(&subject).unwrap();
            assert_eq!(subject_of(&name), Some(subject));
        }
        assert_eq!(name_of(&Subject::Node(7)), None);
        assert_eq!(subject_of("planet:earth"), None);
    }

    #[test]
    fn what_is_cut_off_or_of_a_later_release_is_not_understood() {
        let event = encode_event(&HookEvent::ChannelVacated { channel: room() });
        for length in 0..event.len() {
            assert_eq!(decode_event(&event[..length]), None, "{length} bytes");
        }
        let later = [&[2], &event[1..]].concat();
        assert_eq!(decode_event(&later), None);
        assert_eq!(decode_told(&[2, 7, 0, 2, 0, 0]), None);
    }
}
