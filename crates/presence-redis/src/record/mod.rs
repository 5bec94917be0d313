//! The bytes that are stored and told. No other file knows them; `docs/data.md` shows them to people.
//!
//! Each begins with a version byte, and a release must read what the release before it and the one after it write, since
//! both are there during a rolling deploy and people go back:
//!
//! - **A new field** goes after the whole record, never into a struct that is there: a `take_from_bytes` of its own on
//!   what is left, if anything is left; nothing left means its default. The version stays, because a reader ignores what it
//!   finds after the fields it knows.
//! - **Anything else** is a new version: one release learns to read it, the next one writes it.
//! - An entry of a session that is not understood counts as not being there. The entry of a profile that is not understood
//!   makes its whole map [`Corrupt`](presence_core::ports::StoreError::Corrupt): its user may be hiding. Both are left alone.
//!   A message that is not understood is as good as lost, and what is lost is found by comparing.

mod entry;
mod hook;
mod message;

use std::collections::BTreeMap;

use fred::types::Value;
use presence_core::cluster::{Fence, Field, Record, Snapshot, Stamp, Subject};
use presence_core::{Clock, MetaError, PayloadError};

use crate::garbled::Garbled;
use crate::keys;

pub(crate) use self::entry::{decode, encode};
pub(crate) use self::hook::{decode_event, decode_told, encode_event, encode_told, number_of};
pub(crate) use self::message::{
    Message, decode_message, encode_murmurs, patched_clock, reason_byte,
};

/// How many bytes the stamp before an entry's record has.
pub(crate) const STAMP_BYTES: usize = 24;
/// How many bytes the clock of a map has.
const CLOCK_BYTES: usize = 12;

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("the record is cut off or garbled")]
    Garbled(#[from] postcard::Error),
    #[error("the record is cut off or out of place")]
    Malformed,
    #[error("the record has version {0}, of a later release: run that one")]
    UnknownVersion(u8),
    #[error("the record has an unknown {0} {1}")]
    Unknown(&'static str, u8),
    #[error("the meta {0}")]
    Meta(#[from] MetaError),
    #[error("the payload {0}")]
    Payload(#[from] PayloadError),
    #[error("the record has {0} bytes, which is too much")]
    TooLarge(usize),
}

/// A stamp, so that byte strings compare as stamps do.
pub(crate) fn stamp(stamp: Stamp) -> [u8; STAMP_BYTES] {
    let mut bytes = [0; STAMP_BYTES];
    for (bytes, number) in bytes
        .chunks_exact_mut(8)
        .zip([stamp.epoch, stamp.owner, stamp.order])
    {
        bytes.copy_from_slice(&number.to_be_bytes());
    }
    bytes
}

/// The stamp at the beginning of `bytes`, and what is behind it.
pub(crate) fn split_stamp(bytes: &[u8]) -> Result<(Stamp, &[u8]), RecordError> {
    let mut rest = bytes;
    let stamp = Stamp {
        epoch: take_u64(&mut rest)?,
        owner: take_u64(&mut rest)?,
        order: take_u64(&mut rest)?,
    };
    Ok((stamp, rest))
}

/// A fence: a stamp, and a revision of a profile.
pub(crate) fn fence(bytes: &[u8]) -> Result<Fence, RecordError> {
    let (stamp, mut rest) = split_stamp(bytes)?;
    let profile = take_u64(&mut rest)?;
    Ok(Fence { stamp, profile })
}

/// Whether `version` is one at which a map is empty.
pub(crate) fn is_empty_at(version: u64) -> bool {
    version % 2 == 1
}

/// The clock of a map.
pub(crate) fn clock(bytes: &[u8]) -> Result<Clock, RecordError> {
    if bytes.len() != CLOCK_BYTES {
        return Err(RecordError::Malformed);
    }
    take_clock(&mut &bytes[..])
}

/// What was read of a map so far.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    clock: Option<Clock>,
    entries: BTreeMap<Field, (Stamp, Record)>,
}

impl Fields {
    /// Adds `fields` of the map of `subject`, and their values by turns. One may come again: then that is the newer one.
    /// The entry of a session that is not understood is passed over.
    pub(crate) fn add(
        &mut self,
        subject: &Subject,
        fields: &[Value],
        garbled: &Garbled,
    ) -> Result<(), RecordError> {
        for pair in fields.chunks_exact(2) {
            let (Some(name), Some(bytes)) = (pair[0].as_bytes(), pair[1].as_bytes()) else {
                return Err(RecordError::Malformed);
            };
            if name == keys::CLOCK.as_bytes() {
                self.set_clock(bytes)?;
            } else if let Some(field) = keys::field_of(name) {
                match decode(subject, field, bytes) {
                    Ok(entry) => drop(self.entries.insert(field, entry)),
                    Err(error) => {
                        garbled.note(subject, &error);
                        if field == Field::Profile {
                            return Err(error);
                        }
                        self.entries.remove(&field);
                    }
                }
            }
        }
        Ok(())
    }

    /// Which version it is.
    pub(crate) fn set_clock(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
        self.clock = Some(clock(bytes)?);
        Ok(())
    }
}

impl From<Fields> for Snapshot {
    fn from(fields: Fields) -> Self {
        let entries = fields.entries.into_iter();
        Snapshot {
            clock: fields.clock,
            entries: entries
                .map(|(field, (stamp, record))| (field, stamp, record))
                .collect(),
        }
    }
}

fn take_clock(rest: &mut &[u8]) -> Result<Clock, RecordError> {
    Ok(Clock {
        epoch: u64::from(u32::from_be_bytes(*take_array(rest)?)),
        version: take_u64(rest)?,
    })
}

fn take_u64(rest: &mut &[u8]) -> Result<u64, RecordError> {
    Ok(u64::from_be_bytes(*take_array(rest)?))
}

fn take_array<'a, const N: usize>(rest: &mut &'a [u8]) -> Result<&'a [u8; N], RecordError> {
    let (array, behind) = rest.split_first_chunk().ok_or(RecordError::Malformed)?;
    *rest = behind;
    Ok(array)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], RecordError> {
    let (bytes, behind) = rest
        .split_at_checked(length)
        .ok_or(RecordError::Malformed)?;
    *rest = behind;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_compare_as_their_bytes_do() {
        let numbers = [0, 1, 255, 256, u64::from(u32::MAX), u64::MAX];
        let stamps: Vec<Stamp> = numbers
            .iter()
            .flat_map(|&epoch| numbers.iter().map(move |&order| (epoch, order)))
            .map(|(epoch, order)| Stamp {
                epoch,
                owner: 7,
                order,
            })
            .collect();
        for &a in &stamps {
            assert_eq!(split_stamp(&stamp(a)).unwrap(), (a, &[][..]));
            for &b in &stamps {
                assert_eq!(a >= b, stamp(a) >= stamp(b), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_clock_is_these_bytes_for_ever() {
        let bytes = b"\x01\x02\x03\x04\x00\x06\x44\x36\x5e\x4d\xa8\x00";
        let clock = clock(bytes).unwrap();
        assert_eq!(
            (clock.epoch, clock.version),
            (0x0102_0304, 0x0006_4436_5e4d_a800)
        );
    }
}
