//! What a node knows about its cluster.

use std::collections::{HashSet, VecDeque};

use super::{Incarnation, News};
use crate::Timestamp;

/// The number of dead nodes that are remembered. The entries of the oldest one are removed long before it is forgotten.
const LOST_MAX: usize = 1024;

/// Which incarnation this node is, which others are dead, and until when the store is complete.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    /// The incarnation with which this node writes now.
    me: Incarnation,
    /// The dead incarnations, whose entries do not count any more.
    lost: HashSet<Incarnation>,
    /// The same incarnations, in the order in which they died.
    lost_order: VecDeque<Incarnation>,
    /// Everything that a node with a lease did up to this moment is in the store, by this node's clock.
    stored_up_to: Timestamp,
    /// Since when the store answers, by this node's clock; `None` while it does not.
    reached_since: Option<Timestamp>,
}

impl Membership {
    /// A node that knows no other nodes.
    pub(crate) fn new(me: Incarnation) -> Self {
        Membership {
            me,
            lost: HashSet::new(),
            lost_order: VecDeque::new(),
            stored_up_to: Timestamp::default(),
            reached_since: Some(Timestamp::default()),
        }
    }

    /// The incarnation with which this node writes now.
    pub(crate) fn me(&self) -> Incarnation {
        self.me
    }

    /// Whether `who` is dead, so that nothing it wrote counts any more.
    pub(crate) fn is_lost(&self, who: Incarnation) -> bool {
        self.lost.contains(&who)
    }

    /// Whether everything that a node with a lease did up to `moment` is in the store.
    pub(crate) fn is_stored(&self, moment: Timestamp) -> bool {
        moment <= self.stored_up_to
    }

    /// Since when the store answers, by this node's clock; `None` while it does not.
    pub(crate) fn reached_since(&self) -> Option<Timestamp> {
        self.reached_since
    }

    /// Applies news that concern every state machine of the node.
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
            News::StoredUpTo(until) => self.stored_up_to = self.stored_up_to.max(until),
            News::Reached(since) => self.reached_since = since,
            News::Lost(_) | News::Invalidate(_) | News::StoreAhead(_) | News::Woke { .. } => {}
        }
    }
}
