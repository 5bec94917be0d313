//! What a cluster says of itself: `CLUSTER NODES`.

use std::ops::RangeInclusive;

use anyhow::{Context, Result};

use super::Role;

/// One node, as a line of `CLUSTER NODES` describes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Peer {
    id: String,
    port: u16,
    flags: Vec<String>,
    /// The id of the one it copies.
    copies: Option<String>,
    slots: Vec<RangeInclusive<u16>>,
}

/// Reads the answer to `CLUSTER NODES`.
pub(super) fn parse(text: &str) -> Result<Vec<Peer>> {
    let peer =
        |line: &str| peer(line).with_context(|| format!("`{line}` is no line of CLUSTER NODES"));
    text.lines().map(peer).collect()
}

/// `id ip:port@bus[,host] flags master ping pong epoch link slot...`
fn peer(line: &str) -> Option<Peer> {
    let words: Vec<&str> = line.split(' ').collect();
    let [id, address, flags, master, _, _, _, _, slots @ ..] = &words[..] else {
        return None;
    };
    let (_, port) = address.split('@').next()?.rsplit_once(':')?;
    // `[slot->-id]` is a slot that is being moved; it counts where it is.
    let slots = slots.iter().filter(|slot| !slot.starts_with('['));
    Some(Peer {
        id: (*id).to_owned(),
        port: port.parse().ok()?,
        flags: flags.split(',').map(str::to_owned).collect(),
        copies: (*master != "-").then(|| (*master).to_owned()),
        slots: slots.map(|slot| range(slot)).collect::<Option<_>>()?,
    })
}

fn range(slots: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = slots.split_once('-').unwrap_or((slots, slots));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

/// What each node does; `ports` are where they are announced.
pub(super) fn roles(view: &[Peer], ports: &[u16]) -> Vec<Role> {
    let peer_at = |port| view.iter().find(|peer| peer.port == port);
    let role = |port: &u16| {
        let Some(peer) = peer_at(*port).filter(|peer| peer.is_there()) else {
            return Role::Away;
        };
        match &peer.copies {
            None => Role::Master(peer.slots.clone()),
            Some(id) => {
                let master = view.iter().find(|peer| peer.id == *id);
                Role::Replica(
                    master.and_then(|master| ports.iter().position(|port| *port == master.port)),
                )
            }
        }
    };
    ports.iter().map(role).collect()
}

impl Peer {
    /// Unless the one that was asked is sure that it is dead. `fail?` is only its own suspicion.
    fn is_there(&self) -> bool {
        !self
            .flags
            .iter()
            .any(|flag| flag == "fail" || flag == "noaddr" || flag == "handshake")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masters_have_slots_replicas_a_master_and_the_dead_nothing() {
        let view = parse(
            "\
aa 127.0.0.1:7000@17000 master,fail - 1 2 1 disconnected
bb 127.0.0.1:7001@17001,host myself,master - 0 0 2 connected 5461-10922 [93->-cc]
cc 127.0.0.1:7002@17002 master - 0 1 3 connected 10923-16000 16001-16383
dd 127.0.0.1:7003@17003 slave bb 0 1 2 connected
ee 127.0.0.1:7004@17004 master - 0 1 7 connected 0-5460
",
        )
        .unwrap();
        let ports = [7000, 7001, 7002, 7003, 7004, 7005];
        assert_eq!(
            roles(&view, &ports),
            [
                Role::Away,
                Role::Master(vec![5461..=10922]),
                Role::Master(vec![10923..=16000, 16001..=16383]),
                Role::Replica(Some(1)),
                Role::Master(vec![0..=5460]),
                Role::Away,
            ]
        );
    }

    #[test]
    fn what_is_no_such_line_is_an_error() {
        assert!(parse("ERR This instance has cluster support disabled").is_err());
    }
}
