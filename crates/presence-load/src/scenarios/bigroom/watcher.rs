//! One client in the room: it joins, makes its changes when they are due, and notes what it is sent.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use presence_client::wire::{After, Command, Event, Json, Order, Ref, TopicId, command};
use presence_client::{Client, Frame, Options, Protocol};
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::{LIVE, Phase, Place, Shared};
use crate::endpoint::READ_BUFFER_BYTES;
use crate::schedule::Mark;

/// How long connecting and joining may take.
const COME_TIME_MAX: Duration = Duration::from_secs(60);
/// How long after the end a window may need to show the last changes.
const LAST_TIME_MAX: Duration = Duration::from_secs(20);

/// What one client has seen.
pub(super) struct Seen {
    place: Place,
    /// The last count that it was told, and whether that was the right one.
    count: Option<u64>,
    is_exact: bool,
    /// The bytes of the frames that it was sent while changes were made.
    pub(super) bytes: u64,
    /// By how much its changes were sent later than they were due, in µs.
    pub(super) late_micros: Vec<u64>,
    /// `Some` for a client with a window.
    pub(super) view: Option<View>,
    pub(super) problems: Vec<String>,
    /// Its connection, which stays open until everybody has seen everything.
    pub(super) client: Option<Client>,
}

/// What a window shows.
#[derive(Default)]
pub(super) struct View {
    /// The clients in view, each with the last change of it that was shown; `None` if none was.
    latest: HashMap<usize, Option<usize>>,
    /// The time from when a change was due until the window showed it, in µs.
    pub(super) micros: Vec<u64>,
}

/// Runs one client from before the start to the end. Drops `joined` when it has joined.
pub(super) async fn run_watcher(
    place: Place,
    shared: Arc<Shared>,
    joined: mpsc::Sender<()>,
    phase: watch::Receiver<Phase>,
) -> Seen {
    let mut seen = Seen {
        view: place.has_window.then(View::default),
        place,
        count: None,
        is_exact: false,
        bytes: 0,
        late_micros: Vec::new(),
        problems: Vec::new(),
        client: None,
    };
    let come = timeout(COME_TIME_MAX, seen.come(&shared)).await;
    if matches!(come, Ok(Ok(_))) {
        shared.note_joined();
    }
    drop(joined);
    let stayed = match come {
        Ok(Ok(client)) => seen.stay(client, &shared, phase).await,
        Ok(Err(why)) => Err(why),
        Err(_) => Err(anyhow!("a client did not get in in time")),
    };
    match stayed {
        Ok(client) => seen.client = Some(client),
        Err(why) => seen.problems.push(format!("{why:#}")),
    }
    seen
}

impl Seen {
    /// Connects, joins, and opens the window.
    async fn come(&mut self, shared: &Shared) -> Result<Client> {
        let permit = shared.connecting.acquire().await?;
        let options = Options {
            protocol: Protocol::Json,
            read_buffer_bytes: READ_BUFFER_BYTES,
            ..Options::user(&self.place.url, &self.place.user)
        };
        let client = Client::connect(&options).await;
        let mut client = client.context("a client cannot connect")?;
        let join = command::Join {
            ref_: Some(Ref::from(1)),
            channel: shared.channel.clone(),
            meta: Some(self.meta(None)),
            watch: self.place.has_window.then_some(false),
            mode: None,
            have: None,
        };
        client.send(&join.into()).await?;
        loop {
            let text = next_text(&mut client).await?;
            // The summary may come before it.
            if kind_of(&text) == Some("ok") {
                break;
            }
            self.note(shared, &text, None)?;
        }
        drop(permit);
        if self.place.has_window {
            let opening = command::OpenWindow {
                ref_: None,
                place: TopicId::Channel(shared.channel.as_str().into()),
                window: 1,
                order: Some(Order::Name),
                prefix: None,
                after: Some(After {
                    joined_at: None,
                    name: Some(self.place.user.clone()),
                    user_id: None,
                }),
                limit: None,
            };
            client.send(&Command::OpenWindow(opening)).await?;
        }
        Ok(client)
    }

    /// Makes the changes that are due, and notes what it is sent, until the end.
    async fn stay(
        &mut self,
        mut client: Client,
        shared: &Shared,
        mut phase: watch::Receiver<Phase>,
    ) -> Result<Client> {
        let heartbeat = Duration::from_millis(client.hello().heartbeat_interval.max(1000));
        // Spread, as real clients are.
        let spread = (self.place.member as u32).wrapping_mul(617) % 1000;
        let mut heartbeat_at = Instant::now() + heartbeat * spread / 1000;
        let due = shared.schedule.of(self.place.member);
        let (mut change, mut start, mut deadline) = (0, None::<Instant>, None::<Instant>);
        while deadline.is_none() || change < due.len() || !self.is_right(shared) {
            let due_at = start.and_then(|start| due.get(change).map(|after| start + *after));
            let wakes = [due_at, Some(heartbeat_at), deadline];
            let wake_at = wakes.into_iter().flatten().min().unwrap_or(heartbeat_at);
            tokio::select! {
                text = next_text(&mut client) => self.note(shared, &text?, start)?,
                () = sleep_until(wake_at) => {
                    if deadline == Some(wake_at) {
                        let (count, people) = (self.count, shared.people);
                        bail!("a client counts {count:?} of {people}, or has not seen the last changes");
                    }
                    if due_at == Some(wake_at) {
                        let late = wake_at.elapsed().as_micros();
                        self.late_micros.push(u64::try_from(late)?);
                        let update = command::Update {
                            ref_: None,
                            channel: shared.channel.clone(),
                            meta: self.meta(Some(change)),
                        };
                        change += 1;
                        client.send(&Command::Update(update)).await?;
                    } else {
                        heartbeat_at += heartbeat;
                        client.heartbeat().await?;
                    }
                }
                changed = phase.changed() => match *phase.borrow_and_update() {
                    _ if changed.is_err() => bail!("the run was given up"),
                    Phase::Coming => {}
                    Phase::Started(at) => start = Some(at),
                    Phase::Over => deadline = Some(Instant::now() + LAST_TIME_MAX),
                },
            }
        }
        Ok(client)
    }

    /// The meta of the client after its change of that number.
    fn meta(&self, change: Option<usize>) -> Json {
        let member = self.place.member;
        let mark = change.map(|change| Mark { member, change }.to_string());
        Json::of(&json!({"name": self.place.user, "note": mark})).expect("it is JSON")
    }

    /// Notes what a frame says.
    fn note(&mut self, shared: &Shared, text: &str, start: Option<Instant>) -> Result<()> {
        let now = Instant::now();
        let end = start.map(|it| it + Duration::from_secs_f64(shared.seconds));
        if start.is_some_and(|it| it <= now) && end.is_some_and(|it| now < it) {
            self.bytes += text.len() as u64;
        }
        let count = match (kind_of(text), &mut self.view) {
            (Some("summary"), _) => Some(count_in(text).context("a summary without a count")?),
            (Some("window" | "windowChanges"), Some(view)) => {
                let count = view.apply(Event::from_json(text)?);
                for mark in Mark::all_in(text) {
                    view.show(mark, now, start, shared);
                }
                count
            }
            (Some("error"), _) => bail!("refused: {text}"),
            _ => None,
        };
        if let Some(count) = count {
            self.note_count(shared, count);
        }
        Ok(())
    }

    fn note_count(&mut self, shared: &Shared, count: u64) {
        self.count = Some(count);
        let is_exact = count == shared.people;
        if is_exact != self.is_exact {
            self.is_exact = is_exact;
            shared.note_exact(is_exact);
        }
    }

    /// Whether its count is right, and its window shows the last change of everybody in it.
    fn is_right(&self, shared: &Shared) -> bool {
        let last = |member: usize| shared.schedule.of(member).len().checked_sub(1);
        let mut latest = self.view.iter().flat_map(|it| &it.latest);
        self.is_exact && latest.all(|(member, latest)| *latest == last(*member))
    }
}

impl View {
    /// The clients that it has in view.
    pub(super) fn members(&self) -> impl Iterator<Item = usize> {
        self.latest.keys().copied()
    }

    /// Notes who is in view now. Returns the count, if the event has one.
    fn apply(&mut self, event: Event) -> Option<u64> {
        match event {
            Event::Window(it) => {
                let shown = it.users.iter().filter_map(|user| member_of(&user.id));
                self.latest = shown.map(|member| (member, None)).collect();
                Some(it.count)
            }
            Event::WindowChanges(it) => {
                for member in it.gone.iter().filter_map(|id| member_of(id)) {
                    self.latest.remove(&member);
                }
                for member in it.rows.iter().filter_map(|row| member_of(&row.user.id)) {
                    self.latest.entry(member).or_default();
                }
                it.count
            }
            _ => None,
        }
    }

    /// Notes that it shows `mark`, and with it every earlier change of that client that it replaced.
    fn show(&mut self, mark: Mark, now: Instant, start: Option<Instant>, shared: &Shared) {
        let latest = self.latest.entry(mark.member).or_default();
        let first = latest.map_or(0, |it| it + 1);
        if mark.change < first {
            return;
        }
        *latest = Some(mark.change);
        let Some(start) = start else { return };
        let due = &shared.schedule.of(mark.member)[first..=mark.change];
        let micros = due
            .iter()
            .map(|it| now.saturating_duration_since(start + *it).as_micros());
        self.micros.extend(micros.map(|it| it as u64));
    }
}

/// The number of the client whose id this is; `None` for those whom the service put into the room.
fn member_of(id: &str) -> Option<usize> {
    id.strip_prefix(LIVE)?.parse().ok()
}

async fn next_text(client: &mut Client) -> Result<Utf8Bytes> {
    match client.next_frame().await {
        Some(Frame::Text(text)) => Ok(text),
        Some(Frame::Binary(_)) => bail!("a frame is binary"),
        None => bail!("a client was cut off: {:?}", client.ending()),
    }
}

/// The sort of an event. A look at the text is much cheaper than decoding it, and there are very many.
fn kind_of(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(r#"{"type":"presence:"#)?;
    rest.split('"').next()
}

/// The count in the text of a summary. It comes before all people.
fn count_in(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(r#""count":"#)?;
    let end = rest.find(|it: char| !it.is_ascii_digit())?;
    rest[..end].parse().ok()
}
