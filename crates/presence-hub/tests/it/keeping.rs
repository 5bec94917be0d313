//! A hub that is alone keeps its sessions for the process that comes after it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use presence_core::Timestamp;
use presence_core::ports::{SessionChange, Sessions};
use presence_embedded::{ProfileMemory, SessionFiles};
use presence_hub::{Hub, Settings};
use tempfile::TempDir;

use crate::support::{Watcher, resume, user};

/// Notes with what was noted before, and is slow about it.
#[derive(Debug, Default)]
struct Slow {
    changes: Mutex<Vec<SessionChange>>,
    rewritten: Mutex<Vec<Vec<SessionChange>>>,
}

impl Sessions for Slow {
    fn append(&self, _: usize, changes: &[SessionChange]) -> bool {
        std::thread::sleep(Duration::from_millis(30));
        self.changes.lock().unwrap().extend_from_slice(changes);
        false
    }

    fn rewrite(&self, _: usize, changes: &[SessionChange]) {
        self.rewritten.lock().unwrap().push(changes.to_vec());
    }

    fn alive(&self, _: Timestamp) {}

    fn forget_earlier(&self) {}
}

fn is_of(change: &SessionChange, id: &str) -> bool {
    matches!(change, SessionChange::Is { kept, .. } if kept.user == user(id))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_told_has_been_noted_before() {
    let slow = Arc::new(Slow::default());
    let profiles = Arc::new(ProfileMemory::new());
    let hub = Hub::start_keeping(Settings::default(), profiles, slow.clone());
    let mut ann = Watcher::join(&hub, "ann").await;
    for n in 0..10 {
        let id = format!("bob-{n}");
        let bob = Watcher::join(&hub, &id).await;
        ann.sees(&["ann", &id]).await;
        let session = bob.session.connection().session;
        let is_in = |it: &SessionChange| matches!(it, SessionChange::Joined { session: it, .. } if *it == session);
        assert!(
            slow.changes.lock().unwrap().iter().any(is_in),
            "{id} joined"
        );
        bob.session.end().await;
        ann.sees(&["ann"]).await;
        let ended = SessionChange::Ended { session };
        assert!(slow.changes.lock().unwrap().contains(&ended), "{id} left");
    }
}

#[tokio::test]
async fn of_whoever_is_erased_nothing_is_left() {
    let slow = Arc::new(Slow::default());
    let settings = Settings {
        shards: 1,
        ..Settings::default()
    };
    let profiles = Arc::new(ProfileMemory::new());
    let hub = Hub::start_keeping(settings, profiles, slow.clone());
    let _ann = Watcher::join(&hub, "ann").await;
    let mut bob = Watcher::join(&hub, "bob").await;
    bob.sees(&["ann", "bob"]).await;
    hub.erase(&user("ann")).await.unwrap();
    bob.sees(&["bob"]).await;
    let rewritten = slow.rewritten.lock().unwrap();
    let kept = rewritten.last().expect("it was rewritten");
    assert!(kept.iter().any(|it| is_of(it, "bob")));
    assert!(!kept.iter().any(|it| is_of(it, "ann")));
}

#[tokio::test]
async fn the_next_hub_has_everybody_from_the_start() {
    let folder = TempDir::new().unwrap();
    let profiles = Arc::new(ProfileMemory::new());
    let settings = Settings {
        shards: 3,
        ..Settings::default()
    };
    let open = || {
        let (files, left) = SessionFiles::open(folder.path(), 3).unwrap();
        let hub = Hub::start_keeping(settings, profiles.clone(), Arc::new(files));
        (hub, left)
    };
    let (hub, left) = open();
    assert_eq!(left.away, None);
    let ids: Vec<String> = (0..200).map(|n| format!("user-{n}")).collect();
    let mut people = Vec::new();
    for id in &ids {
        people.push(Watcher::join(&hub, id).await);
    }
    let before = people[7].session.connection();
    hub.hold(Duration::from_secs(10)).await;
    people.clear();
    assert!(hub.stop(Duration::from_secs(5)).await);
    drop(hub);

    let (hub, left) = open();
    assert_eq!((left.sessions.len(), left.garbled), (200, 0));
    hub.restore(left.sessions, left.away.unwrap(), left.ended_at)
        .await;
    // Whoever looks first sees all of them at once.
    let mut seven = resume(&hub, "user-7", before).await;
    assert!(seven.is_restored());
    let topic = presence_core::Topic::Channel(crate::support::channel());
    seven
        .watch(topic, presence_core::Watching::Full, None, None)
        .unwrap();
    let everyone = loop {
        if let presence_hub::Delivery::Event(told) = seven.next().await
            && let presence_core::Event::Everyone { people, .. } = &*told.event
        {
            break people.len();
        }
    };
    assert_eq!(everyone, 200);
}
