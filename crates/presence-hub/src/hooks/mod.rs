//! Telling the outside: looks after what has changed in the parts of the store that are this node's, and delivers what waits
//! there.

mod desk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use presence_core::Timestamp;
use presence_core::hooks::{Pace, Wanted};
use presence_core::ports::{Endpoint, Hooks, Outbox, Topics};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use self::desk::{Delivered, Desk, Looked, Troubles, Waiting};
use crate::clock::Clock;
use crate::counters::Counters;
use crate::pending::{InFlight, finish, sleep_until};

/// How often it is looked after what has changed. What changes in between and back is not told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Parts of the store that one delivery is of; the others come next.
const PARTS_MAX: usize = 32;
/// All parts are taken for having something that waits so often: a node that slept may have put it there.
const SUSPECT_EVERY: Duration = Duration::from_secs(60);

/// How long a part is left alone whose store has failed.
const AWAY_FOR: Duration = Duration::from_secs(1);

/// How often some of what the outside was told is looked at again, whether it has changed or not.
const DOUBT_EVERY: Duration = Duration::from_secs(1);
/// How much of it.
const DOUBTED_MAX: usize = 20;

/// What becomes of what the outside is told, as far as it is this node's to tell.
#[derive(Debug, Default)]
pub struct HookCounters {
    /// Events that wait.
    pub waiting: AtomicU64,
    /// When the oldest of them was told, in milliseconds since 1970; 0 if none waits.
    pub oldest_ms: AtomicU64,
    /// Events that the endpoint has taken.
    pub delivered: AtomicU64,
    /// Deliveries that failed; each is repeated.
    pub failures: AtomicU64,
    /// Whether the last delivery failed, and something still waits.
    pub is_away: AtomicBool,
}

impl HookCounters {
    /// How long the oldest event waits.
    pub fn oldest_age(&self, now: Timestamp) -> Duration {
        match self.oldest_ms.load(Relaxed) {
            0 => Duration::ZERO,
            oldest => now.since(Timestamp::from_millis(oldest)),
        }
    }
}

/// The task that tells the outside.
pub(crate) struct Telltale<S, E> {
    desk: Arc<Desk<S, E>>,
    counters: Arc<Counters>,
    /// Which parts of the store are this node's.
    parts: watch::Receiver<Arc<[u16]>>,
    looking: InFlight<Looked>,
    delivering: InFlight<Delivered>,
    /// The parts where something may wait, and what is known of that.
    waiting: BTreeMap<u16, Waiting>,
    /// How many events were told since the delivery under way began, in which part.
    meanwhile: BTreeMap<u16, usize>,
    /// The parts where too much waits for more to be told.
    full: BTreeSet<u16>,
    /// The parts whose store has failed: they are left alone for [`AWAY_FOR`], and the others are delivered meanwhile.
    away: BTreeMap<u16, Instant>,
    /// Where to go on doubting: in which part, and where there.
    doubted: (u16, u64),
    doubting: InFlight<Option<u64>>,
    /// The last part that was delivered from: the next one is the first of the next delivery.
    last: u16,
    pace: Pace,
    /// When the endpoint is tried again.
    again_at: Option<Instant>,
}

impl<S: Topics + Outbox + Hooks, E: Endpoint> Telltale<S, E> {
    pub(crate) fn new(
        store: Arc<S>,
        endpoint: Arc<E>,
        clock: Clock,
        wanted: Wanted,
        counters: Arc<Counters>,
        parts: watch::Receiver<Arc<[u16]>>,
    ) -> Self {
        Telltale {
            desk: Arc::new(Desk {
                store,
                endpoint,
                clock,
                wanted,
                stuck: Mutex::default(),
                many: Mutex::default(),
                troubles: Troubles::default(),
            }),
            counters,
            parts,
            looking: None,
            delivering: None,
            waiting: BTreeMap::new(),
            meanwhile: BTreeMap::new(),
            full: BTreeSet::new(),
            away: BTreeMap::new(),
            doubted: (0, 0),
            doubting: None,
            last: 0,
            pace: Pace::default(),
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
        let mut doubt = every(DOUBT_EVERY);
        self.suspect_all();
        loop {
            self.start_delivery();
            tokio::select! {
                changed = self.parts.changed() => match changed {
                    Ok(()) => self.suspect_all(),
                    Err(_) => return,
                },
                _ = look.tick(), if self.looking.is_none() => self.start_look(),
                _ = suspect.tick() => self.suspect_all(),
                _ = doubt.tick(), if self.doubting.is_none() => self.start_doubt(),
                next = finish(&mut self.doubting) => {
                    self.doubting = None;
                    self.doubted.1 = next.unwrap_or(0);
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

    /// Anything may be in any part, and nothing of others is this node's business any more.
    fn suspect_all(&mut self) {
        let parts = self.parts.borrow_and_update().clone();
        let known = std::mem::take(&mut self.waiting);
        let known = |part: &u16| known.get(part).copied().unwrap_or_default();
        self.waiting = parts.iter().map(|part| (*part, known(part))).collect();
        self.full.clear();
    }

    fn start_look(&mut self) {
        let parts = self.parts.borrow().clone();
        let parts: Vec<u16> = parts
            .iter()
            .filter(|it| !self.full.contains(it))
            .copied()
            .collect();
        self.looking = Some(Box::pin(self.desk.clone().look(parts)));
    }

    /// Goes on in the part where it stopped, or else in the next one.
    fn start_doubt(&mut self) {
        let parts = self.parts.borrow().clone();
        let (last, cursor) = self.doubted;
        let next = parts
            .iter()
            .find(|it| **it > last || (**it == last && cursor > 0));
        let Some(&part) = next.or(parts.first()) else {
            return;
        };
        let cursor = if part == last { cursor } else { 0 };
        self.doubted = (part, cursor);
        let desk = self.desk.clone();
        self.doubting = Some(Box::pin(async move {
            let next = desk.store.doubt(part, cursor, DOUBTED_MAX).await;
            let what = "looking again at what was told";
            desk.troubles.doubting.note(next.as_ref().err(), what);
            next.unwrap_or(None)
        }));
    }

    fn looked(&mut self, looked: Looked) {
        self.looking = None;
        self.full.extend(looked.full);
        let now = self.desk.clock.now();
        for (part, count) in looked.told {
            // Unless it is another node's by now.
            if self.parts.borrow().contains(&part) {
                let waiting = self.waiting.entry(part).or_default();
                waiting.count += count;
                waiting.oldest = waiting.oldest.or(Some(now));
                *self.meanwhile.entry(part).or_default() += count;
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
        let next = next.filter(|(part, _)| !self.away.contains_key(part));
        let parts: Vec<u16> = next.map(|(part, _)| *part).take(PARTS_MAX).collect();
        if parts.is_empty() {
            return;
        }
        self.last = parts.last().copied().unwrap_or(0);
        self.meanwhile.clear();
        self.delivering = Some(Box::pin(self.desk.clone().deliver(parts)));
    }

    fn delivered(&mut self, delivered: Delivered) {
        self.delivering = None;
        let counters = &self.counters.hooks;
        match delivered.taken {
            Some(0) => {}
            Some(taken) => {
                self.pace.went_well();
                counters.is_away.store(false, Relaxed);
                Counters::add(&counters.delivered, taken);
            }
            None => {
                let mut random = [0; 4];
                getrandom::fill(&mut random).expect("the operating system has random numbers");
                let wait = self.pace.failed(u32::from_le_bytes(random));
                self.again_at = Some(Instant::now() + wait);
                counters.is_away.store(true, Relaxed);
                Counters::add(&counters.failures, 1);
            }
        }
        let later = Instant::now() + AWAY_FOR;
        let away = delivered.away.into_iter();
        self.away.extend(away.map(|part| (part, later)));
        for (part, mut waiting) in delivered.waiting {
            if delivered.taken.is_some() {
                // There may be room again.
                self.full.remove(&part);
            }
            // It may have been asked before these were told; if not, they are counted twice until it is asked again.
            waiting.count += self.meanwhile.get(&part).copied().unwrap_or(0);
            if waiting.count == 0 {
                self.waiting.remove(&part);
            } else if let Some(known) = self.waiting.get_mut(&part) {
                *known = waiting;
            }
        }
    }

    /// Nothing waits here any more: how the endpoint fares is for others to say.
    fn rest(&mut self) {
        self.pace.went_well();
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
