//! Runs all clients together: they connect, start at the same time, and what each has received is reconciled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::client::{COUNTED, Phase, Seen, Shared, run_vu};
use crate::endpoint::Endpoint;
use crate::machine::Process;
use crate::report::Outcome;
use crate::schedule::Schedule;
use crate::virtual_user::VirtualUser;

/// How many clients connect at the same time.
const COMING_MAX: usize = 256;
/// If nothing is delivered for this long, nothing more will come. Longer than the longest tick.
const QUIET: Duration = Duration::from_millis(1200);
/// How long a server may take to deliver its backlog.
const BACKLOG_TIME_MAX: Duration = Duration::from_secs(30);

/// The clients of one run, the changes that they make, and the server.
pub(crate) struct LoadRun {
    pub(crate) endpoint: Endpoint,
    pub(crate) vus: Vec<VirtualUser>,
    pub(crate) schedule: Schedule,
    pub(crate) seconds: f64,
    /// The server, for its CPU and memory.
    pub(crate) process: Option<Process>,
}

/// What one run has measured.
pub(crate) struct Measurements {
    pub(crate) seen: Vec<Seen>,
    schedule: Schedule,
    /// The time until everyone had joined.
    pub(crate) come: Duration,
    start: Instant,
    /// The time from the start until CPU and memory were read for the last time.
    pub(crate) span: Duration,
    /// The CPU time in that span, of the server and of this process.
    pub(crate) cpu: Option<Duration>,
    pub(crate) own_cpu: Option<Duration>,
    /// The memory of the server in KB: before anyone connected, at the start, at the end.
    pub(crate) memory_kb: [Option<f64>; 3],
}

/// What all clients together have received.
pub(crate) struct Totals {
    /// The changes that they should have received, and those that they have.
    pub(crate) expected: u64,
    pub(crate) received: u64,
    /// How many times a whole state came instead of changes.
    pub(crate) wholes: u64,
    /// The mean size of a change on the wire, in bytes.
    pub(crate) bytes: f64,
    /// How many versions were made, in all rooms.
    pub(crate) versions: u64,
    /// The time from the start to the last delivery.
    pub(crate) took: Duration,
    pub(crate) micros: Vec<u64>,
}

impl LoadRun {
    /// Lets everyone connect, calls `at_start` at the start, and waits for the end.
    pub(crate) async fn run(self, at_start: impl FnOnce() -> Result<()>) -> Result<Measurements> {
        let memory = || self.process.and_then(Process::memory_kb);
        let cpu = || self.process.and_then(Process::cpu);
        let memory_before = memory();
        let shared = Arc::new(Shared {
            endpoint: self.endpoint,
            schedule: self.schedule,
            received: AtomicU64::new(0),
            seated: AtomicU32::new(0),
            connecting: Semaphore::new(COMING_MAX),
        });
        let (ready, mut readied) = mpsc::channel(COMING_MAX);
        let (phase, phases) = watch::channel(Phase::Coming);
        let began = Instant::now();
        let tasks = self
            .vus
            .into_iter()
            .map(|vu| tokio::spawn(run_vu(vu, shared.clone(), ready.clone(), phases.clone())));
        let tasks: Vec<_> = tasks.collect();
        drop((ready, phases));
        for _ in 0..tasks.len() {
            readied.recv().await;
        }
        let come = began.elapsed();
        shared.quiet().await;

        let start = Instant::now() + Duration::from_millis(100);
        phase.send_replace(Phase::Started(start));
        sleep_until(start).await;
        at_start()?;
        let memory_start = memory();
        let (cpu_start, own_start) = (cpu(), Process::own().cpu());
        sleep_until(start + Duration::from_secs_f64(self.seconds)).await;
        shared.quiet().await;
        let since = |start: Option<Duration>, end: Option<Duration>| Some(end? - start?);
        let span = start.elapsed();
        let (cpu, own_cpu) = (
            since(cpu_start, cpu()),
            since(own_start, Process::own().cpu()),
        );
        let memory_kb = [memory_before, memory_start, memory()];

        phase.send_replace(Phase::Over);
        let (mut seen, mut lines) = (Vec::new(), Vec::new());
        for task in tasks {
            let (it, line) = task.await?;
            seen.push(it);
            lines.extend(line);
        }
        for line in lines {
            line.leave().await;
        }
        let shared = Arc::into_inner(shared).expect("every virtual user has ended");
        Ok(Measurements {
            seen,
            schedule: shared.schedule,
            come,
            start,
            span,
            cpu,
            own_cpu,
            memory_kb,
        })
    }
}

impl Shared {
    /// Waits until nobody receives anything any more, at most [`BACKLOG_TIME_MAX`].
    async fn quiet(&self) {
        let deadline = Instant::now() + BACKLOG_TIME_MAX;
        let received = || self.received.load(Ordering::Relaxed);
        let mut before = None;
        while before != Some(received()) && Instant::now() < deadline {
            before = Some(received());
            sleep(QUIET).await;
        }
    }
}

impl Measurements {
    /// `cpu` as a share of one core, in percent.
    pub(crate) fn share(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() / self.span.as_secs_f64() * 100.0
    }

    /// Compares what each client has received with what it should have received. Differences go into `outcome`.
    pub(crate) fn reconcile(&self, outcome: &mut Outcome) -> Totals {
        let mut rooms: BTreeMap<usize, Vec<&Seen>> = BTreeMap::new();
        for seen in &self.seen {
            for problem in &seen.problems {
                outcome.problem(problem.clone());
            }
            rooms.entry(seen.vu.room).or_default().push(seen);
        }
        let mut totals = Totals {
            expected: 0,
            received: 0,
            wholes: 0,
            bytes: 0.0,
            versions: 0,
            took: Duration::ZERO,
            micros: Vec::new(),
        };
        for (room, vus) in &rooms {
            self.reconcile_room(*room, vus, &mut totals, outcome);
        }
        totals.bytes /= totals.received.max(1) as f64;
        let (expected, received) = (totals.expected, totals.received);
        if expected != received {
            outcome.problem(format!("{expected} changes expected, {received} received"));
        }
        if self.schedule.len() > 0 && received == 0 {
            outcome.problem("no change was received".to_owned());
        }
        totals
    }

    fn reconcile_room(
        &self,
        room: usize,
        vus: &[&Seen],
        totals: &mut Totals,
        outcome: &mut Outcome,
    ) {
        let watching: Vec<_> = vus.iter().filter(|it| it.vu.watches).collect();
        let latest = watching.iter().filter_map(|it| it.have);
        let Some(latest) = latest.max_by_key(|it| it.version) else {
            return outcome.problem(format!("nobody sees room {room}"));
        };
        let members = vus.iter().filter_map(|it| it.vu.member);
        let last = self.schedule.last(members);
        let mut made = 0;
        for seen in &watching {
            let (Some(base), Some(have)) = (seen.base, seen.have) else {
                continue; // Never came in, which is a problem already.
            };
            // A client that was sent a whole state has counted fewer changes.
            let is_behind = have.epoch == COUNTED && seen.wholes > 0;
            if have != latest && !is_behind {
                let (has, version) = (have.version, latest.version);
                outcome.problem(format!(
                    "room {room} is at {version}, a client of it at {has}"
                ));
            }
            made = made.max(latest.version.saturating_sub(base.version));
            totals.received += seen.steps;
            totals.bytes += seen.bytes as f64;
            totals.wholes += seen.wholes;
            let took = seen.last.map(|it| it.saturating_duration_since(self.start));
            totals.took = totals.took.max(took.unwrap_or_default());
            // A slow reader gets a whole state instead of what it has missed: that many are not expected.
            totals.expected += match seen.wholes {
                0 => latest.version.saturating_sub(base.version),
                _ => seen.steps,
            };
        }
        totals.versions += made;

        let samples = watching
            .iter()
            .filter_map(|it| Some((it, it.sample.as_ref()?)));
        let mut first = None;
        for (seen, sample) in samples {
            totals.micros.extend(&sample.micros);
            if sample.picture.surprises() > 0 {
                outcome.problem(format!("changes in room {room} do not fit"));
            }
            let first = *first.get_or_insert(sample.picture.users());
            if sample.picture.users() != first {
                outcome.problem(format!("two clients see room {room} differently"));
            }
            let others = last.iter().filter(|it| Some(it.member) != seen.vu.member);
            let unseen = others.filter(|it| sample.latest.get(&it.member) != Some(&it.change));
            match unseen.count() {
                0 => {}
                n => outcome.problem(format!(
                    "the last changes of {n} members of room {room} were not seen"
                )),
            }
        }
    }
}

impl Totals {
    /// Changes received per second: over the time in which changes were made, or longer if delivering them took longer.
    pub(crate) fn rate(&self, seconds: f64) -> f64 {
        self.received as f64 / self.took.as_secs_f64().max(seconds)
    }
}
