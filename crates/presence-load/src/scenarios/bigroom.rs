//! One room of very many people over several gateways: when everybody's count is right, how soon a change in a window is
//! seen, and what it costs.

mod service;
mod watcher;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use presence_client::Client;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use self::service::Service;
use self::watcher::{Seen, run_watcher};
use crate::args::Args;
use crate::machine::Process;
use crate::report::Outcome;
use crate::schedule::Schedule;
use crate::stock::ROOM;

/// The fewest people of a run: a room with fewer is not a big one, and is listed.
const PEOPLE_MIN: usize = 1000;
/// How many clients connect at the same time: no more than a listening socket queues.
const CONNECTING_MAX: usize = 256;
/// A run whose counts are not right after this time is given up.
const EXACT_TIME_MAX: Duration = Duration::from_secs(120);
/// How long nothing happens before the changes begin.
const REST: Duration = Duration::from_secs(3);
/// What comes before the number in the id of a client, and in that of somebody whom the service puts into the room. Ids
/// are as short as in other systems: they are a part of every frame.
const LIVE: &str = "live-";
const PERSON: &str = "person-";
/// How many people are looked up by name on each gateway.
const LOOK_UPS: usize = 20;

/// What all clients of a run share.
struct Shared {
    channel: String,
    /// How many people are in the room when all have joined.
    people: u64,
    schedule: Schedule,
    seconds: f64,
    connecting: Semaphore,
    /// The moment from which the others are counted.
    began: Instant,
    /// When the last client had joined, in µs.
    joined_at: AtomicU64,
    /// How many clients have the right count now, and when the last one got it, in µs.
    exact: AtomicUsize,
    exact_at: AtomicU64,
}

/// The phase of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The clients connect, join, and wait for the right count.
    Coming,
    /// All changes are due from this moment on.
    Started(Instant),
    /// The run is over: everyone may leave.
    Over,
}

/// One client of the run.
#[derive(Clone, Debug)]
struct Place {
    url: String,
    user: String,
    /// Its number in the schedule.
    member: usize,
    /// Whether it has a window on the room instead of the summary.
    has_window: bool,
}

/// The processes that are measured.
struct Processes {
    gateways: Vec<Process>,
    redis: Option<Process>,
}

type Clients = Vec<JoinHandle<Seen>>;

// Longer than a screen because it is a story: each step follows from the one before.
pub(super) async fn run(args: &Args, tag: &str) -> Result<Outcome> {
    let live = args.gateways * args.connections;
    if args.people < PEOPLE_MIN || args.people < live {
        bail!("`--people` must be at least {PEOPLE_MIN}, and all connections");
    }
    if args.cluster.is_empty() {
        bail!("`bigroom` starts its own gateways: it needs `--gateway FILE`");
    }
    let mut outcome = Outcome::default();
    let processes = Processes::of(args);
    let [memory_before, redis_before] = processes.memory();
    let channel = format!("{ROOM}{tag}");
    let service = Service::new(&args.cluster, &channel, args.people - live);
    let joining = Instant::now();
    let beating = service.join_all().await?;
    let joined = joining.elapsed();
    let by_service = (args.people - live) as f64;

    let shared = Arc::new(Shared {
        channel,
        people: args.people as u64,
        schedule: Schedule::draw(live, args.changes, args.seconds, args.seed),
        seconds: args.seconds,
        connecting: Semaphore::new(CONNECTING_MAX),
        began: Instant::now(),
        joined_at: AtomicU64::new(0),
        exact: AtomicUsize::new(0),
        exact_at: AtomicU64::new(0),
    });
    let (phase, phases) = watch::channel(Phase::Coming);
    let (joined_one, mut joined_all) = mpsc::channel::<()>(CONNECTING_MAX);
    let clients: Clients = places(args)
        .map(|it| {
            let (shared, joined, phases) = (shared.clone(), joined_one.clone(), phases.clone());
            tokio::spawn(run_watcher(it, shared, joined, phases))
        })
        .collect();
    drop((joined_one, phases));
    while joined_all.recv().await.is_some() {}
    let exact = shared.wait_until_exact(live).await;
    let millis = |it: &AtomicU64| it.load(Ordering::Relaxed) as f64 / 1e3;
    let (last_joined, last_exact) = (millis(&shared.joined_at), millis(&shared.exact_at));
    if exact < live {
        outcome.problem(format!("{exact} of {live} clients have the right count"));
    }
    let look_ups = service.look_up(LOOK_UPS, &mut outcome).await?;
    sleep(REST).await;

    let [memory, redis] = processes.memory();
    let cpu = processes.cpu();
    let start = Instant::now() + Duration::from_millis(100);
    phase.send_replace(Phase::Started(start));
    sleep_until(start + Duration::from_secs_f64(args.seconds)).await;
    let cpu_after = processes.cpu();
    let [memory_end, redis_end] = processes.memory();
    phase.send_replace(Phase::Over);
    let mut seen = Vec::with_capacity(live);
    for client in clients {
        seen.push(client.await?);
    }
    let all: Vec<Client> = seen.iter_mut().filter_map(|it| it.client.take()).collect();
    service.check_counts(args.people, &mut outcome).await?;
    for problem in beating.stop().await? {
        outcome.problem(problem);
    }
    for client in all {
        client.close().await;
    }

    outcome.metric("people joined by the service", "people", by_service);
    outcome.metric(
        "the service joined",
        "/s",
        by_service / joined.as_secs_f64(),
    );
    outcome.metric("people joined by clients", "people", live as f64);
    outcome.metric("clients joined", "/s", live as f64 * 1e3 / last_joined);
    outcome.metric(
        "last join to exact everywhere",
        "ms",
        (last_exact - last_joined).max(0.0),
    );
    outcome.latency(
        ["look up, median", "look up, p99", "look up, longest"],
        look_ups,
    );
    told(&seen, args.seconds, &mut outcome);
    let seconds = args.seconds;
    for (name, before, after) in cpu.into_iter().zip(cpu_after).map(|(a, b)| (a.0, a.1, b.1)) {
        let share = |a: Duration, b: Duration| (b - a).as_secs_f64() / seconds * 100.0;
        let used = before.zip(after).map(|(a, b)| share(a, b));
        outcome.known(name, "% of a core", used);
    }
    for (name, value) in [
        ("memory of a gateway, nobody in", memory_before),
        ("memory of a gateway, everybody in", memory),
        ("memory of a gateway, at the end", memory_end),
        ("memory of Redis, nobody in", redis_before),
        ("memory of Redis, everybody in", redis),
        ("memory of Redis, at the end", redis_end),
    ] {
        outcome.known(name, "MB", value.map(|it| it / 1e3));
    }
    Ok(outcome)
}

/// The clients of the run: each gateway has as many, and some of each have a window.
fn places(args: &Args) -> impl Iterator<Item = Place> {
    let windows = args.windows.min(args.connections);
    (0..args.gateways * args.connections).map(move |member| {
        let gateway = member % args.gateways;
        let nth = member / args.gateways;
        // Spread over all, so that the windows show different people.
        let has_window = nth * windows / args.connections != (nth + 1) * windows / args.connections;
        Place {
            url: format!("ws://{}/ws", args.cluster[gateway].address),
            user: format!("{LIVE}{member:06}"),
            member,
            has_window,
        }
    })
}

/// What the clients were sent during the changes, and whether all of it was right.
fn told(seen: &[Seen], seconds: f64, outcome: &mut Outcome) {
    let mut rows = HashSet::new();
    let (mut micros, mut late, mut windows) = (Vec::new(), Vec::new(), 0_u32);
    for it in seen {
        it.problems
            .iter()
            .for_each(|why| outcome.problem(why.clone()));
        late.extend(&it.late_micros);
        if let Some(view) = &it.view {
            windows += 1;
            micros.extend(&view.micros);
            rows.extend(view.members());
        }
    }
    let bytes = |has_window| {
        let of_sort = seen.iter().filter(|it| it.view.is_some() == has_window);
        let mut bytes: Vec<f64> = of_sort.map(|it| it.bytes as f64 / seconds).collect();
        bytes.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = bytes.len().checked_sub(1)?;
            Some(bytes[((bytes.len() as f64 * share) as usize).min(last)] / 1024.0)
        };
        [at(0.5), at(1.0)]
    };
    outcome.metric("windows", "", windows.into());
    outcome.metric("rows in view of some window", "", rows.len() as f64);
    outcome.metric("changes seen in windows", "", micros.len() as f64);
    if windows > 0 && micros.is_empty() && seen.iter().any(|it| !it.late_micros.is_empty()) {
        outcome.problem("no change was seen in a window".to_owned());
    }
    let names = [
        "change to window, median",
        "change to window, p99",
        "change to window, longest",
    ];
    outcome.latency(names, micros);
    let names = [
        "change sent late, median",
        "change sent late, p99",
        "change sent late, longest",
    ];
    outcome.latency(names, late);
    let [median, most] = bytes(false);
    outcome.known("to a client with the summary, median", "KiB/s", median);
    outcome.known("to a client with the summary, most", "KiB/s", most);
    let [median, most] = bytes(true);
    outcome.known("to a client with a window, median", "KiB/s", median);
    outcome.known("to a client with a window, most", "KiB/s", most);
}

impl Shared {
    /// Notes that a client has joined.
    fn note_joined(&self) {
        self.joined_at.fetch_max(self.micros(), Ordering::Relaxed);
    }

    /// Notes that the count of a client is right from now on, or wrong again.
    fn note_exact(&self, is_exact: bool) {
        if is_exact {
            self.exact_at.fetch_max(self.micros(), Ordering::Relaxed);
            self.exact.fetch_add(1, Ordering::Relaxed);
        } else {
            self.exact.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Waits until so many clients have the right count, at most [`EXACT_TIME_MAX`]. Returns how many have.
    async fn wait_until_exact(&self, clients: usize) -> usize {
        let deadline = Instant::now() + EXACT_TIME_MAX;
        let exact = || self.exact.load(Ordering::Relaxed);
        while exact() < clients && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
        }
        exact()
    }
}

impl Processes {
    fn of(args: &Args) -> Self {
        let gateways = args.cluster.iter().map(|it| Process::with_id(it.pid));
        Processes {
            gateways: gateways.collect(),
            redis: args.redis.map(Process::with_id),
        }
    }

    /// The mean memory of a gateway, and that of Redis, in KB.
    fn memory(&self) -> [Option<f64>; 2] {
        let gateways = self.gateways.iter().map(|it| it.memory_kb());
        let sum: Option<f64> = gateways.sum();
        let mean = sum.map(|it| it / self.gateways.len() as f64);
        [mean, self.redis.and_then(Process::memory_kb)]
    }

    /// The CPU time so far of all gateways, of Redis, and of this process.
    fn cpu(&self) -> [(&'static str, Option<Duration>); 3] {
        let gateways = self.gateways.iter().map(|it| it.cpu());
        [
            ("CPU of all gateways, changes", gateways.sum::<Option<_>>()),
            ("CPU of Redis, changes", self.redis.and_then(Process::cpu)),
            ("CPU of the generator, changes", Process::own().cpu()),
        ]
    }
}
