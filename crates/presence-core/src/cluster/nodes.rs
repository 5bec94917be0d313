//! Leases: which nodes are alive, this one included.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Incarnation, PARTITIONS};
use crate::cluster::store::{Leases, Renewal};
use crate::{Timestamp, Timing};

/// How long a dead node is remembered, in case it was only asleep.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// After this time the entries of a dead node are removed once more: some of its writes may have arrived late, or come
/// back when a server took over. They are removed a last time before the node is forgotten.
const REAP_AGAIN: Duration = Duration::from_secs(60);

/// The time after which a write without an answer has failed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// The time after which a node that has not compared itself with all of the store does not know whether something of
/// its own is missing.
const COMPARED_WITHIN: Duration = Duration::from_secs(10);
/// Differences between two readings of the store's clock, in milliseconds, that may come from the network.
const CLOCK_SLACK_MS: u64 = 20;

/// What happened to the leases of nodes.
#[derive(Debug)]
pub enum Input {
    /// The answer to [`Effect::Renew`]: all leases.
    Renewed(Leases),
    /// [`Effect::Renew`] failed, or was not answered.
    Away,
    /// The answer to [`Effect::MarkDead`].
    MarkedDead {
        /// The node that was to be declared dead.
        who: Incarnation,
        /// Whether that node is dead now.
        is_dead: bool,
    },
    /// [`Effect::Reap`] was done, or failed.
    Reaped {
        /// The dead node whose entries were to be removed.
        who: Incarnation,
        /// Whether the store may have more of them.
        more: bool,
    },
    /// The node is about to stop. Its sessions can go on elsewhere for this time.
    Stopping(Duration),
    /// A write failed, or the store has lost data: some of this node's data may not be in the store.
    Troubled,
    /// A comparison with all of the store has ended.
    Compared {
        /// When the comparison was begun.
        since: Timestamp,
    },
}

/// What the caller is to do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Extend the lease of `me` to `ttl` from now. [`Input::Renewed`] or [`Input::Away`] is the answer.
    Renew {
        /// The incarnation that holds the lease.
        me: Incarnation,
        /// How long the lease is to last from now.
        ttl: Duration,
        /// Everything that this node did up to this moment, by the store's clock, is in the store.
        stored_up_to: Timestamp,
    },
    /// Declare a node dead, unless its lease is running. [`Input::MarkedDead`] is the answer.
    MarkDead(Incarnation),
    /// Remove entries of a dead node from the store. [`Input::Reaped`] is the answer.
    Reap(Incarnation),
    /// Delete the lease of a node that has been dead for long.
    Forget(Incarnation),
    /// Tell every state machine of this node: it is this incarnation now, and has to write all its own entries again.
    Become(Incarnation),
    /// Tell every state machine of this node: the store has lost data, and everything has to be compared.
    Invalidate,
    /// Tell every state machine of this node: this incarnation is dead, and nothing that it wrote counts any more.
    Lost(Incarnation),
    /// Tell every state machine of this node: everything that a node with a lease did up to this moment is
    /// in the store.
    StoredUpTo(Timestamp),
    /// Tell every state machine of this node: the store's clock is ahead of this node's by this many milliseconds.
    StoreAhead(i64),
    /// The store does not answer (true), or answers again (false).
    Away(bool),
}

/// The state machine that knows which nodes are alive.
///
/// A node is dead when the store says so. The store says so after another node has asked for it when the lease had
/// lapsed. Only a node whose own access to the store was healthy for a whole lease may ask: while the store is away all
/// leases lapse, and that says nothing about any node. If many leases lapse at once, it waits for one more lease.
#[derive(Debug)]
pub struct Nodes {
    me: Incarnation,
    /// Whether this node has had a lease.
    is_known: bool,
    /// Whether this is another incarnation, and the state machines of this node have not been told so yet.
    is_becoming: bool,
    /// The renewal that is under way: when it was sent, and for how long.
    renewing: Option<(Timestamp, Duration)>,
    renew_at: Timestamp,
    /// Until when this node may write: the end of its lease, as far as it knows, by its own clock.
    holds_until: Timestamp,
    /// Since when the store has answered every renewal.
    healthy_since: Option<Timestamp>,
    is_away: bool,
    /// Since when many leases have been lapsed at once.
    many_since: Option<Timestamp>,
    /// The nodes whose leases are running, as far as this node knows.
    alive: BTreeSet<Incarnation>,
    /// Nodes that have had a lease, each with the time since which the store does not know it any more.
    known: BTreeMap<Incarnation, Option<Timestamp>>,
    dead: BTreeMap<Incarnation, Dead>,
    /// Nodes that are being declared dead, or whose entries are being removed.
    under_way: BTreeSet<Incarnation>,
    stopping: Option<Duration>,
    /// The end of this node's lease, by the store's clock.
    holds_until_at_store: Timestamp,
    /// How far the store's clock is ahead of this node's, in milliseconds.
    store_ahead_ms: i64,
    /// When a write last failed, or the store last lost data.
    troubled_at: Timestamp,
    /// When the last comparison with all of the store was begun.
    compared_since: Timestamp,
    /// Everything that this node did up to this moment is in the store.
    stored_up_to: Timestamp,
    /// Everything that any node with a lease did up to this moment is in the store.
    all_stored_up_to: Timestamp,
}

#[derive(Debug)]
struct Dead {
    since: Timestamp,
    /// When the entries of the node have to be removed next.
    reap_at: Timestamp,
    /// Whether they were removed for the last time.
    is_gone: bool,
}

impl Nodes {
    /// A node that starts now. `node` is a random number.
    pub fn new(now: Timestamp, node: u64) -> Self {
        let generation = 0;
        Nodes {
            me: Incarnation { node, generation },
            is_known: false,
            is_becoming: false,
            renewing: None,
            renew_at: now,
            holds_until: now,
            healthy_since: None,
            is_away: false,
            many_since: None,
            alive: BTreeSet::new(),
            known: BTreeMap::new(),
            dead: BTreeMap::new(),
            under_way: BTreeSet::new(),
            stopping: None,
            holds_until_at_store: Timestamp::default(),
            store_ahead_ms: 0,
            troubled_at: now,
            compared_since: Timestamp::default(),
            stored_up_to: Timestamp::default(),
            all_stored_up_to: Timestamp::default(),
        }
    }

    /// The incarnation with which this node writes now.
    pub fn me(&self) -> Incarnation {
        self.me
    }

    /// When this node's lease ends by its own clock, as far as it knows.
    pub fn holds_until(&self) -> Timestamp {
        self.holds_until
    }

    /// When this node's lease ends by the store's clock. The store refuses later writes.
    pub fn holds_until_at_store(&self) -> Timestamp {
        self.holds_until_at_store
    }

    /// Whether this node's lease is running, as far as it knows. Otherwise it must not write, because it may have
    /// been declared dead.
    pub fn may_write(&self, now: Timestamp) -> bool {
        now < self.holds_until
    }

    /// The partitions of the store in which this node finishes what others have begun. There are none while it
    /// holds no lease.
    ///
    /// Each partition has one such node if all nodes agree on who is alive. If that node dies, another one has the
    /// partition within a lease and a renewal. For a moment two nodes may have the same partition.
    pub fn partitions(&self, now: Timestamp) -> impl Iterator<Item = u16> {
        let is_held = self.may_write(now);
        (0..PARTITIONS).filter(move |partition| {
            is_held && responsible(*partition, &self.alive) == Some(self.me)
        })
    }

    /// When to call [`expire`](Self::expire) next; `None` while the node is stopping.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match (self.stopping, self.renewing) {
            (Some(_), _) => None,
            (None, Some((since, _))) => Some(since + Timing::RENEW_PATIENCE),
            (None, None) => Some(self.renew_at),
        }
    }

    /// Renews the lease, or gives up a renewal, if that is due by `now`. Calling it early or twice does nothing.
    pub fn expire(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if self.stopping.is_some() {
            return;
        }
        if self
            .renewing
            .is_some_and(|(since, _)| since + Timing::RENEW_PATIENCE <= now)
        {
            self.handle(now, Input::Away, out);
        }
        if self.renewing.is_none() && self.renew_at <= now {
            self.renew(now, Timing::LEASE, out);
        }
    }

    fn renew(&mut self, now: Timestamp, ttl: Duration, out: &mut Vec<Effect>) {
        self.renewing = Some((now, ttl));
        self.renew_at = now + Timing::RENEW_EVERY;
        self.advance_stored_up_to(now);
        out.push(Effect::Renew {
            me: self.me,
            ttl,
            stored_up_to: self.at_store(self.stored_up_to),
        });
    }

    /// Computes up to when everything of this node is in the store: a write without an answer within
    /// [`ANSWERED_WITHIN`] has failed.
    fn advance_stored_up_to(&mut self, now: Timestamp) {
        let is_quiet = self.troubled_at + ANSWERED_WITHIN <= now;
        let is_compared =
            self.troubled_at <= self.compared_since && now <= self.compared_since + COMPARED_WITHIN;
        if is_quiet && is_compared {
            let until = now.as_millis() - ANSWERED_WITHIN.as_millis() as u64;
            self.stored_up_to = Timestamp::from_millis(until);
        }
    }

    fn at_store(&self, moment: Timestamp) -> Timestamp {
        Timestamp::from_millis(
            moment
                .as_millis()
                .saturating_add_signed(self.store_ahead_ms),
        )
    }

    fn read_store_clock(&mut self, now: Timestamp, asked_at: Timestamp, leases: &Leases) -> bool {
        let halfway = asked_at.as_millis() + now.since(asked_at).as_millis() as u64 / 2;
        let ahead_ms = leases.now.as_millis() as i64 - halfway as i64;
        let is_other = self.store_ahead_ms.abs_diff(ahead_ms) > CLOCK_SLACK_MS;
        if is_other {
            self.store_ahead_ms = ahead_ms;
        }
        is_other
    }

    /// Until when, by this node's clock, everything of all nodes is in the store. A node that has no lease, because that
    /// lapsed or the store lost it, and was not declared dead may have sessions that no other node knows. While there is
    /// one, nothing is known to be stored, and the result is 1970.
    fn all_stored(&self, leases: &Leases, alive: &BTreeSet<Incarnation>) -> Timestamp {
        // A node that came back as its next generation reports under that one.
        let speaks = |who: &Incarnation| alive.iter().any(|it| it.node == who.node && it >= who);
        if !self.known.keys().all(speaks) {
            return Timestamp::default();
        }
        let stored_up_to = leases.nodes.iter();
        let stored_up_to = stored_up_to.filter(|it| alive.contains(&it.who));
        let stored_up_to = stored_up_to.map(|it| it.stored_up_to).min();
        let until = stored_up_to.unwrap_or_default().as_millis();
        Timestamp::from_millis(until.saturating_add_signed(-self.store_ahead_ms))
    }

    /// Applies `input` at time `now` and appends the resulting effects to `out`.
    pub fn handle(&mut self, now: Timestamp, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Renewed(leases) => {
                let Some((asked_at, ttl)) = self.renewing.take() else {
                    return; // given up already
                };
                if std::mem::take(&mut self.is_away) {
                    out.push(Effect::Away(false));
                }
                self.renewed(now, asked_at, ttl, &leases, out);
            }
            Input::Away => {
                self.renewing = None;
                self.healthy_since = None;
                self.many_since = None;
                self.renew_at = now + Timing::RENEW_AGAIN;
                if !std::mem::replace(&mut self.is_away, true) {
                    out.push(Effect::Away(true));
                }
            }
            Input::MarkedDead { who, is_dead } => {
                self.under_way.remove(&who);
                if is_dead {
                    self.bury(now, who, out);
                }
            }
            Input::Reaped { who, more } => {
                self.under_way.remove(&who);
                if more {
                    self.reap(who, out);
                } else if let Some(dead) = self.dead.get_mut(&who) {
                    let forget_at = dead.since + REMEMBERED;
                    dead.is_gone = forget_at <= now;
                    dead.reap_at = match now < dead.since + REAP_AGAIN {
                        true => dead.since + REAP_AGAIN,
                        false => forget_at,
                    };
                }
            }
            Input::Stopping(time) => {
                self.renew(now, time, out);
                self.stopping = Some(time);
            }
            Input::Troubled => self.troubled_at = now,
            Input::Compared { since } => self.compared_since = since,
        }
    }

    fn renewed(
        &mut self,
        now: Timestamp,
        asked_at: Timestamp,
        ttl: Duration,
        leases: &Leases,
        out: &mut Vec<Effect>,
    ) {
        // It slept, or could not reach the store, and has seen nothing of what happened since.
        let has_lapsed = self.holds_until < asked_at;
        let was_known = std::mem::replace(&mut self.is_known, true);
        match leases.mine {
            // The store may have forgotten, with everything else, that it was marked dead.
            Renewal::New if was_known && has_lapsed => return self.start_next_generation(now, out),
            Renewal::Dead => return self.start_next_generation(now, out),
            Renewal::New if was_known => {
                self.healthy_since = None;
                self.troubled_at = now;
                out.push(Effect::Invalidate);
            }
            Renewal::New | Renewal::Renewed => {}
        }
        if std::mem::take(&mut self.is_becoming) {
            out.push(Effect::Become(self.me));
        }
        if has_lapsed {
            self.healthy_since = None;
        }
        self.holds_until = asked_at + ttl;
        self.holds_until_at_store = leases.now + ttl;
        if self.read_store_clock(now, asked_at, leases) {
            out.push(Effect::StoreAhead(self.store_ahead_ms));
        }
        let healthy_since = *self.healthy_since.get_or_insert(now);

        for since in self.known.values_mut() {
            since.get_or_insert(now);
        }
        let mut lapsed = Vec::new();
        let mut alive = BTreeSet::new();
        for lease in &leases.nodes {
            if lease.is_dead {
                self.bury(now, lease.who, out);
                continue;
            }
            self.known.insert(lease.who, None);
            if lease.who != self.me && lease.until < leases.now {
                lapsed.push(lease.who);
                continue;
            }
            alive.insert(lease.who);
        }
        for (who, since) in &self.known {
            if since.is_some_and(|since| since + Timing::LEASE <= now) {
                lapsed.push(*who);
            }
        }
        let may_mark_dead = self.may_mark_dead(now, &lapsed, &alive);
        if may_mark_dead && healthy_since + Timing::LEASE <= now {
            for who in lapsed {
                if self.under_way.insert(who) {
                    out.push(Effect::MarkDead(who));
                }
            }
        }
        let stored_up_to = self.all_stored(leases, &alive);
        if stored_up_to > self.all_stored_up_to {
            self.all_stored_up_to = stored_up_to;
            out.push(Effect::StoredUpTo(stored_up_to));
        }
        self.alive.clone_from(&alive);
        self.clean_up(now, leases, &alive, out);
    }

    /// Whether those whose leases have lapsed may be marked dead: at once if few fell silent. Where many do together it is
    /// more likely that the store was away, so they get another lease to come back.
    fn may_mark_dead(
        &mut self,
        now: Timestamp,
        lapsed: &[Incarnation],
        alive: &BTreeSet<Incarnation>,
    ) -> bool {
        // A node that has begun its next generation has not fallen silent.
        let is_silent = |who: &&Incarnation| !alive.iter().any(|it| it.node == who.node);
        let silent = lapsed.iter().filter(is_silent).count();
        let all = silent + alive.len();
        if silent > 1 && silent * 10 > all * 3 {
            let many_since = *self.many_since.get_or_insert(now);
            return many_since + Timing::LEASE <= now;
        }
        self.many_since = None;
        true
    }

    /// Removes the entries and leases of dead nodes. For each of them one living node is responsible, and only that
    /// one does it. If the store has lost the lease of the dead node, the responsible node may not know of it. So whoever
    /// knows of it removes what there is.
    fn clean_up(
        &mut self,
        now: Timestamp,
        leases: &Leases,
        alive: &BTreeSet<Incarnation>,
        out: &mut Vec<Effect>,
    ) {
        // Dead nodes are remembered here for longer than in the store.
        self.dead
            .retain(|_, it| now < it.since + REMEMBERED + REMEMBERED);
        let due = self.dead.iter().filter(|(_, it)| it.reap_at <= now);
        let due: Vec<_> = due.map(|(who, it)| (*who, it.since, it.is_gone)).collect();
        for (who, since, is_gone) in due {
            // If the responsible node dies, another one becomes responsible.
            let reaper = alive
                .iter()
                .nth((who.node % alive.len().max(1) as u64) as usize);
            let is_known = leases.nodes.iter().any(|it| it.who == who);
            let is_lost = !is_known && now < since + REMEMBERED;
            let is_mine = reaper == Some(&self.me);
            if !is_gone && (is_mine || is_lost) {
                self.reap(who, out);
            } else if is_gone && is_mine && is_known {
                out.push(Effect::Forget(who));
            }
        }
    }

    /// Starts the next generation of this node, which was declared dead, so all nodes have shown its people leaving.
    /// The sessions that still have a connection are written again after [`Timing::AWAKE_AFTER`], when the node knows which
    /// connections have ended: it may have been asleep when they did.
    fn start_next_generation(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.me.generation += 1;
        self.is_known = false;
        self.healthy_since = None;
        self.holds_until = now;
        self.is_becoming = true;
        match self.stopping {
            Some(ttl) => self.renew(now, ttl, out),
            None => self.renew_at = now + Timing::AWAKE_AFTER,
        }
    }

    fn bury(&mut self, now: Timestamp, who: Incarnation, out: &mut Vec<Effect>) {
        self.known.remove(&who);
        if self.dead.contains_key(&who) {
            return;
        }
        let dead = Dead {
            since: now,
            reap_at: now,
            is_gone: false,
        };
        self.dead.insert(who, dead);
        if who.node != self.me.node {
            out.push(Effect::Lost(who));
        }
    }

    fn reap(&mut self, who: Incarnation, out: &mut Vec<Effect>) {
        if self.under_way.insert(who) {
            out.push(Effect::Reap(who));
        }
    }
}

/// The node of `alive` that looks after a partition of the store. All nodes that agree on who is alive compute the same
/// node. When a node comes or goes, only the partitions that it gets or had change hands.
pub fn responsible(partition: u16, alive: &BTreeSet<Incarnation>) -> Option<Incarnation> {
    let weight = |who: &&Incarnation| {
        // The finalizer of SplitMix64: fixed by its definition, and it spreads what differs in a single bit.
        let mix = |mut bits: u64| {
            bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bits ^ (bits >> 31)
        };
        let seed = mix(u64::from(partition) << 32 | u64::from(who.generation));
        (mix(seed ^ who.node), **who)
    };
    alive.iter().max_by_key(weight).copied()
}

#[cfg(test)]
mod tests;
