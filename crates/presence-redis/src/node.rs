//! One server, and the commands on their way to it.

use std::sync::Arc;
use std::time::Duration;

use fred::error::Error;
use fred::types::Value;
use tokio::sync::{Semaphore, watch};

use crate::client::Connection;
use crate::fault::Fault;
use crate::followed::Followed;
use crate::keys::Keys;
use crate::listener::Listener;
use crate::partitions::PartitionSet;
use crate::settings::{Address, Settings};
use crate::survey::SurveySignal;

/// The size of the commands that may be on their way to one server, in KiB. A command counts as at least 1 KiB. A
/// further one fails at once.
pub const IN_FLIGHT_KIB_MAX: usize = 16 * 1024;

/// A server that has some of the partitions.
pub(crate) struct Node {
    address: Address,
    connections: Vec<Connection>,
    in_flight: Semaphore,
    owned: watch::Sender<PartitionSet>,
    listener: Listener,
}

/// What every node needs to connect.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) settings: Arc<Settings>,
    pub(crate) keys: Keys,
    pub(crate) followed: Arc<Followed>,
    pub(crate) survey_signal: Arc<SurveySignal>,
}

impl Node {
    /// Begins to connect to the server at `address`.
    pub(crate) fn open(address: &Address, around: &Surroundings) -> Result<Self, Error> {
        let settings = &around.settings;
        let connections = (0..settings.connections)
            .map(|_| Connection::open(settings, address, false))
            .collect::<Result<Vec<_>, _>>()?;
        let owned = watch::Sender::new(PartitionSet::default());
        let connection = Connection::open(settings, address, true)?;
        Ok(Node {
            address: address.clone(),
            in_flight: Semaphore::new(IN_FLIGHT_KIB_MAX),
            listener: Listener::start(connection, owned.subscribe(), around),
            connections,
            owned,
        })
    }

    /// The address of the server.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The subscriptions on the server.
    pub(crate) fn listener(&self) -> &Listener {
        &self.listener
    }

    /// Sets the partitions that the server has from now on.
    pub(crate) fn set_owned(&self, partitions: PartitionSet) {
        self.owned.send_if_modified(|owned| {
            let is_other = *owned != partitions;
            *owned = partitions;
            is_other
        });
    }

    /// Whether commands can be sent to the server.
    pub(crate) fn is_up(&self) -> bool {
        self.connections.iter().all(Connection::is_up)
    }

    /// Waits until the connection is up, or until it is known why not.
    pub(crate) async fn up(&self, within: Duration) -> Result<(), Error> {
        for connection in &self.connections {
            connection.up(within).await?;
        }
        self.listener.connection().up(within).await?;
        Ok(())
    }

    /// Sends one command. Commands with the same `queue` are executed in order.
    pub(crate) async fn call(
        &self,
        queue: u16,
        name: &'static str,
        args: Vec<Value>,
    ) -> Result<Value, Fault> {
        let bytes: usize = args.iter().map(length).sum();
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX);
        let _permit = self
            .in_flight
            .try_acquire_many(kib)
            .map_err(|_| Fault::Crowded)?;
        let connection = &self.connections[usize::from(queue) % self.connections.len()];
        Ok(connection.call(name, args).await?)
    }
}

fn length(value: &Value) -> usize {
    value.as_bytes().map_or(8, <[u8]>::len)
}
