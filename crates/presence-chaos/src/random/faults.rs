//! Breaks what a run wants broken, and mends it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use presence_testkit::cluster::Part;
use presence_testkit::proxy::Mode;
use presence_testkit::redis::ask;

use super::fault::{Keeps, Kind};
use super::ground::Ground;

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
                ground.shared.open(*gateway, false);
                ground.cluster.gateways[*gateway].process.kill()
            }
            Kind::Term { gateway } => {
                ground.shared.open(*gateway, false);
                ground.cluster.gateways[*gateway].process.ask_to_go()
            }
            Kind::Sleep { gateway } => {
                ground.shared.open(*gateway, false);
                ground.cluster.gateways[*gateway].process.pause()
            }
            Kind::ClockOff { gateway, seconds } => {
                ground.shared.open(*gateway, false);
                let it = &mut ground.cluster.gateways[*gateway];
                it.process.kill()?;
                it.start_again_with_clock_off(*seconds)?;
                ground.shared.open(*gateway, true);
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
                ground.shared.open(*gateway, true);
                Ok(())
            }
            Kind::Sleep { gateway } => {
                ground.cluster.gateways[*gateway].process.resume()?;
                ground.shared.open(*gateway, true);
                Ok(())
            }
            Kind::ClockOff { gateway, .. } => {
                ground.shared.open(*gateway, false);
                let it = &mut ground.cluster.gateways[*gateway];
                it.process.kill()?;
                it.start_again()?;
                ground.shared.open(*gateway, true);
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
