//! What a hub promises, seen through its handles.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod adapters;
mod announcing;
mod cluster;
mod embedding;
mod explaining;
mod hiding;
mod keeping;
mod outbox;
mod pace;
mod states;
mod support;
mod telling;
mod windows;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::{Chosen, Reason, Refusal, StatusChange, Topic, Visible, Watching};
use presence_embedded::ProfileMemory;
use presence_hub::{Ended, Hub, Reference, Settings};
use support::{FlakyStore, Watcher, channel, connect, hub, refused, resume, user};

const FULL: Option<(Watching, Option<presence_core::TopicVersion>)> = Some((Watching::Full, None));

fn chose(chosen: Chosen) -> StatusChange {
    StatusChange {
        chosen: Some(chosen),
        ..StatusChange::default()
    }
}

#[tokio::test(start_paused = true)]
async fn two_people_in_a_room_see_each_other_come_and_go() {
    let hub = hub();
    let mut ann = Watcher::join(&hub, "ann").await;
    let bob = Watcher::join(&hub, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    bob.session.end().await;
    ann.sees(&["ann"]).await;
    assert_eq!(ann.heard(), ["ann joined", "bob joined", "bob left Left"]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_back_in_time_is_no_event() {
    let hub = hub();
    let mut ann = Watcher::join(&hub, "ann").await;
    let bob = Watcher::join(&hub, "bob").await;
    ann.sees(&["ann", "bob"]).await;

    let before = bob.session.connection();
    drop(bob);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let bob = resume(&hub, "bob", before).await;
    assert!(bob.is_restored());
    ann.is_quiet_for(Duration::from_secs(30)).await;

    drop(bob);
    ann.sees(&["ann"]).await;
    assert_eq!(ann.heard().last().unwrap(), "bob left Lost");
}

#[tokio::test(start_paused = true)]
async fn a_newer_connection_replaces_an_older_one_whose_end_then_means_nothing() {
    let hub = hub();
    let mut ann = Watcher::join(&hub, "ann").await;
    let mut old = Watcher::join(&hub, "bob").await;
    ann.sees(&["ann", "bob"]).await;

    let new = resume(&hub, "bob", old.session.connection()).await;
    assert!(new.is_restored());
    assert_eq!(old.ended().await, Ended::Closed(Reason::Replaced));
    drop(old);
    ann.is_quiet_for(Duration::from_secs(30)).await;
}

#[tokio::test(start_paused = true)]
async fn going_invisible_is_leaving_and_a_status_is_kept_before_it_is_granted() {
    let store = Arc::new(ProfileMemory::new());
    let hub = Hub::start(Settings::default(), store.clone());
    let mut ann = Watcher::join(&hub, "ann").await;
    let bob = Watcher::join(&hub, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    hub.choose(&user("bob"), chose(Chosen::Invisible))
        .await
        .unwrap();
    ann.sees(&["ann"]).await;
    assert_eq!(ann.heard().last().unwrap(), "bob left Left");
    assert_eq!(
        hub.public_view(&user("bob")).await.unwrap().look.status,
        Visible::Offline
    );
    drop(bob);

    // Another hub on the same store, as after a restart: bob still hides.
    let hub = Hub::start(Settings::default(), store);
    let own_view = hub.own_view(&user("bob")).await.unwrap();
    assert_eq!(own_view.chosen, Chosen::Invisible);
}

#[tokio::test(start_paused = true)]
async fn who_reads_slowly_is_told_the_difference_and_memory_is_bounded() {
    let settings = Settings {
        outbox_bytes_max: 16 * 1024,
        ..Settings::default()
    };
    let hub = Hub::start(settings, Arc::new(ProfileMemory::new()));
    let mut slow = Watcher::join(&hub, "slow").await;
    slow.sees(&["slow"]).await;
    let mut fast = Watcher::join(&hub, "fast").await;
    for round in 0..50 {
        let crowd: Vec<String> = (0..20).map(|n| format!("user-{round}-{n}")).collect();
        let mut sessions = Vec::new();
        for name in &crowd {
            sessions.push(Watcher::join(&hub, name).await);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        for watcher in sessions {
            watcher.session.end().await;
        }
        fast.sees(&["slow", "fast"]).await;
    }
    let _last = Watcher::join(&hub, "last").await;
    slow.sees(&["slow", "fast", "last"]).await;
    assert!(hub.counters().conflated.load(Relaxed) > 0);
    assert!(
        slow.heard().len() < 1000,
        "it was told everything after all"
    );
}

#[tokio::test(start_paused = true)]
async fn who_lags_again_while_catching_up_is_told_the_difference_all_the_same() {
    let settings = Settings {
        outbox_bytes_max: 4 * 1024,
        ..Settings::default()
    };
    let hub = Hub::start(settings, Arc::new(ProfileMemory::new()));
    let mut slow = Watcher::join(&hub, "slow").await;
    slow.sees(&["slow"]).await;
    for lag in 1..=3 {
        let mut round = 0;
        while hub.counters().conflated.load(Relaxed) < lag {
            round += 1;
            let bob = Watcher::join(&hub, &format!("user-{lag}-{round}")).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
            bob.session.end().await;
        }
        // It notices that it lags and asks for what it missed; the answer is dropped with the next backlog.
        while tokio::time::timeout(Duration::ZERO, slow.session.next())
            .await
            .is_ok()
        {}
    }
    let _last = Watcher::join(&hub, "last").await;
    // Well before its own time is over: it says nothing here.
    let seen = tokio::time::timeout(Duration::from_secs(20), slow.sees(&["slow", "last"]));
    seen.await.expect("it was never told again");
}

#[tokio::test(start_paused = true)]
async fn a_user_who_is_kicked_is_gone_at_once() {
    let hub = hub();
    let mut ann = Watcher::join(&hub, "ann").await;
    let mut bob = Watcher::join(&hub, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    hub.kick(&user("bob")).await.unwrap();
    assert_eq!(bob.ended().await, Ended::Closed(Reason::Kicked));
    ann.sees(&["ann"]).await;
    assert_eq!(ann.heard().last().unwrap(), "bob left Kicked");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_delays_answers_and_loses_nothing() {
    let store = Arc::new(FlakyStore::default());
    let hub = Hub::start(Settings::default(), store.clone());
    let mut ann = Watcher::join(&hub, "ann").await;
    let _bob = Watcher::join(&hub, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    store.away.store(true, Relaxed);

    let busy = tokio::spawn({
        let hub = hub.clone();
        async move { hub.choose(&user("bob"), chose(Chosen::Busy)).await }
    });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!busy.is_finished(), "granted before it was kept");
    assert!(hub.counters().store_away.load(Relaxed));
    assert_eq!(
        hub.public_view(&user("bob")).await.unwrap().look.status,
        Visible::Busy,
        "people are told without waiting for the store"
    );

    store.away.store(false, Relaxed);
    busy.await.unwrap().unwrap();
    assert_eq!(
        store.saved(&user("bob")).unwrap().status.chosen,
        Chosen::Busy
    );
    assert_eq!(hub.counters().unsaved.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_shown_before_it_is_known_whether_they_hide() {
    let store = Arc::new(FlakyStore::default());
    let hub = Hub::start(Settings::default(), store.clone());
    hub.choose(&user("bob"), chose(Chosen::Invisible))
        .await
        .unwrap();
    let mut ann = Watcher::join(&hub, "ann").await;
    ann.sees(&["ann"]).await;
    store.away.store(true, Relaxed);
    let bob = tokio::spawn({
        let hub = hub.clone();
        async move { Watcher::join(&hub, "bob").await }
    });
    ann.is_quiet_for(Duration::from_secs(60)).await;
    store.away.store(false, Relaxed);
    let _bob = bob.await.unwrap();
    ann.is_quiet_for(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_keeps_nobody_else_waiting() {
    let store = Arc::new(FlakyStore::default());
    store.corrupt.lock().unwrap().insert(user("eve"));
    let hub = Hub::start(
        Settings {
            shards: 1,
            ..Settings::default()
        },
        store.clone(),
    );
    let eve = async {
        // She may have been hiding, so she is not let in; and nobody waits for what does not come.
        for _ in 0..3 {
            assert_eq!(refused(&hub, "eve").await, Refusal::Unavailable);
            let public_view = hub.public_view(&user("eve")).await;
            assert_eq!(public_view, Err(Refusal::Unavailable));
        }
    };
    let others = async {
        for n in 0..50 {
            connect(&hub, &format!("user-{n}")).await;
        }
    };
    tokio::join!(eve, others);
    store.corrupt.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(6)).await;
    connect(&hub, "eve").await;
}

#[tokio::test(start_paused = true)]
async fn one_call_about_many_users_answers_without_those_who_cannot_be_read() {
    const WAIT: Duration = Duration::from_secs(5);
    let store = Arc::new(FlakyStore::default());
    let hub = Hub::start(Settings::default(), store.clone());
    let _ann = connect(&hub, "ann").await;
    let asked = ["ann", "eve", "bob"].map(user);
    let shown = async || {
        let began = tokio::time::Instant::now();
        let public_views = hub.public_views_within(WAIT, &asked).await.unwrap();
        assert!(began.elapsed() <= WAIT);
        let shown = public_views.into_iter().map(|it| Some(it?.look.status));
        shown.collect::<Vec<_>>()
    };
    let (online, offline) = (Some(Visible::Online), Some(Visible::Offline));
    store.corrupt.lock().unwrap().insert(user("eve"));
    assert_eq!(shown().await, [online, None, offline]);
    // The store says nothing at all for longer than that.
    *store.thinks.lock().unwrap() = Duration::from_secs(20);
    assert_eq!(shown().await, [online, None, None]);
    store.corrupt.lock().unwrap().clear();
    *store.thinks.lock().unwrap() = Duration::ZERO;
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(shown().await, [online, offline, offline]);
}

#[tokio::test(start_paused = true)]
async fn a_service_acts_for_a_user_as_long_as_it_says_so() {
    let hub = hub();
    let mut ann = Watcher::join(&hub, "ann").await;
    ann.sees(&["ann"]).await;
    let device = || "other:worker".parse().unwrap();
    hub.act_join(&user("bot"), device(), channel(), Arc::default())
        .await
        .unwrap();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(40)).await;
        hub.act_heartbeat(&user("bot"), &channel()).await.unwrap();
        ann.session.heard().unwrap();
    }
    ann.sees(&["ann", "bot"]).await;
    assert_eq!(ann.heard(), ["ann joined", "bot joined"]);
    let elsewhere = "room:43".parse().unwrap();
    assert!(hub.act_heartbeat(&user("bot"), &elsewhere).await.is_err());
    hub.act_leave(&user("bot"), channel()).await.unwrap();
    ann.sees(&["ann"]).await;
    assert!(hub.act_heartbeat(&user("bot"), &channel()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_a_session_does_happens_in_order_however_fast_it_is() {
    let hub = hub();
    let mut ann = Watcher::join(&hub, "ann").await;
    for n in 0..100 {
        let mut bob = connect(&hub, "bob").await;
        bob.join(channel(), Arc::default(), FULL, None).unwrap();
        let say = |text: String| {
            let payload = presence_core::Payload::from_json("1").unwrap();
            bob.say(channel(), text.into(), payload, Some(Reference(1)))
        };
        say(format!("hello-{n}")).unwrap();
        let topic = Topic::Channel(channel());
        bob.unwatch(&topic, None).unwrap();
        bob.watch(topic, Watching::Full, None, Some(Reference(2)))
            .unwrap();
        let mut answers = Vec::new();
        while answers.len() < 2 {
            match bob.next().await {
                presence_hub::Delivery::Granted(it) => answers.push(it),
                presence_hub::Delivery::Refused(it, why) => panic!("{it:?}: {why}"),
                _ => {}
            }
        }
        assert_eq!(answers, [Reference(1), Reference(2)]);
        // Broadcasts are bounded within 50 ms.
        tokio::time::sleep(Duration::from_millis(60)).await;
        bob.end().await;
    }
    ann.sees(&["ann"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_stops_has_kept_everything_and_tells_everyone() {
    let store = Arc::new(FlakyStore::default());
    let hub = Hub::start(Settings::default(), store.clone());
    let mut ann = Watcher::join(&hub, "ann").await;
    store.away.store(true, Relaxed);
    ann.session.choose(chose(Chosen::Busy), None).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let stopping = tokio::spawn({
        let hub = hub.clone();
        async move { hub.stop(Duration::from_secs(60)).await }
    });
    assert_eq!(ann.ended().await, Ended::Stopped);
    store.away.store(false, Relaxed);
    assert!(stopping.await.unwrap());
    assert_eq!(
        store.saved(&user("ann")).unwrap().status.chosen,
        Chosen::Busy
    );
}

/// Its runtime may end then, and so may whatever the store runs on it.
#[tokio::test(start_paused = true)]
async fn a_hub_that_has_stopped_asks_its_store_for_nothing_more() {
    for patience in [Duration::ZERO, Duration::from_secs(2)] {
        let store = Arc::new(FlakyStore::default());
        let hub = Hub::start(Settings::default(), store.clone());
        let mut ann = Watcher::join(&hub, "ann").await;
        store.away.store(true, Relaxed);
        ann.session.choose(chose(Chosen::Busy), None).unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!hub.stop(patience).await, "it cannot keep everything");
        assert_eq!(ann.ended().await, Ended::Stopped);
        assert_eq!(Arc::strong_count(&store), 1, "only this test has it");
        let saves = store.saves.load(Relaxed);
        assert!(saves > 0);
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(store.saves.load(Relaxed), saves);
        let public_view = hub.public_view(&user("ann")).await;
        assert!(
            matches!(public_view, Err(Refusal::Stopped)),
            "{public_view:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_bigger_than_a_queue_still_arrives_and_so_do_two() {
    let settings = Settings {
        outbox_bytes_max: 16 * 1024,
        ..Settings::default()
    };
    let hub = Hub::start(settings, Arc::new(ProfileMemory::new()));
    let big = format!("{{\"x\":\"{}\"}}", "x".repeat(4000));
    let big = Arc::new(presence_core::Meta::from_json(big).unwrap());
    let rooms: [presence_core::ChannelId; 2] = ["a".parse().unwrap(), "b".parse().unwrap()];
    let mut crowd = Vec::new();
    for n in 0..20 {
        let mut session = connect(&hub, &format!("user-{n}")).await;
        for room in &rooms {
            session.join(room.clone(), big.clone(), None, None).unwrap();
        }
        crowd.push(session);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut ann = connect(&hub, "ann").await;
    for room in &rooms {
        let topic = Topic::Channel(room.clone());
        ann.watch(topic, Watching::Full, None, None).unwrap();
    }
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 2 {
        let next = tokio::time::timeout(Duration::from_secs(10), ann.next()).await;
        let presence_hub::Delivery::Event(told) = next.expect("a room never came") else {
            continue;
        };
        if let presence_core::Event::Everyone { topic, people, .. } = &*told.event {
            assert_eq!(people.len(), 20);
            seen.insert(topic.clone());
        }
    }
    assert!(hub.counters().conflated.load(Relaxed) < 10);
}
