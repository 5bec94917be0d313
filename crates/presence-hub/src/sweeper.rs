//! Finishes what others have begun: profiles that wait in the store that nodes share since somebody put them there, and died
//! or could not reach the store of profiles.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::cluster::{Carried, Incarnation, Op, Subject, Write};
use presence_core::ports::{Outbox, Profiles, Queue, Row, StoreError, Topics};
use presence_core::{Profile, UserId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use crate::counters::Counters;
use crate::keeper;
use crate::link::Fate;

/// How often it is looked for what waits.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// What waits for less may still be under way, or be saved and not settled.
pub(crate) const OVERDUE_AFTER: Duration = Duration::from_secs(15);
/// Rows of one part of the store that are looked at in one go; the others come next.
const ROWS_PER_PART_MAX: usize = 1000;
/// Profiles that are read and saved at once.
const BATCH_MAX: usize = 500;
/// How long what is saved waits to be settled together with others of its part of the store. Who changes again meanwhile
/// needs no settling for the time before.
const SETTLE_EVERY: Duration = Duration::from_secs(3);
/// Rows that are kept in mind, of those that are to be settled and of those that could not be saved. Of more, some are found
/// by whoever sweeps there.
const ROWS_MAX: usize = 16 * 1024;

/// What has changed, and which version that made.
type Rows = HashMap<Subject, u64>;

fn note(rows: &mut Rows, row: Row) {
    let version = rows.entry(row.subject).or_default();
    *version = row.version.max(*version);
}

/// The task of a node that looks after the outbox for profiles.
pub(crate) struct Sweeper<P, T> {
    profiles: Arc<P>,
    store: Arc<T>,
    /// As whom it removes what tells of somebody who was erased.
    me: Incarnation,
    /// Where it is for this node to do it.
    parts: watch::Receiver<Arc<[u16]>>,
    counters: Arc<Counters>,
}

impl<P: Profiles, T: Topics + Outbox> Sweeper<P, T> {
    pub(crate) fn new(
        profiles: Arc<P>,
        store: Arc<T>,
        me: Incarnation,
        parts: watch::Receiver<Arc<[u16]>>,
        counters: Arc<Counters>,
    ) -> Self {
        Sweeper {
            profiles,
            store,
            me,
            parts,
            counters,
        }
    }

    /// Runs until nobody is left who saves profiles.
    pub(crate) async fn run(self, mut inbox: mpsc::Receiver<Fate>) {
        let mut sweeps = every(SWEEP_EVERY);
        let mut settles = every(SETTLE_EVERY);
        let (mut saved, mut given_up) = (Rows::new(), Rows::new());
        loop {
            tokio::select! {
                fate = inbox.recv(), if saved.len() < ROWS_MAX => match fate {
                    Some(Fate::Saved(row)) => {
                        given_up.remove(&row.subject);
                        note(&mut saved, row);
                    }
                    Some(Fate::GivenUp(row)) if given_up.len() < ROWS_MAX => {
                        note(&mut given_up, row);
                    }
                    Some(Fate::GivenUp(_)) => {}
                    None => return,
                },
                _ = settles.tick() => {
                    let rows = saved.drain();
                    let rows = rows.map(|(subject, version)| Row { subject, version });
                    self.take_away(&rows.collect::<Vec<_>>()).await;
                }
                _ = sweeps.tick() => self.sweep(&mut given_up).await,
            }
        }
    }

    /// A row that stays is found again, and what is saved twice is saved once.
    async fn take_away(&self, rows: &[Row]) {
        if !rows.is_empty()
            && let Err(error) = self.store.settle(Queue::Profiles, rows).await
        {
            debug(&error, "cannot settle what is saved");
        }
    }

    /// Saves what this node could not, and what has been waiting for too long, one batch after the other, unless a store is
    /// away.
    async fn sweep(&self, given_up: &mut Rows) {
        if self.counters.shared_away.load(Relaxed) {
            return;
        }
        let rows = self.overdue(given_up).await;
        if rows.is_empty() && self.counters.store_away.load(Relaxed) {
            self.look_whether_it_is_back().await;
        }
        for batch in rows.chunks(BATCH_MAX) {
            let carried = self.carry(batch).await;
            self.counters
                .waiting
                .fetch_sub(carried.len() as u64, Relaxed);
            if carried.is_empty() {
                return;
            }
            for row in carried {
                given_up.remove(&row.subject);
            }
        }
    }

    /// What was `given_up`, and what waits for too long where it is for this node to do something about it, the oldest first.
    async fn overdue(&self, given_up: &Rows) -> Vec<Row> {
        let parts = self.parts.borrow().clone();
        let overdue = self.due(&parts, OVERDUE_AFTER).await;
        let mut rows = given_up.clone();
        overdue.into_iter().for_each(|row| note(&mut rows, row));
        let rows = rows.into_iter();
        let mut rows: Vec<Row> = rows
            .map(|(subject, version)| Row { subject, version })
            .collect();
        rows.sort_unstable_by_key(|it| it.version);
        self.counters.waiting.store(rows.len() as u64, Relaxed);
        // A version is a moment of the store's clock.
        let since = rows.first().map_or(u64::MAX, |it| it.version / 1000);
        self.counters.waiting_since.store(since, Relaxed);
        rows
    }

    async fn due(&self, parts: &[u16], age: Duration) -> Vec<Row> {
        let store = &self.store;
        let due = store.due(Queue::Profiles, parts, age, ROWS_PER_PART_MAX);
        let mut rows = Vec::new();
        for outcome in due.await {
            match outcome {
                Ok(some) => rows.extend(some),
                Err(error) => debug(&error, "cannot look for what waits to be saved"),
            }
        }
        rows
    }

    /// Saves what `rows` are about; says which of them wait no longer.
    async fn carry(&self, rows: &[Row]) -> Vec<Row> {
        let subjects: Vec<Subject> = rows.iter().map(|it| it.subject.clone()).collect();
        let maps = self.store.read(&subjects).await;
        let mut profiles: Vec<Profile> = Vec::new();
        let mut settled: Vec<Row> = Vec::new();
        let mut saved: HashMap<UserId, Row> = HashMap::new();
        let mut cuts: HashMap<UserId, Op> = HashMap::new();
        for (row, map) in rows.iter().zip(maps) {
            let (Subject::User(user), Ok(map)) = (&row.subject, map) else {
                continue;
            };
            let version = map.clock.map_or(0, |it| it.version).max(row.version);
            let row = Row {
                subject: row.subject.clone(),
                version,
            };
            match Carried::of(&map) {
                Carried::Nothing => settled.push(row),
                Carried::Save(profile) => {
                    profiles.push(Profile::clone(&profile));
                    saved.insert(user.clone(), row);
                }
                Carried::Remove(cut) => {
                    profiles.push(Profile::new(user.clone()).blank());
                    saved.insert(user.clone(), row);
                    cuts.extend(cut.map(|cut| (user.clone(), cut)));
                }
            }
        }
        let mut failure = None;
        let mut erased = Vec::new();
        for (user, outcome) in keeper::save(self.profiles.clone(), profiles).await {
            match outcome {
                Ok(()) => {
                    erased.extend(cuts.remove(&user).map(|cut| (user.clone(), cut)));
                    settled.extend(saved.remove(&user));
                }
                Err(error) => failure = Some(error),
            }
        }
        if !saved.is_empty() || failure.is_some() {
            self.warn(failure.as_ref());
        } else {
            self.counters.store_is_away(false);
        }
        self.cut(erased).await;
        self.take_away(&settled).await;
        Counters::add(&self.counters.saved, settled.len());
        settled
    }

    /// Removes what tells of users who were erased.
    async fn cut(&self, erased: Vec<(UserId, Op)>) {
        let writes: Vec<Write> = erased
            .into_iter()
            .map(|(user, cut)| Write {
                subject: Subject::User(user),
                by: self.me,
                ops: vec![cut],
                is_last: false,
            })
            .collect();
        if writes.is_empty() {
            return;
        }
        for outcome in self.store.write(&writes).await {
            if let Err(error) = outcome {
                debug(
                    &error,
                    "cannot remove what tells of somebody who was erased",
                );
            }
        }
    }

    /// Nothing is there to be saved here, so nobody would notice.
    async fn look_whether_it_is_back(&self) {
        let nobody = UserId::new("nobody").expect("it is one");
        match self.profiles.load(&[nobody]).await {
            Ok(_) | Err(StoreError::Corrupt { .. }) => {
                self.counters.store_is_away(false);
            }
            Err(StoreError::Unavailable(_)) => {}
        }
    }

    fn warn(&self, failure: Option<&StoreError>) {
        let Some(error) = failure else {
            return;
        };
        let is_away = matches!(error, StoreError::Unavailable(_));
        self.counters.store_is_away(is_away);
        Counters::add(&self.counters.save_failures, 1);
        let source = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%error, source, "cannot save profiles that wait, trying again");
    }
}

/// Ticks, beginning at a random moment, so that nodes do not all do it at once.
pub(crate) fn every(period: Duration) -> Interval {
    let part = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
    let first = tokio::time::Instant::now() + period.mul_f64(part);
    let mut ticks = interval_at(first, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn debug(error: &StoreError, what: &str) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::debug!(%error, source, "{what}");
}
