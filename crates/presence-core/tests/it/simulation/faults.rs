//! What fails by the script, and what may be wrong for how long because of it.

use std::time::Duration;

use presence_core::cluster::nodes;
use presence_core::node;

use super::driver::Driver;
use super::machines::MAILBOXES;
use super::script::{USERS, What};
use super::store::SERVERS;
use super::truth::{GRACE_MS, PROFILE, Sure};
use super::world::{Event, HEALS_MS, LAPSES_LATE_MS, PROOF_MS, ToNode, World};

/// A node that is cut off or asleep so long may have lost its lease: what it last renewed was up to 3 s before.
const LEASE_AT_RISK_MS: u64 = 11_000;
/// So long after a fault a node may not have said yet that all of its own is in the store.
const TROUBLE_MS: u64 = 30_000;
/// A node that was cut off has renewed its lease so long after it can.
const RENEWS_AGAIN_MS: u64 = 5_000;
/// What a node accepts is in the database so much later, as a rule.
const SAVED_AFTER_MS: u64 = 3_000;
/// A node that has just started says so much later that all of its own is in the store.
const STARTS_MS: u64 = 6_000;
/// A node that does nothing for so long knows that afterwards.
const STOOD_STILL_MS: u64 = 1_000;

impl World<'_> {
    pub(super) fn fail(&mut self, what: What) {
        match what {
            What::Kill { node, back_ms } => {
                if self.nodes[node].sleeps_until > self.now {
                    self.disturb(node, LEASE_AT_RISK_MS); // it has not renewed its lease for a while
                }
                if self.nodes[node].machine.is_some() {
                    self.die(node);
                }
                self.at(self.now + back_ms, Event::Start(node));
            }
            What::Stop {
                node,
                drain_ms,
                back_ms,
            } => self.stop(node, drain_ms, back_ms),
            What::Pause { node, .. } if self.nodes[node].machine.is_none() => {}
            What::Pause { node, ms } => {
                let it = &mut self.nodes[node];
                if it.sleeps_until <= self.now {
                    it.sleeps_since = self.now;
                }
                it.sleeps_until = it.sleeps_until.max(self.now + ms);
                it.slept.push((self.now, self.now + ms));
                it.wakes_late_ms = std::array::from_fn(|_| self.odds.below(40));
                if ms >= STOOD_STILL_MS {
                    it.has_slept = [true; MAILBOXES.len()];
                }
                self.calm_at = self.calm_at.max(self.now + ms + HEALS_MS);
                self.hold_up(node, ms);
            }
            What::Cut { node, server, ms } => {
                for server in some(server) {
                    let until = &mut self.nodes[node].cut_until[server];
                    *until = (*until).max(self.now + ms);
                    self.nodes[node].has_missed[server] = true;
                }
                self.store_fault(ms);
                self.hold_up(node, ms);
            }
            What::Away { server, ms } => {
                for server in some(server) {
                    self.take_away(server, ms);
                }
                self.store_fault(ms);
            }
            What::Asleep { server, ms } => {
                for server in some(server) {
                    self.put_to_sleep(server, ms);
                }
                self.store_fault(ms);
            }
            What::Wipe { server } => {
                self.excuse_all_if_faulty();
                for server in some(server) {
                    self.store.wipe(server);
                }
                self.store_fault(0);
            }
            What::FailOver {
                server,
                away_ms,
                lost_ms,
            } => {
                self.excuse_all_if_faulty();
                self.store
                    .fail_over(server, self.now.saturating_sub(lost_ms));
                self.take_away(server, away_ms);
                self.store_fault(away_ms);
            }
            What::Noise {
                lost_percent,
                failed_percent,
                ms,
            } => {
                self.noise = (self.now + ms, lost_percent, failed_percent);
                self.store_fault(ms);
            }
            What::NoDatabase { ms } => {
                if self.no_database_until < self.now {
                    self.no_database_since = self.now;
                }
                self.no_database_until = self.no_database_until.max(self.now + ms);
                self.store_fault(ms);
            }
            _ => {}
        }
    }

    fn take_away(&mut self, server: usize, ms: u64) {
        let until = &mut self.away_until[server];
        *until = (*until).max(self.now + ms);
        for node in &mut self.nodes {
            node.has_missed[server] = true;
        }
    }

    fn put_to_sleep(&mut self, server: usize, ms: u64) {
        let until = self.now + ms;
        self.asleep_until[server] = self.asleep_until[server].max(until);
        self.away_until[server] = self.away_until[server].max(until);
        for node in 0..self.nodes.len() {
            // It may have connected again meanwhile.
            self.nodes[node].has_missed[server] |= self.chance.one_in(2);
        }
    }

    /// What was chosen while the database is away is in the store only, and gone for those whom no node has.
    fn lose_what_is_not_saved(&mut self) {
        if self.no_database_until + SAVED_AFTER_MS < self.now {
            return;
        }
        for user in 0..USERS.len() {
            let mut its = self.clients.iter().filter(|it| it.user == user);
            if its.any(|it| it.is_in(PROFILE)) {
                continue;
            }
            let since = self.no_database_since.saturating_sub(SAVED_AFTER_MS);
            for it in self.said[user].iter_mut().filter(|it| it.at >= since) {
                it.confirmed_at = None;
            }
        }
    }

    /// Data is lost, and its owners may not be able to write it again in time.
    fn excuse_all_if_faulty(&mut self) {
        self.lose_what_is_not_saved();
        // What is missing is held until every node has had time to write again.
        let back_at = self.away_until.iter().copied().max().unwrap_or(0);
        self.calm_at = self.calm_at.max(back_at.max(self.now) + PROOF_MS);
        if self.is_faulty() {
            self.blurred_until = self.now + 40_000;
        }
        self.lost_at = self.now;
    }

    fn store_fault(&mut self, ms: u64) {
        if self.lost_at > 0 && self.lost_at < self.now && self.now < self.lost_at + 15_000 {
            self.blurred_until = self.now + ms + 40_000;
        }
        if self.lost_at > 0 && self.now < self.lost_at + PROOF_MS {
            // What is missing can be proven to be gone only once the store can be asked again.
            self.calm_at = self.calm_at.max(self.now + ms + PROOF_MS);
        }
        // Who is about to be told as lost is told once that is proven.
        let proven_at = self.now + ms + PROOF_MS;
        for spot in self.spots.iter_mut().flatten() {
            if spot.on == Sure::No && self.now < spot.open_until {
                spot.open_until = spot.open_until.max(proven_at);
            }
        }
        self.faults.push((self.now, self.now + ms));
        let lapsing = self.lapses.iter().any(|it| it + 60_000 > self.now);
        self.calm_after(
            ms + match lapsing {
                true => LAPSES_LATE_MS,
                false => HEALS_MS,
            },
        );
    }

    /// Who is about to be told as lost is told once a node that starts has said that it knows nothing of them.
    pub(super) fn wait_for_start(&mut self, node: usize) {
        self.nodes[node].started_at = self.now;
        let now = self.now;
        let spots = self.spots.iter_mut().flatten();
        let leaving = spots.filter(|it| it.on == Sure::No && now < it.open_until);
        leaving.for_each(|it| it.open_until = it.open_until.max(now + STARTS_MS));
    }

    /// How long it takes until all nodes have said that all of their own is in the store.
    pub(super) fn proof_ms(&self) -> u64 {
        let starts = |it: &Driver| self.now < it.started_at + STARTS_MS && it.started_at > 0;
        match self.was_in_trouble() {
            true => PROOF_MS,
            false if self.nodes.iter().any(starts) => STARTS_MS,
            false => 0,
        }
    }

    /// Whether a node may not have said yet that all of its own is in the store.
    fn was_in_trouble(&self) -> bool {
        let mut faults = self.faults.iter();
        let mut lapses = self.lapses.iter();
        faults.any(|(_, end)| end + TROUBLE_MS > self.now)
            || lapses.any(|at| at + TROUBLE_MS > self.now)
    }

    /// Whether something is wrong with the store, or was a moment ago.
    pub(super) fn is_faulty(&self) -> bool {
        let mut faults = self.faults.iter();
        faults.any(|(_, end)| end + 3_000 > self.now)
    }

    /// A node cannot renew its lease for so long, and could not if it had no time to since it was held up before. One that
    /// is about to exit may not renew it any more.
    fn hold_up(&mut self, node: usize, ms: u64) {
        let it = &mut self.nodes[node];
        let (since, until) = it.held_up;
        let is_one = self.now <= until + RENEWS_AGAIN_MS && until > 0;
        let since = if is_one { since } else { self.now };
        it.held_up = (since, until.max(self.now + ms));
        let all = it.held_up.1 - since;
        let is_stopping = !it.is_accepting;
        if is_stopping || all >= LEASE_AT_RISK_MS {
            self.disturb(node, ms.max(LEASE_AT_RISK_MS));
        }
    }

    /// A node hears and says nothing for so long.
    fn disturb(&mut self, node: usize, ms: u64) {
        if ms < LEASE_AT_RISK_MS {
            return;
        }
        let until = self.now + ms + 20_000;
        self.nodes[node].unsound_until = self.nodes[node].unsound_until.max(until);
        self.lapses.push(self.now + ms);
        self.calm_at = self.calm_at.max(self.now + ms + 2 * HEALS_MS);
        for user in 0..USERS.len() {
            self.excuse_if_unsound(user, node);
        }
    }

    /// Those who are, or were a moment ago, on a node that may be taken for dead may be drawn as gone.
    pub(super) fn excuse_if_unsound(&mut self, user: usize, node: usize) {
        let until = self.nodes[node].unsound_until;
        if until > self.now {
            for spot in &mut self.spots[user] {
                spot.excuse(until);
            }
        }
    }

    pub(super) fn stop(&mut self, node: usize, drain_ms: u64, back_ms: u64) {
        if !self.nodes[node].is_accepting {
            return;
        }
        self.nodes[node].is_accepting = false;
        let mut cuts = self.nodes[node].cut_until.iter();
        let is_cut_off = cuts.any(|until| until + RENEWS_AGAIN_MS > self.now);
        if self.nodes[node].sleeps_until > self.now || is_cut_off {
            // It may end before it has renewed its lease, as one that is killed.
            self.disturb(node, LEASE_AT_RISK_MS);
        }
        let time = Duration::from_millis(drain_ms + GRACE_MS);
        let input = node::Input::Leases(nodes::Input::Stopping(time));
        self.post(node, self.now, ToNode::Input(input));
        let sockets: Vec<u64> = self.nodes[node].sockets.keys().copied().collect();
        for socket in sockets {
            let at = self.now + self.chance.below(drain_ms);
            self.post(node, at, ToNode::Shut { socket });
        }
        let exit = self.now + drain_ms;
        let life = self.nodes[node].life;
        self.at(exit, Event::Exit(node, life));
        self.at(exit + back_ms, Event::Start(node));
    }
}

pub(super) fn some(server: Option<usize>) -> std::ops::Range<usize> {
    match server {
        Some(server) => server..server + 1,
        None => 0..SERVERS,
    }
}
