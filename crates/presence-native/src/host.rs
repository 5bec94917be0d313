//! What differs between the servers that serve the native protocol.

use std::future::Future;
use std::time::Duration;

use presence_core::{DeviceId, Timestamp};
use presence_hub::{Hub, Session};
use presence_protocol::event::Answer;
use presence_protocol::{ErrorCode, command};

use crate::authorized::Authorized;
use crate::identity::{Identity, ResumeKey};
use crate::rates::Rates;
use crate::request::Refused;

/// What differs between the servers that serve the native protocol: a gateway, and [`Server`](crate::Server).
pub trait Host: Send + Sync + Sized + 'static {
    /// The node on which its clients have their sessions.
    fn hub(&self) -> &Hub;

    /// The time by the clock of the hub.
    fn now(&self) -> Timestamp {
        self.hub().clock().now()
    }

    /// The key that signs resume tokens.
    fn resume_key(&self) -> &ResumeKey;

    /// How often a connection may do each kind of thing.
    fn rates(&self) -> &Rates;

    /// The longest frame that a client may send, in bytes.
    fn frame_bytes_max(&self) -> usize;

    /// The most topics and users that one session may watch.
    fn watches_max(&self) -> usize;

    /// How long a connection may stay after its token has expired.
    fn token_leeway(&self) -> Duration;

    /// Checks that the identity has not been revoked since it was made.
    ///
    /// # Errors
    ///
    /// Fails if it has been.
    fn check(&self, identity: &Identity) -> Result<(), Refused>;

    /// The identity of the same user after a change to a fresh token. `device` is the device of the session.
    ///
    /// # Errors
    ///
    /// Fails if the token is not valid, or of another user or device.
    fn renew(&self, old: &Identity, device: &DeviceId, token: &str) -> Result<Identity, Refused>;

    /// Answers a command of an operator.
    fn operate(
        &self,
        authorized: &Authorized<Self>,
        operation: Operation,
    ) -> impl Future<Output = Result<Answer, Refused>> + Send;

    /// A command was refused.
    fn refused(&self, code: ErrorCode) {
        let _ = code;
    }

    /// A client sent a heartbeat.
    fn heartbeat(&self) {}

    /// A connection continued the session of an earlier one.
    fn took_over(&self, session: &Session) {
        let _ = session;
    }
}

/// A command of an operator.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Lists the channels that somebody is in.
    Channels(command::Channels),
    /// Lists the gateways of the cluster.
    Nodes(command::Nodes),
    /// Lists the connections of all gateways.
    Connections(command::Connections),
    /// Ends the connections that the command selects.
    Disconnect(command::Disconnect),
}

impl Operation {
    /// What it is about, in words.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Operation::Channels(_) => "list of channels",
            Operation::Nodes(_) => "list of nodes",
            Operation::Connections(_) => "list of connections",
            Operation::Disconnect(_) => "way to end connections",
        }
    }
}
