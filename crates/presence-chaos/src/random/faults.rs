//! What is broken on purpose, and how it is mended.

use std::fmt;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use presence_testkit::cluster::Part;
use presence_testkit::proxy::Mode;
use presence_testkit::redis::ask;
use serde::{Deserialize, Serialize};

use super::ground::Ground;

/// One fault. What lasts is mended later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// A gateway is killed (-9), and started again when this is mended.
    Kill { gateway: usize },
    /// A gateway is told to go (SIGTERM), and started again likewise.
    Term { gateway: usize },
    /// A gateway is stopped where it is (SIGSTOP), and goes on.
    Sleep { gateway: usize },
    /// A gateway is killed and started again with its clock off by so many seconds, until it is started once more.
    ClockOff { gateway: usize, seconds: i64 },
    /// Redis is killed, and comes back with what it had, or with nothing.
    RedisKill { keeps: Keeps },
    /// Redis forgets everything.
    FlushAll,
    /// Redis is stopped where it is (SIGSTOP), and goes on.
    RedisSleep,
    /// Everything to and from Redis takes so much longer.
    Slow { ms: u64 },
    /// Nothing comes through to or from Redis, and nobody is told.
    BlackHole,
    /// The same for one gateway.
    BlackHoleFor { gateway: usize },
    /// A Redis master of a cluster is killed, and comes back as a replica.
    FailOver,
    /// Nobody's doing: the machine let this program wait, and so everybody else.
    Stall,
}

/// What a Redis that was killed has when it is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Keeps {
    Everything,
    Nothing,
}

impl Kind {
    /// The gateway that it is about; `None` if it is about all.
    pub(crate) fn gateway(&self) -> Option<usize> {
        match self {
            Kind::Kill { gateway }
            | Kind::Term { gateway }
            | Kind::Sleep { gateway }
            | Kind::ClockOff { gateway, .. }
            | Kind::BlackHoleFor { gateway } => Some(*gateway),
            _ => None,
        }
    }

    /// Whether somebody cannot reach Redis meanwhile.
    pub(crate) fn is_of_store(&self) -> bool {
        match self {
            Kind::Kill { .. }
            | Kind::Term { .. }
            | Kind::Sleep { .. }
            | Kind::ClockOff { .. }
            | Kind::Stall => false,
            Kind::RedisKill { .. }
            | Kind::FlushAll
            | Kind::RedisSleep
            | Kind::Slow { .. }
            | Kind::BlackHole
            | Kind::BlackHoleFor { .. }
            | Kind::FailOver => true,
        }
    }

    /// Whether a gateway ends without handing over its sessions.
    pub(crate) fn loses_sessions(&self) -> bool {
        matches!(
            self,
            Kind::Kill { .. } | Kind::ClockOff { .. } | Kind::Term { .. }
        )
    }

    /// Whether a gateway that lives does not renew its lease meanwhile while others do.
    pub(crate) fn stops_renewal(&self) -> bool {
        matches!(self, Kind::Sleep { .. } | Kind::BlackHoleFor { .. })
    }

    /// Whether Redis has lost what was acknowledged when it is over.
    pub(crate) fn loses_data(&self) -> bool {
        matches!(
            self,
            Kind::FlushAll
                | Kind::RedisKill {
                    keeps: Keeps::Nothing
                }
                | Kind::FailOver
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |gateway: &usize| format!("gateway-{}", gateway + 1);
        match self {
            Kind::Kill { gateway } => write!(f, "{} killed", name(gateway)),
            Kind::Term { gateway } => write!(f, "{} told to go", name(gateway)),
            Kind::Sleep { gateway } => write!(f, "{} asleep", name(gateway)),
            Kind::ClockOff { gateway, seconds } => {
                write!(
                    f,
                    "{} restarted with its clock off by {seconds} s",
                    name(gateway)
                )
            }
            Kind::RedisKill {
                keeps: Keeps::Everything,
            } => f.write_str("Redis killed, with its data"),
            Kind::RedisKill {
                keeps: Keeps::Nothing,
            } => f.write_str("Redis killed, without its data"),
            Kind::FlushAll => f.write_str("FLUSHALL"),
            Kind::RedisSleep => f.write_str("Redis asleep"),
            Kind::Slow { ms } => write!(f, "Redis {ms} ms away"),
            Kind::BlackHole => f.write_str("nothing comes through to Redis"),
            Kind::BlackHoleFor { gateway } => {
                write!(f, "nothing comes through to Redis from {}", name(gateway))
            }
            Kind::FailOver => f.write_str("a Redis master killed"),
            Kind::Stall => f.write_str("this machine overloaded"),
        }
    }
}

/// Faults that are there now, with what mends them.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    master: Option<usize>,
}

impl Broken {
    /// Breaks something.
    ///
    /// # Errors
    ///
    /// It could not be broken.
    pub(crate) fn break_it(&mut self, ground: &mut Ground, kind: &Kind) -> Result<()> {
        match kind {
            Kind::Kill { gateway } => {
                ground.hall.open(*gateway, false);
                ground.cluster.gateways[*gateway].process.kill()
            }
            Kind::Term { gateway } => {
                ground.hall.open(*gateway, false);
                ground.cluster.gateways[*gateway].process.ask_to_go()
            }
            Kind::Sleep { gateway } => {
                ground.hall.open(*gateway, false);
                ground.cluster.gateways[*gateway].process.pause()
            }
            Kind::ClockOff { gateway, seconds } => {
                ground.hall.open(*gateway, false);
                let it = &mut ground.cluster.gateways[*gateway];
                it.process.kill()?;
                it.start_again_with_clock_off(*seconds)?;
                ground.hall.open(*gateway, true);
                Ok(())
            }
            Kind::RedisKill { keeps } => {
                let redis = ground.redis()?;
                for master in redis.masters() {
                    match keeps {
                        Keeps::Everything => {
                            ask(redis.nodes()[master].port, &["SAVE"]).map(drop)?
                        }
                        Keeps::Nothing => {}
                    }
                }
                for node in redis.nodes_mut() {
                    node.process.kill()?;
                }
                match keeps {
                    Keeps::Everything => Ok(()),
                    Keeps::Nothing => forget(ground),
                }
            }
            Kind::Stall => Ok(()),
            Kind::FlushAll => ground.redis()?.flush_all(),
            Kind::RedisSleep => {
                for node in ground.redis()?.nodes_mut() {
                    node.process.pause()?;
                }
                Ok(())
            }
            Kind::Slow { ms } => {
                ground.network(Mode::Delay(Duration::from_millis(*ms)));
                Ok(())
            }
            Kind::BlackHole => {
                ground.network(Mode::BlackHole);
                Ok(())
            }
            Kind::BlackHoleFor { gateway } => {
                let process = ground.cluster.gateways[*gateway].process.id();
                let process = process.context("the gateway does not run")?;
                let mut proxies = ground.proxies.iter();
                proxies.try_for_each(|it| it.set_for(process, Mode::BlackHole))
            }
            Kind::FailOver => {
                let redis = ground.redis()?;
                let master = *redis.masters().first().context("there is no master")?;
                self.master = Some(master);
                redis.nodes_mut()[master].process.kill()
            }
        }
    }

    /// Mends it.
    ///
    /// # Errors
    ///
    /// It could not be mended.
    pub(crate) fn mend(&mut self, ground: &mut Ground, kind: &Kind) -> Result<()> {
        match kind {
            Kind::Kill { gateway } | Kind::Term { gateway } => {
                let it = &mut ground.cluster.gateways[*gateway];
                it.wait_stopped()?;
                it.start_again()?;
                ground.hall.open(*gateway, true);
                Ok(())
            }
            Kind::Sleep { gateway } => {
                ground.cluster.gateways[*gateway].process.resume()?;
                ground.hall.open(*gateway, true);
                Ok(())
            }
            Kind::ClockOff { gateway, .. } => {
                ground.hall.open(*gateway, false);
                let it = &mut ground.cluster.gateways[*gateway];
                it.process.kill()?;
                it.start_again()?;
                ground.hall.open(*gateway, true);
                Ok(())
            }
            Kind::RedisKill { .. } => {
                let redis = ground.redis()?;
                for node in redis.nodes_mut() {
                    node.process.start_again()?;
                }
                redis.wait_ready()
            }
            Kind::FlushAll | Kind::Stall => Ok(()),
            Kind::RedisSleep => {
                for node in ground.redis()?.nodes_mut() {
                    node.process.resume()?;
                }
                Ok(())
            }
            Kind::Slow { .. } | Kind::BlackHole | Kind::BlackHoleFor { .. } => {
                ground.network(Mode::Pass);
                Ok(())
            }
            Kind::FailOver => {
                let master = self.master.take().context("no master was killed")?;
                ground.cluster.start_again(Part::Redis(master))?;
                ground.redis()?.wait_ready()
            }
        }
    }
}

/// What Redis would read when it starts is gone. A node of a cluster still knows the other nodes.
fn forget(ground: &mut Ground) -> Result<()> {
    let redis = ground.redis()?;
    for node in redis.nodes() {
        let folder = &node.process.program().folder;
        match fs::remove_file(folder.join("dump.rdb")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
