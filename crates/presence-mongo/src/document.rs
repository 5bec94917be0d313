//! The form of a profile in MongoDB. No other file knows it.
//!
//! A reader reads a document field by field, and takes a number of any type that holds it, because people change
//! documents by hand.
//!
//! A release must read what the previous release wrote. It must also read what the next release wrote,
//! because people downgrade:
//!
//! - **A new field** may be added at any time, and old documents do not have it. A reader ignores a field that it does
//!   not know. A document is replaced as a whole, so the next save drops such a field. A field that must not be lost
//!   needs a new schema.
//! - **Anything else** (another status, another meaning) is a new `schema`: one release learns to read it, the next one
//!   writes it.
//! - A reader refuses a schema that it does not know, and leaves the document alone. A document that could not be read
//!   is never overwritten.

use std::sync::Arc;

use mongodb::bson::{Bson, DateTime, Document, doc};
use presence_core::{Moments, Profile, Status, StatusSource, Timestamp, UserId};

/// The schema that [`document`] writes.
const SCHEMA: i32 = 1;

/// The field that says when something was last known of the user. The search for unseen users uses it.
pub(crate) const KNOWN_AT: &str = "known_at";

/// Why a document is not a profile.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("the document has schema {0}, of a later release: run that one")]
    UnknownSchema(u64),
    #[error("the document has an unknown status {0:?}")]
    UnknownStatus(String),
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error("{field} is not {wanted}")]
    Wrong {
        field: &'static str,
        wanted: &'static str,
    },
}

/// The document of `profile`, which is saved at `saved_at`.
fn document(profile: &Profile, saved_at: Timestamp) -> Document {
    let mut document = doc! { "_id": profile.user.as_str(), "schema": SCHEMA };
    put_status(&mut document, &profile.status);
    if let Some(public_status) = profile.stored_public_status() {
        let mut words = Document::new();
        put_status(&mut words, public_status);
        document.insert("veil", words);
    }
    if let Some(last_seen) = profile.last_seen {
        document.insert("last_seen", date(last_seen));
    }
    document.insert(KNOWN_AT, date(profile.known_at(saved_at)));
    document
}

fn put_status(document: &mut Document, status: &Status) {
    document.insert("status", status.chosen.as_str());
    if let Some(message) = &status.message {
        document.insert("message", message.as_ref());
    }
    if let Some(emoji) = &status.emoji {
        document.insert("emoji", emoji.as_ref());
    }
    if let Some(expires_at) = status.expires_at {
        document.insert("expires_at", date(expires_at));
    }
    document.insert("revision", number(status.revision));
}

/// One entry of an update command: the document replaces the stored one if [`Profile::supersedes`] says so.
///
/// A stored document that cannot be read does not match. The server then tries to insert another one, and reports that
/// the key is taken.
pub(crate) fn upsert(profile: &Profile, saved_at: Timestamp) -> Document {
    // MongoDB compares arrays item by item, and takes a missing value for null, which is less than any date.
    let last_seen = profile.last_seen.map(date);
    let supersedes = doc! { "$gte": [
        [number(profile.status.revision), last_seen],
        ["$revision", "$last_seen"],
    ] };
    let document = doc! { "$literal": document(profile, saved_at) };
    doc! {
        "q": { "_id": profile.user.as_str(), "schema": SCHEMA, "revision": { "$type": "number" } },
        "u": [{ "$replaceWith": { "$cond": [supersedes, document, "$$ROOT"] } }],
        "upsert": true,
    }
}

/// The filter that finds the documents of `users`.
pub(crate) fn of(users: &[UserId]) -> Document {
    let users: Vec<&str> = users.iter().map(UserId::as_str).collect();
    doc! { "_id": { "$in": users } }
}

/// The filter that finds users of whom nothing has been known since `before`.
pub(crate) fn unseen(before: Timestamp) -> Document {
    doc! { "schema": SCHEMA, KNOWN_AT: { "$lt": date(before) } }
}

/// The user of a document, if its key is a valid user id.
pub(crate) fn user(document: &Document) -> Option<UserId> {
    UserId::new(document.get_str("_id").ok()?).ok()
}

/// Reads the profile of `user` from `document`.
pub(crate) fn profile(user: &UserId, document: &Document) -> Result<Profile, DocumentError> {
    let schema = read_number(document, "schema")?;
    if schema != SCHEMA as u64 {
        return Err(DocumentError::UnknownSchema(schema));
    }
    let public_status = match document.get("veil") {
        None | Some(Bson::Null) => None,
        Some(Bson::Document(public_status)) => Some(read_status(public_status)?),
        Some(_) => return Err(wrong("veil", "a document")),
    };
    let (source, public_status) = StatusSource::of_stored(public_status);
    Ok(Profile {
        user: user.clone(),
        status: read_status(document)?,
        source,
        public_status,
        last_seen: read_date(document, "last_seen")?,
        moments: Moments::default(),
    })
}

fn read_status(document: &Document) -> Result<Status, DocumentError> {
    let word = read_text(document, "status")?.ok_or(DocumentError::Missing { field: "status" })?;
    Ok(Status {
        chosen: word
            .parse()
            .ok()
            .ok_or_else(|| DocumentError::UnknownStatus(word.into()))?,
        message: read_text(document, "message")?.map(Arc::from),
        emoji: read_text(document, "emoji")?.map(Arc::from),
        expires_at: read_date(document, "expires_at")?,
        revision: read_number(document, "revision")?,
    })
}

fn read_text<'a>(
    document: &'a Document,
    field: &'static str,
) -> Result<Option<&'a str>, DocumentError> {
    match document.get(field) {
        None | Some(Bson::Null) => Ok(None),
        Some(Bson::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(field, "a string")),
    }
}

fn read_date(document: &Document, field: &'static str) -> Result<Option<Timestamp>, DocumentError> {
    match document.get(field) {
        None | Some(Bson::Null) => Ok(None),
        Some(Bson::DateTime(at)) => u64::try_from(at.timestamp_millis())
            .map(|millis| Some(Timestamp::from_millis(millis)))
            .map_err(|_| wrong(field, "a date after 1970")),
        Some(_) => Err(wrong(field, "a date")),
    }
}

fn read_number(document: &Document, field: &'static str) -> Result<u64, DocumentError> {
    let number = match document.get(field) {
        None | Some(Bson::Null) => return Err(DocumentError::Missing { field }),
        Some(Bson::Int32(number)) => u64::try_from(*number).ok(),
        Some(Bson::Int64(number)) => u64::try_from(*number).ok(),
        // mongosh makes a double of a plain number.
        Some(Bson::Double(number)) => whole(*number),
        Some(_) => None,
    };
    number.ok_or(wrong(field, "a whole number"))
}

fn whole(number: f64) -> Option<u64> {
    const EXACT_MAX: f64 = (1_u64 << 53) as f64;
    let is_whole = (0.0..=EXACT_MAX).contains(&number) && number.fract() == 0.0;
    is_whole.then_some(number as u64)
}

fn wrong(field: &'static str, wanted: &'static str) -> DocumentError {
    DocumentError::Wrong { field, wanted }
}

/// Converts a number to MongoDB's largest integer type. A number that does not fit becomes the maximum, which
/// no count reaches.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(number(at.as_millis()))
}

#[cfg(test)]
mod tests {
    use presence_core::Chosen;

    use super::*;

    #[test]
    fn the_documents_of_schema_1_are_these_for_ever() {
        let plain = doc! {
            "_id": "ann", "schema": 1, "status": "online", "revision": 0_i64,
            "known_at": DateTime::from_millis(9000),
        };
        check(plain, &Profile::new(ann()));
        check(full(), &full_profile());
    }

    #[test]
    fn the_words_for_what_people_choose_are_these_for_ever() {
        for (word, chosen) in [
            ("online", Chosen::Online),
            ("away", Chosen::Away),
            ("busy", Chosen::Busy),
            ("invisible", Chosen::Invisible),
            ("offline", Chosen::Offline),
        ] {
            assert_eq!(chosen.as_str(), word);
            assert_eq!(word.parse().ok(), Some(chosen));
        }
    }

    #[test]
    fn an_update_carries_what_the_rule_needs_and_meets_only_what_can_be_read() {
        let document = full();
        let expected = doc! {
            "q": { "_id": "ann", "schema": 1, "revision": { "$type": "number" } },
            "u": [{ "$replaceWith": { "$cond": [
                { "$gte": [
                    [7_i64, DateTime::from_millis(1_700_000_000_000)],
                    ["$revision", "$last_seen"],
                ] },
                { "$literal": document },
                "$$ROOT",
            ] } }],
            "upsert": true,
        };
        assert_eq!(upsert(&full_profile(), SAVED_AT), expected);
    }

    #[test]
    fn whoever_does_not_hide_is_known_since_they_were_last_seen() {
        let mut profile = full_profile();
        profile.status.chosen = Chosen::Busy;
        let document = document(&profile, SAVED_AT);
        assert_eq!(document.get(KNOWN_AT), document.get("last_seen"));
    }

    #[test]
    fn what_people_do_by_hand_is_understood() {
        let mut document = full();
        document.insert("revision", 7.0);
        document.insert("schema", 1_i64);
        document.insert("note", "a field of somebody else");
        document.remove(KNOWN_AT);
        assert_eq!(profile(&ann(), &document), Ok(full_profile()));
        let mut nulls = doc! { "schema": 1.0, "status": "online", "revision": 0 };
        for field in ["message", "emoji", "expires_at", "veil", "last_seen"] {
            nulls.insert(field, Bson::Null);
        }
        assert_eq!(profile(&ann(), &nulls), Ok(Profile::new(ann())));
    }

    #[test]
    fn what_is_not_known_is_refused_with_the_reason() {
        for (field, value, problem) in [
            (
                "schema",
                Bson::Int32(2),
                "the document has schema 2, of a later release: run that one",
            ),
            ("schema", Bson::Null, "schema is missing"),
            (
                "status",
                "gone".into(),
                "the document has an unknown status \"gone\"",
            ),
            ("status", Bson::Null, "status is missing"),
            ("message", Bson::Int32(1), "message is not a string"),
            ("emoji", Bson::Boolean(true), "emoji is not a string"),
            ("expires_at", "tomorrow".into(), "expires_at is not a date"),
            (
                "expires_at",
                DateTime::from_millis(-1).into(),
                "expires_at is not a date after 1970",
            ),
            ("revision", Bson::Null, "revision is missing"),
            (
                "revision",
                Bson::Int64(-1),
                "revision is not a whole number",
            ),
            (
                "revision",
                Bson::Double(1.5),
                "revision is not a whole number",
            ),
            ("revision", "7".into(), "revision is not a whole number"),
            ("veil", "busy".into(), "veil is not a document"),
            (
                "veil",
                doc! { "status": "busy" }.into(),
                "revision is missing",
            ),
            ("last_seen", Bson::Int64(0), "last_seen is not a date"),
        ] {
            let mut document = full();
            document.insert(field, value);
            let error = profile(&ann(), &document).unwrap_err();
            assert_eq!(error.to_string(), problem);
        }
    }

    #[test]
    fn what_is_greater_than_mongodb_can_say_becomes_the_greatest() {
        let mut profile = Profile::new(ann());
        profile.status.revision = u64::MAX;
        profile.last_seen = Some(Timestamp::from_millis(u64::MAX));
        let stored = super::profile(&ann(), &document(&profile, SAVED_AT)).unwrap();
        assert_eq!(stored.status.revision, i64::MAX as u64);
        assert_eq!(
            stored.last_seen,
            Some(Timestamp::from_millis(i64::MAX as u64))
        );
    }

    #[track_caller]
    fn check(expected: Document, profile: &Profile) {
        assert_eq!(document(profile, SAVED_AT), expected);
        assert_eq!(&super::profile(&ann(), &expected).unwrap(), profile);
        assert_eq!(user(&expected), Some(ann()));
    }

    const SAVED_AT: Timestamp = Timestamp::from_millis(9000);

    /// A profile with everything in it.
    fn full() -> Document {
        doc! {
            "_id": "ann",
            "schema": 1,
            "status": "invisible",
            "message": "café",
            "emoji": "🎯",
            "expires_at": DateTime::from_millis(128),
            "revision": 7_i64,
            "veil": { "status": "busy", "emoji": ":coffee:", "revision": 6_i64 },
            "last_seen": DateTime::from_millis(1_700_000_000_000),
            "known_at": DateTime::from_millis(9000),
        }
    }

    fn full_profile() -> Profile {
        Profile {
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
            moments: Moments::default(),
        }
    }

    fn ann() -> UserId {
        UserId::new("ann").unwrap()
    }
}
