//! A gateway process of our own: on a free port, with an empty data directory, gone when we are done.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long it may take to listen.
const START_TIME_MAX: Duration = Duration::from_secs(15);

/// How long it may take to end after SIGTERM: its drain and a little more.
const STOP_TIME_MAX: Duration = Duration::from_secs(20);

/// What the gateway says on stdout before its address.
const LISTENING: &str = "listening on http://";

/// Settings that users know without our prefix.
const UNPREFIXED: &[&str] = &[
    "HEARTBEAT_INTERVAL",
    "PRESENCE_TTL",
    "TYPING_TTL",
    "NODE_NAME",
];

/// A running gateway. Dropping it kills the process; [`Gateway::stop`] ends it well.
pub(crate) struct Gateway {
    child: Child,
    address: String,
    folder: PathBuf,
}

impl Gateway {
    /// Starts `binary` with its data and log in a new folder below `parent`, and waits until it listens.
    ///
    /// # Errors
    ///
    /// It could not be started, ended at once, or did not listen in time. The end of its log has been printed.
    pub(crate) fn start(binary: &Path, parent: &Path) -> Result<Gateway> {
        let folder = parent.join(format!("gateway-{}", std::process::id()));
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let log = File::create(folder.join("log"))?;

        let mut command = Command::new(binary);
        // A developer's own settings, a key for instance, would change what is measured.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("PRESENCE_") || UNPREFIXED.contains(&&*name) {
                command.env_remove(&*name);
            }
        }
        command
            .args(["--listen", "127.0.0.1:0"])
            .env("PRESENCE_DATA_DIR", folder.join("data"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.try_clone()?);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", binary.display()))?;

        // From here on dropping it cleans up.
        let mut gateway = Gateway {
            child,
            address: String::new(),
            folder,
        };
        match gateway.wait_until_listening(log) {
            Ok(address) => gateway.address = address,
            Err(error) => {
                eprint!("{}", gateway.log_end());
                return Err(error);
            }
        }
        Ok(gateway)
    }

    /// Host and port, as in `127.0.0.1:40123`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The last lines it logged.
    pub(crate) fn log_end(&self) -> String {
        let log = fs::read(self.folder.join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(40)..];
        last.iter()
            .map(|line| format!("gateway | {line}\n"))
            .collect()
    }

    /// Asks it to go, and waits until it has.
    ///
    /// # Errors
    ///
    /// It did not end in time, or not well. It is gone in any case.
    pub(crate) fn stop(mut self) -> Result<()> {
        // The standard library can only kill; every Unix has a shell that can ask.
        Command::new("sh")
            .arg("-c")
            .arg(format!("kill -TERM {}", self.child.id()))
            .status()?;
        match wait(&mut self.child, STOP_TIME_MAX)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                eprint!("{}", self.log_end());
                bail!("the gateway ended badly when told to stop ({status})")
            }
            None => {
                eprint!("{}", self.log_end());
                bail!(
                    "the gateway did not stop within {} s of SIGTERM",
                    STOP_TIME_MAX.as_secs()
                )
            }
        }
    }

    /// Its address, once it has told it. All it says on stdout goes to the log.
    fn wait_until_listening(&mut self, mut log: File) -> Result<String> {
        let stdout = self.child.stdout.take().context("its stdout is piped")?;
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                // Read on even if the log cannot be written, or the gateway would block.
                let _ = writeln!(log, "{line}");
                if let Some(address) = listening_address(&line) {
                    let _ = tell.send(address.to_owned());
                }
            }
        });
        match told.recv_timeout(START_TIME_MAX) {
            Ok(address) => Ok(address),
            Err(RecvTimeoutError::Timeout) => {
                bail!(
                    "the gateway did not print `{LISTENING}...` within {} s",
                    START_TIME_MAX.as_secs()
                )
            }
            // It closed its stdout, so it is ending.
            Err(RecvTimeoutError::Disconnected) => {
                match wait(&mut self.child, Duration::from_secs(1))? {
                    Some(status) => bail!("the gateway ended before it listened ({status})"),
                    None => bail!("the gateway closed its stdout without `{LISTENING}...`"),
                }
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Both fail if it has ended already, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// How the child ended; `None` if it still runs after `limit`.
fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(20));
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
