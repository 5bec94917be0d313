//! The numbers that the machines hold to, and the relations between them.

use std::fmt;
use std::time::Duration;

/// How many of each there may be. Every value is fine.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions of one user; one more is refused.
    pub sessions_max: usize,
    /// Channels one session is in; one more is refused.
    pub channels_max: usize,
    /// Facts that wait while a user's profile is being read; one more is refused.
    pub waiting_max: usize,
    /// People of a channel that are listed; a bigger one is summarised.
    pub listed_max: usize,
    /// People shown in a summary.
    pub faces_max: usize,
    /// People named in a list of who is typing.
    pub typing_max: usize,
    /// Cursors told in one tick; the others wait for the next.
    pub cursors_max: usize,
    /// Broadcasts of one channel in one tick; one more is refused.
    pub broadcasts_max: usize,
    /// Versions kept for those who come back; an older one gets a snapshot.
    pub versions_kept: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sessions_max: 64,
            channels_max: 100,
            waiting_max: 256,
            listed_max: 500,
            faces_max: 20,
            typing_max: 20,
            cursors_max: 64,
            broadcasts_max: 64,
            versions_kept: 32,
        }
    }
}

/// How long each thing lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    heartbeat: Duration,
    ttl: Duration,
    typing: Duration,
    grace: Duration,
}

/// Why a set of times does not fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimingError {
    /// A lost packet would log people out.
    TtlTooShort {
        /// What was asked for.
        ttl: Duration,
        /// What would do.
        at_least: Duration,
    },
    /// Zero, where something has to last.
    Zero(&'static str),
}

impl fmt::Display for TimingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TimingError::TtlTooShort { ttl, at_least } => write!(
                f,
                "a presence ttl of {ttl:?} is too short for the heartbeat interval: at least {at_least:?} would do"
            ),
            TimingError::Zero(what) => write!(f, "the {what} must not be zero"),
        }
    }
}

impl std::error::Error for TimingError {}

impl Timing {
    /// A background tab is heard from once a minute at best, so it may be silent that many times longer.
    pub const HIDDEN_FACTOR: u32 = 5;
    /// A tab that long in the background counts as idle.
    pub const HIDDEN_IDLE_AFTER: Duration = Duration::from_secs(5 * 60);
    /// A cursor that has not moved that long is forgotten.
    pub const CURSOR_TTL: Duration = Duration::from_secs(10);
    /// How often the last-seen time of a person who stays is kept. With what a connection may be silent before it is noted, and
    /// the way to the store, it is never more than five minutes old.
    pub const SEEN_EVERY: Duration = Duration::from_secs(4 * 60);
    /// How long a node counts as alive after it last said so. Longer than a store takes to replace a server that died, or
    /// everyone would leave.
    pub const LEASE: Duration = Duration::from_secs(15);
    /// How often a node says so.
    pub const RENEW_EVERY: Duration = Duration::from_secs(3);
    /// How long it waits for the answer.
    pub const RENEW_PATIENCE: Duration = Duration::from_millis(1500);
    /// When it tries again without one.
    pub const RENEW_AGAIN: Duration = Duration::from_millis(500);
    /// How long a session of the process before is kept for its client to come back, from when this process knows of it. A second
    /// more than the published Pusher client takes to try again after an attempt that was refused.
    pub const HELD: Duration = Duration::from_secs(16);
    /// A session whose connection was lost longer ago than that, before this process began or by its end, is not kept.
    pub const HELD_AFTER_MAX: Duration = Duration::from_secs(30);
    /// How often a process notes that it is alive, where its sessions are kept for the next one.
    pub const ALIVE_EVERY: Duration = Duration::from_secs(1);
    /// How often what is followed is compared with the store.
    pub const COMPARE_EVERY: Duration = Duration::from_secs(2);
    /// A topic speaks at most this often.
    pub const TICK: Duration = Duration::from_millis(50);
    /// A big one at most this often, and so does every summary.
    pub const TICK_MAX: Duration = Duration::from_secs(1);

    /// Times that fit together.
    ///
    /// - `heartbeat`: how often a client says that it is here.
    /// - `ttl`: how long it may be silent; at least two and a half heartbeats, so that one may be lost.
    /// - `typing`: how long a person types without saying so again.
    /// - `grace`: how long a vanished connection keeps its place; zero is fine.
    ///
    /// # Errors
    ///
    /// Names the relation that does not hold, and what would do.
    pub fn new(
        heartbeat: Duration,
        ttl: Duration,
        typing: Duration,
        grace: Duration,
    ) -> Result<Self, TimingError> {
        if heartbeat.is_zero() {
            return Err(TimingError::Zero("heartbeat interval"));
        }
        if typing.is_zero() {
            return Err(TimingError::Zero("typing ttl"));
        }
        let at_least = heartbeat * 5 / 2;
        if ttl < at_least {
            return Err(TimingError::TtlTooShort { ttl, at_least });
        }
        Ok(Timing {
            heartbeat,
            ttl,
            typing,
            grace,
        })
    }

    /// How often a client says that it is here.
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// How long a session may be silent.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// How long a person types without saying so again.
    pub fn typing(&self) -> Duration {
        self.typing
    }

    /// The same, but for how long a vanished connection keeps its place.
    pub(crate) fn with_grace(self, grace: Duration) -> Self {
        Timing { grace, ..self }
    }

    /// How long a vanished connection keeps its place.
    pub fn grace(&self) -> Duration {
        self.grace
    }
}

impl Default for Timing {
    /// Heartbeat 15 s, ttl 60 s, typing 5 s, grace 10 s: the numbers of the guarantees.
    fn default() -> Self {
        Timing {
            heartbeat: Duration::from_secs(15),
            ttl: Duration::from_secs(60),
            typing: Duration::from_secs(5),
            grace: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_that_would_log_people_out_is_refused_and_the_error_says_what_would_do() {
        let secs = Duration::from_secs;
        let error = Timing::new(secs(30), secs(60), secs(5), secs(10)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a presence ttl of 60s is too short for the heartbeat interval: at least 75s would do"
        );
        assert!(Timing::new(secs(30), secs(75), secs(5), secs(0)).is_ok());
    }
}
