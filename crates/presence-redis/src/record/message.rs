//! The messages on a subject's channel: a patch, or ephemeral messages.
//!
//! Patches are put together by `write.lua`, so their layout is written by hand: `P`, a version byte, the epoch (4
//! bytes), the version before and the version after (8 bytes each), and then each change. A change is the length of the
//! field (1), the field, and either a zero, the length of the entry (4) and the entry, or the reason for its removal
//! (1). A reason from 16 on is that reason plus 16, and the fence follows: the token (24) and the revision of the
//! profile (8). An older release does not know these, and reads the map instead. Numbers are big-endian.
//!
//! Ephemeral messages are `M`, a version byte, and a postcard list of byte strings, one for each message, so that those
//! of a later release can be skipped: the number of the kind, and what postcard makes of its struct below.

use presence_core::cluster::{
    Change, Ephemeral, Fence, FencingToken, Field, Patch, Removed, Subject,
};
use presence_core::{
    Cursor, EVENT_BYTES_MAX, Outsider, Payload, Pointer, Reason, Selection, SessionId,
    TopicVersion, UserId,
};
use serde::{Deserialize, Serialize};

use super::{
    RecordError, TOKEN_BYTES, decode, fence, report, take, take_array, take_clock, take_u64,
};
use crate::garbled::Garbled;
use crate::keys;

const PATCH: u8 = b'P';
const EPHEMERALS: u8 = b'M';
/// The number that is added to a reason if a fence follows it.
const FENCED: u8 = 16;
/// The version byte after [`PATCH`] and [`EPHEMERALS`].
const VERSION: u8 = 1;

/// A message that was received.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    Patch(Patch),
    Ephemerals(Vec<Ephemeral>),
}

/// Decodes `bytes`, a message on the channel of `subject`.
///
/// Changes of sessions and ephemeral messages that cannot be understood are dropped; the others are returned.
pub(crate) fn decode_message(
    subject: &Subject,
    bytes: &[u8],
    garbled: &Garbled,
) -> Result<Message, RecordError> {
    let mut rest = bytes;
    let &[kind, version] = take_array(&mut rest)?;
    if version != VERSION {
        return Err(RecordError::UnknownVersion(version));
    }
    match kind {
        PATCH => decode_patch(subject, rest, garbled).map(Message::Patch),
        EPHEMERALS => decode_ephemerals(subject, rest, garbled).map(Message::Ephemerals),
        _ => Err(RecordError::Unknown("kind of message", kind)),
    }
}

/// The version that a patch makes, without decoding the rest of the patch.
pub(crate) fn patched_clock(bytes: &[u8]) -> Option<TopicVersion> {
    let mut rest = bytes;
    let head: &[u8; 2] = take_array(&mut rest).ok()?;
    if *head != [PATCH, VERSION] {
        return None;
    }
    let epoch = u64::from(u32::from_be_bytes(*take_array(&mut rest).ok()?));
    take_u64(&mut rest).ok()?;
    let version = take_u64(&mut rest).ok()?;
    Some(TopicVersion { epoch, version })
}

fn decode_patch(subject: &Subject, bytes: &[u8], garbled: &Garbled) -> Result<Patch, RecordError> {
    let mut rest = bytes;
    let TopicVersion {
        epoch,
        version: from,
    } = take_clock(&mut rest)?;
    let version = take_u64(&mut rest)?;
    let mut changes = Vec::new();
    while !rest.is_empty() {
        changes.push(take_change(subject, &mut rest, garbled)?);
    }
    Ok(Patch {
        from,
        clock: TopicVersion { epoch, version },
        changes,
    })
}

fn take_change(
    subject: &Subject,
    rest: &mut &[u8],
    garbled: &Garbled,
) -> Result<Change, RecordError> {
    let &[length] = take_array(rest)?;
    let field = take(rest, usize::from(length))?;
    let field = keys::field_of(field).ok_or(RecordError::Malformed)?;
    let &[reason] = take_array(rest)?;
    let entry = if reason == 0 {
        let length = u32::from_be_bytes(*take_array(rest)?);
        match decode(subject, field, take(rest, length as usize)?) {
            Ok(entry) => Ok(entry),
            Err(error) if field == Field::Profile => return Err(error),
            Err(error) => {
                // A reader of the map finds nothing of this session either.
                garbled.note(subject, &error);
                Err(removed_by_anybody(Reason::Left))
            }
        }
    } else if let Some(reason) = reason.checked_sub(FENCED) {
        let reason = reason_of(reason)?;
        let fence = fence(take(rest, TOKEN_BYTES + 8)?)?;
        Err(Removed { reason, fence })
    } else {
        // Of an older release: it removed whatever was there.
        Err(removed_by_anybody(reason_of(reason)?))
    };
    Ok(Change { field, entry })
}

/// A removal without a token: it applies to any entry.
fn removed_by_anybody(reason: Reason) -> Removed {
    let token = FencingToken {
        epoch: u64::MAX,
        owner: 0,
        order: 0,
    };
    let fence = Fence { token, profile: 0 };
    Removed { reason, fence }
}

/// The byte of `reason`, which is never 0.
pub(crate) fn reason_byte(reason: Reason) -> u8 {
    match reason {
        Reason::Left => 1,
        Reason::Lost => 2,
        Reason::TimedOut => 3,
        Reason::Replaced => 4,
        Reason::NodeLost => 5,
        Reason::Kicked => 6,
    }
}

pub(super) fn reason_of(byte: u8) -> Result<Reason, RecordError> {
    Ok(match byte {
        1 => Reason::Left,
        2 => Reason::Lost,
        3 => Reason::TimedOut,
        4 => Reason::Replaced,
        5 => Reason::NodeLost,
        6 => Reason::Kicked,
        _ => return Err(RecordError::Unknown("reason", byte)),
    })
}

#[derive(Serialize, Deserialize)]
struct TypedRecord {
    session: [u8; 16],
    typing: bool,
}

#[derive(Serialize, Deserialize)]
struct PointedRecord<'a> {
    session: [u8; 16],
    user: &'a str,
    pointer: Option<(f64, f64, bool)>,
    selection: Option<(u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct SaidRecord<'a> {
    session: [u8; 16],
    user: &'a str,
    event: &'a str,
    payload: &'a str,
}

const TYPED: u8 = 0;
const POINTED: u8 = 1;
const SAID: u8 = 2;
const KICKED: u8 = 3;
const NODE: u8 = 4;

/// The bytes of a message with `ephemerals`.
pub(crate) fn encode_ephemerals(ephemerals: &[Ephemeral]) -> Vec<u8> {
    let each: Vec<Vec<u8>> = ephemerals.iter().map(encode_ephemeral).collect();
    postcard::to_extend(&each, vec![EPHEMERALS, VERSION]).expect("byte strings can be encoded")
}

fn encode_ephemeral(ephemeral: &Ephemeral) -> Vec<u8> {
    let bytes = match ephemeral {
        Ephemeral::Typed { session, typing } => {
            let record = TypedRecord {
                session: number_of(*session),
                typing: *typing,
            };
            postcard::to_extend(&record, vec![TYPED])
        }
        Ephemeral::Pointed(cursor) => {
            let record = PointedRecord {
                session: number_of(cursor.session),
                user: cursor.user.as_str(),
                pointer: cursor.pointer.map(|it| (it.x, it.y, it.visible)),
                selection: cursor.selection.map(|it| (it.start, it.end)),
            };
            postcard::to_extend(&record, vec![POINTED])
        }
        Ephemeral::Said {
            session,
            user,
            event,
            payload,
        } => {
            let record = SaidRecord {
                session: number_of(*session),
                user: user.as_str(),
                event,
                payload: payload.json(),
            };
            postcard::to_extend(&record, vec![SAID])
        }
        Ephemeral::Announced {
            outsider,
            node,
            user,
            event,
            payload,
        } => {
            let record = SaidRecord {
                session: number_of(outsider.shown_as(*node)),
                user: user.as_str(),
                event,
                payload: payload.json(),
            };
            postcard::to_extend(&record, vec![SAID])
        }
        Ephemeral::Kicked => Ok(vec![KICKED]),
        Ephemeral::Node(message) => report::encode(message, vec![NODE]),
    };
    bytes.expect("numbers and texts can be encoded")
}

fn decode_ephemerals(
    subject: &Subject,
    bytes: &[u8],
    garbled: &Garbled,
) -> Result<Vec<Ephemeral>, RecordError> {
    let (each, _later_fields) = postcard::take_from_bytes::<Vec<&[u8]>>(bytes)?;
    let ephemerals = each.into_iter().filter_map(|bytes| {
        decode_ephemeral(bytes).unwrap_or_else(|error| {
            garbled.note(subject, &error);
            None
        })
    });
    Ok(ephemerals.collect())
}

/// Decodes one ephemeral message; `None` if it is of a kind that only a later release knows.
fn decode_ephemeral(bytes: &[u8]) -> Result<Option<Ephemeral>, RecordError> {
    let (&kind, rest) = bytes.split_first().ok_or(RecordError::Malformed)?;
    Ok(Some(match kind {
        TYPED => {
            let (record, _later_fields) = postcard::take_from_bytes::<TypedRecord>(rest)?;
            Ephemeral::Typed {
                session: session_of(record.session),
                typing: record.typing,
            }
        }
        POINTED => {
            let (record, _later_fields) = postcard::take_from_bytes::<PointedRecord>(rest)?;
            Ephemeral::Pointed(cursor(&record)?)
        }
        SAID => {
            let (record, _later_fields) = postcard::take_from_bytes::<SaidRecord>(rest)?;
            if record.event.len() > EVENT_BYTES_MAX {
                return Err(RecordError::TooLarge(record.event.len()));
            }
            let session = session_of(record.session);
            let (user, event) = (user(record.user)?, record.event.into());
            let payload = Payload::from_json(record.payload)?;
            match Outsider::of_shown(session) {
                Some((outsider, node)) => Ephemeral::Announced {
                    outsider,
                    node,
                    user,
                    event,
                    payload,
                },
                None => Ephemeral::Said {
                    session,
                    user,
                    event,
                    payload,
                },
            }
        }
        KICKED => Ephemeral::Kicked,
        NODE => return Ok(report::decode(rest)?.map(Ephemeral::Node)),
        _ => return Ok(None),
    }))
}

fn cursor(record: &PointedRecord<'_>) -> Result<Cursor, RecordError> {
    let pointer = record
        .pointer
        .map(|(x, y, visible)| Pointer { x, y, visible });
    if pointer.is_some_and(|it| !it.x.is_finite() || !it.y.is_finite()) {
        return Err(RecordError::Malformed);
    }
    if record.selection.is_some_and(|(start, end)| start > end) {
        return Err(RecordError::Malformed);
    }
    Ok(Cursor {
        session: session_of(record.session),
        // What it is called is in its entry of the map.
        alias: session_of(record.session),
        user: user(record.user)?,
        pointer,
        selection: record
            .selection
            .map(|(start, end)| Selection { start, end }),
    })
}

pub(super) fn number_of(session: SessionId) -> [u8; 16] {
    session.as_u128().to_be_bytes()
}

pub(super) fn session_of(number: [u8; 16]) -> SessionId {
    SessionId::from_u128(u128::from_be_bytes(number))
}

fn user(id: &str) -> Result<UserId, RecordError> {
    UserId::new(id).map_err(|_| RecordError::Malformed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use presence_core::cluster::Record;

    use super::*;
    use crate::record::entry::tests::{FIELD, a_token, member, room};
    use crate::record::{encode, token_bytes};

    #[test]
    fn the_bytes_of_a_patch_are_these_for_ever() {
        let record = Record::Member(Arc::new(member()));
        let entry = encode(&room(), a_token(), &record);
        let mut bytes = b"P\x01\0\0\0\x09\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\x02".to_vec();
        bytes.extend_from_slice(b"\x16AAAAAAAAAAAAAAAAAAAABQ\0\0\0\0");
        bytes.push(u8::try_from(entry.len()).unwrap());
        bytes.extend_from_slice(&entry);
        bytes.extend_from_slice(b"\x16AAAAAAAAAAAAAAAAAAAABg\x15");
        bytes.extend_from_slice(&token_bytes(a_token()));
        bytes.extend_from_slice(b"\0\0\0\0\0\0\0\x09");
        let clock = TopicVersion {
            epoch: 9,
            version: 0x102,
        };
        let patch = Patch {
            from: 0x100,
            clock,
            changes: vec![
                Change {
                    field: FIELD,
                    entry: Ok((a_token(), record)),
                },
                Change {
                    field: presence_core::cluster::Field::Session(SessionId::from_u128(6)),
                    entry: Err(Removed {
                        reason: Reason::NodeLost,
                        fence: Fence {
                            token: a_token(),
                            profile: 9,
                        },
                    }),
                },
            ],
        };
        assert_eq!(patched_clock(&bytes), Some(clock));
        assert_eq!(
            decode_message(&room(), &bytes, &Garbled::default()).unwrap(),
            Message::Patch(patch)
        );
        for length in 0..bytes.len() {
            // Cut off between two changes it cannot be told from a shorter one.
            let _ = decode_message(&room(), &bytes[..length], &Garbled::default());
        }
    }

    #[test]
    fn every_reason_has_a_byte_and_is_read_back() {
        for byte in 1..=6 {
            assert_eq!(reason_byte(reason_of(byte).unwrap()), byte);
        }
        assert_eq!(reason_byte(Reason::NodeLost), 5);
        assert!(reason_of(0).is_err() && reason_of(7).is_err());
    }

    #[test]
    fn the_bytes_of_ephemeral_messages_are_these_for_ever() {
        let session = SessionId::from_u128(5);
        let number = "\0".repeat(15) + "\x05";
        let typed = format!("\x12\0{number}\x01");
        let said = format!("\x1d\x02{number}\x03ann\x04wave\x0212");
        let ephemerals = [
            Ephemeral::Typed {
                session,
                typing: true,
            },
            Ephemeral::Announced {
                outsider: Outsider::new(5),
                node: 0,
                user: UserId::new("ann").unwrap(),
                event: "wave".into(),
                payload: Payload::from_json("12").unwrap(),
            },
            Ephemeral::Kicked,
        ];
        check(&format!("\x03{typed}{said}\x01\x03"), &ephemerals);
    }

    #[test]
    fn cursors_are_read_back() {
        let cursor = |pointer, selection| {
            Ephemeral::Pointed(Cursor {
                session: SessionId::from_u128(u128::MAX),
                alias: SessionId::from_u128(u128::MAX),
                user: UserId::new("ann").unwrap(),
                pointer,
                selection,
            })
        };
        let pointer = Pointer {
            x: -0.5,
            y: 1e300,
            visible: true,
        };
        let selection = Selection {
            start: 7,
            end: u64::MAX,
        };
        let ephemerals = vec![cursor(None, None), cursor(Some(pointer), Some(selection))];
        let bytes = encode_ephemerals(&ephemerals);
        assert_eq!(
            decode_message(&room(), &bytes, &Garbled::default()).unwrap(),
            Message::Ephemerals(ephemerals)
        );
    }

    #[test]
    fn a_kind_of_ephemeral_message_that_a_later_release_has_added_is_passed_over() {
        let bytes = b"M\x01\x02\x05\x09what\x01\x03";
        assert_eq!(
            decode_message(&room(), bytes, &Garbled::default()).unwrap(),
            Message::Ephemerals(vec![Ephemeral::Kicked])
        );
    }

    #[test]
    fn a_message_of_a_later_version_or_of_somebody_else_is_refused() {
        for bytes in [&b""[..], b"P", b"P\x02", b"X\x01", b"hello", b"M\x01\x09"] {
            assert!(decode_message(&room(), bytes, &Garbled::default()).is_err());
            assert_eq!(patched_clock(bytes), None);
        }
    }

    #[track_caller]
    fn check(behind_the_head: &str, ephemerals: &[Ephemeral]) {
        let bytes = [b"M\x01", behind_the_head.as_bytes()].concat();
        assert_eq!(
            encode_ephemerals(ephemerals).escape_ascii().to_string(),
            bytes.escape_ascii().to_string()
        );
        assert_eq!(
            decode_message(&room(), &bytes, &Garbled::default()).unwrap(),
            Message::Ephemerals(ephemerals.to_vec())
        );
    }
}
