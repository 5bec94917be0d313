//! What clients really ask of Redis: commands in scripts are counted apart, which `INFO commandstats` does not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, bail};

use super::Connection;

/// How often to look whether it is over.
const EVERY: Duration = Duration::from_millis(100);

/// Counts commands as they come. It slows the server down, so it is for counting and not for timing.
#[derive(Debug)]
pub struct Monitor {
    stop: Arc<AtomicBool>,
    counting: Vec<JoinHandle<Counts>>,
}

/// How often each command came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How often clients sent each command.
    pub asked: BTreeMap<String, u64>,
    /// How often scripts called each command.
    pub in_scripts: BTreeMap<String, u64>,
}

impl Monitor {
    /// Begins to count what comes to the servers on these ports.
    ///
    /// # Errors
    ///
    /// One does not answer.
    pub fn start(ports: &[u16]) -> Result<Monitor> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut counting = Vec::new();
        for port in ports {
            let mut connection = Connection::open(*port)?;
            connection.ask(&["MONITOR"])?;
            connection.wait_at_most(EVERY)?;
            let stop = stop.clone();
            counting.push(thread::spawn(move || count(&mut connection, &stop)));
        }
        Ok(Monitor { stop, counting })
    }

    /// Ends, and says what came.
    ///
    /// # Errors
    ///
    /// It could not be counted.
    pub fn stop(self) -> Result<Counts> {
        self.stop.store(true, Ordering::Relaxed);
        let mut sum = Counts::default();
        for counting in self.counting {
            let Ok(counts) = counting.join() else {
                bail!("counting commands failed");
            };
            sum.add(&counts);
        }
        Ok(sum)
    }
}

fn count(connection: &mut Connection, stop: &AtomicBool) -> Counts {
    let mut counts = Counts::default();
    while !stop.load(Ordering::Relaxed) {
        match connection.line_in_time() {
            Ok(Some(line)) => counts.take(&line),
            Ok(None) => {}
            // It died: that is all it was asked.
            Err(_) => break,
        }
    }
    counts
}

impl Counts {
    /// How many came from clients, without those that only ask how the server is.
    pub fn asked_in_all(&self) -> u64 {
        let housekeeping = ["ping", "info", "cluster", "role", "dbsize", "monitor"];
        let asked = self.asked.iter();
        let asked = asked.filter(|(command, _)| !housekeeping.contains(&command.as_str()));
        asked.map(|(_, calls)| calls).sum()
    }

    fn add(&mut self, other: &Counts) {
        for (command, calls) in &other.asked {
            *self.asked.entry(command.clone()).or_default() += calls;
        }
        for (command, calls) in &other.in_scripts {
            *self.in_scripts.entry(command.clone()).or_default() += calls;
        }
    }

    /// `+1700000000.123456 [0 127.0.0.1:5000] "EVALSHA" "..."`; from a script `[0 lua]`.
    fn take(&mut self, line: &str) {
        let Some((head, rest)) = line.split_once("] \"") else {
            return;
        };
        let command = rest
            .split('"')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let counts = match head.ends_with(" lua") {
            true => &mut self.in_scripts,
            false => &mut self.asked,
        };
        *counts.entry(command).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_scripts_are_counted_apart() {
        let mut counts = Counts::default();
        counts.take(r#"+1700000000.1 [0 127.0.0.1:5000] "EVALSHA" "abc" "1" "k] \"x""#);
        counts.take(r#"+1700000000.2 [0 lua] "hset" "k" "f""#);
        counts.take(r#"+1700000000.3 [0 127.0.0.1:5001] "PING""#);
        counts.take("+OK");
        assert_eq!(
            counts.asked,
            BTreeMap::from([("evalsha".to_owned(), 1), ("ping".to_owned(), 1)])
        );
        assert_eq!(counts.in_scripts, BTreeMap::from([("hset".to_owned(), 1)]));
        assert_eq!(counts.asked_in_all(), 1);
    }
}
