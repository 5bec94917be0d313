//! What a node knows of the cluster that it is part of.

use std::collections::{HashSet, VecDeque};

use super::{Incarnation, News};
use crate::Timestamp;

/// Nodes that are remembered to be dead. What they wrote is long gone when one more makes the first forgotten.
const LOST_MAX: usize = 1024;

/// Which incarnation this node is, which others are dead, and how far the store is complete.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    /// As what it writes now.
    me: Incarnation,
    /// Those whose entries are void.
    lost: HashSet<Incarnation>,
    /// In the order in which they died.
    lost_order: VecDeque<Incarnation>,
    /// Whatever a node with a lease did until then is in the store, by this node's clock.
    settled_until: Timestamp,
}

impl Membership {
    /// A node that knows of no other.
    pub(crate) fn new(me: Incarnation) -> Self {
        Membership {
            me,
            lost: HashSet::new(),
            lost_order: VecDeque::new(),
            settled_until: Timestamp::default(),
        }
    }

    /// Which node this is.
    pub(crate) fn me(&self) -> Incarnation {
        self.me
    }

    /// Whether nothing that `who` wrote counts any more.
    pub(crate) fn is_lost(&self, who: Incarnation) -> bool {
        self.lost.contains(&who)
    }

    /// Whether everything that a node with a lease did until `moment` is in the store.
    pub(crate) fn is_settled(&self, moment: Timestamp) -> bool {
        moment <= self.settled_until
    }

    /// Takes in what every machine of a node is told.
    pub(crate) fn hear(&mut self, news: News) {
        match news {
            News::Become(me) => self.me = me,
            News::Lost(who) if self.lost.insert(who) => {
                self.lost_order.push_back(who);
                if self.lost_order.len() > LOST_MAX
                    && let Some(first) = self.lost_order.pop_front()
                {
                    self.lost.remove(&first);
                }
            }
            News::Settled(until) => self.settled_until = self.settled_until.max(until),
            News::Lost(_) | News::Distrust(_) | News::StoreAhead(_) | News::Woke => {}
        }
    }
}
