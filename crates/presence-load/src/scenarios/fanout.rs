//! Everyone watches one room in which a few people change: what a delivery costs, and the least that it can cost.

use anyhow::Result;

use crate::args::Args;
use crate::bare::{self, BareServer};
use crate::endpoint::{Dialect, Endpoint};
use crate::load_run::{LoadRun, Measurements, Totals};
use crate::report::Outcome;
use crate::scenarios::{SAMPLES, gateway, micros};
use crate::schedule::Schedule;
use crate::stock::ROOM;
use crate::virtual_user::VirtualUser;

pub(super) async fn run(args: &Args, tag: &str) -> Result<Outcome> {
    let channel = format!("{ROOM}{tag}");
    let mut vus = watchers(args, tag, &channel);
    vus.extend((0..args.members()).map(|n| VirtualUser {
        user: format!("{tag}-member-{n}"),
        room: 0,
        channel: channel.clone(),
        member: Some(n),
        watches: false,
        is_sampled: false,
    }));
    let load_run = LoadRun {
        endpoint: args.endpoint(),
        vus,
        schedule: Schedule::draw(args.members(), args.rate(), args.seconds, args.seed),
        seconds: args.seconds,
        process: gateway(args),
    };
    let notes = load_run.run(|| Ok(())).await?;
    let mut outcome = Outcome::default();
    let totals = notes.reconcile(&mut outcome);
    let (versions, bytes) = (totals.versions, totals.bytes);
    outcome.metric("told a second", "/s", versions as f64 / args.seconds);
    outcome.metric("bytes a delivery", "B", bytes);
    let cost = measure(args, &notes, totals, &mut outcome, GATEWAY);

    if !args.no_ceiling && versions > 0 {
        let mut server = BareServer::start(args, versions, bytes)?;
        let load_run = LoadRun {
            endpoint: Endpoint {
                url: server.url.clone(),
                dialect: args.protocol.bare(),
                app: None,
            },
            vus: watchers(args, tag, bare::CHANNEL),
            schedule: Schedule::even(versions as usize, args.seconds),
            seconds: args.seconds,
            process: Some(server.process()),
        };
        let notes = load_run.run(|| server.go()).await?;
        let totals = notes.reconcile(&mut outcome);
        let ceiling = measure(args, &notes, totals, &mut outcome, BARE);
        let ratio = cost.zip(ceiling).map(|(cost, ceiling)| cost / ceiling);
        outcome.known("CPU a delivery, gateway to bare server", "times", ratio);
    }
    Ok(outcome)
}

/// How many Pusher clients share one user. A Pusher client that subscribes is in the room, and the room shall stay small
/// enough to be listed. With more than about 3,000 clients it is too big all the same.
const TABS: usize = 50;

/// Everyone who watches `channel`.
fn watchers(args: &Args, tag: &str, channel: &str) -> Vec<VirtualUser> {
    let sampled_every = (args.clients / SAMPLES).max(1);
    let tabs = match args.protocol {
        Dialect::Pusher => TABS,
        _ => 1,
    };
    let vu = |n| VirtualUser {
        user: format!("{tag}-{}", n / tabs),
        room: 0,
        channel: channel.to_owned(),
        member: None,
        watches: true,
        is_sampled: n % sampled_every == 0,
    };
    (0..args.clients).map(vu).collect()
}

/// The names of the numbers that are measured of a server.
type Names = [&'static str; 9];

const GATEWAY: Names = [
    "gateway: deliveries",
    "gateway: expected",
    "gateway: whole states to slow readers",
    "gateway: deliveries a second",
    "gateway: due to seen, p50",
    "gateway: due to seen, p99",
    "gateway: due to seen, most",
    "gateway: CPU a delivery",
    "generator CPU meanwhile",
];

const BARE: Names = [
    "bare server: deliveries",
    "bare server: expected",
    "bare server: whole states to slow readers",
    "bare server: deliveries a second",
    "bare server: due to seen, p50",
    "bare server: due to seen, p99",
    "bare server: due to seen, most",
    "bare server: CPU a delivery",
    "generator CPU meanwhile (bare server)",
];

/// Adds all numbers to `outcome`, and returns the CPU time of a delivery in µs.
fn measure(
    args: &Args,
    notes: &Measurements,
    totals: Totals,
    outcome: &mut Outcome,
    names: Names,
) -> Option<f64> {
    let received = totals.received as f64;
    let cost = notes.cpu.map(|it| micros(it) / received);
    outcome.metric(names[0], "", received);
    outcome.metric(names[1], "", totals.expected as f64);
    outcome.metric(names[2], "", totals.wholes as f64);
    outcome.metric(names[3], "/s", totals.rate(args.seconds));
    outcome.latency([names[4], names[5], names[6]], totals.micros);
    outcome.known(names[7], "µs", cost);
    let share = |cpu| notes.share(cpu);
    outcome.known(names[8], "% of a core", notes.own_cpu.map(share));
    cost
}
