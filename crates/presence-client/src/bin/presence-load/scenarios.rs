//! What is measured.

mod churn;
mod fanout;
mod idle;
mod storm;

use std::time::Duration;

use anyhow::Result;

use crate::args::{Args, Scenario};
use crate::machine::Process;
use crate::report::Outcome;
use crate::seat::Seat;
use crate::stock::ROOM;

/// How many clients of a run look into every frame, about.
const SAMPLES: usize = 50;

/// Does what `args` say, for the time of that number.
pub(crate) async fn run(args: &Args, run: usize) -> Result<Outcome> {
    // No run meets people of another, not even those whose grace has not ended.
    let scenario = format!("{:?}-{:?}", args.scenario, args.protocol).to_lowercase();
    let tag = format!("{scenario}-{}-{run}", std::process::id());
    match args.scenario {
        Scenario::Idle => idle::run(args, &tag).await,
        Scenario::Fanout => fanout::run(args, &tag).await,
        Scenario::Storm => storm::run(args, &tag).await,
        Scenario::Churn => churn::run(args, &tag).await,
        Scenario::Smoke | Scenario::BareServer => unreachable!("these are taken apart before"),
    }
}

/// The gateway's process.
fn gateway(args: &Args) -> Option<Process> {
    let named = args.pid.map(Process::with_id);
    named.or_else(|| Process::listening_on(&args.url))
}

/// Everyone is in a room and watches it; rooms are filled one after the other.
fn in_rooms(args: &Args, tag: &str) -> Vec<Seat> {
    let rooms = args.rooms();
    let room_of = |n: usize| n * rooms / args.clients;
    let sampled_every = (args.clients / SAMPLES).max(1);
    let seat = |n| Seat {
        user: format!("{tag}-{n}"),
        room: room_of(n),
        channel: format!("{ROOM}{tag}-{}", room_of(n)),
        member: Some(n),
        watches: true,
        is_sampled: n % sampled_every == 0,
    };
    (0..args.clients).map(seat).collect()
}

fn micros(it: Duration) -> f64 {
    it.as_secs_f64() * 1e6
}
