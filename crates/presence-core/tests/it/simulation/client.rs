//! The clients: what they hold open, and what they want.

use presence_core::users::{Activity, Connection};
use presence_core::{DeviceId, SessionId, UserId};

use super::script::{CLIENTS, ROOMS, USERS};

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
