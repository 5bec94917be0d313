//! What a single server says of itself: `ROLE` and `INFO`.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use super::{Reply, Role, ask, ask_text};

/// What the server on `port` is, outside of a cluster; `ports` are all of them.
pub(super) fn role(port: u16, ports: &[u16]) -> Result<Role> {
    let reply = ask(port, &["ROLE"])?;
    read_role(&reply, ports).with_context(|| format!("{reply:?} is no role"))
}

fn read_role(reply: &Reply, ports: &[u16]) -> Option<Role> {
    let reply = reply.list()?;
    match reply.first()?.text()? {
        "master" => Some(Role::Master(vec![0..=16383])),
        _ => {
            let master = reply.get(2)?.number()?;
            Some(Role::Replica(
                ports.iter().position(|port| i64::from(*port) == master),
            ))
        }
    }
}

/// How often each command was called.
pub(super) fn command_stats(port: u16) -> Result<BTreeMap<String, u64>> {
    Ok(read_command_stats(&ask_text(
        port,
        &["INFO", "commandstats"],
    )?))
}

/// Lines of `cmdstat_get:calls=3,usec=4,...`
fn read_command_stats(info: &str) -> BTreeMap<String, u64> {
    let stat = |line: &str| {
        let (command, facts) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let calls = facts
            .split(',')
            .find_map(|fact| fact.strip_prefix("calls="))?;
        Some((command.to_owned(), calls.parse().ok()?))
    };
    info.lines().filter_map(stat).collect()
}

/// The memory that the server uses, in bytes.
pub(super) fn memory_bytes(port: u16) -> Result<u64> {
    field(port, "memory", "used_memory")
}

/// The value of a field that is a number.
fn field(port: u16, section: &str, name: &str) -> Result<u64> {
    let info = ask_text(port, &["INFO", section])?;
    let value = info
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let value = value.with_context(|| format!("no {name} in INFO {section}"))?;
    Ok(value.parse()?)
}

/// Whether the server on `port` copies a master and is in step with it.
pub(super) fn is_in_step(port: u16) -> Result<bool> {
    let info = ask_text(port, &["INFO", "replication"])?;
    Ok(info.lines().any(|line| line == "master_link_status:up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_command() {
        let info = "# Commandstats\r\ncmdstat_config|get:calls=2,usec=90\r\ncmdstat_evalsha:calls=41,usec=1,failed_calls=0\r\n";
        let stats = read_command_stats(info);
        assert_eq!(stats["evalsha"], 41);
        assert_eq!(stats["config|get"], 2);
        assert_eq!(stats.len(), 2);
    }

    #[test]
    fn a_replica_says_whom_it_copies() {
        let text = |word: &str| Reply::Text(word.to_owned());
        let master = Reply::List(vec![text("master"), Reply::Number(0)]);
        let replica = Reply::List(vec![
            text("slave"),
            text("127.0.0.1"),
            Reply::Number(7001),
            text("connected"),
        ]);
        assert_eq!(read_role(&master, &[]), Some(Role::Master(vec![0..=16383])));
        assert_eq!(
            read_role(&replica, &[7000, 7001]),
            Some(Role::Replica(Some(1)))
        );
        assert_eq!(read_role(&text("OK"), &[]), None);
    }
}
