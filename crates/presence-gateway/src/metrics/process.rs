//! The metrics of the process, as far as the operating system tells them: on Linux, from `/proc/self`.

use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reads what `/proc` says of this process, at each scrape.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut show =
            |name: &str, help: &str, metric: &dyn Shown| metric.show(&mut encoder, name, help);
        if let Some(stat) = stat() {
            show(
                "process_cpu_seconds",
                "Processor time that the process has used.",
                &ConstCounter::new(stat.cpu_seconds),
            )?;
            show(
                "process_start_time_seconds",
                "When the process started, in seconds since 1970.",
                &ConstGauge::new(stat.started_at),
            )?;
            show(
                "process_resident_memory_bytes",
                "Memory of the process that is in RAM.",
                &ConstGauge::new(stat.resident_bytes as f64),
            )?;
            show(
                "process_virtual_memory_bytes",
                "Address space of the process.",
                &ConstGauge::new(stat.virtual_bytes as f64),
            )?;
            show(
                "process_threads",
                "Threads of the process.",
                &ConstGauge::new(stat.threads as f64),
            )?;
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            show(
                "process_open_fds",
                "File descriptors that are open.",
                &ConstGauge::new(open.count() as f64),
            )?;
        }
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        if let Some(max) = limit.current {
            show(
                "process_max_fds",
                "File descriptors that may be open.",
                &ConstGauge::new(max as f64),
            )?;
        }
        Ok(())
    }
}

/// A metric that can be written with its name and its help.
trait Shown {
    fn show(&self, encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str)
    -> std::fmt::Result;
}

impl<M: EncodeMetric> Shown for M {
    fn show(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
    ) -> std::fmt::Result {
        let metric = encoder.encode_descriptor(name, help, None, self.metric_type())?;
        self.encode(metric)
    }
}

/// What the process has used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
}

/// What the process has used so far, as far as the operating system tells it.
pub(crate) fn usage() -> Option<Usage> {
    let stat = read_stat(&fs::read_to_string("/proc/self/stat").ok()?, 0.0)?;
    Some(Usage {
        cpu_seconds: stat.cpu_seconds,
        resident_bytes: stat.resident_bytes,
    })
}

struct Stat {
    cpu_seconds: f64,
    started_at: f64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

fn stat() -> Option<Stat> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let booted = system.lines().find_map(|it| it.strip_prefix("btime "))?;
    read_stat(&stat, booted.trim().parse().ok()?)
}

/// Reads `/proc/self/stat`: see proc(5). The name of the program is in brackets and may have anything in it.
fn read_stat(stat: &str, booted_at: f64) -> Option<Stat> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // The first field after the name is the third of the file.
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu_seconds: (field(14)? + field(15)?) as f64 / ticks,
        started_at: booted_at + field(22)? as f64 / ticks,
        threads: field(20)?,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * rustix::param::page_size() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_moves_no_field() {
        let line = "42 (a) (b c)) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 7 0 1000 8192000 25 18446744073709551615";
        let stat = read_stat(line, 1_000_000.0).unwrap();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(stat.cpu_seconds, 200.0 / ticks);
        assert_eq!(stat.started_at, 1_000_000.0 + 1000.0 / ticks);
        assert_eq!((stat.threads, stat.virtual_bytes), (7, 8_192_000));
        assert_eq!(stat.resident_bytes, 25 * rustix::param::page_size() as u64);
        assert!(read_stat("42 (short) S 1", 0.0).is_none());
    }
}
