//! The world of the simulator: everything that is in it, and the order of what happens, in virtual time.

use std::collections::{BTreeMap, BTreeSet};

use presence_core::cluster::{News, Subject};
use presence_core::users::{Activity, Connection};
use presence_core::{Chosen, Profile, Reason, SessionId, Timing, UserId, node};

use super::client::{self, Client, HEARTBEAT_MS};
use super::driver::{Call, Driver};
use super::machines::{MAILBOXES, Mailbox};
use super::process::SWEEP_EVERY_MS;
use super::script::{ROOMS, Script, USERS};
use super::store::{SERVERS, Store};
use super::truth::{GRACE_MS, SPOTS, Said, Spot};
use super::view::{PublicViewCheck, View};
use crate::chance::Chance;

/// How long the user of a service is shown that says nothing more.
pub(super) const SERVICE_TTL_MS: u64 = 60_000;
/// A request that is not answered fails after that.
pub(super) const TIMEOUT_MS: u64 = 500;
/// The numbers of the guarantees.
pub(super) const SEEN_MS: u64 = 1_000;
pub(super) const HEALS_MS: u64 = 10_000;
pub(super) const LAPSES_MS: u64 = 15_000 + GRACE_MS + 2_000;
/// Where others may have to lapse, too, or the store has to be seen healthy first.
pub(super) const LAPSES_LATE_MS: u64 = LAPSES_MS + 2 * 15_000;
/// Who left without a word is proven to be gone so much later, where somebody was in trouble so long before.
pub(super) const PROOF_MS: u64 = 16_000;
const SAMPLE_MS: u64 = 250;

pub(super) const CONVERGENCE: &str = "I1 convergence";

/// What went wrong.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    pub(super) invariant: &'static str,
    pub(super) how: String,
}

pub(super) enum Event {
    Scripted(usize),
    /// A node's own deadline.
    Wake(usize, u32),
    ToNode(usize, u32, Box<ToNode>),
    AtStore(usize, u32, Call),
    ToClient {
        client: usize,
        socket: u64,
        what: ToClient,
    },
    Beat(usize, u64),
    Compare(usize, u32),
    /// A node looks for what others had no time to save.
    Sweep(usize, u32),
    /// A client comes back by itself.
    Return(usize, u64),
    ServiceOver(usize, u64),
    /// A status may be over.
    Over(usize),
    Start(usize),
    /// A graceful stop comes to its end.
    Exit(usize, u32),
    Sample,
}

pub(super) enum ToNode {
    Input(node::Input<u64>),
    /// What every machine has to hear gets to one of them.
    News(Mailbox, News),
    Connect {
        client: usize,
        socket: u64,
    },
    FromClient {
        socket: u64,
        said: Said_,
    },
    /// The connection is gone.
    Gone {
        socket: u64,
        reason: Reason,
    },
    /// The node closes it, because it stops.
    Shut {
        socket: u64,
    },
    Saved(UserId),
    Loaded(UserId),
    Serve {
        client: usize,
        room: usize,
    },
}

/// What a client says through its connection.
pub(super) enum Said_ {
    Heard,
    Left,
    Join(usize),
    Depart(usize),
    Report(Activity),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ToClient {
    Welcome(Connection, bool),
    Joined(usize),
    /// `None`: refused, or the process is gone.
    Closed(Option<Reason>),
}

/// Who asked a node for something.
pub(super) enum Asked {
    Door {
        client: usize,
        socket: u64,
    },
    Join {
        client: usize,
        socket: u64,
        room: usize,
    },
    Serve {
        client: usize,
        room: usize,
        node: usize,
    },
    Choose {
        user: usize,
        said: usize,
    },
    Other,
}

pub(super) struct World<'a> {
    pub(super) script: &'a Script,
    pub(super) chance: Chance,
    pub(super) now: u64,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    /// The number of what happens just now.
    happening: u64,
    pub(super) nodes: Vec<Driver>,
    pub(super) store: Store,
    /// Servers that are away until then.
    pub(super) away_until: [u64; SERVERS],
    /// Until when each server stands still, while requests to it queue up.
    pub(super) asleep_until: [u64; SERVERS],
    /// Since when, until when, how many notices are lost and requests fail, in percent.
    pub(super) noise: (u64, u64, u64),
    pub(super) no_database_since: u64,
    pub(super) no_database_until: u64,
    /// What happens between the two stores: of its own, so that it changes nothing else.
    pub(super) odds: Chance,
    pub(super) profiles: BTreeMap<UserId, Profile>,
    pub(super) clients: Vec<Client>,
    pub(super) sockets: u64,
    pub(super) sessions: u128,
    pub(super) asked: BTreeMap<u64, Asked>,
    pub(super) reply_tos: u64,
    pub(super) views: BTreeMap<(usize, usize), View>,
    pub(super) public_views: BTreeMap<(usize, usize), PublicViewCheck>,
    /// What watchers have to be told again when their node is back.
    pub(super) watches: BTreeSet<(usize, usize)>,
    pub(super) began_at: BTreeMap<(usize, usize), u64>,
    /// When clients of each user were between two connections, or tried to be on another one.
    pub(super) gaps: Vec<Vec<(u64, u64)>>,
    pub(super) kicked_at: [Option<u64>; USERS.len()],
    pub(super) said: Vec<Vec<Said>>,
    pub(super) spots: Vec<[Spot; SPOTS]>,
    /// Faults of the store and of the ways to it.
    pub(super) faults: Vec<(u64, u64)>,
    /// When nodes died, or were cut off or asleep for so long that they may have been taken for dead.
    pub(super) lapses: Vec<u64>,
    /// When the store last lost data; and until when two faults of it at once may show somebody leaving.
    pub(super) lost_at: u64,
    pub(super) blurred_until: u64,
    /// From then on all is to be right.
    pub(super) calm_at: u64,
    pub(super) wrong_since: BTreeMap<(usize, usize, usize), u64>,
    pub(super) broken: Option<Broken>,
    pub(super) log: Option<Vec<String>>,
    pub(super) steps: u64,
    pub(super) is_over: bool,
}

macro_rules! log {
    ($world:expr, $($text:tt)*) => {
        if $world.log.is_some() {
            let line = format!($($text)*);
            $world.note(line);
        }
    };
}
pub(super) use log;

impl ToNode {
    /// Where it waits while the node does not look.
    pub(super) fn mailbox(&self) -> Mailbox {
        match self {
            ToNode::News(mailbox, _) => *mailbox,
            ToNode::Input(node::Input::Roster(_) | node::Input::Stored(Subject::Topic(_), _)) => {
                Mailbox::Rosters
            }
            ToNode::Input(
                node::Input::Leases(_) | node::Input::Forgot(_) | node::Input::Woke { .. },
            ) => Mailbox::Leases,
            _ => Mailbox::Users,
        }
    }
}

impl<'a> World<'a> {
    pub(super) fn new(script: &'a Script, is_logged: bool) -> Self {
        let default = Said {
            confirmed_at: Some(0),
            ..Said::new(Chosen::Online, None, 0)
        };
        World {
            script,
            chance: Chance(script.seed ^ 0x5eed),
            now: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            happening: 0,
            nodes: script.skews_ms.iter().map(|it| Driver::new(*it)).collect(),
            store: Store::new(script.seed, script.planted),
            away_until: [0; SERVERS],
            asleep_until: [0; SERVERS],
            noise: (0, 0, 0),
            no_database_since: 0,
            no_database_until: 0,
            odds: Chance(script.seed ^ 0x0dd5),
            profiles: BTreeMap::new(),
            clients: client::all(),
            sockets: 0,
            sessions: 0,
            asked: BTreeMap::new(),
            reply_tos: 0,
            views: BTreeMap::new(),
            public_views: BTreeMap::new(),
            watches: BTreeSet::new(),
            began_at: BTreeMap::new(),
            gaps: vec![Vec::new(); USERS.len()],
            kicked_at: [None; USERS.len()],
            said: vec![vec![default]; USERS.len()],
            spots: vec![[Spot::default(); SPOTS]; USERS.len()],
            faults: Vec::new(),
            lapses: Vec::new(),
            lost_at: 0,
            blurred_until: 0,
            calm_at: 0,
            wrong_since: BTreeMap::new(),
            broken: None,
            log: is_logged.then(Vec::new),
            steps: 0,
            is_over: false,
        }
    }

    pub(super) fn note(&mut self, line: String) {
        let (seconds, millis) = (self.now / 1000, self.now % 1000);
        if let Some(log) = &mut self.log {
            log.push(format!("{seconds:5}.{millis:03}s  {line}"));
        }
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.events
            .insert((at.max(self.now), self.scheduled), event);
    }

    /// What happens just now waits until then, before whatever was scheduled after it: a mailbox keeps its order.
    fn postpone(&mut self, until: u64, event: Event) {
        self.events.insert((until, self.happening), event);
    }

    /// Plays the script and everything that comes of it, and then lets everyone go.
    pub(super) fn play(&mut self) {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        for (index, step) in self.script.steps.iter().enumerate() {
            self.at(step.at, Event::Scripted(index));
        }
        self.at(SAMPLE_MS, Event::Sample);
        let last = self.script.steps.iter().map(|it| it.at).max();
        self.run_until(last.unwrap_or(0) + 5_000);
        // Everything heals, and is right from then on.
        self.run_until(self.calm_at + 5_000);
        while self.calm_at + 2_000 > self.now && self.broken.is_none() {
            self.run_until(self.calm_at + 5_000);
        }
        if self.broken.is_none() {
            self.agree();
        }
        // Something may have changed just now, that others hear of in a moment.
        if self
            .broken
            .take_if(|it| it.invariant == CONVERGENCE)
            .is_some()
        {
            self.run_until(self.now + SEEN_MS);
            self.agree();
        }
        self.is_over = true;
        self.everyone_goes();
        self.run_until(self.now + 200_000);
        if self.broken.is_none() {
            self.everything_is_saved();
        }
        if self.broken.is_none() {
            self.nothing_is_left();
        }
    }

    fn run_until(&mut self, then: u64) {
        while self.broken.is_none()
            && let Some(entry) = self.events.first_entry()
            && entry.key().0 <= then
        {
            let ((at, number), event) = entry.remove_entry();
            (self.now, self.happening) = (at, number);
            self.steps += 1;
            self.happen(event);
        }
        self.now = self.now.max(then);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Scripted(index) => self.act(index),
            Event::Wake(node, life) => {
                if self.nodes[node].life == life {
                    self.nodes[node].wakes_at = None;
                    let mut order = MAILBOXES;
                    order.rotate_left(self.chance.below(3) as usize);
                    let mut again = None;
                    for mailbox in order {
                        match self.asleep(node, life, mailbox) {
                            Some(until) => again = again.max(Some(until)),
                            None => self.expire(node, mailbox),
                        }
                    }
                    if let Some(until) = again {
                        self.at(until, Event::Wake(node, life));
                    }
                }
            }
            Event::ToNode(node, life, what) => {
                let mailbox = what.mailbox();
                if let Some(until) = self.asleep(node, life, mailbox) {
                    return self.postpone(until, Event::ToNode(node, life, what));
                }
                if self.nodes[node].life == life && self.nodes[node].machine.is_some() {
                    self.awake(node, mailbox);
                    self.arrive(node, *what);
                } else if let ToNode::Connect { client, socket } = *what {
                    self.send(client, socket, ToClient::Closed(None));
                }
            }
            Event::AtStore(node, life, call) => {
                let is_unsent = matches!(call, Call::Ask(_)) && self.odds.one_in(2);
                match self.asleep(node, life, Mailbox::Leases) {
                    // It was not sent when the process fell asleep.
                    Some(until) if is_unsent => {
                        self.at(until, Event::AtStore(node, life, call));
                    }
                    _ => self.call(node, life, call),
                }
            }
            Event::ToClient {
                client,
                socket,
                what,
            } => self.client_hears(client, socket, what),
            Event::Beat(client, socket) => {
                if self.socket(client, socket).is_some() {
                    self.say(client, Said_::Heard);
                    self.at(self.now + HEARTBEAT_MS, Event::Beat(client, socket));
                }
            }
            Event::Compare(node, life) => {
                if let Some(until) = self.asleep(node, life, Mailbox::Leases) {
                    return self.at(until, Event::Compare(node, life));
                }
                if self.nodes[node].life == life && self.nodes[node].machine.is_some() {
                    self.compare(node);
                    let every = Timing::COMPARE_EVERY.as_millis() as u64;
                    self.at(self.now + every, Event::Compare(node, life));
                }
            }
            Event::Sweep(node, life) => {
                if let Some(until) = self.asleep(node, life, Mailbox::Leases) {
                    return self.at(until, Event::Sweep(node, life));
                }
                if self.nodes[node].life == life && self.nodes[node].machine.is_some() {
                    self.sweep(node);
                    self.at(self.now + SWEEP_EVERY_MS, Event::Sweep(node, life));
                }
            }
            Event::Return(client, attempt) => {
                let it = &self.clients[client];
                if it.socket.is_none() && it.attempts == attempt && !self.is_over {
                    let node = self.chance.below(self.nodes.len() as u64) as usize;
                    self.connect(client, node);
                }
            }
            Event::ServiceOver(client, socket) => {
                if self.socket(client, socket).is_some() {
                    self.drop_socket(client, true, 2_000);
                    self.clients[client].joined = [false; ROOMS];
                }
            }
            Event::Over(user) => self.refresh(user, true, SEEN_MS),
            Event::Start(node) => {
                if self.nodes[node].machine.is_none() {
                    if self.nodes.iter().all(|it| it.machine.is_none()) {
                        // Whoever comes first has to see the store healthy before it judges those who died before.
                        self.calm_after(LAPSES_LATE_MS);
                    }
                    self.start(node);
                }
            }
            Event::Exit(node, life) => {
                if let Some(until) = self.asleep(node, life, Mailbox::Leases) {
                    return self.at(until, Event::Exit(node, life));
                }
                if self.nodes[node].life == life {
                    log!(self, "node {node} exits");
                    self.die(node);
                }
            }
            Event::Sample => {
                self.sample();
                self.at(self.now + SAMPLE_MS, Event::Sample);
            }
        }
    }
}

pub(super) fn watcher_id(node: usize, spot: usize) -> SessionId {
    SessionId::from_u128(1 << 80 | (node as u128) << 8 | spot as u128)
}
