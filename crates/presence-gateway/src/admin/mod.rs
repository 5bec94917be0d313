//! What an operator's page is told of a gateway: its levels now and over the last hour, and what is degraded.
//!
//! A task looks at counters once a second, and keeps a sample every ten seconds. Nothing here is done for a connection
//! or an event. Another gateway asks for the same with a [`Question`], through the store that they share.

mod beat;
mod connections;
mod degraded;
mod history;
mod peers;
mod question;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use presence_core::cluster::Incarnation;
use presence_core::{Timestamp, UserId};
use presence_hub::{Counts, Program};
use presence_native::end::Dismissal;
use presence_redis::Goodbye;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use self::beat::{Beat, Beats};
use self::degraded::Beginnings;
use self::history::Ring;
use self::peers::Peers;
use crate::app::App;

pub(crate) use self::beat::Levels;
pub(crate) use self::connections::{ConnectionLine, ConnectionsHere, Wanted};
pub(crate) use self::degraded::Degradation;
pub(crate) use self::history::{COLUMNS, Sample};
pub(crate) use self::peers::{Heard, Peer};
pub(crate) use self::question::{NodeHealth, Question, ROOMS_MAX, Reply, RoomLine};

/// How often the counters are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After how many looks a sample is kept: with [`LOOK_EVERY`], one in ten seconds.
const LOOKS_PER_SAMPLE: usize = 10;
/// How old the counts of users and channels may be that a page is shown.
const COUNTS_OLD_MAX: Duration = Duration::from_secs(2);
/// The most gateways whose goodbyes are read for one page.
const GOODBYES_READ_MAX: usize = 200;
/// The most connections that another gateway is told of at once.
const CONNECTIONS_MAX: usize = 1_000;

/// What is kept for operators.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    beats: Mutex<Beats>,
    ring: Mutex<Ring>,
    watch: Mutex<Beginnings>,
    counts: Mutex<Option<(Timestamp, Counts)>>,
    /// What is remembered of other gateways.
    peers: Mutex<Peers>,
    /// Woken when an operator asks this gateway to stop.
    pub(crate) drain: Arc<Notify>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in here is whole before and after each change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Lookout {
    /// The samples after `after`, oldest first.
    fn samples(&self, after: Timestamp) -> Vec<Sample> {
        lock(&self.ring).after(after)
    }

    /// What is remembered of a gateway.
    pub(crate) fn peer(&self, who: Incarnation) -> Peer {
        lock(&self.peers).peer(who)
    }

    /// Notes that a gateway has answered.
    pub(crate) fn answered(&self, who: Incarnation, heard: Heard) -> Peer {
        lock(&self.peers).answered(who, heard)
    }

    /// Notes that a gateway has not answered what was asked at `asked_at`.
    pub(crate) fn did_not_answer(&self, who: Incarnation, asked_at: Timestamp) -> Peer {
        lock(&self.peers).did_not_answer(who, asked_at)
    }
}

impl App {
    /// The levels of this gateway, as they were at the last look. The counts of users and channels are not older than
    /// [`COUNTS_OLD_MAX`].
    async fn levels(&self) -> Levels {
        let now = self.now();
        let known = *lock(&self.lookout.counts);
        let counts = match known {
            Some((at, counts)) if now.since(at) < COUNTS_OLD_MAX => counts,
            _ => self.count_again(now).await,
        };
        let mut beats = lock(&self.lookout.beats);
        beats.push(Beat::of(self));
        beats.levels(&counts)
    }

    async fn count_again(&self, now: Timestamp) -> Counts {
        let counts = self.hub.counts().await;
        *lock(&self.lookout.counts) = Some((now, counts));
        counts
    }

    /// What is degraded on this gateway.
    fn degradations(&self) -> Vec<Degradation> {
        lock(&self.lookout.watch).look(self)
    }

    /// What this gateway says of itself: with the samples after `after`, and with as many of the biggest and the busiest
    /// rooms as are wanted.
    pub(crate) async fn health(&self, after: Timestamp, rooms: usize) -> NodeHealth {
        let rooms = match rooms {
            0 => Vec::new(),
            limit => self.hub.room_levels(limit).await,
        };
        NodeHealth {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            asked_at_ms: self.now().as_millis(),
            started_at_ms: self.started_at.as_millis(),
            is_draining: self.is_draining(),
            levels: self.levels().await,
            degraded: self.degradations(),
            samples: self.lookout.samples(after),
            rooms: rooms.into_iter().map(RoomLine::from).collect(),
        }
    }

    async fn answer(&self, question: &[u8]) -> Vec<u8> {
        let Some(question) = Question::read(question) else {
            return Vec::new();
        };
        let reply = match question {
            Question::NodeHealth { after_ms, rooms } => {
                let after = Timestamp::from_millis(after_ms);
                let rooms = rooms.min(ROOMS_MAX);
                Reply::NodeHealth(Box::new(self.health(after, rooms).await))
            }
            Question::Drain { node, by } => Reply::Drains(self.drains(&node, by.as_deref())),
            Question::Connections {
                wanted,
                after,
                limit,
            } => {
                let limit = limit.min(CONNECTIONS_MAX);
                let after = after.as_deref();
                match self.connections_here(&wanted, after, limit).await {
                    Ok(here) => Reply::Connections(here),
                    Err(_) => return Vec::new(),
                }
            }
            Question::Disconnect { wanted, reconnect } => {
                let how = match reconnect {
                    true => Dismissal::Reconnect,
                    false => Dismissal::Leave,
                };
                match self.disconnect_here(&wanted, how).await {
                    Ok(count) => Reply::Disconnected(count),
                    Err(_) => return Vec::new(),
                }
            }
        };
        reply.bytes()
    }

    /// Begins to stop, if `node` is this gateway. `by` is the user who asked for it.
    fn drains(&self, node: &str, by: Option<&str>) -> bool {
        let me = self.hub.leases().map(|(me, _)| me.to_string());
        let is_me = me.is_some_and(|it| it == node);
        if is_me {
            let by = by.and_then(|it| it.parse().ok());
            self.drain_myself(by.as_ref());
        }
        is_me
    }

    /// Asks the program that runs this gateway to stop it, as a signal does. `by` is the operator who wants that.
    pub(crate) fn drain_myself(&self, by: Option<&UserId>) {
        self.journal.drain_asked(by);
        self.lookout.drain.notify_one();
    }

    /// Reads what `silent` gateways have said of their stops, unless Redis is away.
    pub(crate) async fn read_goodbyes(&self, silent: &[Incarnation]) {
        let Some(shared) = &self.shared else {
            return;
        };
        let unknown = {
            let peers = lock(&self.lookout.peers);
            let unknown = silent.iter().copied().filter(|it| !peers.has_stopped(*it));
            unknown.take(GOODBYES_READ_MAX).collect::<Vec<_>>()
        };
        let is_away = !self.hub.counters().shared_away_for().is_zero();
        if unknown.is_empty() || is_away {
            return;
        }
        let Ok(said) = shared.goodbyes(&unknown).await else {
            return; // what is known is shown, and they are asked for again with the next page
        };
        let mut peers = lock(&self.lookout.peers);
        for (who, goodbye) in unknown.into_iter().zip(said) {
            if let Some(goodbye) = goodbye {
                peers.said_goodbye(who, goodbye);
            }
        }
    }

    /// Those of `who` that have stopped on purpose, as far as Redis or this gateway knows.
    pub(crate) async fn stopped(&self, who: &[Incarnation]) -> Vec<Incarnation> {
        self.read_goodbyes(who).await;
        let peers = lock(&self.lookout.peers);
        let stopped = who.iter().copied().filter(|it| peers.has_stopped(*it));
        stopped.collect()
    }

    /// Tells the other gateways how far this one has got that stops on purpose.
    pub(crate) async fn say_goodbye(&self, goodbye: impl Fn(Timestamp) -> Goodbye) {
        let (Some(shared), Some((me, _))) = (&self.shared, self.hub.leases()) else {
            return;
        };
        if let Err(error) = shared.say_goodbye(me, goodbye(self.now())).await {
            tracing::debug!(%error, "cannot tell the other gateways that this one stops");
        }
    }
}

/// Has the gateway answer what other gateways ask of it.
pub(crate) fn answer_others(app: &Arc<App>) {
    let weak = Arc::downgrade(app);
    app.hub.answer_programs(Program::new(move |question| {
        let app = weak.upgrade();
        async move {
            match app {
                Some(app) => app.answer(&question).await,
                None => Vec::new(),
            }
        }
    }));
}

/// Looks at the counters at intervals, as long as the gateway lives.
pub(crate) async fn look_out(app: Weak<App>) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in 0_usize.. {
        looks.tick().await;
        let Some(app) = app.upgrade() else {
            return;
        };
        let beat = Beat::of(&app);
        lock(&app.lookout.beats).push(beat);
        app.degradations();
        if look % LOOKS_PER_SAMPLE == 0 {
            let counts = app.count_again(app.now()).await;
            let sample = lock(&app.lookout.beats).sample(&counts);
            lock(&app.lookout.ring).push(sample);
        }
    }
}
