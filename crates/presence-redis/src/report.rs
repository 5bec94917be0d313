//! Reports of which server has which slots, by the servers of a cluster or by sentinels.

use std::collections::BTreeMap;
use std::time::Duration;

use fred::error::{Error, ErrorKind};
use fred::types::Value;
use futures_util::future::join_all;

use crate::client::Connection;
use crate::fault::Fault;
use crate::settings::{Address, Servers, Settings};

/// How long to wait for sentinels while none of them is connected.
const CONNECT: Duration = Duration::from_secs(2);
/// The last slot of a cluster.
const SLOT_MAX: u16 = 16383;

/// A report of which server has which slots.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Report {
    is_ok: bool,
    epoch: u64,
    /// The first slot, the last slot, and the server that has them.
    ranges: Vec<(u16, u16, Address)>,
}

impl Report {
    /// The server that has `slot`.
    pub(crate) fn owner(&self, slot: u16) -> Option<&Address> {
        let mut ranges = self.ranges.iter();
        let range = ranges.find(|(from, to, _)| (*from..=*to).contains(&slot));
        range.map(|(_, _, address)| address)
    }

    /// The rank of the report: of several reports the one with the highest rank is believed. A server that is cut off
    /// from most others reports that the cluster is not well, or does not know the latest election.
    pub(crate) fn rank(&self) -> (bool, u64) {
        (self.is_ok, self.epoch)
    }
}

/// The report of the server at `asked` about its cluster. `call` sends it commands.
pub(crate) async fn of_cluster<F>(
    asked: &Address,
    call: impl Fn(&'static str, Vec<Value>) -> F,
) -> Result<Report, Fault>
where
    F: Future<Output = Result<Value, Fault>>,
{
    let info = call("CLUSTER", vec![Value::from("INFO")]).await?;
    let slots = call("CLUSTER", vec![Value::from("SLOTS")]).await?;
    let info = info.as_str().ok_or(Fault::Strange)?;
    let line = |name: &str| info.lines().find_map(|line| line.strip_prefix(name));
    let epoch = line("cluster_current_epoch:").and_then(|it| it.trim().parse().ok());
    Ok(Report {
        is_ok: line("cluster_state:").is_some_and(|it| it.trim() == "ok"),
        epoch: epoch.unwrap_or(0),
        ranges: ranges_in(asked, slots)?,
    })
}

fn ranges_in(asked: &Address, slots: Value) -> Result<Vec<(u16, u16, Address)>, Fault> {
    let rows = slots.into_array().into_iter();
    rows.filter_map(|row| range_in(asked, row).transpose())
        .collect()
}

/// A range of slots and its master; `None` if the master has no address yet.
fn range_in(asked: &Address, row: Value) -> Result<Option<(u16, u16, Address)>, Fault> {
    let row = row.into_array();
    let [from, to, Value::Array(master), ..] = &row[..] else {
        return Err(Fault::Strange);
    };
    let [host, port, ..] = &master[..] else {
        return Err(Fault::Strange);
    };
    let host = match host.as_str() {
        // It is where it was asked.
        None => asked.host.clone(),
        Some(host) if host.is_empty() => asked.host.clone(),
        Some(host) if host == "?" => return Ok(None),
        Some(host) => host_of(&host),
    };
    let address = Address {
        host,
        port: number(port)?,
    };
    Ok(Some((number(from)?, number(to)?, address)))
}

fn host_of(text: &str) -> Box<str> {
    if text.contains(':') {
        format!("[{text}]").into()
    } else {
        text.into()
    }
}

fn number(value: &Value) -> Result<u16, Fault> {
    let number = value.as_i64().and_then(|it| u16::try_from(it).ok());
    number.ok_or(Fault::Strange)
}

/// The sentinels, each with a connection of its own.
pub(crate) struct Sentinels {
    service: Box<str>,
    connections: Vec<Connection>,
}

impl Sentinels {
    /// Begins to connect to the sentinels of `settings`.
    pub(crate) fn open(settings: &Settings) -> Result<Self, Error> {
        let Servers::Sentinel {
            sentinels,
            service,
            login,
        } = &settings.servers
        else {
            unreachable!("there are no sentinels to ask");
        };
        let settings = Settings {
            login: login.clone(),
            database: 0,
            ..settings.clone()
        };
        let connections = sentinels.iter();
        let connections = connections.map(|it| Connection::open(&settings, it, false));
        Ok(Sentinels {
            service: service.clone(),
            connections: connections.collect::<Result<_, _>>()?,
        })
    }

    /// The report of the majority of the sentinels that answer.
    pub(crate) async fn report(&self) -> Result<Report, Error> {
        if !self.connections.iter().any(Connection::is_up) {
            // Some may never answer, so they are waited for only as long as there is none.
            join_all(self.connections.iter().map(|it| it.up(CONNECT))).await;
        }
        let answers = join_all(self.connections.iter().map(|it| self.ask(it))).await;
        let mut votes: BTreeMap<Address, u64> = BTreeMap::new();
        let mut failure = None;
        for answer in answers {
            match answer {
                Ok(address) => *votes.entry(address).or_default() += 1,
                Err(error) => failure = Some(error),
            }
        }
        match (votes.into_iter().max_by_key(|(_, count)| *count), failure) {
            (Some((address, count)), _) => Ok(Report {
                is_ok: true,
                epoch: count,
                ranges: vec![(0, SLOT_MAX, address)],
            }),
            (None, failure) => Err(failure.expect("there is a sentinel")),
        }
    }

    async fn ask(&self, sentinel: &Connection) -> Result<Address, Error> {
        let words = ["GET-MASTER-ADDR-BY-NAME", &self.service];
        let args = words.into_iter().map(Value::from).collect();
        let answer = sentinel.call("SENTINEL", args).await?.into_array();
        let [host, port] = &answer[..] else {
            let service = &self.service;
            return Err(error(&format!("the sentinels know no master {service:?}")));
        };
        let host = host
            .as_str()
            .ok_or_else(|| error("a sentinel tells no host"))?;
        Ok(Address {
            host: host_of(&host),
            port: number(port).map_err(|_| error("a sentinel tells no port"))?,
        })
    }
}

fn error(what: &str) -> Error {
    Error::new(ErrorKind::Sentinel, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_read_as_servers_tell_them() {
        let row = |from: i64, to: i64, host: Value, port: i64| {
            let master = Value::Array(vec![host, Value::from(port), Value::from("id")]);
            Value::Array(vec![Value::from(from), Value::from(to), master])
        };
        let slots = Value::Array(vec![
            row(0, 100, Value::from("10.0.0.1"), 7000),
            row(101, 101, Value::Null, 7001),
            row(102, 102, Value::from(""), 7002),
            row(103, 103, Value::from("?"), 7003),
            row(104, 16383, Value::from("::1"), 7004),
        ]);
        let asked = address("asked.example", 7009);
        let report = Report {
            is_ok: true,
            epoch: 1,
            ranges: ranges_in(&asked, slots).unwrap(),
        };
        for (slot, owner) in [
            (0, Some(address("10.0.0.1", 7000))),
            (100, Some(address("10.0.0.1", 7000))),
            (101, Some(address("asked.example", 7001))),
            (102, Some(address("asked.example", 7002))),
            (103, None),
            (16383, Some(address("[::1]", 7004))),
        ] {
            assert_eq!(report.owner(slot), owner.as_ref(), "{slot}");
        }
        assert!(ranges_in(&asked, Value::Array(vec![Value::from("OK")])).is_err());
    }

    #[test]
    fn who_is_well_is_believed_and_then_who_knows_of_the_last_election() {
        let report = |is_ok, epoch| Report {
            is_ok,
            epoch,
            ranges: vec![],
        };
        let reports = [report(true, 3), report(false, 9), report(true, 4)];
        let best = reports.iter().max_by_key(|it| it.rank()).unwrap();
        assert_eq!(*best, report(true, 4));
    }

    fn address(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }
}
