//! The stored bytes of a profile. No other file knows their format.
//!
//! A record is a version byte, followed by the postcard encoding of each of the structs below. The user is the key, and
//! is not in the record.
//!
//! A release must read what the previous release wrote. It must also read what the next release wrote,
//! because people downgrade:
//!
//! - **A new field** goes after the whole record, never into a struct that is there: a `take_from_bytes` of its own
//!   on what is left, if anything is left; nothing left means its default. The version stays 1, because a reader
//!   ignores what it finds after the fields it knows. A release that does not know the field drops it when it saves
//!   the user again, so a field that must not be lost needs a new version.
//! - **Anything else** (another `chosen`, another meaning) is a new version: one release learns to read it, the next
//!   one writes it.
//! - A reader refuses a version that it does not know, and leaves the record alone. A record that could not be read
//!   is never overwritten.

use std::sync::Arc;

use presence_core::{Chosen, Moments, Profile, Status, StatusSource, Timestamp, UserId};
use serde::{Deserialize, Serialize};

/// The version byte that [`encode`] writes.
const VERSION: u8 = 1;

/// Why bytes are not a record of a profile.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("the record is empty")]
    Empty,
    #[error("the record has version {0}, of a later release: run that one")]
    UnknownVersion(u8),
    #[error("the record has an unknown status {0}")]
    UnknownChosen(u8),
    #[error("the record is cut off or garbled")]
    Garbled(#[from] postcard::Error),
}

#[derive(Serialize, Deserialize)]
struct ProfileRecord<'a> {
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

/// When the record was written. The first release did not write it.
#[derive(Serialize, Deserialize)]
struct SavedRecord {
    saved_at_ms: u64,
}

/// The bytes to store for `profile`, which is saved at `saved_at`.
pub(crate) fn encode(profile: &Profile, saved_at: Timestamp) -> Vec<u8> {
    let record = ProfileRecord {
        status: StatusRecord::of(&profile.status),
        public_status: profile.stored_public_status().map(StatusRecord::of),
        last_seen_ms: profile.last_seen.map(Timestamp::as_millis),
    };
    let saved = SavedRecord {
        saved_at_ms: saved_at.as_millis(),
    };
    let bytes = postcard::to_extend(&record, vec![VERSION]);
    bytes
        .and_then(|bytes| postcard::to_extend(&saved, bytes))
        .expect("numbers and texts can be encoded")
}

/// The profile of `user` in `bytes`, and when it was saved if the record says so.
pub(crate) fn decode(
    user: &UserId,
    bytes: &[u8],
) -> Result<(Profile, Option<Timestamp>), RecordError> {
    let (&version, rest) = bytes.split_first().ok_or(RecordError::Empty)?;
    if version != VERSION {
        return Err(RecordError::UnknownVersion(version));
    }
    let (record, rest) = postcard::take_from_bytes::<ProfileRecord>(rest)?;
    let public_status = record.public_status.map(|it| it.status()).transpose()?;
    let (source, public_status) = StatusSource::of_stored(public_status);
    let profile = Profile {
        user: user.clone(),
        status: record.status.status()?,
        source,
        public_status,
        last_seen: record.last_seen_ms.map(Timestamp::from_millis),
        moments: Moments::default(),
    };
    if rest.is_empty() {
        return Ok((profile, None));
    }
    let (saved, _later_fields) = postcard::take_from_bytes::<SavedRecord>(rest)?;
    Ok((profile, Some(Timestamp::from_millis(saved.saved_at_ms))))
}

impl<'a> StatusRecord<'a> {
    fn of(status: &'a Status) -> Self {
        StatusRecord {
            chosen: number_of(status.chosen),
            message: status.message.as_deref(),
            emoji: status.emoji.as_deref(),
            expires_at_ms: status.expires_at.map(Timestamp::as_millis),
            revision: status.revision,
        }
    }

    fn status(&self) -> Result<Status, RecordError> {
        Ok(Status {
            chosen: chosen_of(self.chosen).ok_or(RecordError::UnknownChosen(self.chosen))?,
            message: self.message.map(Arc::from),
            emoji: self.emoji.map(Arc::from),
            expires_at: self.expires_at_ms.map(Timestamp::from_millis),
            revision: self.revision,
        })
    }
}

fn number_of(chosen: Chosen) -> u8 {
    match chosen {
        Chosen::Online => 0,
        Chosen::Away => 1,
        Chosen::Busy => 2,
        Chosen::Invisible => 3,
        Chosen::Offline => 4,
    }
}

fn chosen_of(number: u8) -> Option<Chosen> {
    match number {
        0 => Some(Chosen::Online),
        1 => Some(Chosen::Away),
        2 => Some(Chosen::Busy),
        3 => Some(Chosen::Invisible),
        4 => Some(Chosen::Offline),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A profile with everything in it.
    const FULL: &[u8] = b"\x01\
        \x03\x01\x05caf\xc3\xa9\x01\x04\xf0\x9f\x8e\xaf\x01\x80\x01\x07\
        \x01\x02\x00\x01\x08:coffee:\x00\x06\
        \x01\x80\xd0\x95\xff\xbc\x31\
        \x81\x02";

    /// The same as the first release wrote it.
    const FIRST: &[u8] = FULL.split_at(FULL.len() - 2).0;

    /// A profile with nothing in it.
    const PLAIN: &[u8] = b"\x01\x00\x00\x00\x00\x00\x00\x00\x81\x02";

    /// When both profiles were saved.
    const SAVED_AT: Timestamp = Timestamp::from_millis(257);

    #[test]
    fn the_bytes_of_version_1_are_these_for_ever() {
        check(PLAIN, &Profile::new(ann()));
        check(
            FULL,
            &Profile {
                user: ann(),
                status: Status {
                    chosen: Chosen::Invisible,
                    message: Some("café".into()),
                    emoji: Some("🎯".into()),
                    expires_at: Some(Timestamp::from_millis(128)),
                    revision: 7,
                },
                source: StatusSource::Known,
                public_status: Some(Status {
                    chosen: Chosen::Busy,
                    message: None,
                    emoji: Some(":coffee:".into()),
                    expires_at: None,
                    revision: 6,
                }),
                last_seen: Some(Timestamp::from_millis(1_700_000_000_000)),
                moments: presence_core::Moments::default(),
            },
        );
    }

    #[test]
    fn the_numbers_of_what_people_choose_are_these_for_ever() {
        for (number, chosen) in [
            (0, Chosen::Online),
            (1, Chosen::Away),
            (2, Chosen::Busy),
            (3, Chosen::Invisible),
            (4, Chosen::Offline),
        ] {
            let mut profile = Profile::new(ann());
            profile.status.chosen = chosen;
            check(&[1, number, 0, 0, 0, 0, 0, 0, 0x81, 2], &profile);
        }
    }

    #[test]
    fn the_greatest_numbers_and_the_longest_texts_survive() {
        let mut profile = Profile::new(ann());
        profile.status.revision = u64::MAX;
        profile.status.expires_at = Some(Timestamp::from_millis(u64::MAX));
        profile.status.message = Some("🎯".repeat(presence_core::MESSAGE_CHARS_MAX).into());
        let saved_at = Timestamp::from_millis(u64::MAX);
        let decoded = decode(&ann(), &encode(&profile, saved_at)).unwrap();
        assert_eq!(decoded, (profile, Some(saved_at)));
    }

    #[test]
    fn what_the_first_release_wrote_says_everything_but_when() {
        let (profile, _) = decode(&ann(), FULL).unwrap();
        assert_eq!(decode(&ann(), FIRST).unwrap(), (profile, None));
    }

    #[test]
    fn fields_that_a_later_release_has_added_at_the_end_are_ignored() {
        let later = [FULL, b"something else"].concat();
        assert_eq!(
            decode(&ann(), &later).unwrap(),
            decode(&ann(), FULL).unwrap()
        );
    }

    #[test]
    fn what_is_not_known_is_refused_with_the_reason() {
        check_refused(b"", "the record is empty");
        check_refused(
            b"\x02\x00",
            "the record has version 2, of a later release: run that one",
        );
        check_refused(
            b"\x01\x05\x00\x00\x00\x00\x00\x00",
            "the record has an unknown status 5",
        );
    }

    #[test]
    fn a_record_cut_off_anywhere_is_refused_and_a_garbled_one_does_no_harm() {
        for length in (1..FULL.len()).filter(|&length| length != FIRST.len()) {
            check_refused(&FULL[..length], "the record is cut off or garbled");
        }
        for i in 0..FULL.len() {
            for flipped in 1..=u8::MAX {
                let mut bytes = FULL.to_vec();
                bytes[i] ^= flipped;
                // Whatever comes of it, it is an answer.
                let _ = decode(&ann(), &bytes);
            }
        }
    }

    #[track_caller]
    fn check(bytes: &[u8], profile: &Profile) {
        let encoded = encode(profile, SAVED_AT);
        assert_eq!(encoded, bytes, "what {profile:?} is stored as");
        let decoded = decode(&ann(), bytes).unwrap();
        assert_eq!(decoded, (profile.clone(), Some(SAVED_AT)));
    }

    #[track_caller]
    fn check_refused(bytes: &[u8], why: &str) {
        assert_eq!(decode(&ann(), bytes).unwrap_err().to_string(), why);
    }

    fn ann() -> UserId {
        UserId::new("ann").unwrap()
    }
}
