//! What becomes of profiles in a cluster, whoever dies between the store that nodes share and the store of profiles.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::cluster::{
    FencingToken, Field, Incarnation, Op, PARTITIONS, Record, Subject, Write,
};
use presence_core::ports::{Outbox, Profiles, Queue, Row, Topics};
use presence_core::{Chosen, Edit, Profile, Reason, StatusChange, Timestamp, UserId};
use presence_embedded::{TopicLink, TopicMemory};
use presence_hub::{Ended, Hub, Settings};
use tokio::time::{Instant, sleep};

use crate::support::{FlakyStore, Watcher, connect, user};

const SECOND: Duration = Duration::from_secs(1);
/// A lease and a renewal until another node is responsible, until the row is overdue, and until it is looked for.
const FINISHED_AFTER: Duration = Duration::from_secs(15 + 3 + 15 + 15 + 1);
/// Until what is saved is acknowledged.
const ACKNOWLEDGED_AFTER: Duration = Duration::from_secs(1 + 8 + 1);

#[tokio::test(start_paused = true)]
async fn what_a_node_had_no_time_to_save_is_saved_by_another() {
    let store = TopicMemory::new();
    // What one node writes to the database does not get there.
    let (blocked, profiles) = (Arc::new(FlakyStore::default()), Arc::default());
    blocked.is_full.store(true, Relaxed);
    let link = Arc::new(store.connect());
    let dies = Hub::join(Settings::default(), blocked, link.clone(), "dies").await;
    let _lives = join(&store, &profiles).await;
    sleep(20 * SECOND).await;
    let users: Vec<UserId> = (0..50).map(|n| user(&format!("user-{n}"))).collect();
    for it in &users {
        dies.choose(it, says("kept")).await.unwrap();
    }
    link.set_away(true);
    sleep(FINISHED_AFTER).await;
    for it in &users {
        let saved = profiles.saved(it).expect("it is saved");
        assert_eq!(saved.status.message.as_deref(), Some("kept"));
    }
    assert_eq!(waiting(&store).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_changes_of_a_hundred_users_are_a_few_saves() {
    let (store, profiles) = (TopicMemory::new(), Arc::default());
    let hub = join(&store, &profiles).await;
    let users: Vec<UserId> = (0..100).map(|n| user(&format!("user-{n}"))).collect();
    for round in 0..10 {
        for it in &users {
            hub.choose(it, says(&format!("round {round}")))
                .await
                .unwrap();
        }
        sleep(SECOND / 10).await;
    }
    sleep(3 * SECOND).await;
    for it in &users {
        let saved = profiles.saved(it).unwrap();
        assert_eq!(saved.status.message.as_deref(), Some("round 9"));
    }
    let shards = hub.settings().shards;
    let saves = profiles.saves.load(Relaxed);
    assert!(saves <= 3 * shards, "{saves} saves by {shards} shards");
    sleep(ACKNOWLEDGED_AFTER).await;
    assert_eq!(waiting(&store).await, []);
}

#[tokio::test(start_paused = true)]
async fn while_the_database_is_away_nobody_waits_and_then_all_is_saved_within_ten_seconds() {
    let (store, profiles) = (TopicMemory::new(), Arc::<FlakyStore>::default());
    let hubs = [
        join(&store, &profiles).await,
        join(&store, &profiles).await,
        join(&store, &profiles).await,
    ];
    for n in 0..300 {
        let it = user(&format!("user-{n}"));
        hubs[0].choose(&it, says("before")).await.unwrap();
    }
    sleep(20 * SECOND).await;
    for slow in [Duration::ZERO, 2 * SECOND] {
        profiles.away.store(slow.is_zero(), Relaxed);
        *profiles.thinks.lock().unwrap() = slow;
        let mut slowest = Duration::ZERO;
        // 200 changes a second for two minutes.
        for n in 0..24_000_u64 {
            let since = Instant::now();
            let hub = &hubs[n as usize % hubs.len()];
            let it = user(&format!("user-{}", n % 300));
            hub.choose(&it, says(&format!("{slow:?} {n}")))
                .await
                .unwrap();
            slowest = slowest.max(since.elapsed());
            sleep(Duration::from_millis(5)).await;
        }
        assert!(slowest < SECOND, "a change took {slowest:?}");
        let rows = waiting(&store).await.len();
        assert!(rows <= 300, "{rows} rows of 300 users");
        if slow.is_zero() {
            assert_eq!(rows, 300);
            let mut unsaved = 0;
            for hub in &hubs {
                let counts = hub.counts().await;
                unsaved += counts.unsaved;
                assert!(counts.unsaved_for >= 110 * SECOND, "{counts:?}");
                assert!(hub.counters().store_away.load(Relaxed));
            }
            assert!((300..=600).contains(&unsaved), "{unsaved} are counted");
        }
        profiles.away.store(false, Relaxed);
        *profiles.thinks.lock().unwrap() = Duration::ZERO;
        sleep(10 * SECOND).await;
        for last in 23_700..24_000_u64 {
            let saved = profiles.saved(&user(&format!("user-{}", last % 300)));
            let message = saved.and_then(|it| it.status.message);
            assert_eq!(message.as_deref(), Some(&*format!("{slow:?} {last}")));
        }
        sleep(ACKNOWLEDGED_AFTER + 5 * SECOND).await;
        assert_eq!(waiting(&store).await, []);
        for hub in &hubs {
            let counts = hub.counts().await;
            assert_eq!((counts.unsaved, counts.unsaved_for), (0, Duration::ZERO));
            assert!(!hub.counters().store_away.load(Relaxed));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn how_long_it_waits_is_told_while_the_database_is_away() {
    let (store, profiles) = (TopicMemory::new(), Arc::<FlakyStore>::default());
    let hub = join(&store, &profiles).await;
    hub.choose(&user("ann"), says("before")).await.unwrap();
    sleep(2 * SECOND).await;
    profiles.away.store(true, Relaxed);
    hub.choose(&user("ann"), says("later")).await.unwrap();
    sleep(60 * SECOND).await;
    let counts = hub.counts().await;
    assert_eq!(counts.unsaved, 1);
    let waits = counts.unsaved_for.as_secs();
    assert!((59..=61).contains(&waits), "{waits} s");
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_read_is_let_in_at_once_and_seen_when_they_can() {
    let (store, profiles) = (TopicMemory::new(), Arc::<FlakyStore>::default());
    let hub = join(&store, &profiles).await;
    let mut eve = Watcher::join(&hub, "eve").await;
    eve.sees(&["eve"]).await;
    for (away, thinks) in [(true, Duration::ZERO), (false, 30 * SECOND)] {
        profiles.away.store(away, Relaxed);
        *profiles.thinks.lock().unwrap() = thinks;
        let since = Instant::now();
        let name = format!("ann-{away}");
        let mut ann = Watcher::join(&hub, &name).await;
        let took = since.elapsed();
        assert!(took < SECOND, "let in after {took:?}");
        // She sees the others, and nobody sees her.
        ann.sees(&["eve"]).await;
        eve.is_quiet_for(5 * SECOND).await;
        profiles.away.store(false, Relaxed);
        *profiles.thinks.lock().unwrap() = Duration::ZERO;
        eve.sees(&["eve", &name]).await;
        ann.session.end().await;
        eve.sees(&["eve"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_is_not_a_store_that_is_away() {
    let (store, profiles) = (TopicMemory::new(), Arc::<FlakyStore>::default());
    let settings = Settings {
        shards: 1,
        ..Settings::default()
    };
    let link = Arc::new(store.connect());
    let hub = Hub::join(settings, profiles.clone(), link, "node").await;
    let kept = Profile {
        last_seen: Some(Timestamp::from_millis(1)),
        ..Profile::new(user("bob"))
    };
    profiles.save(&[kept]).await.unwrap();
    profiles.corrupt.lock().unwrap().insert(user("eve"));
    let mut eve = Watcher::join(&hub, "eve").await;
    eve.is_quiet_for(60 * SECOND).await;
    let loads = profiles.loads.load(Relaxed);
    eve.is_quiet_for(60 * SECOND).await;
    let loads = profiles.loads.load(Relaxed) - loads;
    assert!((10..=13).contains(&loads), "{loads} loads in a minute");
    // Others are read before they are answered, and saved without a detour.
    let public_view = hub.public_view(&user("bob")).await.unwrap();
    assert_eq!(public_view.last_seen, Some(Timestamp::from_millis(1)));
    hub.choose(&user("carl"), says("kept")).await.unwrap();
    sleep(SECOND).await;
    assert!(profiles.saved(&user("carl")).is_some());
    assert!(!hub.counters().store_away.load(Relaxed));
    profiles.corrupt.lock().unwrap().clear();
    eve.sees(&["eve"]).await;
}

#[tokio::test(start_paused = true)]
async fn of_who_is_erased_nothing_is_left_anywhere() {
    let (store, profiles) = (TopicMemory::new(), Arc::<FlakyStore>::default());
    let (here, there) = (join(&store, &profiles).await, join(&store, &profiles).await);
    let mut ann = connect(&there, "ann").await;
    here.choose(&user("ann"), says("secret")).await.unwrap();
    sleep(2 * SECOND).await;
    assert!(profiles.saved(&user("ann")).is_some());

    here.erase(&user("ann")).await.unwrap();
    loop {
        if let presence_hub::Delivery::Ended(ended) = ann.next().await {
            assert_eq!(ended, Ended::Closed(presence_core::Reason::Kicked));
            break;
        }
    }
    sleep(2 * SECOND).await;
    assert_eq!(profiles.saved(&user("ann")), None);
    let public_view = there.public_view(&user("ann")).await.unwrap();
    assert_eq!(
        (&public_view.look.message, public_view.last_seen),
        (&None, None)
    );

    sleep(60 * SECOND).await;
    assert_eq!(waiting(&store).await, []);
    let ann = Subject::User(user("ann"));
    let read = store.connect().read(&[ann]).await.remove(0).unwrap();
    assert_eq!(read.entries, []);
    assert_eq!(profiles.saved(&user("ann")), None);
}

#[tokio::test(start_paused = true)]
async fn a_row_with_nothing_to_save_does_not_say_that_the_database_is_back() {
    let (store, profiles) = (TopicMemory::new(), Arc::<FlakyStore>::default());
    let hub = join(&store, &profiles).await;
    sleep(20 * SECOND).await;
    profiles.away.store(true, Relaxed);
    let _ann = connect(&hub, "ann").await;
    let (node, generation) = (7, 0);
    let by = Incarnation { node, generation };
    let (field, token) = (Field::Profile, FencingToken::of_session(1, by, 1));
    let put = Op::put(
        field,
        token,
        Record::Profile(Arc::new(Profile::new(user("bob")))),
    );
    let cut = Op::Remove {
        field,
        token,
        reason: Reason::Left,
    };
    for op in [put, cut] {
        let write = Write {
            subject: Subject::User(user("bob")),
            by,
            ops: vec![op],
            is_last: false,
            until: None,
        };
        store.connect().write(&[write]).await.remove(0).unwrap();
    }
    let bob = Subject::User(user("bob"));
    assert!(waiting(&store).await.iter().any(|it| it.subject == bob));
    let saved = hub.counters().saved.load(Relaxed);
    for _ in 0..600 {
        sleep(SECOND / 10).await;
        assert!(hub.counters().store_away.load(Relaxed));
    }
    assert!(!waiting(&store).await.iter().any(|it| it.subject == bob));
    assert_eq!(hub.counters().saved.load(Relaxed), saved);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_records_that_cannot_be_read_keep_nothing_else_from_being_saved() {
    let store = TopicMemory::new();
    let (blocked, profiles) = (Arc::new(FlakyStore::default()), Arc::default());
    blocked.is_full.store(true, Relaxed);
    let link = Arc::new(store.connect());
    let dies = Hub::join(Settings::default(), blocked, link.clone(), "dies").await;
    let lives = join(&store, &profiles).await;
    sleep(20 * SECOND).await;
    for n in 0..1000 {
        let it = user(&format!("user-{n}"));
        dies.choose(&it, says("lost")).await.unwrap();
        profiles.corrupt.lock().unwrap().insert(it);
    }
    sleep(SECOND).await;
    dies.choose(&user("ann"), says("kept")).await.unwrap();
    link.set_away(true);
    sleep(FINISHED_AFTER).await;
    assert!(profiles.saved(&user("ann")).is_some());
    assert_eq!(waiting(&store).await.len(), 1000);
    assert!(!lives.counters().store_away.load(Relaxed));
}

#[tokio::test(start_paused = true)]
async fn who_is_erased_while_the_database_is_away_is_removed_again_when_nothing_older_comes() {
    let (store, profiles) = (TopicMemory::new(), Arc::<FlakyStore>::default());
    let hub = join(&store, &profiles).await;
    sleep(20 * SECOND).await;
    hub.choose(&user("ann"), says("secret")).await.unwrap();
    sleep(2 * SECOND).await;
    let older = profiles.saved(&user("ann")).unwrap();
    profiles.away.store(true, Relaxed);
    hub.erase(&user("ann")).await.unwrap();
    sleep(SECOND).await;
    profiles.away.store(false, Relaxed);
    sleep(6 * SECOND).await;
    assert_eq!(profiles.saved(&user("ann")), None);
    // What another node began to save before comes now.
    profiles.save(&[older]).await.unwrap();
    // The row becomes overdue, and its part has its turn.
    sleep(30 * SECOND).await;
    assert_eq!(profiles.saved(&user("ann")), None);
    assert_eq!(waiting(&store).await, []);
    let ann = Subject::User(user("ann"));
    let read = store.connect().read(&[ann]).await.remove(0).unwrap();
    assert_eq!(read.entries, []);
}

#[tokio::test(start_paused = true)]
async fn who_was_not_seen_for_long_is_forgotten_and_nobody_else() {
    let hour = 60 * 60 * SECOND;
    let settings = Settings {
        keep_unseen: Some(2 * hour),
        ..Settings::default()
    };
    let (store, profiles) = (TopicMemory::new(), Arc::<FlakyStore>::default());
    let link = Arc::new(store.connect());
    let shared = Hub::join(settings, profiles.clone(), link, "a").await;
    let alone = Hub::start(settings, profiles.clone());
    for hub in [shared, alone] {
        connect(&hub, "gone").await.end().await;
        let stays = connect(&hub, "stays").await;
        for _ in 0..4 * 120 {
            sleep(30 * SECOND).await;
            stays.heard().unwrap();
        }
        assert_eq!(profiles.saved(&user("gone")), None);
        assert!(profiles.saved(&user("stays")).is_some());
        stays.end().await;
        sleep(20 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn whose_profile_cannot_be_read_keeps_nobody_else_from_being_forgotten() {
    let hour = 60 * 60 * SECOND;
    let settings = Settings {
        keep_unseen: Some(2 * hour),
        ..Settings::default()
    };
    let profiles = Arc::<FlakyStore>::default();
    let hub = Hub::start(settings, profiles.clone());
    connect(&hub, "first").await.end().await;
    sleep(hour).await;
    profiles.corrupt.lock().unwrap().insert(user("first"));
    // The first is found at least one look earlier.
    connect(&hub, "later").await.end().await;
    sleep(hour / 60).await;
    assert!(profiles.saved(&user("later")).is_some());
    sleep(4 * hour).await;
    assert!(profiles.saved(&user("first")).is_some());
    assert_eq!(profiles.saved(&user("later")), None);
    profiles.corrupt.lock().unwrap().clear();
    sleep(SECOND * 30).await;
    assert_eq!(profiles.saved(&user("first")), None);
}

async fn join(store: &TopicMemory, profiles: &Arc<FlakyStore>) -> Hub {
    let link: Arc<TopicLink> = Arc::new(store.connect());
    Hub::join(Settings::default(), profiles.clone(), link, "node").await
}

/// What waits for the store of profiles.
async fn waiting(store: &TopicMemory) -> Vec<Row> {
    let partitions: Vec<u16> = (0..PARTITIONS).collect();
    let due = store
        .connect()
        .due(Queue::Profiles, &partitions, Duration::ZERO, usize::MAX)
        .await;
    due.into_iter().flat_map(Result::unwrap).collect()
}

fn says(message: &str) -> StatusChange {
    StatusChange {
        chosen: Some(Chosen::Busy),
        message: Edit::Set(message.into()),
        ..StatusChange::default()
    }
}
