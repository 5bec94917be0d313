//! Adapters that are wrong: they panic, and answer something else than what they were asked.

use presence_core::cluster::{Ephemeral, Incarnation, Snapshot, Subject, Write};
use presence_core::ports::{
    Leases, Notice, Outbox, Profiles, Queue, Reaped, Row, StoreError, Topics, Written,
};
use presence_core::{Chosen, MESSAGE_CHARS_MAX, Profile, Refusal, StatusChange, Timestamp, UserId};
use presence_embedded::{ProfileMemory, TopicLink, TopicMemory};
use presence_hub::{Hub, Settings};

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::support::{Watcher, connect, refused, user};

#[tokio::test(start_paused = true)]
async fn a_store_of_profiles_that_panics_ends_one_call_and_not_the_shard() {
    let (hub, wrong) = start_alone();
    for name in ["panic-load", "panic-first"] {
        assert_eq!(refused(&hub, name).await, Refusal::Unavailable);
        let public_view = hub.public_view(&user(name)).await;
        assert_eq!(public_view, Err(Refusal::Unavailable));
    }
    let mut ann = Watcher::join(&hub, "ann").await;
    ann.sees(&["ann"]).await;
    // Who is asked for together with one of them is not concerned.
    let both = tokio::join!(refused(&hub, "panic-load-too"), connect(&hub, "bob"));
    assert_eq!(both.0, Refusal::Unavailable);
    let busy = StatusChange {
        chosen: Some(Chosen::Busy),
        ..StatusChange::default()
    };
    let saved = hub.choose(&user("panic-save"), busy.clone()).await;
    assert_eq!(saved, Err(Refusal::Unavailable));
    hub.choose(&user("ann"), busy).await.unwrap();
    let saved = wrong.0.load(&[user("ann")]).await.unwrap();
    assert_eq!(saved[0].as_ref().unwrap().status.chosen, Chosen::Busy);
    assert!(hub.counters().adapter_faults.load(Relaxed) >= 4);
    assert!(!hub.counters().store_away.load(Relaxed));
}

#[tokio::test(start_paused = true)]
async fn profiles_that_are_missing_or_of_others_are_an_error_for_their_users() {
    let (hub, _) = start_alone();
    for name in ["none", "two", "other"] {
        assert_eq!(refused(&hub, name).await, Refusal::Unavailable, "{name}");
    }
    // Who is asked for together with one of them is not concerned.
    for name in ["none-too", "two-too", "other-too"] {
        let ann = format!("ann-beside-{name}");
        let (refused, _ann) = tokio::join!(refused(&hub, name), connect(&hub, &ann));
        assert_eq!(refused, Refusal::Unavailable, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn words_that_nobody_may_choose_are_dropped_and_counted() {
    let (hub, wrong) = start_alone();
    let mut profile = Profile::new(user("ann"));
    profile.status.message = Some("x".repeat(MESSAGE_CHARS_MAX + 1).into());
    profile.status.emoji = Some(":tea:".into());
    wrong.0.save(&[profile]).await.unwrap();
    let _ann = connect(&hub, "ann").await;
    let public_view = hub.public_view(&user("ann")).await.unwrap();
    assert_eq!(
        (&public_view.look.message, public_view.look.emoji.as_deref()),
        (&None, Some(":tea:"))
    );
    assert_eq!(hub.counters().garbled.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shared_store_that_panics_or_answers_too_little_is_one_that_is_away() {
    let store = TopicMemory::new();
    let shared = || {
        Arc::new(WrongTopics {
            link: store.connect(),
            panics: AtomicBool::new(false),
            answers_too_little: AtomicBool::new(false),
        })
    };
    let (here, there) = (shared(), shared());
    let profiles = Arc::new(ProfileMemory::new());
    let a = Hub::join(Settings::default(), profiles.clone(), here.clone(), "a").await;
    let b = Hub::join(Settings::default(), profiles, there, "b").await;
    let mut ann = Watcher::join(&a, "ann").await;
    let mut bob = Watcher::join(&b, "bob").await;
    ann.sees(&["ann", "bob"]).await;
    bob.sees(&["ann", "bob"]).await;
    for fault in [&here.panics, &here.answers_too_little] {
        fault.store(true, Relaxed);
        // Shorter than a lease: nobody is lost by that.
        let carl = Watcher::join(&a, "carl");
        let carl = tokio::time::timeout(Duration::from_secs(5), carl).await;
        ann.is_here_for(Duration::from_secs(5)).await;
        fault.store(false, Relaxed);
        let mut carl = carl.expect("who comes is let in, hidden at worst");
        carl.sees(&["ann", "bob", "carl"]).await;
        bob.sees(&["ann", "bob", "carl"]).await;
        carl.session.end().await;
        bob.sees(&["ann", "bob"]).await;
    }
    assert!(a.counters().adapter_faults.load(Relaxed) > 0);
}

fn start_alone() -> (Hub, Arc<WrongProfiles>) {
    let settings = Settings {
        shards: 1,
        ..Settings::default()
    };
    let wrong = Arc::new(WrongProfiles(ProfileMemory::new()));
    (Hub::start(settings, wrong.clone()), wrong)
}

/// What is wrong with what it says of a user is in the user's name.
struct WrongProfiles(ProfileMemory);

impl Profiles for WrongProfiles {
    async fn save(&self, profiles: &[Profile]) -> Result<(), StoreError> {
        if profiles.iter().any(|it| it.user.as_str() == "panic-save") {
            panic!("it cannot save that");
        }
        self.0.save(profiles).await
    }

    // Panics before there is anything to wait for, too.
    fn load(
        &self,
        users: &[UserId],
    ) -> impl Future<Output = Result<Vec<Option<Profile>>, StoreError>> + Send {
        let begins = |word: &str| users.iter().any(|it| it.as_str().starts_with(word));
        assert!(!begins("panic-first"), "it cannot even begin");
        let (panics, none, two, other) = (
            begins("panic-load"),
            begins("none"),
            begins("two"),
            begins("other"),
        );
        let users = users.to_vec();
        async move {
            assert!(!panics, "it cannot load that");
            let mut profiles = self.0.load(&users).await?;
            if none {
                profiles.pop();
            }
            if two {
                profiles.push(None);
            }
            if other {
                profiles[0] = Some(Profile::new(user("somebody-else")));
            }
            Ok(profiles)
        }
    }

    async fn remove(&self, users: &[UserId]) -> Result<(), StoreError> {
        self.0.remove(users).await
    }

    async fn unseen(&self, before: Timestamp, max: usize) -> Result<Vec<UserId>, StoreError> {
        self.0.unseen(before, max).await
    }
}

/// A shared store that is wrong while it is told to be.
struct WrongTopics {
    link: TopicLink,
    panics: AtomicBool,
    answers_too_little: AtomicBool,
}

impl WrongTopics {
    fn may_panic(&self) {
        assert!(!self.panics.load(Relaxed), "it panics");
    }

    fn some_of<V>(&self, mut outcomes: Vec<V>) -> Vec<V> {
        if self.answers_too_little.load(Relaxed) {
            outcomes.pop();
        }
        outcomes
    }
}

impl Topics for WrongTopics {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written, StoreError>> {
        self.may_panic();
        self.some_of(self.link.write(writes).await)
    }

    async fn read(&self, subjects: &[Subject]) -> Vec<Result<Snapshot, StoreError>> {
        self.may_panic();
        self.some_of(self.link.read(subjects).await)
    }

    async fn follow(&self, subjects: &[Subject]) -> Vec<Result<(), StoreError>> {
        self.may_panic();
        self.some_of(self.link.follow(subjects).await)
    }

    async fn unfollow(&self, subjects: &[Subject]) {
        self.may_panic();
        self.link.unfollow(subjects).await;
    }

    async fn send_ephemeral(&self, ephemerals: &[(Subject, Vec<Ephemeral>)]) {
        self.may_panic();
        self.link.send_ephemeral(ephemerals).await;
    }

    async fn compare(&self) -> Result<(), StoreError> {
        self.may_panic();
        self.link.compare().await
    }

    async fn next(&self) -> Notice {
        self.may_panic();
        self.link.next().await
    }

    async fn renew(
        &self,
        me: Incarnation,
        name: &str,
        ttl: Duration,
        stored_up_to: Timestamp,
    ) -> Result<Leases, StoreError> {
        self.may_panic();
        self.link.renew(me, name, ttl, stored_up_to).await
    }

    async fn mark_dead(&self, who: Incarnation) -> Result<bool, StoreError> {
        self.may_panic();
        self.link.mark_dead(who).await
    }

    async fn reap(&self, who: Incarnation) -> Result<Reaped, StoreError> {
        self.may_panic();
        self.link.reap(who).await
    }

    async fn forget(&self, who: Incarnation) -> Result<(), StoreError> {
        self.may_panic();
        self.link.forget(who).await
    }

    async fn secret(&self, proposal: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.may_panic();
        self.link.secret(proposal).await
    }
}

impl Outbox for WrongTopics {
    async fn due(
        &self,
        queue: Queue,
        partitions: &[u16],
        age: Duration,
        max: usize,
    ) -> Vec<Result<Vec<Row>, StoreError>> {
        self.may_panic();
        self.some_of(self.link.due(queue, partitions, age, max).await)
    }

    async fn acknowledge(&self, queue: Queue, rows: &[Row]) -> Result<(), StoreError> {
        self.may_panic();
        self.link.acknowledge(queue, rows).await
    }
}
