//! What is done about the store and the endpoint: looking, and delivering.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::Subject;
use presence_core::hooks::{HookEvent, Told, Wanted, news};
use presence_core::ports::{
    Endpoint, Hooks, Known, Numbered, Outbox, Queue, Row, StoreError, Tell, Telling, Topics,
};
use presence_core::{Edit, Timestamp};
use tokio::time::Instant;

use crate::clock::Clock;

/// Rows of one part of the store that are looked after at once; the others come next.
const ROWS_MAX: usize = 64;
/// Maps that are read at once.
const MAPS_MAX: usize = 64;
/// What was read is not told after that: somebody else may have told something newer.
const STALE_AFTER: Duration = Duration::from_secs(1);
/// Events in one delivery.
const EVENTS_MAX: usize = 128;

/// What both halves need.
pub(super) struct Desk<S, E> {
    pub(super) store: Arc<S>,
    pub(super) endpoint: Arc<E>,
    pub(super) clock: Clock,
    pub(super) wanted: Wanted,
}

/// What is known of the events that wait in one part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waiting {
    pub(super) count: usize,
    pub(super) oldest: Option<Timestamp>,
}

/// What has been told.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// How many events, in which part.
    pub(super) told: BTreeMap<u16, usize>,
    pub(super) full: BTreeSet<u16>,
    /// There is more to be looked after.
    pub(super) is_more: bool,
}

/// What became of a delivery.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// What waits now, as far as it was asked.
    pub(super) waiting: Vec<(u16, Waiting)>,
    /// How many events the endpoint has taken; `None` if it has not.
    pub(super) taken: Option<usize>,
    /// Part of the store is away.
    pub(super) is_away: bool,
}

impl<S: Topics + Outbox + Hooks, E: Endpoint> Desk<S, E> {
    /// Tells what has changed in `parts`.
    pub(super) async fn look(self: Arc<Self>, parts: Vec<u16>) -> Looked {
        let (store, queue) = (&self.store, Queue::Webhooks);
        let due = store.due(queue, &parts, Duration::ZERO, ROWS_MAX).await;
        let mut looked = Looked::default();
        let mut rows = Vec::new();
        for outcome in due {
            match outcome {
                Ok(some) => {
                    looked.is_more |= some.len() == ROWS_MAX;
                    rows.extend(some);
                }
                Err(error) => warn(&error, "cannot look after what has changed"),
            }
        }
        let is_wanted = |row: &Row| self.wanted.is_about(&row.subject);
        let (rows, unwanted): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_wanted);
        if !unwanted.is_empty()
            && let Err(error) = store.settle(queue, &unwanted).await
        {
            warn(&error, "cannot settle what nobody wants to be told");
        }
        let mut is_progress = !unwanted.is_empty();
        for rows in rows.chunks(MAPS_MAX) {
            is_progress |= self.look_at(rows, &mut looked).await;
        }
        looked.is_more &= is_progress;
        looked
    }

    /// Tells of these; says whether anything was done.
    async fn look_at(&self, rows: &[Row], looked: &mut Looked) -> bool {
        let since = Instant::now();
        let subjects: Vec<Subject> = rows.iter().map(|it| it.subject.clone()).collect();
        let known = self.store.known(&subjects).await;
        let maps = self.store.read(&subjects).await;
        let now = self.clock.now();
        let mut tellings = Vec::new();
        for ((row, known), map) in rows.iter().zip(known).zip(maps) {
            match (known, map) {
                (Ok(known), Ok(map)) => {
                    let before = known.told.as_ref();
                    let news = news(now, &row.subject, before, &map, self.wanted);
                    tellings.push(telling(row, known, news.told, news.events));
                }
                (Err(error), _) | (_, Err(error)) => warn(&error, "cannot look at what changed"),
            }
        }
        if since.elapsed() > STALE_AFTER {
            return false;
        }
        let mut is_done = false;
        for (telling, outcome) in tellings.iter().zip(self.store.tell(&tellings).await) {
            let part = telling.row.subject.shard();
            match outcome {
                Ok(Tell::Done) => {
                    is_done = true;
                    if !telling.events.is_empty() {
                        *looked.told.entry(part).or_default() += telling.events.len();
                    }
                }
                Ok(Tell::Overtaken) => {}
                Ok(Tell::Full) => drop(looked.full.insert(part)),
                Err(error) => warn(&error, "cannot note what is to be told"),
            }
        }
        is_done
    }

    /// Delivers what waits in `parts`, or the first of it.
    pub(super) async fn deliver(self: Arc<Self>, parts: Vec<u16>) -> Delivered {
        let of_each = (EVENTS_MAX / parts.len().max(1)).max(1);
        let mut delivered = Delivered::default();
        let mut events: Vec<Numbered> = Vec::new();
        let mut upto: Vec<(u16, u64)> = Vec::new();
        let outcomes = self.store.waiting(&parts, of_each).await;
        for (part, outcome) in parts.into_iter().zip(outcomes) {
            let queued = match outcome {
                Ok(queued) => queued,
                Err(error) => {
                    warn(&error, "cannot read what is to be told");
                    delivered.is_away = true;
                    continue;
                }
            };
            let oldest = queued.events.first().map(Numbered::at);
            let count = queued.count;
            delivered.waiting.push((part, Waiting { count, oldest }));
            upto.extend(queued.events.last().map(|it| (part, it.number)));
            events.extend(queued.events);
        }
        if events.is_empty() {
            delivered.taken = Some(0);
            return delivered;
        }
        let now = self.clock.now();
        if let Err(error) = self.endpoint.deliver(now, &events).await {
            tracing::warn!(%error, events = events.len(), "cannot deliver webhooks, trying again");
            return delivered;
        }
        delivered.taken = Some(events.len());
        let outcomes = self.store.delivered(&upto).await;
        for ((part, _), outcome) in upto.into_iter().zip(outcomes) {
            if let Err(error) = outcome {
                warn(&error, "cannot take away what was told: it is told again");
                delivered.is_away = true;
                continue;
            }
            let taken = events.iter().filter(|it| it.shard == part).count();
            let waiting = delivered.waiting.iter_mut().find(|it| it.0 == part);
            if let Some((_, waiting)) = waiting {
                waiting.count = waiting.count.saturating_sub(taken);
            }
        }
        delivered
    }
}

fn telling(row: &Row, known: Known, told: Option<Told>, events: Vec<HookEvent>) -> Telling {
    Telling {
        row: row.clone(),
        after: known.revision,
        // Somebody may hide meanwhile. A channel may change all the time, and who hides is not in it.
        is_exact: matches!(row.subject, Subject::User(_)),
        told: match told {
            told if told == known.told => Edit::Keep,
            None => Edit::Clear,
            Some(told) => Edit::Set(told),
        },
        events,
    }
}

pub(super) fn warn(error: &StoreError, what: &str) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    tracing::debug!(%error, source, "{what}");
}
