//! The task that sends requests to the shared store in batches. A partition of the store never waits for another one, and
//! replies go to the shard that they are for.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use presence_core::UserId;
use presence_core::cluster::{Ephemeral, PaddedRead, Reply, Request, Subject, Write};
use presence_core::ports::{StoreError, Topics};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::clock::WallClock;
use crate::counters::Counters;
use crate::holding::Holding;
use crate::link::{REQUESTS_MAX, place_hidden};
use crate::padding::due;
use crate::router::ReplyRouter;

/// The number of requests of one kind that are sent to one partition of the store at once; the others wait for
/// the next batch.
const BATCH_MAX: usize = 512;
/// The number of subjects of a partition whose ephemeral messages wait; those of further subjects are dropped.
const EPHEMERAL_SUBJECTS_MAX: usize = 256;
/// The number of ephemeral messages of one subject that wait; further ones are dropped.
const EPHEMERALS_PER_SUBJECT_MAX: usize = 256;

type Replies = Vec<(Subject, Reply)>;

/// A batch that is done.
struct Finished {
    partition: u16,
    kind: Kind,
    replies: Replies,
    /// Replies to padded reads, and when they are due.
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
    Hides,
    Maps,
    Ephemerals,
    /// Replies to padded reads, which were held back.
    Padded,
}

/// What waits for one partition of the store. One batch of each kind is under way.
#[derive(Debug, Default)]
struct RequestQueue {
    writes: Vec<Write>,
    is_writing: bool,
    /// Writes to places, on behalf of users who hide.
    hides: Vec<(UserId, Write)>,
    is_hiding: bool,
    /// Requests to open, read and close maps, in order.
    map_requests: Vec<Request>,
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
                        self.in_flight.push(Box::pin(pad(partition, until, replies)));
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
        let now = self.clock.now();
        let mut refused = Vec::new();
        if !queue.is_writing && !queue.writes.is_empty() {
            let rest = queue.writes.split_off(queue.writes.len().min(BATCH_MAX));
            let batch = std::mem::replace(&mut queue.writes, rest);
            let mut writes = Vec::with_capacity(batch.len());
            for mut write in batch {
                write.until = self.holding.deadline(write.by, now);
                match write.until {
                    Some(_) => writes.push(write),
                    None => refused.push(write),
                }
            }
            if !writes.is_empty() {
                queue.is_writing = true;
                Counters::add(&self.counters.shared_writes, writes.len());
                let (store, counters) = (self.store.clone(), self.counters.clone());
                let holding = self.holding.clone();
                self.in_flight
                    .push(Box::pin(write(partition, store, writes, holding, counters)));
            }
        }
        let mut unhidden = Vec::new();
        if !queue.is_hiding && !queue.hides.is_empty() {
            let mut hides = Vec::new();
            for (user, mut write) in queue.next_hides() {
                write.until = self.holding.deadline(write.by, now);
                match write.until {
                    Some(_) => hides.push((user, write)),
                    None => unhidden.push((user, write)),
                }
            }
            if !hides.is_empty() {
                queue.is_hiding = true;
                Counters::add(&self.counters.shared_writes, hides.len());
                let (store, counters) = (self.store.clone(), self.counters.clone());
                let holding = self.holding.clone();
                self.in_flight
                    .push(Box::pin(hide(partition, store, hides, holding, counters)));
            }
        }
        if !queue.is_opening && !queue.map_requests.is_empty() {
            queue.is_opening = true;
            let map_requests = std::mem::take(&mut queue.map_requests);
            let (store, counters) = (self.store.clone(), self.counters.clone());
            self.in_flight
                .push(Box::pin(open(partition, store, map_requests, counters)));
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
        for (user, write) in unhidden {
            if let Some(reply) = place_hidden(&write.subject, false) {
                self.router.reply(Subject::User(user), reply).await;
            }
        }
    }
}

impl RequestQueue {
    fn take(&mut self, request: Request) {
        match request {
            Request::Write(write) => self.writes.push(write),
            Request::HidePlace { user, write } => self.hides.push((user, write)),
            Request::Ephemeral(subject, ephemerals) => {
                if self.ephemerals.len() < EPHEMERAL_SUBJECTS_MAX
                    || self.ephemerals.contains_key(&subject)
                {
                    let waiting = self.ephemerals.entry(subject).or_default();
                    waiting.extend(ephemerals);
                    waiting.truncate(EPHEMERALS_PER_SUBJECT_MAX);
                }
            }
            request @ (Request::Open { .. }
            | Request::Read { .. }
            | Request::PaddedRead { .. }
            | Request::Close(_)) => {
                self.map_requests.push(request);
            }
        }
    }

    fn waiting(&self) -> usize {
        self.writes.len() + self.hides.len() + self.map_requests.len()
    }

    /// Takes the writes for hiding users of the next batch, at most one for each place.
    fn next_hides(&mut self) -> Vec<(UserId, Write)> {
        let mut next: Vec<(UserId, Write)> = Vec::new();
        let mut later = Vec::new();
        for (user, write) in self.hides.drain(..) {
            let is_there = next.iter().any(|(_, it)| it.subject == write.subject);
            match is_there || next.len() == BATCH_MAX {
                true => later.push((user, write)),
                false => next.push((user, write)),
            }
        }
        self.hides = later;
        next
    }

    fn finished(&mut self, kind: Kind) {
        match kind {
            Kind::Hides => self.is_hiding = false,
            Kind::Writes => self.is_writing = false,
            Kind::Maps => self.is_opening = false,
            Kind::Ephemerals => self.is_sending_ephemerals = false,
            Kind::Padded => {}
        }
    }

    fn is_idle(&self) -> bool {
        let is_busy =
            self.is_writing || self.is_hiding || self.is_opening || self.is_sending_ephemerals;
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

async fn hide<T: Topics>(
    partition: u16,
    store: Arc<T>,
    hides: Vec<(UserId, Write)>,
    holding: Arc<Holding>,
    counters: Arc<Counters>,
) -> Finished {
    let (users, writes): (Vec<UserId>, Vec<Write>) = hides.into_iter().unzip();
    let outcomes = store.write(&writes).await;
    if outcomes.iter().any(Result::is_err) {
        holding.trouble("a place was not told that a user hides");
    }
    let told = users.into_iter().zip(writes).zip(outcomes);
    let replies = told.filter_map(|((user, write), outcome)| {
        let is_done = noted(outcome, &counters).is_some();
        Some((Subject::User(user), place_hidden(&write.subject, is_done)?))
    });
    Finished::of(partition, Kind::Hides, replies.collect())
}

/// Waits until the replies to padded reads are due.
async fn pad(partition: u16, until: Instant, replies: Replies) -> Finished {
    tokio::time::sleep_until(until).await;
    Finished::of(partition, Kind::Padded, replies)
}

/// The requests of a batch to open, read and close maps, by what has to be done.
///
/// For each subject only the last request counts: nobody waits for the earlier ones any more. Padded reads are apart:
/// somebody waits for each, and its reply is held back.
struct MapRequests {
    closing: Vec<Subject>,
    opening: Vec<(Subject, u32)>,
    reading: Vec<(Subject, u32)>,
    /// Those whose replies are held back.
    padded: HashSet<(Subject, u32)>,
}

impl MapRequests {
    fn of(map_requests: Vec<Request>) -> Self {
        let mut closing = Vec::new();
        let mut opening: Vec<(Subject, u32)> = Vec::new();
        let mut reading: Vec<(Subject, u32)> = Vec::new();
        let mut reading_padded: Vec<(Subject, u32, PaddedRead)> = Vec::new();
        for request in map_requests {
            let subject = request.subject().clone();
            if let Request::PaddedRead { ask, as_if, .. } = request {
                reading_padded.push((subject, ask, as_if));
                continue;
            }
            closing.retain(|it| *it != subject);
            reading.retain(|(it, _)| *it != subject);
            match request {
                Request::Open { ask, .. } => {
                    opening.retain(|(it, _)| *it != subject);
                    opening.push((subject, ask));
                }
                Request::Read { ask, .. } => {
                    match opening.iter_mut().find(|(it, _)| *it == subject) {
                        Some((_, before)) => *before = ask,
                        None => reading.push((subject, ask)),
                    }
                }
                Request::Close(_) => {
                    opening.retain(|(it, _)| *it != subject);
                    closing.push(subject);
                }
                Request::PaddedRead { .. }
                | Request::Write(_)
                | Request::HidePlace { .. }
                | Request::Ephemeral(..) => {}
            }
        }
        let padded = reading_padded.iter().map(|(it, ask, _)| (it.clone(), *ask));
        let padded: HashSet<(Subject, u32)> = padded.collect();
        for (subject, ask, as_if) in reading_padded {
            match as_if {
                PaddedRead::Read => reading.push((subject, ask)),
                // Nobody would ever stop following it.
                PaddedRead::Followed if closing.contains(&subject) => reading.push((subject, ask)),
                PaddedRead::Followed => opening.push((subject, ask)),
            }
        }
        MapRequests {
            closing,
            opening,
            reading,
            padded,
        }
    }
}

/// Follows, reads and stops following the maps that `map_requests` are about.
async fn open<T: Topics>(
    partition: u16,
    store: Arc<T>,
    map_requests: Vec<Request>,
    counters: Arc<Counters>,
) -> Finished {
    let begun = Instant::now();
    let MapRequests {
        closing,
        opening,
        mut reading,
        padded,
    } = MapRequests::of(map_requests);
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
    let is_padded = |(subject, reply): &(Subject, Reply)| match reply {
        Reply::Read { ask, .. } if !padded.is_empty() => padded.contains(&(subject.clone(), *ask)),
        _ => false,
    };
    let (held, replies) = replies.into_iter().partition(is_padded);
    Finished {
        held: (!padded.is_empty()).then(|| (due(begun, Instant::now()), held)),
        ..Finished::of(partition, Kind::Maps, replies)
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
