//! One process, around its machines: its connections, and what it asks of the store.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use presence_core::cluster::{
    Incarnation, Op, PARTITIONS, Patch, Reply, Request, Subject, Write, nodes,
};
use presence_core::node::Input;
use presence_core::users::Connection;
use presence_core::{Profile, Timestamp, UserId};

use super::machines::{MAILBOXES, Machines, Mailbox};
use super::planted::Planted;
use super::script::{TOPICS, USERS};
use super::store::{SERVERS, server_of};
use super::world::{Event, TIMEOUT_MS, ToNode, World};

/// Something on its way to the store.
pub(super) enum Call {
    Ask(Request),
    /// A write that nobody waits for any more.
    Late(Write),
    /// The second half of [`Request::Open`].
    ReadOpened {
        subject: Subject,
        ask: u32,
    },
    Renew {
        me: Incarnation,
        ttl: Duration,
        stored_up_to: Timestamp,
    },
    MarkDead(Incarnation),
    Reap(Incarnation),
    Forget(Incarnation),
    /// A note that is planted to be late.
    Note(Incarnation, Subject),
}

pub(super) struct Driver {
    pub(super) machine: Option<Machines>,
    /// Which process this is in its place: what was meant for another one is dropped.
    pub(super) life: u32,
    pub(super) skew_ms: i64,
    pub(super) is_accepting: bool,
    pub(super) sleeps_until: u64,
    /// When it last began to.
    pub(super) sleeps_since: u64,
    /// When it slept, from when until when.
    pub(super) slept: Vec<(u64, u64)>,
    pub(super) started_at: u64,
    /// From when until when it last could not renew its lease.
    pub(super) held_up: (u64, u64),
    /// How much later than that each mailbox is looked at.
    pub(super) wakes_late_ms: [u64; MAILBOXES.len()],
    /// Which of them have yet to hear that the node slept.
    pub(super) has_slept: [bool; MAILBOXES.len()],
    pub(super) wakes_at: Option<u64>,
    /// How long anything takes to the store, and back.
    pub(super) latency_ms: u64,
    pub(super) slow_until: u64,
    /// When the last thing that one machine told the other is there.
    pub(super) told_at: u64,
    pub(super) sockets: BTreeMap<u64, Open>,
    pub(super) unsaved: BTreeMap<UserId, (Profile, u64)>,
    /// Servers that it cannot reach until then.
    pub(super) cut_until: [u64; SERVERS],
    /// It was cut off from them, and has not compared since.
    pub(super) has_missed: [bool; SERVERS],
    pub(super) unsound_until: u64,
    histories: [u64; SERVERS],
    followed: BTreeSet<Subject>,
    /// When the last request about a subject gets there, and when its reply is back: writes for themselves.
    there_at: BTreeMap<(Subject, bool), u64>,
    back_at: BTreeMap<(Subject, bool), u64>,
    noticed_at: u64,
    /// Requests that were not answered yet.
    under_way: BTreeMap<(Subject, bool), usize>,
    reaped: BTreeSet<Incarnation>,
    /// How many of its writes to each map were refused, in whole or in part.
    refused: BTreeMap<Subject, usize>,
}

/// What a node reads so shortly after it slept may have come before.
const LATE_MS: u64 = 1_500;
/// How many writes of a node to one map may be refused. One that goes on and on is a loop.
const REFUSED_MAX: usize = 100;

/// A connection that is open at this node, whatever the client thinks.
pub(super) struct Open {
    pub(super) client: usize,
    pub(super) connection: Option<Connection>,
}

impl Driver {
    pub(super) fn new(skew_ms: i64) -> Self {
        Driver {
            machine: None,
            life: 0,
            skew_ms,
            is_accepting: false,
            sleeps_until: 0,
            wakes_late_ms: [0; MAILBOXES.len()],
            sleeps_since: 0,
            slept: Vec::new(),
            started_at: 0,
            held_up: (0, 0),
            has_slept: [false; MAILBOXES.len()],
            wakes_at: None,
            latency_ms: 0,
            slow_until: 0,
            told_at: 0,
            sockets: BTreeMap::new(),
            unsaved: BTreeMap::new(),
            cut_until: [0; SERVERS],
            has_missed: [false; SERVERS],
            unsound_until: 0,
            histories: [0; SERVERS],
            followed: BTreeSet::new(),
            there_at: BTreeMap::new(),
            back_at: BTreeMap::new(),
            noticed_at: 0,
            under_way: BTreeMap::new(),
            reaped: BTreeSet::new(),
            refused: BTreeMap::new(),
        }
    }

    pub(super) fn start(&mut self, machine: Machines, histories: [u64; SERVERS]) {
        self.machine = Some(machine);
        self.histories = histories;
        self.is_accepting = true;
    }

    pub(super) fn die(&mut self) {
        self.machine = None;
        self.life += 1;
        self.is_accepting = false;
        self.sleeps_until = 0;
        self.wakes_late_ms = [0; MAILBOXES.len()];
        self.has_slept = [false; MAILBOXES.len()];
        self.wakes_at = None;
        self.told_at = 0;
        self.unsaved.clear();
        self.followed.clear();
        self.there_at.clear();
        self.back_at.clear();
        self.under_way.clear();
        self.reaped.clear();
        self.has_missed = [false; SERVERS];
    }

    /// A request is answered, and the next may come.
    pub(super) fn answered(&mut self, subject: &Subject, reply: &Reply) {
        let is_write = match reply {
            // Padded reads count down from the greatest number, and are not counted.
            Reply::Read { ask, .. } if *ask > u32::MAX / 2 => return,
            Reply::Read { .. } => false,
            Reply::Written(_) => true,
            // It is counted as a write to the place.
            _ => return,
        };
        if let Some(under_way) = self.under_way.get_mut(&(subject.clone(), is_write)) {
            *under_way = under_way.saturating_sub(1);
        }
    }

    /// Until when a mailbox is not looked at.
    pub(super) fn deaf_until(&self, mailbox: Mailbox) -> u64 {
        match self.sleeps_until {
            0 => 0,
            until => until + self.wakes_late_ms[mailbox as usize],
        }
    }

    /// Whether it slept in that time, or just before.
    pub(super) fn stood_still(&self, since: u64, until: u64) -> bool {
        let mut slept = self.slept.iter();
        slept.any(|(from, to)| *from <= until && since <= *to + LATE_MS)
    }

    pub(super) fn latency(&self, now: u64) -> u64 {
        if now < self.slow_until {
            self.latency_ms
        } else {
            0
        }
    }

    pub(super) fn open(&mut self, socket: u64, client: usize) {
        let connection = None;
        self.sockets.insert(socket, Open { client, connection });
    }

    /// Notes the connection of a socket; says whether that is still there.
    pub(super) fn welcome(&mut self, socket: u64, connection: Connection) -> bool {
        let open = self.sockets.get_mut(&socket);
        open.map(|it| it.connection = Some(connection)).is_some()
    }

    /// Says whose connection that was.
    pub(super) fn close(&mut self, socket: u64) -> Option<(usize, Connection)> {
        let open = self.sockets.remove(&socket)?;
        Some((open.client, open.connection?))
    }

    pub(super) fn close_connection(&mut self, connection: Connection) -> Option<(u64, usize)> {
        let mut sockets = self.sockets.iter();
        let is_it = |it: &(&u64, &Open)| it.1.connection == Some(connection);
        let (socket, client) = sockets.find(is_it).map(|(id, it)| (*id, it.client))?;
        self.sockets.remove(&socket);
        Some((socket, client))
    }
}

impl World<'_> {
    /// Sends a request to the store, behind the others about its subject.
    pub(super) fn ask(&mut self, node: usize, mut request: Request) {
        let subject = request.subject().clone();
        let latency = self.nodes[node].latency(self.now);
        let at = self.now + latency + self.chance.within(1..4);
        let driver = &mut self.nodes[node];
        let (skew, life) = (driver.skew_ms, driver.life);
        if let (Request::Write(write) | Request::HidePlace { write, .. }, Some(machine)) =
            (&mut request, &driver.machine)
        {
            write.until = Some(machine.lease_ends());
        }
        let time = presence_core::Timestamp::from_millis(
            (super::START + self.now).saturating_add_signed(skew),
        );
        let by = match &request {
            Request::Write(write) | Request::HidePlace { write, .. } => Some(write.by),
            _ => None,
        };
        let may_write = |it: &Machines| Some(it.me()) == by && it.may_write(time);
        let may_write = driver.machine.as_ref().is_some_and(may_write);
        if let Request::HidePlace { user, write } = request {
            if !may_write {
                return self.place_hidden(node, self.now + 1, user, &write, false);
            }
            let call = Call::Ask(Request::HidePlace { user, write });
            return self.at(at, Event::AtStore(node, life, call));
        }
        let is_write = matches!(request, Request::Write(_));
        let queue = (subject.clone(), is_write);
        let at = at.max(driver.there_at.get(&queue).copied().unwrap_or(0));
        let is_answered = !matches!(
            request,
            Request::Close(_) | Request::Ephemeral(..) | Request::PaddedRead { .. }
        );
        if is_answered {
            let under_way = driver.under_way.entry(queue.clone());
            let under_way = under_way.or_default();
            *under_way += 1;
            // Reading again is how a subject is opened anew, so two of these may overlap.
            if *under_way > if is_write { 1 } else { 2 } {
                let how = format!("node {node} asks too much of {subject} at once");
                return self.breaks("I7 bounded", how);
            }
        }
        if is_write && !may_write {
            return self.reply(node, self.now + 1, subject, Reply::Written(None));
        }
        driver.there_at.insert(queue.clone(), at);
        if let Request::Open { subject, ask } = &request {
            let read_at = at + self.chance.below(4);
            self.nodes[node].there_at.insert(queue, read_at);
            let (subject, ask) = (subject.clone(), *ask);
            self.at(at, Event::AtStore(node, life, Call::Ask(request)));
            let call = Call::ReadOpened { subject, ask };
            return self.at(read_at, Event::AtStore(node, life, call));
        }
        self.at(at, Event::AtStore(node, life, Call::Ask(request)));
    }

    fn reply(&mut self, node: usize, at: u64, subject: Subject, reply: Reply) {
        let queue = (subject.clone(), matches!(reply, Reply::Written(_)));
        let back_at = self.nodes[node].back_at.entry(queue).or_default();
        *back_at = at.max(*back_at);
        let at = *back_at;
        self.post(node, at, ToNode::Input(Input::Stored(subject, reply)));
    }

    /// A place was told that a user hides, or not.
    fn place_hidden(&mut self, node: usize, at: u64, user: UserId, write: &Write, is_done: bool) {
        let Subject::Topic(topic) = write.subject.clone() else {
            return;
        };
        let reply = Reply::PlaceHidden { topic, is_done };
        let input = Input::Stored(Subject::User(user), reply);
        self.post(node, at, ToNode::Input(input));
    }

    pub(super) fn ask_about_leases(&mut self, node: usize, effect: nodes::Effect) {
        if !matches!(effect, nodes::Effect::Renew { .. }) {
            super::world::log!(self, "  node {node}: {effect:?}");
        }
        let call = match effect {
            nodes::Effect::Renew {
                me,
                ttl,
                stored_up_to,
            } => Call::Renew {
                me,
                ttl,
                stored_up_to,
            },
            nodes::Effect::MarkDead(who) => Call::MarkDead(who),
            nodes::Effect::Reap(who) => Call::Reap(who),
            nodes::Effect::Forget(who) => Call::Forget(who),
            _ => return,
        };
        let at = self.now + self.nodes[node].latency(self.now) + self.chance.within(1..4);
        let life = self.nodes[node].life;
        self.at(at, Event::AtStore(node, life, call));
    }

    /// A call has got as far as the store, or would have.
    pub(super) fn call(&mut self, node: usize, life: u32, call: Call) {
        let is_alive = self.nodes[node].life == life;
        let is_sent = matches!(call, Call::Late(_));
        if !is_alive && !is_sent && (matches!(call, Call::Note(..)) || self.chance.one_in(2)) {
            return; // it was not sent before the process died
        }
        let subject = match &call {
            Call::Ask(request) => Some(request.subject().clone()),
            Call::Late(write) => Some(write.subject.clone()),
            Call::ReadOpened { subject, .. } | Call::Note(_, subject) => Some(subject.clone()),
            _ => None,
        };
        let server = subject.as_ref().map_or(0, server_of);
        let is_reached = self.reaches(node, server);
        self.queue_if_asleep(node, life, server, &call);
        let fails = self.fails_by_chance();
        let is_done = is_reached && (!fails || self.chance.one_in(2));
        let is_known = is_reached && !fails;
        let at = match is_known {
            true => self.now + self.nodes[node].latency(self.now) + self.chance.within(1..4),
            false => self.now + TIMEOUT_MS,
        };
        match call {
            Call::Ask(Request::Open { subject, .. }) => {
                if is_done && is_alive {
                    self.nodes[node].followed.insert(subject);
                }
            }
            Call::Ask(Request::Read { subject, ask }) | Call::ReadOpened { subject, ask } => {
                // Where it could not be followed, it was not opened.
                let is_followed = self.nodes[node].followed.contains(&subject);
                let snapshot = (is_known && is_followed).then(|| self.store.read(&subject));
                if is_alive {
                    self.reply(node, at, subject, Reply::Read { ask, snapshot });
                }
            }
            Call::Ask(Request::PaddedRead { subject, ask, .. }) => {
                let snapshot = is_known.then(|| self.store.read(&subject));
                if is_alive {
                    self.reply(node, at, subject, Reply::Read { ask, snapshot });
                }
            }
            Call::Ask(Request::Close(subject)) => {
                if is_alive {
                    self.nodes[node].followed.remove(&subject);
                }
            }
            Call::Late(write) => {
                if let Some((_, Some(patch))) = self.store.write(self.now, &write) {
                    super::world::log!(self, "  node {node} writes {} late", write.subject);
                    self.publish(&write.subject, &Reply::Patched(patch));
                }
            }
            Call::Ask(Request::HidePlace { user, write }) => {
                let is_real = self.script.planted != Planted::HidesOwnOnly;
                if let Some((_, Some(patch))) = is_done
                    .then(|| self.store.write(self.now, &write))
                    .flatten()
                    .filter(|_| is_real)
                {
                    super::world::log!(self, "  node {node} hides {user} in {}", write.subject);
                    self.publish(&write.subject, &Reply::Patched(patch));
                }
                if is_alive {
                    self.place_hidden(node, at, user, &write, is_known);
                }
            }
            Call::Ask(Request::Write(write)) => {
                let mut outcome = None;
                if !is_done && is_reached && self.chance.one_in(2) {
                    // It is on its way on a connection that was given up.
                    let late = self.now + self.chance.within(100..40_000);
                    self.at(late, Event::AtStore(node, life, Call::Late(write.clone())));
                }
                let done = is_done
                    .then(|| self.store.write(self.now, &write))
                    .flatten();
                if let Some((written, patch)) = done {
                    if self.script.planted == Planted::NoteAfterEntry && !write.is_last {
                        let late = self.now + 1_000;
                        let note = Call::Note(write.by, write.subject.clone());
                        self.at(late, Event::AtStore(node, life, note));
                    }
                    super::world::log!(
                        self,
                        "  node {node} writes {}: {:?} refused {:?}",
                        write.subject,
                        write
                            .ops
                            .iter()
                            .map(|it| (it.field(), token(it)))
                            .collect::<Vec<_>>(),
                        written.refused
                    );
                    if !written.refused.is_empty() {
                        self.count_refused(node, &write.subject);
                    }
                    outcome = is_known.then_some(written);
                    if let Some(patch) = patch {
                        self.publish(&write.subject, &Reply::Patched(patch));
                    }
                }
                if is_alive {
                    self.reply(node, at, write.subject, Reply::Written(outcome));
                }
            }
            Call::Ask(Request::Ephemeral(subject, ephemerals)) => {
                if is_done {
                    self.publish(&subject, &Reply::Ephemeral(ephemerals));
                }
            }
            Call::Note(by, subject) => self.store.note(self.now, by, &subject),
            Call::Renew {
                me,
                ttl,
                stored_up_to,
            } => {
                let leases = is_done.then(|| self.store.renew(self.now, me, ttl, stored_up_to));
                let leases = leases.filter(|_| is_known);
                if self.script.planted == Planted::MarksDeadAtOnce && is_known {
                    for who in self.store.lapsed(self.now) {
                        self.store.mark_dead(self.now, who);
                    }
                }
                if is_alive {
                    let input = leases.map_or(nodes::Input::Away, nodes::Input::Renewed);
                    self.post(node, at, ToNode::Input(Input::Leases(input)));
                }
            }
            Call::MarkDead(who) => {
                let is_dead = is_done && self.store.mark_dead(self.now, who);
                let is_dead = is_dead && is_known;
                if is_alive {
                    let input = nodes::Input::MarkedDead { who, is_dead };
                    self.post(node, at, ToNode::Input(Input::Leases(input)));
                }
            }
            Call::Reap(who) => self.reap(node, is_alive, who, is_done),
            Call::Forget(who) => {
                if is_done {
                    self.store.forget(self.now, who);
                }
            }
        }
    }

    fn count_refused(&mut self, node: usize, subject: &Subject) {
        let refused = self.nodes[node].refused.entry(subject.clone()).or_default();
        *refused += 1;
        if *refused > REFUSED_MAX {
            let how = format!("node {node} writes {subject} again and again, and is refused");
            self.breaks("I7 bounded", how);
        }
    }

    /// What is written to a server that stands still is done once it goes on, whether or not anybody waits for it.
    fn queue_if_asleep(&mut self, node: usize, life: u32, server: usize, call: &Call) {
        let is_removal = self.now < self.nodes[node].cut_until[server];
        let wakes_at = self.asleep_until[server];
        if is_removal || wakes_at <= self.now {
            return;
        }
        if let Call::Ask(Request::Write(write) | Request::HidePlace { write, .. }) = call {
            let late = Call::Late(write.clone());
            self.at(wakes_at, Event::AtStore(node, life, late));
        }
    }

    fn reap(&mut self, node: usize, is_alive: bool, who: Incarnation, is_done: bool) {
        let mut more = false;
        let is_first = self.nodes[node].reaped.insert(who);
        let dies = self.script.planted == Planted::ReaperDies;
        let mut patches: Vec<(Subject, Patch)> = Vec::new();
        for server in 0..SERVERS {
            if !is_done || !self.reaches(node, server) {
                more = true;
                continue;
            }
            if dies && (!is_first || !patches.is_empty()) {
                continue;
            }
            let (left, told) = self.store.reap(self.now, server, who);
            more |= left;
            patches.extend(told);
        }
        for (subject, patch) in patches {
            self.publish(&subject, &Reply::Patched(patch));
        }
        if is_alive {
            let more = more && !dies;
            let at = self.now + if is_done { 2 } else { TIMEOUT_MS };
            let input = nodes::Input::Reaped { who, more };
            self.post(node, at, ToNode::Input(Input::Leases(input)));
        }
    }

    /// Tells those who follow a subject; not all of them may hear it.
    fn publish(&mut self, subject: &Subject, reply: &Reply) {
        let server = server_of(subject);
        for node in 0..self.nodes.len() {
            let is_followed = self.nodes[node].followed.contains(subject);
            if !is_followed || !self.reaches(node, server) {
                continue;
            }
            let (until, lost, _) = self.noise;
            let mut at = (self.now + self.chance.within(1..4)).max(self.nodes[node].noticed_at);
            self.nodes[node].noticed_at = at;
            if self.now < until {
                if self.chance.percent(lost) {
                    continue;
                }
                if self.chance.one_in(5) {
                    at += self.chance.below(2_000);
                }
                if self.chance.one_in(5) {
                    let again = at + self.chance.below(500);
                    let notice = Input::Stored(subject.clone(), reply.clone());
                    self.post(node, again, ToNode::Input(notice));
                }
            }
            let notice = Input::Stored(subject.clone(), reply.clone());
            self.post(node, at, ToNode::Input(notice));
        }
    }

    /// Looks whether what is followed is as it was told.
    pub(super) fn compare(&mut self, node: usize) {
        if self.script.planted == Planted::NeverCompares {
            return;
        }
        let mut is_whole = true;
        for server in 0..SERVERS {
            if !self.reaches(node, server) || self.fails_by_chance() {
                is_whole = false;
                continue;
            }
            let history = self.store.history(server);
            let latency = self.nodes[node].latency(self.now);
            let at = self.now + latency + self.chance.within(1..4);
            let driver = &mut self.nodes[node];
            let has_missed = std::mem::take(&mut driver.has_missed[server]);
            let before = std::mem::replace(&mut driver.histories[server], history);
            let followed = driver.followed.iter();
            let changed = self.store.compare(self.now, server, followed);
            for (subject, clock) in changed {
                let notice = Input::Stored(subject, Reply::At(clock));
                self.post(node, at, ToNode::Input(notice));
            }
            if has_missed || before != history {
                for partition in partitions_of(server) {
                    self.post(node, at, ToNode::Input(Input::Forgot(partition)));
                }
            }
        }
        if is_whole {
            let since = self.time(node);
            let input = nodes::Input::Compared { since };
            let at = self.now + self.nodes[node].latency(self.now) + 4;
            self.post(node, at, ToNode::Input(Input::Leases(input)));
        }
    }
}

/// An operation, for the log.
fn token(op: &Op) -> String {
    match op {
        Op::Put { token, guard, .. } => format!("put {token:?} {guard:?}"),
        Op::Remove { token, .. } => format!("remove {token:?}"),
        Op::Hide { profile, .. } => format!("hide {profile}"),
    }
}

/// The partitions of the store that have anything to do with this world.
fn partitions_of(server: usize) -> BTreeSet<u16> {
    let users = USERS
        .iter()
        .map(|it| Subject::User(UserId::new(it).unwrap()));
    let places = (0..TOPICS).map(|it| Subject::Topic(super::topic(it)));
    let all = users.chain(places);
    let here = all.filter(|it| server_of(it) == server);
    here.map(|it| it.partition())
        .filter(|it| *it < PARTITIONS)
        .collect()
}
