//! All of it in virtual time: what is scripted, what comes of it, and what is wrong with that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use presence_core::cluster::{Carried, News, Reply, Subject, nodes};
use presence_core::node;
use presence_core::rosters::{self, Hearers};
use presence_core::users::{self, Activity, Audience, Connection};
use presence_core::{
    ChannelId, Chosen, Edit, Event as Told, Expiry, Meta, Profile, Reason, SessionId, StatusChange,
    Timestamp, Timing, UserId, Visible, Watching, WorkspaceId,
};

use super::START;
use super::client::{self, Client, Socket, user_id};
use super::driver::{Call, Driver};
use super::machines::{MAILBOXES, Machines, Mailbox, Wish};
use super::planted::Planted;
use super::script::{CLIENTS, ROOMS, Script, TOPICS, USERS, What};
use super::store::{SERVERS, Store, server_of};
use super::truth::{GRACE_MS, PROFILE, SPOTS, Said, Spot, Sure, possible};
use super::view::{PublicViewCheck, Step, View};
use crate::chance::Chance;

/// A server pings each connection so often, and waits so long for the answer.
const PING_MS: u64 = 25_000;
const PONG_MS: u64 = 8_000;
const HEARTBEAT_MS: u64 = 15_000;
const SERVICE_TTL_MS: u64 = 60_000;
/// A request that is not answered fails after that.
pub(super) const TIMEOUT_MS: u64 = 500;
/// A node that is cut off or asleep so long may have lost its lease: what it last renewed was up to 3 s before.
const LEASE_AT_RISK_MS: u64 = 11_000;
/// The numbers of the guarantees.
const SEEN_MS: u64 = 1_000;
const HEALS_MS: u64 = 10_000;
const LAPSES_MS: u64 = 15_000 + GRACE_MS + 2_000;
/// Where others may have to lapse, too, or the store has to be seen healthy first.
const LAPSES_LATE_MS: u64 = LAPSES_MS + 2 * 15_000;
const SAMPLE_MS: u64 = 250;
/// Who left without a word is proven to be gone so much later, where somebody was in trouble so long before.
const PROOF_MS: u64 = 16_000;
const TROUBLE_MS: u64 = 30_000;
/// A node that does nothing for so long knows that afterwards.
const STOOD_STILL_MS: u64 = 1_000;
/// As the hub does it.
const SWEEP_EVERY_MS: u64 = 5_000;
const OVERDUE_MS: u64 = 10_000;
const LINGER_MS: u64 = 500;

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
enum Asked {
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
    pub(super) nodes: Vec<Driver>,
    pub(super) store: Store,
    /// Servers that are away until then.
    pub(super) away_until: [u64; SERVERS],
    /// Until when each server stands still, while requests to it queue up.
    pub(super) asleep_until: [u64; SERVERS],
    /// Since when, until when, how many notices are lost and requests fail, in percent.
    pub(super) noise: (u64, u64, u64),
    no_database_until: u64,
    /// What happens between the two stores: of its own, so that it changes nothing else.
    odds: Chance,
    profiles: BTreeMap<UserId, Profile>,
    clients: Vec<Client>,
    sockets: u64,
    sessions: u128,
    asked: BTreeMap<u64, Asked>,
    reply_tos: u64,
    views: BTreeMap<(usize, usize), View>,
    public_views: BTreeMap<(usize, usize), PublicViewCheck>,
    /// What watchers have to be told again when their node is back.
    watches: BTreeSet<(usize, usize)>,
    began_at: BTreeMap<(usize, usize), u64>,
    /// When clients of each user were between two connections, or tried to be on another one.
    gaps: Vec<Vec<(u64, u64)>>,
    kicked_at: [Option<u64>; USERS.len()],
    said: Vec<Vec<Said>>,
    spots: Vec<[Spot; SPOTS]>,
    /// Faults of the store and of the ways to it.
    faults: Vec<(u64, u64)>,
    /// When nodes died, or were cut off or asleep for so long that they may have been taken for dead.
    lapses: Vec<u64>,
    /// When the store last lost data; and until when two faults of it at once may show somebody leaving.
    lost_at: u64,
    blurred_until: u64,
    /// From then on all is to be right.
    calm_at: u64,
    wrong_since: BTreeMap<(usize, usize, usize), u64>,
    pub(super) broken: Option<Broken>,
    pub(super) log: Option<Vec<String>>,
    pub(super) steps: u64,
    is_over: bool,
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
    fn mailbox(&self) -> Mailbox {
        match self {
            ToNode::News(mailbox, _) => *mailbox,
            ToNode::Input(node::Input::Roster(_) | node::Input::Stored(Subject::Topic(_), _)) => {
                Mailbox::Rosters
            }
            ToNode::Input(node::Input::Leases(_) | node::Input::Forgot(_) | node::Input::Woke) => {
                Mailbox::Leases
            }
            _ => Mailbox::Users,
        }
    }
}

impl<'a> World<'a> {
    pub(super) fn new(script: &'a Script, is_logged: bool) -> Self {
        let default = Said {
            chosen: Chosen::Online,
            message: None,
            at: 0,
            confirmed_at: Some(0),
            ends: None,
        };
        World {
            script,
            chance: Chance(script.seed ^ 0x5eed),
            now: 0,
            events: BTreeMap::new(),
            scheduled: 0,
            nodes: script.skews_ms.iter().map(|it| Driver::new(*it)).collect(),
            store: Store::new(script.seed, script.planted),
            away_until: [0; SERVERS],
            asleep_until: [0; SERVERS],
            noise: (0, 0, 0),
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
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
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
                    return self.at(until, Event::ToNode(node, life, what));
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

    /// Until when a node does not look at a mailbox, if it sleeps.
    fn asleep(&self, node: usize, life: u32, mailbox: Mailbox) -> Option<u64> {
        let it = &self.nodes[node];
        let until = it.deaf_until(mailbox);
        (it.life == life && until > self.now).then_some(until)
    }

    /// A machine that slept hears of that before anything else.
    fn awake(&mut self, node: usize, mailbox: Mailbox) {
        if std::mem::take(&mut self.nodes[node].has_slept[mailbox as usize])
            && mailbox == Mailbox::Users
        {
            self.hear(node, mailbox, News::Woke);
        }
    }

    fn hear(&mut self, node: usize, mailbox: Mailbox, news: News) {
        let time = self.time(node);
        let mut wishes = Vec::new();
        if let Some(machine) = &mut self.nodes[node].machine {
            machine.hear(time, mailbox, news, &mut wishes);
        }
        self.perform(node, wishes);
    }

    pub(super) fn reaches(&self, node: usize, server: usize) -> bool {
        self.nodes[node].cut_until[server] <= self.now && self.away_until[server] <= self.now
    }

    /// Whether a request fails for no reason, this time.
    pub(super) fn fails_by_chance(&mut self) -> bool {
        let (until, _, failed) = self.noise;
        self.now < until && self.chance.percent(failed)
    }

    // Nodes.

    fn start(&mut self, node: usize) {
        log!(self, "node {node} starts");
        let seed = self.chance.below(u64::MAX);
        let time = self.time(node);
        let machine = Machines::new(time, seed);
        let histories = std::array::from_fn(|server| self.store.history(server));
        self.nodes[node].start(machine, histories);
        let life = self.nodes[node].life;
        let first = self.now + self.chance.below(2_000);
        self.at(first, Event::Compare(node, life));
        let first = self.now + self.odds.below(SWEEP_EVERY_MS);
        self.at(first, Event::Sweep(node, life));
        MAILBOXES.into_iter().for_each(|it| self.expire(node, it));
        let watches: Vec<_> = self.watches.range((node, 0)..(node + 1, 0)).collect();
        let watches: Vec<_> = watches.into_iter().copied().collect();
        for (node, spot) in watches {
            self.watch(node, spot);
        }
    }

    /// The time by a node's clock.
    pub(super) fn time(&self, node: usize) -> Timestamp {
        let skewed = (START + self.now).checked_add_signed(self.nodes[node].skew_ms);
        Timestamp::from_millis(skewed.unwrap())
    }

    fn die(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        it.die();
        let gone: Vec<_> = std::mem::take(&mut it.sockets).into_iter().collect();
        self.views.retain(|(it, _), _| *it != node);
        self.public_views.retain(|(it, _), _| *it != node);
        for (socket, open) in gone {
            self.send(open.client, socket, ToClient::Closed(None));
        }
        for client in CLIENTS.len()..self.clients.len() {
            let socket = self.clients[client].socket.as_ref();
            if socket.is_some_and(|it| it.node == node) {
                self.drop_socket(client, false, LAPSES_LATE_MS);
            }
        }
        self.lapses.push(self.now);
        let is_alone = self.faults.iter().all(|(_, end)| end + 60_000 < self.now);
        let is_first = self.lapses.iter().filter(|it| **it + 60_000 > self.now);
        self.calm_after(match is_alone && is_first.count() == 1 {
            true => LAPSES_MS,
            false => LAPSES_LATE_MS,
        });
    }

    fn calm_after(&mut self, ms: u64) {
        self.calm_at = self.calm_at.max(self.now + ms);
    }

    fn expire(&mut self, node: usize, mailbox: Mailbox) {
        self.awake(node, mailbox);
        let time = self.time(node);
        let Some(machine) = &mut self.nodes[node].machine else {
            return;
        };
        let mut wishes = Vec::new();
        machine.expire(time, mailbox, &mut wishes);
        self.perform(node, wishes);
    }

    pub(super) fn tell(&mut self, node: usize, input: node::Input<u64>) {
        let time = self.time(node);
        let Some(machine) = &mut self.nodes[node].machine else {
            return;
        };
        let mut wishes = Vec::new();
        if let node::Input::Stored(_, Reply::Written(None) | Reply::Fenced { is_done: false, .. }) =
            &input
        {
            let input = node::Input::Leases(nodes::Input::Troubled);
            machine.handle(time, input, &mut wishes);
        }
        machine.handle(time, input, &mut wishes);
        self.perform(node, wishes);
    }

    fn tell_user(&mut self, node: usize, user: usize, input: users::Input<u64>) {
        self.tell(node, node::Input::User(user_id(user), input));
    }

    /// When what one machine tells the other now is there: in order.
    fn told_at(&mut self, node: usize) -> u64 {
        let at = self.now + self.chance.below(3);
        let told_at = &mut self.nodes[node].told_at;
        *told_at = at.max(*told_at);
        *told_at
    }

    pub(super) fn post(&mut self, node: usize, at: u64, what: ToNode) {
        let life = self.nodes[node].life;
        self.at(at, Event::ToNode(node, life, Box::new(what)));
    }

    fn reply_to(&mut self, asked: Asked) -> u64 {
        self.reply_tos += 1;
        self.asked.insert(self.reply_tos, asked);
        self.reply_tos
    }

    fn arrive(&mut self, node: usize, what: ToNode) {
        match what {
            ToNode::News(mailbox, news) => self.hear(node, mailbox, news),
            ToNode::Input(input) => {
                if let node::Input::Stored(subject, reply) = &input {
                    self.nodes[node].answered(subject, reply);
                }
                self.tell(node, input);
            }
            ToNode::Connect { client, socket } => {
                if !self.nodes[node].is_accepting || self.is_over {
                    return self.send(client, socket, ToClient::Closed(None));
                }
                if self.socket(client, socket).is_none() {
                    return; // gone before it was let in
                }
                self.nodes[node].open(socket, client);
                self.sessions += 1;
                let reply_to = self.reply_to(Asked::Door { client, socket });
                let it = &self.clients[client];
                let input = users::Input::Connected {
                    session: SessionId::from_u128(self.sessions),
                    resume: it.token,
                    likeness: None,
                    device: it.device.clone(),
                    workspaces: vec![WorkspaceId::new("acme").unwrap()],
                    card: Arc::default(),
                    reply_to,
                };
                self.tell_user(node, self.clients[client].user, input);
            }
            ToNode::FromClient { socket, said } => self.client_says(node, socket, said),
            ToNode::Gone { socket, reason } => {
                if let Some((client, by)) = self.nodes[node].close(socket) {
                    let input = users::Input::Vanished { by, reason };
                    self.tell_user(node, self.clients[client].user, input);
                }
            }
            ToNode::Shut { socket } => {
                if let Some(open) = self.nodes[node].sockets.get(&socket) {
                    self.send(open.client, socket, ToClient::Closed(None));
                }
                let reason = Reason::Lost;
                self.arrive(node, ToNode::Gone { socket, reason });
            }
            ToNode::Saved(user) => self.save(node, &user),
            ToNode::Loaded(user) => self.load(node, user),
            ToNode::Serve { client, room } => {
                if !self.nodes[node].is_accepting {
                    return;
                }
                let it = &self.clients[client];
                let (user, device) = (it.user, it.device.clone());
                let session = it.by_service.unwrap();
                self.tell_user(node, user, users::Input::ServiceActed { session, device });
                let reply_to = self.reply_to(Asked::Serve { client, room, node });
                let input = users::Input::Joined {
                    by: Connection::of_service(session),
                    channel: channel(room),
                    meta: Arc::default(),
                    watch: None,
                    reply_to: Some(reply_to),
                };
                self.tell_user(node, user, input);
            }
        }
    }

    fn client_says(&mut self, node: usize, socket: u64, said: Said_) {
        let Some(open) = self.nodes[node].sockets.get(&socket) else {
            return;
        };
        let (client, Some(by)) = (open.client, open.connection) else {
            return;
        };
        let user = self.clients[client].user;
        let input = match said {
            Said_::Heard => users::Input::Heard { by },
            Said_::Left => {
                self.nodes[node].close(socket);
                users::Input::Left { by }
            }
            Said_::Join(room) => {
                let reply_to = self.reply_to(Asked::Join {
                    client,
                    socket,
                    room,
                });
                users::Input::Joined {
                    by,
                    channel: channel(room),
                    meta: Arc::new(Meta::default()),
                    watch: None,
                    reply_to: Some(reply_to),
                }
            }
            Said_::Depart(room) => users::Input::Departed {
                by,
                channel: channel(room),
                reply_to: None,
            },
            Said_::Report(activity) => users::Input::Reported {
                by,
                activity,
                reply_to: None,
            },
        };
        self.tell_user(node, user, input);
    }

    fn perform(&mut self, node: usize, wishes: Vec<Wish>) {
        for wish in wishes {
            if self.broken.is_some() {
                return;
            }
            match wish {
                Wish::Ask(request) => self.ask(node, request),
                Wish::AskAboutLeases(effect) => self.ask_about_leases(node, effect),
                Wish::OfUser(user, effect) => self.perform_for(node, &user, effect),
                Wish::OfRosters(effect) => self.perform_for_rosters(node, effect),
                Wish::ToRosters(input) => {
                    let at = self.told_at(node);
                    let input = node::Input::Roster(input);
                    self.post(node, at, ToNode::Input(input));
                }
                Wish::News(news) => {
                    let (first, second) = (self.now + self.chance.below(3), self.told_at(node));
                    self.post(node, first, ToNode::News(Mailbox::Users, news));
                    self.post(node, second, ToNode::News(Mailbox::Rosters, news));
                }
            }
        }
        let Some(machine) = &self.nodes[node].machine else {
            return;
        };
        // By the node's own clock, which may be wrong but does not jump.
        let driver = &self.nodes[node];
        let deadlines = MAILBOXES.into_iter().filter_map(|mailbox| {
            let deadline = machine.next_deadline(mailbox)?;
            let at = deadline.as_millis().saturating_add_signed(-driver.skew_ms);
            Some(at.saturating_sub(START).max(driver.deaf_until(mailbox)))
        });
        let deadline = deadlines.min().map(|it| it.max(self.now));
        let life = self.nodes[node].life;
        if let Some(at) = deadline
            && self.nodes[node].wakes_at.is_none_or(|it| at < it)
        {
            self.nodes[node].wakes_at = Some(at);
            self.at(at, Event::Wake(node, life));
        }
    }

    fn perform_for(&mut self, node: usize, user: &UserId, effect: users::Effect<u64>) {
        match effect {
            users::Effect::Welcome {
                connection,
                restored,
                reply_to,
            } => {
                let Some(Asked::Door { client, socket }) = self.asked.remove(&reply_to) else {
                    return self.breaks("answers", format!("{user} was answered twice"));
                };
                log!(
                    self,
                    "node {node} lets {user} ({client}) in as {connection:?}, restored: {restored}"
                );
                if self.nodes[node].welcome(socket, connection) {
                    self.send(client, socket, ToClient::Welcome(connection, restored));
                } else {
                    // The client was gone before it was let in.
                    let input = users::Input::Vanished {
                        by: connection,
                        reason: Reason::Lost,
                    };
                    self.tell(node, node::Input::User(user.clone(), input));
                }
            }
            users::Effect::Close { connection, reason } => {
                if let Some((socket, client)) = self.nodes[node].close_connection(connection) {
                    self.send(client, socket, ToClient::Closed(Some(reason)));
                }
            }
            users::Effect::Tell { to, event } => match (to, event) {
                (Audience::Sessions(_), _) => {}
                (to, Told::PublicView(public_view)) => {
                    let index = USERS.iter().position(|it| *it == user.as_str()).unwrap();
                    let Some(view) = self.public_views.get_mut(&(node, index)) else {
                        return;
                    };
                    let is_first = to != Audience::Watchers;
                    let outcome = view.hear(&public_view, is_first);
                    log!(
                        self,
                        "  node {node} tells of {user}: {:?} {:?} r{} seen {:?}",
                        public_view.look.status,
                        public_view.look.message,
                        public_view.clock.version,
                        public_view.last_seen
                    );
                    let steps = outcome.map(|it| it.into_iter().collect());
                    self.judge(node, PROFILE, steps);
                }
                _ => self.breaks("answers", format!("{user}: told to the wrong people")),
            },
            users::Effect::Load | users::Effect::LookUp => {
                let at = self.now.max(self.no_database_until) + self.chance.within(1..20);
                self.post(node, at, ToNode::Loaded(user.clone()));
            }
            users::Effect::Save {
                profile,
                version,
                reply_to,
            } => {
                if reply_to.is_some() {
                    self.breaks("answers", format!("{user}: saved for somebody"));
                }
                if user.is_anonymous() {
                    self.breaks(
                        "I7 bounded",
                        format!("{user}: an anonymous profile is saved"),
                    );
                }
                let Some(version) = version else {
                    let how = format!("{user}: it is not said which version is saved");
                    return self.breaks("I6 acknowledged is kept", how);
                };
                if self.script.planted == Planted::AcknowledgedFirst {
                    self.acknowledge(node, &Subject::User(user.clone()), version);
                }
                let unsaved = &mut self.nodes[node].unsaved;
                let before = unsaved.get(user).map(|(_, version)| *version);
                if before.is_none_or(|before| before <= version) {
                    unsaved.insert(user.clone(), (profile, version));
                }
                if before.is_none() {
                    let at = self.now + LINGER_MS + self.chance.within(1..20);
                    self.post(node, at, ToNode::Saved(user.clone()));
                }
            }
            users::Effect::Grant { reply_to, .. } => self.answered(reply_to, true),
            users::Effect::Refuse { reply_to, .. } => self.answered(reply_to, false),
            effect => self.breaks("answers", format!("a node does that itself: {effect:?}")),
        }
    }

    fn perform_for_rosters(&mut self, node: usize, effect: rosters::Effect<u64>) {
        match effect {
            rosters::Effect::Tell { topic, to, event } => {
                let Some(spot) = (0..TOPICS).find(|it| super::topic(*it) == topic) else {
                    return;
                };
                let Some(view) = self.views.get_mut(&(node, spot)) else {
                    return;
                };
                let is_meant = match &to {
                    Hearers::Full | Hearers::AllBut(_) => true,
                    Hearers::FullBut(one) => *one != watcher_id(node, spot),
                    Hearers::One(one) => *one == watcher_id(node, spot),
                    Hearers::Summary => false,
                };
                if !is_meant {
                    return;
                }
                let steps = view.hear(&event);
                if self.log.is_some() {
                    let text = told(&event);
                    self.note(format!("  node {node} tells in {topic}: {text}"));
                }
                self.judge(node, spot, steps);
            }
            rosters::Effect::Grant { reply_to } => self.answered(reply_to, true),
            rosters::Effect::Refuse { reply_to, .. } => self.answered(reply_to, false),
            rosters::Effect::Known { .. } | rosters::Effect::Ask(_) => {}
        }
    }

    fn load(&mut self, node: usize, user: UserId) {
        if self.no_database_until > self.now {
            let at = self.no_database_until + self.chance.within(1..20);
            self.post(node, at, ToNode::Loaded(user.clone()));
            return self.tell(node, node::Input::User(user, users::Input::Unread));
        }
        let unsaved = self.nodes[node].unsaved.get(&user);
        let unsaved = unsaved.map(|(profile, _)| profile);
        let profile = unsaved.or(self.profiles.get(&user)).cloned();
        let input = users::Input::Loaded { profile };
        self.tell(node, node::Input::User(user, input));
    }

    fn save(&mut self, node: usize, user: &UserId) {
        let Some((profile, version)) = self.nodes[node].unsaved.remove(user) else {
            return;
        };
        // While the database is away it waits in the store.
        if self.no_database_until <= self.now {
            self.keep(profile);
            self.acknowledge(node, &Subject::User(user.clone()), version);
        }
    }

    fn keep(&mut self, profile: Profile) {
        let stored = self.profiles.get(&profile.user);
        if stored.is_none_or(|it| profile.supersedes(it)) {
            self.profiles.insert(profile.user.clone(), profile);
        }
    }

    /// Says that what was saved waits no longer; the node may die before, or not get there.
    fn acknowledge(&mut self, node: usize, subject: &Subject, version: u64) {
        let is_reached = self.reaches(node, server_of(subject));
        if is_reached && !self.fails_by_chance() && !self.odds.one_in(10) {
            self.store.acknowledge(self.now, subject, version);
        }
    }

    /// Saves what has waited for too long, where that is for this node to do.
    fn sweep(&mut self, node: usize) {
        if self.script.planted == Planted::NobodySweeps || self.no_database_until > self.now {
            return;
        }
        let time = self.time(node);
        let partitions = self.nodes[node].machine.iter();
        let partitions: BTreeSet<u16> = partitions.flat_map(|it| it.partitions(time)).collect();
        for (subject, version, age_ms) in self.store.waiting(self.now) {
            let is_its = partitions.contains(&subject.partition()) && age_ms >= OVERDUE_MS;
            if !is_its || !self.reaches(node, server_of(&subject)) {
                continue;
            }
            let map = self.store.read(&subject);
            let version = map.clock.map_or(version, |it| it.version.max(version));
            log!(self, "  node {node} saves what waits of {subject}");
            match Carried::of(&map) {
                Carried::Later => continue,
                Carried::Save(profile) => self.keep(Profile::clone(&profile)),
                Carried::Remove(_) | Carried::Nothing => {}
            }
            self.acknowledge(node, &subject, version);
        }
    }

    fn answered(&mut self, reply_to: u64, is_granted: bool) {
        match self.asked.remove(&reply_to) {
            None => self.breaks("answers", format!("{reply_to} was answered twice")),
            Some(Asked::Door { client, socket }) => {
                self.send(client, socket, ToClient::Closed(None));
            }
            Some(Asked::Join {
                client,
                socket,
                room,
            }) if is_granted => self.send(client, socket, ToClient::Joined(room)),
            Some(Asked::Serve { client, .. })
                if is_granted && (self.is_faulty() || self.is_just_kicked(client)) =>
            {
                // Two nodes that cannot ask each other may both have let it in: the service would have to say it again.
                // And which of an act and a kick through two nodes came first, nobody can say.
                for spot in &mut self.spots[self.clients[client].user] {
                    let until = self.now + SERVICE_TTL_MS + HEALS_MS;
                    spot.open_until = spot.open_until.max(until);
                    spot.excuse(until);
                }
            }
            Some(Asked::Serve { client, room, node }) if is_granted => {
                self.sockets += 1;
                let it = &mut self.clients[client];
                it.joined[room] = true;
                it.socket = Some(Socket {
                    id: self.sockets,
                    node,
                    latency_ms: 1,
                    is_open: true,
                });
                let user = it.user;
                self.refresh(user, true, 0);
                self.excuse_if_unsound(user, node);
                let over = Event::ServiceOver(client, self.sockets);
                self.at(self.now + SERVICE_TTL_MS - 1_000, over);
            }
            Some(Asked::Choose { user, said }) if is_granted => {
                let it = &mut self.said[user][said];
                it.confirmed_at = Some(self.now);
                // It lasts from when it was handled, which may have been as late as this.
                let late = self.now - it.at;
                let end = it.ends.as_mut().map(|(_, end)| {
                    *end += late;
                    *end
                });
                if let Some(end) = end {
                    self.at(end, Event::Over(user));
                }
                log!(self, "{} is told: {:?}", USERS[user], self.said[user][said]);
                self.refresh(user, true, SEEN_MS);
            }
            Some(_) => {}
        }
    }

    fn is_just_kicked(&self, client: usize) -> bool {
        let kicked_at = self.kicked_at[self.clients[client].user];
        kicked_at.is_some_and(|at| self.now < at + SEEN_MS)
    }

    // Clients.

    fn socket(&self, client: usize, socket: u64) -> Option<&Socket> {
        self.clients[client]
            .socket
            .as_ref()
            .filter(|it| it.id == socket)
    }

    fn send(&mut self, client: usize, socket: u64, what: ToClient) {
        let latency = self.chance.within(1..10);
        let latency = self
            .socket(client, socket)
            .map_or(latency, |it| it.latency_ms);
        self.at(
            self.now + latency,
            Event::ToClient {
                client,
                socket,
                what,
            },
        );
    }

    fn say(&mut self, client: usize, said: Said_) {
        if let Some(socket) = &self.clients[client].socket {
            let (node, at) = (socket.node, self.now + socket.latency_ms);
            let socket = socket.id;
            self.post(node, at, ToNode::FromClient { socket, said });
        }
    }

    fn connect(&mut self, client: usize, node: usize) {
        if self.clients[client].socket.is_some() {
            // The old connection is cut as a rule, and hangs now and then.
            match self.chance.one_in(4) {
                true => self.silence(client),
                false => self.break_off(client),
            }
        }
        self.sockets += 1;
        let latency_ms = self.chance.within(1..15);
        // If the store does not say whether it grants the session, a new one begins, even if the client is gone by then.
        self.gaps[self.clients[client].user].push((self.now, self.now));
        let it = &mut self.clients[client];
        it.attempts += 1;
        it.socket = Some(Socket {
            id: self.sockets,
            node,
            latency_ms,
            is_open: false,
        });
        let socket = self.sockets;
        self.post(
            node,
            self.now + latency_ms,
            ToNode::Connect { client, socket },
        );
    }

    fn break_off(&mut self, client: usize) {
        let Some(socket) = self.clients[client].socket.clone() else {
            return;
        };
        self.drop_socket(client, false, GRACE_MS + SEEN_MS);
        let at = self.now + self.chance.within(15..60);
        let (node, socket, reason) = (socket.node, socket.id, Reason::Lost);
        self.post(node, at, ToNode::Gone { socket, reason });
    }

    fn silence(&mut self, client: usize) {
        let Some(socket) = self.clients[client].socket.clone() else {
            return;
        };
        self.drop_socket(client, false, PING_MS + PONG_MS + GRACE_MS + 2 * SEEN_MS);
        let at = self.now + self.chance.within(PONG_MS..PING_MS + PONG_MS);
        let (node, socket, reason) = (socket.node, socket.id, Reason::TimedOut);
        self.post(node, at, ToNode::Gone { socket, reason });
    }

    /// The client has no connection any more.
    fn drop_socket(&mut self, client: usize, is_clean: bool, bound_ms: u64) {
        // Where somebody may have been cut off from the store, it is waited for them.
        let is_proven_late = bound_ms > SEEN_MS && self.was_in_trouble();
        let bound_ms = bound_ms + if is_proven_late { PROOF_MS } else { 0 };
        let it = &mut self.clients[client];
        // One that was not told yet that it is in may be in.
        if it.socket.take().is_some() {
            it.off_at = self.now;
            let user = it.user;
            self.refresh(user, is_clean, bound_ms);
        }
    }

    fn return_later(&mut self, client: usize) {
        if client < CLIENTS.len()
            && let Some(ms) = self.script.returns_ms[client]
        {
            let attempt = self.clients[client].attempts;
            self.at(self.now + ms, Event::Return(client, attempt));
        }
    }

    fn client_hears(&mut self, client: usize, socket: u64, what: ToClient) {
        if self.socket(client, socket).is_none() {
            return;
        }
        log!(self, "client {client} hears: {what:?}");
        let it = &mut self.clients[client];
        let user = it.user;
        match what {
            ToClient::Welcome(connection, restored) => {
                let node = {
                    let socket = it.socket.as_mut().unwrap();
                    socket.is_open = true;
                    socket.node
                };
                it.token = Some(connection);
                if !restored {
                    it.joined = [false; ROOMS];
                }
                let (wants, activity) = (it.wants, it.activity);
                self.gaps[user].push((it.off_at, self.now));
                self.refresh(user, true, 0);
                self.excuse_if_unsound(user, node);
                self.say(client, Said_::Report(activity));
                for (room, wanted) in wants.into_iter().enumerate() {
                    match wanted {
                        true => self.say(client, Said_::Join(room)),
                        false => self.say(client, Said_::Depart(room)),
                    }
                }
                self.at(self.now + HEARTBEAT_MS, Event::Beat(client, socket));
            }
            ToClient::Joined(room) => {
                if it.wants[room] {
                    it.joined[room] = true;
                    self.refresh(user, true, 0);
                }
            }
            ToClient::Closed(reason) => {
                match reason {
                    // The node is gone, or going.
                    None => {
                        let node = it.socket.as_ref().unwrap().node;
                        let bound = match self.nodes[node].machine.is_some() {
                            true => GRACE_MS + SEEN_MS,
                            false => LAPSES_LATE_MS,
                        };
                        self.drop_socket(client, false, bound);
                        self.return_later(client);
                    }
                    Some(Reason::Kicked) => self.drop_socket(client, true, SEEN_MS),
                    Some(_) => {
                        self.drop_socket(client, false, GRACE_MS + SEEN_MS);
                        self.return_later(client);
                    }
                }
            }
        }
    }

    // The script.

    fn act(&mut self, index: usize) {
        let what = self.script.steps[index].what.clone();
        log!(self, "{what:?}");
        if what.is_fault() {
            return self.fail(what);
        }
        match what {
            What::Connect { client, node } => self.connect(client, node),
            What::Break { client } => self.break_off(client),
            What::Silence { client } => self.silence(client),
            // Who was not told yet that they are in cannot leave.
            What::Leave { client } if !self.clients[client].is_in(PROFILE) => {
                self.break_off(client)
            }
            What::Leave { client } => {
                self.say(client, Said_::Left);
                self.drop_socket(client, true, SEEN_MS);
                for spot in &mut self.spots[self.clients[client].user] {
                    if spot.on != Sure::Yes {
                        spot.unsettle();
                    }
                }
                self.clients[client].token = None;
            }
            What::Join { client, room } => {
                self.clients[client].wants[room] = true;
                self.say(client, Said_::Join(room));
            }
            What::Depart { client, room } => {
                self.clients[client].wants[room] = false;
                self.say(client, Said_::Depart(room));
                self.spots[self.clients[client].user][room].unsettle();
                if std::mem::take(&mut self.clients[client].joined[room]) {
                    self.refresh(self.clients[client].user, true, SEEN_MS);
                }
            }
            What::Report { client, activity } => {
                self.clients[client].activity = activity;
                self.say(client, Said_::Report(activity));
            }
            What::Choose {
                user,
                node,
                chosen,
                lasts_ms,
            } => self.choose(user, node, chosen, lasts_ms),
            What::Kick { user, node } => self.kick(user, node),
            // The service would not wait for so long.
            What::Act { node, .. } if self.nodes[node].sleeps_until > self.now => {}
            What::Act { user, node, room } => {
                let client = CLIENTS.len() + user;
                let at = self.now + 5;
                self.post(node, at, ToNode::Serve { client, room });
            }
            What::Watch { node, topic } => self.toggle_watch(node, topic),
            What::WatchUser { node, user } => self.toggle_watch(node, PROFILE + user),
            _ => {}
        }
    }

    fn choose(&mut self, user: usize, node: usize, chosen: Chosen, lasts_ms: Option<u64>) {
        if !self.nodes[node].is_accepting {
            return;
        }
        let said = self.said[user].len();
        let message = format!("m{said}");
        // Clocks that are off end it early; the last of them ends it late.
        let skew = self
            .script
            .skews_ms
            .iter()
            .map(|it| it.unsigned_abs())
            .max();
        let skew = skew.unwrap_or(0) * 2;
        let ends = lasts_ms.map(|ms| {
            let end = self.now + ms;
            (end.saturating_sub(skew), end + skew + SEEN_MS)
        });
        self.said[user].push(Said {
            chosen,
            message: Some(message.clone()),
            at: self.now,
            confirmed_at: None,
            ends,
        });
        self.refresh(user, true, SEEN_MS);
        if let Some((may_end, end)) = ends {
            self.at(may_end, Event::Over(user));
            self.at(end, Event::Over(user));
        }
        let reply_to = self.reply_to(Asked::Choose { user, said });
        let change = StatusChange {
            chosen: Some(chosen),
            message: Edit::Set(message.into()),
            emoji: Edit::Keep,
            expiry: match lasts_ms {
                Some(ms) => Edit::Set(Expiry::After(Duration::from_millis(ms))),
                None => Edit::Clear,
            },
        };
        let input = users::Input::Chose {
            change,
            reply_to: Some(reply_to),
        };
        let input = node::Input::User(user_id(user), input);
        self.post(node, self.now, ToNode::Input(input));
    }

    fn kick(&mut self, user: usize, node: usize) {
        if !self.nodes[node].is_accepting || self.nodes[node].sleeps_until > self.now {
            return;
        }
        self.kicked_at[user] = Some(self.now);
        for spot in &mut self.spots[user] {
            spot.excuse(self.now + 5_000);
            spot.open_until = spot.open_until.max(self.now + 3 * SEEN_MS);
        }
        let service = CLIENTS.len() + user;
        self.drop_socket(service, true, SERVICE_TTL_MS + SEEN_MS);
        self.clients[service].joined = [false; ROOMS];
        let reply_to = Some(self.reply_to(Asked::Other));
        let input = node::Input::User(user_id(user), users::Input::Kicked { reply_to });
        self.post(node, self.now, ToNode::Input(input));
    }

    fn toggle_watch(&mut self, node: usize, spot: usize) {
        if self.nodes[node].sleeps_until > self.now {
            return;
        }
        let is_watched = !self.watches.remove(&(node, spot));
        if is_watched {
            self.watches.insert((node, spot));
        }
        if self.nodes[node].machine.is_none() {
            return;
        }
        if is_watched {
            return self.watch(node, spot);
        }
        let input = if spot < PROFILE {
            self.views.remove(&(node, spot));
            let (topic, watching) = (super::topic(spot), Watching::Full);
            node::Input::Roster(rosters::Input::Unwatched { topic, watching })
        } else {
            self.public_views.remove(&(node, spot - PROFILE));
            node::Input::User(user_id(spot - PROFILE), users::Input::Unwatched)
        };
        self.post(node, self.now, ToNode::Input(input));
    }

    fn watch(&mut self, node: usize, spot: usize) {
        let watcher = watcher_id(node, spot);
        self.began_at.insert((node, spot), self.now);
        let reply_to = Some(self.reply_to(Asked::Other));
        let input = if spot < PROFILE {
            self.views.insert((node, spot), View::default());
            node::Input::Roster(rosters::Input::Watched {
                topic: super::topic(spot),
                watcher,
                watching: Watching::Full,
                before: None,
                have: None,
                reply_to,
            })
        } else {
            self.public_views
                .insert((node, spot - PROFILE), PublicViewCheck::default());
            let input = users::Input::Watched { watcher, reply_to };
            node::Input::User(user_id(spot - PROFILE), input)
        };
        self.post(node, self.now, ToNode::Input(input));
    }

    fn everyone_goes(&mut self) {
        for client in 0..CLIENTS.len() {
            self.say(client, Said_::Left);
            self.drop_socket(client, true, SEEN_MS);
        }
        for (node, spot) in self.watches.clone() {
            self.toggle_watch(node, spot);
        }
    }

    // Faults.

    fn fail(&mut self, what: What) {
        match what {
            What::Kill { node, back_ms } => {
                if self.nodes[node].sleeps_until > self.now {
                    self.disturb(node, LEASE_AT_RISK_MS); // it has not renewed its lease for a while
                }
                if self.nodes[node].machine.is_some() {
                    self.die(node);
                }
                self.at(self.now + back_ms, Event::Start(node));
            }
            What::Stop {
                node,
                drain_ms,
                back_ms,
            } => self.stop(node, drain_ms, back_ms),
            What::Pause { node, ms } => {
                let it = &mut self.nodes[node];
                it.sleeps_until = it.sleeps_until.max(self.now + ms);
                it.wakes_late_ms = std::array::from_fn(|_| self.odds.below(40));
                if ms >= STOOD_STILL_MS {
                    it.has_slept = [true; MAILBOXES.len()];
                }
                self.calm_at = self.calm_at.max(self.now + ms + HEALS_MS);
                // One that is about to exit renews its lease no more.
                let is_stopping = !self.nodes[node].is_accepting;
                self.disturb(
                    node,
                    if is_stopping {
                        ms.max(LEASE_AT_RISK_MS)
                    } else {
                        ms
                    },
                );
            }
            What::Cut { node, server, ms } => {
                for server in some(server) {
                    let until = &mut self.nodes[node].cut_until[server];
                    *until = (*until).max(self.now + ms);
                    self.nodes[node].has_missed[server] = true;
                }
                self.store_fault(ms);
                self.disturb(node, ms);
            }
            What::Away { server, ms } => {
                for server in some(server) {
                    self.take_away(server, ms);
                }
                self.store_fault(ms);
            }
            What::Asleep { server, ms } => {
                for server in some(server) {
                    self.put_to_sleep(server, ms);
                }
                self.store_fault(ms);
            }
            What::Wipe { server } => {
                self.excuse_all_if_faulty();
                for server in some(server) {
                    self.store.wipe(server);
                }
                self.store_fault(0);
            }
            What::FailOver {
                server,
                away_ms,
                lost_ms,
            } => {
                self.excuse_all_if_faulty();
                self.store
                    .fail_over(server, self.now.saturating_sub(lost_ms));
                self.take_away(server, away_ms);
                self.store_fault(away_ms);
            }
            What::Noise {
                lost_percent,
                failed_percent,
                ms,
            } => {
                self.noise = (self.now + ms, lost_percent, failed_percent);
                self.store_fault(ms);
            }
            What::NoDatabase { ms } => {
                self.no_database_until = self.no_database_until.max(self.now + ms);
                self.store_fault(ms);
            }
            _ => {}
        }
    }

    fn take_away(&mut self, server: usize, ms: u64) {
        let until = &mut self.away_until[server];
        *until = (*until).max(self.now + ms);
        for node in &mut self.nodes {
            node.has_missed[server] = true;
        }
    }

    fn put_to_sleep(&mut self, server: usize, ms: u64) {
        let until = self.now + ms;
        self.asleep_until[server] = self.asleep_until[server].max(until);
        self.away_until[server] = self.away_until[server].max(until);
        for node in 0..self.nodes.len() {
            // It may have connected again meanwhile.
            self.nodes[node].has_missed[server] |= self.chance.one_in(2);
        }
    }

    /// Data is lost, and its owners may not be able to write it again in time.
    fn excuse_all_if_faulty(&mut self) {
        // What is missing is held until every node has had time to write again.
        let back_at = self.away_until.iter().copied().max().unwrap_or(0);
        self.calm_at = self.calm_at.max(back_at.max(self.now) + PROOF_MS);
        if self.is_faulty() {
            self.blurred_until = self.now + 40_000;
        }
        self.lost_at = self.now;
    }

    fn store_fault(&mut self, ms: u64) {
        if self.lost_at > 0 && self.lost_at < self.now && self.now < self.lost_at + 15_000 {
            self.blurred_until = self.now + ms + 40_000;
        }
        if self.lost_at > 0 && self.now < self.lost_at + PROOF_MS {
            // What is missing can be proven to be gone only once the store can be asked again.
            self.calm_at = self.calm_at.max(self.now + ms + PROOF_MS);
        }
        // Who is about to be told as lost is told once that is proven.
        let proven_at = self.now + ms + PROOF_MS;
        for spot in self.spots.iter_mut().flatten() {
            if spot.on == Sure::No && self.now < spot.open_until {
                spot.open_until = spot.open_until.max(proven_at);
            }
        }
        self.faults.push((self.now, self.now + ms));
        let lapsing = self.lapses.iter().any(|it| it + 60_000 > self.now);
        self.calm_after(
            ms + match lapsing {
                true => LAPSES_LATE_MS,
                false => HEALS_MS,
            },
        );
    }

    /// Whether a node may not have said yet that all of its own is in the store.
    fn was_in_trouble(&self) -> bool {
        let mut faults = self.faults.iter();
        let mut lapses = self.lapses.iter();
        faults.any(|(_, end)| end + TROUBLE_MS > self.now)
            || lapses.any(|at| at + TROUBLE_MS > self.now)
    }

    /// Whether something is wrong with the store, or was a moment ago.
    fn is_faulty(&self) -> bool {
        let mut faults = self.faults.iter();
        faults.any(|(_, end)| end + 3_000 > self.now)
    }

    /// A node hears and says nothing for so long.
    fn disturb(&mut self, node: usize, ms: u64) {
        if ms < LEASE_AT_RISK_MS {
            return;
        }
        let until = self.now + ms + 20_000;
        self.nodes[node].unsound_until = self.nodes[node].unsound_until.max(until);
        self.lapses.push(self.now + ms);
        self.calm_at = self.calm_at.max(self.now + ms + 2 * HEALS_MS);
        for user in 0..USERS.len() {
            self.excuse_if_unsound(user, node);
        }
    }

    /// Those who are, or were a moment ago, on a node that may be taken for dead may be drawn as gone.
    fn excuse_if_unsound(&mut self, user: usize, node: usize) {
        let until = self.nodes[node].unsound_until;
        if until > self.now {
            for spot in &mut self.spots[user] {
                spot.excuse(until);
            }
        }
    }

    fn stop(&mut self, node: usize, drain_ms: u64, back_ms: u64) {
        if !self.nodes[node].is_accepting {
            return;
        }
        self.nodes[node].is_accepting = false;
        let time = Duration::from_millis(drain_ms + GRACE_MS);
        let input = node::Input::Leases(nodes::Input::Stopping(time));
        self.post(node, self.now, ToNode::Input(input));
        let sockets: Vec<u64> = self.nodes[node].sockets.keys().copied().collect();
        for socket in sockets {
            let at = self.now + self.chance.below(drain_ms);
            self.post(node, at, ToNode::Shut { socket });
        }
        let exit = self.now + drain_ms;
        let life = self.nodes[node].life;
        self.at(exit, Event::Exit(node, life));
        self.at(exit + back_ms, Event::Start(node));
    }

    // Verdicts.

    pub(super) fn breaks(&mut self, invariant: &'static str, how: String) {
        log!(self, "BROKEN {invariant}: {how}");
        let (seconds, millis) = (self.now / 1000, self.now % 1000);
        let how = format!("at {seconds}.{millis:03}s {how}");
        self.broken.get_or_insert(Broken { invariant, how });
    }

    /// What may be a user's status. Nothing that a visitor said outlives their sessions, so it may be any of that.
    fn possible(&self, user: usize) -> Vec<(Chosen, Option<String>)> {
        let said = &self.said[user];
        match user_id(user).is_anonymous() {
            true => said
                .iter()
                .map(|it| (it.chosen, it.message.clone()))
                .collect(),
            false => possible(said, self.now),
        }
    }

    /// Whether a user may be seen, as far as can be said.
    fn shown(&self, user: usize) -> Sure {
        let possible = self.possible(user);
        let hides = possible.iter().filter(|(chosen, _)| chosen.hides());
        match hides.count() {
            0 => Sure::Yes,
            all if all == possible.len() => Sure::No,
            _ => Sure::Maybe,
        }
    }

    /// Something has happened to a user.
    fn refresh(&mut self, user: usize, is_clean: bool, bound_ms: u64) {
        let shown = self.shown(user);
        for spot in 0..SPOTS {
            let here = self.clients.iter().filter(|it| it.user == user);
            let mut here = here.filter(|it| it.is_in(spot));
            let on = match here.next() {
                None => Sure::No,
                Some(_) => shown,
            };
            let was = self.spots[user][spot].on;
            // Whoever hides does so on purpose.
            let is_clean = is_clean || shown != Sure::Yes;
            self.spots[user][spot].become_(self.now, on, is_clean, bound_ms);
            if shown != Sure::Yes {
                self.spots[user][spot].unsettle();
            }
            if was != on {
                log!(self, "    {} in {spot}: {on:?}", USERS[user]);
            }
        }
    }

    /// What a watcher was told: is that so, or can they know no better?
    fn judge(&mut self, node: usize, spot: usize, steps: Result<Vec<Step>, String>) {
        let steps = match steps {
            Ok(steps) => steps,
            Err(how) => {
                return self.breaks(
                    "I2 one transition, one event",
                    format!("a watcher on node {node} in {} {how}", spot_name(spot)),
                );
            }
        };
        for step in steps {
            let (Step::Left(user) | Step::Joined(user) | Step::Updated(user)) = &step;
            let index = USERS.iter().position(|it| *it == user.as_str()).unwrap();
            let it = self.spots[index][spot];
            match step {
                Step::Left(_) => self.judge_leave(node, index, spot, it),
                Step::Joined(_) => self.judge_join(node, index, spot),
                Step::Updated(_) => {}
            }
        }
    }

    fn judge_leave(&mut self, node: usize, user: usize, spot: usize, it: Spot) {
        let is_quiet = self.now >= self.calm_at + 30_000;
        let lag = match is_quiet {
            true => 3_000,
            false => 40_000,
        };
        // A move while the store was away, or told nothing, cannot be known of.
        let blurs = |(off, on): &(u64, u64)| {
            let overlaps = |(start, end): &(u64, u64)| *start <= on + 3_000 && *end + 3_000 >= *off;
            on + 45_000 > self.now && self.faults.iter().any(overlaps)
        };
        let is_move = self.gaps[user].iter().any(blurs);
        // Who began to watch while the store was away was not told of those on other nodes.
        let began_at = self.began_at.get(&(
            node,
            if spot == PROFILE {
                PROFILE + user
            } else {
                spot
            },
        ));
        let is_new = |(start, end): &(u64, u64)| {
            let began = began_at.is_some_and(|at| *start <= at + 1_000 && *at <= end + 3_000);
            began && self.now <= end + HEALS_MS
        };
        let is_new = self.faults.iter().any(is_new);
        if let Some(since) = it.steady_since(self.now)
            && !is_new
            && self.now >= self.blurred_until
            && since + lag <= self.now
            && !is_move
        {
            let how = format!(
                "a watcher on node {node} is told that {} left {}, and they have been there since {}.{:03}s",
                USERS[user],
                spot_name(spot),
                since / 1000,
                since % 1000
            );
            self.breaks("I4 no flaps", how);
        }
    }

    fn judge_join(&mut self, node: usize, user: usize, spot: usize) {
        // Hidden for so long, and everyone could know.
        let is_hidden = self.shown(user) == Sure::No;
        let said = &self.said[user];
        let since = said.iter().filter_map(|it| it.confirmed_at).max();
        let since = since.unwrap_or(0).max(self.calm_at);
        if is_hidden && since + SEEN_MS < self.now {
            let how = format!(
                "a watcher on node {node} is told that {} came to {}, and they hide",
                USERS[user],
                spot_name(spot)
            );
            self.breaks("I5 no leaks", how);
        }
    }

    /// Compares what everyone draws with what is true.
    fn sample(&mut self) {
        if self.now < self.calm_at || self.is_over {
            self.wrong_since.clear();
            return;
        }
        let watched: Vec<(usize, usize)> = self.views.keys().copied().collect();
        for (node, spot) in watched {
            for user in 0..USERS.len() {
                let view = &self.views[&(node, spot)];
                let drawn = view.look(&user_id(user));
                let is_blank = view.is_blank();
                let look = drawn.map(|it| (it.status, it.message.clone()));
                self.compare_drawn(node, spot, spot, user, look, is_blank);
            }
        }
        let watched: Vec<(usize, usize)> = self.public_views.keys().copied().collect();
        for (node, user) in watched {
            let public_view = self.public_views[&(node, user)].public_view.as_ref();
            let is_blank = public_view.is_none();
            let look = public_view.filter(|it| it.look.status != Visible::Offline);
            let look = look.map(|it| (it.look.status, it.look.message.clone()));
            self.compare_drawn(node, PROFILE, PROFILE + user, user, look, is_blank);
        }
    }

    fn compare_drawn(
        &mut self,
        node: usize,
        spot: usize,
        watch: usize,
        user: usize,
        drawn: Option<(Visible, Option<Arc<str>>)>,
        is_blank: bool,
    ) {
        let it = self.spots[user][spot];
        let key = (node, watch, user);
        let is_wrong = match (it.on, &drawn) {
            _ if is_blank => Some("nothing yet".to_owned()),
            (Sure::Yes, None) => Some("as gone".to_owned()),
            (Sure::Yes, Some((status, message))) => {
                let possible = self.possible(user);
                let fits = |(chosen, words): &(Chosen, Option<String>)| {
                    words.as_deref() == message.as_deref() && self.fits(user, *chosen, *status)
                };
                (!possible.iter().any(fits)).then(|| format!("as {status:?} {message:?}"))
            }
            (Sure::No, Some((status, _))) if self.now > it.open_until => {
                Some(format!("as {status:?}"))
            }
            _ => None,
        };
        let Some(how) = is_wrong else {
            self.wrong_since.remove(&key);
            return;
        };
        let since = *self.wrong_since.entry(key).or_insert(self.now);
        if since + SEEN_MS < self.now {
            let truth = match it.on {
                Sure::Yes => format!("may be {:?}", self.possible(user)),
                _ => "are not there".to_owned(),
            };
            let invariant = match it.on {
                Sure::No => "I3 no ghosts",
                _ => "I1 convergence",
            };
            let how = format!(
                "a watcher on node {node} still draws {} in {} {how}, and they {truth}",
                USERS[user],
                spot_name(spot)
            );
            self.breaks(invariant, how);
        }
    }

    /// Whether a status can be what others see of a choice. Who is active is not looked at that closely.
    fn fits(&self, user: usize, chosen: Chosen, status: Visible) -> bool {
        match chosen {
            Chosen::Online => {
                let its = self.clients.iter().filter(|it| it.user == user);
                let mut open = its.filter(|it| it.is_in(PROFILE));
                let is_settled = self.spots[user][PROFILE].open_until < self.now;
                let all_active = open.all(|it| it.activity == Activity::Active);
                status == Visible::Online
                    || (status == Visible::Away && !(all_active && is_settled))
            }
            Chosen::Away => status == Visible::Away,
            Chosen::Busy => status == Visible::Busy,
            Chosen::Invisible | Chosen::Offline => false,
        }
    }

    /// What a node answers who asks for a list is what its watchers draw.
    fn lists_are_as_drawn(&mut self) {
        let mut wrong = None;
        for ((node, spot), view) in &self.views {
            let Some(machine) = &self.nodes[*node].machine else {
                continue;
            };
            let mut listed = machine.list(&super::topic(*spot));
            listed.sort_unstable();
            let drawn: Vec<UserId> = view.people.keys().cloned().collect();
            if listed != drawn {
                let name = spot_name(*spot);
                wrong = Some(format!(
                    "node {node} lists {listed:?} in {name}, and draws {drawn:?}"
                ));
            }
        }
        if let Some(how) = wrong {
            self.breaks("I1 convergence", how);
        }
    }

    /// At the end: all nodes say the same, and what was confirmed is kept.
    fn agree(&mut self) {
        self.lists_are_as_drawn();
        for (user, name) in USERS.iter().enumerate() {
            if user_id(user).is_anonymous() {
                continue;
            }
            let public_views: Vec<_> = self
                .public_views
                .iter()
                .filter(|(key, _)| key.1 == user)
                .collect();
            // Who was left by the others may hear of it late that somebody was seen there meanwhile, and nobody is told that.
            let all_sound = self.nodes.iter().all(|it| it.unsound_until == 0);
            let is_exact = self.faults.is_empty() && all_sound;
            let text = |public_view: &presence_core::PublicView| {
                let seen = public_view.last_seen.filter(|_| is_exact);
                format!("{:?} {seen:?} {:?}", public_view.look, public_view.devices)
            };
            let texts: BTreeSet<_> = public_views
                .iter()
                .filter_map(|(_, it)| it.public_view.as_ref().map(text))
                .collect();
            if texts.len() > 1 {
                let how = format!("watchers of {} draw {texts:?}", name);
                return self.breaks("I1 convergence", how);
            }
            let stored = self.store.read(&Subject::User(user_id(user)));
            let stored = stored
                .entries
                .iter()
                .find_map(|(_, _, record)| match record {
                    presence_core::cluster::Record::Profile(profile) => Some((**profile).clone()),
                    _ => None,
                });
            let kept = self.profiles.get(&user_id(user)).cloned();
            let newest = stored.into_iter().chain(kept);
            let newest = newest.max_by_key(|it| it.status.revision);
            let message = newest.as_ref().and_then(|it| it.status.message.clone());
            let time = self.store.time(self.now);
            let ends_at = newest.as_ref().and_then(|it| it.status.expires_at);
            // What has ended is over for whoever asks, even if nobody has asked yet.
            let may_be_over = ends_at.is_some_and(|at| at <= time);
            let possible = self.possible(user);
            let is_kept = possible.iter().any(|(_, words)| {
                words.as_deref() == message.as_deref() || may_be_over && words.is_none()
            });
            if !is_kept {
                let how = format!(
                    "the status of {} is kept as {message:?}, and may be {possible:?}",
                    name
                );
                return self.breaks("I6 acknowledged is kept", how);
            }
        }
    }

    /// After everything has healed, the database has what the store has, and nothing waits.
    fn everything_is_saved(&mut self) {
        if self.nodes.iter().all(|it| it.machine.is_none()) {
            return;
        }
        let waiting = self.store.waiting(self.now);
        if !waiting.is_empty() {
            let how = format!("{waiting:?} waits to be saved, and nobody saves it");
            return self.breaks("I6 acknowledged is kept", how);
        }
        for user in (0..USERS.len()).map(user_id) {
            let map = self.store.read(&Subject::User(user.clone()));
            let kept = self.profiles.get(&user);
            let how = match Carried::of(&map) {
                Carried::Save(profile) if !user.is_anonymous() && kept != Some(&*profile) => {
                    format!("{user} is kept as {kept:?}, and was last {profile:?}")
                }
                _ => continue,
            };
            return self.breaks("I6 acknowledged is kept", how);
        }
    }

    /// After everyone has gone, there is nothing left but profiles.
    fn nothing_is_left(&mut self) {
        let mut left = Vec::new();
        for (subject, map) in self.store.maps() {
            for (field, token) in map.entries() {
                let is_kept = matches!(
                    (subject, field),
                    (Subject::User(user), presence_core::cluster::Field::Profile) if !user.is_anonymous()
                );
                // Nobody may be left to remove what a visitor said, when their node has died.
                let is_orphaned =
                    field == presence_core::cluster::Field::Profile && !self.lapses.is_empty();
                if !is_kept && !is_orphaned {
                    left.push(format!("{subject}: {field:?} {token:?}"));
                }
            }
        }
        for (who, subject) in self.store.notes() {
            left.push(format!("the note that {who} has entries in {subject}"));
        }
        for (node, it) in self.nodes.iter().enumerate() {
            if let Some(machine) = &it.machine {
                let text = machine.users_text() + &machine.rosters_text();
                for empty in ["users: {}", "places: {}", "waiting: {}"] {
                    if !text.contains(empty) {
                        let at = text.find(empty.trim_end_matches("{}")).unwrap_or(0);
                        let what: String = text[at..].chars().take(300).collect();
                        left.push(format!("on node {node}: {what}"));
                    }
                }
            }
        }
        if !left.is_empty() {
            self.breaks("I7 bounded", format!("there is left {}", left.join("; ")));
        }
    }
}

fn some(server: Option<usize>) -> std::ops::Range<usize> {
    match server {
        Some(server) => server..server + 1,
        None => 0..SERVERS,
    }
}

fn watcher_id(node: usize, spot: usize) -> SessionId {
    SessionId::from_u128(1 << 80 | (node as u128) << 8 | spot as u128)
}

fn channel(room: usize) -> ChannelId {
    ChannelId::new(&format!("room:{room}")).unwrap()
}

fn spot_name(spot: usize) -> String {
    match spot < TOPICS {
        true => super::topic(spot).to_string(),
        false => "their public views".to_owned(),
    }
}

fn told(event: &Told) -> String {
    match event {
        Told::Everyone { people, .. } => {
            let people: Vec<_> = people.iter().map(|it| it.user.as_str()).collect();
            format!("everyone: {people:?}")
        }
        Told::Changes { changes, .. } => {
            let changes = changes.iter().map(|it| match it {
                presence_core::Change::Joined(it) => format!("+{}", it.user),
                presence_core::Change::Updated { to: it, .. } => {
                    format!("~{} {:?}", it.user, it.look())
                }
                presence_core::Change::Left { person, reason } => {
                    format!("-{} {reason:?}", person.user)
                }
            });
            changes.collect::<Vec<_>>().join(", ")
        }
        other => format!("{other:?}"),
    }
}
