//! Everyone joins at once: how long until all are in, and until all see all.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use presence_client::wire::{Command, Event, Place, Target, command};
use presence_client::{Client, Options, Picture};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use crate::args::Args;
use crate::machine::Process;
use crate::report::Outcome;
use crate::scenarios::{gateway, in_rooms};
use crate::seat::{Seat, leave};

/// How many connect at the same time: no more than a listening socket queues.
const CONNECTING_MAX: usize = 512;
/// After this long somebody is never seen.
const TIME_MAX: Duration = Duration::from_secs(60);

/// When one client was in, and when it saw everyone.
struct Came {
    joined: Instant,
    complete: Instant,
}

pub(super) async fn run(args: &Args, tag: &str) -> Result<Outcome> {
    let process = gateway(args);
    let cpu = || process.and_then(Process::cpu);
    let seats = in_rooms(args, tag);
    let people: Vec<u64> = seats
        .iter()
        .fold(vec![0; args.rooms()], |mut people, seat| {
            people[seat.room] += 1;
            people
        });
    let doors = Arc::new(Semaphore::new(CONNECTING_MAX));
    let (end, ended) = watch::channel(());
    let (start, cpu_start, own_start) = (Instant::now(), cpu(), Process::own().cpu());
    let (tell, mut told) = tokio::sync::mpsc::channel(64);
    for seat in seats {
        let people = people[seat.room];
        let (args, doors, ended, tell) = (args.clone(), doors.clone(), ended.clone(), tell.clone());
        tokio::spawn(async move {
            let come = come(&args, &seat, people, &doors, start + TIME_MAX).await;
            let (came, client) =
                come.map_or_else(|it| (Err(it), None), |(it, client)| (Ok(it), Some(client)));
            // The receiver is gone only if the run was given up.
            let _ = tell.send(came).await;
            if let Some(client) = client {
                stay(client, ended).await;
            }
        });
    }
    drop(tell);

    let mut outcome = Outcome::default();
    let (mut joined, mut complete, mut clients) = (start, start, 0);
    for _ in 0..args.clients {
        match told.recv().await {
            Some(Ok(came)) => {
                joined = joined.max(came.joined);
                complete = complete.max(came.complete);
                clients += 1;
            }
            Some(Err(why)) => outcome.problem(format!("{why:#}")),
            None => break,
        }
    }
    let since =
        |start: Option<Duration>, end: Option<Duration>| Some((end? - start?).as_secs_f64());
    let (cpu, own_cpu) = (
        since(cpu_start, cpu()),
        since(own_start, Process::own().cpu()),
    );
    drop(end);

    let join_seconds = (joined - start).as_secs_f64();
    outcome.metric("in and seeing everyone", "clients", f64::from(clients));
    outcome.metric("expected", "clients", args.clients as f64);
    outcome.metric("until everyone is in", "s", join_seconds);
    outcome.metric(
        "until everyone sees everyone",
        "s",
        (complete - start).as_secs_f64(),
    );
    outcome.metric(
        "connected and joined",
        "/s",
        f64::from(clients) / join_seconds,
    );
    outcome.known("gateway CPU", "s", cpu);
    outcome.known("generator CPU", "s", own_cpu);
    Ok(outcome)
}

/// Connects, joins, and waits until it sees `people` people.
async fn come(
    args: &Args,
    seat: &Seat,
    people: u64,
    doors: &Semaphore,
    deadline: Instant,
) -> Result<(Came, Client)> {
    let door = doors.acquire().await?;
    let options = Options {
        protocol: args.protocol.into(),
        read_buffer_bytes: 2048,
        ..Options::user(&args.url, &seat.user)
    };
    let mut client = timeout_at(deadline, Client::connect(&options)).await??;
    drop(door);
    let join = command::Join {
        ref_: None,
        channel: seat.channel.clone(),
        meta: None,
        watch: None,
        mode: None,
        have: None,
    };
    timeout_at(deadline, client.request(join.into())).await??;
    let joined = Instant::now();
    let mut picture = Picture::of(Place::Channel(seat.channel.as_str().into()));
    while picture.have().is_none() || picture.count() != people {
        let Ok(event) = timeout_at(deadline, client.next()).await else {
            bail!("a client sees {} of {people} people", picture.count());
        };
        match event {
            Some(Event::Error(it)) => bail!("refused, {}: {}", it.code, it.message),
            Some(event) => {
                if picture.apply(&event).is_err() {
                    let again = watch_again(&picture, &seat.channel);
                    client.send(&again).await?;
                }
            }
            None => bail!("a client was cut off: {:?}", client.ending()),
        }
    }
    if picture.surprises() > 0 {
        bail!("changes do not fit");
    }
    let complete = Instant::now();
    Ok((Came { joined, complete }, client))
}

fn watch_again(picture: &Picture, channel: &str) -> Command {
    Command::Watch(command::Watch {
        ref_: None,
        target: Target::Channel(channel.to_owned()),
        mode: None,
        have: picture.have(),
    })
}

/// Reads on until the run has ended, and ends its session.
async fn stay(mut client: Client, mut ended: watch::Receiver<()>) {
    loop {
        tokio::select! {
            frame = client.next_frame() => if frame.is_none() { return },
            _ = ended.changed() => break,
        }
    }
    leave(client).await;
}
