//! Notes when a process was last alive, by clocks that the next process can read as well.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use presence_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::format;

const NAME: &str = "alive";

/// The file that records when a process was last alive.
#[derive(Debug)]
pub(super) struct Alive(File);

/// A moment, by every clock that the system has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Moment {
    /// The wall clock, in milliseconds since 1970. It may be set.
    pub(super) wall_ms: u64,
    /// The time since the machine started, in milliseconds, and an id that differs after each start.
    pub(super) uptime: Option<(u64, String)>,
}

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LastWord {
    /// The time of the node's clock, in milliseconds since 1970.
    pub(super) now_ms: u64,
    pub(super) moment: Moment,
}

impl Moment {
    pub(super) fn now() -> Moment {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        Moment {
            wall_ms: millis(wall.unwrap_or_default()),
            uptime: uptime(),
        }
    }

    /// How long `earlier` is ago, if that can be known. If the machine has not restarted since, its own clock counts, because
    /// the wall clock may have been set.
    pub(super) fn since(&self, earlier: &Moment) -> Option<Duration> {
        if let (Some((now_ms, this)), Some((then_ms, that))) = (&self.uptime, &earlier.uptime)
            && this == that
        {
            return now_ms.checked_sub(*then_ms).map(Duration::from_millis);
        }
        let wall = self.wall_ms.checked_sub(earlier.wall_ms)?;
        Some(Duration::from_millis(wall))
    }
}

/// The uptime and the boot id of the machine. Only Linux has them.
fn uptime() -> Option<(u64, String)> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = uptime.split(' ').next()?.parse().ok()?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some((millis(Duration::try_from_secs_f64(seconds).ok()?), boot))
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl Alive {
    pub(super) fn create(folder: &Path) -> io::Result<Alive> {
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(folder.join(NAME))?;
        Ok(Alive(file))
    }

    /// Records that the process is alive. It is one write of a few bytes, so a reader finds all of it or nothing.
    pub(super) fn note(&self, now: Timestamp) -> io::Result<()> {
        let word = LastWord {
            now_ms: now.as_millis(),
            moment: Moment::now(),
        };
        self.0.write_all_at(&format::frame(&word), 0)
    }

    /// Reads the last record of the process that used `folder`.
    pub(super) fn read(folder: &Path) -> Option<LastWord> {
        let bytes = fs::read(folder.join(NAME)).ok()?;
        let (payload, _) = format::unframe(&bytes)?;
        postcard::from_bytes(payload).ok()
    }
}
