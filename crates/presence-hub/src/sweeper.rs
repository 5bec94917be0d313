//! Finishes what other nodes have begun: saves profiles that wait in the shared store because the node that put them
//! there has died, or could not reach the store of profiles.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::cluster::{Incarnation, Op, ProfileTask, Snapshot, Subject, Write};
use presence_core::ports::{Outbox, Profiles, Queue, Row, StoreError, Topics};
use presence_core::{Profile, UserId};
use tokio::sync::{mpsc, watch};

use crate::counters::Counters;
use crate::pending::every;
use crate::profile_writer;
use crate::save_outcomes::SaveOutcome;

/// How often a node looks for profiles that wait.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// In how many sweeps every partition has had its turn: every 15 s, so that a gateway without clients asks for little.
const TURNS: u16 = 3;
/// What waits for less may still be under way, or be saved and not acknowledged.
pub(crate) const OVERDUE_AFTER: Duration = Duration::from_secs(15);
/// The number of rows of one partition that are looked at at once; the others follow in the next sweep.
const ROWS_PER_PARTITION_MAX: usize = 1000;
/// The number of profiles that are read and saved at once.
const BATCH_MAX: usize = 500;
/// How long a saved row waits to be acknowledged together with others of its partition. A user who changes again
/// meanwhile needs only one acknowledging.
const ACKNOWLEDGE_EVERY: Duration = Duration::from_secs(5);
/// The number of rows that are remembered, of those to acknowledge and of those that could not be saved. Further rows are
/// found by the sweeper of their partition.
const ROWS_MAX: usize = 16 * 1024;

/// The subjects that have changed, each with the version of its last change.
type Rows = HashMap<Subject, u64>;

/// A profile that waits to be saved.
struct UnsavedRow {
    row: Row,
    /// Whether it has waited for longer than [`OVERDUE_AFTER`] by the store's clock.
    is_overdue: bool,
}

/// The outcome for one batch of waiting profiles.
#[derive(Default)]
struct CarriedOut {
    /// The subjects for which this node has nothing left to do.
    done: Vec<Subject>,
    /// Whether the store of profiles was called.
    was_asked: bool,
    /// Whether a store did not answer.
    is_away: bool,
    /// How many maps could not be read, and why the last of them.
    unread: usize,
    why_unread: Option<StoreError>,
}

/// What there is to do for one batch of rows, by the maps that they are about.
struct Work {
    /// The profiles to save. A blank one removes the stored profile.
    profiles: Vec<Profile>,
    /// The rows that can be acknowledged as they are.
    acknowledged: Vec<Row>,
    /// The rows that can be acknowledged when the profile of the user is saved.
    saves: HashMap<UserId, Row>,
    /// The tombstones that can be removed when the profile of the user is removed.
    cuts: HashMap<UserId, Op>,
    /// Whether no map could be read, because the shared store does not answer.
    is_shared_away: bool,
}

impl Work {
    /// Reads from `maps`, one for each of `waiting`, what to do. Maps that could not be read are counted in `carried`.
    fn of(
        waiting: &[UnsavedRow],
        maps: Vec<Result<Snapshot, StoreError>>,
        carried: &mut CarriedOut,
    ) -> Self {
        let mut work = Work {
            profiles: Vec::new(),
            acknowledged: Vec::new(),
            saves: HashMap::new(),
            cuts: HashMap::new(),
            is_shared_away: true,
        };
        for (UnsavedRow { row, is_overdue }, map) in waiting.iter().zip(maps) {
            let map = match map {
                Ok(map) => map,
                Err(error) => {
                    work.is_shared_away &= matches!(error, StoreError::Unavailable(_));
                    carried.unread += 1;
                    carried.why_unread = Some(error);
                    continue;
                }
            };
            work.is_shared_away = false;
            let Subject::User(user) = &row.subject else {
                continue;
            };
            let version = map.clock.map_or(0, |it| it.version).max(row.version);
            let row = Row {
                subject: row.subject.clone(),
                version,
            };
            match ProfileTask::of(&map) {
                ProfileTask::Wait => {}
                ProfileTask::Done => work.acknowledged.push(row),
                ProfileTask::Save(profile) => {
                    work.profiles.push(Profile::clone(&profile));
                    work.saves.insert(user.clone(), row);
                }
                ProfileTask::Remove(cut) => {
                    work.profiles.push(Profile::new(user.clone()).blank());
                    // Until the row is overdue, a node may have an older save under way. The node that sweeps there
                    // removes the profile once more then.
                    if *is_overdue {
                        work.saves.insert(user.clone(), row);
                        work.cuts.extend(cut.map(|cut| (user.clone(), cut)));
                    }
                }
            }
        }
        work
    }
}

fn note(rows: &mut Rows, row: Row) {
    let version = rows.entry(row.subject).or_default();
    *version = row.version.max(*version);
}

/// The task of a node that looks after the outbox for profiles.
pub(crate) struct Sweeper<P, T> {
    profiles: Arc<P>,
    store: Arc<T>,
    /// The incarnation with which it removes the tombstones of erased users.
    me: Incarnation,
    /// The partitions that this node looks after.
    partitions: watch::Receiver<Arc<[u16]>>,
    counters: Arc<Counters>,
    /// Whether the log has a line about maps that cannot be read.
    is_told: bool,
    /// Whose turn it is in the next sweep: the partitions whose number leaves this remainder.
    turn: u16,
}

impl<P: Profiles, T: Topics + Outbox> Sweeper<P, T> {
    pub(crate) fn new(
        profiles: Arc<P>,
        store: Arc<T>,
        me: Incarnation,
        partitions: watch::Receiver<Arc<[u16]>>,
        counters: Arc<Counters>,
    ) -> Self {
        Sweeper {
            profiles,
            store,
            me,
            partitions,
            counters,
            is_told: false,
            turn: 0,
        }
    }

    /// Runs until no shard is left that saves profiles.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<SaveOutcome>) {
        let mut sweeps = every(SWEEP_EVERY);
        let mut acknowledges = every(ACKNOWLEDGE_EVERY);
        let (mut saved, mut given_up) = (Rows::new(), Rows::new());
        loop {
            tokio::select! {
                outcome = inbox.recv(), if saved.len() < ROWS_MAX => match outcome {
                    Some(SaveOutcome::Saved(row)) => {
                        given_up.remove(&row.subject);
                        note(&mut saved, row);
                    }
                    Some(SaveOutcome::GivenUp(row)) if given_up.len() < ROWS_MAX => {
                        note(&mut given_up, row);
                    }
                    Some(SaveOutcome::GivenUp(_)) => {}
                    None => return,
                },
                _ = acknowledges.tick() => {
                    let rows = saved.drain();
                    let rows = rows.map(|(subject, version)| Row { subject, version });
                    self.take_away(&rows.collect::<Vec<_>>()).await;
                }
                _ = sweeps.tick() => self.sweep(&mut given_up).await,
            }
        }
    }

    /// Acknowledges rows. A row that cannot be acknowledged is found again; saving its profile twice has no effect.
    async fn take_away(&self, rows: &[Row]) {
        if !rows.is_empty()
            && let Err(error) = self.store.acknowledge(Queue::Profiles, rows).await
        {
            debug(&error, "cannot acknowledge the rows of saved profiles");
        }
    }

    /// Saves what this node could not save, and what is overdue, one batch after the other, unless a store
    /// does not answer.
    async fn sweep(&mut self, given_up: &mut Rows) {
        if self.counters.shared_away.load(Relaxed) {
            return;
        }
        let waiting = self.overdue(given_up).await;
        let mut was_asked = false;
        let (mut unread, mut why_unread) = (0, None);
        for batch in waiting.chunks(BATCH_MAX) {
            let carried = self.carry(batch).await;
            let done = carried.done.len() as u64;
            self.counters.waiting.fetch_sub(done, Relaxed);
            for subject in &carried.done {
                given_up.remove(subject);
            }
            was_asked |= carried.was_asked;
            unread += carried.unread;
            why_unread = carried.why_unread.or(why_unread);
            if carried.is_away {
                break;
            }
        }
        self.tell_of_unread(unread, why_unread);
        if !was_asked && self.counters.store_away.load(Relaxed) {
            self.look_whether_it_is_back().await;
        }
    }

    /// What was `given_up`, and what waits for too long where it is for this node to do something about it, the oldest first.
    async fn overdue(&mut self, given_up: &Rows) -> Vec<UnsavedRow> {
        let turn = self.turn;
        self.turn = (turn + 1) % TURNS;
        let partitions = self.partitions.borrow().clone();
        let partitions = partitions
            .iter()
            .copied()
            .filter(|partition| partition % TURNS == turn);
        let partitions: Vec<u16> = partitions.collect();
        let overdue = self.due(&partitions, OVERDUE_AFTER).await;
        let mut rows: HashMap<&Subject, (u64, bool)> = given_up
            .iter()
            .map(|(subject, version)| (subject, (*version, false)))
            .collect();
        for Row { subject, version } in &overdue {
            let (newest, is_overdue) = rows.entry(subject).or_default();
            if *version >= *newest {
                (*newest, *is_overdue) = (*version, true);
            }
        }
        let mut waiting: Vec<UnsavedRow> = rows
            .into_iter()
            .map(|(subject, (version, is_overdue))| UnsavedRow {
                row: Row {
                    subject: subject.clone(),
                    version,
                },
                is_overdue,
            })
            .collect();
        waiting.sort_unstable_by_key(|it| it.row.version);
        self.counters.waiting.store(waiting.len() as u64, Relaxed);
        // A version is a moment of the store's clock.
        let since = waiting.first().map_or(u64::MAX, |it| it.row.version / 1000);
        self.counters.waiting_since.store(since, Relaxed);
        waiting
    }

    async fn due(&self, partitions: &[u16], age: Duration) -> Vec<Row> {
        let store = &self.store;
        let due = store.due(Queue::Profiles, partitions, age, ROWS_PER_PARTITION_MAX);
        let mut rows = Vec::new();
        for outcome in due.await {
            match outcome {
                Ok(some) => rows.extend(some),
                Err(error) => debug(&error, "cannot look for profiles that wait to be saved"),
            }
        }
        rows
    }

    /// Saves the profiles that `waiting` is about.
    async fn carry(&self, waiting: &[UnsavedRow]) -> CarriedOut {
        let subjects: Vec<Subject> = waiting.iter().map(|it| it.row.subject.clone()).collect();
        let maps = self.store.read(&subjects).await;
        let mut carried = CarriedOut::default();
        let Work {
            profiles,
            mut acknowledged,
            mut saves,
            mut cuts,
            is_shared_away,
        } = Work::of(waiting, maps, &mut carried);
        carried.done = acknowledged.iter().map(|it| it.subject.clone()).collect();
        let mut kept = 0;
        let mut failure = None;
        let mut erased = Vec::new();
        for (user, outcome) in profile_writer::save(self.profiles.clone(), profiles).await {
            match outcome {
                Ok(()) => {
                    kept += 1;
                    erased.extend(cuts.remove(&user).map(|cut| (user.clone(), cut)));
                    acknowledged.extend(saves.remove(&user));
                    carried.done.push(Subject::User(user));
                }
                // That the store is away says more.
                Err(_) if matches!(failure, Some(StoreError::Unavailable(_))) => {}
                Err(error) => failure = Some(error),
            }
        }
        let is_away = matches!(failure, Some(StoreError::Unavailable(_)));
        carried.was_asked = kept > 0 || failure.is_some();
        carried.is_away = is_away || is_shared_away;
        if carried.was_asked {
            self.counters
                .note_store_away(failure.as_ref().filter(|_| is_away));
        }
        if let Some(error) = failure {
            Counters::add(&self.counters.save_failures, 1);
            if !is_away {
                warn(&error, "cannot save profiles that wait, trying again");
            }
        }
        self.cut(erased).await;
        self.take_away(&acknowledged).await;
        Counters::add(&self.counters.saved, kept);
        carried
    }

    /// Removes the tombstones of users who were erased.
    async fn cut(&self, erased: Vec<(UserId, Op)>) {
        let writes: Vec<Write> = erased
            .into_iter()
            .map(|(user, cut)| Write {
                subject: Subject::User(user),
                by: self.me,
                ops: vec![cut],
                is_last: false,
                until: None,
            })
            .collect();
        if writes.is_empty() {
            return;
        }
        for outcome in self.store.write(&writes).await {
            if let Err(error) = outcome {
                debug(&error, "cannot remove the tombstone of an erased user");
            }
        }
    }

    /// Checks whether the store of profiles works again. Nothing is there to be saved, so nobody
    /// would notice otherwise.
    async fn look_whether_it_is_back(&self) {
        let nobody = UserId::new("nobody").expect("it is one");
        match self.profiles.load(&[nobody]).await {
            Ok(_) | Err(StoreError::Corrupt { .. }) => {
                self.counters.note_store_away(None);
            }
            Err(StoreError::Unavailable(_)) => {}
        }
    }

    /// Logs that maps cannot be read. They stay in that state, so it is logged once, and again only if all could be
    /// read in between.
    fn tell_of_unread(&mut self, maps: usize, why: Option<StoreError>) {
        if let Some(error) = why
            && !self.is_told
        {
            let source = error.cause();
            tracing::warn!(%error, source, maps, "cannot read profiles that wait to be saved");
        }
        self.is_told = maps > 0;
    }
}

fn debug(error: &StoreError, what: &str) {
    let source = error.cause();
    tracing::debug!(%error, source, "{what}");
}

fn warn(error: &StoreError, what: &str) {
    let source = error.cause();
    tracing::warn!(%error, source, "{what}");
}
