//! Clauses about records: a node reads what another one wrote.

use std::sync::Arc;

use presence_core::cluster::{Change, Field, Op, Record, SessionRecord, Subject};
use presence_core::ports::Topics;
use presence_core::users::Activity;
use presence_core::{
    Chosen, DeviceId, DeviceKind, EMOJI_BYTES_MAX, Look, MESSAGE_CHARS_MAX, META_BYTES_MAX, Member,
    Meta, Profile, SessionId, Shown, Status, StatusSource, UserId, Visible,
};

use super::case::Case;
use super::make::{self, FAR_MS, NUMBER_MAX, at, is_there, member, profile, put, session};

pub(super) async fn profiles_are_read_as_they_were_written<T: Topics>(case: &Case<T>) {
    let choices = [
        Chosen::Online,
        Chosen::Away,
        Chosen::Busy,
        Chosen::Invisible,
        Chosen::Offline,
    ];
    for chosen in choices {
        check_profile(case, |it| it.status.chosen = chosen).await;
        let public_status = Status {
            chosen,
            ..Status::default()
        };
        // What others last saw of somebody was never that they hide.
        if !chosen.hides() {
            check_profile(case, |it| it.public_status = Some(public_status)).await;
        }
    }
    check_profile(case, |it| {
        it.source = StatusSource::Guessed;
        it.public_status = Some(Status::default());
    })
    .await;
    check_profile(case, |_| {}).await;
    check_profile(case, |it| *it = Profile::new(it.user.clone())).await;
    check_profile(case, |it| it.public_status = None).await;
    check_profile(case, |it| it.last_seen = None).await;
    check_profile(case, |it| it.last_seen = Some(at(0))).await;
    check_profile(case, |it| it.status.expires_at = Some(at(1))).await;
    check_profile(case, |it| it.status.expires_at = Some(at(FAR_MS))).await;
    check_profile(case, |it| it.status.revision = NUMBER_MAX).await;
    check_profile(case, |it| {
        it.status.message = Some("🎯".repeat(MESSAGE_CHARS_MAX).into());
        it.status.emoji = Some("x".repeat(EMOJI_BYTES_MAX).into());
    })
    .await;
    check_profile(case, |it| {
        let anonymous = UserId::new(&format!("anon_{:016x}", case.random()));
        it.user = anonymous.expect("it is made of good characters");
    })
    .await;
}

async fn check_profile<T: Topics>(case: &Case<T>, change: impl FnOnce(&mut Profile)) {
    let user = make::user(&format!("user:{:016x}", case.random()));
    let mut profile = profile(&user, 7);
    change(&mut profile);
    let subject = Subject::User(profile.user.clone());
    let op = Op::put(
        Field::Profile,
        case.here.token(1),
        Record::Profile(Arc::new(profile)),
    );
    check(case, &subject, op).await;
}

pub(super) async fn sessions_are_read_as_they_were_written<T: Topics>(case: &Case<T>) {
    for activity in [Activity::Hidden, Activity::Idle, Activity::Active] {
        check_session(case, |it| it.activity = activity).await;
    }
    for (by_service, is_active) in [(false, true), (true, false)] {
        check_session(case, |it| {
            (it.by_service, it.is_active) = (by_service, is_active);
        })
        .await;
    }
    let longest = "d".repeat(DeviceId::BYTES_MAX);
    for device in ["desktop:a/b|c", "mobile:1", "web:", "d", &longest] {
        let device = DeviceId::new(device).expect("names here are made of good characters");
        check_session(case, |it| it.device = device).await;
    }
    check_session(case, |it| it.heard_at = at(0)).await;
    check_session(case, |it| it.heard_at = at(FAR_MS)).await;
    check_session(case, |it| it.places.clear()).await;
    for places in [1, 2, 100] {
        check_session(case, |it| it.places = session(0, places).places).await;
    }
}

async fn check_session<T: Topics>(case: &Case<T>, change: impl FnOnce(&mut SessionRecord)) {
    let mut record = session(1_700_000_000_789, 2);
    change(&mut record);
    let record = Record::Session(Arc::new(record));
    let op = put(case.session(), case.here.token(1), &record);
    check(case, &case.user(), op).await;
}

pub(super) async fn members_are_read_as_they_were_written<T: Topics>(case: &Case<T>) {
    for device in [
        DeviceKind::Web,
        DeviceKind::Mobile,
        DeviceKind::Desktop,
        DeviceKind::Other,
    ] {
        check_member(case, |it| it.device = device).await;
    }
    for status in [
        Visible::Online,
        Visible::Away,
        Visible::Busy,
        Visible::Offline,
    ] {
        let look = Look {
            status,
            message: None,
            emoji: None,
        };
        check_member(case, |it| it.look = Arc::new(look)).await;
    }
    let look = Look {
        status: Visible::Away,
        message: Some("🎯".repeat(MESSAGE_CHARS_MAX).into()),
        emoji: Some("x".repeat(EMOJI_BYTES_MAX).into()),
    };
    check_member(case, |it| it.look = Arc::new(look)).await;
    let longest = make::user(&"u".repeat(UserId::BYTES_MAX));
    check_member(case, |it| it.user = longest).await;
    check_member(case, |it| it.joined_at = at(FAR_MS)).await;
    check_member(case, |it| it.epoch = u32::MAX).await;
    check_member(case, |it| it.look_revision = 0).await;
    check_member(case, |it| it.look_revision = NUMBER_MAX).await;
    for number in [0, 1, u128::from(u64::MAX) + 1, u128::MAX] {
        let session = SessionId::from_u128(number);
        let op = put(session, case.here.token(1), &member(session, "Ann"));
        check(case, &case.place(), op).await;
    }
}

pub(super) async fn metas_of_all_scripts_and_full_length_are_kept<T: Topics>(case: &Case<T>) {
    let showing = |json: &str, shown| Meta::showing(json, shown).expect("it is one");
    let meta = |json: &str, name: Option<&str>| {
        let name = name.map(Into::into);
        let shown = Shown {
            name,
            ..Shown::default()
        };
        showing(json, shown)
    };
    let filled = "é".repeat((META_BYTES_MAX - r#"{"name":"Zoe"}"#.len()) / "é".len());
    let longest = format!(r#"{{"name":"Zoe{filled}"}}"#);
    let longest_name = format!("Zoe{filled}");
    case.same("the longest meta", longest.len(), META_BYTES_MAX);
    let all = [
        Meta::default(),
        meta("{}", None),
        meta(&longest, Some(&longest_name)),
        meta(r#"{"name":"Zo\u00eb \ud83c\udfaf"}"#, Some("Zoë 🎯")),
        meta(
            r#"{ "name" : "اجتماع · פגישה 👩🏽‍👩🏻‍👧🏿‍👦🏾" }"#,
            Some("اجتماع · פגישה 👩🏽‍👩🏻‍👧🏿‍👦🏾"),
        ),
        meta(
            r#"{"name":7,"n":1.50,"big":123456789012345678901234567890}"#,
            None,
        ),
        meta(r#"{"z":1,"a":[null,{"$set":"\u0000"}],"":""}"#, None),
        showing(
            r##"{"avatar":"https://x.test/?a=1&b=2#c","color":"#0369a1","name":""}"##,
            Shown {
                name: Some("".into()),
                color: Some("#0369a1".into()),
                avatar: Some("https://x.test/?a=1&b=2#c".into()),
            },
        ),
    ];
    for meta in all {
        let meta = Arc::new(meta);
        check_member(case, |it| it.meta = Arc::clone(&meta)).await;
        check_session(case, |it| it.places[1].meta = Arc::clone(&meta)).await;
    }
}

pub(super) async fn patches_carry_records_as_they_were_written<T: Topics>(case: &Case<T>) {
    let name = make::user(&format!("user:{:016x}", case.random()));
    let (user, room) = (Subject::User(name.clone()), case.place());
    case.there.follow(&[user.clone(), room.clone()]).await;
    let (ann, token) = (case.session(), case.here.token(1));
    let whole = Record::Profile(Arc::new(profile(&name, 7)));
    let session = Record::Session(Arc::new(session(FAR_MS, 100)));
    let puts = [
        Op::put(Field::Profile, token, whole.clone()),
        put(ann, token, &session),
    ];
    case.here.does(&user, &puts).await;
    let of_user = Change {
        field: Field::Profile,
        entry: Ok((token, whole)),
    };
    let changes = [of_user, is_there(ann, token, &session)];
    case.there.check_patch(&user, &changes).await;

    let member = member(ann, "Zoë 🎯");
    case.here.does(&room, &[put(ann, token, &member)]).await;
    let changes = [is_there(ann, token, &member)];
    case.there.check_patch(&room, &changes).await;
}

async fn check_member<T: Topics>(case: &Case<T>, change: impl FnOnce(&mut Member)) {
    let session = case.session();
    let Record::Member(mut it) = member(session, "Zoë") else {
        unreachable!("it is a member");
    };
    change(Arc::make_mut(&mut it));
    let op = put(session, case.here.token(1), &Record::Member(it));
    check(case, &case.place(), op).await;
}

/// Checks that another node reads what `op` puts.
async fn check<T: Topics>(case: &Case<T>, subject: &Subject, op: Op) {
    let ops = [op];
    case.here.does(subject, &ops).await;
    case.there.check_entries(subject, &ops).await;
}
