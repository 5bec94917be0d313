//! A store of which partition is not understood.

use presence_core::Timestamp;
use presence_core::cluster::{Ephemeral, Incarnation, Snapshot, Subject, Write};
use presence_core::hooks::HookKind;
use presence_core::ports::{
    EnqueueOutcome, Hooks, Known, Leases, Notice, Notification, Outbox, Queue, Reaped, Row,
    StoreError, Topics, WaitingEvents, Written,
};

use super::*;

/// More than are looked at together.
const GARBLED: usize = 80;

#[tokio::test(start_paused = true)]
async fn maps_that_nobody_understands_keep_nobody_waiting() {
    let outside = Outside::new(Mood::Fine);
    let cluster = Cluster::new();
    let link = Arc::new(cluster.store.connect());
    let profiles = cluster.profiles.clone();
    let a = Hub::join(Settings::default(), profiles, link, "a").await;
    let partition = Subject::User(user("ann")).partition();
    let names = (0..).map(|n| format!("garbled-{n}"));
    let names = names.filter(|it| Subject::User(user(it)).partition() == partition);
    let mut here = Vec::new();
    for name in names.take(GARBLED) {
        here.push(connect(&a, &name).await);
    }
    tokio::time::sleep(SECOND).await;
    let _ann = connect(&a, "ann").await;
    let wanted = HookKind::ALL.into_iter().collect();
    let store = Arc::new(Garbled(cluster.store.connect()));
    assert!(a.deliver_webhooks(store, outside.clone(), wanted));
    // Soon, while the others are still here: as they leave, their rows go to the end.
    let heard = tokio::time::timeout(10 * SECOND, outside.hears("ann Online")).await;
    assert!(heard.is_ok(), "ann is not in {:?}", outside.words());
    assert_eq!(outside.words(), ["ann Online"]);
}

/// Nobody understands the maps of users whose names begin with `garbled`.
struct Garbled(TopicLink);

impl Topics for Garbled {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written, StoreError>> {
        self.0.write(writes).await
    }

    async fn read(&self, subjects: &[Subject]) -> Vec<Result<Snapshot, StoreError>> {
        let read = self.0.read(subjects).await.into_iter().zip(subjects);
        let garbled = read.map(|(read, subject)| match subject {
            Subject::User(user) if user.as_str().starts_with("garbled") => {
                Err(StoreError::Corrupt {
                    key: user.to_string(),
                    source: "garbled".into(),
                })
            }
            _ => read,
        });
        garbled.collect()
    }

    async fn follow(&self, subjects: &[Subject]) -> Vec<Result<(), StoreError>> {
        self.0.follow(subjects).await
    }

    async fn unfollow(&self, subjects: &[Subject]) {
        self.0.unfollow(subjects).await;
    }

    async fn send_ephemeral(&self, ephemerals: &[(Subject, Vec<Ephemeral>)]) {
        self.0.send_ephemeral(ephemerals).await;
    }

    async fn compare(&self) -> Result<(), StoreError> {
        self.0.compare().await
    }

    async fn next(&self) -> Notice {
        self.0.next().await
    }

    async fn renew(
        &self,
        me: Incarnation,
        name: &str,
        ttl: Duration,
        stored_up_to: Timestamp,
    ) -> Result<Leases, StoreError> {
        self.0.renew(me, name, ttl, stored_up_to).await
    }

    async fn mark_dead(&self, who: Incarnation) -> Result<bool, StoreError> {
        self.0.mark_dead(who).await
    }

    async fn reap(&self, who: Incarnation) -> Result<Reaped, StoreError> {
        self.0.reap(who).await
    }

    async fn forget(&self, who: Incarnation) -> Result<(), StoreError> {
        self.0.forget(who).await
    }

    async fn secret(&self, proposal: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.0.secret(proposal).await
    }
}

impl Outbox for Garbled {
    async fn due(
        &self,
        queue: Queue,
        partitions: &[u16],
        age: Duration,
        max: usize,
    ) -> Vec<Result<Vec<Row>, StoreError>> {
        self.0.due(queue, partitions, age, max).await
    }

    async fn acknowledge(&self, queue: Queue, rows: &[Row]) -> Result<(), StoreError> {
        self.0.acknowledge(queue, rows).await
    }
}

impl Hooks for Garbled {
    async fn known(&self, subjects: &[Subject]) -> Vec<Result<Known, StoreError>> {
        self.0.known(subjects).await
    }

    async fn enqueue(
        &self,
        notifications: &[Notification],
    ) -> Vec<Result<EnqueueOutcome, StoreError>> {
        self.0.enqueue(notifications).await
    }

    async fn audit(
        &self,
        partition: u16,
        cursor: u64,
        max: usize,
    ) -> Result<Option<u64>, StoreError> {
        self.0.audit(partition, cursor, max).await
    }

    async fn waiting(
        &self,
        partitions: &[u16],
        max: usize,
    ) -> Vec<Result<WaitingEvents, StoreError>> {
        self.0.waiting(partitions, max).await
    }

    async fn remove_delivered(&self, upto: &[(u16, u64)]) -> Vec<Result<(), StoreError>> {
        self.0.remove_delivered(upto).await
    }
}
