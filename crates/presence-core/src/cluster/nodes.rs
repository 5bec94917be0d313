//! Leases: which nodes count as alive, one's own among them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Incarnation;
use crate::ports::{Leases, Standing};
use crate::{Timestamp, Timing};

/// A dead node is remembered so long, in case it only slept.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// What was heard of the leases.
#[derive(Debug)]
pub enum Input {
    /// [`Effect::Renew`] was done.
    Renewed(Leases),
    /// It was not, or nobody knows.
    Away,
    /// [`Effect::Condemn`] was tried.
    Condemned {
        /// Whom.
        who: Incarnation,
        /// Whether it is dead now.
        is_dead: bool,
    },
    /// [`Effect::Reap`] was done, or not.
    Reaped {
        /// Whose entries.
        who: Incarnation,
        /// Whether there may be more.
        more: bool,
    },
    /// The node is about to stop: its sessions have so long to go on elsewhere.
    Stopping(Duration),
}

/// What is to be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Prolong the lease of `me` by `ttl`, and come back with [`Input::Renewed`] or [`Input::Away`].
    Renew {
        /// Whose.
        me: Incarnation,
        /// How long it is to run from now.
        ttl: Duration,
    },
    /// Declare a node dead, if it has no lease: [`Input::Condemned`].
    Condemn(Incarnation),
    /// Remove entries of a dead node from the store: [`Input::Reaped`].
    Reap(Incarnation),
    /// Forget a node that has been dead for long.
    Forget(Incarnation),
    /// To everyone on this node: it is this incarnation now, and everything of its own is to be written again.
    Become(Incarnation),
    /// To everyone on this node: the store has lost data, and everything is to be compared.
    Distrust,
    /// To everyone on this node: nothing that this incarnation wrote counts any more.
    Lost(Incarnation),
    /// The store is away, or back.
    Away(bool),
}

/// The machine that knows who is alive.
///
/// A node is dead when the store says so, and the store says so when another node asked it to after the lease had lapsed.
/// Nobody asks who has not seen the store healthy for a whole lease: while the store is away, everybody's leases lapse, and
/// that says nothing about anybody. Where many lapse at once it waits for one more.
#[derive(Debug)]
pub struct Nodes {
    me: Incarnation,
    /// It has had a lease.
    is_known: bool,
    /// A renewal is under way, since then.
    renewing: Option<Timestamp>,
    renew_at: Timestamp,
    /// Until when this node may write: its lease as far as it knows, by its own clock.
    holds_until: Timestamp,
    /// Since when the store has answered each time.
    healthy_since: Option<Timestamp>,
    is_away: bool,
    /// Since when many leases have lapsed.
    many_since: Option<Timestamp>,
    /// Nodes that had a lease, and since when the store does not know it any more.
    known: BTreeMap<Incarnation, Option<Timestamp>>,
    dead: BTreeSet<Incarnation>,
    /// Of the dead: whose entries are gone.
    reaped: BTreeSet<Incarnation>,
    /// Nodes that are being condemned or reaped right now.
    under_way: BTreeSet<Incarnation>,
    stopping: Option<Duration>,
}

impl Nodes {
    /// A node that starts now. `node` is a random number.
    pub fn new(now: Timestamp, node: u64) -> Self {
        let generation = 0;
        Nodes {
            me: Incarnation { node, generation },
            is_known: false,
            renewing: None,
            renew_at: now,
            holds_until: now,
            healthy_since: None,
            is_away: false,
            many_since: None,
            known: BTreeMap::new(),
            dead: BTreeSet::new(),
            reaped: BTreeSet::new(),
            under_way: BTreeSet::new(),
            stopping: None,
        }
    }

    /// As what this node writes now.
    pub fn me(&self) -> Incarnation {
        self.me
    }

    /// Until when this node's lease runs, as far as it knows.
    pub fn holds_until(&self) -> Timestamp {
        self.holds_until
    }

    /// Whether this node's lease runs, as far as it knows. While it does not, nothing may be written: it may be dead already.
    pub fn may_write(&self, now: Timestamp) -> bool {
        now < self.holds_until
    }

    /// When to call [`expire`](Self::expire) next.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        match (self.stopping, self.renewing) {
            (Some(_), _) => None,
            (None, Some(since)) => Some(since + Timing::RENEW_PATIENCE),
            (None, None) => Some(self.renew_at),
        }
    }

    /// Does what is due by `now`. Calling it early or twice does nothing.
    pub fn expire(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if self.stopping.is_some() {
            return;
        }
        if self
            .renewing
            .is_some_and(|since| since + Timing::RENEW_PATIENCE <= now)
        {
            self.handle(now, Input::Away, out);
        }
        if self.renewing.is_none() && self.renew_at <= now {
            self.renew(now, Timing::LEASE, out);
        }
    }

    fn renew(&mut self, now: Timestamp, ttl: Duration, out: &mut Vec<Effect>) {
        self.renewing = Some(now);
        self.renew_at = now + Timing::RENEW_EVERY;
        out.push(Effect::Renew { me: self.me, ttl });
    }

    /// Takes one fact.
    pub fn handle(&mut self, now: Timestamp, input: Input, out: &mut Vec<Effect>) {
        match input {
            Input::Renewed(leases) => {
                let Some(asked_at) = self.renewing.take() else {
                    return; // given up already
                };
                if std::mem::take(&mut self.is_away) {
                    out.push(Effect::Away(false));
                }
                self.renewed(now, asked_at, &leases, out);
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
            Input::Condemned { who, is_dead } => {
                self.under_way.remove(&who);
                if is_dead {
                    self.bury(who, out);
                }
            }
            Input::Reaped { who, more } => {
                self.under_way.remove(&who);
                if more {
                    self.reap(who, out);
                } else {
                    self.reaped.insert(who);
                }
            }
            Input::Stopping(time) => {
                self.renew(now, time, out);
                self.stopping = Some(time);
            }
        }
    }

    fn renewed(
        &mut self,
        now: Timestamp,
        asked_at: Timestamp,
        leases: &Leases,
        out: &mut Vec<Effect>,
    ) {
        match leases.mine {
            Standing::Condemned => {
                // Whoever condemned it has told everyone that its people are gone. Those who are still here come anew.
                self.me.generation += 1;
                self.healthy_since = None;
                out.push(Effect::Become(self.me));
                return self.renew(now, Timing::LEASE, out);
            }
            Standing::New if std::mem::replace(&mut self.is_known, true) => {
                self.healthy_since = None;
                out.push(Effect::Distrust);
            }
            Standing::New | Standing::Renewed => self.is_known = true,
        }
        if self.holds_until < asked_at {
            self.healthy_since = None; // it slept, and has seen nothing of what happened since
        }
        self.holds_until = asked_at + Timing::LEASE;
        let healthy_since = *self.healthy_since.get_or_insert(now);

        for since in self.known.values_mut() {
            since.get_or_insert(now);
        }
        let mut lapsed = Vec::new();
        let mut alive = BTreeSet::new();
        for lease in &leases.nodes {
            if lease.is_dead {
                self.bury(lease.who, out);
                self.clean_up(leases.now, lease.until, lease.who, out);
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
        let is_healthy = healthy_since + Timing::LEASE <= now;
        let all = lapsed.len() + alive.len();
        let many = lapsed.len() > 1 && lapsed.len() * 10 > all * 3;
        let many_since = match many {
            true => *self.many_since.get_or_insert(now),
            false => {
                self.many_since = None;
                Timestamp::default()
            }
        };
        if is_healthy && many_since + Timing::LEASE <= now {
            for who in lapsed {
                if self.under_way.insert(who) {
                    out.push(Effect::Condemn(who));
                }
            }
        }
        let dead: Vec<_> = self.dead.iter().copied().collect();
        for who in dead {
            // One node does it; when that is gone, another is the one.
            let reaper = alive
                .iter()
                .nth((who.node % alive.len().max(1) as u64) as usize);
            if reaper == Some(&self.me) && !self.reaped.contains(&who) {
                self.reap(who, out);
            }
        }
    }

    fn bury(&mut self, who: Incarnation, out: &mut Vec<Effect>) {
        self.known.remove(&who);
        if self.dead.insert(who) && who.node != self.me.node {
            out.push(Effect::Lost(who));
        }
    }

    fn clean_up(
        &mut self,
        now: Timestamp,
        died_at: Timestamp,
        who: Incarnation,
        out: &mut Vec<Effect>,
    ) {
        if self.reaped.contains(&who) && died_at + REMEMBERED <= now {
            self.dead.remove(&who);
            self.reaped.remove(&who);
            out.push(Effect::Forget(who));
        }
    }

    fn reap(&mut self, who: Incarnation, out: &mut Vec<Effect>) {
        if self.under_way.insert(who) {
            out.push(Effect::Reap(who));
        }
    }
}
