//! The clients: what they hold open, and what they want.

use presence_core::users::{Activity, Connection};
use presence_core::{DeviceId, Reason, SessionId, UserId};

use super::script::{CLIENTS, ROOMS, USERS};
use super::truth::GRACE_MS;
use super::world::{Event, LAPSES_LATE_MS, SEEN_MS, Said_, ToClient, ToNode, World, log};

/// A server pings each connection so often, and waits so long for the answer.
const PING_MS: u64 = 25_000;
const PONG_MS: u64 = 8_000;
/// How often a client says that it is alive.
pub(super) const HEARTBEAT_MS: u64 = 15_000;

/// A tab, an app; or a service that acts for a user.
pub(super) struct Client {
    pub(super) user: usize,
    pub(super) device: DeviceId,
    /// The session of a service.
    pub(super) by_service: Option<SessionId>,
    /// With what it resumes.
    pub(super) token: Option<Connection>,
    pub(super) socket: Option<Socket>,
    pub(super) wants: [bool; ROOMS],
    /// Where a node has confirmed that its session is.
    pub(super) joined: [bool; ROOMS],
    pub(super) activity: Activity,
    pub(super) attempts: u64,
    /// When it last began to connect.
    pub(super) tried_at: u64,
    /// When it last lost a connection.
    pub(super) off_at: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Socket {
    pub(super) id: u64,
    pub(super) node: usize,
    pub(super) latency_ms: u64,
    /// The client knows that it is in.
    pub(super) is_open: bool,
}

pub(super) fn all() -> Vec<Client> {
    let client = |(user, device): (usize, &str)| Client {
        user,
        device: DeviceId::new(device).unwrap(),
        by_service: None,
        token: None,
        socket: None,
        wants: [false; ROOMS],
        joined: [false; ROOMS],
        activity: Activity::Active,
        attempts: 0,
        tried_at: 0,
        off_at: 0,
    };
    let tabs = CLIENTS.into_iter().map(client);
    let services = (0..USERS.len()).map(|user| Client {
        by_service: Some(SessionId::from_u128(1 << 64 | user as u128)),
        ..client((user, "api"))
    });
    tabs.chain(services).collect()
}

pub(super) fn user_id(user: usize) -> UserId {
    UserId::new(USERS[user]).unwrap()
}

impl Client {
    /// Whether it is seen in a spot, if its user is seen at all.
    pub(super) fn is_in(&self, spot: usize) -> bool {
        let is_open = self.socket.as_ref().is_some_and(|it| it.is_open);
        is_open
            && match spot {
                room if room < ROOMS => self.joined[room],
                ROOMS => self.by_service.is_none(), // the workspace
                _ => true,
            }
    }
}

impl World<'_> {
    pub(super) fn socket(&self, client: usize, socket: u64) -> Option<&Socket> {
        self.clients[client]
            .socket
            .as_ref()
            .filter(|it| it.id == socket)
    }

    pub(super) fn send(&mut self, client: usize, socket: u64, what: ToClient) {
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

    pub(super) fn say(&mut self, client: usize, said: Said_) {
        if let Some(socket) = &self.clients[client].socket {
            let (node, at) = (socket.node, self.now + socket.latency_ms);
            let socket = socket.id;
            self.post(node, at, ToNode::FromClient { socket, said });
        }
    }

    pub(super) fn connect(&mut self, client: usize, node: usize) {
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
        let user = self.clients[client].user;
        let said = self.said[user].iter_mut();
        said.for_each(|it| it.may_come_back(self.now));
        self.refresh(user, true, SEEN_MS);
        let it = &mut self.clients[client];
        it.attempts += 1;
        it.tried_at = self.now;
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

    pub(super) fn break_off(&mut self, client: usize) {
        let Some(socket) = self.clients[client].socket.clone() else {
            return;
        };
        self.drop_socket(client, false, GRACE_MS + SEEN_MS);
        let at = self.now + self.chance.within(15..60);
        let (node, socket, reason) = (socket.node, socket.id, Reason::Lost);
        self.post(node, at, ToNode::Gone { socket, reason });
    }

    pub(super) fn silence(&mut self, client: usize) {
        let Some(socket) = self.clients[client].socket.clone() else {
            return;
        };
        self.drop_socket(client, false, PING_MS + PONG_MS + GRACE_MS + 2 * SEEN_MS);
        let at = self.now + self.chance.within(PONG_MS..PING_MS + PONG_MS);
        let (node, socket, reason) = (socket.node, socket.id, Reason::TimedOut);
        self.post(node, at, ToNode::Gone { socket, reason });
    }

    /// The client has no connection any more.
    pub(super) fn drop_socket(&mut self, client: usize, is_clean: bool, bound_ms: u64) {
        // Where somebody may have been cut off from the store, it is waited for them.
        let is_proven = bound_ms > SEEN_MS;
        let bound_ms = bound_ms + if is_proven { self.proof_ms() } else { 0 };
        let it = &mut self.clients[client];
        // One that was not told yet that it is in may be in.
        if it.socket.take().is_some() {
            it.off_at = self.now;
            let user = it.user;
            self.refresh(user, is_clean, bound_ms);
        }
    }

    /// Whether another client of the user is in the room through another node, or was a moment ago.
    fn is_elsewhere(&self, client: usize, room: usize) -> bool {
        let node = |it: &Client| it.socket.as_ref().map(|it| it.node);
        let (user, here) = (self.clients[client].user, node(&self.clients[client]));
        let others = self.clients.iter().enumerate();
        let mut others = others.filter(|(index, it)| *index != client && it.user == user);
        others.any(|(_, it)| {
            it.joined[room] && node(it) != here
                || node(it).is_none() && self.now < it.off_at + 2 * GRACE_MS
        })
    }

    fn return_later(&mut self, client: usize) {
        if client < CLIENTS.len()
            && let Some(ms) = self.script.returns_ms[client]
        {
            let attempt = self.clients[client].attempts;
            self.at(self.now + ms, Event::Return(client, attempt));
        }
    }

    pub(super) fn client_hears(&mut self, client: usize, socket: u64, what: ToClient) {
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
                let (wants, activity, tried_at) = (it.wants, it.activity, it.tried_at);
                // A node that stood still cannot know whether `offline` was chosen before or after.
                let stood_still = self.nodes[node].stood_still(tried_at, self.now);
                if !restored && !stood_still {
                    let said = self.said[user].iter_mut();
                    said.for_each(|it| it.come_back(self.now, tried_at));
                }
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
                    if self.is_elsewhere(client, room) {
                        self.gaps[user].push((self.now, self.now));
                    }
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
}
