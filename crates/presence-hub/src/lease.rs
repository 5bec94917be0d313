//! The lease of this node: the task that renews it, and that removes the nodes whose leases have lapsed.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use presence_core::cluster::nodes::{Effect, Input, Nodes};
use presence_core::cluster::{Incarnation, News};
use presence_core::ports::{Lease, Leases, Reaped, StoreError, Topics};
use presence_core::{Timestamp, Timing};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::clock::WallClock;
use crate::counters::Counters;
use crate::explain::record_orphans;
use crate::holding::Holding;
use crate::pending::sleep_until;
use crate::pulse::Pulse;
use crate::router::ReplyRouter;

/// The request to let the last lease of this node run for a time, and to report when that is stored.
#[derive(Debug)]
pub(crate) struct HandOff {
    pub(crate) time: Duration,
    pub(crate) done: oneshot::Sender<()>,
}

type InFlight = FuturesUnordered<Pin<Box<dyn Future<Output = Option<Input>> + Send>>>;

pub(crate) struct Leasing<T> {
    store: Arc<T>,
    name: Arc<str>,
    clock: WallClock,
    nodes: Nodes,
    holding: Arc<Holding>,
    router: ReplyRouter,
    counters: Arc<Counters>,
    me: Incarnation,
    /// The nodes whose leases were logged, as long as they have them.
    logged: BTreeSet<Incarnation>,
    /// The nodes that were dead when this one came: whoever lost them has logged and counted it.
    dead_before: Option<BTreeSet<Incarnation>>,
    in_flight: InFlight,
    /// The caller that is told when the last renewal is stored.
    stopping: Option<oneshot::Sender<()>>,
}

impl<T: Topics> Leasing<T> {
    pub(crate) fn new(
        store: Arc<T>,
        (me, name): (Incarnation, Arc<str>),
        clock: WallClock,
        nodes: Nodes,
        holding: Arc<Holding>,
        router: ReplyRouter,
        counters: Arc<Counters>,
    ) -> Self {
        Leasing {
            me,
            logged: BTreeSet::new(),
            dead_before: None,
            store,
            name,
            clock,
            nodes,
            holding,
            router,
            counters,
            in_flight: FuturesUnordered::new(),
            stopping: None,
        }
    }

    /// Runs until the node stops.
    pub(crate) async fn run(mut self, mut hand_offs: mpsc::Receiver<HandOff>) {
        let mut compare = tokio::time::interval(Timing::COMPARE_EVERY);
        compare.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // A task of its own, so that it does not hold up a renewal. It ends with this one.
        let mut comparing: JoinSet<Option<Timestamp>> = JoinSet::new();
        let mut beat = tokio::time::interval(Pulse::BEAT);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wakes = self.nodes.next_deadline();
            let wakes = wakes.map(|it| self.clock.instant(it));
            let mut effects = Vec::new();
            tokio::select! {
                hand_off = hand_offs.recv() => match hand_off {
                    Some(HandOff { time, done }) => {
                        self.stopping = Some(done);
                        // Nothing else that is under way matters any more, and what comes next is the last renewal.
                        self.in_flight = FuturesUnordered::new();
                        self.nodes.handle(self.clock.now(), Input::Stopping(time), &mut effects);
                    }
                    None => return,
                },
                Some(input) = self.in_flight.next() => {
                    if let Some(done) = self.stopping.take() {
                        let _ = done.send(());
                        return;
                    }
                    if let Some(Input::Renewed(leases)) = &input {
                        self.note(leases);
                    }
                    if let Some(input) = input {
                        let leases = match &input {
                            Input::Renewed(leases) => Some(leases.clone()),
                            _ => None,
                        };
                        self.nodes.handle(self.clock.now(), input, &mut effects);
                        if let Some(leases) = leases {
                            self.holding.saw(self.nodes.me(), leases);
                        }
                    }
                }
                _ = compare.tick(), if comparing.is_empty() => {
                    let (store, since) = (self.store.clone(), self.clock.now());
                    comparing.spawn(async move {
                        let outcome = store.compare().await;
                        outcome.ok().map(|()| since)
                    });
                }
                Some(compared) = comparing.join_next() => {
                    if let Ok(Some(since)) = compared {
                        let input = Input::Compared { since };
                        self.nodes.handle(self.clock.now(), input, &mut effects);
                    }
                }
                _ = beat.tick() => self.holding.pulse.beat(),
                () = sleep_until(wakes) => {}
            }
            if self.holding.take_trouble() {
                self.nodes
                    .handle(self.clock.now(), Input::Troubled, &mut effects);
            }
            self.nodes.expire(self.clock.now(), &mut effects);
            // Set before the effects are performed, or what the shards write then would be refused.
            let (until, at_store) = (self.nodes.holds_until(), self.nodes.holds_until_at_store());
            self.holding.until(self.nodes.me(), until, at_store);
            self.holding
                .answers_for(self.nodes.partitions(self.clock.now()).collect());
            for effect in effects {
                self.perform(effect).await;
            }
        }
    }

    /// Logs which nodes are new among those that have a lease, this one and those that were here before it included.
    fn note(&mut self, leases: &Leases) {
        self.dead_before.get_or_insert_with(|| {
            let dead = leases.nodes.iter().filter(|it| it.is_dead);
            dead.map(|it| it.who).collect()
        });
        for lease in newly_seen(&mut self.logged, &leases.nodes) {
            let (name, is_me) = (&*lease.name, lease.who == self.me);
            tracing::info!(event = "lease_seen", who = %lease.who, name, is_me, "a node has a lease");
        }
    }

    async fn perform(&mut self, effect: Effect) {
        let store = self.store.clone();
        match effect {
            Effect::Renew {
                me,
                ttl,
                stored_up_to,
            } => {
                let name = self.name.clone();
                self.me = me;
                self.in_flight.push(Box::pin(async move {
                    match store.renew(me, &name, ttl, stored_up_to).await {
                        Ok(leases) => Some(Input::Renewed(leases)),
                        Err(error) => {
                            warn(&error, "cannot renew the lease of this node");
                            Some(Input::Away)
                        }
                    }
                }));
            }
            Effect::MarkDead(who) => self.in_flight.push(Box::pin(async move {
                let is_dead = store.mark_dead(who).await;
                let is_dead =
                    is_dead.inspect_err(|error| warn(error, "cannot declare a node dead"));
                let is_dead = is_dead.unwrap_or(false);
                Some(Input::MarkedDead { who, is_dead })
            })),
            Effect::Reap(who) => {
                let router = self.router.clone();
                self.in_flight.push(Box::pin(async move {
                    let more = match store.reap(who).await {
                        Ok(Reaped { more, orphans }) => {
                            record_orphans(&router, who, orphans).await;
                            more
                        }
                        Err(error) => {
                            warn(&error, "cannot clean up after a dead node");
                            tokio::time::sleep(Timing::RENEW_AGAIN).await;
                            true
                        }
                    };
                    Some(Input::Reaped { who, more })
                }));
            }
            Effect::Forget(who) => self.in_flight.push(Box::pin(async move {
                if let Err(error) = store.forget(who).await {
                    warn(&error, "cannot forget a dead node");
                }
                None
            })),
            Effect::Become(me) => {
                tracing::warn!(event = "lease_lost", who = %me, "this node was declared dead: it writes its sessions again");
                self.router.spread(News::Become(me)).await;
            }
            Effect::Lost(who) => {
                self.router.spread(News::Lost(who)).await;
                self.log_lost(who);
            }
            Effect::Invalidate => {
                tracing::warn!("the shared store has lost data: this node writes its own again");
                self.router.spread(News::Invalidate(None)).await;
            }
            Effect::StoredUpTo(until) => self.router.spread(News::StoredUpTo(until)).await,
            Effect::StoreAhead(ms) => self.router.spread(News::StoreAhead(ms)).await,
            Effect::Away(is_away) => {
                self.log_away(is_away);
                self.counters.note_shared_away(is_away);
                let since = (!is_away).then(|| self.clock.now());
                self.router.spread(News::Reached(since)).await;
                self.router.tell_away(is_away).await;
            }
        }
    }

    /// Logs and counts that a node is dead, or logs that it has stopped on purpose.
    fn log_lost(&self, who: Incarnation) {
        let before = self.dead_before.as_ref();
        if before.is_some_and(|it| it.contains(&who)) {
            return;
        }
        let (store, counters) = (self.store.clone(), self.counters.clone());
        self.in_flight.push(Box::pin(async move {
            match store.has_stopped(who).await {
                Ok(true) => {
                    tracing::info!(event = "node_stopped", %who, "a node has stopped");
                }
                // If that cannot be known, operators had better look.
                Ok(false) | Err(_) => {
                    tracing::info!(event = "node_lost", %who, "a node is dead");
                    Counters::add(&counters.nodes_lost, 1);
                }
            }
            None
        }));
    }

    /// Logs that the shared store is away, or is back.
    fn log_away(&self, is_away: bool) {
        let seconds = self.counters.shared_away_for().as_secs_f64();
        match is_away {
            true => tracing::warn!(
                event = "store_away",
                store = "shared",
                "the shared store does not answer: this node works on its own"
            ),
            false => tracing::info!(
                event = "store_back",
                store = "shared",
                seconds,
                "the shared store answers again"
            ),
        }
    }
}

fn warn(error: &StoreError, what: &str) {
    let source = error.cause();
    tracing::debug!(%error, source, "{what}");
}

/// The living among `leases` that are not in `logged`. Afterwards `logged` has all living nodes, and no other.
fn newly_seen<'a>(logged: &mut BTreeSet<Incarnation>, leases: &'a [Lease]) -> Vec<&'a Lease> {
    let living = || leases.iter().filter(|it| !it.is_dead);
    let new = living().filter(|it| !logged.contains(&it.who)).collect();
    *logged = living().map(|it| it.who).collect();
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_logged_once_for_as_long_as_it_lasts() {
        let lease = |node, is_dead| Lease {
            who: Incarnation {
                node,
                generation: 0,
            },
            name: "eu".into(),
            until: Timestamp::default(),
            is_dead,
            stored_up_to: Timestamp::default(),
        };
        let mut logged = BTreeSet::new();
        let mut seen = |leases: &[Lease]| {
            let new = newly_seen(&mut logged, leases);
            new.iter().map(|it| it.who.node).collect::<Vec<_>>()
        };
        assert_eq!(
            seen(&[lease(1, false), lease(2, false), lease(3, true)]),
            [1, 2]
        );
        assert_eq!(seen(&[lease(1, false), lease(2, false)]), [0_u64; 0]);
        assert_eq!(seen(&[lease(1, false)]), [0_u64; 0]);
        assert_eq!(seen(&[lease(1, false), lease(2, false)]), [2]);
    }
}
