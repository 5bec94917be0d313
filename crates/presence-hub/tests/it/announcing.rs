//! Services that tell channels something without being there, and look where people are.

use std::sync::Arc;
use std::time::Duration;

use presence_core::{ChannelId, Event, Meta, Outsider, Payload, Refusal, Topic, Watching};
use presence_embedded::{ProfileMemory, TopicMemory};
use presence_hub::{Delivery, Hub, Reference, Session, Settings};

use crate::support::{channel, connect, hub, user};

#[tokio::test(start_paused = true)]
async fn who_watches_hears_a_service_that_is_not_there() {
    let hub = hub();
    announce(&hub, "nobody hears this").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut ann = connect(&hub, "ann").await;
    watch(&mut ann);
    assert_eq!(said(&mut ann).await, [""; 0]);
    announce(&hub, "hello").await.unwrap();
    announce(&hub, "again").await.unwrap();
    assert_eq!(said(&mut ann).await, ["hello", "again"]);
    assert!(
        hub.channels().await.is_empty(),
        "nobody is there for all that"
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_service_says_through_one_node_is_heard_once_on_all() {
    let store = TopicMemory::new();
    let join = async |name| {
        let link = Arc::new(store.connect());
        Hub::join(
            Settings::default(),
            Arc::new(ProfileMemory::new()),
            link,
            name,
        )
        .await
    };
    let (a, b, c) = (join("a").await, join("b").await, join("c").await);
    let mut here = connect(&a, "ann").await;
    let mut there = connect(&b, "bob").await;
    for session in [&mut here, &mut there] {
        watch(session);
        said(session).await;
    }
    announce(&a, "through a").await.unwrap();
    announce(&c, "through c").await.unwrap();
    for session in [&mut here, &mut there] {
        let mut heard = said(session).await;
        heard.sort_unstable();
        assert_eq!(heard, ["through a", "through c"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_announcements_is_refused_with_a_time() {
    let hub = hub();
    let mut ann = connect(&hub, "ann").await;
    watch(&mut ann);
    let max = hub.settings().limits.broadcasts_max;
    let mut refused = 0;
    for _ in 0..=max + 1 {
        match announce(&hub, "flood").await {
            Ok(()) => {}
            Err(Refusal::TooFast { .. }) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(refused > 0);
}

#[tokio::test(start_paused = true)]
async fn channels_are_listed_with_their_people_and_sessions() {
    let hub = hub();
    let mut tabs = Vec::new();
    for id in ["ann", "ann", "bob"] {
        let mut tab = connect(&hub, id).await;
        tab.join(channel(), Arc::default(), None, Some(Reference(1)))
            .unwrap();
        while !matches!(tab.next().await, Delivery::Granted(_)) {}
        tabs.push(tab);
    }
    let listed = hub.channels().await;
    let [room] = &listed[..] else {
        panic!("{listed:?}");
    };
    assert_eq!(
        (&room.channel, room.people, room.sessions),
        (&channel(), 2, 3)
    );
}

#[tokio::test(start_paused = true)]
async fn the_biggest_rooms_and_the_busiest_ones_are_named() {
    let hub = hub();
    let mut tabs = Vec::new();
    for (id, room) in [
        ("ann", "big"),
        ("bob", "big"),
        ("cem", "big"),
        ("dee", "busy"),
        ("eve", "quiet"),
    ] {
        let mut tab = connect(&hub, id).await;
        let room = ChannelId::new(room).unwrap();
        tab.join(room, Arc::default(), None, Some(Reference(1)))
            .unwrap();
        while !matches!(tab.next().await, Delivery::Granted(_)) {}
        tabs.push(tab);
    }
    let dee = &mut tabs[3];
    for n in 0..20 {
        let meta = Meta::from_json(format!("{{\"n\":{n}}}")).unwrap();
        let room = ChannelId::new("busy").unwrap();
        dee.update(room, Arc::new(meta), Some(Reference(2)))
            .unwrap();
        while !matches!(dee.next().await, Delivery::Granted(_)) {}
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // Each shard names one of each kind, so `quiet` may be among them.
    let levels = hub.room_levels(1).await;
    let named = |name: &str| levels.iter().find(|it| it.channel.as_str() == name);
    let (big, busy) = (named("big").unwrap(), named("busy").unwrap());
    assert_eq!((big.people, busy.people), (3, 1));
    assert!(busy.events_per_second > big.events_per_second, "{levels:?}");
    assert!(busy.events_per_second > 0.5, "{levels:?}");
    assert!(hub.room_levels(0).await.is_empty());
}

fn watch(session: &mut Session) {
    let topic = Topic::Channel(channel());
    session.watch(topic, Watching::Full, None, None).unwrap();
}

async fn announce(hub: &Hub, event: &str) -> Result<(), Refusal> {
    let who = (Outsider::new(7), user("service"));
    hub.announce(channel(), who, event.into(), Payload::none())
        .await
}

/// What a session hears of broadcasts within a second.
async fn said(session: &mut Session) -> Vec<String> {
    let mut said = Vec::new();
    let second = tokio::time::Instant::now() + Duration::from_secs(1);
    while let Ok(delivery) = tokio::time::timeout_at(second, session.next()).await {
        if let Delivery::Event(told) = delivery
            && let Event::Broadcast { event, sender, .. } = &*told.event
        {
            assert_eq!(sender.outsider(), Some(Outsider::new(7)));
            said.push(event.to_string());
        }
    }
    said
}
