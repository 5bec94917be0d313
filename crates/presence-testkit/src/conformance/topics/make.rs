//! Makes the operations and records that the clauses write.

use std::sync::Arc;

use presence_core::cluster::{
    Change, Fence, FencingToken, Field, Guard, JoinedTopic, Op, Record, Removed, SessionRecord,
    Subject,
};
use presence_core::users::Activity;
use presence_core::{
    ChannelId, Chosen, DeviceId, DeviceKind, Look, Member, Meta, Moments, Profile, Reason,
    SessionId, Status, StatusSource, Timestamp, Topic, UserId, Visible, WorkspaceId,
};

/// The greatest number that JSON, Lua and JavaScript can all represent.
pub(super) const NUMBER_MAX: u64 = (1 << 53) - 1;
/// A moment in the year 5138, in milliseconds since 1970.
pub(super) const FAR_MS: u64 = 100_000_000_000_000;

/// Puts `record` of `session`.
pub(super) fn put(session: SessionId, token: FencingToken, record: &Record) -> Op {
    Op::put(Field::Session(session), token, record.clone())
}

/// Puts `record` of `session`, which begins an epoch: no entry may be there except one that the writer
/// has begun itself.
pub(super) fn begin(session: SessionId, token: FencingToken, record: &Record) -> Op {
    replace(session, token, record, None)
}

/// Puts `record` of `session` in place of the entry with the token `expected`.
pub(super) fn replace(
    session: SessionId,
    token: FencingToken,
    record: &Record,
    expected: Option<FencingToken>,
) -> Op {
    Op::Put {
        field: Field::Session(session),
        token,
        record: record.clone(),
        guard: Guard::Replaces(expected),
        profile: 0,
    }
}

/// Removes the entry of `session`, whose person has left.
pub(super) fn remove(session: SessionId, token: FencingToken) -> Op {
    Op::Remove {
        field: Field::Session(session),
        token,
        reason: Reason::Left,
    }
}

/// The change that a patch reports for a put.
pub(super) fn is_there(session: SessionId, token: FencingToken, record: &Record) -> Change {
    Change {
        field: Field::Session(session),
        entry: Ok((token, record.clone())),
    }
}

/// The change that a patch reports for a removal, whatever fence is left.
pub(super) fn is_gone(session: SessionId, reason: Reason) -> Change {
    Change {
        field: Field::Session(session),
        entry: Err(Removed {
            reason,
            fence: Fence {
                token: FencingToken {
                    epoch: 0,
                    owner: 0,
                    order: 0,
                },
                profile: 0,
            },
        }),
    }
}

/// A record of `session` in some place, with `words` in its meta.
pub(super) fn member(session: SessionId, words: &str) -> Record {
    Record::Member(Arc::new(Member {
        session,
        alias: session,
        epoch: 1,
        user: user("ann"),
        device: DeviceKind::Web,
        joined_at: at(1_700_000_000_789),
        meta: meta(&format!(
            r##"{{"name":"{words}","color":"#b91c1c","n":[1, 2.50]}}"##
        )),
        look: Arc::new(Look {
            status: Visible::Busy,
            message: Some("会議中".into()),
            emoji: Some("🎯".into()),
        }),
        look_revision: 7,
        profile: 9,
    }))
}

/// The same, with the revision `profile` of its user's profile.
pub(super) fn showing(session: SessionId, words: &str, profile: u64) -> Record {
    match member(session, words) {
        Record::Member(member) => Record::Member(Arc::new(Member {
            profile,
            ..Member::clone(&member)
        })),
        other => other,
    }
}

fn meta(json: &str) -> Arc<Meta> {
    Arc::new(Meta::from_json(json).expect("it is one"))
}

/// A record of `session` that fits the map of `subject`, with `words` in it.
pub(super) fn entry(subject: &Subject, session: SessionId, words: &str) -> Record {
    match subject {
        Subject::Topic(_) | Subject::Node(_) => member(session, words),
        Subject::User(_) => {
            let device = DeviceId::new(&format!("web:{words}"));
            Record::Session(Arc::new(SessionRecord {
                device: device.expect("words here are made of good characters"),
                ..self::session(0, 1)
            }))
        }
    }
}

/// A session of a user, last heard from at `heard_at_ms`, in `places` channels and a workspace.
pub(super) fn session(heard_at_ms: u64, places: usize) -> SessionRecord {
    let joined = |topic, words: &str| JoinedTopic {
        topic,
        joined_at: at(1_700_000_000_000),
        meta: meta(&format!(r#"{{"name":"{words}"}}"#)),
    };
    let channels = (0..places).map(|n| {
        let channel = ChannelId::new(&format!("room:{n}?a=%20&b#c;d,e!$")).expect("it is one");
        joined(Topic::Channel(channel), &format!("Zoë {n}"))
    });
    let workspace = WorkspaceId::new("acme").expect("it is one");
    let workspace = joined(Topic::Workspace(workspace), "Zoë");
    SessionRecord {
        device: DeviceId::new("web:browser_abc").expect("it is one"),
        by_service: false,
        activity: Activity::Active,
        is_active: true,
        heard_at: at(heard_at_ms),
        places: channels.chain([workspace]).collect(),
        alias: None,
    }
}

/// A profile of `user` with everything in it.
pub(super) fn profile(user: &UserId, revision: u64) -> Profile {
    Profile {
        user: user.clone(),
        status: Status {
            chosen: Chosen::Invisible,
            message: Some(format!("revision {revision}: Bin gleich zurück – 会議中").into()),
            emoji: Some("👩🏽‍👩🏻‍👧🏿‍👦🏾".into()),
            expires_at: Some(at(1_800_000_000_123)),
            revision,
        },
        source: StatusSource::Known,
        public_status: Some(Status {
            chosen: Chosen::Busy,
            message: Some(r#"اجتماع · {"$set": "\u0000", 'a'.b: %00 <b> ; --"#.into()),
            emoji: Some(":calendar:".into()),
            expires_at: Some(at(1_800_000_000_456)),
            revision: revision.saturating_sub(1),
        }),
        last_seen: Some(at(1_700_000_000_789)),
        moments: Moments {
            chosen: at(1_700_000_000_001),
            message: at(1_700_000_000_002),
            emoji: at(1_700_000_000_003),
            expiry: at(1_700_000_000_004),
        },
    }
}

pub(super) fn user(name: &str) -> UserId {
    UserId::new(name).expect("names here are made of good characters")
}

pub(super) fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}
