//! Windows on big rooms: a few rows and what changes in them, on one gateway and on two.

use std::time::Duration;

use presence_client::wire::event::{Window, WindowChanges};
use presence_client::wire::{ErrorCode, Event, Target};
use presence_testkit::redis::{Redis, Settings, Topology};

use crate::gateway::{Running, start, start_closed};
use crate::people::Person;

/// The rows of a window, as a client keeps them.
#[derive(Debug, Default)]
struct Rows {
    names: Vec<String>,
    count: u64,
    states: usize,
}

impl Rows {
    /// What the events that a person has heard make of their window with this number.
    fn of(person: &Person, number: u32) -> Rows {
        let mut rows = Rows::default();
        for event in &person.heard {
            match event {
                Event::Window(it) if it.window == number => rows.begin(it),
                Event::WindowChanges(it) if it.window == number => rows.change(it),
                _ => {}
            }
        }
        rows
    }

    fn begin(&mut self, it: &Window) {
        self.names = it.users.iter().map(|it| it.id.to_string()).collect();
        self.count = it.count;
        self.states += 1;
    }

    fn change(&mut self, it: &WindowChanges) {
        let says = it.count.is_some() || !it.gone.is_empty() || !it.rows.is_empty();
        assert!(says && self.states > 0, "{it:?}");
        let moved: Vec<&str> = it.rows.iter().map(|it| &*it.user.id).collect();
        self.names
            .retain(|name| !moved.contains(&&**name) && !it.gone.iter().any(|it| **it == **name));
        for row in &it.rows {
            let name = row.user.id.to_string();
            self.names.insert(usize::try_from(row.at).unwrap(), name);
        }
        self.count = it.count.unwrap_or(self.count);
    }
}

/// Reads until the window has these rows, in a room of so many people.
async fn shows(person: &mut Person, number: u32, count: u64, names: &[&str]) {
    let holds = |it: &Person| {
        let rows = Rows::of(it, number);
        rows.names == names && rows.count == count
    };
    person.until(format!("{names:?} of {count}"), holds).await;
}

/// Somebody who joins under a name and watches nothing.
async fn joins(gateway: &Running, user: &str, name: &str) -> Person {
    let mut person = Person::connects(&gateway.options(user)).await;
    renames(&mut person, name).await;
    person
}

async fn renames(person: &mut Person, name: &str) {
    let join = format!(
        r#"{{"type":"presence:join","channel":"room:1","watch":false,"meta":{{"name":"{name}"}}}}"#
    );
    person.does(&join).await;
}

fn open(number: u32, more: &str) -> String {
    format!(r#"{{"type":"presence:openWindow","channel":"room:1","window":{number}{more}}}"#)
}

#[tokio::test]
async fn a_window_shows_a_few_rows_of_a_big_room_and_what_changes_in_them() {
    let gateway = start(&[("PRESENCE_LISTED_MAX", "2"), ("PRESENCE_FACES_MAX", "1")]).await;
    let mut all = Vec::new();
    for (user, name) in [("u1", "Dora"), ("u2", "anna"), ("u3", "Bea"), ("u4", "Ann")] {
        all.push(joins(&gateway, user, name).await);
    }
    let mut eve = Person::connects(&gateway.options("eve")).await;
    eve.does(&open(1, r#","limit":2"#)).await;
    eve.does(&open(2, r#","prefix":"AN""#)).await;
    eve.does(&open(3, r#","order":"name","after":{"name":"b"}"#))
        .await;
    shows(&mut eve, 1, 4, &["u1", "u2"]).await;
    shows(&mut eve, 2, 4, &["u4", "u2"]).await;
    shows(&mut eve, 3, 4, &["u3", "u1"]).await;

    // She is not in the room, and does not watch it.
    assert!(!eve.heard.iter().any(|it| matches!(it, Event::Summary(_))));
    all[0]
        .does(r#"{"type":"presence:leave","channel":"room:1"}"#)
        .await;
    renames(&mut all[3], "Zoe").await;
    shows(&mut eve, 1, 3, &["u2", "u3"]).await;
    shows(&mut eve, 2, 3, &["u2"]).await;
    shows(&mut eve, 3, 3, &["u3", "u4"]).await;

    all[1]
        .does(r#"{"type":"presence:status","status":"invisible"}"#)
        .await;
    shows(&mut eve, 1, 2, &["u3", "u4"]).await;
    shows(&mut eve, 2, 2, &[]).await;

    eve.does(&open(1, r#","order":"name","limit":1"#)).await;
    shows(&mut eve, 1, 2, &["u3"]).await;
    eve.does(r#"{"type":"presence:closeWindow","channel":"room:1","window":1}"#)
        .await;
    eve.does(r#"{"type":"presence:closeWindow","channel":"room:1","window":9}"#)
        .await;
    let heard = eve.heard.len();
    renames(&mut all[2], "Xaver").await;
    shows(&mut eve, 3, 2, &["u3", "u4"]).await;
    eve.until("Xaver", |it| {
        let mut changes = it.heard.iter().rev();
        changes.any(|it| format!("{it:?}").contains("Xaver"))
    })
    .await;
    let of_one = |it: &Event| matches!(it, Event::WindowChanges(it) if it.window == 1);
    assert!(!eve.heard[heard..].iter().any(of_one));
}

#[tokio::test]
async fn what_happens_outside_of_a_window_is_not_on_its_wire() {
    let gateway = start(&[]).await;
    let mut people = Vec::new();
    for n in 0..6 {
        people.push(joins(&gateway, &format!("u{n}"), &format!("N{n}")).await);
    }
    let mut eve = Person::connects(&gateway.options("eve")).await;
    eve.does(&open(1, r#","limit":2"#)).await;
    shows(&mut eve, 1, 6, &["u0", "u1"]).await;
    let heard = eve.heard.len();
    for n in 0..20 {
        for person in &mut people[2..] {
            renames(person, &format!("Other {n}")).await;
        }
    }
    renames(&mut people[0], "Last").await;
    let is_last = |it: &Event| format!("{it:?}").contains("Last");
    eve.until("Last", |it| it.heard.iter().any(is_last)).await;
    assert_eq!(eve.heard.len(), heard + 1, "{:?}", &eve.heard[heard..]);
}

#[tokio::test]
async fn after_a_reconnect_a_window_is_opened_again_and_its_rows_are_sent_again() {
    let gateway = start(&[]).await;
    let _ann = joins(&gateway, "ann", "Ann").await;
    let mut options = gateway.options("eve");
    let mut eve = Person::connects(&options).await;
    eve.does(&open(1, "")).await;
    shows(&mut eve, 1, 1, &["ann"]).await;
    options.resume = Some(eve.client.hello().resume.to_string());
    drop(eve);
    let mut eve = Person::connects(&options).await;
    let _bob = joins(&gateway, "bob", "Bob").await;
    eve.does(r#"{"type":"presence:ping"}"#).await;
    assert_eq!(
        Rows::of(&eve, 1).states,
        0,
        "a connection begins without windows"
    );
    eve.does(&open(1, "")).await;
    shows(&mut eve, 1, 2, &["ann", "bob"]).await;
    assert_eq!(Rows::of(&eve, 1).states, 1);
}

#[tokio::test]
async fn a_window_that_cannot_be_is_refused_with_the_field_and_the_limit() {
    let gateway = start(&[("PRESENCE_WINDOWS_MAX", "2")]).await;
    let mut eve = Person::connects(&gateway.options("eve")).await;
    let long = format!(r#","prefix":"{}""#, "x".repeat(257));
    for (more, field) in [
        (r#","limit":0"#, "limit"),
        (r#","limit":51"#, "limit"),
        (r#","order":"joined","prefix":"a""#, "prefix"),
        (long.as_str(), "prefix"),
        (r#","after":{"user_id":"a"}"#, "after.joined_at"),
        (r#","after":{"joined_at":1}"#, "after.user_id"),
        (
            r#","after":{"joined_at":1,"user_id":"a b"}"#,
            "after.user_id",
        ),
        (r#","after":{"name":"a","user_id":"a"}"#, "after.name"),
        (
            r#","order":"name","after":{"joined_at":1,"name":"a"}"#,
            "after.joined_at",
        ),
        (r#","order":"name","after":{}"#, "after.name"),
    ] {
        let why = eve.is_refused(&open(1, more)).await;
        assert_eq!(why.code, ErrorCode::Invalid, "{more}: {why:?}");
        assert_eq!(why.field.as_deref(), Some(field), "{more}");
    }
    eve.does(&open(1, "")).await;
    eve.does(&open(4_294_967_295, "")).await;
    let why = eve.is_refused(&open(3, "")).await;
    assert_eq!(why.code, ErrorCode::TooMany);
    assert_eq!(why.message, "at most 2 windows of one session");
    eve.does(&open(1, r#","limit":1"#)).await;
    let other = r#"{"type":"presence:openWindow","workspace":"acme","window":1}"#;
    let why = eve.is_refused(other).await;
    assert!(
        matches!(why.code, ErrorCode::TooMany | ErrorCode::Forbidden),
        "{why:?}"
    );
}

#[tokio::test]
async fn a_window_needs_the_right_to_watch_and_ends_with_it() {
    let gateway = start_closed(&[]).await;
    let hour = Duration::from_secs(3600);
    let token = |channels: &[&str]| {
        let channels = channels.iter().map(|&it| it.to_owned()).collect();
        gateway.token("eve", hour, |grant| grant.channels = channels)
    };
    let mut eve = Person::connects(&gateway.options_with(&token(&["room:1"]))).await;
    let other = r#"{"type":"presence:openWindow","channel":"secret:1","window":1}"#;
    assert_eq!(eve.is_refused(other).await.code, ErrorCode::Forbidden);
    eve.does(&open(1, "")).await;
    shows(&mut eve, 1, 0, &[]).await;
    let fresh = token(&["board:*"]);
    eve.does(&format!(
        r#"{{"type":"presence:authenticate","token":"{fresh}"}}"#
    ))
    .await;
    let room = Target::Channel("room:1".to_owned());
    let is_removed = |it: &Event| matches!(it, Event::Removed(it) if it.target == room);
    eve.until("to be out", |it| it.heard.iter().any(is_removed))
        .await;
    let heard = eve.heard.len();
    let ann = gateway.token("ann", hour, |grant| {
        grant.channels = vec!["room:1".to_owned()]
    });
    let _ann = Person::comes_with(&gateway.options_with(&ann)).await;
    eve.does(r#"{"type":"presence:ping"}"#).await;
    eve.notices_nothing_for(Duration::from_millis(300)).await;
    let of_window = |it: &Event| matches!(it, Event::Window(_) | Event::WindowChanges(_));
    assert!(!eve.heard[heard..].iter().any(of_window));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_is_right_across_gateways() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let begin = move || Redis::start(&path, &Settings::of(Topology::Single));
    let redis = tokio::task::spawn_blocking(begin).await.unwrap().unwrap();
    let url = redis.url();
    let settings = [
        ("REDIS_URL", url.as_str()),
        ("PRESENCE_LISTED_MAX", "2"),
        ("PRESENCE_FACES_MAX", "1"),
    ];
    let (here, there) = (start(&settings).await, start(&settings).await);
    let mut ann = joins(&there, "ann", "Ann").await;
    let mut bob = joins(&here, "bob", "Bob").await;
    let mut eve = Person::connects(&here.options("eve")).await;
    let mut far = Person::connects(&there.options("far")).await;
    for person in [&mut eve, &mut far] {
        person.does(&open(1, r#","order":"name","limit":3"#)).await;
        shows(person, 1, 2, &["ann", "bob"]).await;
    }
    let mut dan = joins(&there, "dan", "Dan").await;
    let _abe = joins(&here, "abe", "Abe").await;
    for person in [&mut eve, &mut far] {
        shows(person, 1, 4, &["abe", "ann", "bob"]).await;
    }
    ann.does(r#"{"type":"presence:status","status":"invisible"}"#)
        .await;
    renames(&mut dan, "Aaron").await;
    bob.says(r#"{"type":"presence:leave"}"#).await;
    for person in [&mut eve, &mut far] {
        shows(person, 1, 2, &["dan", "abe"]).await;
    }
    ann.does(r#"{"type":"presence:status","status":"online"}"#)
        .await;
    for person in [&mut eve, &mut far] {
        shows(person, 1, 3, &["dan", "abe", "ann"]).await;
    }
}
