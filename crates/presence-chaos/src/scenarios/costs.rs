//! What things cost: latency across gateways, commands and memory of Redis.

use std::time::Duration;

use anyhow::Result;

use super::{changes, p50_p99, some_people};
use crate::check::Lag;
use crate::report::Figure;
use crate::stage::Stage;
use crate::virtual_user::{Afterwards, Order};

/// How soon a person who left returns.
const AWAY: Duration = Duration::from_secs(1);

/// From a client on one gateway to a client on another, at 200 changes a second.
pub(super) fn latency(stage: &mut Stage) -> Result<()> {
    // Many rooms, so that a change seldom waits for the tick of another.
    let mut plan = stage.wanted.plan(500, 5000);
    plan.rooms = 50;
    let mut crowd = stage.gather(&plan)?;
    crowd.change(200.0, stage.wanted.seed);
    crowd.sleep(Duration::from_secs(2));
    let from = crowd.now();
    crowd.sleep(
        stage
            .wanted
            .pick(Duration::from_secs(8), Duration::from_secs(30)),
    );
    let until = crowd.now();
    crowd.stop_changing();
    crowd.settle(Duration::from_secs(10));

    let findings = stage.judge(&crowd, until, "the changes", Duration::from_secs(1));
    let is_across =
        |lag: &Lag| crowd.gateway_of_watcher(lag.watcher) != crowd.gateway_of_user(lag.user);
    let count = changes(&findings, from, until, is_across).count();
    stage.interest("changes seen across gateways", count as f64, "");
    if count > 0 {
        let (p50, p99) = p50_p99(changes(&findings, from, until, is_across));
        stage.interest("across gateways, p50 (target 10 ms)", p50, "ms");
        stage.add(Figure::at_most(
            "I1",
            "across gateways, p99",
            p99,
            "ms",
            1000.0,
        ));
    }
    let (p50, p99) = p50_p99(changes(&findings, from, until, |lag| !is_across(lag)));
    stage.interest("on one gateway, p50", p50, "ms");
    stage.add(Figure::at_most(
        "I1",
        "on one gateway, p99",
        p99,
        "ms",
        1000.0,
    ));
    stage.judge_losses(&crowd, from, &[]);
    Ok(())
}

/// A heartbeat costs no command of Redis, and a device that comes or goes costs at most two.
// Longer than a screen because it is a story: each step follows from the one before.
pub(super) fn commands(stage: &mut Stage) -> Result<()> {
    let mut plan = stage.wanted.plan(300, 5000);
    plan.second_device_of = 0;
    plan.afterwards = Afterwards::ComeBack(AWAY);
    let crowd = stage.gather(&plan)?;
    crowd.sleep(Duration::from_secs(2));

    // The same people, first with as many heartbeats as they have, then with four more each second.
    let time = stage
        .wanted
        .pick(Duration::from_secs(6), Duration::from_secs(300));
    let stats = stage.redis()?.command_stats()?;
    let monitor = stage.redis()?.monitor()?;
    crowd.sleep(time);
    let idle = monitor.stop()?;
    let later = stage.redis()?.command_stats()?;
    let monitor = stage.redis()?.monitor()?;
    let mut heartbeats = 0;
    for _ in 0..time.as_secs() * 4 {
        heartbeats += crowd.order(|_| true, &Order::Heartbeat);
        crowd.sleep(Duration::from_millis(250));
    }
    let beating = monitor.stop()?;
    let per_second = 1.0 / time.as_secs_f64();
    stage.interest(
        "commands a second while nothing happens",
        idle.asked_in_all() as f64 * per_second,
        "/s",
    );
    let calls = later
        .iter()
        .map(|(command, calls)| calls - stats.get(command).unwrap_or(&0).min(calls));
    let calls = calls.sum::<u64>() as f64 * per_second;
    stage.interest(
        "the same by INFO commandstats, with those in scripts",
        calls,
        "/s",
    );
    stage.interest("heartbeats more than usual", heartbeats as f64, "");
    let more = beating.asked_in_all().saturating_sub(idle.asked_in_all()) as f64;
    // Gateways compare now and then, and one such round more or less falls into a short time.
    let most = stage.wanted.pick(0.2, 0.02);
    stage.add(Figure::at_most(
        "",
        "commands more for each",
        more / heartbeats as f64,
        "",
        most,
    ));

    // Each says goodbye, and comes again: two transitions.
    let from = crowd.now();
    let monitor = stage.redis()?.monitor()?;
    let mut transitions = 0;
    for _ in 0..stage.wanted.pick(2, 5) {
        transitions += crowd.order(some_people(1), &Order::Leave);
        crowd.sleep(Duration::from_secs(2));
        transitions += crowd.order(some_people(1), &Order::Come);
        crowd.wait_until_all_are_here(Duration::from_secs(30))?;
        crowd.sleep(Duration::from_secs(1));
    }
    let busy = monitor.stop()?;
    let scale = (crowd.now() - from).as_secs_f64() * per_second;
    stage.interest("transitions", transitions as f64, "");
    // Command by command, or the noise of what goes on all the time would drown the rest.
    let mut each: Vec<(&str, f64)> = busy
        .asked
        .iter()
        .map(|(command, calls)| {
            let usual = *idle.asked.get(command).unwrap_or(&0) as f64 * scale;
            (
                command.as_str(),
                (*calls as f64 - usual).max(0.0) / transitions as f64,
            )
        })
        .collect();
    each.sort_by(|a, b| b.1.total_cmp(&a.1));
    let all = each.iter().map(|(_, calls)| calls).sum();
    stage.add(Figure::at_most(
        "",
        "commands per device transition",
        all,
        "",
        2.0,
    ));
    for (command, calls) in each.into_iter().take(4) {
        stage.interest(format!("of them {command}"), calls, "each");
    }
    crowd.settle(Duration::from_secs(10));
    let now = crowd.now();
    stage.judge(&crowd, now, "all that", Duration::from_secs(10));
    Ok(())
}

/// Target: 200 bytes a person.
pub(super) fn memory(stage: &mut Stage) -> Result<()> {
    let mut plan = stage.wanted.plan(1000, 10_000);
    plan.second_device_of = 0;
    plan.hidden_of = 0;
    plan.watched_rooms = 1;
    plan.all_watch = false;
    let crowd = stage.gather(&plan)?;
    crowd.sleep(Duration::from_secs(2));
    let redis = stage.redis()?;
    let (keys, memory) = (redis.keys()?, redis.memory_of_keys()?);
    let people = f64::from(plan.people);
    stage.interest("keys per person", keys as f64 / people, "");
    let all: u64 = memory.values().sum();
    stage.interest("memory per person (target 200 B)", all as f64 / people, "B");
    for (about, bytes) in memory {
        stage.interest(
            format!("of it in keys about `{about}`"),
            bytes as f64 / people,
            "B",
        );
    }
    Ok(())
}
