//! What happened in a run, in order: what the driver did with its sockets, and what its watchers were told.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The time since the run began.
pub(crate) type At = Duration;

/// A person of the run, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct User(pub(crate) u32);

/// Who looks at a room and says what they see, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Watcher(pub(crate) u32);

/// Which change of a person it is, from 1; 0 is as they came.
pub(crate) type Change = u32;

/// How a healthy connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ending {
    /// The client said goodbye.
    Left,
    /// It broke, and the gateway could see that.
    Lost,
    /// Nothing comes through any more, and nobody was told.
    HalfOpen,
    /// The gateway was killed or stopped.
    NodeGone,
}

/// One event of the run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fact {
    /// A socket of a person is healthy and asks to be in their room.
    Came(User),
    /// A socket of a person is healthy no more.
    Gone(User, Ending),
    /// A change that was due then is acknowledged.
    Made(User, Change, At),
    /// A watcher sees its room, from now on.
    Looks(Watcher),
    /// A watcher sees nothing, from now on.
    Blind(Watcher),
    /// A watcher received the whole state of a room.
    Whole(Watcher, Vec<(User, Change)>),
    /// A watcher was told that somebody came.
    Joined(Watcher, User, Change),
    /// A watcher was told that somebody looks different.
    Updated(Watcher, User, Change),
    /// A watcher was told that somebody is gone.
    Left(Watcher, User),
}

impl Fact {
    /// Whom it is about, if it is a fact about sockets.
    pub(crate) fn user(&self) -> Option<User> {
        match self {
            Fact::Came(user) | Fact::Gone(user, _) | Fact::Made(user, _, _) => Some(*user),
            _ => None,
        }
    }

    /// Who sees it, if it is something seen.
    pub(crate) fn watcher(&self) -> Option<Watcher> {
        match self {
            Fact::Came(_) | Fact::Gone(..) | Fact::Made(..) => None,
            Fact::Looks(watcher)
            | Fact::Blind(watcher)
            | Fact::Whole(watcher, _)
            | Fact::Joined(watcher, _, _)
            | Fact::Updated(watcher, _, _)
            | Fact::Left(watcher, _) => Some(*watcher),
        }
    }
}

/// Who is in which room, and who looks at which.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cast {
    /// The number of the room of each person.
    pub(crate) users: Vec<u32>,
    /// The number of the room of each watcher.
    pub(crate) watchers: Vec<u32>,
}

/// All facts of a run, each with its time.
pub(crate) struct Journal {
    start: Instant,
    facts: Mutex<Vec<(At, Fact)>>,
}

impl Journal {
    /// Starts an empty journal. The run begins now.
    pub(crate) fn start() -> Journal {
        Journal {
            start: Instant::now(),
            facts: Mutex::default(),
        }
    }

    /// The time since the run began.
    pub(crate) fn now(&self) -> At {
        self.start.elapsed()
    }

    /// The instant at which the run is `at` old.
    pub(crate) fn instant(&self, at: At) -> Instant {
        self.start + at
    }

    /// Notes facts that happened at the same time: now.
    pub(crate) fn note(&self, facts: impl IntoIterator<Item = Fact>) {
        let mut list = self.facts();
        // With the lock, so that times are in order.
        let now = self.now();
        list.extend(facts.into_iter().map(|fact| (now, fact)));
    }

    /// Locks the journal and returns all facts so far.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Vec<(At, Fact)>> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
