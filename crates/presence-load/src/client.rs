//! One client of a run: it connects, waits for the start, makes its changes when they are due, and notes
//! what it receives.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use presence_client::wire::event::{Change, User};
use presence_client::wire::{Epoch, Event, Have, TopicId};
use presence_client::{Frame, Picture};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::endpoint::Endpoint;
use crate::frame_kind::FrameKind;
use crate::line::Line;
use crate::schedule::{Mark, Schedule};
use crate::virtual_user::VirtualUser;

/// How long connecting and joining may take.
const COME_TIME_MAX: Duration = Duration::from_secs(30);

/// The epoch for dialects without versions: changes are counted from the start of a run.
pub(crate) const COUNTED: Epoch = Epoch(0);

/// What all clients of a run share.
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) schedule: Schedule,
    /// The changes that all clients have received, which shows when the run is over.
    pub(crate) received: AtomicU64,
    /// How many clients have joined.
    pub(crate) seated: AtomicU32,
    /// Permits to connect: how many clients may connect at the same time.
    pub(crate) connecting: Semaphore,
}

/// The phase of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// The clients connect and join.
    Coming,
    /// The run has started: all changes are due from this moment on.
    Started(Instant),
    /// The run is over: everyone may leave.
    Over,
}

/// What one client has received.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) vu: VirtualUser,
    /// The version it had at the start, and the one it has now.
    pub(crate) base: Option<Have>,
    pub(crate) have: Option<Have>,
    /// Since the start: changes, their bytes, and whole states that came instead of changes.
    pub(crate) steps: u64,
    pub(crate) bytes: u64,
    pub(crate) wholes: u64,
    /// When the last change arrived.
    pub(crate) last: Option<Instant>,
    pub(crate) sample: Option<Sample>,
    pub(crate) problems: Vec<String>,
}

/// What a sampled client has received besides.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) picture: Picture,
    /// The number of the latest change of each member.
    pub(crate) latest: HashMap<usize, usize>,
    /// The time from when a change was due until this client received it, in µs.
    pub(crate) micros: Vec<u64>,
}

/// Runs one client from before the start to the end. Sends on `ready` when it has joined.
///
/// Returns its connection for [`Line::leave`]: if one client left while others still counted, they would receive that.
pub(crate) async fn run_vu(
    vu: VirtualUser,
    shared: Arc<Shared>,
    ready: mpsc::Sender<()>,
    mut phase: watch::Receiver<Phase>,
) -> (Seen, Option<Line>) {
    let mut seen = Seen::new(vu);
    let come = async {
        let _permit = shared
            .connecting
            .acquire()
            .await
            .expect("connecting are never closed");
        timeout(COME_TIME_MAX, come(&mut seen, &shared)).await
    };
    let come = come.await;
    // The receiver is gone only if the run was given up.
    let _ = ready.send(()).await;
    let line = match come {
        Ok(Ok(line)) => stay(line, &mut seen, &shared, &mut phase).await,
        Ok(Err(why)) => {
            seen.problems.push(why);
            None
        }
        Err(_) => {
            let why = "a client did not get in in time".to_owned();
            seen.problems.push(why);
            None
        }
    };
    (seen, line)
}

/// Connects, joins or watches, and waits for the whole state.
async fn come(seen: &mut Seen, shared: &Shared) -> Result<Line, String> {
    let mut line = Line::open(&shared.endpoint, &seen.vu).await?;
    line.enter(&seen.vu).await?;
    while seen.vu.watches && seen.have.is_none() {
        let Some(frame) = line.next().await else {
            return Err(line.cut_off());
        };
        seen.see(&line, &frame, None, &shared.schedule);
    }
    Ok(line)
}

/// Waits for the start, and then makes the changes that are due until the end.
async fn stay(
    mut line: Line,
    seen: &mut Seen,
    shared: &Shared,
    phase: &mut watch::Receiver<Phase>,
) -> Option<Line> {
    let heartbeat = line.heartbeat_interval();
    // Spread, as real clients are.
    let spread = shared.spread();
    let mut heartbeat_at = Instant::now() + heartbeat * spread / 1000;
    let mut start: Option<Instant> = None;
    seen.base = seen.have;
    let due = seen.vu.member.map_or(&[][..], |it| shared.schedule.of(it));
    let mut change = 0;
    let wake = sleep_until(heartbeat_at);
    tokio::pin!(wake);
    loop {
        let due_at = start.and_then(|start| due.get(change).map(|after| start + *after));
        let wake_at = due_at.map_or(heartbeat_at, |it| it.min(heartbeat_at));
        if wake.deadline() != wake_at {
            wake.as_mut().reset(wake_at);
        }
        let sent = tokio::select! {
            biased;
            () = wake.as_mut() => {
                if due_at == Some(wake_at) {
                    change += 1;
                    let mark = Mark {
                        member: seen.vu.member.expect("only members have changes"),
                        change: change - 1,
                    };
                    line.update(&seen.vu, mark).await
                } else {
                    heartbeat_at += heartbeat;
                    line.heartbeat().await
                }
            }
            frame = line.next() => match frame {
                Some(frame) => {
                    let steps = seen.steps;
                    seen.see(&line, &frame, start, &shared.schedule);
                    shared.received.fetch_add(seen.steps - steps, Ordering::Relaxed);
                    Ok(())
                }
                None => {
                    seen.problems.push(line.cut_off());
                    return None;
                }
            },
            changed = phase.changed() => match *phase.borrow_and_update() {
                _ if changed.is_err() => return None, // The run was given up.
                Phase::Coming => Ok(()),
                Phase::Started(at) => {
                    start = Some(at);
                    seen.start_counting();
                    Ok(())
                }
                Phase::Over => return Some(line),
            },
        };
        if let Err(error) = sent {
            seen.problems.push(format!("a client cannot send: {error}"));
            return None;
        }
    }
}

impl Shared {
    /// A number below 1,000 that differs from client to client, to spread them.
    fn spread(&self) -> u32 {
        let n = self.seated.fetch_add(1, Ordering::Relaxed);
        // Neighbours are far from each other.
        n.wrapping_mul(617) % 1000
    }
}

impl Seen {
    fn new(vu: VirtualUser) -> Self {
        let place = TopicId::Channel(vu.channel.as_str().into());
        let sample = vu.is_sampled.then(|| Sample {
            picture: Picture::of(place),
            latest: HashMap::new(),
            micros: Vec::new(),
        });
        Seen {
            vu,
            base: None,
            have: None,
            steps: 0,
            bytes: 0,
            wholes: 0,
            last: None,
            sample,
            problems: Vec::new(),
        }
    }

    fn start_counting(&mut self) {
        if let Some(have) = self.have.as_mut().filter(|it| it.epoch == COUNTED) {
            have.version = 0;
        }
        self.base = self.have;
        (self.steps, self.bytes, self.wholes) = (0, 0, 0);
    }

    fn see(&mut self, line: &Line, frame: &Frame, start: Option<Instant>, schedule: &Schedule) {
        let now = Instant::now();
        let kind = match line.kind_of(frame) {
            // Action Cable begins with a message that is both.
            FrameKind::Step(None) if self.have.is_none() => FrameKind::Whole(None),
            it => it,
        };
        match kind {
            FrameKind::Whole(got) => {
                self.wholes += 1;
                self.have = got.or(self.have).or(Some(Have {
                    epoch: COUNTED,
                    version: 0,
                }));
            }
            FrameKind::Step(got) => self.step(got, frame, now),
            FrameKind::Error => self.problems.push(match frame.decode() {
                Ok(Event::Error(it)) => format!("refused, {}: {}", it.code, it.message),
                _ => format!("not understood: {frame:?}"),
            }),
            FrameKind::Other => {}
        }
        let member = self.vu.member;
        let Some(sample) = &mut self.sample else {
            return;
        };
        if let (Line::Stock(_), Frame::Text(text)) = (line, frame) {
            for mark in Mark::all_in(text).filter(|it| Some(it.member) != member) {
                sample.note(mark, now, start, schedule);
            }
            return;
        }
        let event = match frame.decode() {
            Ok(event) => event,
            Err(error) => return self.problems.push(format!("not understood: {error}")),
        };
        if let Err(gap) = sample.picture.apply(&event) {
            self.problems.push(format!("a picture has a gap: {gap}"));
        }
        for mark in marks(&event).filter(|it| Some(it.member) != member) {
            sample.note(mark, now, start, schedule);
        }
    }

    fn step(&mut self, got: Option<Have>, frame: &Frame, now: Instant) {
        let Some(have) = self.have else {
            return self
                .problems
                .push("a change came before the whole".to_owned());
        };
        let got = got.unwrap_or(Have {
            version: have.version + 1,
            ..have
        });
        if got.epoch == have.epoch && got.version <= have.version {
            return; // We have it already.
        }
        if got.epoch != have.epoch || got.version != have.version + 1 {
            self.problems.push("a version is missing".to_owned());
        }
        self.have = Some(got);
        self.steps += 1;
        self.last = Some(now);
        self.bytes += frame.bytes().len() as u64;
    }
}

impl Sample {
    /// Measurements that `mark` was received, and with it every earlier change of that member that it replaced.
    fn note(&mut self, mark: Mark, now: Instant, start: Option<Instant>, schedule: &Schedule) {
        let first = self.latest.get(&mark.member).map_or(0, |it| it + 1);
        if mark.change < first {
            return;
        }
        self.latest.insert(mark.member, mark.change);
        let Some(start) = start else { return };
        for after in schedule
            .of(mark.member)
            .iter()
            .take(mark.change + 1)
            .skip(first)
        {
            let micros = now.saturating_duration_since(start + *after).as_micros();
            self.micros.push(micros as u64);
        }
    }
}

/// The marks in the metas of `event`.
fn marks(event: &Event) -> impl Iterator<Item = Mark> {
    let users: Vec<&User> = match event {
        Event::UserJoined(it) | Event::UserUpdated(it) => vec![&it.user],
        Event::CurrentUsers(it) => it.users.iter().collect(),
        Event::Changes(it) => {
            let users = it.changes.iter().filter_map(|it| match it {
                Change::Joined(user) | Change::Updated(user) => Some(user),
                Change::Left { .. } => None,
            });
            users.collect()
        }
        _ => Vec::new(),
    };
    let metas = users.into_iter().flat_map(|it| &it.metas);
    metas.flat_map(|it| Mark::all_in(it.meta.as_str()))
}
