//! A master with replicas and three sentinels.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{MASTER_NAME, Node, Reply, ask};

/// How a node of it is started. The file is its own, because sentinels have it rewritten.
pub(super) fn node_args(folder: &Path, port: u16, master: u16) -> Result<Vec<String>> {
    let mut lines = format!(
        "port {port}\nbind 127.0.0.1\nprotected-mode no\nsave \"\"\nappendonly no\n\
         maxmemory-policy noeviction\nhash-max-listpack-value 512\nrepl-diskless-sync-delay 0\n"
    );
    if port != master {
        lines += &format!("replicaof 127.0.0.1 {master}\n");
    }
    write(folder, "redis.conf", &lines)
}

/// How a sentinel is started that finds the others through the master.
pub(super) fn args(
    folder: &Path,
    port: u16,
    master: u16,
    down_after: Duration,
) -> Result<Vec<String>> {
    let down_after = down_after.as_millis();
    write(
        folder,
        "sentinel.conf",
        &format!(
            "port {port}\nbind 127.0.0.1\nprotected-mode no\n\
             sentinel monitor {MASTER_NAME} 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds {MASTER_NAME} {down_after}\n\
             sentinel failover-timeout {MASTER_NAME} 5000\n\
             sentinel parallel-syncs {MASTER_NAME} 2\n"
        ),
    )
}

fn write(folder: &Path, name: &str, text: &str) -> Result<Vec<String>> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(name), text)?;
    Ok(vec![name.to_owned()])
}

/// Why sentinels could not replace the master at `master` yet.
pub(super) fn what_is_missing(sentinels: &[Node], master: u16) -> Result<Option<String>> {
    let master = master.to_string();
    let expected = [
        ("num-slaves", "2"),
        ("num-other-sentinels", "2"),
        // Without a failover in progress.
        ("flags", "master"),
        ("port", &master),
    ];
    for sentinel in sentinels {
        let name = sentinel.process.name();
        let reply = ask(sentinel.port, &["SENTINEL", "MASTER", MASTER_NAME])?;
        for (fact, expected) in expected {
            let value = field(&reply, fact).unwrap_or_default();
            if value != expected {
                return Ok(Some(format!("{name} says {fact} {value}, not {expected}")));
            }
        }
    }
    Ok(None)
}

/// A value of a list of names and values.
fn field<'a>(reply: &'a Reply, name: &str) -> Option<&'a str> {
    let mut pairs = reply.list()?.chunks(2);
    pairs
        .find(|pair| pair[0].text() == Some(name))?
        .get(1)?
        .text()
}
