//! The bytes of stored records and of messages. Only this module knows them; `docs/data.md` describes them.
//!
//! Each begins with a version byte. A release must read what the release before it and the one after it write: both run
//! during a rolling deployment, and an upgrade may be taken back.
//!
//! - **A new field** goes after the whole record, never into an existing struct: with a `take_from_bytes` of its own on
//!   the rest, if there is a rest; otherwise the field has its default. The version stays, because a reader ignores
//!   what follows the fields that it knows.
//! - **Any other change** is a new version: one release learns to read it, and the next one writes it.
//! - The entry of a session that cannot be understood counts as missing. The entry of a profile that cannot be
//!   understood makes its whole map [`Corrupt`](presence_core::ports::StoreError::Corrupt), because its user
//!   may be hiding. Both stay in the store. A message that cannot be understood counts as lost, and lost
//!   changes are found by comparing.

mod entry;
mod hook;
mod message;
mod report;

use std::collections::BTreeMap;

use fred::types::Value;
use presence_core::cluster::{Fence, FencingToken, Field, Record, Snapshot, Subject};
use presence_core::{MetaError, PayloadError, TopicVersion};

use crate::garbled::Garbled;
use crate::keys;

pub(crate) use self::entry::{decode, encode};
pub(crate) use self::hook::{
    decode_event, decode_last_notified, encode_event, encode_last_notified, number_of,
};
pub(crate) use self::message::{
    Message, decode_message, encode_ephemerals, patched_clock, reason_byte,
};

/// The size of the token before the record of an entry, in bytes.
pub(crate) const TOKEN_BYTES: usize = 24;
/// The size of the version of a map, in bytes.
const CLOCK_BYTES: usize = 12;

/// Why bytes are not a valid record.
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

/// The bytes of a token. Such byte strings have the same order as the tokens.
pub(crate) fn token_bytes(token: FencingToken) -> [u8; TOKEN_BYTES] {
    let mut bytes = [0; TOKEN_BYTES];
    for (bytes, number) in bytes
        .chunks_exact_mut(8)
        .zip([token.epoch, token.owner, token.order])
    {
        bytes.copy_from_slice(&number.to_be_bytes());
    }
    bytes
}

/// The token at the beginning of `bytes`, and the rest.
pub(crate) fn split_token(bytes: &[u8]) -> Result<(FencingToken, &[u8]), RecordError> {
    let mut rest = bytes;
    let token = FencingToken {
        epoch: take_u64(&mut rest)?,
        owner: take_u64(&mut rest)?,
        order: take_u64(&mut rest)?,
    };
    Ok((token, rest))
}

/// Decodes a fence: a token, and a revision of a profile.
pub(crate) fn fence(bytes: &[u8]) -> Result<Fence, RecordError> {
    let (token, mut rest) = split_token(bytes)?;
    let profile = take_u64(&mut rest)?;
    Ok(Fence { token, profile })
}

/// Whether a map at `version` is empty.
pub(crate) fn is_empty_at(version: u64) -> bool {
    version % 2 == 1
}

/// Decodes the version of a map.
pub(crate) fn clock(bytes: &[u8]) -> Result<TopicVersion, RecordError> {
    if bytes.len() != CLOCK_BYTES {
        return Err(RecordError::Malformed);
    }
    take_clock(&mut &bytes[..])
}

/// The part of a map that was read so far.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    clock: Option<TopicVersion>,
    entries: BTreeMap<Field, (FencingToken, Record)>,
}

impl Fields {
    /// Adds fields of the map of `subject` and their values, in turn. A field that comes again replaces the earlier
    /// one. The entry of a session that cannot be understood is skipped.
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

    /// Sets the version of the map.
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
                .map(|(field, (token, record))| (field, token, record))
                .collect(),
        }
    }
}

fn take_clock(rest: &mut &[u8]) -> Result<TopicVersion, RecordError> {
    Ok(TopicVersion {
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
    fn tokens_compare_as_their_bytes_do() {
        let numbers = [0, 1, 255, 256, u64::from(u32::MAX), u64::MAX];
        let tokens: Vec<FencingToken> = numbers
            .iter()
            .flat_map(|&epoch| numbers.iter().map(move |&order| (epoch, order)))
            .map(|(epoch, order)| FencingToken {
                epoch,
                owner: 7,
                order,
            })
            .collect();
        for &a in &tokens {
            assert_eq!(split_token(&token_bytes(a)).unwrap(), (a, &[][..]));
            for &b in &tokens {
                assert_eq!(a >= b, token_bytes(a) >= token_bytes(b), "{a:?} {b:?}");
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
