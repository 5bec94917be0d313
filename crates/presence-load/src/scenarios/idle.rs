//! Everyone is connected and in a room, and nothing happens: what a connection costs.

use anyhow::Result;

use crate::args::Args;
use crate::load_run::LoadRun;
use crate::report::Outcome;
use crate::scenarios::{gateway, in_rooms, micros};
use crate::schedule::Schedule;

pub(super) async fn run(args: &Args, tag: &str) -> Result<Outcome> {
    let load_run = LoadRun {
        endpoint: args.endpoint(),
        vus: in_rooms(args, tag),
        schedule: Schedule::even(0, args.seconds),
        seconds: args.seconds,
        process: gateway(args),
    };
    let notes = load_run.run(|| Ok(())).await?;
    let mut outcome = Outcome::default();
    notes.reconcile(&mut outcome);

    let clients = args.clients as f64;
    let [before, start, end] = notes.memory_kb;
    let each = |now: Option<f64>| Some((now? - before?) / clients);
    outcome.known("gateway memory before", "KB", before);
    outcome.known("gateway memory, everyone in", "KB", start);
    outcome.known(
        "gateway memory a connection, everyone in",
        "KB",
        each(start),
    );
    outcome.known("gateway memory a connection, at the end", "KB", each(end));
    outcome.known(
        "gateway CPU a connection",
        "µs/s",
        notes
            .cpu
            .map(|it| micros(it) / clients / notes.span.as_secs_f64()),
    );
    outcome.known(
        "gateway CPU",
        "% of a core",
        notes.cpu.map(|it| notes.share(it)),
    );
    outcome.known(
        "generator CPU",
        "% of a core",
        notes.own_cpu.map(|it| notes.share(it)),
    );
    outcome.metric(
        "connected and joined",
        "/s",
        clients / notes.come.as_secs_f64(),
    );
    Ok(outcome)
}
