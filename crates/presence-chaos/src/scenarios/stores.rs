//! Redis dies, stops, and forgets.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use presence_testkit::cluster::Part;
use presence_testkit::redis::Topology;

use super::{CHANGES, HEALED, changes, look_on, p50_p99, p99_max, quiet, some_people};
use crate::check::{Lag, Seen};
use crate::crowd::channel;
use crate::journal::User;
use crate::report::{Figure, percentile};
use crate::stage::Stage;
use crate::virtual_user::{Afterwards, Begin};

/// How long a person's words may take to be acknowledged.
const SAY_TIME_MAX: Duration = Duration::from_secs(10);

/// Changes a second where their times are compared: many, and no load for a small machine.
const CHANGES_MANY: f64 = 50.0;

/// How soon a change of the outage is seen once there is a master again.
const SEEN_AFTER: f64 = 2.0;

/// How the key of a room ends.
fn key_of(room: u32) -> String {
    format!("channel:{}", channel(room))
}

/// 3: no false leave; changes of the outage are seen at most 2 s after promotion; others keep their p99.
pub(super) fn master_killed(stage: &mut Stage) -> Result<()> {
    if stage.redis()?.topology() == Topology::Single {
        bail!("this needs a Redis with replicas: --redis cluster or sentinel");
    }
    let mut plan = stage.wanted.plan(300, 1000);
    plan.afterwards = Afterwards::ComeBack(Duration::from_secs(1));
    let mut crowd = stage.gather(&plan)?;
    let redis = stage.redis()?;
    let key = key_of(0);
    let (victim, slot) = (redis.master_of(&key)?, redis.slot_of(&key)?);
    // Whose topics are on that master.
    let hit: BTreeSet<u32> = (0..plan.rooms)
        .filter(|room| redis.master_of(&key_of(*room)).is_ok_and(|it| it == victim))
        .collect();
    crowd.say(some_people(10), "kept", SAY_TIME_MAX)?;
    crowd.change(CHANGES_MANY, stage.wanted.seed);
    let (quiet_from, quiet_until) = quiet(stage, &crowd);

    let since = crowd.now();
    let redis = stage.redis()?;
    redis.nodes_mut()[victim].process.kill()?;
    redis.wait_for_another(victim, slot)?;
    let promoted = crowd.now();
    crowd.sleep(Duration::from_secs(3));
    stage.cluster.start_again(Part::Redis(victim))?;
    stage.redis()?.wait_ready()?;
    let healed = crowd.now();
    crowd.sleep(Duration::from_secs(2));
    crowd.stop_changing();
    crowd.settle(HEALED);

    let findings = stage.judge(&crowd, healed, "the fail-over", HEALED);
    stage.judge_silence(&crowd, &findings, since);
    stage.judge_losses(&crowd, since, &[]);
    stage.judge_memory_of(&crowd, 0);
    stage.interest(
        "another master after",
        (promoted - since).as_secs_f64(),
        "s",
    );
    let is_hit = |lag: &Lag| hit.contains(&crowd.room_of(lag.user));
    let mut late: Vec<f64> = changes(&findings, since, promoted, is_hit)
        .map(|lag| {
            (lag.from + lag.took)
                .saturating_sub(promoted.max(lag.from))
                .as_secs_f64()
        })
        .collect();
    let what = "changes of the outage seen after promotion, p99";
    let p99 = percentile(&mut late, 0.99).unwrap_or(f64::NAN);
    stage.add(Figure::at_most("I1", what, p99, "s", SEEN_AFTER));
    // With one master only, there are no others.
    if stage.redis()?.topology() == Topology::Cluster {
        let (_, before) = p50_p99(changes(&findings, quiet_from, quiet_until, |lag| {
            !is_hit(lag)
        }));
        let (_, meanwhile) = p50_p99(changes(&findings, since, promoted, |lag| !is_hit(lag)));
        stage.interest("p99 of topics on other masters, quiet", before, "ms");
        let what = "p99 of topics on other masters, meanwhile";
        let most = p99_max(stage, before);
        stage.add(Figure::at_most("I8", what, meanwhile, "ms", most));
    }
    stage.judge_newcomers(&mut crowd);
    Ok(())
}

/// 4: people on the same gateway still see each other; new clients are let in, health says `degraded`; memory flat;
/// heals in 10 s without a herd.
// Longer than a screen because it is a story: each step follows from the one before.
pub(super) fn stopped(stage: &mut Stage) -> Result<()> {
    stage.redis()?;
    let mut plan = stage.wanted.plan(150, 3000);
    plan.afterwards = Afterwards::ComeBack(Duration::from_secs(1));
    let mut crowd = stage.gather(&plan)?;
    let gateways = stage.cluster.gateways.len();
    let mut late = BTreeSet::new();
    for gateway in 0..gateways {
        late.extend(crowd.add_people(5, 0, gateway, Begin::WhenCalled));
    }
    crowd.change(CHANGES, stage.wanted.seed);
    quiet(stage, &crowd);
    let before: Vec<f64> = (0..gateways).map(|it| stage.memory_mb(it)).collect();

    let since = crowd.now();
    let nodes: Vec<Part> = stage
        .cluster
        .parts()
        .into_iter()
        .filter(|it| !matches!(it, Part::Gateway(_)))
        .collect();
    for node in &nodes {
        stage.cluster.process_mut(*node).ask_to_go()?;
    }
    for node in &nodes {
        stage.cluster.end(*node)?;
    }
    let all_away = crowd.now();
    let told = Instant::now();
    let all_know = |stage: &Stage| {
        let degraded = |it: &presence_testkit::gateway::Gateway| {
            it.health().is_ok_and(|it| it["status"] == "degraded")
        };
        stage.cluster.gateways.iter().all(degraded)
    };
    while !all_know(stage) && told.elapsed() < Duration::from_secs(10) {
        crowd.sleep(Duration::from_millis(50));
    }
    stage.add(Figure::at_most(
        "I8",
        "every gateway says degraded after",
        told.elapsed().as_secs_f64(),
        "s",
        5.0,
    ));
    crowd.call();
    let came = crowd.wait_until_all_are_here(Duration::from_secs(10));
    let figure = Figure::never(
        "I8",
        "people not let in meanwhile",
        crowd.size() - crowd.here(),
    );
    stage.add(figure.such_as(came.map_or_else(|error| error.to_string(), |_| String::new())));
    crowd.sleep_until(
        since
            + stage
                .wanted
                .pick(Duration::from_secs(6), Duration::from_secs(30)),
    );
    let grown = (0..gateways)
        .map(|it| stage.memory_mb(it) - before[it])
        .fold(0.0, f64::max);

    for node in &nodes {
        stage.cluster.process_mut(*node).start_again()?;
    }
    stage.redis()?.wait_ready()?;
    let healed = crowd.now();
    look_on(stage, &crowd);
    crowd.stop_changing();
    crowd.settle(HEALED);

    let findings = stage.judge(&crowd, healed, "Redis was back", HEALED);
    let is_late = |user: User| late.contains(&user);
    let mut flapped = findings.clone();
    flapped.appeared.retain(|it| !is_late(it.user));
    stage.judge_silence(&crowd, &flapped, since);
    stage.judge_losses(&crowd, since, &[]);
    let is_same_gateway =
        |lag: &Lag| crowd.gateway_of_watcher(lag.watcher) == crowd.gateway_of_user(lag.user);
    let is_known = |lag: &Lag| is_same_gateway(lag) && !is_late(lag.user);
    let (p50, p99) = p50_p99(changes(&findings, all_away, healed, is_known));
    stage.interest(
        "changes meanwhile seen on their own gateway, p50",
        p50,
        "ms",
    );
    stage.add(Figure::at_most(
        "I8",
        "changes meanwhile seen on their own gateway, p99",
        p99,
        "ms",
        1000.0,
    ));
    // Whose profile could not be read might be hiding, so these may have to wait.
    let newcomers = findings
        .lags
        .iter()
        .filter(|lag| lag.what == Seen::Coming && is_late(lag.user) && is_same_gateway(lag));
    let slowest = newcomers
        .map(|lag| lag.took.as_secs_f64())
        .fold(f64::NAN, f64::max);
    stage.interest(
        "newcomers meanwhile seen on their own gateway after",
        slowest,
        "s",
    );
    stage.add(Figure::at_most(
        "I7",
        "a gateway's memory grew meanwhile by",
        grown,
        "MB",
        32.0,
    ));
    stage.judge_newcomers(&mut crowd);
    Ok(())
}

/// 5: nobody is shown leaving; the store is rebuilt within 10 s.
pub(super) fn flushed(stage: &mut Stage) -> Result<()> {
    stage.redis()?;
    let plan = stage.wanted.plan(150, 3000);
    let mut crowd = stage.gather(&plan)?;
    crowd.say(some_people(10), "kept", SAY_TIME_MAX)?;
    crowd.change(CHANGES, stage.wanted.seed);
    quiet(stage, &crowd);

    let since = crowd.now();
    let redis = stage.redis()?;
    let before = redis.keys()?;
    redis.flush_all()?;
    let start = Instant::now();
    // What ends by itself, such as who is typing, need not come back.
    while redis.keys()? * 100 < before * 95 && start.elapsed() < 3 * HEALED {
        crowd.sleep(Duration::from_millis(50));
    }
    let rebuilt = start.elapsed().as_secs_f64();
    look_on(stage, &crowd);
    crowd.stop_changing();
    crowd.settle(HEALED);

    let findings = stage.judge(&crowd, since, "it forgot", HEALED);
    stage.judge_silence(&crowd, &findings, since);
    stage.judge_losses(&crowd, since, &[]);
    stage.interest("keys before", before as f64, "");
    stage.add(Figure::at_most(
        "I1",
        "95 % of the keys are back after",
        rebuilt,
        "s",
        HEALED.as_secs_f64(),
    ));
    stage.judge_newcomers(&mut crowd);
    stage.judge_memory_of(&crowd, 0);
    Ok(())
}
