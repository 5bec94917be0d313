//! Gateways that share a Redis and a MongoDB, all of it ours, to be broken on purpose.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::gateway::{self, Gateway};
use crate::mongo::{self, Mongo};
use crate::process::{Process, State};
use crate::redis::{self, Node, Redis, Role, Topology};

/// How many ports are between the first port of a cluster, which is that of a gateway, and the first one of Redis.
const REDIS_AFTER: u16 = 100;

/// How many ports are between the first port of a cluster and that of MongoDB.
const MONGO_AFTER: u16 = 150;

/// Why the MongoDB of a [`Part::Mongo`] must exist.
const MONGO: &str = "a part of MongoDB is there if MongoDB is";

/// How long a server may take to end when asked.
const END_TIME_MAX: Duration = Duration::from_secs(10);

/// The processes of a cluster, and how they are started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The path of the gateway's program.
    pub binary: PathBuf,
    /// How many gateways are started.
    pub gateways: usize,
    /// What they share; with `None` each is alone.
    pub redis: Option<Topology>,
    /// After how long a silent Redis node counts as dead.
    pub node_timeout: Duration,
    /// Whether profiles are in a MongoDB, or in a file of each gateway.
    pub mongo: bool,
    /// Gateways listen on this port and those after it, Redis from a hundred ports further on, and MongoDB fifty after
    /// that; free ones if `None`.
    pub port_base: Option<u16>,
    /// Settings of every gateway, if they are not the defaults.
    pub env: Vec<(String, String)>,
}

/// Running gateways and what they share. Dropping it kills them; [`Cluster::stop`] ends them well.
#[derive(Debug)]
pub struct Cluster {
    /// The gateways, named `gateway-1` and so on.
    pub gateways: Vec<Gateway>,
    /// The Redis that the gateways share; `None` if each is alone.
    pub redis: Option<Redis>,
    /// The MongoDB with the profiles; `None` if each gateway has a file.
    pub mongo: Option<Mongo>,
}

/// Names one process of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The gateway of that index.
    Gateway(usize),
    /// The Redis node of that index.
    Redis(usize),
    /// The sentinel of that index.
    Sentinel(usize),
    /// The MongoDB server.
    Mongo,
}

/// What there is to say of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The name of the process, such as `gateway-1`.
    pub name: String,
    /// The address on which it listens.
    pub address: String,
    /// Its process, while it has one.
    pub id: Option<u32>,
    /// What it is and does, in words.
    pub what: String,
}

impl Cluster {
    /// Starts everything below `folder`, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// Something could not be started. Nothing is left running.
    pub fn start(folder: &Path, settings: &Settings) -> Result<Cluster> {
        Cluster::start_behind(folder, settings, Ok)
    }

    /// The same with something between gateways and Redis: see [`Redis::start_behind`].
    ///
    /// # Errors
    ///
    /// The same.
    pub fn start_behind(
        folder: &Path,
        settings: &Settings,
        in_front: impl FnMut(u16) -> Result<u16>,
    ) -> Result<Cluster> {
        let port_after = |distance| {
            let base = settings.port_base;
            base.map(|base| base.saturating_add(distance))
        };
        let redis = match settings.redis {
            None => None,
            Some(topology) => {
                let settings = redis::Settings {
                    topology,
                    node_timeout: settings.node_timeout,
                    port_base: port_after(REDIS_AFTER),
                };
                Some(Redis::start_behind(folder, &settings, in_front)?)
            }
        };
        let mongo = match settings.mongo {
            false => None,
            true => {
                let settings = mongo::Settings {
                    port: port_after(MONGO_AFTER),
                    ..mongo::Settings::default()
                };
                Some(Mongo::start(folder, &settings)?)
            }
        };
        let mut env = settings.env.clone();
        if let Some(mongo) = &mongo {
            env.push(("MONGODB_URI".to_owned(), mongo.uri()));
        }
        let mut cluster = Cluster {
            gateways: Vec::new(),
            redis,
            mongo,
        };
        for index in 0..settings.gateways {
            let port = settings
                .port_base
                .map(|base| u16::try_from(usize::from(base) + index));
            let settings = gateway::Settings {
                binary: settings.binary.clone(),
                name: format!("gateway-{}", index + 1),
                port: port.transpose().context("there is no such port")?,
                redis_url: cluster.redis.as_ref().map(Redis::url),
                env: env.clone(),
            };
            cluster.gateways.push(Gateway::start(folder, &settings)?);
        }
        Ok(cluster)
    }

    /// Asks every gateway to go, waits until they have, and ends Redis and MongoDB.
    ///
    /// # Errors
    ///
    /// A gateway did not end well. Everything is gone in any case.
    pub fn stop(mut self) -> Result<()> {
        for gateway in &mut self.gateways {
            gateway.process.ask_to_go()?;
        }
        let ends: Vec<_> = self
            .gateways
            .iter_mut()
            .map(Gateway::wait_stopped)
            .collect();
        ends.into_iter().collect()
    }

    /// Every process of the cluster.
    pub fn parts(&self) -> Vec<Part> {
        let redis = self.redis.as_ref();
        let nodes = redis.map_or(0, |redis| redis.nodes().len());
        let sentinels = redis.map_or(0, |redis| redis.sentinels().len());
        let gateways = (0..self.gateways.len()).map(Part::Gateway);
        gateways
            .chain((0..nodes).map(Part::Redis))
            .chain((0..sentinels).map(Part::Sentinel))
            .chain(self.mongo.iter().map(|_| Part::Mongo))
            .collect()
    }

    /// The parts that `words` name: `gateway-2`, `gateways`, `redis`, `sentinels`, `mongo`, `all`, `master-of KEY`.
    ///
    /// # Errors
    ///
    /// There is no such part.
    pub fn find(&mut self, words: &[String]) -> Result<Vec<Part>> {
        let mut found = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if word == "master-of" {
                let key = words
                    .next()
                    .context("`master-of` needs the end of a key, such as channel:room:42")?;
                let redis = self.redis.as_mut().context("there is no Redis")?;
                found.push(Part::Redis(redis.master_of(key)?));
                continue;
            }
            let parts = self.parts();
            let before = found.len();
            found.extend(parts.into_iter().filter(|part| match word.as_str() {
                "all" => true,
                "gateways" => matches!(part, Part::Gateway(_)),
                "redis" => matches!(part, Part::Redis(_)),
                "sentinels" => matches!(part, Part::Sentinel(_)),
                name => self.process(*part).name() == name,
            }));
            if found.len() == before {
                let names: Vec<_> = self
                    .parts()
                    .into_iter()
                    .map(|part| self.process(part).name())
                    .collect();
                bail!(
                    "there is no `{word}`; there are gateways, redis, sentinels, all, master-of KEY, {}",
                    names.join(", ")
                );
            }
        }
        found.dedup();
        Ok(found)
    }

    /// The process of a part.
    pub fn process(&self, part: Part) -> &Process {
        let redis = || {
            self.redis
                .as_ref()
                .expect("parts of Redis are there if Redis is")
        };
        match part {
            Part::Gateway(index) => &self.gateways[index].process,
            Part::Redis(index) => &redis().nodes()[index].process,
            Part::Sentinel(index) => &redis().sentinels()[index].process,
            Part::Mongo => &self.mongo.as_ref().expect(MONGO).process,
        }
    }

    /// The same, to be broken.
    pub fn process_mut(&mut self, part: Part) -> &mut Process {
        match part {
            Part::Gateway(index) => &mut self.gateways[index].process,
            Part::Redis(_) | Part::Sentinel(_) => &mut self.node_mut(part).process,
            Part::Mongo => &mut self.mongo.as_mut().expect(MONGO).process,
        }
    }

    /// Asks a part to go, and waits until it has.
    ///
    /// # Errors
    ///
    /// It did not end in time, or a gateway not well. It is gone in any case.
    pub fn end(&mut self, part: Part) -> Result<()> {
        self.process_mut(part).ask_to_go()?;
        match part {
            Part::Gateway(index) => self.gateways[index].wait_stopped(),
            Part::Redis(_) | Part::Sentinel(_) | Part::Mongo => {
                let process = self.process_mut(part);
                if process.wait_gone(END_TIME_MAX).is_err() {
                    process.kill()?;
                }
                Ok(())
            }
        }
    }

    /// Starts a part again that has ended, and waits until it is of use.
    ///
    /// # Errors
    ///
    /// It has not ended, or cannot be started.
    pub fn start_again(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Gateway(index) => self.gateways[index].start_again(),
            Part::Redis(_) | Part::Sentinel(_) => {
                let node = self.node_mut(part);
                node.process.start_again()?;
                node.wait_until_it_answers()
            }
            Part::Mongo => self.mongo.as_mut().expect(MONGO).start_again(),
        }
    }

    /// What there is to say of each process.
    pub fn rows(&mut self) -> Vec<Row> {
        let roles = self.redis.as_mut().map(Redis::roles).unwrap_or_default();
        let parts = self.parts();
        let row = |part| {
            let what = match self.process_mut(part).state() {
                State::Gone => "gone".to_owned(),
                State::Paused => "paused".to_owned(),
                State::Running => self.what(part, &roles),
            };
            let address = match part {
                Part::Gateway(index) => format!("http://{}/", self.gateways[index].address()),
                Part::Redis(_) | Part::Sentinel(_) => {
                    format!("127.0.0.1:{}", self.node_mut(part).port)
                }
                Part::Mongo => format!("127.0.0.1:{}", self.mongo.as_ref().expect(MONGO).port),
            };
            let process = self.process(part);
            Row {
                name: process.name().to_owned(),
                address,
                id: process.id(),
                what,
            }
        };
        parts.into_iter().map(row).collect()
    }

    fn what(&self, part: Part, roles: &[Role]) -> String {
        match part {
            Part::Sentinel(_) => "watches the master".to_owned(),
            Part::Mongo => match self.mongo.as_ref().expect(MONGO) {
                mongo if mongo.answers() => format!("keeps profiles: {}", mongo.about()),
                _ => "does not answer".to_owned(),
            },
            Part::Redis(index) => match &roles[index] {
                Role::Away => "does not answer, or is out of step".to_owned(),
                Role::Replica(None) => "copies nobody".to_owned(),
                Role::Replica(Some(master)) => format!("copies redis-{}", master + 1),
                Role::Master(slots) if slots.is_empty() => "master of nothing".to_owned(),
                Role::Master(slots) => {
                    let slots: Vec<_> = slots
                        .iter()
                        .map(|range| format!("{}-{}", range.start(), range.end()))
                        .collect();
                    format!("master of {}", slots.join(" "))
                }
            },
            Part::Gateway(index) => match self.gateways[index].health() {
                Err(_) => "does not answer".to_owned(),
                Ok(health) => {
                    let status = health["status"].as_str().unwrap_or("unknown").to_owned();
                    let online = &health["presence"]["online_users"];
                    format!("{status}, {online} online")
                }
            },
        }
    }

    fn node_mut(&mut self, part: Part) -> &mut Node {
        let redis = self
            .redis
            .as_mut()
            .expect("parts of Redis are there if Redis is");
        match part {
            Part::Redis(index) => &mut redis.nodes_mut()[index],
            Part::Sentinel(index) => &mut redis.sentinels_mut()[index],
            Part::Gateway(_) | Part::Mongo => unreachable!("{part:?} is no Redis node"),
        }
    }
}

/// Rows under each other, with a head.
pub fn table(rows: &[Row]) -> String {
    let head = Row {
        name: "name".to_owned(),
        address: "address".to_owned(),
        id: None,
        what: "what it does".to_owned(),
    };
    let width = |of: fn(&Row) -> usize| rows.iter().chain([&head]).map(of).max().unwrap_or(0);
    let (name, address) = (width(|row| row.name.len()), width(|row| row.address.len()));
    let line = |row: &Row, id: &str| {
        format!(
            "{:<name$}  {:<address$}  {id:>7}  {}\n",
            row.name, row.address, row.what
        )
    };
    let mut text = line(&head, "pid");
    for row in rows {
        text += &line(row, &row.id.map_or("-".to_owned(), |id| id.to_string()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_it_has_to_be() {
        let row = |name: &str, id, what: &str| Row {
            name: name.to_owned(),
            address: "127.0.0.1:1".to_owned(),
            id,
            what: what.to_owned(),
        };
        assert_eq!(
            table(&[
                row("gateway-1", Some(17), "healthy"),
                row("redis-1", None, "gone")
            ]),
            "\
name       address          pid  what it does
gateway-1  127.0.0.1:1       17  healthy
redis-1    127.0.0.1:1        -  gone
"
        );
    }
}
