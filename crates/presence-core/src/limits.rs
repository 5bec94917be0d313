//! The limits and times of the state machines, and the relations between them.

use std::fmt;
use std::time::Duration;

/// How many there may be of each thing. Every value is valid.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Sessions of one user, on all nodes; a further one is refused with [`Refusal::TooMany`](crate::Refusal::TooMany).
    pub sessions_max: usize,
    /// Channels that one session is in; a further one is refused with [`Refusal::TooMany`](crate::Refusal::TooMany).
    pub channels_max: usize,
    /// Inputs that wait while a user's profile is being read; a further one is
    /// refused with [`Refusal::Unavailable`](crate::Refusal::Unavailable).
    pub waiting_max: usize,
    /// People in a channel that is listed; a channel with more is summarised.
    pub listed_max: usize,
    /// People that a summary shows.
    pub faces_max: usize,
    /// Users that a list of who is typing names.
    pub typing_max: usize,
    /// Cursors of one channel that are told within [`Timing::RATE_WINDOW`]; the others follow after that time.
    pub cursors_max: usize,
    /// Broadcasts of one channel that a node accepts within [`Timing::RATE_WINDOW`]; a further one is
    /// refused with [`Refusal::TooFast`](crate::Refusal::TooFast).
    pub broadcasts_max: usize,
    /// The number of versions of a topic that are kept for watchers who come back; a watcher with an older version
    /// gets the whole state. Of a topic that changes more often than once within [`Timing::RATE_WINDOW`], all versions of
    /// the last `versions_kept` times that span are kept: by default those of the last 1.6 s.
    pub versions_kept: usize,
    /// Windows that one session has open, on all topics; the session's handle refuses a further one with
    /// [`Refusal::TooMany`](crate::Refusal::TooMany).
    pub windows_max: usize,
    /// Different windows that are open on one topic on one node; a further one is refused
    /// with [`Refusal::TooMany`](crate::Refusal::TooMany). Any number of sessions may have equal windows.
    pub topic_windows_max: usize,
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
            windows_max: 8,
            topic_windows_max: 1024,
        }
    }
}

/// How often a topic sends its changes to its watchers. A change after a quiet time is always sent at once; this is
/// about the changes that follow it. A topic that is too big to list sends at most one event in [`Timing::TICK_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tick {
    /// As often as the node keeps up. The shortest time between two events is [`Timing::FLOOR_PER_PERSON`] for each
    /// person in the topic, because an event is sent to each of them. The same time is added for each message and
    /// connection that waits on this node, up to [`Timing::BACKLOG_MAX`] in all. The changes of this time become one
    /// event.
    #[default]
    Auto,
    /// At most once in this time; in a topic of 500 people half as often, of 750 a third as often, and so on.
    Fixed(Duration),
}

/// How long things last. The relations between these times are checked by [`Timing::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    heartbeat: Duration,
    ttl: Duration,
    typing: Duration,
    grace: Duration,
    tick: Tick,
}

/// Why a set of times is not valid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TimingError {
    /// The ttl is so short that one lost heartbeat could end a session.
    TtlTooShort {
        /// The ttl that was asked for.
        ttl: Duration,
        /// The shortest ttl that is valid with this heartbeat interval.
        at_least: Duration,
    },
    /// A time is zero that must not be: the one with this name.
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
    /// How many times longer than the ttl a session in the background may be silent: browsers let such a tab send once
    /// a minute at best.
    pub const HIDDEN_FACTOR: u32 = 5;
    /// How long a session is in the background before it counts as idle.
    pub const HIDDEN_IDLE_AFTER: Duration = Duration::from_secs(5 * 60);
    /// How long a cursor is kept that does not move.
    pub const CURSOR_TTL: Duration = Duration::from_secs(10);
    /// How often the last-seen time of a visible user is stored. Together with the time for which a connection may be
    /// silent, and the way to the store, the stored time is never more than five minutes old.
    pub const SEEN_EVERY: Duration = Duration::from_secs(4 * 60);
    /// How long a node counts as alive after it last renewed its lease. It is longer than a store needs to replace a
    /// server that died: otherwise everybody would be shown leaving meanwhile.
    pub const LEASE: Duration = Duration::from_secs(15);
    /// How long a node that stood still reads what was sent to it meanwhile. If it was declared dead, it does not write its
    /// sessions again before: it may hear that their connections have ended.
    pub const AWAKE_AFTER: Duration = Duration::from_secs(1);
    /// How often a node renews its lease.
    pub const RENEW_EVERY: Duration = Duration::from_secs(3);
    /// How long a node waits for the answer to a renewal.
    pub const RENEW_PATIENCE: Duration = Duration::from_millis(1500);
    /// How long after a renewal without an answer a node tries again.
    pub const RENEW_AGAIN: Duration = Duration::from_millis(500);
    /// How long a session of the earlier process is held for its client, from when this process knows about it. It is a
    /// second longer than the published Pusher client waits after an attempt that was refused.
    pub const HELD: Duration = Duration::from_secs(16);
    /// A session is not held if its connection was lost longer than this before the earlier process ended, or before
    /// this one began.
    pub const HELD_AFTER_MAX: Duration = Duration::from_secs(30);
    /// How often a process stores that it is alive, where its sessions are kept for the next process.
    pub const ALIVE_EVERY: Duration = Duration::from_secs(1);
    /// How often a node compares what it follows with the store.
    pub const COMPARE_EVERY: Duration = Duration::from_secs(2);
    /// The span of time in which cursors, broadcasts, and starts and ends of typing are counted against their limits.
    pub const RATE_WINDOW: Duration = Duration::from_millis(50);
    /// With [`Tick::Auto`], the shortest time between two events of a topic, for each person in it. The event is sent
    /// to each of them, so a topic uses at most about a quarter of a core, however often it changes.
    pub const FLOOR_PER_PERSON: Duration = Duration::from_micros(50);
    /// With [`Tick::Auto`], the longest time by which a backlog of the node delays an event of a topic.
    pub const BACKLOG_MAX: Duration = Duration::from_millis(50);
    /// The shortest time between two events of a topic that is too big to list, and between two summaries. No topic
    /// waits longer because of the number of people in it.
    pub const TICK_MAX: Duration = Duration::from_secs(1);

    /// Checks that the times fit together.
    ///
    /// - `heartbeat`: how often a client reports that it is alive; not zero.
    /// - `ttl`: how long a client may be silent; at least two and a half heartbeats, so that one may be lost.
    /// - `typing`: how long a user counts as typing after each report; not zero.
    /// - `grace`: how long a session is kept after its connection broke; it may be zero.
    ///
    /// # Errors
    ///
    /// [`TimingError`] names the time that is wrong, and the smallest valid one.
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
            tick: Tick::default(),
        })
    }

    /// The same times with another tick; [`Tick::Auto`] is the default.
    #[must_use]
    pub fn with_tick(self, tick: Tick) -> Self {
        Timing { tick, ..self }
    }

    /// How often a topic tells its watchers what has changed.
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// How often a client reports that it is alive.
    pub fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// How long a session may be silent before it counts as lost.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// How long a user counts as typing after each report.
    pub fn typing(&self) -> Duration {
        self.typing
    }

    /// The same times with another grace time.
    pub(crate) fn with_grace(self, grace: Duration) -> Self {
        Timing { grace, ..self }
    }

    /// How long a session is kept after its connection broke.
    pub fn grace(&self) -> Duration {
        self.grace
    }
}

impl Default for Timing {
    /// Heartbeat 15 s, ttl 60 s, typing 5 s, grace 10 s. The guarantees are stated for these.
    fn default() -> Self {
        Timing {
            heartbeat: Duration::from_secs(15),
            ttl: Duration::from_secs(60),
            typing: Duration::from_secs(5),
            grace: Duration::from_secs(10),
            tick: Tick::Auto,
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
