//! Webhooks: looks for changes in the partitions of the store that this node looks after, and delivers the events
//! that wait there. A node that is alone looks after all partitions of a store of its own.

mod changes;
mod source;
mod worker;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use presence_core::Timestamp;
use presence_core::hooks::{Backoff, Wanted};
use presence_core::ports::{Endpoint, Hooks, Outbox};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

pub(crate) use self::changes::Changes;
pub(crate) use self::source::{OwnShards, SharedMaps, Source};
use self::worker::{Delivered, DispatchWorker, FailureLogs, Looked, WaitingEvents};
use crate::clock::WallClock;
use crate::counters::Counters;
use crate::pending::{InFlight, finish, sleep_until};

/// How often a node looks for changes. A change that is undone in between is not told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The number of partitions from which one delivery takes events; the others come next.
const PARTITIONS_MAX: usize = 32;
/// How often all partitions are assumed to have events that wait: a node that was asleep may have put some there.
const SUSPECT_EVERY: Duration = Duration::from_secs(60);

/// How long a partition is left alone after its store has failed.
const AWAY_FOR: Duration = Duration::from_secs(1);

/// How often some of the subjects that the endpoint was told about are checked again, whether they have changed or not.
const AUDIT_EVERY: Duration = Duration::from_secs(1);
/// The number of subjects that are checked at a time.
const AUDITED_MAX: usize = 20;

/// The task that delivers webhooks.
pub(crate) struct Dispatcher<P, S, E> {
    worker: Arc<DispatchWorker<P, S, E>>,
    counters: Arc<Counters>,
    /// The partitions of the store that this node looks after.
    partitions: watch::Receiver<Arc<[u16]>>,
    looking: InFlight<Looked>,
    delivering: InFlight<Delivered>,
    /// The partitions where events may wait, and what is known about them.
    waiting: BTreeMap<u16, WaitingEvents>,
    /// How many events were told in each partition since the current delivery began.
    meanwhile: BTreeMap<u16, usize>,
    /// The partitions where too many events wait for more to be told.
    full: BTreeSet<u16>,
    /// The partitions whose store has failed. They are left alone for [`AWAY_FOR`], and the others are delivered meanwhile.
    away: BTreeMap<u16, Instant>,
    /// Where to go on with checking subjects again: the partition, and the cursor in it.
    audited: (u16, u64),
    auditing: InFlight<Option<u64>>,
    /// The last partition from which events were delivered. The next delivery begins with the partition after it.
    last: u16,
    backoff: Backoff,
    /// When the endpoint is tried again after a failure.
    again_at: Option<Instant>,
}

impl<P: Source, S: Outbox + Hooks, E: Endpoint> Dispatcher<P, S, E> {
    pub(crate) fn new(
        source: P,
        store: Arc<S>,
        endpoint: Arc<E>,
        clock: WallClock,
        wanted: Wanted,
        counters: Arc<Counters>,
        partitions: watch::Receiver<Arc<[u16]>>,
    ) -> Self {
        Dispatcher {
            worker: Arc::new(DispatchWorker {
                source,
                store,
                endpoint,
                clock,
                wanted,
                stuck: Mutex::default(),
                many: Mutex::default(),
                failure_logs: FailureLogs::default(),
            }),
            counters,
            partitions,
            looking: None,
            delivering: None,
            waiting: BTreeMap::new(),
            meanwhile: BTreeMap::new(),
            full: BTreeSet::new(),
            away: BTreeMap::new(),
            audited: (0, 0),
            auditing: None,
            last: 0,
            backoff: Backoff::default(),
            again_at: None,
        }
    }

    /// Runs until the node stops.
    pub(crate) async fn run(mut self) {
        let every = |span| {
            let mut interval = tokio::time::interval(span);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        };
        let (mut look, mut suspect) = (every(LOOK_EVERY), every(SUSPECT_EVERY));
        let mut audit = every(AUDIT_EVERY);
        self.suspect_all();
        loop {
            self.start_delivery();
            tokio::select! {
                changed = self.partitions.changed() => match changed {
                    Ok(()) => self.suspect_all(),
                    Err(_) => return,
                },
                _ = look.tick(), if self.looking.is_none() => self.start_look(),
                _ = suspect.tick() => self.suspect_all(),
                _ = audit.tick(), if self.auditing.is_none() => self.start_audit(),
                next = finish(&mut self.auditing) => {
                    self.auditing = None;
                    self.audited.1 = next.unwrap_or(0);
                }
                looked = finish(&mut self.looking) => {
                    if looked.is_more {
                        look.reset_immediately();
                    }
                    self.looked(looked);
                }
                delivered = finish(&mut self.delivering) => self.delivered(delivered),
                () = sleep_until(self.again_at) => self.again_at = None,
                () = sleep_until(self.away.values().min().copied()) => {
                    let now = Instant::now();
                    self.away.retain(|_, until| now < *until);
                }
            }
            if self.waiting.is_empty() {
                self.rest();
            }
            self.count();
        }
    }

    /// Assumes that events wait in all partitions of this node, and forgets the partitions of other nodes.
    fn suspect_all(&mut self) {
        let partitions = self.partitions.borrow_and_update().clone();
        let known = std::mem::take(&mut self.waiting);
        let known = |partition: &u16| known.get(partition).copied().unwrap_or_default();
        self.waiting = partitions
            .iter()
            .map(|partition| (*partition, known(partition)))
            .collect();
        self.full.clear();
    }

    fn start_look(&mut self) {
        let partitions = self.partitions.borrow().clone();
        let partitions: Vec<u16> = partitions
            .iter()
            .filter(|it| !self.full.contains(it))
            .copied()
            .collect();
        self.looking = Some(Box::pin(self.worker.clone().look(partitions)));
    }

    /// Checks further subjects again, in the same partition or else in the next one.
    fn start_audit(&mut self) {
        let partitions = self.partitions.borrow().clone();
        let (last, cursor) = self.audited;
        let next = partitions
            .iter()
            .find(|it| **it > last || (**it == last && cursor > 0));
        let Some(&partition) = next.or(partitions.first()) else {
            return;
        };
        let cursor = if partition == last { cursor } else { 0 };
        self.audited = (partition, cursor);
        let worker = self.worker.clone();
        self.auditing = Some(Box::pin(async move {
            let next = worker.store.audit(partition, cursor, AUDITED_MAX).await;
            let what = "checking again what webhooks have told";
            worker.failure_logs.auditing.note(next.as_ref().err(), what);
            next.unwrap_or(None)
        }));
    }

    fn looked(&mut self, looked: Looked) {
        self.looking = None;
        self.full.extend(looked.full);
        let now = self.worker.clock.now();
        for (partition, count) in looked.told {
            // Unless it is another node's by now.
            if self.partitions.borrow().contains(&partition) {
                let waiting = self.waiting.entry(partition).or_default();
                waiting.count += count;
                waiting.oldest = waiting.oldest.or(Some(now));
                *self.meanwhile.entry(partition).or_default() += count;
            }
        }
    }

    fn start_delivery(&mut self) {
        if self.delivering.is_some() || self.again_at.is_some() || self.waiting.is_empty() {
            return;
        }
        let after = self.last.saturating_add(1);
        let next = self.waiting.range(after..);
        let next = next.chain(self.waiting.range(..after));
        let next = next.filter(|(partition, _)| !self.away.contains_key(partition));
        let partitions: Vec<u16> = next
            .map(|(partition, _)| *partition)
            .take(PARTITIONS_MAX)
            .collect();
        if partitions.is_empty() {
            return;
        }
        self.last = partitions.last().copied().unwrap_or(0);
        self.meanwhile.clear();
        self.delivering = Some(Box::pin(self.worker.clone().deliver(partitions)));
    }

    fn delivered(&mut self, delivered: Delivered) {
        self.delivering = None;
        let counters = &self.counters.hooks;
        match delivered.taken {
            Some(0) => {}
            Some(taken) => {
                self.backoff.succeeded();
                counters.is_away.store(false, Relaxed);
                Counters::add(&counters.delivered, taken);
            }
            None => {
                let mut random = [0; 4];
                getrandom::fill(&mut random).expect("the operating system has random numbers");
                let wait = self.backoff.failed(u32::from_le_bytes(random));
                self.again_at = Some(Instant::now() + wait);
                counters.is_away.store(true, Relaxed);
                Counters::add(&counters.failures, 1);
            }
        }
        let later = Instant::now() + AWAY_FOR;
        let away = delivered.away.into_iter();
        self.away.extend(away.map(|partition| (partition, later)));
        for (partition, mut waiting) in delivered.waiting {
            if delivered.taken.is_some() {
                // There may be room again.
                self.full.remove(&partition);
            }
            // It may have been asked before these were told; if not, they are counted twice until it is asked again.
            waiting.count += self.meanwhile.get(&partition).copied().unwrap_or(0);
            if waiting.count == 0 {
                self.waiting.remove(&partition);
            } else if let Some(known) = self.waiting.get_mut(&partition) {
                *known = waiting;
            }
        }
    }

    /// Notes that nothing waits here any more: this node does not judge the endpoint then.
    fn rest(&mut self) {
        self.backoff.succeeded();
        self.again_at = None;
        self.counters.hooks.is_away.store(false, Relaxed);
    }

    fn count(&self) {
        let counters = &self.counters.hooks;
        let count: usize = self.waiting.values().map(|it| it.count).sum();
        counters.waiting.store(count as u64, Relaxed);
        let oldest = self.waiting.values().filter_map(|it| it.oldest).min();
        let oldest = oldest.map_or(0, Timestamp::as_millis);
        counters.oldest_ms.store(oldest, Relaxed);
    }
}
