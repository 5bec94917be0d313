//! A whole node: its shards, its stores, and the calls of the program that embeds it.

mod explaining;
mod operators;
mod reading;
mod service;
mod starting;

use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::Incarnation;
use presence_core::explain::ClientOrigin;
use presence_core::ports::{Leases, Sessions};
use presence_core::users::{Answer, Connection, Fingerprint, Input};
use presence_core::{
    ByteRate, DeviceId, Limits, Meta, Refusal, SessionId, Timing, UserId, WorkspaceId,
};
use tokio::sync::{mpsc, oneshot, watch};

pub use self::operators::MailboxDepth;
use self::starting::Local;
use crate::backlog::Backlog;
use crate::clock::WallClock;
use crate::counters::Counters;
use crate::explain::Inquirer;
use crate::holding::Seen;
use crate::lease::HandOff;
use crate::mailbox::{ReplyTo, RosterMessage, UserMessage};
use crate::session::{Budget, Heartbeats, Session, Windows};
use crate::shards::Shards;
use crate::tasks::Tasks;

/// What was asked of a shard of users, until the answer comes.
type Answering = oneshot::Receiver<Result<Answer, Refusal>>;

/// The settings of a hub. Every value is valid; zero shards count as one.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long things last, such as the ttl and the grace time.
    pub timing: Timing,
    /// How many there may be of each thing, such as sessions of one user.
    pub limits: Limits,
    /// The number of tasks that own users, and of as many tasks that own rosters. About one per core is good; the
    /// default is at most 8.
    pub shards: usize,
    /// The number of messages that may wait for one shard. A further command is refused with [`Busy`](crate::Busy).
    pub mailbox_max: usize,
    /// The number of bytes that may wait for one connection. When there are more, its events are conflated.
    pub outbox_bytes_max: usize,
    /// The number of bytes that may wait for all connections together. When there are more, the connections with the
    /// most are conflated, or ended.
    pub outboxes_bytes_max: usize,
    /// The rate of bytes at which one connection may ask for whole states. Further states are sent when the
    /// rate allows it.
    pub states: ByteRate,
    /// How long the profile of a user is kept after the user was last seen; `None` keeps it for ever.
    pub keep_unseen: Option<Duration>,
    /// The number of bytes that the history of transitions may take, for all shards together. When it is full, the
    /// oldest transitions are dropped; with 0 nothing is recorded. [`Hub::explain_user`] returns them.
    pub history_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Settings {
            timing: Timing::default(),
            limits: Limits::default(),
            shards: cores.min(8),
            mailbox_max: 8192,
            outbox_bytes_max: 256 * 1024,
            outboxes_bytes_max: 256 << 20,
            states: ByteRate {
                burst: 8 << 20,
                per_second: 1 << 20,
            },
            keep_unseen: None,
            history_bytes_max: 16 << 20,
        }
    }
}

/// What a connection needs to get a session.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    /// The user. The caller has authenticated them.
    pub user: UserId,
    /// The user's device that the connection is on.
    pub device: DeviceId,
    /// The workspaces in whose online lists the user appears through this session.
    pub workspaces: Vec<WorkspaceId>,
    /// The meta of the session in those workspaces.
    pub card: Arc<Meta>,
    /// The earlier connection whose session is to go on: its session id and epoch, from [`Session::connection`]. `None`
    /// begins a new session.
    ///
    /// The session goes on if it belongs to `user`, if this was its last connection, and if it has not ended: its
    /// connection is still open (then that one is closed with [`Reason::Replaced`](presence_core::Reason::Replaced)),
    /// or broke less than the grace time ago, on this node or on another one. Otherwise a new session begins;
    /// [`Session::is_restored`] says which.
    ///
    /// The hub does not check that the client may do this. An id is not a secret, so the caller must have verified it,
    /// for example with a signed resume token.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use presence_embedded::ProfileMemory;
    /// # use presence_hub::presence_core::{ChannelId, DeviceId, Event, Payload, UserId, Watching};
    /// # use presence_hub::{Delivery, ConnectRequest, Hub, Reference, Settings};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let hub = Hub::start(Settings::default(), Arc::new(ProfileMemory::default()));
    /// # let request = ConnectRequest::new(UserId::new("ann")?, DeviceId::new("web:1")?);
    /// let first = hub.connect(request.clone()).await?;
    /// let resume = Some(first.connection());
    /// drop(first); // the connection broke
    /// let second = hub.connect(ConnectRequest { resume, ..request }).await?;
    /// assert!(second.is_restored());
    /// # Ok(())
    /// # }
    /// ```
    pub resume: Option<Connection>,
    /// Where the connection comes from, for explanations; `None` if nobody needs to know.
    pub origin: Option<Arc<ClientOrigin>>,
}

impl ConnectRequest {
    /// What a connection needs that begins a new session of `user` on `device`, in no workspace. Set the other fields as
    /// you need them: `ConnectRequest { resume, ..ConnectRequest::new(user, device) }`.
    pub fn new(user: UserId, device: DeviceId) -> Self {
        ConnectRequest {
            user,
            device,
            workspaces: Vec::new(),
            card: Arc::default(),
            resume: None,
            origin: None,
        }
    }
}

/// A node: its users, its rosters, and everyone who watches them. A clone is a handle for the same node, and cheap.
#[derive(Clone, Debug)]
pub struct Hub {
    settings: Settings,
    clock: WallClock,
    people: Shards<UserMessage>,
    rosters: Shards<RosterMessage>,
    counters: Arc<Counters>,
    backlog: Arc<Backlog>,
    hand_offs: Option<mpsc::Sender<HandOff>>,
    tasks: Arc<Tasks>,
    /// The partitions of the shared store that this node looks after.
    partitions: Option<watch::Receiver<Arc<[u16]>>>,
    /// The leases of all nodes, as they were last read.
    leases: Option<watch::Receiver<Seen>>,
    /// What webhooks need, on a node that is alone.
    local: Option<Arc<Local>>,
    /// Where sessions are stored for the next process, if they are.
    sessions: Option<Arc<dyn Sessions>>,
    inquirer: Inquirer,
}

impl Hub {
    /// The leases of all nodes as this node last read them, with the incarnation that is this node. `None` on a node that
    /// is alone, and until the store has answered.
    pub fn leases(&self) -> Option<(Incarnation, Leases)> {
        self.leases.as_ref()?.borrow().clone()
    }

    /// The settings that the hub was started with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The clock of the hub: all its moments are by this clock.
    pub fn clock(&self) -> WallClock {
        self.clock
    }

    /// The counters of the hub, since it was started.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Lets a connection in, once the profile of its user has been read. A user whose profile cannot be read waits, or
    /// in a cluster is let in hidden after half a second.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooMany`] if the user has too many sessions. [`Refusal::Unavailable`] if the profile store does not
    /// answer, or if too many inputs wait for the user. [`Refusal::Stopped`] if the hub has stopped.
    pub async fn connect(&self, request: ConnectRequest) -> Result<Session, Refusal> {
        self.let_in(request, None).await
    }

    /// Lets a connection in, like [`connect`](Self::connect), for a client whose protocol has no resume token.
    /// After a restart of this node the client's session is held for it. The session goes on if `fingerprint` matches.
    ///
    /// # Errors
    ///
    /// The same as those of [`connect`](Self::connect).
    pub async fn connect_by_fingerprint(
        &self,
        request: ConnectRequest,
        fingerprint: Fingerprint,
    ) -> Result<Session, Refusal> {
        self.let_in(request, Some(fingerprint)).await
    }

    async fn let_in(
        &self,
        request: ConnectRequest,
        fingerprint: Option<Fingerprint>,
    ) -> Result<Session, Refusal> {
        let ConnectRequest {
            user,
            device,
            workspaces,
            card,
            resume,
            origin,
        } = request;
        let bytes_max = self.settings.outbox_bytes_max;
        let send_queue = self.backlog.open(bytes_max);
        let (reply, welcome) = oneshot::channel();
        let input = Input::Connected {
            session: SessionId::from_u128(random_u128()),
            resume,
            fingerprint,
            device,
            workspaces,
            card,
            origin,
            reply_to: ReplyTo::Welcome {
                send_queue: send_queue.clone(),
                reply,
            },
        };
        self.happened(&user, input).await?;
        let welcome = welcome.await.map_err(|_| Refusal::Stopped)??;
        let people = self.people.clone();
        let budget = Budget::new(self.clock, self.settings.states);
        Ok(Session::new(
            user,
            welcome,
            people,
            send_queue,
            (budget, Windows::new(self.settings.limits.windows_max)),
            Heartbeats::new(self.clock, self.settings.timing.heartbeat() / 2),
        ))
    }

    async fn happened(&self, user: &UserId, input: Input<ReplyTo>) -> Result<(), Refusal> {
        let message = UserMessage::Happened(user.clone(), input);
        let sent = self.people.of(user).send(message).await;
        sent.map_err(|_| Refusal::Stopped)
    }

    async fn ask(
        &self,
        user: &UserId,
        input: impl FnOnce(ReplyTo) -> Input<ReplyTo>,
    ) -> Result<Answer, Refusal> {
        let asked = self.begin(user, input).await?;
        asked.await.map_err(|_| Refusal::Stopped)?
    }

    /// Asks, and does not wait for the answer.
    async fn begin(
        &self,
        user: &UserId,
        input: impl FnOnce(ReplyTo) -> Input<ReplyTo>,
    ) -> Result<Answering, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.happened(user, input(ReplyTo::Caller(reply))).await?;
        Ok(answer)
    }
}

fn random_u128() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    u128::from_le_bytes(bytes)
}
