//! The leases of nodes, and the secret that the nodes share.

use std::collections::BTreeMap;
use std::time::Duration;

use presence_core::Timestamp;
use presence_core::cluster::Incarnation;
use presence_core::ports::{Lease, Leases, Renewal};

/// What the store knows about its nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    leases: BTreeMap<Incarnation, Lease>,
    secret: Option<[u8; 32]>,
}

impl Nodes {
    pub(super) fn renew(
        &mut self,
        now: Timestamp,
        me: Incarnation,
        name: &str,
        ttl: Duration,
        stored_up_to: Timestamp,
    ) -> Leases {
        let mine = match self.leases.get(&me) {
            Some(lease) if lease.is_dead => Renewal::Dead,
            Some(_) => Renewal::Renewed,
            None => Renewal::New,
        };
        if mine != Renewal::Dead {
            let lease = Lease {
                who: me,
                name: name.into(),
                until: now + ttl,
                is_dead: false,
                stored_up_to,
            };
            self.leases.insert(me, lease);
        }
        Leases {
            now,
            mine,
            nodes: self.leases.values().cloned().collect(),
        }
    }

    pub(super) fn mark_dead(&mut self, now: Timestamp, who: Incarnation) -> bool {
        let lease = self.leases.entry(who).or_insert_with(|| Lease {
            who,
            name: "".into(),
            until: now,
            is_dead: false,
            stored_up_to: Timestamp::default(),
        });
        if !lease.is_dead && lease.until <= now {
            lease.is_dead = true;
            lease.until = now;
        }
        lease.is_dead
    }

    pub(super) fn forget(&mut self, who: Incarnation) {
        self.leases.remove(&who);
    }

    pub(super) fn secret(&mut self, proposal: [u8; 32]) -> [u8; 32] {
        *self.secret.get_or_insert(proposal)
    }
}
