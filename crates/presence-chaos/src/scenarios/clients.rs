//! Clients whose connections go dead, or all go at once.

use std::time::Duration;

use anyhow::{Context, Result};
use presence_testkit::proxy::{Mode, Proxy};

use super::{CHANGES, HEALED};
use crate::crowd::Crowd;
use crate::journal::Ending;
use crate::report::{Figure, by_reason};
use crate::shared::Entrance;
use crate::stage::{PING, PONG, Pace, Stage, Wanted};
use crate::virtual_user::{Afterwards, Begin, Order};

/// How long everybody may take to come at the beginning.
const GATHER_TIME_MAX: Duration = Duration::from_secs(120);

/// In the short form somebody silent is timed out before they would be pinged.
pub(super) fn half_open_pace(wanted: &Wanted) -> Pace {
    let pace = wanted.pace();
    match wanted.short {
        false => pace,
        true => Pace {
            heartbeat: Duration::from_secs(2),
            ttl: Duration::from_secs(6),
            ..pace
        },
    }
}

/// 10: offline between pong wait + grace and ping + pong wait + grace + 2 s, once.
pub(super) fn half_open(stage: &mut Stage) -> Result<()> {
    let plan = stage.wanted.plan(150, 1000);
    let proxy = Proxy::start(stage.cluster.gateways[0].address())?;
    let mut entrances = stage.entrances();
    let tunnel = entrances.len();
    entrances.push(Entrance::new(format!("ws://{}/ws", proxy.address()), 0).unknown());
    let crowd = Crowd::gather(entrances, &plan, GATHER_TIME_MAX);
    let mut crowd = crowd.context("people could not come, before anything went wrong")?;
    let count = stage.wanted.pick(20, 100);
    crowd.add_people(count, 0, tunnel, Begin::Now);
    crowd.wait_until_all_are_here(GATHER_TIME_MAX)?;
    crowd.wait_settled(GATHER_TIME_MAX)?;
    stage.interest("clients", crowd.size() as f64, "");
    stage.interest("of them half-open", f64::from(count), "");
    crowd.change(CHANGES, stage.wanted.seed);

    let since = crowd.now();
    proxy.set(Mode::BlackHole);
    crowd.order(|vu| vu.entrance == tunnel, &Order::Hang);
    crowd.sleep(stage.ghost_max(Ending::HalfOpen) + Duration::from_secs(1));
    crowd.stop_changing();
    crowd.settle(HEALED);

    let within = stage.ghost_max(Ending::HalfOpen);
    stage.judge(&crowd, since, "they went dead", within);
    stage.judge_losses(&crowd, since, &[]);
    stage.judge_newcomers(&mut crowd);
    Ok(())
}

/// The least time after which a dead connection may be called one: it was heard of up to a heartbeat before.
pub(crate) fn half_open_not_before(pace: &Pace) -> Duration {
    let pinged = (PING + PONG).saturating_sub(pace.heartbeat) + pace.grace;
    let timed_out = pace.ttl.saturating_sub(pace.heartbeat);
    pinged
        .min(timed_out)
        .saturating_sub(Duration::from_millis(500))
}

/// 17: accepts are paced, refusals carry a retry time, everyone is back within 60 s.
pub(super) fn herd(stage: &mut Stage) -> Result<()> {
    let mut plan = stage.wanted.plan(300, 3000);
    plan.afterwards = Afterwards::ComeBack(Duration::from_millis(500));
    let mut crowd = stage.gather(&plan)?;
    crowd.change(CHANGES, stage.wanted.seed);
    crowd.sleep(Duration::from_secs(1));

    let refused_before = crowd.refusals().len();
    let since = crowd.now();
    let cut = crowd.order(|_| true, &Order::Vanish);
    // Until they have been cut, they are still here.
    crowd.sleep(Duration::from_millis(600));
    let back = crowd.wait_until_all_are_here(Duration::from_secs(120));
    let took = back.map_or(f64::INFINITY, |_| (crowd.now() - since).as_secs_f64());
    crowd.sleep(stage.pace.grace + Duration::from_secs(2));
    crowd.stop_changing();
    crowd.settle(HEALED);

    stage.judge(&crowd, since, "the cut", Duration::from_secs(60));
    stage.interest("connections cut", cut as f64, "");
    let refused = crowd.refusals().split_off(refused_before);
    stage.add(
        Figure::of_interest("turned away meanwhile", refused.len() as f64, "times")
            .such_as(by_reason(&refused)),
    );
    stage.add(Figure::at_most(
        "I1",
        "everybody is back after",
        took,
        "s",
        60.0,
    ));
    stage.judge_losses(&crowd, since, &[]);
    stage.judge_newcomers(&mut crowd);
    Ok(())
}
