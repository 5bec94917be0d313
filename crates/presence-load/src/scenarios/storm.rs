//! Everyone joins at once: how long it takes until all have joined, and until everyone sees everyone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Error, Result, bail};
use presence_client::wire::{Command, Event, Target, TopicId, command};
use presence_client::{Client, Frame, Picture};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use crate::args::Args;
use crate::crowd::Crowd;
use crate::endpoint::{Dialect, Endpoint};
use crate::frame_kind::FrameKind;
use crate::line::Line;
use crate::machine::Process;
use crate::report::Outcome;
use crate::scenarios::{gateway, in_rooms};
use crate::stock::Stock;
use crate::virtual_user::VirtualUser;

/// How many clients connect at the same time: no more than a listening socket queues.
const CONNECTING_MAX: usize = 512;
/// A client that has not seen everyone after this time never will.
const TIME_MAX: Duration = Duration::from_secs(60);

/// When one client had joined, and when it saw everyone.
struct Came {
    joined: Instant,
    complete: Instant,
}

// Longer than a screen because it is a story: each step follows from the one before.
pub(super) async fn run(args: &Args, tag: &str) -> Result<Outcome> {
    let process = gateway(args);
    let cpu = || process.and_then(Process::cpu);
    let vus = in_rooms(args, tag);
    let people: Vec<u64> = vus.iter().fold(vec![0; args.rooms()], |mut people, vu| {
        people[vu.room] += 1;
        people
    });
    let connecting = Arc::new(Semaphore::new(CONNECTING_MAX));
    let (end, ended) = watch::channel(());
    let memory_start = process.and_then(Process::memory_kb);
    let first = VirtualUser {
        user: format!("{tag}-witness"),
        member: None,
        ..vus[0].clone()
    };
    let endpoint = Endpoint {
        dialect: Dialect::Json,
        ..args.endpoint()
    };
    let (ready, readied) = oneshot::channel();
    let witness_ended = ended.clone();
    // On a thread of its own: what it notes must not wait for thousands of others.
    let witness = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = runtime.map_err(|it| it.to_string())?;
        runtime.block_on(witness(&endpoint, &first, ready, witness_ended))
    });
    // It says why, if it does not get there.
    let _ = readied.await;
    let (start, cpu_start, own_start) = (Instant::now(), cpu(), Process::own().cpu());
    let (tell, mut told) = tokio::sync::mpsc::channel(64);
    let mut tasks = Vec::new();
    for vu in vus {
        let people = people[vu.room];
        let (args, connecting, ended, tell) = (
            args.clone(),
            connecting.clone(),
            ended.clone(),
            tell.clone(),
        );
        tasks.push(tokio::spawn(async move {
            let come = come(&args, &vu, people, &connecting, start + TIME_MAX).await;
            let (came, line) =
                come.map_or_else(|it| (Err(it), None), |(it, line)| (Ok(it), Some(line)));
            // The receiver is gone only if the run was given up.
            let _ = tell.send(came).await;
            if let Some(line) = line {
                stay(line, ended).await;
            }
        }));
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
    let memory = process.and_then(Process::memory_kb);
    drop(end);
    for task in tasks {
        task.await?;
    }
    let gap = match witness.await? {
        Ok(told) => longest_gap(&told, complete),
        Err(why) => {
            outcome.problem(why);
            None
        }
    };

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
    let since_ms = |it: Duration| it.as_secs_f64() * 1e3;
    outcome.known(
        "longest time that a room told nothing",
        "ms",
        gap.map(since_ms),
    );
    let more = memory
        .zip(memory_start)
        .map(|(end, start)| (end - start) / 1e3);
    outcome.known(
        "gateway memory before",
        "MB",
        memory_start.map(|it| it / 1e3),
    );
    outcome.known("gateway memory more, everyone in", "MB", more);
    outcome.known("gateway CPU", "s", cpu);
    outcome.known("generator CPU", "s", own_cpu);
    Ok(outcome)
}

/// Connects, joins, and waits until it sees `people` people.
async fn come(
    args: &Args,
    vu: &VirtualUser,
    people: u64,
    connecting: &Semaphore,
    deadline: Instant,
) -> Result<(Came, Line)> {
    let permit = connecting.acquire().await?;
    let opened = timeout_at(deadline, Line::open(&args.endpoint(), vu)).await?;
    drop(permit);
    let came = match opened.map_err(Error::msg)? {
        Line::Native(mut client) => {
            let came = come_natively(&mut client, vu, people, deadline).await?;
            (came, Line::Native(client))
        }
        Line::Stock(mut stock) => {
            let came = come_as_others_do(&mut stock, people, deadline).await?;
            (came, Line::Stock(stock))
        }
    };
    Ok(came)
}

async fn come_natively(
    client: &mut Client,
    vu: &VirtualUser,
    people: u64,
    deadline: Instant,
) -> Result<Came> {
    let join = command::Join {
        ref_: None,
        channel: vu.channel.clone(),
        meta: None,
        watch: None,
        mode: None,
        have: None,
    };
    timeout_at(deadline, client.request(join.into())).await??;
    let joined = Instant::now();
    let mut picture = Picture::of(TopicId::Channel(vu.channel.as_str().into()));
    while picture.have().is_none() || picture.count() != people {
        let Ok(event) = timeout_at(deadline, client.next()).await else {
            bail!("a client sees {} of {people} people", picture.count());
        };
        match event {
            Some(Event::Error(it)) => bail!("refused, {}: {}", it.code, it.message),
            Some(event) => {
                if picture.apply(&event).is_err() {
                    let again = watch_again(&picture, &vu.channel);
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
    Ok(Came { joined, complete })
}

/// The same for dialects in which a client that joins is told of the room: it has joined when the first event arrives.
async fn come_as_others_do(stock: &mut Stock, people: u64, deadline: Instant) -> Result<Came> {
    let entered = timeout_at(deadline, stock.enter()).await?;
    entered.map_err(Error::msg)?;
    let mut joined = None;
    let mut crowd = Crowd::default();
    while joined.is_none() || crowd.count() != people {
        let Ok(text) = timeout_at(deadline, stock.next()).await else {
            bail!("a client sees {} of {people} people", crowd.count());
        };
        let Some(text) = text else {
            bail!("a client was cut off: {:?}", stock.ending());
        };
        stock.show(&text, &mut crowd)?;
        if matches!(
            stock.kind_of(&text),
            FrameKind::Whole(_) | FrameKind::Step(_)
        ) {
            joined.get_or_insert_with(Instant::now);
        }
    }
    Ok(Came {
        joined: joined.unwrap_or(deadline),
        complete: Instant::now(),
    })
}

/// Measurements when a client that only watches the room was sent something, until the run has ended.
async fn witness(
    endpoint: &Endpoint,
    vu: &VirtualUser,
    ready: oneshot::Sender<()>,
    mut ended: watch::Receiver<()>,
) -> Result<Vec<Instant>, String> {
    let mut line = Line::open(endpoint, vu).await?;
    line.enter(vu).await?;
    let mut ready = Some(ready);
    let mut told = Vec::new();
    loop {
        let frame: Option<Frame> = tokio::select! {
            frame = line.next() => frame,
            _ = ended.changed() => break,
        };
        let frame = frame.ok_or_else(|| line.cut_off())?;
        if matches!(
            line.kind_of(&frame),
            FrameKind::Whole(_) | FrameKind::Step(_)
        ) {
            told.push(Instant::now());
            if let Some(ready) = ready.take() {
                let _ = ready.send(()); // Gone only if the run was given up.
            }
        }
    }
    line.leave().await;
    Ok(told)
}

/// The longest time between two of these moments, from the first join until all had joined.
fn longest_gap(told: &[Instant], complete: Instant) -> Option<Duration> {
    // The first is what was there before.
    let told = told.get(1..)?;
    let while_coming = told.iter().filter(|it| **it <= complete);
    let ends = while_coming.clone().skip(1);
    while_coming.zip(ends).map(|(from, to)| *to - *from).max()
}

fn watch_again(picture: &Picture, channel: &str) -> Command {
    Command::Watch(command::Watch {
        ref_: None,
        target: Target::Channel(channel.to_owned()),
        mode: None,
        have: picture.have(),
    })
}

/// Reads on until the run has ended, and then ends its session.
async fn stay(mut line: Line, mut ended: watch::Receiver<()>) {
    loop {
        tokio::select! {
            frame = line.next() => if frame.is_none() { return },
            _ = ended.changed() => break,
        }
    }
    line.leave().await;
}
