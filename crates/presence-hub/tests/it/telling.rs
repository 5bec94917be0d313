//! What an endpoint outside is told of hubs that share a store, and what can happen on the way.

mod alone;
mod garbled;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use presence_core::cluster::PARTITIONS;
use presence_core::hooks::{HookEvent, HookKind};
use presence_core::ports::{EVENTS_WAITING_MAX, Endpoint, Hooks, NumberedEvent, Outbox, Queue};
use presence_core::{Chosen, StatusChange, Timestamp, Visible};
use presence_embedded::{ProfileMemory, TopicLink, TopicMemory};
use presence_hub::{Hub, Settings};

use crate::support::{Watcher, connect, user};

const SECOND: Duration = Duration::from_secs(1);
/// How long a slow endpoint takes.
const SLOW: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn who_comes_changes_and_goes_is_told_in_this_order() {
    let outside = Outside::new(Mood::Fine);
    let cluster = Cluster::new();
    let a = cluster.hub("a", &outside).await;
    let ann = Watcher::join(&a, "ann").await;
    outside.hears("ann joined room:42").await;
    chooses(&a, "ann", Chosen::Busy).await;
    outside.hears("ann Busy").await;
    ann.session.end().await;
    outside.hears("ann gone").await;
    outside.hears("room:42 vacated").await;
    let mut told = outside.words();
    // Users and channels have no order among each other.
    let of_room: Vec<String> = told.extract_if(.., |it| it.contains("room")).collect();
    assert_eq!(told, ["ann Online", "ann Busy", "ann gone"]);
    assert_eq!(
        of_room,
        [
            "room:42 occupied",
            "ann joined room:42",
            "ann left room:42",
            "room:42 vacated"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_back_in_time_is_no_event_outside() {
    let outside = Outside::new(Mood::Fine);
    let cluster = Cluster::new();
    let (a, b) = (
        cluster.hub("a", &outside).await,
        cluster.hub("b", &outside).await,
    );
    let ann = Watcher::join(&a, "ann").await;
    outside.hears("ann joined room:42").await;
    let before = ann.session.connection();
    drop(ann);
    tokio::time::sleep(5 * SECOND).await;
    let _ann = crate::support::resume(&b, "ann", before).await;
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(outside.words().len(), 3, "{:?}", outside.words());
}

#[tokio::test(start_paused = true)]
async fn whoever_hides_is_never_told() {
    let outside = Outside::new(Mood::Fine);
    let cluster = Cluster::new();
    let a = cluster.hub("a", &outside).await;
    chooses(&a, "eve", Chosen::Invisible).await;
    let eve = Watcher::join(&a, "eve").await;
    let _bob = Watcher::join(&a, "bob").await;
    outside.hears("bob joined room:42").await;
    let ann = Watcher::join(&a, "ann").await;
    outside.hears("ann joined room:42").await;
    chooses(&a, "ann", Chosen::Invisible).await;
    outside.hears("ann left room:42").await;
    outside.hears("ann gone").await;
    let before = outside.words();
    // Whatever they do now is nobody's business.
    let _phone = connect(&a, "ann").await;
    let words = StatusChange {
        message: presence_core::Edit::Set("secret".into()),
        ..StatusChange::default()
    };
    a.choose(&user("ann"), words).await.unwrap();
    ann.session.end().await;
    eve.session.end().await;
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(outside.words(), before);
    assert!(!format!("{before:?}").contains("eve"), "{before:?}");
}

/// Deliveries fail, and those that fail may have been heard; nodes lose the store, and others go on.
#[tokio::test(start_paused = true)]
async fn whatever_fails_the_outside_ends_up_with_the_truth() {
    let outside = Outside::new(Mood::FailsEveryOther);
    let cluster = Cluster::new();
    let link = cluster.store.connect();
    let a = cluster.hub_through("a", link.clone(), &outside).await;
    let b = cluster.hub("b", &outside).await;
    let mut here: BTreeMap<String, Watcher> = BTreeMap::new();
    for round in 0..40_u64 {
        for n in 0..8_u64 {
            let name = format!("user-{n}");
            // As good as chance, and the same each time.
            let is_here = (round * 7 + n * 13 + round * n) % 3 != 0;
            match (is_here, here.remove(&name)) {
                (true, None) => {
                    let hub = if n % 2 == 0 { &a } else { &b };
                    here.insert(name.clone(), Watcher::join(hub, &name).await);
                }
                (true, Some(watcher)) => drop(here.insert(name, watcher)),
                (false, Some(watcher)) => watcher.session.end().await,
                (false, None) => {}
            }
        }
        if round == 15 {
            // Node a delivers nothing more, and b finds its lease lapsed.
            link.set_away(true);
        }
        if round == 30 {
            link.set_away(false);
        }
        tokio::time::sleep(SECOND / 2).await;
        for watcher in here.values() {
            watcher.session.heard().unwrap();
        }
    }
    let truth: BTreeSet<String> = here.keys().cloned().collect();
    let settled = async {
        let mut heartbeats = tokio::time::interval(10 * SECOND);
        while outside.picture() != (truth.clone(), truth.clone()) {
            tokio::select! {
                _ = heartbeats.tick() => here.values().for_each(|it| it.session.heard().unwrap()),
                () = tokio::time::sleep(SECOND) => {}
            }
        }
    };
    let settled = tokio::time::timeout(600 * SECOND, settled).await;
    assert!(settled.is_ok(), "{:?}, not {truth:?}", outside.picture());
    assert!(outside.repeated.load(Relaxed) > 0, "nothing was repeated");
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_away_costs_a_bounded_amount_and_hears_the_outcome() {
    let outside = Outside::new(Mood::Away);
    let cluster = Cluster::new();
    let a = cluster.hub("a", &outside).await;
    let ann = Watcher::join(&a, "ann").await;
    // More changes than one partition of the store lets wait.
    for n in 0..EVENTS_WAITING_MAX + 40 {
        let chosen = [Chosen::Busy, Chosen::Away][n % 2];
        chooses(&a, "ann", chosen).await;
        ann.session.heard().unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    let hooks = &a.counters().hooks;
    let waiting = hooks.waiting.load(Relaxed);
    // Those of ann, and two of the room.
    let most = EVENTS_WAITING_MAX as u64 + 2;
    assert!((most - 1..=most).contains(&waiting), "{waiting} wait");
    assert!(hooks.is_away.load(Relaxed) && hooks.failures.load(Relaxed) > 8);
    assert!(hooks.oldest_age(a.clock().now()) > 500 * SECOND);
    // It is tried about once a minute by now.
    let before = hooks.failures.load(Relaxed);
    for _ in 0..10 {
        tokio::time::sleep(60 * SECOND / 10 * 6).await;
        ann.session.heard().unwrap();
    }
    let tried = hooks.failures.load(Relaxed) - before;
    assert!((6..=12).contains(&tried), "{tried} attempts in six minutes");

    chooses(&a, "ann", Chosen::Online).await;
    outside.set(Mood::Fine);
    outside.hears("ann Online").await;
    let caught_up = async {
        while outside.words().last().map(String::as_str) != Some("ann Online") {
            tokio::time::sleep(SECOND).await;
            ann.session.heard().unwrap();
        }
    };
    let caught_up = tokio::time::timeout(120 * SECOND, caught_up).await;
    assert!(caught_up.is_ok(), "{:?}", outside.words().last());
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(hooks.waiting.load(Relaxed), 0);
    assert_eq!(hooks.oldest_age(a.clock().now()), Duration::ZERO);
    assert!(!hooks.is_away.load(Relaxed));
}

#[tokio::test(start_paused = true)]
async fn whoever_has_nothing_left_to_deliver_does_not_say_that_the_endpoint_is_away() {
    let outside = Outside::new(Mood::Away);
    let cluster = Cluster::new();
    let a = cluster.hub("a", &outside).await;
    let _ann = connect(&a, "ann").await;
    let hooks = &a.counters().hooks;
    while hooks.failures.load(Relaxed) < 3 {
        tokio::time::sleep(SECOND / 10).await;
    }
    assert!(hooks.is_away.load(Relaxed));
    // Another node delivers it.
    let all: Vec<(u16, u64)> = (0..PARTITIONS)
        .map(|partition| (partition, u64::MAX))
        .collect();
    for delivered in cluster.store.connect().remove_delivered(&all).await {
        delivered.unwrap();
    }
    tokio::time::sleep(20 * SECOND).await;
    assert!(!hooks.is_away.load(Relaxed));
    assert_eq!(hooks.waiting.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn what_happens_during_a_delivery_follows_it_at_once() {
    let outside = Outside::new(Mood::Slow);
    let cluster = Cluster::new();
    let a = cluster.hub("a", &outside).await;
    let _ann = connect(&a, "ann").await;
    while outside.deliveries.load(Relaxed) == 0 {
        tokio::time::sleep(SECOND / 10).await;
    }
    chooses(&a, "ann", Chosen::Busy).await;
    tokio::time::sleep(3 * SLOW).await;
    assert_eq!(outside.words(), ["ann Online", "ann Busy"]);
}

#[tokio::test(start_paused = true)]
async fn an_emptied_store_tells_once_more_who_is_here() {
    let outside = Outside::new(Mood::Fine);
    let cluster = Cluster::new();
    let a = cluster.hub("a", &outside).await;
    let ann = Watcher::join(&a, "ann").await;
    outside.hears("ann joined room:42").await;
    cluster.store.wipe();
    outside.forgets();
    let again = async {
        let is_online = |it: &&String| *it == "ann Online";
        while outside.words().iter().filter(is_online).count() < 2 {
            tokio::time::sleep(SECOND).await;
            ann.session.heard().unwrap();
        }
    };
    let again = tokio::time::timeout(60 * SECOND, again).await;
    assert!(again.is_ok(), "{:?}", outside.words());
    assert!(!outside.words().contains(&"ann gone".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_the_store_is_away_is_told_when_it_is_back() {
    let outside = Outside::new(Mood::Fine);
    let cluster = Cluster::new();
    let a = cluster.hub("a", &outside).await;
    tokio::time::sleep(5 * SECOND).await;
    cluster.store.set_away(true);
    let _ann = connect(&a, "ann").await;
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(outside.words(), Vec::<String>::new());
    cluster.store.set_away(false);
    outside.hears("ann Online").await;
}

#[tokio::test(start_paused = true)]
async fn what_got_lost_on_the_way_is_told_in_time() {
    let outside = Outside::new(Mood::Fine);
    let cluster = Cluster::new();
    let a = cluster.hub("a", &outside).await;
    let ann = Watcher::join(&a, "ann").await;
    outside.hears("ann joined room:42").await;
    ann.session.end().await;
    // The store loses what says that she has left, and nothing else.
    let (link, queue) = (cluster.store.connect(), Queue::Webhooks);
    let partitions: Vec<u16> = (0..PARTITIONS).collect();
    let mut lost = 0;
    while lost < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        for rows in link.due(queue, &partitions, Duration::ZERO, 10).await {
            let rows = rows.unwrap();
            lost += rows.len();
            link.acknowledge(queue, &rows).await.unwrap();
        }
    }
    tokio::time::sleep(5 * SECOND).await;
    assert!(!outside.words().contains(&"ann gone".to_owned()));
    tokio::time::sleep(300 * SECOND).await;
    assert!(outside.words().contains(&"ann gone".to_owned()));
    assert!(outside.words().contains(&"room:42 vacated".to_owned()));
}

/// Hubs that share a store and tell one endpoint.
struct Cluster {
    store: TopicMemory,
    profiles: Arc<ProfileMemory>,
}

impl Cluster {
    fn new() -> Self {
        Cluster {
            store: TopicMemory::with_webhooks(),
            profiles: Arc::new(ProfileMemory::new()),
        }
    }

    async fn hub(&self, name: &str, outside: &Arc<Outside>) -> Hub {
        self.hub_through(name, self.store.connect(), outside).await
    }

    async fn hub_through(&self, name: &str, link: TopicLink, outside: &Arc<Outside>) -> Hub {
        let link = Arc::new(link);
        let hub = Hub::join(
            Settings::default(),
            self.profiles.clone(),
            link.clone(),
            name,
        )
        .await;
        let wanted = HookKind::ALL.into_iter().collect();
        assert!(hub.deliver_webhooks(link, outside.clone(), wanted));
        hub
    }
}

async fn chooses(hub: &Hub, who: &str, chosen: Chosen) {
    let change = StatusChange {
        chosen: Some(chosen),
        ..StatusChange::default()
    };
    hub.choose(&user(who), change).await.unwrap();
}

/// How an endpoint takes what it is told.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Fine,
    /// It takes what it is told, after [`SLOW`].
    Slow,
    /// Of two deliveries it takes one, and of the others it has heard every other.
    FailsEveryOther,
    Away,
}

/// An endpoint that does what the documentation says, and checks what is promised there.
struct Outside {
    mood: Mutex<Mood>,
    deliveries: AtomicUsize,
    repeated: AtomicU64,
    heard: Mutex<Picture>,
}

#[derive(Default)]
struct Picture {
    /// The greatest number of each user and channel.
    last: BTreeMap<String, u64>,
    words: Vec<String>,
    online: BTreeSet<String>,
    room: BTreeSet<String>,
}

impl Outside {
    fn new(mood: Mood) -> Arc<Self> {
        Arc::new(Outside {
            mood: Mutex::new(mood),
            deliveries: AtomicUsize::new(0),
            repeated: AtomicU64::new(0),
            heard: Mutex::default(),
        })
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn words(&self) -> Vec<String> {
        self.heard.lock().unwrap().words.clone()
    }

    /// Who is online, and who is in the room.
    fn picture(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let heard = self.heard.lock().unwrap();
        (heard.online.clone(), heard.room.clone())
    }

    /// Takes nobody for being here any more.
    fn forgets(&self) {
        let mut heard = self.heard.lock().unwrap();
        heard.online.clear();
        heard.room.clear();
    }

    async fn hears(&self, what: &str) {
        let heard = async {
            while !self.words().iter().any(|it| it == what) {
                tokio::time::sleep(SECOND / 10).await;
            }
        };
        let heard = tokio::time::timeout(120 * SECOND, heard).await;
        assert!(heard.is_ok(), "{what} is not in {:?}", self.words());
    }

    fn hear(&self, numbered: &NumberedEvent) {
        let mut heard = self.heard.lock().unwrap();
        assert!(numbered.partition < PARTITIONS);
        let (subject, words) = words(&numbered.event);
        let last = heard.last.entry(subject).or_default();
        if numbered.number <= *last {
            self.repeated.fetch_add(1, Relaxed);
            return;
        }
        *last = numbered.number;
        let is_fine = match &numbered.event {
            HookEvent::UserOnline { user, .. } => heard.online.insert(user.to_string()),
            HookEvent::UserChanged { user, .. } => heard.online.contains(user.as_str()),
            HookEvent::UserOffline { user, .. } => heard.online.remove(user.as_str()),
            HookEvent::ChannelJoined { user, .. } => heard.room.insert(user.to_string()),
            HookEvent::ChannelLeft { user, .. } => heard.room.remove(user.as_str()),
            HookEvent::ChannelOccupied { .. } | HookEvent::ChannelVacated { .. } => {
                heard.room.is_empty()
            }
        };
        assert!(is_fine, "{words} after {:?}", heard.words);
        heard.words.push(words);
    }
}

/// What an event is about, and what it says.
fn words(event: &HookEvent) -> (String, String) {
    match event {
        HookEvent::UserOnline { user, look } | HookEvent::UserChanged { user, look } => {
            assert_ne!(look.status, Visible::Offline);
            (user.to_string(), format!("{user} {:?}", look.status))
        }
        HookEvent::UserOffline { user, last_seen } => {
            assert!(last_seen.is_some(), "{user} was seen");
            (user.to_string(), format!("{user} gone"))
        }
        HookEvent::ChannelOccupied { channel } => {
            (channel.to_string(), format!("{channel} occupied"))
        }
        HookEvent::ChannelJoined { channel, user } => {
            (channel.to_string(), format!("{user} joined {channel}"))
        }
        HookEvent::ChannelLeft { channel, user } => {
            (channel.to_string(), format!("{user} left {channel}"))
        }
        HookEvent::ChannelVacated { channel } => {
            (channel.to_string(), format!("{channel} vacated"))
        }
    }
}

impl Endpoint for Outside {
    async fn deliver(
        &self,
        _now: Timestamp,
        events: &[NumberedEvent],
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        assert!(!events.is_empty());
        let delivery = self.deliveries.fetch_add(1, Relaxed);
        let mood = *self.mood.lock().unwrap();
        // The network takes its time.
        let time = if mood == Mood::Slow {
            SLOW
        } else {
            SECOND / 20
        };
        tokio::time::sleep(time).await;
        let is_heard = match mood {
            Mood::Fine | Mood::Slow => true,
            Mood::FailsEveryOther => !delivery.is_multiple_of(4),
            Mood::Away => false,
        };
        if is_heard {
            events.iter().for_each(|it| self.hear(it));
        }
        match mood {
            Mood::Fine | Mood::Slow => Ok(()),
            Mood::FailsEveryOther if !delivery.is_multiple_of(2) => Ok(()),
            _ => Err("out of order".into()),
        }
    }
}
