//! The program as an operator runs it, in a folder of its own.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tempfile::TempDir;

use crate::gateway::PATIENCE;

/// A folder for profiles, and for one program after the other.
pub(crate) struct ProgramFolder {
    folder: TempDir,
}

/// A running program. It is killed when dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    stderr: Arc<Mutex<String>>,
    /// Reads what it logs, up to its end.
    reader: Option<JoinHandle<()>>,
}

impl ProgramFolder {
    pub(crate) fn new() -> ProgramFolder {
        ProgramFolder {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The program, about to run here with nothing in its environment but `settings`.
    pub(crate) fn command(&self, settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_presence-gateway"));
        command
            .current_dir(self.path())
            .env_clear()
            .env("PRESENCE_LISTEN", "127.0.0.1:0")
            .envs(settings.iter().copied())
            .stdin(Stdio::null());
        command
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn start(&self, settings: &[(&str, &str)]) -> Program {
        start(self.command(settings))
    }

    /// Starts it where it may have so many files open, and waits until it listens.
    pub(crate) fn start_with_files(&self, files: u32, settings: &[(&str, &str)]) -> Program {
        let program = self.command(settings);
        let mut command = Command::new("/bin/sh");
        command
            .arg("-c")
            .arg(format!("ulimit -n {files} && exec \"$0\""))
            .arg(program.get_program())
            .current_dir(self.path())
            .env_clear()
            .stdin(Stdio::null());
        let settings = program.get_envs();
        command.envs(settings.filter_map(|(name, value)| Some((name, value?))));
        start(command)
    }

    /// Runs it to its end, with a stdout whose reader has gone already. Returns how it ended, and what it complained about.
    pub(crate) fn run_unread(&self, args: &[&str]) -> (ExitStatus, String) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = self.command(&[]);
        command.args(args).stdout(writer).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        (output.status, String::from_utf8(output.stderr).unwrap())
    }

    /// Runs it to its end: whether that went well, what it printed, and what it complained about.
    pub(crate) fn run(&self, settings: &[(&str, &str)], args: &[&str]) -> (bool, String, String) {
        let output = self.command(settings).args(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    }
}

fn start(mut command: Command) -> Program {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stderr = Arc::new(Mutex::new(String::new()));
    let lines = lines(child.stdout.take().unwrap());
    let errors = BufReader::new(child.stderr.take().unwrap());
    let kept = stderr.clone();
    let reader = thread::spawn(move || {
        for line in errors.lines().map_while(Result::ok) {
            let mut kept = kept.lock().unwrap();
            kept.push_str(&line);
            kept.push('\n');
        }
    });
    let mut program = Program {
        child,
        address: ([127, 0, 0, 1], 0).into(),
        stderr,
        reader: Some(reader),
    };
    let first = lines.recv_timeout(PATIENCE);
    let first = first.unwrap_or_else(|why| panic!("{why}: {}", program.log()));
    let address = first.strip_prefix("listening on http://");
    program.address = address
        .unwrap_or_else(|| panic!("{first}"))
        .parse()
        .unwrap();
    program
}

/// Lines as they come, without waiting for the next one here.
fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (to, lines) = channel();
    thread::spawn(move || {
        let lines = BufReader::new(from).lines().map_while(Result::ok);
        lines.for_each(|line| drop(to.send(line)));
    });
    lines
}

impl Program {
    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Sends it a signal, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-s", name, &pid])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Stops it where it is, as a machine does that hangs, and waits until none of its threads runs. `CONT` lets it go on.
    pub(crate) async fn pauses(&self) {
        self.signal("STOP");
        let tasks = format!("/proc/{}/task", self.child.id());
        let is_stopped = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The state comes after the name, which is in parentheses.
            stat.rsplit_once(") ")
                .is_none_or(|(_, state)| state.starts_with('T'))
        };
        let began = Instant::now();
        while !std::fs::read_dir(&tasks)
            .unwrap()
            .all(|it| it.is_ok_and(is_stopped))
        {
            assert!(began.elapsed() < PATIENCE, "it does not stop");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end, and until all of its log is read.
    pub(crate) async fn ends(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                if let Some(reader) = self.reader.take() {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "it does not end: {}",
                self.log()
            );
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// The memory it has, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find_map(|it| it.strip_prefix("VmRSS:"))
            .unwrap();
        let kilobytes: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
        kilobytes * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
