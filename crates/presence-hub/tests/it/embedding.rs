//! What a service that has a hub in it relies on, and the gateway does not.

use std::time::Duration;

use presence_core::{Event, Pointer, Refusal, Topic, Watching};
use presence_hub::{COMMANDS_WAITING_MAX, Delivery, Reference, Session};
use presence_testkit::redis::{Redis, Settings, Topology};

use crate::support::{Watcher, channel, connect, hub, refused, resume, user};

#[tokio::test(start_paused = true)]
async fn a_session_that_only_sends_commands_is_not_timed_out() {
    let hub = hub();
    let mut ann = Watcher::join(&hub, "ann").await;
    let bob = Watcher::join(&hub, "bob").await;
    let silent = Watcher::join(&hub, "silent").await;
    ann.sees(&["ann", "bob", "silent"]).await;
    // Ten times as long as a session may be silent, and not one heartbeat.
    for step in 0..60 {
        let (x, y, visible) = (f64::from(step), 1.0, true);
        let pointer = Pointer { x, y, visible };
        bob.session.point(channel(), pointer, None).unwrap();
        ann.session.watch_user(user("nobody"), None).unwrap();
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    ann.sees(&["ann", "bob"]).await;
    assert_eq!(ann.heard().last().unwrap(), "silent left TimedOut");
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn a_connection_takes_its_watches_along_and_is_told_what_it_missed() {
    let hub = hub();
    let mut ann = connect(&hub, "ann").await;
    let room = Topic::Channel(channel());
    ann.watch(room.clone(), Watching::Full, None, None).unwrap();
    ann.watch_user(user("bob"), None).unwrap();
    let _bob = Watcher::join(&hub, "bob").await;
    let told = told(&mut ann).await;
    assert!(told.iter().any(|it| it == "bob joined"), "{told:?}");

    let (before, mut watches) = (ann.connection(), ann.watched());
    drop(ann);
    let _eve = Watcher::join(&hub, "eve").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut ann = resume(&hub, "ann", before).await;
    assert_eq!((watches.topics.len(), watches.users.len()), (1, 1));
    ann.watch_again(&mut watches).unwrap();
    assert!(watches.topics.is_empty() && watches.users.is_empty());
    let told = self::told(&mut ann).await;
    assert!(told.iter().any(|it| it == "eve joined"), "{told:?}");
    assert!(told.iter().any(|it| it == "view of bob"), "{told:?}");
    assert!(!told.iter().any(|it| it == "everyone"), "{told:?}");
    assert!(ann.watches_topic(&room) && ann.watches_user(&user("bob")));
}

#[tokio::test(start_paused = true)]
async fn two_tasks_hold_one_session() {
    let hub = hub();
    let (mut reader, commander) = connect(&hub, "ann").await.split();
    let reading = tokio::spawn(async move {
        loop {
            if let Delivery::Refused(reference, why) = reader.next().await {
                return (reader, reference, why);
            }
        }
    });
    let watch = Some((Watching::Full, None));
    let joined =
        commander.run(move |it| it.join(channel(), std::sync::Arc::default(), watch, None));
    joined.await.unwrap().unwrap();
    // Commands of clones are carried out in the order in which they were sent.
    let other = commander.clone();
    let watches = other.run(|it| it.watches_topic(&Topic::Channel(channel())));
    assert!(watches.await.unwrap());
    let elsewhere = "room:43".parse().unwrap();
    let typed = commander.run(|it| it.typing(elsewhere, true, Some(Reference(1))));
    typed.await.unwrap().unwrap();
    let (reader, reference, why) = reading.await.unwrap();
    assert_eq!((reference, why), (Some(Reference(1)), Refusal::NotJoined));

    // Nobody reads: commands wait, up to the bound, and are refused when the session is whole again.
    let mut waiting = Vec::new();
    for _ in 0..COMMANDS_WAITING_MAX + 1 {
        let commander = commander.clone();
        waiting.push(tokio::spawn(async move { commander.run(|_| ()).await }));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(waiting.iter().all(|it| !it.is_finished()));
    let session = reader.into_session();
    for it in waiting {
        assert_eq!(it.await.unwrap(), Err(Refusal::NoSession));
    }
    session.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_has_stopped_says_so() {
    let hub = hub();
    let ann = connect(&hub, "ann").await;
    hub.stop(Duration::from_secs(5)).await;
    assert_eq!(refused(&hub, "bob").await, Refusal::Stopped);
    let view = hub.public_view(&user("ann")).await;
    assert_eq!(view.unwrap_err(), Refusal::Stopped);
    assert!(ann.heard().is_err());
}

#[test]
#[should_panic(expected = "timers are disabled")]
fn a_runtime_without_timers_is_refused_at_the_start() {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    runtime.block_on(async { drop(hub()) });
}

#[allow(dead_code, unreachable_pub)] // an example has a `main`, and is no module
#[path = "../../examples/two_nodes.rs"]
mod two_nodes;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_two_nodes_runs_on_a_redis() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::of(Topology::Single);
    let redis = Redis::start(folder.path(), &settings).unwrap();
    let (url, patience) = (redis.url(), Duration::from_secs(30));
    let run = tokio::time::timeout(patience, two_nodes::run(&url));
    run.await.expect("both nodes within 30 s").unwrap();
}

/// What the session is told within a second, in words.
async fn told(session: &mut Session) -> Vec<String> {
    let mut told = Vec::new();
    let second = tokio::time::sleep(Duration::from_secs(1));
    tokio::pin!(second);
    loop {
        let delivery = tokio::select! {
            delivery = session.next() => delivery,
            () = &mut second => return told,
        };
        let Delivery::Event(shared) = delivery else {
            continue;
        };
        match &*shared.event {
            Event::Everyone { .. } => told.push("everyone".to_owned()),
            Event::Changes { changes, .. } => {
                for change in changes {
                    if let presence_core::Change::Joined(person) = change {
                        told.push(format!("{} joined", person.user));
                    }
                }
            }
            Event::PublicView(view) => told.push(format!("view of {}", view.user)),
            _ => {}
        }
    }
}
