//! What lists of channels, gateways and connections say, which the administrator's commands are answered with.

use std::sync::Arc;

use super::frame::frame;
use super::value::Session;

frame! { lenient
    /// The result of `presence:channels`: one page of the channels that somebody is in.
    pub struct ChannelPage {
        /// The channels of this page, ordered by their ids.
        pub channels: Vec<ChannelCount>,
        /// How many channels there are on all pages.
        pub total: u64,
        /// The page size that the command asked for.
        pub limit: u64,
        /// How many channels come before this page.
        pub offset: u64,
    }

    /// A channel in the result of `presence:channels`.
    pub struct ChannelCount {
        /// The id of the channel.
        pub id: Arc<str>,
        /// How many people are in it who can be seen.
        pub count: u64,
    }

    /// The result of `presence:nodes`.
    pub struct NodeList {
        /// The gateways that share the store; one that is alone lists itself.
        pub nodes: Vec<Node>,
        /// The store that the gateways share: `none`, `connected` or `away`.
        pub store: Arc<str>,
    }

    /// A gateway in the result of `presence:nodes`.
    pub struct Node {
        /// The name that the gateway was given.
        pub name: Arc<str>,
        /// The id of its incarnation; `None` for a gateway that is alone.
        pub id: Option<Arc<str>>,
        /// `alive`, `late` if its lease has run out, `dead` if that was declared, or `stopped` if it ended on purpose.
        pub state: Arc<str>,
        /// When its lease ends or ended, in milliseconds since 1970; for a dead one, when it was declared dead.
        pub lease_until: Option<u64>,
        /// Whether this is the gateway that answers.
        pub is_me: bool,
    }

    /// The result of `presence:connections`: one page of connections.
    pub struct ConnectionPage {
        /// The name of the gateway that answers.
        pub gateway: Arc<str>,
        /// The connections of this page, ordered by their ids.
        pub connections: Vec<Connection>,
        /// How many connections the gateways that answered have on all pages.
        pub total: u64,
        /// The page size that the command asked for.
        pub limit: u64,
        /// The `after` of the next page; `None` after the last one.
        pub next: Option<Arc<str>>,
        /// The gateways that answered, and how many of the connections each has.
        pub gateways: Vec<GatewayCount>,
        /// The names of the gateways that were asked and did not answer in time.
        pub silent: Vec<Arc<str>>,
    }

    /// A connection in the result of `presence:connections`.
    pub struct Connection {
        /// The id of the connection, as the log has it.
        pub id: Arc<str>,
        /// The name of the gateway that has it.
        pub gateway: Arc<str>,
        /// The protocol that it speaks.
        pub dialect: Arc<str>,
        /// When it began, in milliseconds since 1970.
        pub connected_at: u64,
        /// Who was let in through it.
        pub sessions: Vec<ConnectionSession>,
    }

    /// A session of a connection in the result of `presence:connections`.
    pub struct ConnectionSession {
        /// The id of the session.
        pub session: Session,
        /// The id of its user.
        pub user_id: Arc<str>,
        /// The id of the device that it is on.
        pub device_id: Arc<str>,
    }

    /// The result of `presence:disconnect`.
    pub struct Disconnected {
        /// How many connections were told to end.
        pub disconnected: u64,
        /// The gateways that answered, and how many of their connections that were.
        pub gateways: Vec<GatewayCount>,
        /// The names of the gateways that were asked and did not answer in time: their connections may go on.
        pub silent: Vec<Arc<str>>,
    }

    /// A gateway that has answered, with the number of its connections that are meant.
    pub struct GatewayCount {
        /// The name of the gateway.
        pub name: Arc<str>,
        /// The id of its incarnation; `None` for a gateway that is alone.
        pub id: Option<Arc<str>>,
        /// How many of its connections are meant.
        pub count: u64,
    }
}
