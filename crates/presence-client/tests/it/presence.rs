//! The client that stays connected, against a gateway that follows a script: what it says, and when.

use std::time::Duration;

use presence_client::wire::event::{self, Closing, CurrentUsers, Hello, Removed, Unchanged};
use presence_client::wire::{
    Command, Epoch, ErrorCode, Event, Have, Json, Mode, Ref, Target, TopicId, Visible, command,
};
use presence_client::{
    Connection, Options, Presence, PresenceError, PresenceEvent, Protocol, Rate, Rates, Stay,
    Trouble,
};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use crate::client::{Script, accept, hello};

const ROOM: &str = "room:1";

/// A gateway that lets everybody in.
struct Door(TcpListener);

impl Door {
    async fn new() -> (Door, Options) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let options = Options {
            protocol: Protocol::Json,
            ..Options::user(&url, "ann")
        };
        (Door(listener), options)
    }

    /// The next connection, with the query of its request.
    async fn opens(&self) -> (Script, String) {
        accept(&self.0, Protocol::Json).await
    }
}

fn ok(ref_: Option<&Ref>) -> Event {
    let ref_ = ref_.cloned();
    Event::Ok(event::Ok { ref_, result: None })
}

fn refusal(ref_: Option<&Ref>, code: ErrorCode, retry_after: Option<u64>) -> Event {
    Event::Error(event::Error {
        ref_: ref_.cloned(),
        code,
        message: "not now".to_owned(),
        field: None,
        retry_after,
    })
}

fn place() -> TopicId {
    TopicId::Channel(ROOM.into())
}

fn nobody(version: u64) -> Event {
    Event::CurrentUsers(CurrentUsers {
        place: place(),
        epoch: Epoch(5),
        version,
        mode: Mode::Full,
        count: 0,
        users: Vec::new(),
        typing: vec!["bob".into()],
        cursors: Vec::new(),
    })
}

/// The version that a join of the room brings along.
fn joined_with(command: &Command) -> Option<Have> {
    match command {
        Command::Join(it) if it.channel == ROOM => it.have,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn it_resumes_and_says_again_what_is_wanted_with_the_version_that_it_has() {
    let (door, options) = Door::new().await;
    let seen = Notify::new();
    let gateway = async {
        let (mut line, query) = door.opens().await;
        assert_eq!(query, "user_id=ann");
        line.says(&Event::Hello(hello())).await;
        let join = line.hears().await;
        assert_eq!(joined_with(&join), None);
        line.says(&ok(join.ref_())).await;
        line.says(&nobody(7)).await;
        // Lost without a word.
        seen.notified().await;
        drop(line);

        let (mut line, query) = door.opens().await;
        let resume = hello().resume;
        assert_eq!(
            query,
            format!("user_id=ann&device_id=web%3Abrowser_abc&resume={resume}")
        );
        line.says(&Event::Restored(Hello {
            heartbeat_interval: 150,
            ..hello()
        }))
        .await;
        let join = line.hears().await;
        let (epoch, version) = (Epoch(5), 7);
        assert_eq!(joined_with(&join), Some(Have { epoch, version }));
        line.says(&ok(join.ref_())).await;
        line.says(&Event::Unchanged(Unchanged {
            place: place(),
            epoch,
            version,
            typing: Vec::new(),
            cursors: Vec::new(),
        }))
        .await;
        for _ in 0..3 {
            let heartbeat = line.hears().await;
            assert!(matches!(heartbeat, Command::Heartbeat(_)), "{heartbeat:?}");
            line.says(&ok(heartbeat.ref_())).await;
        }
        line.says(&Event::Removed(Removed {
            target: Target::Channel(ROOM.into()),
        }))
        .await;
        line.closes(1001, "gone").await;

        // What was removed is not said again.
        let (mut line, _) = door.opens().await;
        line.says(&Event::Restored(Hello {
            heartbeat_interval: 150,
            ..hello()
        }))
        .await;
        let next = line.hears().await;
        assert!(matches!(next, Command::Heartbeat(_)), "{next:?}");
    };
    let client = async {
        let ann = Presence::connect(options);
        let mut events = ann.events();
        let room = ann.channel(ROOM);
        room.join(Stay::default()).await.unwrap();
        let state = room.until(|it| it.live).await.unwrap();
        assert_eq!(state.picture.typing(), ["bob".into()]);
        seen.notify_one();
        while events.next().await != Some(PresenceEvent::Hello { restored: true }) {}
        room.until(|it| it.live && it.joined && it.picture.typing().is_empty())
            .await
            .unwrap();
        while events.next().await != Some(PresenceEvent::Removed(place())) {}
        let state = room.state();
        assert!(!state.joined && !state.live && state.picture.have().is_none());
        while events.next().await != Some(PresenceEvent::Hello { restored: true }) {}
        ann
    };
    let both = async { tokio::join!(gateway, client) };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .unwrap();
}

#[tokio::test]
async fn later_is_said_again_and_no_is_taken_for_an_answer() {
    let (door, options) = Door::new().await;
    let gateway = async {
        let (mut line, _) = door.opens().await;
        line.says(&Event::Hello(hello())).await;
        let join = line.hears().await;
        let later = refusal(join.ref_(), ErrorCode::Overloaded, Some(30));
        line.says(&later).await;
        let join = line.hears().await;
        assert_eq!(joined_with(&join), None);
        line.says(&ok(join.ref_())).await;
        line.says(&nobody(7)).await;
        // What was granted once is refused after a restart, and nobody waits for it.
        line.says(&Event::Closing(Closing {
            code: 1012,
            reason: "restarting".into(),
            reconnect: true,
            retry_after: Some(10),
        }))
        .await;
        line.closes(1012, "restarting").await;
        let (mut line, _) = door.opens().await;
        line.says(&Event::Hello(hello())).await;
        let join = line.hears().await;
        line.says(&refusal(join.ref_(), ErrorCode::Forbidden, None))
            .await;
        line.says(&Event::Closing(Closing {
            code: 4410,
            reason: "kicked".into(),
            reconnect: false,
            retry_after: None,
        }))
        .await;
        line.closes(4410, "kicked").await;
    };
    let client = async {
        let ann = Presence::connect(options);
        let mut events = ann.events();
        let room = ann.channel(ROOM);
        room.join(Json::new("{}").unwrap()).await.unwrap();
        assert!(room.state().joined);
        let refused = loop {
            match events.next().await.unwrap() {
                PresenceEvent::Error {
                    place: Some(at),
                    error: Trouble::Command(PresenceError::Refused(it)),
                } if at == place() => break it,
                _ => {}
            }
        };
        assert_eq!(refused.code, ErrorCode::Forbidden);
        while events.next().await.is_some() {}
        let Connection::Closed(why) = ann.connection() else {
            panic!("{:?}", ann.connection());
        };
        assert_eq!((why.code, &*why.reason), (Some(4410), "kicked"));
        assert!(!room.state().joined);
    };
    let both = async { tokio::join!(gateway, client) };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_was_given_up_is_not_sent_later_but_a_join_holds() {
    let (door, options) = Door::new().await;
    let wait = Duration::from_millis(50);
    let ann = Presence::builder(options).command_max(wait).connect();
    let room = ann.channel(ROOM);
    let not_connected = Err(PresenceError::NotConnected(wait));
    assert_eq!(room.join(Stay::default()).await, not_connected);
    let word = Json::new("1").unwrap();
    assert_eq!(room.broadcast("late", word).await, not_connected);
    assert_eq!(room.typing(true).await, Err(PresenceError::Disconnected));
    let gateway = async {
        let (mut line, _) = door.opens().await;
        line.says(&Event::Hello(Hello {
            heartbeat_interval: 150,
            ..hello()
        }))
        .await;
        let join = line.hears().await;
        assert_eq!(joined_with(&join), None);
        let next = line.hears().await;
        assert!(matches!(next, Command::Heartbeat(_)), "{next:?}");
    };
    tokio::time::timeout(Duration::from_secs(20), gateway)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_url_that_is_none_ends_it_at_once() {
    let ann = Presence::connect(Options::user("http://127.0.0.1/ws", "ann"));
    let why = ann.online().await.unwrap_err();
    assert!(why.to_string().contains("http://127.0.0.1/ws"), "{why}");
}

/// The users that a watch is about.
fn watched(command: &Command) -> Vec<&str> {
    match command {
        Command::Watch(command::Watch {
            target: Target::Users(ids),
            ..
        }) => ids.iter().map(String::as_str).collect(),
        other => panic!("{other:?}"),
    }
}

fn status(user: &str, version: u64, status: Visible) -> Event {
    Event::Status(event::Status {
        epoch: Epoch(5),
        version,
        user_id: user.into(),
        status,
        custom_message: None,
        emoji: None,
        last_seen: None,
        devices: Vec::new(),
    })
}

#[tokio::test]
async fn one_who_may_not_be_followed_any_more_keeps_nobody_from_following_others() {
    let (door, options) = Door::new().await;
    let gateway = async {
        let (mut line, _) = door.opens().await;
        line.says(&Event::Hello(hello())).await;
        for user in ["bob", "eve"] {
            let watch = line.hears().await;
            assert_eq!(watched(&watch), [user]);
            line.says(&ok(watch.ref_())).await;
            line.says(&status(user, 1, Visible::Online)).await;
        }
        line.closes(1001, "gone").await;

        let (mut line, _) = door.opens().await;
        line.says(&Event::Hello(hello())).await;
        let both = line.hears().await;
        assert_eq!(watched(&both), ["bob", "eve"]);
        line.says(&refusal(both.ref_(), ErrorCode::Forbidden, None))
            .await;
        let bob = line.hears().await;
        assert_eq!(watched(&bob), ["bob"]);
        let eve = line.hears().await;
        assert_eq!(watched(&eve), ["eve"]);
        line.says(&refusal(bob.ref_(), ErrorCode::Forbidden, None))
            .await;
        line.says(&ok(eve.ref_())).await;
        // The same once more, something older, and news.
        for (version, seen) in [
            (1, Visible::Online),
            (3, Visible::Busy),
            (2, Visible::Away),
            (4, Visible::Offline),
        ] {
            line.says(&status("eve", version, seen)).await;
        }
        let end = line.hears().await;
        assert!(
            matches!(&end, Command::Unwatch(it) if it.target == Target::Users(vec!["eve".into()])),
            "{end:?}"
        );
    };
    let client = async {
        let ann = Presence::connect(options);
        let mut events = ann.events();
        let mut bob = ann.user("bob").follow().await.unwrap();
        let mut eve = ann.user("eve").follow().await.unwrap();
        for it in [&mut bob, &mut eve] {
            assert_eq!(it.next().await.unwrap().status, Visible::Online);
        }
        assert_eq!(bob.next().await, None);
        let refused = matches!(bob.error(), Some(PresenceError::Refused(it)) if it.code == ErrorCode::Forbidden);
        assert!(refused, "{:?}", bob.error());
        loop {
            let event = events.next().await.unwrap();
            if matches!(event, PresenceEvent::Error { .. }) {
                break;
            }
        }
        // Of what came while nobody read only the last counts.
        let mut seen = Vec::new();
        while seen.last() != Some(&Visible::Offline) {
            seen.push(eve.next().await.unwrap().status);
        }
        let order = [Visible::Busy, Visible::Offline];
        assert!(order.ends_with(&seen), "{seen:?}");
        drop(eve);
        ann
    };
    let both = async { tokio::join!(gateway, client) };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_was_sent_too_fast_is_sent_again_in_its_order() {
    let (door, options) = Door::new().await;
    let event_of = |it: &Command| match it {
        Command::Broadcast(it) => it.event.clone(),
        other => panic!("{other:?}"),
    };
    let gateway = async {
        let (mut line, _) = door.opens().await;
        line.says(&Event::Hello(hello())).await;
        let both = [line.hears().await, line.hears().await];
        assert_eq!(both.each_ref().map(event_of), ["one", "two"]);
        for it in &both {
            line.says(&refusal(it.ref_(), ErrorCode::RateLimited, Some(50)))
                .await;
        }
        for word in ["one", "two", "three"] {
            let it = line.hears().await;
            assert_eq!(event_of(&it), word);
            line.says(&ok(it.ref_())).await;
        }
    };
    let client = async {
        let ann = Presence::connect(options);
        ann.online().await.unwrap();
        let room = ann.channel(ROOM);
        let say = |word| room.broadcast(word, Json::new("1").unwrap());
        let later = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            say("three").await
        };
        let said = tokio::join!(say("one"), say("two"), later);
        assert_eq!(said, (Ok(()), Ok(()), Ok(())));
    };
    let both = async { tokio::join!(gateway, client) };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_was_given_up_while_it_waited_for_its_turn_is_not_sent() {
    let (door, options) = Door::new().await;
    let every = Duration::from_millis(200);
    let rates = Rates {
        broadcast: Rate { burst: 1, every },
        cursor: Rate { burst: 1, every },
        ..Rates::default()
    };
    let ann = Presence::builder(options).rates(rates).connect();
    let gateway = async {
        let (mut line, _) = door.opens().await;
        line.says(&Event::Hello(hello())).await;
        let mut heard = Vec::new();
        for _ in 0..4 {
            let it = line.hears().await;
            line.says(&ok(it.ref_())).await;
            heard.push(match it {
                Command::Broadcast(it) => it.event,
                Command::Cursor(it) => it.x.to_string(),
                other => panic!("{other:?}"),
            });
        }
        heard.sort();
        // Of the cursors that waited there is the last.
        assert_eq!(heard, ["0", "2", "one", "three"]);
    };
    let client = async {
        ann.online().await.unwrap();
        let room = ann.channel(ROOM);
        let say = |word| room.broadcast(word, Json::new("1").unwrap());
        let given_up = tokio::time::timeout(Duration::from_millis(20), say("two"));
        let said = tokio::join!(
            say("one"),
            given_up,
            say("three"),
            room.cursor(0.0, 0.0),
            room.cursor(1.0, 0.0),
            room.cursor(2.0, 0.0),
        );
        assert!(said.1.is_err());
        let done = (said.0, said.2, said.3, said.4, said.5);
        assert_eq!(done, (Ok(()), Ok(()), Ok(()), Ok(()), Ok(())));
    };
    let both = async { tokio::join!(gateway, client) };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_refused_enter_says_why_until_something_else_is_asked_for() {
    let (door, options) = Door::new().await;
    let gateway = async {
        let (mut line, _) = door.opens().await;
        line.says(&Event::Hello(hello())).await;
        let join = line.hears().await;
        assert_eq!(joined_with(&join), None);
        line.says(&refusal(join.ref_(), ErrorCode::Forbidden, None))
            .await;
        for _ in 0..2 {
            let next = line.hears().await;
            line.says(&ok(next.ref_())).await;
        }
    };
    let client = async {
        let ann = Presence::connect(options);
        let room = ann.channel(ROOM);
        let refused = room.enter(Stay::default()).await.unwrap_err();
        // It comes after the end of what was not entered.
        let word = Json::new("1").unwrap();
        room.broadcast("later", word).await.unwrap();
        assert_eq!(room.state().error, Some(refused));
        room.watch(Mode::Full).await.unwrap();
        assert_eq!(room.state().error, None);
    };
    let both = async { tokio::join!(gateway, client) };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .unwrap();
}

#[tokio::test]
async fn one_who_follows_between_the_status_and_the_answer_is_up_to_date() {
    let (door, options) = Door::new().await;
    let gateway = async {
        let (mut line, _) = door.opens().await;
        line.says(&Event::Hello(hello())).await;
        let watch = line.hears().await;
        assert_eq!(watched(&watch), ["bob"]);
        line.says(&status("bob", 1, Visible::Online)).await;
        // Two words, each said after what came before it was heard.
        for _ in 0..2 {
            let word = line.hears().await;
            line.says(&ok(word.ref_())).await;
        }
        line.says(&ok(watch.ref_())).await;
        line
    };
    let client = async {
        let ann = Presence::connect(options);
        ann.online().await.unwrap();
        let (room, bob) = (ann.channel(ROOM), ann.user("bob"));
        let say = || room.broadcast("word", Json::new("1").unwrap());
        let second = async {
            say().await.unwrap();
            let (second, word) = tokio::join!(bob.follow(), say());
            word.unwrap();
            second.unwrap()
        };
        let (first, second) = tokio::join!(bob.follow(), second);
        assert!(first.unwrap().is_live());
        assert!(second.status().is_some() && second.is_live());
    };
    let both = async { tokio::join!(gateway, client) };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .unwrap();
}
