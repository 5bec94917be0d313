//! What the Rust client keeps of people, rooms and windows over reconnects, and how fast it speaks, with real gateways.

use std::time::Duration;

use futures_util::StreamExt;
use presence_client::wire::{Chosen, Event, Field, Json, Visible, command};
use presence_client::{
    Connection, Difference, Events, Follow, Options, Presence, PresenceEvent, Rate, Rates, Rows,
    Stay, Window, WindowState,
};
use presence_native::rates;
use presence_testkit::proxy::{Mode as Wire, Proxy};

use crate::gateway::{options, soon, start, start_closed};
use crate::people::Person;

const HOUR: Duration = Duration::from_secs(3600);

fn json(text: &str) -> Json {
    Json::new(text).unwrap()
}

fn status(chosen: Chosen) -> command::Status {
    command::Status {
        ref_: None,
        status: Field::Value(chosen),
        custom_message: Field::Absent,
        emoji: Field::Absent,
        clear_after: Field::Absent,
        expires_at: Field::Absent,
    }
}

/// The next status of somebody who is followed.
async fn next(follow: &mut Follow) -> Visible {
    let what = format!("a status of {}", follow.id());
    soon(what, follow.next()).await.unwrap().status
}

/// Waits until the client has noticed that its connection is lost.
async fn loses(events: &mut Events) {
    let lost = events.filter(|it| {
        let is_lost = matches!(it, PresenceEvent::Connection(Connection::Reconnecting(_)));
        std::future::ready(is_lost)
    });
    let mut lost = std::pin::pin!(lost);
    soon("a lost connection", lost.next()).await.unwrap();
}

/// Waits until the window has these rows, of so many people in all.
async fn shows(window: &Window, count: u64, people: &[&str]) -> WindowState {
    let shown = window.until(|state| {
        let users = state.users.iter().map(|it| &*it.id);
        state.live && state.count == count && users.eq(people.iter().copied())
    });
    soon(format!("{people:?} of {count}"), shown).await.unwrap()
}

#[tokio::test]
async fn who_is_followed_is_watched_again_on_the_next_connection() {
    let gateway = start(&[]).await;
    let proxy = Proxy::start(gateway.address()).unwrap();
    let ann = Presence::connect(options(proxy.address(), "ann"));
    let mut events = ann.events();
    let follow = soon("an answer", ann.user("bob").follow()).await;
    let mut follow = follow.unwrap();
    assert_eq!(next(&mut follow).await, Visible::Offline);
    let bob = Presence::connect(gateway.options("bob"));
    assert_eq!(next(&mut follow).await, Visible::Online);
    assert!(follow.is_live());

    proxy.set(Wire::Cut);
    loses(&mut events).await;
    // What is known stays, and is not up to date.
    assert_eq!(follow.status().unwrap().status, Visible::Online);
    assert!(!follow.is_live());
    let chose = bob.set_status(status(Chosen::Busy));
    soon("busy", chose).await.unwrap();
    proxy.set(Wire::Pass);
    assert_eq!(next(&mut follow).await, Visible::Busy);
    // Not only the state of then: what happens afterwards is told, too.
    let chose = bob.set_status(status(Chosen::Away));
    soon("away", chose).await.unwrap();
    assert_eq!(next(&mut follow).await, Visible::Away);

    // One more who follows is told at once what is known. Whoever stops takes nothing from others.
    let again = soon("an answer", ann.user("bob").follow()).await;
    let mut again = again.unwrap();
    assert_eq!(next(&mut again).await, Visible::Away);
    drop(follow);
    soon("the goodbye", bob.close()).await;
    assert_eq!(next(&mut again).await, Visible::Offline);
    soon("the goodbye", ann.close()).await;
    assert_eq!(soon("the end", again.next()).await, None);
    assert!(again.error().is_some());
}

#[tokio::test]
async fn a_crowd_that_is_followed_is_watched_with_few_commands() {
    let gateway = start(&[("PRESENCE_RATE_WATCH", "50/s burst 50")]).await;
    let proxy = Proxy::start(gateway.address()).unwrap();
    let ann = Presence::connect(options(proxy.address(), "ann"));
    let mut events = ann.events();
    let follows = (0..150).map(|number| {
        // As long as ids may be: not all of them fit into one frame.
        let user = ann.user(&format!("{number:0128}"));
        async move { user.follow().await.unwrap() }
    });
    let follows = futures_util::future::join_all(follows);
    let mut follows = soon("150 people", follows).await;
    for follow in &mut follows {
        assert_eq!(next(follow).await, Visible::Offline);
    }
    proxy.set(Wire::Cut);
    loses(&mut events).await;
    proxy.set(Wire::Pass);
    soon("a connection", ann.online()).await.unwrap();
    let came = Presence::connect(Options {
        device_id: None,
        ..options(gateway.address(), follows[149].id())
    });
    assert_eq!(next(&mut follows[149]).await, Visible::Online);
    drop(came);
}

#[tokio::test]
async fn entering_twice_needs_leaving_twice() {
    let gateway = start(&[]).await;
    let mut eve = Person::comes(&gateway, "eve").await;
    let ann = Presence::connect(gateway.options("ann"));
    let room = ann.channel("room:1");
    let first = room.enter(json(r#"{"as":"first"}"#));
    let first = soon("the first", first).await.unwrap();
    let second = room.enter(json(r#"{"as":"second"}"#));
    let second = soon("the second", second).await.unwrap();
    let shows = |meta: &'static str| {
        move |it: &Person| {
            let ann = it.room.user("ann");
            ann.is_some_and(|it| it.metas[0].meta.as_str() == meta)
        }
    };
    eve.until("the later meta", shows(r#"{"as":"second"}"#))
        .await;
    // The meta of the one who stays is shown again.
    drop(second);
    eve.until("the meta of the first", shows(r#"{"as":"first"}"#))
        .await;
    assert!(room.state().joined);
    // A join is one more of them.
    soon("a join", room.join(Stay::default())).await.unwrap();
    soon("the first leaves", first.leave()).await.unwrap();
    assert!(room.state().joined);
    let third = soon("the third", room.enter(Stay::default())).await;
    let third = third.unwrap();
    soon("all leave", room.leave()).await.unwrap();
    eve.sees(&["eve"]).await;
    assert!(!room.state().joined);
    // Whoever has left already takes nothing from those who come later.
    let fourth = soon("the fourth", room.enter(Stay::default())).await;
    let fourth = fourth.unwrap();
    drop(third);
    eve.sees(&["eve", "ann"]).await;
    let said = room.broadcast("still here", json("1"));
    soon("a broadcast", said).await.unwrap();
    soon("the fourth leaves", fourth.leave()).await.unwrap();
    eve.sees(&["eve"]).await;
    let came = |it: &&Difference| matches!(it, Difference::Joined(user) if &*user.id == "ann");
    assert_eq!(eve.noticed.iter().filter(came).count(), 2);
}

#[tokio::test]
async fn a_window_moves_holds_over_reconnects_and_gives_back_what_it_took() {
    let gateway = start(&[]).await;
    let mut people = Vec::new();
    for name in ["bob", "cid", "dan"] {
        people.push(Person::comes(&gateway, name).await);
    }
    let proxy = Proxy::start(gateway.address()).unwrap();
    let ann = Presence::connect(options(proxy.address(), "ann"));
    let mut events = ann.events();
    let room = ann.channel("room:1");
    let rows = Rows::by_name().limit(2);
    let window = soon("a window", room.window(rows.clone())).await.unwrap();
    let state = shows(&window, 3, &["bob", "cid"]).await;
    let more = rows.clone().after(&state.users[1]);
    soon("the next page", window.show(more)).await.unwrap();
    shows(&window, 3, &["dan"]).await;
    soon("the first page", window.show(rows)).await.unwrap();
    shows(&window, 3, &["bob", "cid"]).await;
    people.push(Person::comes(&gateway, "abe").await);
    shows(&window, 4, &["abe", "bob"]).await;

    proxy.set(Wire::Cut);
    loses(&mut events).await;
    assert!(!window.state().live && window.state().count == 4);
    let abe = people.pop().unwrap();
    let named = Rows::named("DA");
    let waits = tokio::spawn({
        let room = room.clone();
        async move { room.window(named).await.unwrap() }
    });
    tokio::task::yield_now().await;
    soon("a goodbye", abe.client.close()).await;
    proxy.set(Wire::Pass);
    shows(&window, 3, &["bob", "cid"]).await;
    let named = soon("a second window", waits).await.unwrap();
    shows(&named, 3, &["dan"]).await;

    // A session has at most eight: these would be too many if the dropped ones stayed open.
    for _ in 0..20 {
        let one = room.window(Rows::joined().limit(1));
        let one = soon("one more", one).await.unwrap();
        shows(&one, 3, &["bob"]).await;
    }
    let mut many = Vec::new();
    let refused = loop {
        match soon("an answer", room.window(Rows::default())).await {
            Ok(it) => many.push(it),
            Err(why) => break why,
        }
    };
    assert_eq!(many.len(), 6, "{refused}");
    assert!(refused.to_string().starts_with("too_many"), "{refused}");
    let wrong = window.show(Rows::default().limit(51));
    let wrong = soon("an answer", wrong).await.unwrap_err();
    assert!(wrong.to_string().starts_with("invalid"), "{wrong}");
    assert_eq!(window.state().error, Some(wrong));
}

#[tokio::test]
async fn what_may_not_be_watched_any_more_is_no_window() {
    let gateway = start_closed(&[]).await;
    let token = |channel: &str| {
        let channels = vec![channel.to_owned()];
        gateway.token("ann", HOUR, |it| it.channels = channels)
    };
    let ann = Presence::connect(gateway.options_with(&token("room:1")));
    let room = ann.channel("room:1");
    let window = soon("a window", room.window(Rows::default())).await;
    let window = window.unwrap();
    soon("the rows", window.until(|it| it.live)).await.unwrap();
    let narrowed = token("room:2");
    let fresh = ann.authenticate(&narrowed);
    soon("a fresh token", fresh).await.unwrap();
    let end = soon("the end", window.until(|_| false)).await;
    let end = end.unwrap_err().to_string();
    assert!(end.starts_with("forbidden"), "{end}");
}

#[tokio::test]
async fn commands_wait_instead_of_being_refused_and_keep_their_order() {
    // The client knows of these rates in one case, and finds out in the other.
    let known = Rates {
        broadcast: Rate {
            burst: 5,
            every: Duration::from_millis(50),
        },
        ..Rates::default()
    };
    for rates in [known, Rates::default()] {
        let gateway = start(&[("PRESENCE_RATE_BROADCAST", "20/s burst 5")]).await;
        let mut eve = Person::comes(&gateway, "eve").await;
        let ann = Presence::builder(gateway.options("ann"))
            .rates(rates)
            .connect();
        let room = ann.channel("room:1");
        soon("the room", room.join(Stay::default())).await.unwrap();
        let words: Vec<_> = (0..20).map(|it| format!("word{it}")).collect();
        let said = words.iter().map(|it| room.broadcast(it, json("1")));
        let said = soon("20 words", futures_util::future::join_all(said)).await;
        assert!(said.iter().all(Result::is_ok), "{said:?}");
        let heard = |it: &Person| {
            let words = it.heard.iter().filter_map(|event| match event {
                Event::Broadcast(it) => Some(it.event.to_string()),
                _ => None,
            });
            words.collect::<Vec<_>>()
        };
        eve.until("20 words", |it| heard(it).len() == 20).await;
        assert_eq!(heard(&eve), words);
        assert_eq!(ann.connection(), Connection::Online);
    }
}

#[test]
fn the_client_goes_by_the_rates_of_a_gateway_that_is_configured_with_none() {
    let (theirs, ours) = (rates::Rates::default(), Rates::default());
    let pairs = [
        (theirs.join, ours.join),
        (theirs.watch, ours.watch),
        (theirs.status, ours.status),
        (theirs.typing, ours.typing),
        (theirs.cursor, ours.cursor),
        (theirs.broadcast, ours.broadcast),
        (theirs.query, ours.query),
        (theirs.other, ours.other),
    ];
    for (theirs, ours) in pairs {
        assert_eq!(theirs.burst, ours.burst);
        // Never faster. The gateway counts in whole milliseconds.
        let slower = ours.every.checked_sub(theirs.every);
        assert!(slower.is_some_and(|it| it < Duration::from_millis(1)));
    }
}
