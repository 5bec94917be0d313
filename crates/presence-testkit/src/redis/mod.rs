//! Redis servers of our own: one alone, one with replicas and sentinels, or a cluster.

mod facts;
mod monitor;
mod nodes;
mod sentinel;
mod start;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Process, State};
use crate::wait;

pub use monitor::{Counts, Monitor};
pub use wire::{Connection, Reply, ask, ask_text};

/// How long a fail-over may take that nothing hinders.
const FAILOVER_TIME_MAX: Duration = Duration::from_secs(30);

/// What sentinels call the master they watch.
const MASTER_NAME: &str = "mymaster";

/// Which Redis servers are started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Single,
    /// A master, two replicas, and three sentinels that choose another master when it dies.
    Sentinel,
    /// Three masters that share the keys, each with a replica.
    Cluster,
}

/// How Redis is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which servers are started.
    pub topology: Topology,
    /// After how long a silent node counts as dead. A fail-over takes about twice that, and not less than 1.7 s.
    pub node_timeout: Duration,
    /// Nodes listen on this port and those after it, sentinels from ten ports further on; free ones if `None`.
    pub port_base: Option<u16>,
}

/// Running Redis servers. Dropping it kills them; what they wrote stays.
#[derive(Debug)]
pub struct Redis {
    topology: Topology,
    nodes: Vec<Node>,
    sentinels: Vec<Node>,
}

/// One server of a topology: a Redis node or a sentinel.
#[derive(Debug)]
pub struct Node {
    /// Its process, to be killed, paused and started again.
    pub process: Process,
    /// The port on which it listens.
    pub port: u16,
    /// Where others are told to find it: its own port, or that of a proxy.
    pub announced: u16,
}

/// What a node does in its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes, in a cluster those to these slots.
    Master(Vec<RangeInclusive<u16>>),
    /// It copies the node of that index.
    Replica(Option<usize>),
    /// It does not answer, or the others think that it is dead.
    Away,
}

impl FromStr for Topology {
    type Err = anyhow::Error;

    fn from_str(word: &str) -> Result<Topology> {
        match word {
            "single" => Ok(Topology::Single),
            "sentinel" => Ok(Topology::Sentinel),
            "cluster" => Ok(Topology::Cluster),
            _ => bail!("there are `cluster`, `sentinel` and `single`, not `{word}`"),
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Topology::Single => "single",
            Topology::Sentinel => "sentinel",
            Topology::Cluster => "cluster",
        })
    }
}

impl Settings {
    /// For tests and experiments: free ports, and masters that are replaced after about 2.3 s.
    pub fn of(topology: Topology) -> Settings {
        Settings {
            topology,
            node_timeout: Duration::from_millis(1000),
            port_base: None,
        }
    }
}

impl Redis {
    /// Starts it with a folder for each process below `folder`, and waits until it takes writes and every replica is in step.
    ///
    /// # Errors
    ///
    /// Redis is not installed and cannot be, or did not get ready. Nothing is left running.
    pub fn start(folder: &Path, settings: &Settings) -> Result<Redis> {
        Redis::start_behind(folder, settings, Ok)
    }

    /// The same with something in between: `in_front` gets the port of a node and gives the port that clients, and
    /// the other nodes, are told. Not for sentinels.
    ///
    /// # Errors
    ///
    /// The same, or one of `in_front`.
    pub fn start_behind(
        folder: &Path,
        settings: &Settings,
        in_front: impl FnMut(u16) -> Result<u16>,
    ) -> Result<Redis> {
        start::start(folder, settings, in_front)
    }

    /// What a gateway takes as `REDIS_URL`.
    pub fn url(&self) -> String {
        let entrances = match self.topology {
            Topology::Sentinel => &self.sentinels,
            Topology::Single | Topology::Cluster => &self.nodes,
        };
        let addresses: Vec<_> = entrances
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.announced))
            .collect();
        let others: Vec<_> = addresses[1..]
            .iter()
            .map(|address| format!("node={address}"))
            .collect();
        let (first, others) = (&addresses[0], others.join("&"));
        match self.topology {
            Topology::Single => format!("redis://{first}"),
            Topology::Sentinel => {
                format!("redis-sentinel://{first}?{others}&sentinelServiceName={MASTER_NAME}")
            }
            Topology::Cluster => format!("redis-cluster://{first}?{others}"),
        }
    }

    /// The topology that was started.
    pub fn topology(&self) -> Topology {
        self.topology
    }

    /// The servers that hold data: `redis-1` and so on.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The same, to be broken.
    pub fn nodes_mut(&mut self) -> &mut [Node] {
        &mut self.nodes
    }

    /// The sentinels: `sentinel-1` and so on.
    pub fn sentinels(&self) -> &[Node] {
        &self.sentinels
    }

    /// The same, to be broken.
    pub fn sentinels_mut(&mut self) -> &mut [Node] {
        &mut self.sentinels
    }

    /// What each node does, as far as those that answer know.
    pub fn roles(&mut self) -> Vec<Role> {
        match self.topology {
            Topology::Cluster => {
                let ports: Vec<_> = self.nodes.iter().map(|node| node.announced).collect();
                let view =
                    self.first_answer(|port| nodes::parse(&ask_text(port, &["CLUSTER", "NODES"])?));
                view.map_or_else(
                    |_| vec![Role::Away; ports.len()],
                    |view| nodes::roles(&view, &ports),
                )
            }
            Topology::Single | Topology::Sentinel => {
                let ports: Vec<_> = self.nodes.iter().map(|node| node.port).collect();
                let role = |node: &mut Node| match node.answers() {
                    true => facts::role(node.port, &ports).unwrap_or(Role::Away),
                    false => Role::Away,
                };
                self.nodes.iter_mut().map(role).collect()
            }
        }
    }

    /// Which node takes writes to what `name` is about: the key of that name, or one that ends with it, such as
    /// `channel:room:42`. If there is none yet, where the key of that name would be.
    ///
    /// # Errors
    ///
    /// Nobody knows one at the moment.
    pub fn master_of(&mut self, name: &str) -> Result<usize> {
        let slot = self.slot_of(name)?;
        let master = self.master_of_slot(slot);
        master.with_context(|| format!("no master has slot {slot} of `{name}` at the moment"))
    }

    /// The slot of what `name` is about: see [`Redis::master_of`].
    ///
    /// # Errors
    ///
    /// No node answers.
    pub fn slot_of(&mut self, name: &str) -> Result<u16> {
        let pattern = format!("*{name}");
        for master in self.masters() {
            // On servers of our own, with little in them.
            let Ok(keys) = ask(self.nodes[master].port, &["KEYS", &pattern]) else {
                continue;
            };
            let key = keys
                .list()
                .and_then(|keys| keys.first())
                .and_then(Reply::text);
            if let Some(key) = key.map(str::to_owned) {
                return self.slot(&key);
            }
        }
        self.slot(name)
    }

    fn master_of_slot(&mut self, slot: u16) -> Option<usize> {
        let has_it = |role: &Role| match role {
            Role::Master(slots) => slots.iter().any(|range| range.contains(&slot)),
            Role::Replica(_) | Role::Away => false,
        };
        self.roles().iter().position(has_it)
    }

    /// The nodes that take writes now.
    pub fn masters(&mut self) -> Vec<usize> {
        let roles = self.roles().into_iter().enumerate();
        roles
            .filter(|(_, role)| matches!(role, Role::Master(_)))
            .map(|(node, _)| node)
            .collect()
    }

    /// The slot of a key; outside of a cluster all keys have one.
    ///
    /// # Errors
    ///
    /// No node answers.
    pub fn slot(&mut self, key: &str) -> Result<u16> {
        if self.topology != Topology::Cluster {
            return Ok(0);
        }
        let slot = self.first_answer(|port| {
            let slot = ask(port, &["CLUSTER", "KEYSLOT", key])?.number();
            slot.context("a slot is a number")
        })?;
        Ok(u16::try_from(slot)?)
    }

    /// Lets a replica of `master` take its place, as before maintenance: nothing is lost. Returns which.
    ///
    /// # Errors
    ///
    /// It is no master with a replica, or that did not take over in time.
    pub fn fail_over(&mut self, master: usize) -> Result<usize> {
        let roles = self.roles();
        let name = self.nodes[master].process.name();
        let Role::Master(slots) = &roles[master] else {
            bail!("{name} is no master");
        };
        let slot = *slots
            .first()
            .with_context(|| format!("{name} has no slots"))?
            .start();
        let replica = roles
            .iter()
            .position(|role| *role == Role::Replica(Some(master)));
        let replica =
            replica.with_context(|| format!("{name} has no replica that could take over"))?;
        match self.topology {
            Topology::Sentinel => ask(
                self.sentinels[0].port,
                &["SENTINEL", "FAILOVER", MASTER_NAME],
            )?,
            Topology::Cluster | Topology::Single => {
                ask(self.nodes[replica].port, &["CLUSTER", "FAILOVER"])?
            }
        };
        self.wait_for_another(master, slot)
    }

    /// Waits until another node than `master`, which has died for instance, takes writes to `slot`, and says which.
    ///
    /// # Errors
    ///
    /// None has after a while.
    pub fn wait_for_another(&mut self, master: usize, slot: u16) -> Result<usize> {
        wait::until(FAILOVER_TIME_MAX, "another master", || {
            Ok(self.master_of_slot(slot).filter(|now| *now != master))
        })
    }

    /// Waits until it takes writes and every replica is in step.
    ///
    /// # Errors
    ///
    /// It is not so after a while.
    pub fn wait_ready(&mut self) -> Result<()> {
        start::wait_ready(self)
    }

    /// Forgets everything, on every master.
    ///
    /// # Errors
    ///
    /// A master does not answer.
    pub fn flush_all(&mut self) -> Result<()> {
        for master in self.masters() {
            ask(self.nodes[master].port, &["FLUSHALL"])?;
        }
        Ok(())
    }

    /// How often each command was called on those that are masters now, since they started; in scripts, too.
    ///
    /// # Errors
    ///
    /// A master does not answer.
    pub fn command_stats(&mut self) -> Result<BTreeMap<String, u64>> {
        let mut sum = BTreeMap::new();
        for master in self.masters() {
            for (command, calls) in facts::command_stats(self.nodes[master].port)? {
                *sum.entry(command).or_default() += calls;
            }
        }
        Ok(sum)
    }

    /// Counts from now on what clients ask of those that are masters now.
    ///
    /// # Errors
    ///
    /// A master does not answer.
    pub fn monitor(&mut self) -> Result<Monitor> {
        let masters = self.masters();
        let ports: Vec<_> = masters
            .iter()
            .map(|master| self.nodes[*master].port)
            .collect();
        Monitor::start(&ports)
    }

    /// The memory that masters use, in bytes.
    ///
    /// # Errors
    ///
    /// A master does not answer.
    pub fn memory_bytes(&mut self) -> Result<u64> {
        let masters = self.masters();
        masters
            .into_iter()
            .map(|master| facts::memory_bytes(self.nodes[master].port))
            .sum()
    }

    /// The memory that keys and their values take, in bytes, by what the keys are about: the part of their name behind the
    /// hash tag, up to the next colon.
    ///
    /// # Errors
    ///
    /// A master does not answer.
    pub fn memory_of_keys(&mut self) -> Result<BTreeMap<String, u64>> {
        let mut sum = BTreeMap::new();
        for master in self.masters() {
            let mut connection = Connection::open(self.nodes[master].port)?;
            let keys = connection.ask(&["KEYS", "*"])?;
            for key in keys
                .list()
                .unwrap_or_default()
                .iter()
                .filter_map(Reply::text)
            {
                let bytes = connection
                    .ask(&["MEMORY", "USAGE", key, "SAMPLES", "0"])?
                    .number();
                let (_, rest) = key.split_once("}:").unwrap_or(("", key));
                let about = rest.split(':').next().unwrap_or_default().to_owned();
                // It may have ended meanwhile.
                *sum.entry(about).or_default() += u64::try_from(bytes.unwrap_or(0))?;
            }
        }
        Ok(sum)
    }

    /// How many keys there are.
    ///
    /// # Errors
    ///
    /// A master does not answer.
    pub fn keys(&mut self) -> Result<u64> {
        let mut sum = 0;
        for master in self.masters() {
            let size = ask(self.nodes[master].port, &["DBSIZE"])?.number();
            sum += u64::try_from(size.context("a size is a number")?)?;
        }
        Ok(sum)
    }

    /// How many rows of the outboxes of that name wait to be carried elsewhere.
    ///
    /// # Errors
    ///
    /// A master does not answer.
    pub fn rows(&mut self, queue: &str) -> Result<u64> {
        let pattern = format!("*:outbox:{queue}");
        let mut sum = 0;
        for master in self.masters() {
            let mut connection = Connection::open(self.nodes[master].port)?;
            let keys = connection.ask(&["KEYS", &pattern])?;
            let keys = keys.list().unwrap_or_default();
            for key in keys.iter().filter_map(Reply::text) {
                let rows = connection.ask(&["ZCARD", key])?.number();
                sum += u64::try_from(rows.context("a size is a number")?)?;
            }
        }
        Ok(sum)
    }

    /// What the first node says that can be asked.
    fn first_answer<T>(&mut self, ask: impl Fn(u16) -> Result<T>) -> Result<T> {
        let mut last = None;
        for node in &mut self.nodes {
            if node.answers() {
                match ask(node.port) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => last = Some(error),
                }
            }
        }
        Err(last.unwrap_or_else(|| anyhow::anyhow!("no Redis node runs")))
    }
}

impl Node {
    /// Whether it runs and is not paused, so that asking it makes sense.
    fn answers(&mut self) -> bool {
        self.process.state() == State::Running
    }
}
