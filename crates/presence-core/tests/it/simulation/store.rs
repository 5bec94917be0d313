//! The store that all nodes share, in virtual time: what the port promises, and nothing more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use presence_core::cluster::{
    Applied, Field, Incarnation, Op, PARTITIONS, Patch, Snapshot, Subject, TopicMap, Write,
};
use presence_core::ports::{Lease, Leases, Queue, Renewal, Written};
use presence_core::{Reason, Timestamp, TopicVersion};

use super::planted::Planted;

/// On how many servers the partitions of the store are. The leases are on the first.
pub(super) const SERVERS: usize = 3;
/// For how long after a change a comparison tells it.
const RECENT_MS: u64 = 60_000;
/// How many maps one reap cleans.
const REAPED_MAX: usize = 2;
/// A server that takes over may miss what was written so shortly before.
pub(super) const LAG_MAX_MS: u64 = 1_500;

pub(super) struct Store {
    planted: Planted,
    servers: Vec<Server>,
    leases: BTreeMap<Incarnation, Lease>,
    epochs: u64,
    /// Its clock is not that of any node.
    skew_ms: u64,
}

#[derive(Default)]
struct Server {
    maps: BTreeMap<Subject, TopicMap>,
    owned: BTreeMap<Incarnation, BTreeSet<Subject>>,
    recent: BTreeMap<Subject, u64>,
    /// What waits to be saved, with its version.
    outbox: BTreeMap<Subject, u64>,
    version: u64,
    /// Which past it remembers; nodes compare that.
    history: u64,
    /// How to take back what was done of late, the newest last.
    undo: VecDeque<(u64, Undo)>,
}

enum Undo {
    Map(Subject, TopicMap),
    Owned(Incarnation, Subject, bool),
    Row(Subject, Option<u64>),
    Leases(BTreeMap<Incarnation, Lease>),
}

/// On which server a subject is.
pub(super) fn server_of(subject: &Subject) -> usize {
    server_of_partition(subject.partition())
}

fn server_of_partition(partition: u16) -> usize {
    usize::from(partition) * SERVERS / usize::from(PARTITIONS)
}

impl Store {
    pub(super) fn new(seed: u64, planted: Planted) -> Self {
        Store {
            planted,
            servers: (0..SERVERS).map(|_| Server::default()).collect(),
            leases: BTreeMap::new(),
            epochs: seed,
            skew_ms: seed % 240_000,
        }
    }

    pub(super) fn time(&self, now: u64) -> Timestamp {
        Timestamp::from_millis(super::START + self.skew_ms + now)
    }

    pub(super) fn history(&self, server: usize) -> u64 {
        self.servers[server].history
    }

    /// Does a write, unless the lease of its writer has ended.
    pub(super) fn write(&mut self, now: u64, write: &Write) -> Option<(Written, Option<Patch>)> {
        let is_late = write.until.is_some_and(|until| until < self.time(now));
        let is_late = is_late && self.planted != Planted::NoDeadlines;
        if is_late {
            return None;
        }
        let applied = self.apply(now, &write.subject, &write.ops);
        let is_noted = write.leaves_session(&applied.refused);
        let server = &mut self.servers[server_of(&write.subject)];
        if write.is_last {
            server.note(now, write.by, &write.subject, false);
        } else if self.planted != Planted::NoteAfterEntry && is_noted {
            server.note(now, write.by, &write.subject, true);
        }
        let patch = applied.patch;
        let version = patch.as_ref().map(|it| it.clock.version);
        if write.is_due_for(Queue::Profiles) && version.is_some() {
            self.set_row(now, &write.subject, version);
        }
        let written = Written {
            version,
            refused: applied.refused,
            absent: applied.absent,
            profile: applied.profile,
        };
        Some((written, patch))
    }

    fn set_row(&mut self, now: u64, subject: &Subject, version: Option<u64>) {
        let server = &mut self.servers[server_of(subject)];
        let before = match version {
            Some(version) => server.outbox.insert(subject.clone(), version),
            None => server.outbox.remove(subject),
        };
        server.remember(now, Undo::Row(subject.clone(), before));
    }

    /// What waits to be saved, each with its version, and for how long.
    pub(super) fn waiting(&self, now: u64) -> Vec<(Subject, u64, u64)> {
        let rows = self.servers.iter().flat_map(|it| &it.outbox);
        let now_us = self.time(now).as_millis() * 1000;
        rows.map(|(subject, version)| {
            let age_ms = now_us.saturating_sub(*version) / 1000;
            (subject.clone(), *version, age_ms)
        })
        .collect()
    }

    /// What was saved waits no longer.
    pub(super) fn acknowledge(&mut self, now: u64, subject: &Subject, version: u64) {
        let row = self.servers[server_of(subject)].outbox.get(subject);
        if row.is_some_and(|it| *it <= version) {
            self.set_row(now, subject, None);
        }
    }

    /// The note that a node has entries there, where that is planted to be written late.
    pub(super) fn note(&mut self, now: u64, by: Incarnation, subject: &Subject) {
        self.servers[server_of(subject)].note(now, by, subject, true);
    }

    fn apply(&mut self, now: u64, subject: &Subject, ops: &[Op]) -> Applied {
        let time = self.time(now);
        let now_us = time.as_millis() * 1000;
        self.epochs = self.epochs.wrapping_mul(6_364_136_223_846_793_005);
        self.epochs = self.epochs.wrapping_add(1_442_695_040_888_963_407);
        let server = &mut self.servers[server_of(subject)];
        let map = server.maps.entry(subject.clone()).or_default();
        let before = map.clone();
        let broken: Vec<Op> = ops
            .iter()
            .map(|op| self.planted.breaks(op, &before))
            .collect();
        let next = TopicVersion {
            epoch: self.epochs,
            version: now_us.max(server.version + 1),
        };
        let applied = map.apply(&broken, next, time);
        if self.planted == Planted::NoFences {
            *map = map.without_fences();
        }
        if applied.patch.is_some() {
            server.version = next.version;
            server.recent.insert(subject.clone(), now);
            server.remember(now, Undo::Map(subject.clone(), before));
        }
        let is_over = |map: &TopicMap| {
            map.clock().is_none() && map.fenced_until().is_none_or(|until| until <= time)
        };
        server.maps.retain(|_, map| !is_over(map));
        applied
    }

    pub(super) fn read(&self, subject: &Subject) -> Snapshot {
        let map = self.servers[server_of(subject)].maps.get(subject);
        map.map_or_else(|| TopicMap::default().snapshot(), TopicMap::snapshot)
    }

    /// Which of `followed` on `server` have changed of late, and which version they are.
    pub(super) fn compare<'a>(
        &self,
        now: u64,
        server: usize,
        followed: impl Iterator<Item = &'a Subject>,
    ) -> Vec<(Subject, Option<TopicVersion>)> {
        let it = &self.servers[server];
        let is_recent = |subject: &&Subject| {
            let changed = it.recent.get(*subject);
            server_of(subject) == server && changed.is_some_and(|at| at + RECENT_MS >= now)
        };
        followed
            .filter(is_recent)
            .map(|subject| {
                let clock = it.maps.get(subject).and_then(TopicMap::clock);
                (subject.clone(), clock)
            })
            .collect()
    }

    pub(super) fn renew(
        &mut self,
        now: u64,
        me: Incarnation,
        ttl: Duration,
        stored_up_to: Timestamp,
    ) -> Leases {
        let time = self.time(now);
        self.remember_leases(now);
        let mine = match self.leases.get(&me) {
            Some(lease) if lease.is_dead => Renewal::Dead,
            Some(_) => Renewal::Renewed,
            None => Renewal::New,
        };
        if mine != Renewal::Dead {
            let lease = Lease {
                who: me,
                name: "".into(),
                until: time + ttl,
                is_dead: false,
                stored_up_to,
            };
            self.leases.insert(me, lease);
        }
        Leases {
            now: time,
            mine,
            nodes: self.leases.values().cloned().collect(),
        }
    }

    pub(super) fn mark_dead(&mut self, now: u64, who: Incarnation) -> bool {
        let time = self.time(now);
        self.remember_leases(now);
        let lease = self.leases.entry(who).or_insert_with(|| Lease {
            who,
            name: "".into(),
            until: time,
            is_dead: false,
            stored_up_to: Timestamp::default(),
        });
        if !lease.is_dead && lease.until <= time {
            lease.is_dead = true;
            lease.until = time;
        }
        lease.is_dead
    }

    pub(super) fn forget(&mut self, now: u64, who: Incarnation) {
        self.remember_leases(now);
        self.leases.remove(&who);
    }

    /// Leases that have run out, judged by the store's clock alone: for a driver that is planted to do so.
    pub(super) fn lapsed(&self, now: u64) -> Vec<Incarnation> {
        let time = self.time(now);
        let lapsed = self.leases.values();
        let lapsed = lapsed.filter(|it| !it.is_dead && it.until < time);
        lapsed.map(|it| it.who).collect()
    }

    /// Removes some of the entries of `who` on `server`; says whether there may be more, and what is to be told.
    pub(super) fn reap(
        &mut self,
        now: u64,
        server: usize,
        who: Incarnation,
    ) -> (bool, Vec<(Subject, Patch)>) {
        let subjects = self.servers[server].owned.get(&who).into_iter().flatten();
        let subjects: Vec<Subject> = subjects.take(REAPED_MAX).cloned().collect();
        let mut told = Vec::new();
        for subject in &subjects {
            let snapshot = self.read(subject);
            let its = snapshot.entries.iter().filter(|(field, token, _)| {
                matches!(field, Field::Session(_)) && token.incarnation() == who
            });
            let removals: Vec<Op> = its
                .map(|(field, token, _)| Op::Remove {
                    field: *field,
                    token: *token,
                    reason: Reason::NodeLost,
                })
                .collect();
            let patch = self.apply(now, subject, &removals).patch;
            told.extend(patch.map(|patch| (subject.clone(), patch)));
            self.servers[server].note(now, who, subject, false);
        }
        (subjects.len() == REAPED_MAX, told)
    }

    /// A server loses everything.
    pub(super) fn wipe(&mut self, server: usize) {
        let history = self.servers[server].history + 1;
        self.servers[server] = Server {
            history,
            ..Server::default()
        };
        if server == 0 {
            self.leases.clear();
        }
    }

    /// Another server takes over, which has not heard of what was done since `then`.
    pub(super) fn fail_over(&mut self, server: usize, then: u64) {
        let leases = &mut self.leases;
        let server = &mut self.servers[server];
        server.history += 1;
        while let Some((at, undo)) = server.undo.pop_back() {
            if at < then {
                break;
            }
            match undo {
                Undo::Map(subject, map) => {
                    server.maps.insert(subject, map);
                }
                Undo::Owned(who, subject, was_there) => {
                    server.note_quietly(who, &subject, was_there);
                }
                Undo::Row(subject, None) => {
                    server.outbox.remove(&subject);
                }
                Undo::Row(subject, Some(version)) => {
                    server.outbox.insert(subject, version);
                }
                Undo::Leases(before) => *leases = before,
            }
        }
        server.undo.clear();
    }

    fn remember_leases(&mut self, now: u64) {
        let leases = self.leases.clone();
        self.servers[0].remember(now, Undo::Leases(leases));
    }

    /// Everything there is, for the verdict.
    pub(super) fn maps(&self) -> impl Iterator<Item = (&Subject, &TopicMap)> {
        self.servers.iter().flat_map(|it| &it.maps)
    }

    /// Notes of who has entries where.
    pub(super) fn notes(&self) -> impl Iterator<Item = (Incarnation, &Subject)> {
        let owned = self.servers.iter().flat_map(|it| &it.owned);
        owned.flat_map(|(who, subjects)| subjects.iter().map(|it| (*who, it)))
    }
}

impl Server {
    fn note(&mut self, now: u64, who: Incarnation, subject: &Subject, is_there: bool) {
        let was_there = self.note_quietly(who, subject, is_there);
        if was_there != is_there {
            self.remember(now, Undo::Owned(who, subject.clone(), was_there));
        }
    }

    fn note_quietly(&mut self, who: Incarnation, subject: &Subject, is_there: bool) -> bool {
        if is_there {
            return !self.owned.entry(who).or_default().insert(subject.clone());
        }
        let Some(owned) = self.owned.get_mut(&who) else {
            return false;
        };
        let was_there = owned.remove(subject);
        if owned.is_empty() {
            self.owned.remove(&who);
        }
        was_there
    }

    fn remember(&mut self, now: u64, undo: Undo) {
        while let Some((at, _)) = self.undo.front()
            && at + LAG_MAX_MS < now
        {
            self.undo.pop_front();
        }
        self.undo.push_back((now, undo));
    }
}
