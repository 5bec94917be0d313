use std::sync::Arc;

use presence_core::{
    ChannelId, DeviceKind, Look, Member, Meta, Outsider, Payload, Pointer, Reason, Selection,
    Sender, SessionId, Shown, Timestamp, TopicVersion, Visible,
};
use serde_json::from_str;

use super::*;

#[test]
fn a_member_is_shown_as_they_signed_it_byte_for_byte() {
    let signed = r#"{"name": "Ann",  "b":1, "a":[2]}"#;
    assert_eq!(info_of(&person("ann", &[signed])), signed);
    assert_eq!(info_of(&person("ann", &[""])), "{}");
    assert_eq!(
        info_of(&person("ann", &[r#"{"old":1}"#, r#"{"new":1}"#])),
        r#"{"new":1}"#
    );
}

#[test]
fn the_name_that_others_see_and_a_status_worth_a_word_are_added() {
    let mut ann = person("ann", &[r#"{"role":"pen"}"#]);
    let shown = Shown {
        name: Some("Ann".into()),
        ..Shown::default()
    };
    member(&mut ann).meta = Arc::new(Meta::showing(r#"{"role":"pen"}"#, shown).unwrap());
    assert_eq!(
        value(&info_of(&ann)),
        json!({ "role": "pen", "name": "Ann" })
    );
    let busy = Look {
        status: Visible::Busy,
        message: Some("in a call".into()),
        emoji: None,
    };
    member(&mut ann).look = Arc::new(busy);
    let presence = json!({ "status": "busy", "custom_message": "in a call", "emoji": null });
    let wanted = json!({ "role": "pen", "name": "Ann", "presence": presence });
    assert_eq!(value(&info_of(&ann)), wanted);

    // What a page has of that name itself is its own.
    let mut bob = person("bob", &[r#"{"presence":7}"#]);
    member(&mut bob).look = ann.members[0].look.clone();
    assert_eq!(value(&info_of(&bob)), json!({ "presence": 7 }));
}

#[test]
fn everybody_hears_who_came_and_went_but_of_themselves() {
    let left = Change::Left {
        person: Arc::new(person("cal", &[""])),
        reason: Reason::Lost,
    };
    let event = Event::Changes {
        topic: topic("room:1"),
        clock: TopicVersion {
            epoch: 1,
            version: 1,
        },
        changes: vec![
            Change::Joined(Arc::new(person("bob", &[r#"{"n":"\u2028\"\\"}"#]))),
            left,
            Change::Joined(Arc::new(person("ann", &[""]))),
        ],
        everyone: None,
    };
    let bob = r#"{"user_id":"bob","user_info":{"n":"\u2028\"\\"}}"#;
    let ann = r#"{"user_id":"ann","user_info":{}}"#;
    let added = "pusher_internal:member_added";
    let removed = ("pusher_internal:member_removed", r#"{"user_id":"cal"}"#);
    assert_eq!(
        told(&event, "eve"),
        [
            said(added, bob),
            said(removed.0, removed.1),
            said(added, ann)
        ]
    );
    assert_eq!(
        told(&event, "ann"),
        [said(added, bob), said(removed.0, removed.1)]
    );
    assert_eq!(
        told(&event, "bob"),
        [said(removed.0, removed.1), said(added, ann)]
    );
    assert_eq!(told(&event, "cal"), [said(added, bob), said(added, ann)]);
}

#[test]
fn an_update_is_told_when_it_shows() {
    let update = |to: Person| Event::Changes {
        topic: topic("room:1"),
        clock: TopicVersion {
            epoch: 1,
            version: 1,
        },
        changes: vec![Change::Updated {
            from: Arc::new(person("ann", &[r#"{"a":1}"#])),
            to: Arc::new(to),
        }],
        everyone: None,
    };
    let second_tab = person("ann", &[r#"{"a":1}"#, r#"{"a":1}"#]);
    assert_eq!(told(&update(second_tab), "bob"), [""; 0]);
    let changed = update(person("ann", &[r#"{"a":2}"#]));
    let wanted = said(
        "pusher_internal:member_added",
        r#"{"user_id":"ann","user_info":{"a":2}}"#,
    );
    for user in ["bob", "ann"] {
        // She may have another tab.
        assert_eq!(told(&changed, user).concat(), wanted, "{user}");
    }
}

#[test]
fn nobody_is_told_that_they_type() {
    let users = |ids: &[&str]| ids.iter().map(|it| it.parse().unwrap()).collect();
    let typing = Event::Typing {
        topic: topic("room:1"),
        typing: users(&["ann", "bob"]),
        started: users(&["bob"]),
        stopped: users(&["ann", "cal"]),
    };
    assert_eq!(told(&typing, "eve").len(), 3);
    assert_eq!(told(&typing, "bob").len(), 2);
    assert_eq!(told(&typing, "ann").len(), 2);
    assert!(told(&typing, "eve")[0].contains(r#""user_id":"bob""#));
    let caught_up = Event::Typing {
        topic: topic("room:1"),
        typing: users(&["ann"]),
        started: Vec::new(),
        stopped: Vec::new(),
    };
    assert_eq!(told(&caught_up, "eve").len(), 1);
}

#[test]
fn cursors_and_selections_are_events_of_pages() {
    let ann = Arc::new(person("ann", &[""]));
    let cursor = Cursor {
        session: ann.members[0].session,
        alias: ann.members[0].alias,
        user: ann.user.clone(),
        pointer: Some(Pointer {
            x: 1.5,
            y: -2.0,
            visible: true,
        }),
        selection: Some(Selection { start: 3, end: 4 }),
    };
    let cursors = |pointed, selected| Event::Cursors {
        topic: topic("room:1"),
        cursors: vec![cursor.clone()],
        moves: vec![Move {
            person: ann.clone(),
            pointed,
            selected,
        }],
        gone: Vec::new(),
    };
    assert_eq!(told(&cursors(true, true), "bob").len(), 2);
    let [moved] = &told(&cursors(true, false), "bob")[..] else {
        panic!("one frame");
    };
    let moved: Value = from_str(moved).unwrap();
    assert_eq!(moved["event"], "client-cursor");
    assert_eq!(moved["user_id"], "ann");
    let data = value(moved["data"].as_str().unwrap());
    assert_eq!((&data["x"], &data["y"]), (&json!(1.5), &json!(-2.0)));
    let [selected] = &told(&cursors(false, true), "bob")[..] else {
        panic!("one frame");
    };
    assert!(selected.contains("client-selection"), "{selected}");
}

#[test]
fn what_a_server_says_and_what_a_page_says_cannot_be_taken_for_each_other() {
    let say = |channel: &str, sender, event: &str| Event::Broadcast {
        topic: topic(channel),
        event: event.into(),
        payload: Payload::from_json(r#"{"a":1}"#).unwrap(),
        user: "ann".parse().unwrap(),
        sender,
    };
    let session = SessionId::from_u128(1 << 100);
    let page = Sender::Session {
        session,
        alias: session,
    };
    let heard = |event: &Event| value(&told(event, "bob")[0]);
    let by_page = heard(&say("room:1", page, "wave"));
    assert_eq!(by_page["event"], "client-wave");
    assert_eq!(by_page["user_id"], "ann");
    assert_eq!(by_page["data"], r#"{"a":1}"#);
    let forged = heard(&say("room:1", page, "pusher_internal:member_added"));
    assert_eq!(forged["event"], "client-pusher_internal:member_added");
    // Where nobody is shown, nobody is named.
    let private = heard(&say("pusher/3/private-x", page, "wave"));
    assert_eq!(
        (&private["channel"], private.get("user_id")),
        (&json!("private-x"), None)
    );

    let (outsider, node) = (Outsider::new(u64::from(u32::MAX)), 0);
    let server = Sender::Service { outsider, node };
    let by_server = heard(&say("room:1", server, "wave"));
    assert_eq!(
        (&by_server["event"], by_server.get("user_id")),
        (&json!("wave"), None)
    );
}

#[test]
fn where_nobody_is_shown_there_is_a_count_at_most() {
    let summary = |channel: &str| Event::Summary {
        topic: topic(channel),
        clock: TopicVersion {
            epoch: 1,
            version: 1,
        },
        count: 12,
        sample: vec![Arc::new(person("ann", &[""]))],
    };
    let [count] = &told(&summary("pusher/3/news"), "bob")[..] else {
        panic!("one frame");
    };
    let count = value(count);
    assert_eq!(count["event"], "pusher_internal:subscription_count");
    assert_eq!(count["data"], r#"{"subscription_count":12}"#);
    let changes = Event::Changes {
        topic: topic("pusher/3/news"),
        clock: TopicVersion {
            epoch: 1,
            version: 1,
        },
        changes: vec![Change::Joined(Arc::new(person("ann", &[""])))],
        everyone: None,
    };
    assert_eq!(told(&changes, "bob"), [""; 0]);
}

/// The texts of the frames that `user` gets.
fn told(event: &Event, user: &str) -> Vec<String> {
    let frames = Frames::of(frames_of(event)).without(event, &user.parse().unwrap());
    let mut bytes = Bytes::from(frames.concat());
    let mut texts = Vec::new();
    while !bytes.is_empty() {
        assert_eq!(bytes.get_u8(), 0x81);
        let length = match bytes.get_u8() {
            126 => usize::from(bytes.get_u16()),
            length => usize::from(length),
        };
        texts.push(String::from_utf8(bytes.split_to(length).to_vec()).unwrap());
    }
    texts
}

fn said(event: &str, data: &str) -> String {
    let data = json_of(&data);
    format!(r#"{{"event":"{event}","channel":"presence-room;1","data":{data}}}"#)
}

fn value(json: &str) -> Value {
    from_str(json).unwrap()
}

fn topic(channel: &str) -> Topic {
    Topic::Channel(ChannelId::new(channel).unwrap())
}

fn member(person: &mut Person) -> &mut Member {
    Arc::make_mut(&mut person.members[0])
}

/// Somebody with a tab for each meta.
fn person(id: &str, metas: &[&str]) -> Person {
    let user: UserId = id.parse().unwrap();
    let look = Arc::new(Look {
        status: Visible::Online,
        message: None,
        emoji: None,
    });
    let members = metas.iter().enumerate().map(|(tab, json)| {
        Arc::new(Member {
            session: SessionId::from_u128((1 << 100) + tab as u128),
            alias: SessionId::from_u128((1 << 100) + tab as u128),
            epoch: 1,
            user: user.clone(),
            device: DeviceKind::Web,
            joined_at: Timestamp::from_millis(1),
            meta: Arc::new(Meta::showing(*json, Shown::default()).unwrap()),
            look: look.clone(),
            look_revision: 1,
            profile: 0,
        })
    });
    Person {
        user: user.clone(),
        joined_at: Timestamp::from_millis(1),
        members: members.collect(),
    }
}
