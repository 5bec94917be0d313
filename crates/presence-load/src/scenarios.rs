//! The scenarios: what is measured, and how.

mod bigroom;
mod churn;
mod fanout;
mod idle;
mod storm;

use std::time::Duration;

use anyhow::Result;

use crate::args::{Args, Scenario};
use crate::machine::Process;
use crate::report::Outcome;
use crate::stock::ROOM;
use crate::virtual_user::VirtualUser;

/// About how many clients of a run decode every frame.
const SAMPLES: usize = 50;

/// Runs the scenario of `args`; `run` is the number of this run.
pub(crate) async fn run(args: &Args, run: usize) -> Result<Outcome> {
    // No run meets the users of another, not even those whose grace has not ended.
    let scenario = format!("{:?}-{:?}", args.scenario, args.protocol).to_lowercase();
    let tag = format!("{scenario}-{}-{run}", std::process::id());
    match args.scenario {
        Scenario::Idle => idle::run(args, &tag).await,
        Scenario::Fanout => fanout::run(args, &tag).await,
        Scenario::Storm => storm::run(args, &tag).await,
        Scenario::Churn => churn::run(args, &tag).await,
        Scenario::Bigroom => bigroom::run(args, &tag).await,
        Scenario::Smoke | Scenario::BareServer => unreachable!("these are taken apart before"),
    }
}

/// The process of the gateway, named by `--pid` or found by its port.
fn gateway(args: &Args) -> Option<Process> {
    let named = args.pid.map(Process::with_id);
    named.or_else(|| Process::listening_on(&args.url))
}

/// The virtual users of clients that are all in a room and watch it; rooms are filled one after the other.
fn in_rooms(args: &Args, tag: &str) -> Vec<VirtualUser> {
    let rooms = args.rooms();
    let room_of = |n: usize| n * rooms / args.clients;
    let sampled_every = (args.clients / SAMPLES).max(1);
    let vu = |n| VirtualUser {
        user: format!("{tag}-{n}"),
        room: room_of(n),
        channel: format!("{ROOM}{tag}-{}", room_of(n)),
        member: Some(n),
        watches: true,
        is_sampled: n % sampled_every == 0,
    };
    (0..args.clients).map(vu).collect()
}

fn micros(it: Duration) -> f64 {
    it.as_secs_f64() * 1e6
}
