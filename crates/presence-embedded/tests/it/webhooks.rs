//! The webhook state of a node that is alone: the same contract as that of the store that nodes share, and what a file adds.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::{Ephemeral, Incarnation, PARTITIONS, Snapshot, Subject, Write};
use presence_core::hooks::{HookEvent, LastNotified};
use presence_core::ports::{
    EVENTS_WAITING_MAX, EnqueueOutcome, Hooks, Known, Leases, LocalOutbox, Notice, Notification,
    NumberedEvent, Outbox, Queue, Reaped, Row, StoreError, Topics, WaitingEvents, Written,
};
use presence_core::{ChannelId, Edit, Timestamp, Topic, UserId};
use presence_embedded::{
    OpenError, ROWS_PER_PARTITION_MAX, TopicLink, TopicMemory, WebhookStore, WebhooksFound,
};
use presence_testkit::conformance;
use redb::TableDefinition;

/// More rows, or events, than a partition has.
const ALL: usize = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    keeps_the_contract(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    keeps_the_contract(WebhookStore::in_memory()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_keeps_the_contract_while_time_stands_still() {
    keeps_the_contract(WebhookStore::in_memory()).await;
}

async fn keeps_the_contract(store: WebhookStore) {
    let (topics, store) = (TopicMemory::with_webhooks(), Arc::new(store));
    let connect = async || Beside {
        link: topics.connect(),
        store: store.clone(),
    };
    conformance::outbox(connect).await;
    conformance::hooks(connect).await;
}

#[tokio::test]
async fn a_file_that_is_opened_again_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let (store, found) = open(folder.path());
    assert_eq!(found, WebhooksFound::default());
    let room = room("room:42");
    let told = LastNotified::Occupied([user("ann"), user("bob")].into());
    let events = [joined(1), joined(2), joined(3)];
    tell(&store, &room, 0, Edit::Set(told.clone()), &events).await;
    let (known, before) = (known(&store, &room).await, waiting(&store, &room).await);
    deliver(&store, &room, before[0].number).await;
    drop(store);

    let (store, found) = open(folder.path());
    let (waiting_now, known_now) = (2, 1);
    assert_eq!((found.waiting, found.known), (waiting_now, known_now));
    assert_eq!(waiting(&store, &room).await, before[1..]);
    assert_eq!(self::known(&store, &room).await, known);
    // Whatever the endpoint knows may have changed meanwhile.
    assert_eq!(rows(&store, &room).await.len(), 1);
    // Numbers grow even if nothing waits, and the endpoint knows nothing.
    deliver(&store, &room, before[2].number).await;
    tell(&store, &room, known.revision, Edit::Clear, &[]).await;
    drop(store);
    let (store, _) = open(folder.path());
    assert_eq!(rows(&store, &room).await, []);
    tell(&store, &room, 0, Edit::Set(told), &events[..1]).await;
    let after = waiting(&store, &room).await;
    assert!(after[0].number > before[2].number, "{after:?}");
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_and_another_is_begun() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("webhooks.redb");
    std::fs::write(&path, b"this is no database, and never was").unwrap();
    let (store, found) = WebhookStore::open(&path).unwrap();
    let aside = folder.path().join("webhooks.redb.damaged");
    assert_eq!(found.set_aside, Some(aside.clone()));
    assert!(std::fs::read(aside).unwrap().starts_with(b"this is no"));
    let room = room("room:42");
    tell(&store, &room, 0, Edit::Keep, &[joined(1)]).await;
    assert_eq!(waiting(&store, &room).await.len(), 1);
}

#[tokio::test]
async fn what_cannot_be_understood_is_left_out_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let room = room("room:42");
    let events = [joined(1), joined(2), joined(3)];
    tell(&store, &room, 0, Edit::Keep, &events).await;
    let all = waiting(&store, &room).await;
    drop(store);
    let table: TableDefinition<'_, (u16, u64), &[u8]> = TableDefinition::new("events");
    let redb = redb::Database::open(folder.path().join("webhooks.redb")).unwrap();
    let writing = redb.begin_write().unwrap();
    let key = (room.partition(), all[1].number);
    let garbage: &[u8] = b"\x01\x09 garbage";
    let mut events = writing.open_table(table).unwrap();
    drop(events.insert(key, garbage).unwrap());
    drop(events);
    writing.commit().unwrap();
    drop(redb);

    let (store, found) = open(folder.path());
    assert_eq!((found.garbled, found.waiting), (1, 2));
    let left = waiting(&store, &room).await;
    assert_eq!(left, [all[0].clone(), all[2].clone()]);
    // What is delivered takes it with it.
    deliver(&store, &room, all[2].number).await;
    drop(store);
    assert_eq!(open(folder.path()).1, WebhooksFound::default());
}

#[tokio::test]
async fn while_the_file_is_gone_calls_fail_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("webhooks.redb");
    let (store, _) = open(folder.path());
    let (ann, bob) = (room("ann"), room("bob"));
    tell(&store, &ann, 0, Edit::Keep, &[joined(1)]).await;
    let elsewhere = folder.path().join("elsewhere");
    std::fs::rename(&path, &elsewhere).unwrap();
    assert!(!store.is_there());
    let row = leave(&store, &bob);
    let notification = notification(&row, 0, Edit::Keep, &[joined(2)]);
    for _ in 0..2 {
        let outcome = store
            .enqueue(std::slice::from_ref(&notification))
            .await
            .remove(0);
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))));
    }
    assert_eq!(rows(&store, &bob).await, [row]);
    std::fs::rename(&elsewhere, &path).unwrap();
    assert!(store.is_there());
    assert_eq!(waiting(&store, &ann).await.len(), 1);
    let again = store.enqueue(&[notification]).await.remove(0);
    // The commit that was answered with an error may have been done.
    let told = waiting(&store, &bob).await.len();
    assert!(matches!(again, Ok(EnqueueOutcome::Stored)), "{again:?}");
    assert!((1..=2).contains(&told), "{told}");
}

#[tokio::test]
async fn a_file_in_use_is_not_opened_and_not_moved_away() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, _) = open(folder.path());
    let path = folder.path().join("webhooks.redb");
    let error = WebhookStore::open(&path).unwrap_err();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    assert!(path.exists());
}

#[tokio::test]
async fn no_more_rows_are_kept_than_may_be_and_the_audit_finds_the_others() {
    let store = WebhookStore::in_memory();
    let first = room("room:0");
    let same = (1..).map(|n| room(&format!("room:{n}")));
    let same = same.filter(|it| it.partition() == first.partition());
    let rooms: Vec<Subject> = same.take(ROWS_PER_PARTITION_MAX + 1).collect();
    let last = rooms.last().unwrap();
    let told = Edit::Set(LastNotified::Occupied([user("ann")].into()));
    tell(&store, last, 0, told, &[]).await;
    rooms.iter().for_each(|it| drop(leave(&store, it)));
    assert_eq!(rows(&store, &first).await.len(), ROWS_PER_PARTITION_MAX);
    assert!(
        !rows(&store, last)
            .await
            .iter()
            .any(|it| it.subject == *last)
    );
    // A row that is there takes a newer version.
    let newer = leave(&store, &rooms[0]);
    assert!(rows(&store, &first).await.contains(&newer));
    acknowledge(&store, &newer).await;
    store.audit(first.partition(), 0, 10).await.unwrap();
    assert!(
        rows(&store, last)
            .await
            .iter()
            .any(|it| it.subject == *last)
    );
}

#[tokio::test]
async fn beyond_the_bound_a_change_stays_a_row_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path());
    let room = room("room:42");
    let many: Vec<HookEvent> = (0..EVENTS_WAITING_MAX).map(joined).collect();
    tell(&store, &room, 0, Edit::Keep, &many).await;
    drop(store);
    let (store, found) = open(folder.path());
    assert_eq!(found.waiting, EVENTS_WAITING_MAX);
    let row = leave(&store, &room);
    let one = notification(&row, 0, Edit::Keep, &[joined(0)]);
    let full = store.enqueue(std::slice::from_ref(&one)).await.remove(0);
    assert_eq!(full.unwrap(), EnqueueOutcome::Full);
    assert_eq!(rows(&store, &room).await, [row]);
    let all = waiting(&store, &room).await;
    deliver(&store, &room, all[0].number).await;
    assert_eq!(
        store.enqueue(&[one]).await.remove(0).unwrap(),
        EnqueueOutcome::Stored
    );
}

fn open(folder: &Path) -> (WebhookStore, WebhooksFound) {
    WebhookStore::open(folder.join("webhooks.redb")).unwrap()
}

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn room(id: &str) -> Subject {
    Subject::Topic(Topic::Channel(ChannelId::new(id).unwrap()))
}

fn joined(n: usize) -> HookEvent {
    HookEvent::ChannelJoined {
        channel: ChannelId::new("room:42").unwrap(),
        user: user(&format!("user-{n}")),
    }
}

/// Leaves a row of a change that happens now.
fn leave(store: &WebhookStore, subject: &Subject) -> Row {
    let row = Row {
        subject: subject.clone(),
        version: 1_800_000_000_000_000,
    };
    store.leave(&row);
    row
}

fn notification(
    row: &Row,
    after: u64,
    last_notified: Edit<LastNotified>,
    events: &[HookEvent],
) -> Notification {
    Notification {
        row: row.clone(),
        after,
        is_exact: true,
        last_notified,
        events: events.to_vec(),
    }
}

async fn tell(
    store: &WebhookStore,
    subject: &Subject,
    after: u64,
    last_notified: Edit<LastNotified>,
    events: &[HookEvent],
) {
    let row = leave(store, subject);
    let notification = notification(&row, after, last_notified, events);
    let told = store.enqueue(&[notification]).await.remove(0);
    assert_eq!(told.unwrap(), EnqueueOutcome::Stored);
}

async fn known(store: &WebhookStore, subject: &Subject) -> Known {
    let known = store.known(std::slice::from_ref(subject)).await;
    known.into_iter().next().unwrap().unwrap()
}

async fn waiting(store: &WebhookStore, subject: &Subject) -> Vec<NumberedEvent> {
    let waiting = store.waiting(&[subject.partition()], ALL).await;
    waiting.into_iter().next().unwrap().unwrap().events
}

async fn deliver(store: &WebhookStore, subject: &Subject, upto: u64) {
    let delivered = store.remove_delivered(&[(subject.partition(), upto)]).await;
    delivered.into_iter().for_each(|it| it.unwrap());
}

/// The rows in the partition of `subject`.
async fn rows(store: &WebhookStore, subject: &Subject) -> Vec<Row> {
    let partitions = [subject.partition()];
    let due = store.due(Queue::Webhooks, &partitions, Duration::ZERO, ALL);
    due.await.remove(0).unwrap()
}

async fn acknowledge(store: &WebhookStore, row: &Row) {
    let row = std::slice::from_ref(row);
    store.acknowledge(Queue::Webhooks, row).await.unwrap();
}

/// A store that nodes share, but for what is kept of webhooks: that is in a [`WebhookStore`], which gets the rows that
/// writes leave.
struct Beside {
    link: TopicLink,
    store: Arc<WebhookStore>,
}

impl Beside {
    async fn pass_rows_on(&self, partitions: &[u16]) {
        let queue = Queue::Webhooks;
        let due = self.link.due(queue, partitions, Duration::ZERO, ALL).await;
        for rows in due {
            let rows = rows.unwrap();
            rows.iter().for_each(|it| self.store.leave(it));
            self.link.acknowledge(queue, &rows).await.unwrap();
        }
    }
}

impl Topics for Beside {
    async fn write(&self, writes: &[Write]) -> Vec<Result<Written, StoreError>> {
        let written = self.link.write(writes).await;
        let partitions = writes.iter().map(|it| it.subject.partition());
        self.pass_rows_on(&partitions.collect::<Vec<_>>()).await;
        written
    }

    async fn read(&self, subjects: &[Subject]) -> Vec<Result<Snapshot, StoreError>> {
        self.link.read(subjects).await
    }

    async fn follow(&self, subjects: &[Subject]) -> Vec<Result<(), StoreError>> {
        self.link.follow(subjects).await
    }

    async fn unfollow(&self, subjects: &[Subject]) {
        self.link.unfollow(subjects).await;
    }

    async fn send_ephemeral(&self, ephemerals: &[(Subject, Vec<Ephemeral>)]) {
        self.link.send_ephemeral(ephemerals).await;
    }

    async fn compare(&self) -> Result<(), StoreError> {
        self.link.compare().await
    }

    async fn next(&self) -> Notice {
        self.link.next().await
    }

    async fn renew(
        &self,
        me: Incarnation,
        name: &str,
        ttl: Duration,
        stored_up_to: Timestamp,
    ) -> Result<Leases, StoreError> {
        self.link.renew(me, name, ttl, stored_up_to).await
    }

    async fn mark_dead(&self, who: Incarnation) -> Result<bool, StoreError> {
        self.link.mark_dead(who).await
    }

    async fn reap(&self, who: Incarnation) -> Result<Reaped, StoreError> {
        let reaped = self.link.reap(who).await;
        self.pass_rows_on(&(0..PARTITIONS).collect::<Vec<_>>())
            .await;
        reaped
    }

    async fn forget(&self, who: Incarnation) -> Result<(), StoreError> {
        self.link.forget(who).await
    }

    async fn secret(&self, proposal: [u8; 32]) -> Result<[u8; 32], StoreError> {
        self.link.secret(proposal).await
    }
}

impl Outbox for Beside {
    async fn due(
        &self,
        queue: Queue,
        partitions: &[u16],
        age: Duration,
        max: usize,
    ) -> Vec<Result<Vec<Row>, StoreError>> {
        match queue {
            Queue::Webhooks => self.store.due(queue, partitions, age, max).await,
            Queue::Profiles => self.link.due(queue, partitions, age, max).await,
        }
    }

    async fn acknowledge(&self, queue: Queue, rows: &[Row]) -> Result<(), StoreError> {
        match queue {
            Queue::Webhooks => self.store.acknowledge(queue, rows).await,
            Queue::Profiles => self.link.acknowledge(queue, rows).await,
        }
    }
}

impl Hooks for Beside {
    async fn known(&self, subjects: &[Subject]) -> Vec<Result<Known, StoreError>> {
        self.store.known(subjects).await
    }

    async fn enqueue(
        &self,
        notifications: &[Notification],
    ) -> Vec<Result<EnqueueOutcome, StoreError>> {
        self.store.enqueue(notifications).await
    }

    async fn audit(
        &self,
        partition: u16,
        cursor: u64,
        max: usize,
    ) -> Result<Option<u64>, StoreError> {
        self.store.audit(partition, cursor, max).await
    }

    async fn waiting(
        &self,
        partitions: &[u16],
        max: usize,
    ) -> Vec<Result<WaitingEvents, StoreError>> {
        self.store.waiting(partitions, max).await
    }

    async fn remove_delivered(&self, upto: &[(u16, u64)]) -> Vec<Result<(), StoreError>> {
        self.store.remove_delivered(upto).await
    }
}
