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
        source: StatusSource::Known,
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
fn a_guess_is_stored_as_releases_before_have_stored_it() {
    let bytes =
        b"\x01\x00\x03\x01\x05lunch\x00\x00\x07\x01\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    let mut profile = Profile::new(UserId::new("ann").unwrap());
    profile.status = Status {
        chosen: Chosen::Invisible,
        message: Some("lunch".into()),
        emoji: None,
        expires_at: None,
        revision: 7,
    };
    profile.source = StatusSource::Guessed;
    profile.public_status = Some(Status::default());
    let record = Record::Profile(Arc::new(profile));
    check(&ann(), Field::Profile, bytes, record);
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
            JoinedTopic {
                topic: Topic::Channel(ChannelId::new("room:42").unwrap()),
                joined_at: Timestamp::from_millis(1_700_000_000_001),
                meta: Arc::new(meta),
            },
            JoinedTopic {
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
