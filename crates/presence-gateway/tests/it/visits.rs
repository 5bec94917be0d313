//! What people see of each other in a room: the walk through everything that presence is for.

use std::time::Duration;

use presence_client::wire::event::{Broadcast, Own};
use presence_client::wire::{Event, Mode, Reason, Visible};
use presence_client::{Difference, Options, Protocol};

use crate::gateway::{now, start};
use crate::people::Person;
use crate::raw::Raw;

#[tokio::test]
async fn two_people_see_each_other_come_type_point_change_and_go() {
    let gateway = start(&[("TYPING_TTL", "400ms")]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    ann.sees(&["ann"]).await;

    // Coming.
    let mut bob = Person::comes(&gateway, "bob").await;
    bob.sees(&["ann", "bob"]).await;
    ann.sees(&["ann", "bob"]).await;
    assert_eq!(ann.room.mode(), Mode::Full);
    assert_eq!(ann.room.count(), 2);

    // Typing, until said otherwise.
    bob.does(r#"{"type":"presence:typing","channel":"room:1","typing":true}"#)
        .await;
    ann.until("bob typing", |it| types(it, &["bob"])).await;
    bob.does(r#"{"type":"presence:typing","channel":"room:1","typing":false}"#)
        .await;
    ann.until("bob not typing", |it| types(it, &[])).await;

    // Typing, until it runs out by itself: not before its time.
    let began = now();
    bob.does(r#"{"type":"presence:typing","channel":"room:1","typing":true}"#)
        .await;
    ann.until("bob typing", |it| types(it, &["bob"])).await;
    ann.until("bob not typing", |it| types(it, &[])).await;
    assert!(now().since(began) >= Duration::from_millis(400));

    // Pointing, and not at oneself.
    bob.does(r#"{"type":"presence:cursor","channel":"room:1","x":0.25,"y":0.5}"#)
        .await;
    bob.does(r#"{"type":"presence:selection","channel":"room:1","start":3,"end":7}"#)
        .await;
    let points = |it: &Person| {
        let cursor = it.room.cursors().values().next();
        cursor.is_some_and(|it| {
            let selected = it.selection.map(|it| (it.start, it.end));
            (it.x, it.y, it.visible, selected) == (Some(0.25), Some(0.5), Some(true), Some((3, 7)))
        })
    };
    ann.until("bob's cursor and selection", points).await;
    bob.tells("pointed").await;
    bob.hears_word("pointed").await;
    assert!(bob.room.cursors().is_empty(), "{:?}", bob.room.cursors());

    // A status with a message and an emoji.
    bob.does(
        r#"{"type":"presence:status","status":"busy","custom_message":"Deep work","emoji":"🎯"}"#,
    )
    .await;
    ann.until("bob busy", |it| {
        looks(it, "bob") == (Visible::Busy, Some("Deep work"), Some("🎯"))
    })
    .await;

    // Other words about oneself.
    bob.does(r##"{"type":"presence:update","channel":"room:1","meta":{"name":"Bob","color":"#123456","tool":"pen"}}"##)
        .await;
    ann.until("bob's pen", |it| {
        let bob = it.room.user("bob").unwrap();
        let meta = bob.metas[0].meta.as_str();
        bob.name.as_deref() == Some("Bob")
            && bob.color.as_deref() == Some("#123456")
            && meta == r##"{"name":"Bob","color":"#123456","tool":"pen"}"##
    })
    .await;

    // Going: the cursor goes too.
    bob.does(r#"{"type":"presence:leave","channel":"room:1"}"#)
        .await;
    ann.sees(&["ann"]).await;
    ann.until("no cursor", |it| it.room.cursors().is_empty())
        .await;
    assert_eq!(
        ann.noticed.iter().find_map(left),
        Some(("bob".to_owned(), Some(Reason::Left)))
    );
    assert_eq!((ann.room.surprises(), bob.room.surprises()), (0, 0));
}

#[tokio::test]
async fn one_who_leaves_for_good_is_closed_with_1000_and_gone_at_once() {
    let gateway = start(&[]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let mut bob = Person::comes(&gateway, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    bob.says(r#"{"type":"presence:leave"}"#).await;
    assert_eq!(bob.is_closed().await, 1000);
    let closing = bob.heard.iter().find_map(|it| match it {
        Event::Closing(it) => Some((it.code, it.reconnect)),
        _ => None,
    });
    assert_eq!(closing, Some((1000, false)), "told before");
    ann.sees(&["ann"]).await;
}

#[tokio::test]
async fn clients_of_both_encodings_in_one_room_are_told_the_same() {
    let gateway = start(&[("TYPING_TTL", "300ms")]).await;
    let watcher = |user: &str, protocol| Options {
        protocol,
        ..gateway.options(user)
    };
    let watch = r#"{"type":"presence:watch","channel":"room:1"}"#;
    let users = r#"{"type":"presence:watch","users":["bob"]}"#;
    let mut json = Person::connects(&watcher("json", Protocol::Json)).await;
    let mut binary = Person::connects(&watcher("binary", Protocol::Binary)).await;
    for it in [&mut json, &mut binary] {
        it.does(watch).await;
        it.does(users).await;
    }

    let mut bob = Person::comes_with(&watcher("bob", Protocol::Binary)).await;
    let mut eve = Person::comes_with(&watcher("eve", Protocol::Json)).await;
    bob.does(r#"{"type":"presence:typing","channel":"room:1","typing":true}"#)
        .await;
    eve.does(r#"{"type":"presence:cursor","channel":"room:1","x":1.5,"y":-2,"visible":false}"#)
        .await;
    bob.does(r#"{"type":"presence:status","status":"away","emoji":":tea:"}"#)
        .await;
    eve.does(
        r#"{"type":"presence:update","channel":"room:1","meta":{"deep":[1,{"x":"\u00e9\n"}]}}"#,
    )
    .await;
    eve.does(
        r#"{"type":"presence:broadcast","channel":"room:1","event":"e","payload":[1,2.50,null]}"#,
    )
    .await;
    eve.does(r#"{"type":"presence:leave","channel":"room:1"}"#)
        .await;
    for it in [&mut json, &mut binary] {
        it.sees(&["bob"]).await;
        it.until("bob away", |it| looks(it, "bob").0 == Visible::Away)
            .await;
        it.until("nobody typing", |it| types(it, &[])).await;
    }
    bob.tells("the end").await;
    json.hears_word("the end").await;
    binary.hears_word("the end").await;

    let told = |it: &Person, of_bob: bool| -> Vec<Event> {
        let about_bob = |it: &&Event| matches!(it, Event::Status(_)) == of_bob;
        let shared = |it: &&Event| !matches!(it, Event::Own(_) | Event::Ok(_));
        it.heard
            .iter()
            .filter(shared)
            .filter(about_bob)
            .cloned()
            .collect()
    };
    // Users and rooms are told of by different tasks: each in order, but not one after the other.
    assert!(told(&json, false).len() > 5, "{:#?}", json.heard);
    assert!(told(&json, true).len() > 2, "{:#?}", json.heard);
    assert_eq!(told(&json, false), told(&binary, false));
    assert_eq!(told(&json, true), told(&binary, true));
}

#[tokio::test]
async fn going_invisible_is_byte_for_byte_leaving() {
    let left = watched("bob", r#"{"type":"presence:leave"}"#).await;
    let invisible = r#"{"type":"presence:status","ref":9,"status":"invisible"}"#;
    let hid = watched("eve", invisible).await;
    assert_eq!(left, hid);
    let events = left.iter().filter(|it| it.contains("userLeft")).count();
    assert_eq!(
        events, 2,
        "one for the channel, one for the workspace: {left:#?}"
    );
}

/// Everything that three watchers are told, and what they are answered later, when `user` comes, does this and that,
/// and says `goodbye`; then what somebody is told who watches only from then on.
async fn watched(user: &str, goodbye: &str) -> Vec<String> {
    let gateway = start(&[]).await;
    let asks = [
        r#"{"type":"presence:watch","channel":"room:1"}"#.to_owned(),
        r#"{"type":"presence:watch","workspace":"default"}"#.to_owned(),
        format!(r#"{{"type":"presence:watch","users":["{user}"]}}"#),
    ];
    // In a workspace of its own, so that nothing else happens in the one that is looked at.
    let target = "/ws?user_id=watcher&device_id=web:w&workspace_id=elsewhere";
    let mut watchers = Vec::new();
    let mut told = Vec::new();
    for ask in &asks {
        let mut watcher = Raw::upgrade(gateway.address(), target, "").await;
        watcher.text(ask).await;
        // The first state has come before anything happens.
        until(
            &mut watcher,
            &mut told,
            &["presence:currentUsers", "presence:status"],
        )
        .await;
        watchers.push(watcher);
    }
    told.clear();

    let mut person = Raw::connect(gateway.address(), user).await;
    for json in [
        r#"{"type":"presence:join","ref":1,"channel":"room:1","meta":{"name":"X"}}"#,
        r#"{"type":"presence:typing","ref":1,"channel":"room:1","typing":true}"#,
        r#"{"type":"presence:cursor","ref":1,"channel":"room:1","x":1,"y":2}"#,
    ] {
        person.text(json).await;
        person.answer(1).await;
    }
    until(&mut watchers[0], &mut told, &["presence:cursors"]).await;
    until(&mut watchers[1], &mut told, &["presence:userJoined"]).await;
    until(&mut watchers[2], &mut told, &["\"status\":\"online\""]).await;

    person.text(goodbye).await;
    for watcher in &mut watchers {
        until(
            watcher,
            &mut told,
            &["presence:userLeft", "\"status\":\"offline\""],
        )
        .await;
    }
    // Several ticks later nothing else has come before the answer to a question.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let questions = [
        format!(r#"{{"type":"presence:get","ref":7,"users":["{user}"]}}"#),
        r#"{"type":"presence:list","ref":7,"channel":"room:1"}"#.to_owned(),
        r#"{"type":"presence:list","ref":7,"workspace":"default"}"#.to_owned(),
    ];
    for watcher in &mut watchers {
        for question in &questions {
            watcher.text(question).await;
            until(watcher, &mut told, &["\"ref\":7"]).await;
        }
    }
    for ask in &asks {
        let mut late = Raw::upgrade(gateway.address(), target, "").await;
        late.text(ask).await;
        until(
            &mut late,
            &mut told,
            &["presence:currentUsers", "presence:status"],
        )
        .await;
    }
    told.retain(|it| !it.contains("presence:hello"));
    told.iter().map(|it| anonymous(it, user)).collect()
}

/// Reads up to a frame with one of `marks` in it.
async fn until(raw: &mut Raw, told: &mut Vec<String>, marks: &[&str]) {
    loop {
        let text = text(raw).await;
        if text.contains("presence:self") {
            continue; // the watchers' own view of themselves
        }
        let found = marks.iter().any(|it| text.contains(it));
        told.push(text);
        if found {
            return;
        }
    }
}

async fn text(raw: &mut Raw) -> String {
    String::from_utf8(raw.next().await.unwrap().payload).unwrap()
}

/// Without ids and times.
fn anonymous(text: &str, user: &str) -> String {
    let text = text.replace(user, "USER");
    let mut out = String::new();
    let mut word = String::new();
    for c in text.chars().chain([' ']) {
        if c.is_ascii_alphanumeric() {
            word.push(c);
            continue;
        }
        let hexadecimal = word.bytes().all(|it| it.is_ascii_hexdigit());
        let digits = word.bytes().all(|it| it.is_ascii_digit());
        match (word.len(), hexadecimal, digits) {
            (16 | 32, true, false) | (6, true, _) | (13, _, true) => out.push('_'),
            _ => out.push_str(&word),
        }
        word.clear();
        out.push(c);
    }
    out
}

#[tokio::test]
async fn the_invisible_see_themselves_and_nobody_else_does() {
    let gateway = start(&[]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let mut bob = Person::comes(&gateway, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    bob.does(r#"{"type":"presence:status","status":"invisible"}"#)
        .await;
    let own = bob
        .hears_of("bob's own view", |event| match event {
            Event::Own(it) if it.shown == Visible::Offline => Some(it.clone()),
            _ => None,
        })
        .await;
    let Own {
        user_id, devices, ..
    } = own;
    assert_eq!((&*user_id, devices.len()), ("bob", 1));
    ann.sees(&["ann"]).await;

    // What would give them away is refused, or does nothing.
    let why = bob
        .is_refused(r#"{"type":"presence:typing","channel":"room:1","typing":true}"#)
        .await;
    assert_eq!(why.code.as_str(), "not_joined");
    let why = bob
        .is_refused(r#"{"type":"presence:broadcast","channel":"room:1","event":"x"}"#)
        .await;
    assert_eq!(why.code.as_str(), "not_joined");
    bob.does(r#"{"type":"presence:update","channel":"room:1","meta":{"name":"B"}}"#)
        .await;
    ann.notices_nothing_for(Duration::from_millis(200)).await;

    // Back again, with what was said meanwhile.
    bob.does(r#"{"type":"presence:status","status":"online"}"#)
        .await;
    ann.sees(&["ann", "bob"]).await;
    assert_eq!(ann.room.user("bob").unwrap().name.as_deref(), Some("B"));
}

#[tokio::test]
async fn a_broadcast_reaches_everybody_once_and_its_teller_too() {
    let gateway = start(&[]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let mut bob = Person::comes(&gateway, "bob").await;
    bob.does(
        r#"{"type":"presence:broadcast","channel":"room:1","event":"wave","payload":{"n":1}}"#,
    )
    .await;
    bob.tells("end").await;
    for it in [&mut ann, &mut bob] {
        it.hears_word("end").await;
        let waves: Vec<&Broadcast> = it.heard.iter().filter_map(wave).collect();
        assert_eq!(waves.len(), 1);
        assert_eq!(waves[0].payload.as_ref().unwrap().as_str(), r#"{"n":1}"#);
        assert_eq!(&*waves[0].user_id, "bob");
    }
}

fn wave(event: &Event) -> Option<&Broadcast> {
    match event {
        Event::Broadcast(it) if &*it.event == "wave" => Some(it),
        _ => None,
    }
}

#[tokio::test]
async fn a_person_on_two_devices_leaves_with_the_last_of_them() {
    let gateway = start(&[]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let on = |device: &str| Options {
        device_id: Some(device.into()),
        ..gateway.options("bob")
    };
    let mut web = Person::comes_with(&on("web:1")).await;
    let mut mobile = Person::comes_with(&on("mobile:1")).await;
    ann.until("both sessions", |it| {
        it.room.user("bob").is_some_and(|it| it.metas.len() == 2)
    })
    .await;
    web.does(r#"{"type":"presence:leave","channel":"room:1"}"#)
        .await;
    ann.until("one session", |it| {
        it.room.user("bob").is_some_and(|it| it.metas.len() == 1)
    })
    .await;
    assert_eq!(ann.departures(), 0);
    mobile
        .does(r#"{"type":"presence:leave","channel":"room:1"}"#)
        .await;
    ann.sees(&["ann"]).await;
    assert_eq!(ann.departures(), 1);
}

#[tokio::test]
async fn a_status_that_ends_ends_and_everybody_is_told() {
    let gateway = start(&[]).await;
    let mut ann = Person::comes(&gateway, "ann").await;
    let mut bob = Person::comes(&gateway, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    bob.does(r#"{"type":"presence:status","status":"busy","custom_message":"Call","emoji":"📞","clear_after":1}"#)
        .await;
    ann.until("bob busy", |it| {
        looks(it, "bob") == (Visible::Busy, Some("Call"), Some("📞"))
    })
    .await;
    ann.until("bob online", |it| {
        looks(it, "bob") == (Visible::Online, None, None)
    })
    .await;
}

#[tokio::test]
async fn who_says_nothing_is_timed_out_and_then_gone() {
    let gateway = start(&[
        ("HEARTBEAT_INTERVAL", "1000"),
        ("PRESENCE_TTL", "3s"),
        ("PRESENCE_GRACE", "100ms"),
    ])
    .await;
    let mut silent = Person::comes(&gateway, "bob").await;
    let mut ann = Person::comes(&gateway, "ann").await;
    ann.sees(&["bob", "ann"]).await;
    // Ann says that she is here, bob does not.
    let gone = |it: &Person| it.departures() == 1;
    while !gone(&ann) {
        ann.client.heartbeat().await.unwrap();
        let heard = tokio::time::timeout(Duration::from_millis(100), ann.hears()).await;
        assert!(!matches!(heard, Ok(None)), "{:?}", ann.client.ending());
    }
    assert_eq!(ann.ids(), ["ann"]);
    assert_eq!(
        ann.noticed.iter().find_map(left),
        Some(("bob".to_owned(), Some(Reason::TimedOut)))
    );
    assert_eq!(silent.is_closed().await, 4408);
}

fn types(person: &Person, users: &[&str]) -> bool {
    person
        .room
        .typing()
        .iter()
        .map(|it| &**it)
        .eq(users.iter().copied())
}

fn looks<'a>(person: &'a Person, user: &str) -> (Visible, Option<&'a str>, Option<&'a str>) {
    let user = person.room.user(user).unwrap();
    (
        user.status,
        user.custom_message.as_deref(),
        user.emoji.as_deref(),
    )
}

fn left(difference: &Difference) -> Option<(String, Option<Reason>)> {
    match difference {
        Difference::Left(user, reason) => Some((user.to_string(), *reason)),
        _ => None,
    }
}
