//! Everyone is in a room and changes now and then: how long it takes until others see it.

use anyhow::Result;

use crate::args::Args;
use crate::crew::Crew;
use crate::report::Outcome;
use crate::scenarios::{gateway, in_rooms, micros};
use crate::schedule::Schedule;

pub(super) async fn run(args: &Args, tag: &str) -> Result<Outcome> {
    let crew = Crew {
        door: args.door(),
        seats: in_rooms(args, tag),
        schedule: Schedule::draw(args.clients, args.rate(), args.seconds, args.seed),
        seconds: args.seconds,
        process: gateway(args),
    };
    let notes = crew.run(|| Ok(())).await?;
    let mut outcome = Outcome::default();
    let totals = notes.reconcile(&mut outcome);

    let received = totals.received as f64;
    outcome.metric("deliveries", "", received);
    outcome.metric("expected", "", totals.expected as f64);
    outcome.metric("whole states to slow readers", "", totals.wholes as f64);
    outcome.metric("deliveries a second", "/s", totals.rate(args.seconds));
    outcome.latency(
        [
            "change to seen by another, p50",
            "change to seen by another, p99",
            "change to seen by another, most",
        ],
        totals.micros,
    );
    let share = |cpu| notes.share(cpu);
    outcome.known(
        "gateway CPU a delivery",
        "µs",
        notes.cpu.map(|it| micros(it) / received),
    );
    outcome.known("gateway CPU", "% of a core", notes.cpu.map(share));
    outcome.known("generator CPU", "% of a core", notes.own_cpu.map(share));
    Ok(outcome)
}
