//! Clients as applications have them: each remembers where it wants to be, and says so again when it comes back.

mod life;

mod native;
mod phoenix;
mod pusher;
mod socket;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use self::life::Life;
pub(crate) use self::pusher::APP;
use super::journal::{Ask, Choice, Journal, Look, Outcome, People, Room, UserId, View, VuId};

/// Orders that wait. A client is told one by one, so that more are a fault of the run.
const ORDERS_MAX: usize = 256;

/// What all clients of a run share.
pub(crate) struct Shared {
    pub(crate) journal: Journal,
    /// The address of each gateway, such as `127.0.0.1:4001`.
    pub(crate) addresses: Vec<String>,
    /// The user ids whose status watchers watch.
    pub(crate) users: Vec<UserId>,
    closed: Mutex<BTreeSet<usize>>,
}

/// The protocol of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Dialect {
    /// The native protocol, as JSON.
    Json,
    /// The native protocol, as postcard.
    Binary,
    Phoenix,
    Pusher,
}

impl Dialect {
    /// Whether it has a word for choosing a status.
    pub(crate) fn has_statuses(self) -> bool {
        self != Dialect::Pusher
    }

    /// Whether a connection is somebody before it has joined anything.
    pub(crate) fn is_somebody_at_once(self) -> bool {
        self != Dialect::Pusher
    }

    /// Whether it tells the sessions of a person apart, and tells one of oneself.
    pub(crate) fn tells_sessions(self) -> bool {
        self != Dialect::Pusher
    }
}

/// One client of a run: its user, its protocol and its habits.
#[derive(Clone, Debug)]
pub(crate) struct VirtualUser {
    pub(crate) id: VuId,
    /// The person; a watcher is nobody whom others look for.
    pub(crate) user: Option<UserId>,
    pub(crate) dialect: Dialect,
    pub(crate) home: Home,
    /// What it says after it was restored.
    pub(crate) manners: Manners,
    /// Whether it looks at the rooms that it is in.
    pub(crate) eyes: Eyes,
    /// The rooms that it looks at without being in them. Who has any looks at all users, too.
    pub(crate) watches: Vec<Room>,
}

/// Whether a client looks at the rooms that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Eyes {
    Open,
    Shut,
}

/// Where a client goes when its connection has ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// To another gateway, if it can.
    Anywhere,
    /// To the same gateway, until it is there again.
    Gateway(usize),
    /// At no gateway, until an order says where.
    Nowhere,
}

/// What a client says after it was restored. A client with a new session always says where it wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Manners {
    /// Its joins once more, as the browser library does.
    JoinsAgain,
    /// Nothing: its session is still in its rooms.
    Relies,
}

/// What a client is told to do.
#[derive(Clone, Debug)]
pub(crate) enum Order {
    /// Connect to that gateway, with the session it had or as a new one.
    Connect(usize, Resume),
    /// Be in a room, or say something new there.
    Join(Room),
    Leave(Room),
    Choose(Choice),
    Type(Room),
    /// Say goodbye and stay away.
    Goodbye,
    /// Drop the connection and stay away.
    Vanish,
    /// Keep the connection, and neither read nor write.
    HalfOpen,
}

/// Whether a client asks for the session that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Resume {
    Yes,
    No,
}

/// An order, and who wants to know how it went.
pub(crate) struct Given {
    order: Order,
    done: Option<oneshot::Sender<Outcome>>,
}

/// What a client sends to its gateway.
pub(crate) enum Say {
    Ask(u32, Ask),
    Type(Room),
    Watch(Room),
    WatchUsers(Vec<UserId>),
    Heartbeat,
}

/// What a client receives from its gateway.
pub(crate) enum Heard {
    Answer(u32, Outcome),
    Whole(Room, People),
    Joined(Room, UserId, View),
    Updated(Room, UserId, View),
    Left(Room, UserId, String),
    Saw(UserId, Look),
    /// The picture of a room has a gap.
    Gap(Room),
    /// The gateway closes, and says how long to wait before connecting again.
    ComeBack(Duration),
}

/// How a client was let in.
pub(crate) struct Welcome {
    pub(crate) resume: Option<String>,
    pub(crate) is_restored: bool,
    pub(crate) heartbeat: Duration,
}

/// A client that lives on the runtime and takes orders.
#[derive(Clone)]
pub(crate) struct Handle {
    orders: mpsc::Sender<Given>,
}

impl Shared {
    pub(crate) fn new(addresses: Vec<String>, users: Vec<UserId>) -> Shared {
        Shared {
            journal: Journal::start(),
            addresses,
            users,
            closed: Mutex::default(),
        }
    }

    /// A load balancer sends nobody to that gateway any more, or does again.
    pub(crate) fn open(&self, gateway: usize, is_open: bool) {
        match is_open {
            true => self.closed().remove(&gateway),
            false => self.closed().insert(gateway),
        };
    }

    /// A gateway for somebody who was lost at another one.
    fn another(&self, not_at: Option<usize>) -> usize {
        let closed = self.closed();
        let all = 0..self.addresses.len();
        let open: Vec<usize> = all.filter(|it| !closed.contains(it)).collect();
        let others: Vec<usize> = open
            .iter()
            .copied()
            .filter(|it| Some(*it) != not_at)
            .collect();
        let choice = if others.is_empty() { open } else { others };
        match choice.len() {
            0 => 0,
            count => choice[fastrand::usize(..count)],
        }
    }

    fn closed(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl VirtualUser {
    /// A page of somebody, which looks at the rooms it is in and comes back when it was lost.
    pub(crate) fn page(id: VuId, user: UserId, dialect: Dialect) -> VirtualUser {
        VirtualUser {
            id,
            user: Some(user),
            dialect,
            home: Home::Anywhere,
            manners: Manners::JoinsAgain,
            eyes: Eyes::Open,
            watches: Vec::new(),
        }
    }

    /// The user id that it connects with.
    pub(crate) fn name(&self) -> String {
        match self.user {
            Some(user) => user.name(),
            None => format!("watcher{}", self.id.0),
        }
    }
}

impl Handle {
    /// Lets a client live on the runtime that this is called on.
    pub(crate) fn spawn(vu: VirtualUser, shared: Arc<Shared>) -> Handle {
        let (orders, given) = mpsc::channel(ORDERS_MAX);
        tokio::spawn(Life::new(vu, shared).live(given));
        Handle { orders }
    }

    /// Gives an order that nobody waits for. One too many for a client that does not get to it is not given.
    pub(crate) fn tell(&self, order: Order) {
        let _ = self.orders.try_send(Given { order, done: None });
    }

    /// Gives an order; what comes out of the receiver is how it went.
    pub(crate) fn ask(&self, order: Order) -> oneshot::Receiver<Outcome> {
        let (done, told) = oneshot::channel();
        let done = Some(done);
        // Where there is no room, nobody will answer, and that is told.
        let _ = self.orders.try_send(Given { order, done });
        told
    }
}

/// A connection in any of the protocols.
enum Line {
    Native(Box<native::Line>),
    Phoenix(Box<phoenix::Line>),
    Pusher(Box<pusher::Line>),
}

impl Line {
    async fn connect(
        shared: &Shared,
        vu: &VirtualUser,
        gateway: usize,
        resume: Option<&str>,
    ) -> Result<(Line, Welcome), String> {
        let address = &shared.addresses[gateway];
        match vu.dialect {
            Dialect::Json | Dialect::Binary => {
                let (line, welcome) = native::Line::connect(address, vu, resume).await?;
                Ok((Line::Native(Box::new(line)), welcome))
            }
            Dialect::Phoenix => {
                let (line, welcome) = phoenix::Line::connect(address, vu).await?;
                Ok((Line::Phoenix(Box::new(line)), welcome))
            }
            Dialect::Pusher => {
                let (line, welcome) = pusher::Line::connect(address, vu).await?;
                Ok((Line::Pusher(Box::new(line)), welcome))
            }
        }
    }

    async fn say(&mut self, say: &Say) -> Result<(), ()> {
        match self {
            Line::Native(line) => line.say(say).await,
            Line::Phoenix(line) => line.say(say).await,
            Line::Pusher(line) => line.say(say).await,
        }
    }

    /// What was heard next; `None` once the connection has ended. Dropping the future loses nothing.
    async fn next(&mut self) -> Option<Vec<Heard>> {
        match self {
            Line::Native(line) => line.next().await,
            Line::Phoenix(line) => line.next().await,
            Line::Pusher(line) => line.next().await,
        }
    }

    fn ending(&self) -> String {
        match self {
            Line::Native(line) => line.ending(),
            Line::Phoenix(line) => line.ending(),
            Line::Pusher(line) => line.ending(),
        }
    }

    async fn goodbye(self) {
        match self {
            Line::Native(line) => line.goodbye().await,
            Line::Phoenix(line) => line.goodbye().await,
            Line::Pusher(line) => line.goodbye().await,
        }
    }
}
