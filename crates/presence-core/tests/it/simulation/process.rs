//! The process of a node: its life, its mailboxes, and what its machines want.

use std::collections::BTreeSet;
use std::sync::Arc;

use presence_core::cluster::{News, ProfileTask, Reply, Subject, nodes};
use presence_core::history::Cause;
use presence_core::rosters::Hearers;
use presence_core::users::{Audience, Connection};
use presence_core::{
    ChannelId, Event as Told, Meta, Moments, Profile, Reason, SessionId, Timestamp, UserId,
    WorkspaceId, node, rosters, users,
};

use super::START;
use super::client::{Socket, user_id};
use super::machines::{MAILBOXES, Machines, Mailbox, Wish};
use super::planted::Planted;
use super::script::{CLIENTS, TOPICS, USERS};
use super::store::server_of;
use super::truth::PROFILE;
use super::verdict::told;
use super::world::{
    Asked, Event, HEALS_MS, LAPSES_LATE_MS, LAPSES_MS, SEEN_MS, SERVICE_TTL_MS, Said_, ToClient,
    ToNode, World, log, watcher_id,
};

/// How often a node looks for what others had no time to save, and how long that waits first, as in the hub.
pub(super) const SWEEP_EVERY_MS: u64 = 5_000;
const OVERDUE_MS: u64 = 10_000;
/// How long a node waits before it saves, so that many changes are one.
const LINGER_MS: u64 = 500;

impl World<'_> {
    pub(super) fn asleep(&self, node: usize, life: u32, mailbox: Mailbox) -> Option<u64> {
        let it = &self.nodes[node];
        let until = it.deaf_until(mailbox);
        (it.life == life && until > self.now).then_some(until)
    }

    /// A machine that slept hears of that before anything else.
    pub(super) fn awake(&mut self, node: usize, mailbox: Mailbox) {
        if std::mem::take(&mut self.nodes[node].has_slept[mailbox as usize])
            && mailbox == Mailbox::Users
        {
            let slept_ms = self.now - self.nodes[node].sleeps_since;
            let since = Timestamp::from_millis(self.time(node).as_millis() - slept_ms);
            self.hear(node, mailbox, News::Woke { since });
        }
    }

    pub(super) fn hear(&mut self, node: usize, mailbox: Mailbox, news: News) {
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

    pub(super) fn start(&mut self, node: usize) {
        log!(self, "node {node} starts");
        let seed = self.chance.below(u64::MAX);
        let time = self.time(node);
        let machine = Machines::new(time, seed);
        let histories = std::array::from_fn(|server| self.store.history(server));
        self.nodes[node].start(machine, histories);
        self.wait_for_start(node);
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

    pub(super) fn die(&mut self, node: usize) {
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

    pub(super) fn calm_after(&mut self, ms: u64) {
        self.calm_at = self.calm_at.max(self.now + ms);
    }

    pub(super) fn expire(&mut self, node: usize, mailbox: Mailbox) {
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
        if let node::Input::Stored(
            _,
            Reply::Written(None) | Reply::PlaceHidden { is_done: false, .. },
        ) = &input
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
    pub(super) fn told_at(&mut self, node: usize) -> u64 {
        let at = self.now + self.chance.below(3);
        let told_at = &mut self.nodes[node].told_at;
        *told_at = at.max(*told_at);
        *told_at
    }

    pub(super) fn post(&mut self, node: usize, at: u64, what: ToNode) {
        let life = self.nodes[node].life;
        self.at(at, Event::ToNode(node, life, Box::new(what)));
    }

    pub(super) fn reply_to(&mut self, asked: Asked) -> u64 {
        self.reply_tos += 1;
        self.asked.insert(self.reply_tos, asked);
        self.reply_tos
    }

    pub(super) fn arrive(&mut self, node: usize, what: ToNode) {
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
                    fingerprint: None,
                    device: it.device.clone(),
                    workspaces: vec![WorkspaceId::new("acme").unwrap()],
                    card: Arc::default(),
                    origin: None,
                    reply_to,
                };
                self.tell_user(node, self.clients[client].user, input);
            }
            ToNode::FromClient { socket, said } => self.client_says(node, socket, said),
            ToNode::Gone { socket, reason } => {
                if let Some((client, by)) = self.nodes[node].close(socket) {
                    let input = users::Input::Vanished {
                        by,
                        reason,
                        cause: Cause::Broken,
                    };
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
                users::Input::Ended {
                    by,
                    cause: Cause::Client,
                }
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
            Said_::Depart(room) => users::Input::LeftChannel {
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
                // Only users care, and at once: so the delays of all else stay as they were.
                Wish::News(news @ News::Reached(_)) => {
                    self.post(node, self.now, ToNode::News(Mailbox::Users, news));
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
                        cause: Cause::Broken,
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
                    Hearers::Summary | Hearers::Window(..) => false,
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

    pub(super) fn save(&mut self, node: usize, user: &UserId) {
        let Some((profile, version)) = self.nodes[node].unsaved.remove(user) else {
            return;
        };
        // While the database is away it waits in the store.
        if self.no_database_until <= self.now {
            self.keep(profile);
            self.acknowledge(node, &Subject::User(user.clone()), version);
        }
    }

    /// The database keeps no moments.
    fn keep(&mut self, mut profile: Profile) {
        profile.moments = Moments::default();
        let stored = self.profiles.get(&profile.user);
        let is_next = stored.is_none_or(|it| profile.supersedes(it));
        if is_next && profile.is_blank() {
            self.profiles.remove(&profile.user);
        } else if is_next {
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
    pub(super) fn sweep(&mut self, node: usize) {
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
            match ProfileTask::of(&map) {
                ProfileTask::Wait => continue,
                ProfileTask::Save(profile) => self.keep(Profile::clone(&profile)),
                ProfileTask::Remove(_) | ProfileTask::Done => {}
            }
            self.acknowledge(node, &subject, version);
        }
    }

    pub(super) fn answered(&mut self, reply_to: u64, is_granted: bool) {
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
                let said = self.said[user].iter_mut();
                said.for_each(|it| it.may_come_back(self.now));
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
}

fn channel(room: usize) -> ChannelId {
    ChannelId::new(&format!("room:{room}")).unwrap()
}
