//! The service that puts people into the room without a socket, and says that they are still there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::PERSON;
use crate::args::ClusterMember;
use crate::report::Outcome;

/// How many people are in one call: as many as the API takes.
const BATCH: usize = 1000;
/// How long one call may take.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);

/// The service, and the people whom it puts into the room.
pub(super) struct Service {
    gateways: Vec<SocketAddr>,
    room: Arc<str>,
    /// The people of each call, and the gateway that is called for them.
    batches: Vec<(usize, Vec<String>)>,
}

/// The calls that say that everybody is still there.
pub(super) struct Beating {
    end: watch::Sender<()>,
    tasks: Vec<JoinHandle<Vec<String>>>,
}

impl Service {
    pub(super) fn new(gateways: &[ClusterMember], channel: &str, people: usize) -> Self {
        let gateways: Vec<_> = gateways.iter().map(|it| it.address).collect();
        let ids: Vec<String> = (0..people).map(|n| format!("{PERSON}{n:06}")).collect();
        let batches = ids.chunks(BATCH).enumerate();
        let batches = batches.map(|(n, ids)| (n % gateways.len(), ids.to_vec()));
        Service {
            batches: batches.collect(),
            room: format!("/api/presence/channel/{channel}").into(),
            gateways,
        }
    }

    /// Puts everybody into the room, each gateway one batch after the other. From then on each batch is kept there.
    pub(super) async fn join_all(&self) -> Result<Beating> {
        let (end, ended) = watch::channel(());
        let joining = (0..self.gateways.len()).map(|gateway| {
            let batches = self.batches.iter().filter(move |it| it.0 == gateway);
            let batches: Vec<_> = batches.map(|(_, ids)| ids.clone()).collect();
            let (address, room, ended) = (self.gateways[gateway], self.room.clone(), ended.clone());
            tokio::spawn(async move {
                let mut beating = Vec::new();
                for ids in batches {
                    let expires_in = join(address, &room, &ids).await?;
                    let (room, ended) = (room.clone(), ended.clone());
                    beating.push(tokio::spawn(beat(address, room, ids, expires_in, ended)));
                }
                anyhow::Ok(beating)
            })
        });
        let joining: Vec<_> = joining.collect();
        let mut tasks = Vec::new();
        for it in joining {
            tasks.extend(it.await??);
        }
        Ok(Beating { end, tasks })
    }

    /// Looks `count` people up by name on each gateway, one after the other. Returns how long each took, in µs.
    pub(super) async fn look_up(&self, count: usize, outcome: &mut Outcome) -> Result<Vec<u64>> {
        let people: Vec<&String> = self.batches.iter().flat_map(|it| &it.1).collect();
        let mut micros = Vec::new();
        for n in 0..count {
            for (g, address) in self.gateways.iter().enumerate() {
                let Some(nth) = (people.len() * n / count + g).checked_rem(people.len()) else {
                    return Ok(micros);
                };
                let (id, began) = (people[nth], Instant::now());
                let target = format!("{}/viewers?prefix={id}&user_id=looker-{n}", self.room);
                let page = call(*address, "GET", &target, "").await?;
                micros.push(u64::try_from(began.elapsed().as_micros())?);
                let found = &page["users"];
                let is_found = found[0]["id"] == id.as_str() && found[1].is_null();
                if !is_found {
                    outcome.problem(format!("{id} was looked up, and found was {found}"));
                }
            }
        }
        Ok(micros)
    }

    /// Checks that every gateway counts so many people.
    pub(super) async fn check_counts(&self, people: usize, outcome: &mut Outcome) -> Result<()> {
        for address in &self.gateways {
            let target = format!("{}/count?user_id=counter", self.room);
            let counted = call(*address, "GET", &target, "").await?;
            if counted["count"] != people {
                let count = &counted["count"];
                outcome.problem(format!("a gateway counts {count} of {people} people"));
            }
        }
        Ok(())
    }
}

impl Beating {
    /// Ends the calls. Returns what went wrong in them.
    pub(super) async fn stop(self) -> Result<Vec<String>> {
        drop(self.end);
        let mut problems = Vec::new();
        for task in self.tasks {
            problems.extend(task.await?);
        }
        Ok(problems)
    }
}

/// Joins one batch. Returns how long that lasts.
async fn join(address: SocketAddr, room: &str, ids: &[String]) -> Result<Duration> {
    let users = ids
        .iter()
        .map(|id| json!({"user_id": id, "meta": {"name": id}}));
    let body = json!({"users": users.collect::<Vec<_>>()}).to_string();
    let target = format!("{room}/bulk-join?user_id=service");
    let answer = call(address, "POST", &target, &body).await?;
    all_ok(&answer, ids.len())?;
    let seconds = answer["expires_in"]
        .as_u64()
        .context("it does not say how long")?;
    Ok(Duration::from_secs(seconds))
}

/// Says again and again that a batch is still there, three times as often as it must. Who is not there any more joins
/// again. Returns what went wrong.
async fn beat(
    address: SocketAddr,
    room: Arc<str>,
    ids: Vec<String>,
    expires_in: Duration,
    mut ended: watch::Receiver<()>,
) -> Vec<String> {
    let body = json!({"user_ids": ids}).to_string();
    let target = format!("{room}/bulk-heartbeat?user_id=service");
    let mut problems = Vec::new();
    loop {
        tokio::select! {
            () = sleep(expires_in / 3) => {}
            _ = ended.changed() => return problems,
        }
        let answer = call(address, "POST", &target, &body).await;
        let kept = answer.and_then(|it| all_ok(&it, ids.len()));
        if let Err(why) = kept {
            problems.push(format!("people of the service were not kept: {why:#}"));
            let again = join(address, &room, &ids).await;
            problems.extend(again.err().map(|why| format!("{why:#}")));
        }
    }
}

fn all_ok(answer: &Value, people: usize) -> Result<()> {
    let results = answer["results"].as_array().context("no results")?;
    let failed = results.iter().find(|it| it["ok"] != true);
    ensure!(
        failed.is_none(),
        "refused: {}",
        failed.unwrap_or(&Value::Null)
    );
    ensure!(
        results.len() == people,
        "{} results for {people}",
        results.len()
    );
    Ok(())
}

/// One call of the HTTP API. Returns the answer, which must be a good one.
async fn call(address: SocketAddr, method: &str, target: &str, body: &str) -> Result<Value> {
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        let head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all((head + body).as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(CALL_TIME_MAX, asking).await;
    let answer = answer.with_context(|| format!("no answer to {target}"))??;
    let (head, body) = answer.split_once("\r\n\r\n").context("not HTTP")?;
    if !head.starts_with("HTTP/1.1 200 ") {
        bail!("{target} was answered with {body}");
    }
    Ok(serde_json::from_str(body)?)
}
