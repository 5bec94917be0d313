//! Facts about processes and the machine, from `/proc`.

use std::fs;
use std::time::Duration;

use serde::Serialize;

/// A process whose CPU and memory are measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process {
    pid: u32,
}

impl Process {
    /// The process of the load generator itself.
    pub(crate) fn own() -> Self {
        Process {
            pid: std::process::id(),
        }
    }

    /// The process with the id `pid`.
    pub(crate) fn with_id(pid: u32) -> Self {
        Process { pid }
    }

    /// The process that listens on the port of `url`, if it runs here and we may look at it.
    pub(crate) fn listening_on(url: &str) -> Option<Self> {
        let address = url.strip_prefix("ws://")?.split('/').next()?;
        let (host, port) = address.rsplit_once(':')?;
        if !matches!(host, "127.0.0.1" | "localhost" | "[::1]") {
            return None;
        }
        let port: u16 = port.parse().ok()?;
        let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .find_map(|file| listening_inode(&fs::read_to_string(file).ok()?, port))?;
        let socket = format!("socket:[{inode}]");
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let mut pids = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
        let holds = |pid: &u32| {
            let files = fs::read_dir(format!("/proc/{pid}/fd"));
            let mut files = files.into_iter().flatten().flatten();
            files.any(|it| fs::read_link(it.path()).is_ok_and(|to| to.as_os_str() == &*socket))
        };
        pids.find(holds).map(Process::with_id)
    }

    /// Resident memory, in KB.
    pub(crate) fn memory_kb(self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:"))?;
        line.trim().trim_end_matches(" kB").parse().ok()
    }

    /// The CPU time that its threads have used so far.
    pub(crate) fn cpu(self) -> Option<Duration> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).ok()?;
        let nanos = threads.flatten().filter_map(|it| {
            let schedstat = fs::read_to_string(it.path().join("schedstat")).ok()?;
            schedstat.split(' ').next()?.parse::<u64>().ok()
        });
        Some(Duration::from_nanos(nanos.sum()))
    }
}

/// Finds the inode of the socket that listens on `port` in a table of `/proc/net`.
fn listening_inode(table: &str, port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let is_it = fields.len() > 9 && fields[1].ends_with(&*port) && fields[3] == LISTEN;
        is_it.then(|| fields[9].to_owned())
    })
}

/// The machine on which the numbers were measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    cores: usize,
    load_average: String,
    kernel: String,
}

impl Machine {
    /// This machine, as it is now.
    pub(crate) fn here() -> Self {
        let read = |file| fs::read_to_string(file).unwrap_or_default();
        let load = read("/proc/loadavg");
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load_average: load.split(' ').take(3).collect::<Vec<_>>().join(" "),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Machine {
            cores,
            load_average,
            kernel,
        } = self;
        write!(f, "{cores} cores, load {load_average}, kernel {kernel}")
    }
}
