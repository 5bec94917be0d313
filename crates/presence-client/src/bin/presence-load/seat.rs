//! One client of a run: comes, waits for the start, makes its changes when they are due, and notes what it sees.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use presence_client::wire::event::{Change, User};
use presence_client::wire::{Command, Event, Have, Json, Place, Target, command};
use presence_client::{Client, Frame, Options, Picture, Protocol};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::peek::{Peek, peek};
use crate::schedule::{Mark, Schedule};

/// How long connecting and joining may take.
const COME_TIME_MAX: Duration = Duration::from_secs(30);

/// Who sits where.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) user: String,
    pub(crate) room: usize,
    pub(crate) channel: String,
    /// Their number in the schedule, if they are in the channel; else they only watch it.
    pub(crate) member: Option<usize>,
    pub(crate) watches: bool,
    /// Whether every frame is decoded and looked into; else frames are counted.
    pub(crate) is_sampled: bool,
}

/// What all seats of a run share.
pub(crate) struct Hall {
    pub(crate) url: String,
    pub(crate) protocol: Protocol,
    pub(crate) schedule: Schedule,
    /// Changes received by all, so that the end of the run can be seen.
    pub(crate) received: AtomicU64,
    /// How many may be coming at the same time.
    pub(crate) doors: Semaphore,
}

/// How far the run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// Clients come.
    Coming,
    /// All changes are due from this moment on.
    Started(Instant),
    /// Everyone may go.
    Over,
}

/// What one seat has seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) seat: Seat,
    /// The state it had at the start, and the one it has.
    pub(crate) base: Option<Have>,
    pub(crate) have: Option<Have>,
    /// Since the start: changes, their bytes, and whole states that came instead of changes.
    pub(crate) steps: u64,
    pub(crate) bytes: u64,
    pub(crate) wholes: u64,
    /// When the last change came.
    pub(crate) last: Option<Instant>,
    pub(crate) sample: Option<Sample>,
    pub(crate) problems: Vec<String>,
}

/// What a sampled seat has seen besides.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) picture: Picture,
    /// The latest change of each member.
    pub(crate) latest: HashMap<usize, usize>,
    /// From when a change was due until it was seen here.
    pub(crate) micros: Vec<u64>,
}

/// Sits from before the start to the end. Says through `ready` that it has come.
///
/// Its connection it gives back, for [`leave`]: if one went while others still looked, they would see that.
pub(crate) async fn sit(
    seat: Seat,
    hall: Arc<Hall>,
    ready: mpsc::Sender<()>,
    mut phase: watch::Receiver<Phase>,
) -> (Seen, Option<Client>) {
    let mut seen = Seen::new(seat);
    let come = async {
        let _door = hall.doors.acquire().await.expect("doors are never closed");
        timeout(COME_TIME_MAX, come(&mut seen, &hall)).await
    };
    let come = come.await;
    // The receiver is gone only if the run was given up.
    let _ = ready.send(()).await;
    let client = match come {
        Ok(Ok(client)) => stay(client, &mut seen, &hall, &mut phase).await,
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
    (seen, client)
}

/// Ends the session of `client`, so that the next run finds an empty gateway.
pub(crate) async fn leave(mut client: Client) {
    let leave = command::Leave {
        ref_: None,
        channel: None,
    };
    // Too late to complain.
    let _ = client.send(&leave.into()).await;
}

/// Connects, joins or watches, and waits for the whole state.
async fn come(seen: &mut Seen, hall: &Hall) -> Result<Client, String> {
    let seat = seen.seat.clone();
    let options = Options {
        protocol: hall.protocol,
        read_buffer_bytes: 2048,
        ..Options::user(&hall.url, &seat.user)
    };
    let connected = Client::connect(&options).await;
    let mut client = connected.map_err(|it| match std::error::Error::source(&it) {
        Some(cause) => format!("a client cannot connect: {it}: {cause}"),
        None => format!("a client cannot connect: {it}"),
    })?;
    if !seat.watches {
        let join = join(&seat);
        let joined = client.request(join).await;
        joined.map_err(|it| format!("a member cannot join: {it}"))?;
        return Ok(client);
    }
    let command = match seat.member {
        Some(_) => join(&seat),
        None => Command::Watch(command::Watch {
            ref_: None,
            target: Target::Channel(seat.channel),
            mode: None,
            have: None,
        }),
    };
    let sent = client.send(&command).await;
    sent.map_err(|it| format!("a client cannot send: {it}"))?;
    while seen.have.is_none() {
        let Some(frame) = client.next_frame().await else {
            return Err(format!("a client was cut off: {:?}", client.ending()));
        };
        seen.see(&frame, None, &hall.schedule);
    }
    Ok(client)
}

fn join(seat: &Seat) -> Command {
    Command::Join(command::Join {
        ref_: None,
        channel: seat.channel.clone(),
        meta: None,
        watch: (!seat.watches).then_some(false),
        mode: None,
        have: None,
    })
}

/// Waits for the start, and then does what is due until the end.
async fn stay(
    mut client: Client,
    seen: &mut Seen,
    hall: &Hall,
    phase: &mut watch::Receiver<Phase>,
) -> Option<Client> {
    let heartbeat = Duration::from_millis(client.hello().heartbeat_interval.max(1000));
    // Spread, as real clients are.
    let spread = (client.hello().session.0 % 1000) as u32;
    let mut heartbeat_at = Instant::now() + heartbeat * spread / 1000;
    let mut start: Option<Instant> = None;
    seen.base = seen.have;
    let due = seen.seat.member.map_or(&[][..], |it| hall.schedule.of(it));
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
                    client.send(&update(&seen.seat, change - 1)).await
                } else {
                    heartbeat_at += heartbeat;
                    client.heartbeat().await
                }
            }
            frame = client.next_frame() => match frame {
                Some(frame) => {
                    let steps = seen.steps;
                    seen.see(&frame, start, &hall.schedule);
                    hall.received.fetch_add(seen.steps - steps, Ordering::Relaxed);
                    Ok(())
                }
                None => {
                    seen.problems.push(format!("a client was cut off: {:?}", client.ending()));
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
                Phase::Over => return Some(client),
            },
        };
        if let Err(error) = sent {
            seen.problems.push(format!("a client cannot send: {error}"));
            return None;
        }
    }
}

/// The change of that number.
fn update(seat: &Seat, change: usize) -> Command {
    let member = seat.member.expect("only members have changes");
    let mark = Mark { member, change };
    Command::Update(command::Update {
        ref_: None,
        channel: seat.channel.clone(),
        meta: Json::of(&mark).expect("a mark is JSON"),
    })
}

impl Seen {
    fn new(seat: Seat) -> Self {
        let place = Place::Channel(seat.channel.as_str().into());
        let sample = seat.is_sampled.then(|| Sample {
            picture: Picture::of(place),
            latest: HashMap::new(),
            micros: Vec::new(),
        });
        Seen {
            seat,
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
        self.base = self.have;
        (self.steps, self.bytes, self.wholes) = (0, 0, 0);
    }

    fn see(&mut self, frame: &Frame, start: Option<Instant>, schedule: &Schedule) {
        let now = Instant::now();
        match peek(frame) {
            Peek::Whole(got) => {
                self.wholes += 1;
                self.have = Some(got);
            }
            Peek::Step(got) => self.step(got, frame, now),
            Peek::Error => self.problems.push(match frame.decode() {
                Ok(Event::Error(it)) => format!("refused, {}: {}", it.code, it.message),
                other => format!("not understood: {other:?}"),
            }),
            Peek::Other => {}
        }
        let member = self.seat.member;
        let Some(sample) = &mut self.sample else {
            return;
        };
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

    fn step(&mut self, got: Have, frame: &Frame, now: Instant) {
        let Some(have) = self.have else {
            return self
                .problems
                .push("a change came before the whole".to_owned());
        };
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
    /// Notes that `mark` is seen, and with it every change of that member that it has replaced.
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

/// The marks in the metas that `event` shows.
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
    metas.filter_map(|it| serde_json::from_str(it.meta.as_str()).ok())
}
