//! Clients that read slowly, or not at all.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::SinkExt;
use presence_client::wire::{Command, Json, Target, command};
use presence_client::{Client, Options};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{changes, p50_p99, p99_max, quiet};
use crate::report::Figure;
use crate::stage::Stage;

/// What is told in the room of the slow: 2 MB a second.
const PAYLOAD_BYTES: usize = 48 * 1024;
const TOLD_EVERY: Duration = Duration::from_millis(25);

/// The channel that the slow readers watch.
const ROOM: &str = "flood:1";

/// How much the system keeps for somebody who does not read.
const RECEIVE_BYTES: u32 = 4096;

/// How much a slow one reads in a second.
const SLOW_BYTES: usize = 100;

/// How long a gateway waits for somebody who reads nothing.
const WRITE_WAIT: Duration = Duration::from_secs(10);

/// How long a flood may take to fill everything up before that.
const FILL_TIME_MAX: Duration = Duration::from_secs(20);

/// The most that a connection keeps: its outbox, a write, and what the gateway's memory is more than that.
const KEPT_MB_MAX: f64 = 0.6;

/// 9: conflated, bounded; those who read nothing are closed after a limit; others unaffected.
pub(super) fn readers(stage: &mut Stage) -> Result<()> {
    let plan = stage.wanted.plan(150, 1000);
    let mut crowd = stage.gather(&plan)?;
    let count = stage.wanted.pick(10, 20);
    crowd.change(50.0, stage.wanted.seed);
    let (quiet_from, quiet_until) = quiet(stage, &crowd);
    let before = stage.memory_mb(0);

    let since = crowd.now();
    let address = stage.cluster.gateways[0].address();
    let url = format!("ws://{address}/ws");
    let (closed, still_there) = crowd.run(async {
        let mut silent = JoinSet::new();
        let mut slow = JoinSet::new();
        for number in 0..count {
            silent.spawn(reads_nothing(url.clone(), number));
            slow.spawn(reads_slowly(url.clone(), number));
        }
        let flood = tokio::spawn(flood(url.clone()));
        let closed: Vec<_> = silent.join_all().await;
        flood.abort();
        let mut still_there = 0;
        while let Some(task) = slow.try_join_next() {
            task.context("a slow reader")??;
            still_there -= 1;
        }
        still_there += count;
        slow.abort_all();
        anyhow::Ok((closed, still_there))
    })?;
    let until = crowd.now();
    let grown = stage.memory_mb(0) - before;
    crowd.stop_changing();
    crowd.settle(Duration::from_secs(10));

    let mut longest = 0.0_f64;
    for closed in closed {
        longest = longest.max(closed?.as_secs_f64());
    }
    let most = (WRITE_WAIT + FILL_TIME_MAX).as_secs_f64();
    stage.add(Figure::at_most(
        "I7",
        "who read nothing was closed after",
        longest,
        "s",
        most,
    ));
    stage.interest(
        format!("who read {SLOW_BYTES} B/s and is still there, of {count}"),
        f64::from(still_there),
        "",
    );
    stage.add(Figure::at_most(
        "I7",
        "the gateway's memory grew by",
        grown,
        "MB",
        f64::from(2 * count) * KEPT_MB_MAX + 16.0,
    ));
    let findings = stage.judge(&crowd, until, "the flood", Duration::from_secs(10));
    stage.judge_losses(&crowd, since, &[]);
    let (_, before) = p50_p99(changes(&findings, quiet_from, quiet_until, |_| true));
    let (_, meanwhile) = p50_p99(changes(&findings, since, until, |_| true));
    stage.interest("p99 of changes for the others, quiet", before, "ms");
    stage.add(Figure::at_most(
        "I8",
        "p99 of changes for the others, meanwhile",
        meanwhile,
        "ms",
        p99_max(stage, before),
    ));
    Ok(())
}

/// Tells the room more than the slow can read.
async fn flood(url: String) -> Result<()> {
    let mut client = Client::connect(&Options::user(&url, "flood")).await?;
    let join = command::Join {
        ref_: None,
        channel: ROOM.to_owned(),
        meta: None,
        watch: Some(false),
        mode: None,
        have: None,
    };
    client.request(join.into()).await?;
    let tell = Command::Broadcast(command::Broadcast {
        ref_: None,
        channel: ROOM.to_owned(),
        event: "flood".to_owned(),
        payload: Some(Json::of(&"x".repeat(PAYLOAD_BYTES))?),
    });
    let mut tick = interval(TOLD_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => client.send(&tell).await?,
            event = client.next() => if event.is_none() {
                bail!("the one who floods was closed: {:?}", client.ending());
            },
        }
    }
}

/// Watches, reads nothing, says now and then that it is there, and tells after how long it was closed.
async fn reads_nothing(url: String, number: u32) -> Result<Duration> {
    let mut socket = watches(&url, &format!("silent{number}")).await?;
    let start = Instant::now();
    let heartbeat = Command::Heartbeat(command::Heartbeat { ref_: None }).to_json();
    loop {
        sleep(Duration::from_millis(500)).await;
        // Who is closed and still has something to read is told only when it writes.
        let said = timeout(
            Duration::from_secs(5),
            socket.send(Message::text(heartbeat.clone())),
        )
        .await;
        if !matches!(said, Ok(Ok(()))) {
            return Ok(start.elapsed());
        }
        if start.elapsed() > 2 * (WRITE_WAIT + FILL_TIME_MAX) {
            return Ok(Duration::MAX);
        }
    }
}

/// Watches and reads a few bytes a second, until it is closed.
async fn reads_slowly(url: String, number: u32) -> Result<()> {
    let socket = watches(&url, &format!("slow{number}")).await?;
    let mut stream = socket.into_inner();
    let mut bytes = [0; SLOW_BYTES];
    while stream.read(&mut bytes).await.is_ok_and(|length| length > 0) {
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn watches(url: &str, user: &str) -> Result<WebSocketStream<TcpStream>> {
    let address = url
        .trim_start_matches("ws://")
        .trim_end_matches("/ws")
        .parse()?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    let stream = socket.connect(address).await?;
    let request = format!("{url}?user_id={user}");
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
    let watch = Command::Watch(command::Watch {
        ref_: None,
        target: Target::Channel(ROOM.to_owned()),
        mode: None,
        have: None,
    });
    socket.send(Message::text(watch.to_json())).await?;
    Ok(socket)
}
