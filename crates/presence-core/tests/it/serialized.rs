//! Core types in formats of serde: JSON for what people read, postcard for what they do not.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use presence_core::{
    ChannelId, Chosen, DeviceId, DeviceKind, Look, META_BYTES_MAX, Meta, MetaError, Moments, Order,
    Payload, PayloadError, Pointer, Profile, PublicView, Reason, Selection, SessionId, Shown,
    Status, StatusSource, Timestamp, Topic, TopicVersion, UserId, Visible, Watching, WorkspaceId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Checks that `value` is written as `json`, and is read again from that and from postcard.
#[track_caller]
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, json: &str) {
    assert_eq!(serde_json::to_string(value).unwrap(), json);
    assert_eq!(&serde_json::from_str::<T>(json).unwrap(), value, "{json}");
    let bytes = postcard::to_stdvec(value).unwrap();
    assert_eq!(&postcard::from_bytes::<T>(&bytes).unwrap(), value, "{json}");
}

/// Checks that `json` is refused, because of `why`.
#[track_caller]
fn refused<T: DeserializeOwned + Debug>(json: &str, why: &str) {
    let error = serde_json::from_str::<T>(json).unwrap_err().to_string();
    assert!(error.contains(why), "{json}: {error}");
}

fn look(message: &str) -> Look {
    Look {
        status: Visible::Away,
        message: Some(message.into()),
        emoji: None,
    }
}

#[test]
fn ids_are_texts_that_are_checked() {
    check(&UserId::new("auth0|5").unwrap(), r#""auth0|5""#);
    check(&DeviceId::new("web:1").unwrap(), r#""web:1""#);
    check(&ChannelId::new("page:/x?y").unwrap(), r#""page:/x?y""#);
    check(&WorkspaceId::new("acme").unwrap(), r#""acme""#);
    let room = Topic::Channel(ChannelId::new("room:1").unwrap());
    check(&room, r#"{"channel":"room:1"}"#);
    let session = SessionId::from_u128(7);
    check(&session, r#""00000000000000000000000000000007""#);

    refused::<UserId>(r#""""#, "must not be empty");
    refused::<UserId>(r#""a b""#, "must not contain ' '");
    refused::<UserId>(r#""__proto__""#, "is a reserved name");
    refused::<ChannelId>(
        &format!("{:?}", "x".repeat(201)),
        "must be at most 200 bytes",
    );
    refused::<Topic>(r#"{"channel":"a b"}"#, "must not contain ' '");
    refused::<SessionId>(r#""7""#, "must be 32 hexadecimal digits");
    refused::<UserId>("7", "expected a text");
    let bytes = postcard::to_stdvec("a b").unwrap();
    assert!(postcard::from_bytes::<UserId>(&bytes).is_err());
}

#[test]
fn ids_are_keys_of_a_map() {
    let ann = UserId::new("ann").unwrap();
    let seen = BTreeMap::from([(ann, Timestamp::from_millis(5))]);
    check(&seen, r#"{"ann":5}"#);
}

#[test]
fn words_are_those_of_as_str() {
    #[track_caller]
    fn all<T>(all: &[T])
    where
        T: Copy + Debug + std::fmt::Display + PartialEq + Serialize + DeserializeOwned,
    {
        for it in all {
            check(it, &format!("{:?}", it.to_string()));
        }
    }
    all(Chosen::ALL);
    all(Visible::ALL);
    all(presence_core::users::Activity::ALL);
    all(DeviceKind::ALL);
    all(Reason::ALL);
    all(Watching::ALL);
    all(Order::ALL);
    refused::<Chosen>(
        r#""bussy""#,
        "a chosen status is one of: online, away, busy",
    );
    refused::<Visible>(r#""invisible""#, "a visible status is one of");
}

#[test]
fn a_profile_is_read_as_it_was_written() {
    let mut profile = Profile::new(UserId::new("ann").unwrap());
    check(
        &profile,
        "{\"user\":\"ann\",\
          \"status\":{\"chosen\":\"online\",\"message\":null,\"emoji\":null,\"expires_at\":null,\"revision\":0},\
          \"source\":\"known\",\"public_status\":null,\"last_seen\":null,\
          \"moments\":{\"chosen\":0,\"message\":0,\"emoji\":0,\"expiry\":0}}",
    );
    profile.source = StatusSource::Guessed;
    profile.status = Status {
        chosen: Chosen::Invisible,
        message: Some("会議中".into()),
        emoji: Some("👩‍👩‍👧‍👦".into()),
        expires_at: Some(Timestamp::from_millis(9)),
        revision: 3,
    };
    profile.public_status = Some(Status::default());
    profile.last_seen = Some(Timestamp::from_millis(4));
    profile.moments = Moments {
        expiry: Timestamp::from_millis(2),
        ..Moments::default()
    };
    let json = serde_json::to_string(&profile).unwrap();
    check(&profile, &json);
    // A field that an older program did not write has its default.
    let short: Profile = serde_json::from_str(r#"{"user":"ann","status":{}}"#).unwrap();
    assert_eq!(short, Profile::new(UserId::new("ann").unwrap()));
}

#[test]
fn words_that_are_longer_than_anybody_may_choose_are_refused() {
    check(
        &look("at lunch"),
        r#"{"status":"away","message":"at lunch","emoji":null}"#,
    );
    let long = "ü".repeat(257);
    let why = "a message must be at most 256 characters";
    refused::<Look>(&format!(r#"{{"status":"away","message":"{long}"}}"#), why);
    refused::<Status>(&format!(r#"{{"message":"{long}"}}"#), why);
    let why = "an emoji must be at most 64 bytes";
    let big = "🎯".repeat(17);
    refused::<Look>(&format!(r#"{{"status":"away","emoji":"{big}"}}"#), why);
    refused::<Status>(&format!(r#"{{"emoji":"{big}"}}"#), why);
    let long = postcard::to_stdvec(&look(&long)).unwrap();
    assert!(postcard::from_bytes::<Look>(&long).is_err());
}

#[test]
fn a_view_of_a_user_and_what_they_point_at_are_read_as_they_were_written() {
    let view = PublicView {
        user: UserId::new("ann").unwrap(),
        clock: TopicVersion {
            epoch: u64::MAX,
            version: 2,
        },
        look: Arc::new(look("hi")),
        last_seen: None,
        devices: vec![DeviceKind::Web, DeviceKind::Mobile],
    };
    check(
        &view,
        "{\"user\":\"ann\",\"clock\":{\"epoch\":18446744073709551615,\"version\":2},\
          \"look\":{\"status\":\"away\",\"message\":\"hi\",\"emoji\":null},\
          \"last_seen\":null,\"devices\":[\"web\",\"mobile\"]}",
    );
    check(&Selection { start: 1, end: 3 }, r#"{"start":1,"end":3}"#);
    let pointer = |x| Pointer {
        x,
        y: 0.25,
        visible: true,
    };
    check(&pointer(0.5), r#"{"x":0.5,"y":0.25,"visible":true}"#);
    let bytes = postcard::to_stdvec(&pointer(f64::NAN)).unwrap();
    assert!(postcard::from_bytes::<Pointer>(&bytes).is_err());
}

#[test]
fn a_meta_is_an_object_that_shows_the_same_when_it_is_read() {
    check(&Meta::default(), "{}");
    let meta = Meta::from_json(r#"{"name":"Ann","n":[1,2.5,{}]}"#).unwrap();
    let json = serde_json::to_string(&meta).unwrap();
    let read: Meta = serde_json::from_str(&json).unwrap();
    assert_eq!(read.shown(), meta.shown());
    let value = |it: &str| serde_json::from_str::<serde_json::Value>(it).unwrap();
    assert_eq!(value(read.json()), value(meta.json()));

    // What it shows counts, where the object says something else.
    let shown = Shown {
        name: Some("Ann".into()),
        ..Shown::default()
    };
    let meta = Meta::showing(r##"{"color":"#fff","avatar":7}"##, shown).unwrap();
    let json = serde_json::to_string(&meta).unwrap();
    assert_eq!(json, r#"{"avatar":7,"name":"Ann"}"#);
    let read: Meta = serde_json::from_str(&json).unwrap();
    assert_eq!(read.shown(), meta.shown());
    let bytes = postcard::to_stdvec(&meta).unwrap();
    assert_eq!(postcard::from_bytes::<Meta>(&bytes).unwrap(), meta);
}

#[test]
fn a_meta_that_nobody_could_be_sent_is_refused() {
    refused::<Meta>("[]", "expected a map");
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(META_BYTES_MAX));
    refused::<Meta>(&long, "must be at most 4096 bytes");
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(64), "]".repeat(64));
    refused::<Meta>(&deep, "must be a JSON object");
    let bytes = postcard::to_stdvec(&("{", Shown::default())).unwrap();
    assert!(postcard::from_bytes::<Meta>(&bytes).is_err());
}

#[test]
fn a_payload_is_a_value_or_null() {
    check(&Payload::none(), "null");
    check(&Payload::from_json("[1,\"a\"]").unwrap(), "[1,\"a\"]");
    let deep = format!("{}{}", "[".repeat(64), "]".repeat(64));
    refused::<Payload>(&deep, "must be JSON");
    let bytes = postcard::to_stdvec("{").unwrap();
    assert!(postcard::from_bytes::<Payload>(&bytes).is_err());
}

#[test]
fn what_cannot_be_written_as_json_says_why() {
    let no_key = BTreeMap::from([([1, 2], "x")]);
    let meta = Meta::of(&no_key).unwrap_err();
    assert!(matches!(meta, MetaError::Value(_)), "{meta}");
    let why = "must be writable as JSON: key must be a string";
    assert_eq!(meta.to_string(), why);
    assert_eq!(Payload::of(&no_key).unwrap_err().to_string(), why);

    assert!(matches!(Meta::of(&7), Err(MetaError::Json(_))));
    let big = "x".repeat(META_BYTES_MAX);
    let big = BTreeMap::from([("a", big)]);
    assert_eq!(Meta::of(&big), Err(MetaError::TooLarge));
    let big = "x".repeat(presence_core::PAYLOAD_BYTES_MAX);
    assert_eq!(Payload::of(&big), Err(PayloadError::TooLarge));
}
