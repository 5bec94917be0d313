//! Everyone is in a room and changes now and then: how long it takes until others see it, what that costs, and the least
//! that as many frames can cost.

use anyhow::Result;

use crate::args::Args;
use crate::bare::{self, BareServer};
use crate::endpoint::Endpoint;
use crate::load_run::LoadRun;
use crate::report::Outcome;
use crate::scenarios::{gateway, in_rooms, micros};
use crate::schedule::Schedule;
use crate::virtual_user::VirtualUser;

pub(super) async fn run(args: &Args, tag: &str) -> Result<Outcome> {
    let load_run = LoadRun {
        endpoint: args.endpoint(),
        vus: in_rooms(args, tag),
        schedule: Schedule::draw(args.clients, args.rate(), args.seconds, args.seed),
        seconds: args.seconds,
        process: gateway(args),
    };
    let notes = load_run.run(|| Ok(())).await?;
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
    let cost = notes.cpu.map(|it| micros(it) / received);
    outcome.known("gateway CPU a delivery", "µs", cost);
    // A delivery may have several changes.
    let people = args.clients as f64 / args.rooms() as f64;
    let seen = args.rate() * args.seconds * people;
    let per_change = notes.cpu.map(|it| micros(it) / seen);
    outcome.known("gateway CPU a change seen", "µs", per_change);
    outcome.known("gateway CPU", "% of a core", notes.cpu.map(share));
    outcome.known("generator CPU", "% of a core", notes.own_cpu.map(share));

    let frames = totals.versions / args.rooms() as u64;
    if !args.no_ceiling && frames > 0 {
        let ceiling = bare(args, frames, totals.bytes, &mut outcome).await?;
        let ratio = cost.zip(ceiling).map(|(cost, ceiling)| cost / ceiling);
        outcome.known("CPU a delivery, gateway to bare server", "times", ratio);
    }
    Ok(outcome)
}

/// What a delivery costs a server that writes `frames` frames of `bytes` bytes to each client, one room after the other,
/// and does nothing else: CPU time in µs.
async fn bare(args: &Args, frames: u64, bytes: f64, outcome: &mut Outcome) -> Result<Option<f64>> {
    let mut server = BareServer::start(args, frames, bytes)?;
    let vus = in_rooms(args, "bare").into_iter().map(|vu| VirtualUser {
        room: 0,
        channel: bare::CHANNEL.to_owned(),
        member: None,
        ..vu
    });
    let load_run = LoadRun {
        endpoint: Endpoint {
            url: server.url.clone(),
            dialect: args.protocol.bare(),
            app: None,
        },
        vus: vus.collect(),
        schedule: Schedule::even(frames as usize, args.seconds),
        seconds: args.seconds,
        process: Some(server.process()),
    };
    let notes = load_run.run(|| server.go()).await?;
    let received = notes.reconcile(outcome).received as f64;
    let cost = notes.cpu.map(|it| micros(it) / received);
    outcome.known("bare server: CPU a delivery", "µs", cost);
    Ok(cost)
}
