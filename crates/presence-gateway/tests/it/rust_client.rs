//! The Rust client that stays connected, with real gateways: what it goes through, and what others see of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use presence_client::wire::{Chosen, ErrorCode, Field, Json, Mode, Reason, command};
use presence_client::{
    Channel, Connection, Difference, Events, Options, Presence, PresenceError, PresenceEvent,
    Refused, Stay,
};
use presence_testkit::ports;
use presence_testkit::proxy::{Mode as Wire, Proxy};
use tokio::net::{TcpListener, TcpStream};

use crate::gateway::{Running, options, soon, start, start_closed};
use crate::people::Person;
use crate::program::{Program, ProgramFolder};

#[path = "../../../presence-client/examples/bot.rs"]
#[allow(dead_code, unreachable_pub)] // It is a program.
mod bot;

const HOUR: Duration = Duration::from_secs(3600);

/// The ids of the people in `room`, as its picture has them.
fn ids(room: &Channel) -> Vec<String> {
    let state = room.state();
    state
        .picture
        .users()
        .iter()
        .map(|it| it.id.to_string())
        .collect()
}

/// Waits until the picture of `room` is up to date and has these people.
async fn sees(room: &Channel, people: &[&str]) {
    let seen = room.until(|state| {
        let users = state.picture.users();
        state.live && users.iter().map(|it| &*it.id).eq(people.iter().copied())
    });
    soon(format!("{people:?} in {:?}", room.id()), seen)
        .await
        .unwrap();
}

/// Reads events until `wanted` makes something of one. Returns that, and those before it.
async fn hears_of<T>(
    events: &mut Events,
    what: &str,
    wanted: impl Fn(&PresenceEvent) -> Option<T>,
) -> (T, Vec<PresenceEvent>) {
    let mut before = Vec::new();
    let read = async {
        loop {
            let event = events.next().await.expect("no end");
            if let Some(it) = wanted(&event) {
                return it;
            }
            before.push(event);
        }
    };
    let it = soon(what, read).await;
    (it, before)
}

fn hello(event: &PresenceEvent) -> Option<bool> {
    match event {
        PresenceEvent::Hello { restored } => Some(*restored),
        _ => None,
    }
}

fn word(word: &'static str) -> impl Fn(&PresenceEvent) -> Option<()> {
    move |event| match event {
        PresenceEvent::Broadcast(it) if &*it.event == word => Some(()),
        _ => None,
    }
}

/// Whether `event` says that somebody has come, gone, or is different.
fn is_about_people(event: &PresenceEvent) -> bool {
    use Difference::{Joined, Left, Updated};
    matches!(
        event,
        PresenceEvent::Changed {
            difference: Joined(_) | Updated(_) | Left(..),
            ..
        }
    )
}

fn json(text: &str) -> Json {
    Json::new(text).unwrap()
}

/// A program that always listens on the same port.
struct Again {
    folder: ProgramFolder,
    listen: String,
}

impl Again {
    fn new() -> Again {
        let port = ports::free(ports::GATEWAYS, 1, None).unwrap()[0];
        Again {
            folder: ProgramFolder::new(),
            listen: format!("127.0.0.1:{port}"),
        }
    }

    fn start(&self) -> Program {
        self.folder.start(&[("PRESENCE_LISTEN", &self.listen)])
    }
}

#[tokio::test]
async fn a_gateway_that_ends_and_starts_again_is_no_event_for_anybody() {
    let place = Again::new();
    let mut program = place.start();
    let ann = Presence::connect(options(program.address, "ann"));
    let bob = Presence::connect(options(program.address, "bob"));
    let rooms = |it: &Presence| [it.channel("room:1"), it.channel("room:2")];
    let (of_ann, of_bob) = (rooms(&ann), rooms(&bob));
    for room in of_ann.iter().chain(&of_bob) {
        soon("a room", room.join(json(r#"{"tool":"pen"}"#)))
            .await
            .unwrap();
    }
    for room in of_ann.iter().chain(&of_bob) {
        sees(room, &["ann", "bob"]).await;
    }
    let (mut heard_by_ann, mut heard_by_bob) = (ann.events(), bob.events());
    for kill in [true, false, true] {
        let session = ann.hello().unwrap().session;
        match kill {
            true => program.kill(),
            false => {
                program.signal("TERM");
                program.ends().await;
            }
        }
        soon("the loss", of_ann[0].until(|it| !it.live))
            .await
            .unwrap();
        // People stay in the picture, marked as not live.
        assert_eq!(ids(&of_ann[0]), ["ann", "bob"]);
        assert!(!of_ann[0].state().joined);
        program = place.start();
        for events in [&mut heard_by_ann, &mut heard_by_bob] {
            let (restored, _) = hears_of(events, "a hello", hello).await;
            assert!(restored);
        }
        for room in of_ann.iter().chain(&of_bob) {
            sees(room, &["ann", "bob"]).await;
            let joined = room.until(|it| it.joined);
            soon("the room again", joined).await.unwrap();
            assert_eq!(room.state().picture.surprises(), 0);
        }
        assert_eq!(ann.hello().unwrap().session, session);
        // Something later than all of that: nobody was told that anybody left or came.
        let said = of_bob[1].broadcast("later", json("1"));
        soon("a broadcast", said).await.unwrap();
        let (_, before) = hears_of(&mut heard_by_ann, "bob", word("later")).await;
        assert!(!before.iter().any(is_about_people), "{before:#?}");
        hears_of(&mut heard_by_bob, "bob", word("later")).await;
    }
}

#[tokio::test]
async fn who_comes_back_is_told_what_they_missed_and_others_hear_of_nothing() {
    let gateway = start(&[]).await;
    let mut watcher = Person::comes(&gateway, "eve").await;
    let proxy = Proxy::start(gateway.address()).unwrap();
    let ann = Presence::connect(options(proxy.address(), "ann"));
    let room = ann.channel("room:1");
    soon("the room", room.join(Stay::default())).await.unwrap();
    watcher.sees(&["eve", "ann"]).await;
    sees(&room, &["eve", "ann"]).await;
    let before = watcher.heard.len();
    let mut events = ann.events();

    proxy.set(Wire::Cut);
    soon("the loss", room.until(|it| !it.live)).await.unwrap();
    // Meanwhile somebody comes, and ann wants something else.
    let bob = Person::comes(&gateway, "bob").await;
    watcher.sees(&["eve", "ann", "bob"]).await;
    assert_eq!(room.typing(true).await, Err(PresenceError::Disconnected));
    let status = command::Status {
        ref_: None,
        status: Field::Value(Chosen::Busy),
        custom_message: Field::Absent,
        emoji: Field::Absent,
        clear_after: Field::Absent,
        expires_at: Field::Absent,
    };
    let waits = tokio::spawn({
        let ann = ann.clone();
        async move { ann.set_status(status).await }
    });
    tokio::task::yield_now().await;
    proxy.set(Wire::Pass);
    assert!(hears_of(&mut events, "ann again", hello).await.0);
    let (missed, _) = hears_of(&mut events, "what she missed", |event| match event {
        PresenceEvent::Changed {
            difference: Difference::Joined(user),
            ..
        } => Some(user.id.to_string()),
        _ => None,
    })
    .await;
    assert_eq!(missed, "bob");
    sees(&room, &["eve", "ann", "bob"]).await;
    assert_eq!(soon("the status", waits).await.unwrap(), Ok(()));
    watcher
        .until("ann busy", |it| {
            it.room
                .user("ann")
                .is_some_and(|it| it.status.as_str() == "busy")
        })
        .await;
    let left = watcher.heard[before..]
        .iter()
        .any(|it| it.to_json().contains("userLeft"));
    assert!(!left, "{:#?}", watcher.heard);
    drop(bob);
}

#[tokio::test]
async fn a_gateway_that_is_silent_is_left() {
    let gateway = start(&[("HEARTBEAT_INTERVAL", "1s")]).await;
    let proxy = Proxy::start(gateway.address()).unwrap();
    let ann = Presence::builder(options(proxy.address(), "ann"))
        .answer_max(Duration::from_millis(700))
        .opening_max(Duration::from_secs(2))
        .connect();
    soon("a connection", ann.online()).await.unwrap();
    let mut events = ann.events();
    // Heartbeats are answered for a while.
    let moved = |it: &PresenceEvent| matches!(it, PresenceEvent::Connection(_)).then_some(());
    let moved = hears_of(&mut events, "a loss", moved);
    let moved = tokio::time::timeout(Duration::from_millis(2500), moved).await;
    assert!(moved.is_err(), "{moved:?}");
    proxy.set(Wire::BlackHole);
    let (why, _) = hears_of(&mut events, "the loss", |event| match event {
        PresenceEvent::Connection(Connection::Reconnecting(it)) => it.last.clone(),
        _ => None,
    })
    .await;
    assert_eq!(&*why.reason, "no answer to a heartbeat");
    proxy.set(Wire::Pass);
    assert!(hears_of(&mut events, "a hello", hello).await.0);
}

#[tokio::test]
async fn a_refused_token_is_replaced_and_one_that_expires_is_renewed() {
    let gateway = Arc::new(start_closed(&[("PRESENCE_JWT_LEEWAY", "0s")]).await);
    let asked = Arc::new(AtomicUsize::new(0));
    let connect = {
        let (gateway, asked) = (gateway.clone(), asked.clone());
        move || {
            let number = asked.fetch_add(1, Ordering::SeqCst);
            let gateway: Arc<Running> = gateway.clone();
            async move {
                match number {
                    0 => Err("the sign-in server sleeps"),
                    1 => Ok("not.a.token".to_owned()),
                    2 => Ok(gateway.token("ann", Duration::from_secs(6), |_| {})),
                    _ => Ok(gateway.token("ann", HOUR, |_| {})),
                }
            }
        }
    };
    let url = format!("ws://{}/ws", gateway.address());
    let ann = Presence::builder(Options::new(&url))
        .token(connect)
        .connect();
    let mut events = ann.events();
    let (restored, before) = hears_of(&mut events, "a hello", hello).await;
    assert!(!restored);
    let failed = before
        .iter()
        .any(|it| format!("{it:?}").contains("the sign-in server sleeps"));
    assert!(failed, "{before:#?}");
    let refused = before.iter().find_map(|event| match event {
        PresenceEvent::Refused {
            reason, retrying, ..
        } => Some((*reason, *retrying)),
        _ => None,
    });
    assert_eq!(refused, Some((Refused::Invalid, true)), "{before:#?}");
    // Shortly before the end of the third it is replaced, on the same connection.
    let renewed = async {
        while asked.load(Ordering::SeqCst) < 4 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("a fourth token", renewed).await;
    let room = ann.channel("room:1");
    soon("the room", room.join(Stay::default())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(7)).await;
    assert_eq!(ann.connection(), Connection::Online);
    assert!(room.state().joined);
    let lost = tokio::time::timeout(Duration::ZERO, async {
        hears_of(&mut events, "nothing", |it| {
            matches!(it, PresenceEvent::Connection(Connection::Reconnecting(_))).then_some(())
        })
        .await
    });
    assert!(lost.await.is_err());
}

#[tokio::test]
async fn what_no_attempt_mends_ends_it_and_everybody_who_waits_hears_why() {
    let gateway = start_closed(&[]).await;
    // A token that cannot be replaced.
    let options = Options {
        token: Some("not.a.token".into()),
        ..Options::new(&format!("ws://{}/ws", gateway.address()))
    };
    let ann = Presence::connect(options);
    let mut events = ann.events();
    let room = ann.channel("room:1");
    let refused = soon("an answer", room.join(Stay::default())).await;
    assert!(
        matches!(refused, Err(PresenceError::Closed(_))),
        "{refused:?}"
    );
    let Connection::Closed(why) = ann.connection() else {
        panic!("{:?}", ann.connection());
    };
    assert_eq!(why.code, Some(4401));
    assert!(matches!(ann.online().await, Err(PresenceError::Closed(_))));
    let refused = |event: &PresenceEvent| match event {
        PresenceEvent::Refused {
            reason, retrying, ..
        } => Some((*reason, *retrying)),
        _ => None,
    };
    let (refused, _) = hears_of(&mut events, "a refusal", refused).await;
    assert_eq!(refused, (Refused::Invalid, false));
    let end = async { while events.next().await.is_some() {} };
    soon("the end of the events", end).await;
    assert!(ann.events().next().await.is_none());

    // A token that does not let its user in there: the connection stays.
    let token = gateway.token("bob", HOUR, |it| it.channels = vec!["room:1".into()]);
    let bob = Presence::connect(gateway.options_with(&token));
    let error = soon("an answer", bob.channel("room:2").join(Stay::default())).await;
    match error {
        Err(PresenceError::Refused(it)) => assert_eq!(it.code, ErrorCode::Forbidden),
        other => panic!("{other:?}"),
    }
    let room = bob.channel("room:1");
    soon("the other room", room.join(Stay::default()))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_slow_reader_of_events_is_told_so_and_the_state_is_right() {
    let gateway = start(&[]).await;
    let ann = Presence::builder(gateway.options("ann"))
        .events_max(4)
        .connect();
    let room = ann.channel("room:1");
    soon("the room", room.join(Stay::default())).await.unwrap();
    let mut events = ann.events();
    let mut people = vec!["ann".to_owned()];
    let mut others = Vec::new();
    for number in 0..10 {
        let name = format!("user{number}");
        others.push(Person::comes(&gateway, &name).await);
        people.push(name);
        let names: Vec<_> = people.iter().map(String::as_str).collect();
        sees(&room, &names).await;
    }
    match soon("an event", events.next()).await {
        Some(PresenceEvent::Lagged(missing)) => assert!(missing >= 6, "{missing}"),
        other => panic!("{other:?}"),
    }
    let (last, _) = hears_of(&mut events, "the last", |event| match event {
        PresenceEvent::Changed {
            difference: Difference::Joined(it),
            ..
        } => (&*it.id == "user9").then_some(()),
        _ => None,
    })
    .await;
    assert_eq!(last, ());
}

#[tokio::test]
async fn a_goodbye_is_told_at_once_and_a_dropped_client_is_a_lost_connection() {
    let gateway = start(&[("PRESENCE_GRACE", "1s")]).await;
    let mut watcher = Person::comes(&gateway, "eve").await;
    for (user, says_goodbye) in [("ann", true), ("bob", false)] {
        let presence = Presence::connect(gateway.options(user));
        let room = presence.channel("room:1");
        soon("the room", room.join(Stay::default())).await.unwrap();
        watcher.sees(&["eve", user]).await;
        let began = Instant::now();
        if says_goodbye {
            soon("the goodbye", presence.close()).await;
            assert!(matches!(presence.connection(), Connection::Closed(_)));
            let late = room.broadcast("late", json("1")).await;
            assert_eq!(late, Err(PresenceError::Closed("left".into())));
        }
        drop((presence, room));
        watcher.sees(&["eve"]).await;
        let reason = watcher.noticed.iter().rev().find_map(|it| match it {
            Difference::Left(_, reason) => *reason,
            _ => None,
        });
        let took = began.elapsed();
        match says_goodbye {
            true => assert_eq!(reason, Some(Reason::Left)),
            false => {
                assert_eq!(reason, Some(Reason::Lost));
                assert!(took >= Duration::from_secs(1), "{took:?}");
            }
        }
    }
}

#[tokio::test]
async fn commands_say_clearly_why_not() {
    let gateway = start(&[]).await;
    let ann = Presence::connect(gateway.options("ann"));
    let room = ann.channel("room:1");
    let code = |result: Result<(), PresenceError>| match result {
        Err(PresenceError::Refused(it)) => it.code,
        other => panic!("{other:?}"),
    };
    soon("a connection", ann.online()).await.unwrap();
    assert_eq!(code(room.update(json("{}")).await), ErrorCode::NotJoined);
    assert_eq!(
        code(room.broadcast("hello", json("1")).await),
        ErrorCode::NotJoined
    );
    assert_eq!(
        code(room.join(json("[1]")).await),
        ErrorCode::Invalid,
        "a meta that is no object"
    );
    assert!(!room.state().joined);
    assert!(room.state().error.is_some());
    room.join(json(r#"{"a":1}"#)).await.unwrap();
    assert!(room.state().joined && room.state().error.is_none());
    let long = json(&format!(r#"{{"a":"{}"}}"#, "x".repeat(100_000)));
    let result = room.update(long).await;
    assert!(
        matches!(result, Err(PresenceError::TooLarge { bytes_max, .. }) if bytes_max == 65_536),
        "{result:?}"
    );
    // The connection and the meta before it are still there.
    assert_eq!(ann.connection(), Connection::Online);
    sees(&room, &["ann"]).await;
    let meta = room.state().picture.users()[0].metas[0].meta.clone();
    assert_eq!(meta.as_str(), r#"{"a":1}"#);
    room.typing(true).await.unwrap();
    room.cursor(0.5, 0.5).await.unwrap();
    room.hide_cursor(0.5, 0.5).await.unwrap();
    assert_eq!(room.list(None, None).await.unwrap().total, 1);
    let statuses = ann.statuses(vec!["ann".into()]).await.unwrap();
    assert_eq!(&*statuses[0].user_id, "ann");
    room.leave().await.unwrap();
    assert!(!room.state().joined && room.state().picture.users().is_empty());
    room.watch(Mode::Summary).await.unwrap();
    soon(
        "a summary",
        room.until(|it| it.live && it.picture.mode() == Mode::Summary),
    )
    .await
    .unwrap();

    // Nobody listens there.
    let nowhere = options(([127, 0, 0, 1], 1).into(), "bob");
    let bob = Presence::builder(nowhere)
        .command_max(Duration::from_millis(300))
        .connect();
    let result = bob.channel("room:1").join(Stay::default()).await;
    let wait = Duration::from_millis(300);
    assert_eq!(result, Err(PresenceError::NotConnected(wait)));
}

#[tokio::test]
async fn over_tls_it_trusts_the_certificate_that_it_is_given_and_no_other() {
    let gateway = start(&[]).await;
    let certificate = || rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let (ours, other) = (certificate(), certificate());
    let address = terminate_tls(&ours, gateway.address()).await;
    let options = |trusted: &str| Options {
        root_certificates: Some(trusted.to_owned()),
        ..Options::user(&format!("wss://{address}/ws"), "ann")
    };
    let ann = Presence::connect(options(&ours.cert.pem()));
    let room = ann.channel("room:1");
    soon("the room", room.join(Stay::default())).await.unwrap();
    sees(&room, &["ann"]).await;

    let why = async |options| {
        let bob = Presence::connect(options);
        let mut events = bob.events();
        let tried = |event: &PresenceEvent| match event {
            PresenceEvent::Connection(Connection::Connecting(it)) => it.last.clone(),
            PresenceEvent::Connection(Connection::Closed(it)) => Some(it.clone()),
            _ => None,
        };
        hears_of(&mut events, "a failure", tried).await.0.reason
    };
    let stranger = why(options(&other.cert.pem())).await;
    assert!(stranger.contains("certificate"), "{stranger}");
    let none = why(options("no certificate")).await;
    assert!(none.contains("root_certificates"), "{none}");
}

/// A port where TLS ends in front of `gateway`.
async fn terminate_tls(
    made: &rcgen::CertifiedKey<rcgen::KeyPair>,
    gateway: std::net::SocketAddr,
) -> std::net::SocketAddr {
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // Who does not trust us hangs up.
                let Ok(mut client) = acceptor.accept(stream).await else {
                    return;
                };
                let mut server = TcpStream::connect(gateway).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

#[tokio::test]
async fn the_bot_greets_whoever_comes_answers_and_survives_a_restart() {
    let place = Again::new();
    let mut program = place.start();
    let url = format!("ws://{}/ws", place.listen);
    let bot = tokio::spawn(async move { bot::run(&url, "room:1").await });
    let ann = Presence::connect(options(program.address, "ann"));
    let mut events = ann.events();
    let room = ann.channel("room:1");
    soon("the room", room.join(Stay::default())).await.unwrap();
    // It comes after ann or before her; then it has not seen her come.
    soon("the bot", room.until(|it| it.picture.user("bot").is_some()))
        .await
        .unwrap();
    let eve = Person::comes_with(&options(program.address, "eve")).await;
    hears_of(
        &mut events,
        "a greeting",
        says("greeting", r#""Hello, eve""#),
    )
    .await;
    eve.client.close().await;
    for restarts in 0..2 {
        if restarts > 0 {
            program.kill();
            program = place.start();
            hears_of(&mut events, "a hello", hello).await;
        }
        let two = room.until(|it| it.live && it.picture.count() == 2);
        soon("ann and the bot", two).await.unwrap();
        // The bot may still be on its way back.
        let answered = async {
            loop {
                room.broadcast("ping", json("1")).await.unwrap();
                let pong = says("pong", r#""2 people are here""#);
                let pong = hears_of(&mut events, "a pong", pong);
                if tokio::time::timeout(Duration::from_secs(1), pong)
                    .await
                    .is_ok()
                {
                    return;
                }
            }
        };
        soon("an answer", answered).await;
    }
    bot.abort();
}

fn says(word: &'static str, text: &'static str) -> impl Fn(&PresenceEvent) -> Option<()> {
    move |event| match event {
        PresenceEvent::Broadcast(it) if &*it.event == word => {
            (it.payload.as_ref()?.as_str() == text).then_some(())
        }
        _ => None,
    }
}
