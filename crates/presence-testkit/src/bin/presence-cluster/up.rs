//! `cargo xtask cluster up`: starts a cluster and keeps it.

use std::env;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use presence_testkit::cluster::{Cluster, Settings};
use presence_testkit::folder::Folder;
use presence_testkit::redis::Topology;
use presence_testkit::run::{cargo, run};
use presence_testkit::wait;
use presence_testkit::workspace::Workspace;

use super::keeper::keep;
use super::socket::{self, CommandSocket};

/// How long a cluster may take to be ready. It takes 3 s.
const READY_TIME_MAX: Duration = Duration::from_secs(120);

/// Says that the folder is made and the output goes into it: how `--detach` starts the one that stays.
const STAY: &str = "--stay";

/// What the arguments of `up` ask for.
struct Wanted {
    settings: Settings,
    detach: bool,
    stay: bool,
}

pub(super) fn up(workspace: &Workspace, args: &[String]) -> Result<()> {
    let folder = super::folder(workspace);
    let mut wanted = wanted(args)?;
    if wanted.stay {
        return stay(&folder, &wanted.settings);
    }
    if socket::is_kept(&folder) {
        bail!(
            "a cluster runs already: see `cargo xtask cluster status`, or end it with `cargo xtask cluster down`"
        );
    }
    if wanted.settings.binary.as_os_str().is_empty() {
        let what = "build --release --locked --package presence-gateway --bin presence-gateway";
        run(&mut cargo(workspace, what))?;
        wanted.settings.binary = workspace.release_binary("presence-gateway");
    }
    let folder = Folder::empty(folder)?;
    match wanted.detach {
        false => stay(folder.path(), &wanted.settings),
        true => detach(folder, args, &wanted.settings.binary),
    }
}

/// Starts it, and keeps it until told otherwise.
fn stay(folder: &Path, settings: &Settings) -> Result<()> {
    // First of all, so that nobody else starts one.
    let socket = CommandSocket::open(folder)?;
    println!("starting {}", announcement(settings));
    let cluster = Cluster::start(folder, settings)?;
    keep(cluster, &socket, folder)
}

fn announcement(settings: &Settings) -> String {
    let gateways = match settings.gateways {
        1 => "one gateway".to_owned(),
        count => format!("{count} gateways"),
    };
    let redis = match settings.redis {
        None => "no Redis".to_owned(),
        Some(topology) => format!("Redis ({topology})"),
    };
    let mongo = if settings.mongo {
        "MongoDB"
    } else {
        "no MongoDB"
    };
    format!("{redis}, {mongo} and {gateways} ...")
}

/// Starts one that stays, and waits until it is ready.
fn detach(mut folder: Folder, args: &[String], binary: &Path) -> Result<()> {
    let log = File::create(folder.path().join("log"))?;
    let mut command = Command::new(env::current_exe()?);
    command
        .arg("up")
        .args(args)
        .arg("--gateway")
        .arg(binary)
        .arg(STAY);
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0);
    let mut child = command.spawn().context("cannot start the one that stays")?;
    let said = || std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
    let ready = wait::until(READY_TIME_MAX, "the cluster is ready", || {
        match child.try_wait()? {
            Some(status) => bail!("the cluster did not start ({status})\n{}", said()),
            None => Ok(said().contains(super::keeper::READY).then_some(())),
        }
    });
    if let Err(error) = ready {
        let _ = child.kill();
        let _ = child.wait();
        return Err(error);
    }
    print!("{}", said());
    folder.keep();
    Ok(())
}

fn wanted(args: &[String]) -> Result<Wanted> {
    let mut wanted = Wanted {
        settings: Settings {
            binary: PathBuf::new(),
            gateways: 3,
            redis: Some(Topology::Cluster),
            node_timeout: Duration::from_millis(1000),
            mongo: true,
            port_base: None,
            env: Vec::new(),
        },
        detach: false,
        stay: false,
    };
    let settings = &mut wanted.settings;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (arg.as_str(), None),
        };
        let mut value = || {
            let value = value.clone().or_else(|| args.next().cloned());
            value.with_context(|| format!("{name} needs a value"))
        };
        match name {
            "--gateways" => settings.gateways = number(name, &value()?)?,
            "--port-base" => settings.port_base = Some(number(name, &value()?)?),
            "--node-timeout" => {
                settings.node_timeout = Duration::from_millis(number(name, &value()?)?)
            }
            "--gateway" => settings.binary = std::path::absolute(value()?)?,
            "--redis" => {
                settings.redis = match value()?.as_str() {
                    "none" => None,
                    topology => Some(topology.parse()?),
                };
            }
            "--without-mongo" => settings.mongo = false,
            "--detach" => wanted.detach = true,
            STAY => wanted.stay = true,
            other => bail!("`cluster up` does not know `{other}`:\n\n{}", super::HELP),
        }
    }
    if !(1..=100).contains(&wanted.settings.gateways) {
        bail!(
            "--gateways is {}; 1 to 100 would do",
            wanted.settings.gateways
        );
    }
    Ok(wanted)
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T> {
    let number = value.parse().ok();
    number.with_context(|| format!("{name} is `{value}`; a number would do"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_with_and_without_an_equals_sign() {
        let wanted = read("--gateways 5 --redis=sentinel --port-base 7000 --detach").unwrap();
        assert_eq!(wanted.settings.gateways, 5);
        assert_eq!(wanted.settings.redis, Some(Topology::Sentinel));
        assert_eq!(wanted.settings.port_base, Some(7000));
        assert!(wanted.detach && wanted.settings.mongo);
        let wanted = read("--redis none --without-mongo").unwrap();
        assert_eq!(
            (wanted.settings.redis, wanted.settings.mongo),
            (None, false)
        );
    }

    #[test]
    fn what_makes_no_sense_is_told_with_what_would() {
        check("--gateways", "--gateways needs a value");
        check("--gateways x", "--gateways is `x`; a number would do");
        check("--gateways 0", "1 to 100 would do");
        check(
            "--redis valkey",
            "there are `cluster`, `sentinel` and `single`, not `valkey`",
        );
        check("--fast", "does not know `--fast`");
    }

    #[track_caller]
    fn check(args: &str, expected: &str) {
        let error = read(args).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    fn read(args: &str) -> Result<Wanted> {
        let args: Vec<_> = args.split(' ').map(str::to_owned).collect();
        wanted(&args)
    }
}
