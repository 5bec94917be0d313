//! One server process.

use std::fmt::Debug;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::talk::{self, Answer};

/// How long is waited for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the rest of its arguments until the pipe to it ends, and says what process that is. So a server ends with the test,
/// however that ends.
const WATCHDOG: &str =
    r#""$@" </dev/null >/dev/null 2>&1 & echo $!; cat >/dev/null; kill -9 $!; wait"#;

/// A server that is there as long as this is.
pub(crate) struct Server {
    pub(crate) port: u16,
    program: &'static str,
    args: Vec<String>,
    /// Goes with the server.
    _directory: TempDir,
    process: Option<Process>,
}

struct Process {
    watchdog: Child,
    pid: String,
}

impl Server {
    /// One server that keeps nothing on the disk.
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_on(free_port(), more)
    }

    pub(crate) fn start_on(port: u16, more: &[&str]) -> Self {
        let server = Self::spawn_on(port, more);
        server.wait_ready();
        server
    }

    /// One that may not answer yet.
    pub(crate) fn spawn_on(port: u16, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut args: Vec<String> = Vec::new();
        let path = directory.path().to_str().unwrap();
        args.extend(["--port", &port.to_string(), "--bind", "127.0.0.1"].map(str::to_owned));
        args.extend(["--dir", path, "--save", "", "--appendonly", "no"].map(str::to_owned));
        args.extend(more.iter().map(|it| (*it).to_owned()));
        Self::spawn("redis-server", port, args, directory)
    }

    pub(crate) fn spawn(
        program: &'static str,
        port: u16,
        args: Vec<String>,
        directory: TempDir,
    ) -> Self {
        let mut server = Server {
            port,
            program,
            args,
            _directory: directory,
            process: None,
        };
        server.run();
        server
    }

    /// Runs it again, as it was.
    pub(crate) fn restart(&mut self) {
        self.run();
        self.wait_ready();
    }

    fn run(&mut self) {
        let is_there = Command::new(self.program).arg("--version").output();
        assert!(
            is_there.is_ok(),
            "{} is not on the PATH: install Redis 7 (Debian: redis-server redis-sentinel)",
            self.program
        );
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog", self.program])
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pid = String::new();
        BufReader::new(watchdog.stdout.as_mut().unwrap())
            .read_line(&mut pid)
            .unwrap();
        let pid = pid.trim().to_owned();
        self.process = Some(Process { watchdog, pid });
    }

    pub(crate) fn wait_ready(&self) {
        wait("a server answers", || {
            let answer = talk::say(self.port, &["PING"]).ok()?;
            // One with a password does not say it, and is ready all the same.
            matches!(&answer, Answer::Text(_) | Answer::Error(_)).then_some(())
        });
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn say(&self, words: &[&str]) -> Answer {
        talk::say(self.port, words).unwrap()
    }

    #[track_caller]
    pub(crate) fn says_ok(&self, words: &[&str]) {
        let answer = self.say(words);
        assert_eq!(answer, Answer::Text("OK".into()), "the answer to {words:?}");
    }

    /// Ends it without a word.
    pub(crate) fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        drop(process.watchdog.stdin.take());
        process.watchdog.wait().unwrap();
    }

    /// Stops its time, and returns when that is so: on a busy machine a signal takes some milliseconds.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
        if cfg!(target_os = "linux") {
            let pid = &self.process.as_ref().unwrap().pid;
            wait("a server has stopped", || is_stopped(pid).then_some(()));
        }
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = &self.process.as_ref().unwrap().pid;
        let done = Command::new("kill").args([signal, pid]).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
    }
}

/// Whether every thread of a process is stopped.
fn is_stopped(pid: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.map_while(Result::ok).all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap();
        // After the name, which is in brackets and may have some itself.
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_some_and(|it| it.starts_with('T'))
    })
}

/// Waits until `f` has something.
#[track_caller]
pub(crate) fn wait<T: Debug>(what: &str, mut f: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(it) = f() {
            return it;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A port that is free, and so is the one 10,000 above it, which a cluster's server takes for the others. Both are below
/// those that the system gives to connections.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Tests that run at the same time are processes with neighbouring numbers: each has 64 ports of its own.
    let first = (std::process::id() % 170) as u16 * 64;
    loop {
        let port = 10_500 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 11_000;
        let is_free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
}
