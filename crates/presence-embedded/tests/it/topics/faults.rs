//! What the store does when it is told to fail, and at its bounds.

use std::future::poll_fn;
use std::pin::pin;
use std::slice::from_ref;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use presence_core::cluster::{
    Ephemeral, FencingToken, Field, Incarnation, Op, PARTITIONS, Record, SessionRecord, Subject,
    Write,
};
use presence_core::ports::{Notice, StoreError, Topics};
use presence_core::users::Activity;
use presence_core::{ChannelId, DeviceId, SessionId, Timestamp, Topic};
use presence_embedded::{NOTICES_MAX, RECENT, TopicLink, TopicMemory};
use tokio::time::advance;

const ME: Incarnation = Incarnation {
    node: 7,
    generation: 1,
};

#[tokio::test]
async fn while_the_store_is_away_every_call_fails_and_nothing_is_done() {
    let store = TopicMemory::new();
    let (here, there) = (store.connect(), store.connect());
    let [room, hall] = [room("room"), room("hall")];
    there.follow(from_ref(&room)).await;

    store.set_away(true);
    for link in [&here, &there] {
        check_away(link, &room).await;
    }
    store.set_away(false);

    assert_eq!(
        here.read(from_ref(&room)).await[0].as_ref().unwrap().clock,
        None
    );
    assert!(here.follow(from_ref(&hall)).await[0].is_ok());
    assert_eq!(heard(&there).await, []);
    assert_eq!(heard(&here).await, []);
    here.send_ephemeral(&[(room.clone(), vec![Ephemeral::Kicked])])
        .await;
    assert_eq!(
        heard(&there).await,
        [Notice::Ephemeral(room, vec![Ephemeral::Kicked])]
    );
}

#[tokio::test]
async fn a_node_that_is_cut_off_misses_what_others_do_and_is_told_so() {
    let store = TopicMemory::new();
    let (here, there) = (store.connect(), store.connect());
    let room = room("room");
    there.follow(from_ref(&room)).await;

    there.set_away(true);
    check_away(&there, &room).await;
    tell(&here, &room).await;
    there.set_away(false);

    let all: Vec<_> = (0..PARTITIONS).map(Notice::Forgot).collect();
    assert_eq!(heard(&there).await, all);
    tell(&here, &room).await;
    assert_eq!(heard(&there).await.len(), 1);
    // Coming back from nowhere is nothing.
    there.set_away(false);
    assert_eq!(heard(&there).await, []);
}

#[tokio::test]
async fn as_many_notices_are_lost_as_were_to_be() {
    let store = TopicMemory::new();
    let [here, there] = [store.connect(), store.connect()];
    let room = room("room");
    for link in [&here, &there] {
        link.follow(from_ref(&room)).await;
    }
    store.lose(3);
    for _ in 0..3 {
        tell(&here, &room).await;
    }
    assert_eq!(heard(&here).await.len() + heard(&there).await.len(), 3);

    store.lose(u64::MAX);
    tell(&here, &room).await;
    assert_eq!(heard(&here).await, []);
    store.lose(0);
    tell(&here, &room).await;
    assert_eq!(heard(&here).await.len(), 1);
}

#[tokio::test]
async fn a_node_that_hears_nothing_is_told_once_what_it_forgot() {
    let store = TopicMemory::new();
    let (here, there) = (store.connect(), store.connect());
    let [room, hall] = [room("room"), room("hall")];
    assert_ne!(room.partition(), hall.partition());
    there.follow(&[room.clone(), hall.clone()]).await;
    for _ in 0..NOTICES_MAX {
        tell(&here, &room).await;
    }
    for _ in 0..3 {
        tell(&here, &room).await;
        tell(&here, &hall).await;
    }
    // Room has been made, but that partition will be compared anyway.
    assert_ne!(there.next().await, Notice::Forgot(room.partition()));
    tell(&here, &room).await;

    let heard_all = heard(&there).await;
    let kept = NOTICES_MAX - 1;
    assert_eq!(heard_all.len(), kept + 2);
    let forgotten = [room.partition(), hall.partition()].map(Notice::Forgot);
    assert_eq!(heard_all[kept..], forgotten);
    tell(&here, &room).await;
    assert_eq!(heard(&there).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_changed_long_ago_is_not_compared() {
    let store = TopicMemory::new();
    let link = store.connect();
    let room = room("room");
    link.follow(from_ref(&room)).await;
    let write = Write {
        subject: room.clone(),
        by: ME,
        ops: vec![put()],
        is_last: false,
        until: None,
    };
    link.write(&[write]).await;
    advance(RECENT).await;
    link.compare().await.unwrap();
    let clock = link.read(from_ref(&room)).await[0].as_ref().unwrap().clock;
    assert_eq!(heard(&link).await.last(), Some(&Notice::At(room, clock)));
    advance(Duration::from_millis(1)).await;
    link.compare().await.unwrap();
    assert_eq!(heard(&link).await, []);
}

#[tokio::test]
async fn nobody_who_waits_sleeps_through_a_notice() {
    let store = TopicMemory::new();
    let link = store.connect();
    let room = room("room");
    link.follow(from_ref(&room)).await;
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let link = link.clone();
            tokio::spawn(async move { link.next().await })
        })
        .collect();
    tokio::task::yield_now().await;
    // One gives up, and takes nothing along.
    waiting[0].abort();
    tokio::task::yield_now().await;
    for _ in 0..2 {
        tell(&link, &room).await;
    }
    for it in waiting.into_iter().skip(1) {
        assert!(matches!(it.await.unwrap(), Notice::Ephemeral(..)));
    }
}

async fn check_away(link: &TopicLink, room: &Subject) {
    let subjects = from_ref(room);
    let write = Write {
        subject: room.clone(),
        by: ME,
        ops: vec![put()],
        is_last: false,
        until: None,
    };
    let is_away = |error| matches!(error, StoreError::Unavailable(_));
    let writes = [write.clone(), write];
    for written in link.write(&writes).await {
        assert!(is_away(written.unwrap_err()));
    }
    assert!(is_away(link.read(subjects).await.remove(0).unwrap_err()));
    assert!(is_away(link.follow(subjects).await.remove(0).unwrap_err()));
    link.send_ephemeral(&[(room.clone(), vec![Ephemeral::Kicked])])
        .await;
    assert!(is_away(link.compare().await.unwrap_err()));
    let ttl = Duration::from_secs(1);
    assert!(is_away(
        link.renew(ME, "me", ttl, Timestamp::default())
            .await
            .unwrap_err()
    ));
    assert!(is_away(link.mark_dead(ME).await.unwrap_err()));
    assert!(is_away(link.reap(ME).await.unwrap_err()));
    assert!(is_away(link.forget(ME).await.unwrap_err()));
    assert!(is_away(link.secret([0; 32]).await.unwrap_err()));
}

/// All that can be heard without waiting.
async fn heard(link: &TopicLink) -> Vec<Notice> {
    let mut all = Vec::new();
    let mut next = pin!(link.next());
    poll_fn(|cx| {
        while let Poll::Ready(notice) = next.as_mut().poll(cx) {
            all.push(notice);
            next.set(link.next());
        }
        Poll::Ready(())
    })
    .await;
    all
}

async fn tell(link: &TopicLink, subject: &Subject) {
    let ephemerals = (subject.clone(), vec![Ephemeral::Kicked]);
    link.send_ephemeral(&[ephemerals]).await;
}

fn put() -> Op {
    let record = SessionRecord {
        device: DeviceId::new("web:1").unwrap(),
        by_service: false,
        activity: Activity::Active,
        is_active: true,
        heard_at: Timestamp::from_millis(1),
        places: vec![],
        alias: None,
    };
    Op::put(
        Field::Session(SessionId::from_u128(1)),
        FencingToken::of_session(1, ME, 1),
        Record::Session(Arc::new(record)),
    )
}

fn room(name: &str) -> Subject {
    Subject::Topic(Topic::Channel(ChannelId::new(name).unwrap()))
}
