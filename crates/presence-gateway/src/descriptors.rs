//! The limit on file descriptors: each connection needs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors for everything but clients: the store, the file of profiles, the port, logs.
const OTHERS: u64 = 128;

/// Makes sure that there are enough descriptors for `connections_max` connections: raises the limit as far as this process
/// may, and logs a warning if that is not enough.
pub(crate) fn prepare(connections_max: usize) {
    let needed = connections_max as u64 + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let Some(soft) = limit.current.filter(|soft| *soft < needed) else {
        return;
    };
    let allowed = limit.maximum.map_or(needed, |hard| hard.min(needed));
    let raised = Rlimit {
        current: Some(allowed),
        maximum: limit.maximum,
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => allowed,
        Err(_) => soft,
    };
    if let Some(warning) = warning(now, connections_max) {
        tracing::warn!(descriptors = now, connections_max, needed, "{warning}");
    }
}

fn warning(descriptors: u64, connections_max: usize) -> Option<&'static str> {
    let needed = connections_max as u64 + OTHERS;
    (descriptors < needed).then_some(
        "this process may open too few files for limits.connections_max: raise `ulimit -n` (systemd: LimitNOFILE), or set \
         PRESENCE_CONNECTIONS_MAX lower",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_open_too_few_files_is_warned() {
        assert!(warning(1024, 100_000).is_some());
        assert!(warning(100_000, 100_000).is_some());
        assert_eq!(warning(100_000 + OTHERS, 100_000), None);
    }
}
