//! What an endpoint of webhooks was told, and the events that wait for delivery. Each is a number of 8 bytes, a version
//! byte, and what postcard makes of the structs below.

use std::collections::BTreeSet;

use presence_core::hooks::{HookEvent, LastNotified};
use presence_core::ports::Known;
use presence_core::{ChannelId, Look, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::entry::{VISIBLE, at, id, number_in};
use super::{RecordError, take_u64};

/// The version byte that [`encode_last_notified`] and [`encode_event`] write.
const VERSION: u8 = 1;

/// The bytes of what the endpoint knows of a subject, without the revision, which the script puts before them.
pub(crate) fn encode_last_notified(last: &LastNotified) -> Vec<u8> {
    encode(&match last {
        LastNotified::Here(look) => LastNotifiedRecord::Here(LookRecord::of(look)),
        LastNotified::Occupied(users) => {
            LastNotifiedRecord::Occupied(users.iter().map(UserId::as_str).collect())
        }
    })
}

/// Reads what the endpoint knows of a subject.
pub(crate) fn decode_last_notified(bytes: &[u8]) -> Result<Known, RecordError> {
    let (revision, record) = decode(bytes)?;
    let last = match record {
        LastNotifiedRecord::Here(look) => LastNotified::Here(look.look()?),
        LastNotifiedRecord::Occupied(users) => {
            let users = users.into_iter().map(|user| id(UserId::new(user)));
            LastNotified::Occupied(users.collect::<Result<BTreeSet<_>, _>>()?)
        }
    };
    Ok(Known {
        last_notified: Some(last),
        revision,
    })
}

/// The bytes of an event, without the number, which the script puts before them.
pub(crate) fn encode_event(event: &HookEvent) -> Vec<u8> {
    encode(&match event {
        HookEvent::UserOnline { user, look } => {
            EventRecord::UserOnline(user.as_str(), LookRecord::of(look))
        }
        HookEvent::UserChanged { user, look } => {
            EventRecord::UserChanged(user.as_str(), LookRecord::of(look))
        }
        HookEvent::UserOffline { user, last_seen } => {
            EventRecord::UserOffline(user.as_str(), last_seen.map(Timestamp::as_millis))
        }
        HookEvent::ChannelOccupied { channel } => EventRecord::ChannelOccupied(channel.as_str()),
        HookEvent::ChannelJoined { channel, user } => {
            EventRecord::ChannelJoined(channel.as_str(), user.as_str())
        }
        HookEvent::ChannelLeft { channel, user } => {
            EventRecord::ChannelLeft(channel.as_str(), user.as_str())
        }
        HookEvent::ChannelVacated { channel } => EventRecord::ChannelVacated(channel.as_str()),
    })
}

/// Reads a waiting event and its number.
pub(crate) fn decode_event(bytes: &[u8]) -> Result<(u64, HookEvent), RecordError> {
    let (number, record) = decode(bytes)?;
    let user = |text: &str| id(UserId::new(text));
    let channel = |text: &str| id(ChannelId::new(text));
    let event = match record {
        EventRecord::UserOnline(who, look) => HookEvent::UserOnline {
            user: user(who)?,
            look: look.look()?,
        },
        EventRecord::UserChanged(who, look) => HookEvent::UserChanged {
            user: user(who)?,
            look: look.look()?,
        },
        EventRecord::UserOffline(who, last_seen_ms) => HookEvent::UserOffline {
            user: user(who)?,
            last_seen: last_seen_ms.map(Timestamp::from_millis),
        },
        EventRecord::ChannelOccupied(it) => HookEvent::ChannelOccupied {
            channel: channel(it)?,
        },
        EventRecord::ChannelJoined(it, who) => HookEvent::ChannelJoined {
            channel: channel(it)?,
            user: user(who)?,
        },
        EventRecord::ChannelLeft(it, who) => HookEvent::ChannelLeft {
            channel: channel(it)?,
            user: user(who)?,
        },
        EventRecord::ChannelVacated(it) => HookEvent::ChannelVacated {
            channel: channel(it)?,
        },
    };
    Ok((number, event))
}

/// The number at the beginning of stored bytes. It may be all that can be understood of them.
pub(crate) fn number_of(bytes: &[u8]) -> Option<u64> {
    take_u64(&mut &*bytes).ok()
}

fn encode(record: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(record, vec![VERSION]).expect("numbers and texts can be encoded")
}

fn decode<'a, R: Deserialize<'a>>(bytes: &'a [u8]) -> Result<(u64, R), RecordError> {
    let mut rest = bytes;
    let number = take_u64(&mut rest)?;
    let (&version, rest) = rest.split_first().ok_or(RecordError::Malformed)?;
    if version != VERSION {
        return Err(RecordError::UnknownVersion(version));
    }
    let (record, _later_fields) = postcard::take_from_bytes::<R>(rest)?;
    Ok((number, record))
}

#[derive(Serialize, Deserialize)]
enum LastNotifiedRecord<'a> {
    #[serde(borrow)]
    Here(LookRecord<'a>),
    Occupied(Vec<&'a str>),
}

#[derive(Serialize, Deserialize)]
struct LookRecord<'a> {
    status: u8,
    message: Option<&'a str>,
    emoji: Option<&'a str>,
}

#[derive(Serialize, Deserialize)]
enum EventRecord<'a> {
    UserOnline(&'a str, #[serde(borrow)] LookRecord<'a>),
    UserChanged(&'a str, #[serde(borrow)] LookRecord<'a>),
    /// The user, and when others last saw them, in milliseconds since 1970.
    UserOffline(&'a str, Option<u64>),
    ChannelOccupied(&'a str),
    /// The channel, and the user who joined it.
    ChannelJoined(&'a str, &'a str),
    ChannelLeft(&'a str, &'a str),
    ChannelVacated(&'a str),
}

impl<'a> LookRecord<'a> {
    fn of(look: &'a Look) -> Self {
        LookRecord {
            status: number_in(&VISIBLE, look.status),
            message: look.message.as_deref(),
            emoji: look.emoji.as_deref(),
        }
    }

    fn look(&self) -> Result<Look, RecordError> {
        Ok(Look {
            status: at(&VISIBLE, self.status, "visible status")?,
            message: self.message.map(Into::into),
            emoji: self.emoji.map(Into::into),
        })
    }
}

#[cfg(test)]
mod tests {
    use presence_core::Visible;

    use super::*;

    fn looks() -> Look {
        Look {
            status: Visible::Busy,
            message: Some("Hi".into()),
            emoji: None,
        }
    }

    fn ann() -> UserId {
        UserId::new("ann").unwrap()
    }

    fn room() -> ChannelId {
        ChannelId::new("r").unwrap()
    }

    fn numbered(number: u64, mut record: Vec<u8>) -> Vec<u8> {
        let mut bytes = number.to_be_bytes().to_vec();
        bytes.append(&mut record);
        bytes
    }

    #[test]
    fn what_was_told_is_these_bytes_for_ever() {
        let here = LastNotified::Here(looks());
        let occupied = LastNotified::Occupied([ann()].into());
        for (last, golden) in [
            (here, &b"\x01\x00\x02\x01\x02Hi\x00"[..]),
            (occupied, &b"\x01\x01\x01\x03ann"[..]),
        ] {
            let bytes = encode_last_notified(&last);
            assert_eq!(bytes, golden, "{last:?}");
            let known = decode_last_notified(&numbered(7, bytes)).unwrap();
            assert_eq!((known.last_notified, known.revision), (Some(last), 7));
        }
    }

    #[test]
    fn events_are_these_bytes_for_ever() {
        let (user, channel, look) = (ann(), room(), looks());
        let seen = Some(Timestamp::from_millis(300));
        let golden: [(HookEvent, &[u8]); 7] = [
            (
                HookEvent::UserOnline {
                    user: user.clone(),
                    look: look.clone(),
                },
                b"\x01\x00\x03ann\x02\x01\x02Hi\x00",
            ),
            (
                HookEvent::UserChanged {
                    user: user.clone(),
                    look,
                },
                b"\x01\x01\x03ann\x02\x01\x02Hi\x00",
            ),
            (
                HookEvent::UserOffline {
                    user: user.clone(),
                    last_seen: seen,
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
            let bytes = encode_event(&event);
            assert_eq!(bytes, golden, "{event:?}");
            assert_eq!(decode_event(&numbered(9, bytes)).unwrap(), (9, event));
        }
    }

    #[test]
    fn what_is_cut_off_or_of_a_later_release_is_refused() {
        let event = encode_event(&HookEvent::ChannelVacated { channel: room() });
        let bytes = numbered(9, event);
        for length in 0..bytes.len() {
            assert!(decode_event(&bytes[..length]).is_err(), "{length} bytes");
            assert!(
                decode_last_notified(&bytes[..length]).is_err(),
                "{length} bytes"
            );
        }
        let mut later = bytes;
        later[8] = 2;
        assert!(matches!(
            decode_event(&later),
            Err(RecordError::UnknownVersion(2))
        ));
        assert!(matches!(
            decode_last_notified(&later),
            Err(RecordError::UnknownVersion(2))
        ));
    }
}
