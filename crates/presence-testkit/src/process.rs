//! A program that runs beside us: started, signalled, started again, and never left behind.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use crate::{tools, wait};

/// A developer's own settings, a key or another Redis for instance, would change what runs.
const SETTINGS: &[&str] = &[
    "PRESENCE_",
    "REDIS",
    "MONGO",
    "NODE_NAME",
    "HEARTBEAT_INTERVAL",
    "TYPING_TTL",
];

/// How long the end of a killed process may take, and the stop of a paused one.
const SIGNAL_TIME_MAX: Duration = Duration::from_secs(30);

/// How a program is started, the first time and every time after.
#[derive(Clone, Debug)]
pub struct Program {
    /// What we call it: `gateway-1`.
    pub name: String,
    /// The path of the program.
    pub file: PathBuf,
    /// The arguments of its command line.
    pub args: Vec<String>,
    /// Its environment, besides ours without our settings.
    pub env: Vec<(String, String)>,
    /// Where it runs; its output goes into the file `log` in there.
    pub folder: PathBuf,
}

/// A program that was started. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    program: Program,
    child: Option<Child>,
    /// Where the log of the last start begins.
    log_start: u64,
    is_paused: bool,
}

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It is stopped where it was, and can go on.
    Paused,
    /// It has ended.
    Gone,
}

impl Process {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// Its folder cannot be made, or its file not be run.
    pub fn start(program: Program) -> Result<Process> {
        let mut process = Process {
            program,
            child: None,
            log_start: 0,
            is_paused: false,
        };
        process.start_again()?;
        Ok(process)
    }

    /// Starts it again, as it was started before.
    ///
    /// # Errors
    ///
    /// It has not ended, or cannot be run.
    pub fn start_again(&mut self) -> Result<()> {
        if self.state() != State::Gone {
            bail!("{} runs already", self.program.name);
        }
        let Program {
            name,
            file,
            args,
            env,
            folder,
        } = &self.program;
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        self.log_start = log.metadata()?.len();
        let mut command = tied_to_us(file);
        for (name, _) in std::env::vars_os() {
            if is_setting(&name) {
                command.env_remove(name);
            }
        }
        command
            .args(args)
            .envs(env.iter().map(|(name, value)| (name, value)))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for us: in which order the others end is our business.
            .process_group(0);
        let child =
            spawn(command).with_context(|| format!("cannot start {name} ({})", file.display()))?;
        self.child = Some(child);
        self.is_paused = false;
        Ok(())
    }

    /// With what environment it is started from now on, besides ours without our settings.
    pub fn set_env(&mut self, env: Vec<(String, String)>) {
        self.program.env = env;
    }

    /// The name of the process, such as `gateway-1`.
    pub fn name(&self) -> &str {
        &self.program.name
    }

    /// The program, with how it is started.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Its id, while it has not ended.
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its resident memory, in KB. Linux only.
    pub fn memory_kb(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id()?)).ok()?;
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }

    /// Whether the process runs now.
    pub fn state(&mut self) -> State {
        let ended = self
            .child
            .as_mut()
            .map(|child| !matches!(child.try_wait(), Ok(None)));
        match ended {
            Some(false) if self.is_paused => State::Paused,
            Some(false) => State::Running,
            Some(true) | None => {
                self.child = None;
                State::Gone
            }
        }
    }

    /// Ends it at once, as a power cut would (`kill -9`).
    ///
    /// # Errors
    ///
    /// It is still there after a while.
    pub fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait_gone(SIGNAL_TIME_MAX).map(drop)
    }

    /// Asks it to go (SIGTERM).
    ///
    /// # Errors
    ///
    /// It cannot be told.
    pub fn ask_to_go(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        self.resume()
    }

    /// Stops it where it is (SIGSTOP): its sockets stay open, and nobody answers. Returns when all its threads have stopped;
    /// the signal alone does not say that, and on a busy machine they go on for some milliseconds.
    ///
    /// # Errors
    ///
    /// It cannot be told, has ended, or still runs after a while.
    pub fn pause(&mut self) -> Result<()> {
        if self.state() == State::Paused {
            return Ok(());
        }
        self.signal(Signal::STOP)?;
        let name = self.name().to_owned();
        let id = self.pid()?.with_context(|| format!("{name} has ended"))?;
        wait::until(SIGNAL_TIME_MAX, &format!("the stop of {name}"), || {
            // Says so once, when the last thread has stopped. An end is left for `try_wait`.
            let options = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
            let is_stopped = waitid(WaitId::Pid(id), options)?.is_some();
            if !is_stopped && self.state() == State::Gone {
                bail!("{name} has ended");
            }
            Ok(is_stopped.then_some(()))
        })?;
        self.is_paused = true;
        Ok(())
    }

    /// Lets it go on (SIGCONT). There is nothing to wait for: it can run when the signal is sent.
    ///
    /// # Errors
    ///
    /// It cannot be told.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::CONT)?;
        self.is_paused = false;
        Ok(())
    }

    /// Waits until it has ended, and says how, if it had not ended before.
    ///
    /// # Errors
    ///
    /// It has not ended after `limit`.
    pub fn wait_gone(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else {
            return Ok(None);
        };
        let what = format!("the end of {}", self.program.name);
        let status = wait::until(limit, &what, || Ok(child.try_wait()?))?;
        self.child = None;
        Ok(Some(status))
    }

    /// The path of the file with its output.
    pub fn log_file(&self) -> PathBuf {
        self.program.folder.join("log")
    }

    /// What it has said since it was last started.
    pub fn log(&self) -> String {
        read_from(&self.log_file(), self.log_start).unwrap_or_default()
    }

    /// The last lines it said, each with its name.
    pub fn log_end(&self) -> String {
        last_lines(self.name(), &self.log())
    }

    /// Waits until `look` sees what it wants; `what` is what we wait for.
    ///
    /// # Errors
    ///
    /// It took longer than `limit`, or the process ended. The end of its log is part of the error.
    pub fn wait_until<T>(
        &mut self,
        limit: Duration,
        what: &str,
        mut look: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let what = format!("{}: {what}", self.name());
        let looked = wait::until(limit, &what, || {
            if let Some(seen) = look(&self.log()) {
                return Ok(Some(seen));
            }
            match self.child.as_mut().map(Child::try_wait).transpose()? {
                Some(None) => Ok(None),
                Some(Some(status)) => bail!("{what}: it ended before ({status})"),
                None => bail!("{what}: it does not run"),
            }
        });
        looked.map_err(|error| anyhow!("{error:#}\n{}", self.log_end()))
    }

    fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.state() == State::Gone {
            return Ok(());
        }
        let Some(id) = self.pid()? else {
            return Ok(());
        };
        // A child that we have not waited for keeps its id, so this meets nobody else.
        kill_process(id, signal).with_context(|| format!("cannot signal {}", self.name()))
    }

    fn pid(&self) -> Result<Option<Pid>> {
        let Some(child) = &self.child else {
            return Ok(None);
        };
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        id.context("a process has an id").map(Some)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended already, which is what we want.
        let _ = self.kill();
    }
}

/// The last lines of `log`, each with the name of who said it.
pub fn last_lines(name: &str, log: &str) -> String {
    const LINES: usize = 40;
    let lines: Vec<&str> = log.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter()
        .map(|line| format!("{name} | {line}\n"))
        .collect()
}

fn read_from(file: &Path, start: u64) -> io::Result<String> {
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn is_setting(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    SETTINGS.iter().any(|setting| name.starts_with(setting))
}

/// A command that the kernel kills when we die, even if we are killed. Only Linux can do that, through util-linux's
/// `setpriv`: in our own code it would be unsafe.
fn tied_to_us(file: &Path) -> Command {
    static SETPRIV: OnceLock<Option<PathBuf>> = OnceLock::new();
    let setpriv =
        SETPRIV.get_or_init(|| tools::on_path("setpriv").filter(|_| cfg!(target_os = "linux")));
    match setpriv {
        None => Command::new(file),
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL"]).arg("--").arg(file);
            command
        }
    }
}

/// What is handed to the thread that starts programs.
type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts a program from a thread that lives as long as we do: the kernel means the thread that started it when it
/// ends a program with its parent, and the thread of a test ends with the test.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, todo) = mpsc::channel::<Job>();
        thread::spawn(move || {
            for (mut command, answer) in todo {
                let _ = answer.send(command.spawn());
            }
        });
        jobs
    });
    let gone = || io::Error::other("the thread that starts programs is gone");
    let (answer, answered) = mpsc::channel();
    spawner.send((command, answer)).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_process_is_paused_resumed_killed_and_started_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(shell(&folder, "a", "echo up; exec sleep 60")).unwrap();
        let first = process.id();
        process
            .wait_until(LONG, "a word", |log| log.contains("up").then_some(()))
            .unwrap();
        assert_eq!(process.state(), State::Running);
        process.pause().unwrap();
        assert_eq!(process.state(), State::Paused);
        process.resume().unwrap();
        assert_eq!(process.state(), State::Running);
        process.kill().unwrap();
        assert_eq!(process.state(), State::Gone);
        process.start_again().unwrap();
        assert_ne!(process.id(), first);
        assert!(
            process
                .start_again()
                .unwrap_err()
                .to_string()
                .contains("runs already")
        );
    }

    #[test]
    fn an_end_while_we_wait_is_told_with_the_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut process =
            Process::start(shell(&folder, "b", "echo no port for me; exit 3")).unwrap();
        let error = process
            .wait_until(LONG, "an address", |_| None::<()>)
            .unwrap_err()
            .to_string();
        assert!(error.contains("b: an address: it ended before"), "{error}");
        assert!(error.contains("b | no port for me"), "{error}");
    }

    #[test]
    fn a_paused_process_that_is_asked_to_go_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(shell(&folder, "c", "exec sleep 60")).unwrap();
        process.pause().unwrap();
        process.ask_to_go().unwrap();
        assert!(!process.wait_gone(LONG).unwrap().unwrap().success());
        assert!(process.wait_gone(LONG).unwrap().is_none());
    }

    /// The signal alone does not stop it: a process that waits for a core goes on until it gets one.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_has_stopped_when_it_is_paused() {
        let folder = tempfile::tempdir().unwrap();
        let busy = |n: u32| shell(&folder, &format!("busy-{n}"), "while :; do :; done");
        // More than there are cores, so that most of them wait for one.
        let cores = thread::available_parallelism().map_or(1, |it| it.get() as u32);
        let mut processes: Vec<Process> = (0..4 * cores)
            .map(|n| Process::start(busy(n)).unwrap())
            .collect();
        for process in &mut processes {
            for _ in 0..20 {
                process.pause().unwrap();
                let id = process.id().unwrap();
                let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
                let (_, state) = stat.rsplit_once(") ").unwrap();
                assert!(state.starts_with('T'), "{stat}");
                process.resume().unwrap();
            }
        }
    }

    #[test]
    fn a_process_that_has_ended_cannot_be_paused() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::start(shell(&folder, "e", "exit 0")).unwrap();
        process.wait_gone(LONG).unwrap();
        let error = process.pause().unwrap_err().to_string();
        assert!(error.contains("e has ended"), "{error}");
    }

    const LONG: Duration = Duration::from_secs(20);

    fn shell(folder: &TempDir, name: &str, script: &str) -> Program {
        Program {
            name: name.to_owned(),
            file: "/bin/sh".into(),
            args: vec!["-c".to_owned(), script.to_owned()],
            env: Vec::new(),
            folder: folder.path().to_owned(),
        }
    }
}
