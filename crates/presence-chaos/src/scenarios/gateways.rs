//! Gateways die, stop, and are replaced.

use std::time::{Duration, Instant};

use anyhow::Result;
use presence_testkit::cluster::Part;
use presence_testkit::wait;

use super::{CHANGES, HEALED, at, look_on, some_people};
use crate::journal::User;
use crate::report::Figure;
use crate::stage::{LEASE, Stage};
use crate::virtual_user::{Afterwards, Order, Role, VirtualUser};

/// The number of the gateway that is broken.
const VICTIM: usize = 0;

/// Which one is asked what it knows.
const OTHER: usize = 1;

/// How long a person's words may take to be acknowledged.
const SAY_TIME_MAX: Duration = Duration::from_secs(10);

/// When it is given up that a gateway becomes unready. How soon it has to is a figure.
const UNREADY_TIME_MAX: Duration = Duration::from_secs(20);

/// After what time whoever was lost with a gateway is gone, and a little.
fn all_is_over(stage: &Stage) -> Duration {
    LEASE + stage.pace.grace + Duration::from_secs(3)
}

/// 1: all its users leave once, not before the lease, not after lease + grace + 2 s.
pub(super) fn killed(stage: &mut Stage) -> Result<()> {
    stage.needs(2)?;
    let plan = stage.wanted.plan(150, 3000);
    let mut crowd = stage.gather(&plan)?;
    crowd.change(CHANGES, stage.wanted.seed);
    crowd.say(some_people(10), "kept", SAY_TIME_MAX)?;

    let since = crowd.now();
    crowd.dies(VICTIM, true);
    stage.cluster.gateways[VICTIM].process.kill()?;
    crowd.sleep(all_is_over(stage));
    crowd.stop_changing();
    crowd.settle(HEALED);

    let findings = stage.judge(&crowd, since, "the kill", Duration::from_secs(30));
    let gone: std::collections::BTreeSet<User> =
        findings.disappeared.iter().map(|it| it.user).collect();
    stage.interest("people who left with it", gone.len() as f64, "");
    stage.judge_losses(&crowd, since, &[VICTIM]);
    stage.judge_newcomers(&mut crowd);
    stage.judge_memory_of(&crowd, OTHER);
    Ok(())
}

/// 2: no event at all; the late lapse of the dead lease must not remove them.
pub(super) fn replaced(stage: &mut Stage) -> Result<()> {
    stage.needs(2)?;
    let mut plan = stage.wanted.plan(150, 3000);
    plan.afterwards = Afterwards::ComeBack(stage.pace.grace / 2);
    let mut crowd = stage.gather(&plan)?;
    crowd.change(CHANGES, stage.wanted.seed);
    crowd.say(some_people(10), "kept", SAY_TIME_MAX)?;

    let since = crowd.now();
    crowd.dies(VICTIM, true);
    stage.cluster.gateways[VICTIM].process.kill()?;
    let back = crowd.wait_until_all_are_here(Duration::from_secs(60))?;
    stage.interest("all are back after", back.as_secs_f64(), "s");
    crowd.sleep_until(since + all_is_over(stage));
    crowd.stop_changing();
    crowd.settle(HEALED);

    let findings = stage.judge(&crowd, since, "the kill", HEALED);
    stage.judge_silence(&crowd, &findings, since);
    stage.judge_losses(&crowd, since, &[VICTIM]);
    stage.judge_newcomers(&mut crowd);
    stage.judge_memory_of(&crowd, OTHER);
    Ok(())
}

/// 23: entries of the old incarnation never return.
pub(super) fn same_name(stage: &mut Stage) -> Result<()> {
    stage.needs(2)?;
    let plan = stage.wanted.plan(150, 3000);
    let mut crowd = stage.gather(&plan)?;
    crowd.change(CHANGES, stage.wanted.seed);

    let since = crowd.now();
    crowd.dies(VICTIM, true);
    stage.cluster.gateways[VICTIM].process.kill()?;
    stage.cluster.start_again(Part::Gateway(VICTIM))?;
    crowd.dies(VICTIM, false);
    // A third comes back at once, to the new one.
    let comes = |vu: &VirtualUser| at(VICTIM)(vu) && group(vu) == Some(0);
    let back = crowd.order(comes, &Order::Come);
    stage.interest("people who came back to it", back as f64, "");
    crowd.sleep_until(since + all_is_over(stage));
    crowd.stop_changing();
    crowd.settle(HEALED);

    stage.judge(&crowd, since, "the kill", Duration::from_secs(30));
    stage.judge_losses(&crowd, since, &[VICTIM]);
    stage.judge_newcomers(&mut crowd);
    Ok(())
}

/// 22: on waking it finds its lease gone, does not resurrect anyone, registers anew.
pub(super) fn paused(stage: &mut Stage) -> Result<()> {
    stage.needs(2)?;
    let mut plan = stage.wanted.plan(150, 3000);
    plan.afterwards = Afterwards::ComeBack(Duration::from_secs(1));
    let mut crowd = stage.gather(&plan)?;
    crowd.change(CHANGES, stage.wanted.seed);

    let since = crowd.now();
    crowd.dies(VICTIM, true);
    crowd.order(at(VICTIM), &Order::Freeze);
    stage.cluster.gateways[VICTIM].process.pause()?;
    // A third goes while nobody can hear it, a third goes on elsewhere, a third waits.
    let third = |number| move |vu: &VirtualUser| at(VICTIM)(vu) && group(vu) == Some(number);
    crowd.order(third(0), &Order::Afterwards(Afterwards::StayAway));
    crowd.order(third(0), &Order::Vanish);
    crowd.order(third(1), &Order::Vanish);
    crowd.sleep_until(since + all_is_over(stage));

    let woken = crowd.now();
    crowd.dies(VICTIM, false);
    stage.cluster.gateways[VICTIM].process.resume()?;
    crowd.order(at(VICTIM), &Order::Thaw);
    look_on(stage, &crowd);
    crowd.stop_changing();
    crowd.settle(HEALED);

    let findings = stage.judge(&crowd, woken, "it went on", HEALED);
    let gone: Vec<_> = findings
        .appeared
        .iter()
        .copied()
        .filter(|it| it.at >= woken)
        .collect();
    let gone: Vec<_> = gone
        .into_iter()
        .filter(|it| it.user.0 % 3 == 0 && crowd.has_ended(it.user))
        .collect();
    let figure = Figure::never("I3", "raised from the dead by it", gone.len());
    stage.add(figure.such_as(crowd.shown(&gone)));
    stage.judge_losses(&crowd, since, &[VICTIM]);
    stage.judge_newcomers(&mut crowd);
    Ok(())
}

/// In which third a person is.
fn group(vu: &VirtualUser) -> Option<u32> {
    match vu.role {
        Role::Person(user) => Some(user.0 % 3),
        Role::Hidden(_) | Role::Watcher(_) => None,
    }
}

/// 16: unready first, close 1012 spread over the drain time, no leave for who returns; exit within drain + 5 s; a
/// second SIGTERM is immediate.
pub(super) fn rolling(stage: &mut Stage) -> Result<()> {
    stage.needs(2)?;
    let mut plan = stage.wanted.plan(300, 3000);
    plan.afterwards = Afterwards::ComeBack(Duration::from_secs(1));
    let mut crowd = stage.gather(&plan)?;
    crowd.change(CHANGES, stage.wanted.seed);

    let since = crowd.now();
    let (mut slowest_exit, mut slowest_unready) = (Duration::ZERO, Duration::ZERO);
    let drain = stage.pace.drain;
    for index in 0..stage.cluster.gateways.len() {
        let gateway = &mut stage.cluster.gateways[index];
        let told = Instant::now();
        gateway.process.ask_to_go()?;
        wait::until_true(UNREADY_TIME_MAX, "unready", || !gateway.is_ready())?;
        slowest_unready = slowest_unready.max(told.elapsed());
        // Now a load balancer has seen it, too.
        crowd.open(index, false);
        gateway.process.wait_gone(drain + Duration::from_secs(15))?;
        slowest_exit = slowest_exit.max(told.elapsed());
        gateway.start_again()?;
        crowd.open(index, true);
        crowd.wait_until_all_are_here(Duration::from_secs(60))?;
    }
    let ended = crowd.now();
    crowd.sleep(stage.pace.grace + Duration::from_secs(2));
    crowd.stop_changing();
    crowd.settle(HEALED);

    let findings = stage.judge(&crowd, ended, "the restarts", HEALED);
    stage.judge_silence(&crowd, &findings, since);
    let mut rude = crowd.losses(since);
    let moved = rude.len();
    rude.retain(|loss| !loss.how.starts_with("closed with 1012"));
    stage.interest("connections that moved", moved as f64, "");
    let figure = Figure::never(
        "I8",
        "connections closed otherwise than with 1012",
        rude.len(),
    );
    stage.add(figure.such_as(rude.first().map(|it| it.how.clone()).unwrap_or_default()));
    let most = (drain + Duration::from_secs(5)).as_secs_f64();
    stage.add(Figure::at_most(
        "I8",
        "slowest exit",
        slowest_exit.as_secs_f64(),
        "s",
        most,
    ));
    stage.add(Figure::at_most(
        "I8",
        "slowest to be unready",
        slowest_unready.as_secs_f64(),
        "s",
        1.0,
    ));
    stage.judge_newcomers(&mut crowd);

    let gateway = &mut stage.cluster.gateways[VICTIM];
    gateway.process.ask_to_go()?;
    // Two signals of a kind that come before the first is taken are one.
    wait::until_true(UNREADY_TIME_MAX, "unready", || !gateway.is_ready())?;
    let told = Instant::now();
    gateway.process.ask_to_go()?;
    gateway.process.wait_gone(drain + Duration::from_secs(15))?;
    stage.add(Figure::at_most(
        "I8",
        "exit when asked twice",
        told.elapsed().as_secs_f64(),
        "s",
        1.0,
    ));
    stage.cluster.start_again(Part::Gateway(VICTIM))
}
