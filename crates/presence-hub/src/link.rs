//! The way from the shards to the shared store and back. Requests are sent in batches, a partition of the store never waits
//! for another partition, and replies go to the shard that they are for.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use presence_core::cluster::{Ephemeral, Incarnation, News, Peek, Reply, Request, Subject, Write};
use presence_core::ports::{Lease, Notice, Row, StoreError, Topics};
use presence_core::{Timestamp, Topic, UserId};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::clock::WallClock;
use crate::counters::Counters;
use crate::explain::{Inquirer, Roll};
use crate::grain::due;
use crate::pulse::Pulse;
use crate::shards::Shards;
use crate::{people, roster_shard};

/// The number of requests that wait to be looked at. For a further one the shard is told that the store does not
/// answer, and asks again.
const REQUESTS_MAX: usize = 16 * 1024;
/// The number of requests of one kind that are sent to one partition of the store at once; the others wait for
/// the next batch.
const BATCH_MAX: usize = 512;
/// The number of announcements that are passed on together, besides the first one.
const NOTICES_TOGETHER_MAX: usize = 512;
/// The number of subjects of a partition whose ephemeral messages wait; those of further subjects are dropped.
const EPHEMERAL_SUBJECTS_MAX: usize = 256;
/// The number of ephemeral messages of one subject that wait; further ones are dropped.
const EPHEMERALS_PER_SUBJECT_MAX: usize = 256;

/// Takes the requests of the shards.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    requests: mpsc::Sender<Request>,
    pulse: Arc<Pulse>,
}

impl Link {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let pulse = Arc::new(Pulse::new());
        (Link { requests, pulse }, inbox)
    }

    /// What detects that the process stood still.
    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    /// Sends a request without ever waiting, because the store's replies wait for the shards. If there is no room, it
    /// returns the reply that the shard has to assume.
    ///
    /// # Errors
    ///
    /// Returns a request that has no reply and must not be lost.
    pub(crate) fn ask(&self, request: Request) -> Result<Option<Reply>, Request> {
        let Err(refused) = self.requests.try_send(request) else {
            return Ok(None);
        };
        match refused.into_inner() {
            Request::Open { ask, .. } | Request::Read { ask, .. } | Request::Peek { ask, .. } => {
                Ok(Some(Reply::Read {
                    ask,
                    snapshot: None,
                }))
            }
            Request::Write(_) => Ok(Some(Reply::Written(None))),
            Request::Fence { write, .. } => Ok(fenced(&write.subject, false)),
            Request::Ephemeral(..) => Ok(None),
            close @ Request::Close(_) => Err(close),
        }
    }
}

/// The reply to a user whose hiding was to be told to a place.
fn fenced(subject: &Subject, is_done: bool) -> Option<Reply> {
    match subject {
        Subject::Topic(topic) => Some(Reply::Fenced {
            topic: topic.clone(),
            is_done,
        }),
        Subject::User(_) | Subject::Node(_) => None,
    }
}

/// The outcome of a save, for the row that waits in the outbox of the store.
#[derive(Debug)]
pub(crate) enum SaveOutcome {
    /// The profile is saved, so the row can be acknowledged.
    Saved(Row),
    /// The profile could not be saved. It is saved when the store of profiles works again.
    GivenUp(Row),
}

/// Takes the outcomes of saves from the shards.
#[derive(Clone, Debug)]
pub(crate) struct SaveOutcomes {
    outcomes: mpsc::Sender<SaveOutcome>,
}

impl SaveOutcomes {
    pub(crate) fn new() -> (Self, mpsc::Receiver<SaveOutcome>) {
        let (outcomes, inbox) = mpsc::channel(REQUESTS_MAX);
        (SaveOutcomes { outcomes }, inbox)
    }

    /// Reports outcomes. If there is no room for one, the sweeper of that partition finds its row later.
    pub(crate) fn tell(&self, outcomes: Vec<SaveOutcome>) {
        for outcome in outcomes {
            let _ = self.outcomes.try_send(outcome);
        }
    }
}

/// Until when this node holds its lease, for every task that writes; and the partitions of the store in which it finishes
/// what others have begun.
#[derive(Debug)]
pub(crate) struct Holding {
    pub(crate) pulse: Arc<Pulse>,
    until: AtomicU64,
    /// The end of the lease, by the store's clock.
    until_at_store: AtomicU64,
    /// Whether a write failed, or the store has lost data, since this was last checked.
    is_troubled: AtomicBool,
    partitions: watch::Sender<Arc<[u16]>>,
    roll: watch::Sender<Roll>,
}

impl Holding {
    pub(crate) fn new(pulse: Arc<Pulse>) -> Self {
        Holding {
            pulse,
            until: AtomicU64::default(),
            until_at_store: AtomicU64::default(),
            is_troubled: AtomicBool::default(),
            partitions: watch::Sender::default(),
            roll: watch::Sender::default(),
        }
    }

    pub(crate) fn until(&self, moment: Timestamp, at_store: Timestamp) {
        self.until_at_store.store(at_store.as_millis(), Relaxed);
        self.until.store(moment.as_millis(), Relaxed);
    }

    /// The deadline for a write that is sent now.
    fn deadline(&self) -> Timestamp {
        Timestamp::from_millis(self.until_at_store.load(Relaxed))
    }

    /// Something of this node's may not be in the store, because of `why`.
    fn trouble(&self, why: &str) {
        tracing::debug!(
            why,
            "others wait until all of this node is in the shared store"
        );
        self.is_troubled.store(true, Relaxed);
    }

    /// Whether some of this node's data may not have been in the store since the last call.
    pub(crate) fn take_trouble(&self) -> bool {
        self.is_troubled.swap(false, Relaxed)
    }

    fn is_held(&self, now: Timestamp) -> bool {
        now.as_millis() < self.until.load(Relaxed)
    }

    pub(crate) fn answers_for(&self, partitions: Arc<[u16]>) {
        self.partitions.send_if_modified(|it| {
            let is_new = *it != partitions;
            *it = partitions;
            is_new
        });
    }

    /// Notes all leases, which were read just now.
    pub(crate) fn saw(&self, me: Incarnation, leases: &[Lease]) {
        self.roll.send_replace(Roll {
            me: Some(me),
            leases: leases.into(),
        });
    }

    /// The leases of all nodes, as they were last read.
    pub(crate) fn roll(&self) -> watch::Receiver<Roll> {
        self.roll.subscribe()
    }

    pub(crate) fn partitions(&self) -> watch::Receiver<Arc<[u16]>> {
        self.partitions.subscribe()
    }
}

/// The shards, to send replies to.
#[derive(Clone, Debug)]
pub(crate) struct ReplyRouter {
    pub(crate) people: Shards<people::Message>,
    pub(crate) rosters: Shards<roster_shard::Message>,
}

impl ReplyRouter {
    async fn reply(&self, subject: Subject, reply: Reply) {
        match subject {
            Subject::User(user) => {
                let mailbox = self.people.of(&user);
                let _ = mailbox.send(people::Message::Stored(user, reply)).await;
            }
            Subject::Topic(topic) => {
                let mailbox = self.rosters.of(&topic);
                let _ = mailbox
                    .send(roster_shard::Message::Stored(topic, reply))
                    .await;
            }
            Subject::Node(_) => {}
        }
    }

    pub(crate) async fn tell_away(&self, is_away: bool) {
        for mailbox in self.people.all() {
            let _ = mailbox.send(people::Message::Away(is_away)).await;
        }
    }

    pub(crate) async fn spread(&self, news: News) {
        for mailbox in self.people.all() {
            let _ = mailbox.send(people::Message::News(news)).await;
        }
        for mailbox in self.rosters.all() {
            let _ = mailbox.send(roster_shard::Message::News(news)).await;
        }
    }
}

/// Receives what the store announces, and passes it on to the shards. What has arrived together gets to a shard of
/// rosters as one message, so that each topic tells its watchers of it in one event.
pub(crate) async fn listen<T: Topics>(
    store: Arc<T>,
    holding: Arc<Holding>,
    router: ReplyRouter,
    inquirer: Inquirer,
    counters: Arc<Counters>,
) {
    let mut announced = Announced::new(router, inquirer);
    loop {
        announced
            .take(store.next().await, &holding, &counters)
            .await;
        // Whoever receives gets on with what came with the first one.
        tokio::task::yield_now().await;
        let mut more = NOTICES_TOGETHER_MAX;
        while more > 0
            && let Some(notice) = store.next().now_or_never()
        {
            announced.take(notice, &holding, &counters).await;
            more -= 1;
        }
        announced.pass_on().await;
    }
}

/// What the store has announced together.
struct Announced {
    router: ReplyRouter,
    /// Gets the messages of other nodes to this one.
    inquirer: Inquirer,
    /// The announcements for each shard of rosters, in order.
    rosters: Vec<Vec<(Topic, Reply)>>,
}

impl Announced {
    fn new(router: ReplyRouter, inquirer: Inquirer) -> Self {
        let rosters = router.rosters.all().map(|_| Vec::new()).collect();
        Announced {
            router,
            inquirer,
            rosters,
        }
    }

    async fn take(&mut self, notice: Notice, holding: &Holding, counters: &Counters) {
        let (subject, reply) = match notice {
            Notice::Patched(subject, patch) => {
                Counters::add(&counters.patches_heard, 1);
                (subject, Reply::Patched(patch))
            }
            Notice::Ephemeral(Subject::Node(_), messages) => {
                for message in messages {
                    if let Ephemeral::Node(message) = message {
                        self.inquirer.heard(message);
                    }
                }
                return;
            }
            Notice::Ephemeral(subject, ephemerals) => (subject, Reply::Ephemeral(ephemerals)),
            Notice::At(subject, clock) => (subject, Reply::At(clock)),
            Notice::Forgot(partition) => {
                self.pass_on().await;
                Counters::add(&counters.invalidated, 1);
                holding.trouble("a part of it was lost, or is in doubt");
                return self.router.spread(News::Invalidate(Some(partition))).await;
            }
        };
        match subject {
            Subject::Topic(topic) => {
                let shard = self.router.rosters.number_of(&topic);
                self.rosters[shard].push((topic, reply));
            }
            subject => self.router.reply(subject, reply).await,
        }
    }

    async fn pass_on(&mut self) {
        for (mailbox, announced) in self.router.rosters.all().zip(&mut self.rosters) {
            if !announced.is_empty() {
                let announced = roster_shard::Message::Announced(std::mem::take(announced));
                let _ = mailbox.send(announced).await;
            }
        }
    }
}

type Replies = Vec<(Subject, Reply)>;

/// A batch that is done.
struct Finished {
    partition: u16,
    kind: Kind,
    replies: Replies,
    /// Replies to peeks, and when they are due.
    held: Option<(Instant, Replies)>,
}

impl Finished {
    fn of(partition: u16, kind: Kind, replies: Replies) -> Self {
        Finished {
            partition,
            kind,
            replies,
            held: None,
        }
    }
}

type InFlight = FuturesUnordered<Pin<Box<dyn Future<Output = Finished> + Send>>>;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Writes,
    Fences,
    Doors,
    Ephemerals,
    /// Replies to peeks, which were held back.
    Peeks,
}

/// What waits for one partition of the store. One batch of each kind is under way.
#[derive(Debug, Default)]
struct RequestQueue {
    writes: Vec<Write>,
    is_writing: bool,
    /// Writes to places, on behalf of users who hide.
    fences: Vec<(UserId, Write)>,
    is_fencing: bool,
    /// Requests to open, read and close maps, in order.
    doors: Vec<Request>,
    is_opening: bool,
    ephemerals: HashMap<Subject, Vec<Ephemeral>>,
    is_sending_ephemerals: bool,
}

/// The task that sends requests to the store.
pub(crate) struct StoreWorker<T> {
    store: Arc<T>,
    clock: WallClock,
    holding: Arc<Holding>,
    router: ReplyRouter,
    counters: Arc<Counters>,
    queues: HashMap<u16, RequestQueue>,
    in_flight: InFlight,
    /// The number of requests that wait for their partition of the store.
    waiting: usize,
}

impl<T: Topics> StoreWorker<T> {
    pub(crate) fn new(
        store: Arc<T>,
        clock: WallClock,
        holding: Arc<Holding>,
        router: ReplyRouter,
        counters: Arc<Counters>,
    ) -> Self {
        StoreWorker {
            store,
            clock,
            holding,
            router,
            counters,
            queues: HashMap::new(),
            in_flight: FuturesUnordered::new(),
            waiting: 0,
        }
    }

    /// Runs until no shard is left that could ask for anything.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut requests = Vec::with_capacity(BATCH_MAX);
        loop {
            tokio::select! {
                received = inbox.recv_many(&mut requests, BATCH_MAX), if self.waiting < REQUESTS_MAX => {
                    if received == 0 {
                        return;
                    }
                    self.waiting += received;
                    let mut partitions: Vec<u16> = Vec::new();
                    for request in requests.drain(..) {
                        let partition = request.subject().partition();
                        partitions.push(partition);
                        self.queues.entry(partition).or_default().take(request);
                    }
                    partitions.sort_unstable();
                    partitions.dedup();
                    for partition in partitions {
                        self.start(partition).await;
                    }
                }
                Some(Finished { partition, kind, replies, held }) = self.in_flight.next() => {
                    if let Some((until, replies)) = held {
                        self.in_flight.push(Box::pin(hold(partition, until, replies)));
                    }
                    for (subject, reply) in replies {
                        self.router.reply(subject, reply).await;
                    }
                    if let Some(queue) = self.queues.get_mut(&partition) {
                        queue.finished(kind);
                    }
                    self.start(partition).await;
                }
            }
        }
    }

    /// Sends what waits for one partition of the store, unless a batch of its kind is under way there.
    async fn start(&mut self, partition: u16) {
        let Some(queue) = self.queues.get_mut(&partition) else {
            return;
        };
        let mut refused = Vec::new();
        if !queue.is_writing && !queue.writes.is_empty() {
            let rest = queue.writes.split_off(queue.writes.len().min(BATCH_MAX));
            let mut writes = std::mem::replace(&mut queue.writes, rest);
            if self.holding.is_held(self.clock.now()) {
                let until = self.holding.deadline();
                writes.iter_mut().for_each(|it| it.until = Some(until));
                queue.is_writing = true;
                Counters::add(&self.counters.shared_writes, writes.len());
                let (store, counters) = (self.store.clone(), self.counters.clone());
                let holding = self.holding.clone();
                self.in_flight
                    .push(Box::pin(write(partition, store, writes, holding, counters)));
            } else {
                refused = writes;
            }
        }
        let mut unfenced = Vec::new();
        if !queue.is_fencing && !queue.fences.is_empty() {
            let mut fences = queue.next_fences();
            if self.holding.is_held(self.clock.now()) {
                let until = self.holding.deadline();
                fences.iter_mut().for_each(|(_, it)| it.until = Some(until));
                queue.is_fencing = true;
                Counters::add(&self.counters.shared_writes, fences.len());
                let (store, counters) = (self.store.clone(), self.counters.clone());
                let holding = self.holding.clone();
                self.in_flight
                    .push(Box::pin(fence(partition, store, fences, holding, counters)));
            } else {
                unfenced = fences;
            }
        }
        if !queue.is_opening && !queue.doors.is_empty() {
            queue.is_opening = true;
            let doors = std::mem::take(&mut queue.doors);
            let (store, counters) = (self.store.clone(), self.counters.clone());
            self.in_flight
                .push(Box::pin(open(partition, store, doors, counters)));
        }
        if !queue.is_sending_ephemerals && !queue.ephemerals.is_empty() {
            queue.is_sending_ephemerals = true;
            let ephemerals: Vec<_> = queue.ephemerals.drain().collect();
            let store = self.store.clone();
            self.in_flight.push(Box::pin(async move {
                store.send_ephemeral(&ephemerals).await;
                Finished::of(partition, Kind::Ephemerals, Vec::new())
            }));
        }
        if queue.is_idle() {
            self.queues.remove(&partition);
        }
        let queues = self.queues.values();
        self.waiting = queues.map(RequestQueue::waiting).sum();
        // The lease has lapsed as far as this node knows: others may have declared it dead.
        for write in refused {
            self.holding.trouble("the lease has lapsed");
            self.router.reply(write.subject, Reply::Written(None)).await;
        }
        for (user, write) in unfenced {
            if let Some(reply) = fenced(&write.subject, false) {
                self.router.reply(Subject::User(user), reply).await;
            }
        }
    }
}

impl RequestQueue {
    fn take(&mut self, request: Request) {
        match request {
            Request::Write(write) => self.writes.push(write),
            Request::Fence { user, write } => self.fences.push((user, write)),
            Request::Ephemeral(subject, ephemerals) => {
                if self.ephemerals.len() < EPHEMERAL_SUBJECTS_MAX
                    || self.ephemerals.contains_key(&subject)
                {
                    let waiting = self.ephemerals.entry(subject).or_default();
                    waiting.extend(ephemerals);
                    waiting.truncate(EPHEMERALS_PER_SUBJECT_MAX);
                }
            }
            door @ (Request::Open { .. }
            | Request::Read { .. }
            | Request::Peek { .. }
            | Request::Close(_)) => {
                self.doors.push(door);
            }
        }
    }

    fn waiting(&self) -> usize {
        self.writes.len() + self.fences.len() + self.doors.len()
    }

    /// Takes the fences of the next batch, at most one for each place.
    fn next_fences(&mut self) -> Vec<(UserId, Write)> {
        let mut next: Vec<(UserId, Write)> = Vec::new();
        let mut later = Vec::new();
        for (user, write) in self.fences.drain(..) {
            let is_there = next.iter().any(|(_, it)| it.subject == write.subject);
            match is_there || next.len() == BATCH_MAX {
                true => later.push((user, write)),
                false => next.push((user, write)),
            }
        }
        self.fences = later;
        next
    }

    fn finished(&mut self, kind: Kind) {
        match kind {
            Kind::Fences => self.is_fencing = false,
            Kind::Writes => self.is_writing = false,
            Kind::Doors => self.is_opening = false,
            Kind::Ephemerals => self.is_sending_ephemerals = false,
            Kind::Peeks => {}
        }
    }

    fn is_idle(&self) -> bool {
        let is_busy =
            self.is_writing || self.is_fencing || self.is_opening || self.is_sending_ephemerals;
        !is_busy && self.waiting() == 0 && self.ephemerals.is_empty()
    }
}

async fn write<T: Topics>(
    partition: u16,
    store: Arc<T>,
    writes: Vec<Write>,
    holding: Arc<Holding>,
    counters: Arc<Counters>,
) -> Finished {
    let outcomes = store.write(&writes).await;
    if outcomes.iter().any(Result::is_err) {
        holding.trouble("a write failed");
    }
    let replies = writes.into_iter().zip(outcomes).map(|(write, outcome)| {
        let reply = Reply::Written(noted(outcome, &counters));
        (write.subject, reply)
    });
    Finished::of(partition, Kind::Writes, replies.collect())
}

async fn fence<T: Topics>(
    partition: u16,
    store: Arc<T>,
    fences: Vec<(UserId, Write)>,
    holding: Arc<Holding>,
    counters: Arc<Counters>,
) -> Finished {
    let (users, writes): (Vec<UserId>, Vec<Write>) = fences.into_iter().unzip();
    let outcomes = store.write(&writes).await;
    if outcomes.iter().any(Result::is_err) {
        holding.trouble("a fence was not written");
    }
    let told = users.into_iter().zip(writes).zip(outcomes);
    let replies = told.filter_map(|((user, write), outcome)| {
        let is_done = noted(outcome, &counters).is_some();
        Some((Subject::User(user), fenced(&write.subject, is_done)?))
    });
    Finished::of(partition, Kind::Fences, replies.collect())
}

/// Waits until the replies to peeks are due.
async fn hold(partition: u16, until: Instant, replies: Replies) -> Finished {
    tokio::time::sleep_until(until).await;
    Finished::of(partition, Kind::Peeks, replies)
}

/// Of each subject the last that was asked counts: whoever asked before does not wait for it any more. A peek is apart from
/// that: somebody waits for each, and its reply is held back.
async fn open<T: Topics>(
    partition: u16,
    store: Arc<T>,
    doors: Vec<Request>,
    counters: Arc<Counters>,
) -> Finished {
    let begun = Instant::now();
    let mut closing = Vec::new();
    let mut opening: Vec<(Subject, u32)> = Vec::new();
    let mut reading: Vec<(Subject, u32)> = Vec::new();
    let mut peeking: Vec<(Subject, u32, Peek)> = Vec::new();
    for door in doors {
        let subject = door.subject().clone();
        if let Request::Peek { ask, peek, .. } = door {
            peeking.push((subject, ask, peek));
            continue;
        }
        closing.retain(|it| *it != subject);
        reading.retain(|(it, _)| *it != subject);
        match door {
            Request::Open { ask, .. } => {
                opening.retain(|(it, _)| *it != subject);
                opening.push((subject, ask));
            }
            Request::Read { ask, .. } => match opening.iter_mut().find(|(it, _)| *it == subject) {
                Some((_, before)) => *before = ask,
                None => reading.push((subject, ask)),
            },
            Request::Close(_) => {
                opening.retain(|(it, _)| *it != subject);
                closing.push(subject);
            }
            Request::Peek { .. }
            | Request::Write(_)
            | Request::Fence { .. }
            | Request::Ephemeral(..) => {}
        }
    }
    let peeks = peeking.iter().map(|(it, ask, _)| (it.clone(), *ask));
    let peeks: HashSet<(Subject, u32)> = peeks.collect();
    for (subject, ask, peek) in peeking {
        match peek {
            Peek::Read => reading.push((subject, ask)),
            // To follow what is not followed would be for ever.
            Peek::Followed if closing.contains(&subject) => reading.push((subject, ask)),
            Peek::Followed => opening.push((subject, ask)),
        }
    }
    if !closing.is_empty() {
        store.unfollow(&closing).await;
    }
    let mut replies: Replies = Vec::new();
    if !opening.is_empty() {
        let subjects: Vec<Subject> = opening.iter().map(|(subject, _)| subject.clone()).collect();
        let followed = store.follow(&subjects).await;
        for ((subject, ask), outcome) in opening.into_iter().zip(followed) {
            match noted(outcome, &counters) {
                Some(()) => reading.push((subject, ask)),
                None => replies.push((
                    subject,
                    Reply::Read {
                        ask,
                        snapshot: None,
                    },
                )),
            }
        }
    }
    if !reading.is_empty() {
        Counters::add(&counters.shared_reads, reading.len());
        let subjects: Vec<Subject> = reading.iter().map(|(subject, _)| subject.clone()).collect();
        let read = store.read(&subjects).await;
        for ((subject, ask), outcome) in reading.into_iter().zip(read) {
            let snapshot = noted(outcome, &counters);
            replies.push((subject, Reply::Read { ask, snapshot }));
        }
    }
    let is_peek = |(subject, reply): &(Subject, Reply)| match reply {
        Reply::Read { ask, .. } if !peeks.is_empty() => peeks.contains(&(subject.clone(), *ask)),
        _ => false,
    };
    let (held, replies) = replies.into_iter().partition(is_peek);
    Finished {
        held: (!peeks.is_empty()).then(|| (due(begun, Instant::now()), held)),
        ..Finished::of(partition, Kind::Doors, replies)
    }
}

fn noted<V>(outcome: Result<V, StoreError>, counters: &Counters) -> Option<V> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            Counters::add(&counters.shared_failures, 1);
            let source = error.cause();
            tracing::debug!(%error, source, "the shared store did not answer");
            None
        }
    }
}
