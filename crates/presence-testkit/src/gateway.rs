//! Gateways of our own: on free ports, with data directories of their own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::{Process, Program};
use crate::{http, ports, tools, wait};

/// How long it may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(15);

/// How long it may take to end after SIGTERM: its drain and a little more.
const STOP_TIME_MAX: Duration = Duration::from_secs(20);

/// What the gateway says on stdout before its address.
const LISTENING: &str = "listening on http://";

/// How often to try with another port when somebody has taken it meanwhile.
const TRIES: usize = 5;

/// What the gateway says then.
const TAKEN: &str = "Address already in use";

/// How a gateway is started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The path of the gateway's program.
    pub binary: PathBuf,
    /// Its `NODE_NAME`, and the name of its folder.
    pub name: String,
    /// Where it listens; a free port if `None`.
    pub port: Option<u16>,
    /// Where it finds the other gateways; alone if `None`.
    pub redis_url: Option<String>,
    /// Its settings, if they are not the defaults.
    pub env: Vec<(String, String)>,
}

/// A running gateway. Dropping it kills the process; [`Gateway::stop`] ends it well.
#[derive(Debug)]
pub struct Gateway {
    /// Its process, to be killed and paused.
    pub process: Process,
    address: SocketAddr,
}

impl Settings {
    /// The settings of a gateway without Redis.
    pub fn alone(binary: PathBuf) -> Settings {
        Settings {
            binary,
            name: "gateway-1".to_owned(),
            port: None,
            redis_url: None,
            env: Vec::new(),
        }
    }
}

impl Gateway {
    /// Starts it with its data and log in a folder below `parent`, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// It could not be started, ended at once, or was not ready in time. The end of its log is part of the error.
    pub fn start(parent: &Path, settings: &Settings) -> Result<Gateway> {
        let mut tries = 1;
        loop {
            // Its own choice would be one of the ports that clients leave from: see `ports::GATEWAYS`.
            let port = match settings.port {
                Some(port) => port,
                None => ports::free(ports::GATEWAYS, 1, None)?[0],
            };
            match Gateway::start_on(port, parent, settings) {
                Err(error)
                    if tries < TRIES
                        && settings.port.is_none()
                        && error.to_string().contains(TAKEN) =>
                {
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    fn start_on(port: u16, parent: &Path, settings: &Settings) -> Result<Gateway> {
        let folder = parent.join(&settings.name);
        let address = format!("127.0.0.1:{port}");
        let mut env = settings.env.clone();
        let mut set = |name: &str, value: String| env.push((name.to_owned(), value));
        set("NODE_NAME", settings.name.clone());
        set(
            "PRESENCE_DATA_DIR",
            folder.join("data").to_string_lossy().into_owned(),
        );
        if let Some(url) = &settings.redis_url {
            set("REDIS_URL", url.clone());
        }
        let process = Process::start(Program {
            name: settings.name.clone(),
            file: settings.binary.clone(),
            args: vec!["--listen".to_owned(), address.clone()],
            env,
            folder,
        })?;
        let mut gateway = Gateway {
            process,
            address: address.parse()?,
        };
        gateway.wait_ready()?;
        Ok(gateway)
    }

    /// Starts it again after its end: the same name, port and data, another incarnation.
    ///
    /// # Errors
    ///
    /// It has not ended, or it cannot be started.
    pub fn start_again(&mut self) -> Result<()> {
        self.process.start_again()?;
        self.wait_ready()
    }

    /// The same with a clock that is ahead of the machine's by so many seconds, or behind. Linux only.
    ///
    /// # Errors
    ///
    /// The same, or there is no libfaketime.
    pub fn start_again_with_clock_off(&mut self, seconds: i64) -> Result<()> {
        let library = tools::faketime()?.to_string_lossy().into_owned();
        let env = self.process.program().env.clone();
        let mut faked = env.clone();
        let clock = [
            ("LD_PRELOAD", library),
            ("FAKETIME", format!("{seconds:+}s")),
            // Spans stay what they are: only the time of the day is off.
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        faked.extend(clock.map(|(name, value)| (name.to_owned(), value)));
        self.process.set_env(faked);
        let started = self.start_again();
        self.process.set_env(env);
        started
    }

    /// What we call it, and what it calls itself.
    pub fn name(&self) -> &str {
        self.process.name()
    }

    /// Host and port, as in `127.0.0.1:30123`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it says that it wants connections.
    pub fn is_ready(&self) -> bool {
        http::get(self.address, "/readyz").is_ok_and(|(status, _)| status == 200)
    }

    /// What it says of itself.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn health(&self) -> Result<serde_json::Value> {
        let (_, body) = http::get(self.address, "/health")?;
        serde_json::from_str(&body).with_context(|| format!("/health is `{body}`"))
    }

    /// Asks it to go, and waits until it has.
    ///
    /// # Errors
    ///
    /// It did not end in time, or not well. It is gone in any case.
    pub fn stop(mut self) -> Result<()> {
        self.process.ask_to_go()?;
        self.wait_stopped()
    }

    /// Waits until it has gone, after it was asked to.
    ///
    /// # Errors
    ///
    /// It did not end in time, or not well. It is gone in any case.
    pub fn wait_stopped(&mut self) -> Result<()> {
        match self.process.wait_gone(STOP_TIME_MAX) {
            Ok(None) => Ok(()),
            Ok(Some(status)) if status.success() => Ok(()),
            Ok(Some(status)) => {
                let log = self.process.log_end();
                bail!(
                    "{} ended badly when told to stop ({status})\n{log}",
                    self.name()
                )
            }
            Err(_) => {
                let log = self.process.log_end();
                self.process.kill()?;
                let seconds = STOP_TIME_MAX.as_secs();
                bail!(
                    "{} did not stop within {seconds} s of SIGTERM\n{log}",
                    self.name()
                )
            }
        }
    }

    fn wait_ready(&mut self) -> Result<()> {
        let what = format!("`{LISTENING}...`");
        let address = self.process.wait_until(START_TIME_MAX, &what, |log| {
            // The last word of a line that is being written is not its last word.
            let whole = &log[..log.rfind('\n')?];
            whole.lines().find_map(listening_address).map(str::to_owned)
        })?;
        self.address = address
            .parse()
            .with_context(|| format!("`{address}` is no address"))?;
        let what = format!("{} is ready", self.name());
        wait::until_true(START_TIME_MAX, &what, || self.is_ready())
    }
}

fn listening_address(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once(LISTENING)?;
    rest.split(|c: char| c.is_whitespace() || c == '/').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_what_follows_listening_on() {
        assert_eq!(
            listening_address("listening on http://127.0.0.1:40123"),
            Some("127.0.0.1:40123")
        );
        assert_eq!(
            listening_address("listening on http://[::1]:1/ now"),
            Some("[::1]:1")
        );
        assert_eq!(
            listening_address("no key: listening on loopback only"),
            None
        );
    }
}
