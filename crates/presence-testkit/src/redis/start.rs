//! Starts the servers and waits until they are of use.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Node, Redis, Role, Settings, Topology, ask, facts, nodes, sentinel};
use crate::ports;
use crate::process::{Process, Program};
use crate::run::answer_or_error;
use crate::tools::{self, RedisTools};
use crate::wait;

/// How long a server may take to answer. It takes 0.1 s; the rest is for a machine that is busy.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

/// How long all of them may take to know each other. They take 2 s.
const READY_TIME_MAX: Duration = Duration::from_secs(60);

/// How often to try with other ports when somebody has taken one meanwhile.
const TRIES: usize = 5;

/// What Redis logs if somebody else has its port.
const TAKEN: &str = "Address already in use";

/// From the first node to the first sentinel.
const SENTINELS_AFTER: u16 = 10;

pub(super) fn start(
    folder: &Path,
    settings: &Settings,
    mut in_front: impl FnMut(u16) -> Result<u16>,
) -> Result<Redis> {
    let tools = tools::redis()?;
    let mut tries = 1;
    loop {
        match start_once(folder, settings, &tools, &mut in_front) {
            Err(error)
                if tries < TRIES
                    && settings.port_base.is_none()
                    && error.to_string().contains(TAKEN) =>
            {
                tries += 1;
            }
            done => return done,
        }
    }
}

fn start_once(
    folder: &Path,
    settings: &Settings,
    tools: &RedisTools,
    in_front: &mut impl FnMut(u16) -> Result<u16>,
) -> Result<Redis> {
    let (nodes, sentinels) = match settings.topology {
        Topology::Single => (1, 0),
        Topology::Sentinel => (3, 3),
        Topology::Cluster => (6, 0),
    };
    let node_ports = take_ports(settings.port_base, nodes)?;
    let sentinel_ports = take_ports(
        settings.port_base.map(|base| base + SENTINELS_AFTER),
        sentinels,
    )?;
    let mut redis = Redis {
        topology: settings.topology,
        nodes: Vec::new(),
        sentinels: Vec::new(),
    };
    for (index, port) in node_ports.iter().copied().enumerate() {
        let announced = match settings.topology {
            Topology::Sentinel => port,
            Topology::Single | Topology::Cluster => in_front(port)?,
        };
        let name = format!("redis-{}", index + 1);
        let folder = folder.join(&name);
        // What a node remembers of another cluster would keep it out of this one.
        let _ = std::fs::remove_dir_all(&folder);
        let args = match settings.topology {
            Topology::Single => server_args(port),
            Topology::Cluster => cluster_args(port, announced, settings.node_timeout),
            // Sentinels write into the file who is master now.
            Topology::Sentinel => sentinel::node_args(&folder, port, node_ports[0])?,
        };
        let program = Program {
            name,
            file: tools.server.clone(),
            args,
            env: Vec::new(),
            folder,
        };
        redis.nodes.push(Node {
            process: Process::start(program)?,
            port,
            announced,
        });
    }
    for (index, port) in sentinel_ports.into_iter().enumerate() {
        let name = format!("sentinel-{}", index + 1);
        let folder = folder.join(&name);
        let args = sentinel::args(&folder, port, node_ports[0], settings.node_timeout)?;
        let program = Program {
            name,
            file: tools.sentinel.clone(),
            args,
            env: Vec::new(),
            folder,
        };
        redis.sentinels.push(Node {
            process: Process::start(program)?,
            port,
            announced: port,
        });
    }
    for node in redis.nodes.iter_mut().chain(&mut redis.sentinels) {
        node.wait_until_it_answers()?;
    }
    if settings.topology == Topology::Cluster {
        introduce(&tools.cli, &node_ports)?;
    }
    wait_ready(&mut redis)?;
    Ok(redis)
}

fn take_ports(base: Option<u16>, count: u16) -> Result<Vec<u16>> {
    let Some(base) = base else {
        return ports::free(ports::REDIS, count.into(), Some(ports::BUS));
    };
    // The bus is 10,000 ports further on, and there has to be one.
    let end = base
        .checked_add(count)
        .filter(|end| *end <= u16::MAX - ports::BUS);
    let Some(end) = end else {
        bail!("Redis nodes cannot have ports from {base} on: the last possible one is 55535");
    };
    match (base..end).find(|port| !ports::is_free(*port)) {
        Some(port) => bail!("port {port}, wanted for Redis, is in use"),
        None => Ok((base..end).collect()),
    }
}

/// Nothing on disk, and never forget anything to make room.
fn server_args(port: u16) -> Vec<String> {
    let port = port.to_string();
    let args = [
        ["--port", &port],
        ["--bind", "127.0.0.1"],
        ["--protected-mode", "no"],
        ["--dir", "."],
        ["--save", ""],
        ["--appendonly", "no"],
        ["--maxmemory-policy", "noeviction"],
        ["--hash-max-listpack-value", "512"],
        ["--repl-diskless-sync-delay", "0"],
    ];
    args.as_flattened()
        .iter()
        .map(|arg| (*arg).to_owned())
        .collect()
}

fn cluster_args(port: u16, announced: u16, node_timeout: Duration) -> Vec<String> {
    let mut args = server_args(port);
    let timeout = node_timeout.as_millis().to_string();
    let announced_port = announced.to_string();
    let own = [
        ["--cluster-enabled", "yes"],
        ["--cluster-config-file", "nodes.conf"],
        ["--cluster-node-timeout", &timeout],
        // A replica that is left takes over, however old its copy is: gateways write again what is missing.
        ["--cluster-replica-validity-factor", "0"],
        ["--cluster-require-full-coverage", "no"],
        ["--cluster-allow-pubsubshard-when-down", "yes"],
    ];
    args.extend(own.as_flattened().iter().map(|arg| (*arg).to_owned()));
    if announced != port {
        args.extend(["--cluster-announce-port".to_owned(), announced_port]);
    }
    args
}

/// Makes a cluster of nodes that do not know each other.
fn introduce(cli: &Path, ports: &[u16]) -> Result<()> {
    let mut command = Command::new(cli);
    command
        .args(["--cluster", "create"])
        .args(ports.iter().map(|port| format!("127.0.0.1:{port}")));
    command.args(["--cluster-replicas", "1", "--cluster-yes"]);
    answer_or_error(&mut command).context("redis-cli could not make a cluster")?;
    Ok(())
}

pub(super) fn wait_ready(redis: &mut Redis) -> Result<()> {
    for node in redis.nodes.iter_mut().chain(&mut redis.sentinels) {
        node.wait_until_it_answers()?;
    }
    // The reason why it is not ready yet, for the error if the wait is in vain.
    let mut missing = String::new();
    let ready = wait::until(READY_TIME_MAX, "Redis gets ready", || {
        missing = what_is_missing(redis)
            .unwrap_or_else(|error| Some(format!("{error:#}")))
            .unwrap_or_default();
        Ok(missing.is_empty().then_some(()))
    });
    ready.with_context(|| missing)
}

/// Why it is not ready yet.
fn what_is_missing(redis: &mut Redis) -> Result<Option<String>> {
    let roles = redis.roles();
    let masters = match redis.topology {
        Topology::Cluster => 3,
        Topology::Single | Topology::Sentinel => 1,
    };
    let there = roles
        .iter()
        .filter(|role| matches!(role, Role::Master(slots) if !slots.is_empty()))
        .count();
    if there != masters {
        return Ok(Some(format!("{there} of {masters} masters are there")));
    }
    for (node, role) in redis.nodes.iter().zip(&roles) {
        let name = node.process.name();
        let port = node.port;
        match role {
            Role::Away => return Ok(Some(format!("the others do not see {name}"))),
            Role::Replica(None) => return Ok(Some(format!("{name} copies nobody"))),
            Role::Replica(Some(_)) if !facts::is_in_step(port)? => {
                return Ok(Some(format!("{name} is not in step")));
            }
            Role::Replica(_) | Role::Master(_) => {}
        }
        if redis.topology == Topology::Cluster {
            let info = super::ask_text(port, &["CLUSTER", "INFO"])?;
            if !info.contains("cluster_state:ok") {
                return Ok(Some(format!("{name} does not call the cluster ok")));
            }
            // Each has to have heard of a fail-over by itself.
            let ports: Vec<_> = redis.nodes.iter().map(|node| node.announced).collect();
            let view = nodes::parse(&super::ask_text(port, &["CLUSTER", "NODES"])?)?;
            if nodes::roles(&view, &ports) != roles {
                return Ok(Some(format!("{name} sees the cluster differently")));
            }
        }
    }
    let masters = roles.iter().zip(&redis.nodes);
    let mut masters = masters.filter(|(role, _)| matches!(role, Role::Master(_)));
    match (redis.topology, masters.next()) {
        (Topology::Sentinel, Some((_, master))) => {
            sentinel::what_is_missing(&redis.sentinels, master.port)
        }
        _ => Ok(None),
    }
}

impl Node {
    /// Waits until it answers; loading what it has is no answer.
    ///
    /// # Errors
    ///
    /// It does not after a while, or ended.
    pub fn wait_until_it_answers(&mut self) -> Result<()> {
        let port = self.port;
        self.process.wait_until(ANSWER_TIME_MAX, "an answer", |_| {
            let reply = ask(port, &["PING"]).ok()?;
            (reply.text() == Some("PONG")).then_some(())
        })
    }
}
