//! What goes wrong, and what has to hold then. The numbers are those of docs/faults.md.

mod clients;
mod costs;
mod gateways;
mod profiles;
mod slow;
mod stores;

use std::time::Duration;

use anyhow::Result;

use crate::check::{Findings, Lag, Seen};
use crate::crowd::Crowd;
use crate::journal::At;
use crate::report::percentile;
use crate::stage::{Pace, Stage, Wanted};
use crate::virtual_user::{Role, VirtualUser};

pub(crate) use clients::half_open_not_before;

/// One fault, the people that it hits, and what is measured.
pub(crate) struct Scenario {
    /// Its number in docs/faults.md, if it is there.
    pub(crate) number: Option<u8>,
    /// Its name, which `--only` takes.
    pub(crate) name: &'static str,
    /// What happens in it, in one line of the help text.
    pub(crate) about: &'static str,
    /// Whether the short form has it.
    pub(crate) is_short: bool,
    /// The intervals and limits with which its gateways run.
    pub(crate) pace: fn(&Wanted) -> Pace,
    /// Whether profiles are in a MongoDB, which is shared, or in a file of each gateway.
    pub(crate) has_database: bool,
    /// More settings of its gateways.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// Lets it happen, and adds figures.
    pub(crate) run: fn(&mut Stage) -> Result<()>,
}

/// Every scenario, in the order in which all of them are played.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        number: Some(1),
        name: "gateway-killed",
        about: "a gateway is killed (-9), and nobody returns",
        // `same-name` is the same and more.
        is_short: false,
        pace: Wanted::pace,
        has_database: false,
        env: &[],
        run: gateways::killed,
    },
    Scenario {
        number: Some(2),
        name: "gateway-replaced",
        about: "a gateway is killed (-9), and its people return elsewhere within grace",
        is_short: true,
        pace: Wanted::pace,
        has_database: false,
        env: &[],
        run: gateways::replaced,
    },
    Scenario {
        number: Some(3),
        name: "master-killed",
        about: "a Redis master is killed (-9)",
        is_short: true,
        pace: Wanted::pace,
        has_database: false,
        env: &[],
        run: stores::master_killed,
    },
    Scenario {
        number: Some(4),
        name: "redis-stopped",
        about: "all of Redis is stopped, and comes back empty",
        is_short: true,
        pace: Wanted::pace,
        has_database: false,
        env: &[],
        run: stores::stopped,
    },
    Scenario {
        number: Some(5),
        name: "flushall",
        about: "Redis forgets everything",
        is_short: true,
        pace: Wanted::pace,
        has_database: false,
        env: &[],
        run: stores::flushed,
    },
    Scenario {
        number: Some(8),
        name: "database-away",
        about: "the database of profiles is slow, and then away",
        is_short: true,
        pace: Wanted::pace,
        has_database: true,
        env: &[],
        run: profiles::away,
    },
    Scenario {
        number: Some(9),
        name: "slow-readers",
        about: "some read 100 bytes a second, and some nothing",
        is_short: true,
        pace: Wanted::pace,
        has_database: false,
        env: &[
            ("PRESENCE_RATE_BROADCAST", "1000/s burst 1000"),
            ("PRESENCE_BROADCASTS_MAX", "1000"),
        ],
        run: slow::readers,
    },
    Scenario {
        number: Some(10),
        name: "half-open",
        about: "connections go dead, and neither side is told",
        is_short: true,
        pace: clients::half_open_pace,
        has_database: false,
        env: &[],
        run: clients::half_open,
    },
    Scenario {
        number: Some(16),
        name: "rolling-restart",
        about: "gateways are restarted one after the other, and people go on elsewhere",
        is_short: true,
        pace: Wanted::pace,
        has_database: false,
        env: &[],
        run: gateways::rolling,
    },
    Scenario {
        number: Some(17),
        name: "herd",
        about: "all connections are cut at once, and everybody returns",
        is_short: true,
        pace: Wanted::pace,
        has_database: false,
        env: &[],
        run: clients::herd,
    },
    Scenario {
        number: Some(22),
        name: "gateway-paused",
        about: "a gateway stops (SIGSTOP) for longer than its lease, and goes on",
        is_short: true,
        pace: Wanted::pace,
        has_database: false,
        env: &[],
        run: gateways::paused,
    },
    Scenario {
        number: Some(23),
        name: "same-name",
        about: "a gateway is killed and started again at once under the same name",
        is_short: true,
        pace: Wanted::pace,
        has_database: false,
        env: &[],
        run: gateways::same_name,
    },
    Scenario {
        number: None,
        name: "killed-between",
        about: "gateways are killed (-9) between their writes to Redis and to the database",
        is_short: true,
        pace: Wanted::pace,
        has_database: true,
        env: &[],
        run: profiles::killed_between,
    },
    Scenario {
        number: None,
        name: "all-killed",
        about: "everything is killed (-9), and Redis forgets: the database remembers",
        is_short: true,
        pace: Wanted::pace,
        has_database: true,
        env: &[],
        run: profiles::everything_killed,
    },
    Scenario {
        number: None,
        name: "latency",
        about: "how long a change takes to be seen at another gateway",
        is_short: false,
        pace: Wanted::pace,
        has_database: false,
        env: &[],
        run: costs::latency,
    },
    Scenario {
        number: None,
        name: "commands",
        about: "what heartbeats and transitions ask of Redis",
        is_short: true,
        pace: Wanted::pace,
        has_database: false,
        env: &[],
        run: costs::commands,
    },
    Scenario {
        number: None,
        name: "redis-memory",
        about: "what a person takes in Redis",
        is_short: false,
        pace: Wanted::pace,
        has_database: false,
        env: &[],
        run: costs::memory,
    },
];

/// Changes a second in most runs.
const CHANGES: f64 = 10.0;

/// How soon pictures are right again once a fault is over.
const HEALED: Duration = Duration::from_secs(10);

/// Looks on after a fault is over: what comes late is wrong, too.
fn look_on(stage: &Stage, crowd: &Crowd) {
    let least = stage.pace.grace + Duration::from_secs(2);
    crowd.sleep(least.max(stage.wanted.pick(least, HEALED)));
}

/// Those who begin at that gateway.
fn at(gateway: usize) -> impl Fn(&VirtualUser) -> bool {
    move |vu| vu.entrance == gateway
}

/// Every `of`th person, on their first device.
fn some_people(of: u32) -> impl Fn(&VirtualUser) -> bool {
    move |vu| match vu.role {
        Role::Person(user) => user.0 % of == 0 && vu.device_id.starts_with("web"),
        Role::Hidden(_) | Role::Watcher(_) => false,
    }
}

/// Changes that were due in a time, and that `which` wants.
fn changes<'a>(
    findings: &'a Findings,
    from: At,
    until: At,
    which: impl Fn(&Lag) -> bool + 'a,
) -> impl Iterator<Item = &'a Lag> {
    findings.lags.iter().filter(move |lag| {
        lag.what == Seen::Change && lag.from >= from && lag.from < until && which(lag)
    })
}

/// The p50 and p99 of what lags took, in ms.
fn p50_p99<'a>(lags: impl Iterator<Item = &'a Lag>) -> (f64, f64) {
    let mut took: Vec<f64> = lags.map(|lag| lag.took.as_secs_f64() * 1000.0).collect();
    let p50 = percentile(&mut took, 0.5).unwrap_or(f64::NAN);
    (p50, percentile(&mut took, 0.99).unwrap_or(f64::NAN))
}

/// What p99 may be while something else is broken: twice the quiet one (I8). Below a tick and what a busy machine adds
/// to it, a ratio of two small numbers says nothing; and what the short form looks for are seconds.
fn p99_max(stage: &Stage, quiet: f64) -> f64 {
    (2.0 * quiet).max(stage.wanted.pick(500.0, 100.0))
}

/// Lets a while pass in which nothing is wrong, and says from when to when.
fn quiet(stage: &Stage, crowd: &Crowd) -> (At, At) {
    let from = crowd.now();
    crowd.sleep(
        stage
            .wanted
            .pick(Duration::from_secs(3), Duration::from_secs(20)),
    );
    (from, crowd.now())
}
