//! What all clients of a run share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::journal::{At, Ending, Journal};

/// How many may be connecting at the same time. The kernel's queue of connections takes more than that.
const CONNECTING_MAX: usize = 500;

/// What all clients of a run share.
pub(crate) struct Shared {
    pub(crate) journal: Journal,
    pub(crate) entrances: Vec<Entrance>,
    pub(crate) connecting: Semaphore,
    /// Whether those who are in a room look at it too. Otherwise only watchers do.
    pub(crate) all_watch: bool,
    /// How many are connected and where they shall be.
    pub(crate) here: AtomicUsize,
    refusals: Mutex<Vec<String>>,
    losses: Mutex<Vec<Loss>>,
    said: Mutex<BTreeMap<String, String>>,
    connected: Mutex<BTreeMap<(String, String), usize>>,
}

/// Where clients connect: a gateway, or a proxy in front of one.
pub(crate) struct Entrance {
    pub(crate) url: String,
    /// The gateway behind it, by index.
    pub(crate) gateway: usize,
    /// Whether a load balancer knows it. Otherwise only those come who are sent there by name.
    pub(crate) is_known: bool,
    /// Whether a load balancer sends people there now.
    pub(crate) is_open: AtomicBool,
    /// Whether what ends there ends because the gateway is gone.
    pub(crate) is_dying: AtomicBool,
}

/// A connection that ended without its client wanting it.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    pub(crate) at: At,
    pub(crate) gateway: usize,
    /// How, in words: `closed with 1012 restarting`.
    pub(crate) how: String,
}

impl Entrance {
    pub(crate) fn new(url: String, gateway: usize) -> Entrance {
        Entrance {
            url,
            gateway,
            is_known: true,
            is_open: AtomicBool::new(true),
            is_dying: AtomicBool::new(false),
        }
    }

    /// The same, for those only who are sent there by name.
    pub(crate) fn unknown(self) -> Entrance {
        Entrance {
            is_known: false,
            ..self
        }
    }

    /// Whether a load balancer sends people there now.
    pub(crate) fn takes_people(&self) -> bool {
        self.is_known && self.is_open.load(Ordering::Relaxed)
    }
}

impl Shared {
    pub(crate) fn new(entrances: Vec<Entrance>, all_watch: bool) -> Shared {
        Shared {
            journal: Journal::start(),
            entrances,
            connecting: Semaphore::new(CONNECTING_MAX),
            all_watch,
            here: AtomicUsize::new(0),
            refusals: Mutex::default(),
            losses: Mutex::default(),
            said: Mutex::default(),
            connected: Mutex::default(),
        }
    }

    /// How a connection ends that breaks now.
    pub(crate) fn ending_at(&self, entrance: usize) -> Ending {
        match self.entrances[entrance].is_dying.load(Ordering::Relaxed) {
            true => Ending::NodeGone,
            false => Ending::Lost,
        }
    }

    /// An entrance that a load balancer would give somebody who has just been lost at `not_at`.
    pub(crate) fn another_entrance(&self, not_at: Option<usize>) -> Option<usize> {
        let open = |index: &usize| self.entrances[*index].takes_people();
        let all: Vec<usize> = (0..self.entrances.len()).filter(open).collect();
        let others: Vec<usize> = all
            .iter()
            .copied()
            .filter(|index| Some(*index) != not_at)
            .collect();
        let choice = if others.is_empty() { all } else { others };
        let index = fastrand::usize(..choice.len().max(1));
        choice.get(index).copied()
    }

    pub(crate) fn lose(&self, gateway: usize, how: String) {
        let at = self.journal.now();
        lock(&self.losses).push(Loss { at, gateway, how });
    }

    /// Notes why a gateway did not let a client in.
    pub(crate) fn refuse(&self, why: String) {
        lock(&self.refusals).push(why);
    }

    /// Why somebody was not let in, each time.
    pub(crate) fn refusals(&self) -> Vec<String> {
        lock(&self.refusals).clone()
    }

    /// The connections that ended by themselves.
    pub(crate) fn losses(&self) -> Vec<Loss> {
        lock(&self.losses).clone()
    }

    /// Notes that a gateway acknowledged a status message.
    pub(crate) fn acknowledge(&self, user: &str, message: String) {
        lock(&self.said).insert(user.to_owned(), message);
    }

    /// A device of a person has a healthy connection to that gateway, or none any more.
    pub(crate) fn connect(&self, user: &str, device: &str, gateway: Option<usize>) {
        let key = (user.to_owned(), device.to_owned());
        match gateway {
            Some(gateway) => lock(&self.connected).insert(key, gateway),
            None => lock(&self.connected).remove(&key),
        };
    }

    /// The gateway to which each device of each person has a healthy connection, by person and device.
    pub(crate) fn connected(&self) -> BTreeMap<(String, String), usize> {
        lock(&self.connected).clone()
    }

    /// The last acknowledged message of each person.
    pub(crate) fn acknowledged(&self) -> BTreeMap<String, String> {
        lock(&self.said).clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
