//! How often a room speaks.

use std::sync::Arc;
use std::time::Duration;

use presence_core::{Event, Meta, Tick, Timing, Watching};
use presence_embedded::{ProfileMemory, TopicMemory};
use presence_hub::{Delivery, Hub, Session, Settings};
use tokio::time::{Instant, timeout};

use crate::support::{channel, connect};

/// How many people are in the room, besides the one who watches.
const CROWD: usize = 20;

#[tokio::test(start_paused = true)]
async fn a_change_after_quiet_is_told_at_once() {
    let hub = hub(Tick::Auto);
    let (mut ann, mut crowd) = room(&hub).await;
    let begun = Instant::now();
    update(&mut crowd[0], 1);
    assert_eq!(next_changes(&mut ann).await, 1);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn what_is_found_together_is_one_event() {
    let hub = hub(Tick::Auto);
    let (mut ann, mut crowd) = room(&hub).await;
    for round in 1..=3 {
        // Nobody else runs meanwhile.
        crowd.iter_mut().for_each(|it| update(it, round));
        assert_eq!(next_changes(&mut ann).await, CROWD);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn with_a_fixed_tick_the_second_change_waits_for_it() {
    let hub = hub(Tick::Fixed(Duration::from_millis(200)));
    let (mut ann, mut crowd) = room(&hub).await;
    let begun = Instant::now();
    update(&mut crowd[0], 1);
    assert_eq!(next_changes(&mut ann).await, 1);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    update(&mut crowd[1], 1);
    assert_eq!(next_changes(&mut ann).await, 1);
    let waited = begun.elapsed().as_millis();
    assert!((200..=202).contains(&waited), "{waited} ms");
}

#[tokio::test(start_paused = true)]
async fn what_the_store_announces_together_is_one_event() {
    let store = TopicMemory::new();
    let profiles = Arc::new(ProfileMemory::new());
    let link = || Arc::new(store.connect());
    let here = Hub::join(Settings::default(), profiles.clone(), link(), "here").await;
    let there = Hub::join(Settings::default(), profiles, link(), "there").await;
    let (_bob, mut crowd) = room(&there).await;
    let mut ann = joined(&here, "ann").await;
    quiet(&mut ann).await;
    crowd.iter_mut().for_each(|it| update(it, 1));
    assert_eq!(next_changes(&mut ann).await, CROWD);
}

fn hub(tick: Tick) -> Hub {
    let settings = Settings {
        timing: Timing::default().with_tick(tick),
        shards: 1,
        ..Settings::default()
    };
    Hub::start(settings, Arc::new(ProfileMemory::new()))
}

/// Somebody who watches the room, and the crowd in it. Nothing has happened there for a while.
async fn room(hub: &Hub) -> (Session, Vec<Session>) {
    let mut watcher = joined(hub, "watcher").await;
    let mut crowd = Vec::new();
    for n in 0..CROWD {
        let mut session = connect(hub, &format!("user-{n}")).await;
        session.join(channel(), Arc::default(), None, None).unwrap();
        crowd.push(session);
    }
    quiet(&mut watcher).await;
    (watcher, crowd)
}

async fn joined(hub: &Hub, id: &str) -> Session {
    let mut session = connect(hub, id).await;
    let watch = Some((Watching::Full, None));
    session
        .join(channel(), Arc::default(), watch, None)
        .unwrap();
    session
}

/// Reads until nothing has come for a while.
async fn quiet(session: &mut Session) {
    while timeout(Duration::from_secs(3), session.next())
        .await
        .is_ok()
    {}
}

fn update(session: &mut Session, round: usize) {
    let meta = Meta::from_json(format!(r#"{{"round":{round}}}"#)).unwrap();
    session.update(channel(), Arc::new(meta), None).unwrap();
}

/// How many changes the next event has.
async fn next_changes(session: &mut Session) -> usize {
    loop {
        if let Delivery::Event(told) = session.next().await
            && let Event::Changes { changes, .. } = &*told.event
        {
            return changes.len();
        }
    }
}
