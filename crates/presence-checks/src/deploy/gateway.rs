//! What the gateway says about itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use presence_testkit::gateway::{Gateway as Running, Settings};
use presence_testkit::http;
use presence_testkit::run::answer_or_error;

/// Names the file, so it is not among the settings in it.
const CONFIG: &str = "PRESENCE_CONFIG";

/// What it says to who asks for the path of a WebSocket without one. Like Rails, it says that with 404 at `/cable`.
const ONLY_WEBSOCKET: &str = "this is a WebSocket";

/// The program of the gateway, which is asked what it accepts.
pub(super) struct Gateway {
    binary: PathBuf,
    /// Empty, so that no file in it is taken for a configuration.
    folder: PathBuf,
    /// The names of its settings in the environment.
    names: BTreeSet<String>,
}

/// A path that somebody would ask it for.
#[derive(Debug, PartialEq)]
pub(super) struct Route {
    /// Who, and in which file.
    pub(super) told_in: String,
    pub(super) path: String,
}

impl Gateway {
    /// Asks `binary` for its settings; what has to be kept meanwhile goes to `folder`.
    pub(super) fn ask(binary: PathBuf, folder: PathBuf) -> Result<Gateway> {
        let help = answer_or_error(Command::new(&binary).arg("--help"))?;
        let mut names = names(&help);
        if names.is_empty() {
            bail!("`presence-gateway --help` names no settings any more");
        }
        names.insert(CONFIG.to_owned());
        Ok(Gateway {
            binary,
            folder,
            names,
        })
    }

    /// Whether there is a setting of that name in the environment.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The value of each setting in such an environment, or why it would not start.
    pub(super) fn accepts(
        &self,
        env: &[(String, String)],
    ) -> Result<Result<BTreeMap<String, String>, String>> {
        let mut command = self.check_config();
        command.envs(env.iter().map(|(name, value)| (name, value)));
        explained(&mut command)
    }

    /// The same with a file.
    pub(super) fn accepts_file(
        &self,
        file: &Path,
    ) -> Result<Result<BTreeMap<String, String>, String>> {
        let mut command = self.check_config();
        explained(command.arg("--config").arg(file))
    }

    /// Those that lead nowhere, a line each: a gateway is started and asked.
    pub(super) fn lacks(&self, routes: &[Route]) -> Result<Vec<String>> {
        self.running(|address| {
            let mut wrong = Vec::new();
            for route in routes {
                let (status, said) = http::get(address, &route.path)?;
                if status == 404 && !said.contains(ONLY_WEBSOCKET) {
                    wrong.push(format!(
                        "{}: the gateway has no {}",
                        route.told_in, route.path
                    ));
                }
            }
            Ok(wrong)
        })
    }

    /// Starts a gateway, asks it, and stops it.
    pub(super) fn running<T>(&self, ask: impl FnOnce(SocketAddr) -> Result<T>) -> Result<T> {
        let gateway = Running::start(&self.folder, &Settings::alone(self.binary.clone()))?;
        let answer = ask(gateway.address())?;
        gateway.stop()?;
        Ok(answer)
    }

    fn check_config(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .current_dir(&self.folder)
            .env_clear()
            .arg("--check-config");
        command
    }
}

fn explained(command: &mut Command) -> Result<Result<BTreeMap<String, String>, String>> {
    let output = command.output().context("cannot start presence-gateway")?;
    if !output.status.success() {
        return Ok(Err(String::from_utf8_lossy(&output.stderr)
            .trim()
            .to_owned()));
    }
    Ok(Ok(values(&String::from_utf8(output.stdout)?)))
}

/// Of lines like `drain                      10s              default`.
fn values(explained: &str) -> BTreeMap<String, String> {
    let pairs = explained.lines().filter_map(|line| {
        let (name, rest) = line.split_once(' ')?;
        let value = rest.trim_start().split("  ").next()?;
        Some((name.to_owned(), value.trim().to_owned()))
    });
    pairs.collect()
}

/// Of lines like `  drain                      PRESENCE_DRAIN`.
fn names(help: &str) -> BTreeSet<String> {
    let lines = help.lines().filter_map(|line| {
        let mut words = line.strip_prefix("  ")?.split_whitespace();
        let (_, name, None) = (words.next()?, words.next()?, words.next()) else {
            return None;
        };
        let is_name = name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
        is_name.then(|| name.to_owned())
    });
    lines.collect()
}

/// A time as the gateway, Compose and systemd write it: `500ms`, `20s`, `1m`.
pub(super) fn span(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    Some(match &text[digits.len()..] {
        "ms" => Duration::from_millis(number),
        "s" | "" => Duration::from_secs(number),
        "m" => Duration::from_secs(number * 60),
        "h" => Duration::from_secs(number * 3600),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_from_what_the_gateway_says() {
        let help = "Options:\n  --listen <ADDRESS:PORT>\n      Address\n\nSettings:\n\n  listen  PRESENCE_LISTEN\n  node_name  NODE_NAME\n";
        let expected = ["NODE_NAME", "PRESENCE_LISTEN"].map(str::to_owned);
        assert_eq!(names(help), expected.into());
        let values = values(
            "listen      127.0.0.1:4001   default\nrates.join  20/s burst 200   default\nurl         ***\n",
        );
        assert_eq!(values["listen"], "127.0.0.1:4001");
        assert_eq!(values["rates.join"], "20/s burst 200");
        assert_eq!(values["url"], "***");
    }

    #[test]
    fn a_span_has_a_unit_or_is_seconds() {
        assert_eq!(span("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(span("20"), Some(Duration::from_secs(20)));
        assert_eq!(span("1m"), Some(Duration::from_secs(60)));
        assert_eq!(span("1m30s"), None);
        assert_eq!(span("soon"), None);
    }
}
