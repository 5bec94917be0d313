//! What this gateway remembers of the others: when each last answered, which question it left unanswered, and whether it
//! stopped on purpose.

use std::collections::HashMap;
use std::time::Duration;

use presence_core::Timestamp;
use presence_core::cluster::Incarnation;
use presence_redis::Goodbye;

/// The most gateways that are remembered. When there are more, all are forgotten, and remembered again as they are asked.
const PEERS_MAX: usize = 1_000;
/// If this long passes between two unanswered questions, the first one no longer counts, because the gateway may have
/// answered others meanwhile.
const UNASKED_MAX: Duration = Duration::from_secs(10);

/// What this gateway remembers of all others.
#[derive(Debug, Default)]
pub(super) struct Peers(HashMap<Incarnation, Peer>);

/// What this gateway remembers of another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The last answer of the gateway, if it has ever answered.
    pub(crate) heard: Option<Heard>,
    /// When the first question was asked that it has not answered since its last answer.
    pub(crate) unanswered_since: Option<Timestamp>,
    /// What it has said of its stop.
    pub(crate) goodbye: Option<Goodbye>,
    /// When the last question was asked that it has not answered.
    pub(crate) unanswered_last: Timestamp,
}

/// The last answer of another gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// When the answer arrived.
    pub(crate) at: Timestamp,
    /// Whether the gateway was stopping.
    pub(crate) is_draining: bool,
    /// When its process started.
    pub(crate) started_at_ms: u64,
}

impl Peers {
    /// What is remembered of `who`.
    pub(super) fn peer(&self, who: Incarnation) -> Peer {
        self.0.get(&who).copied().unwrap_or_default()
    }

    /// Notes that `who` has answered.
    pub(super) fn answered(&mut self, who: Incarnation, heard: Heard) -> Peer {
        let peer = self.entry(who);
        peer.heard = Some(heard);
        peer.unanswered_since = None;
        *peer
    }

    /// Notes that `who` has not answered what was asked at `asked_at`.
    pub(super) fn did_not_answer(&mut self, who: Incarnation, asked_at: Timestamp) -> Peer {
        let peer = self.entry(who);
        // Somebody else may have asked later, and got an answer.
        if peer.heard.is_none_or(|it| it.at < asked_at) {
            let is_anew = asked_at.since(peer.unanswered_last) >= UNASKED_MAX;
            let since = peer.unanswered_since.filter(|_| !is_anew);
            peer.unanswered_since = Some(since.map_or(asked_at, |it| it.min(asked_at)));
            peer.unanswered_last = peer.unanswered_last.max(asked_at);
        }
        *peer
    }

    /// Notes what `who` has said of its stop.
    pub(super) fn said_goodbye(&mut self, who: Incarnation, goodbye: Goodbye) {
        self.entry(who).goodbye = Some(goodbye);
    }

    /// Whether `who` is known to have stopped, which is final.
    pub(super) fn has_stopped(&self, who: Incarnation) -> bool {
        matches!(self.peer(who).goodbye, Some(Goodbye::Stopped(_)))
    }

    fn entry(&mut self, who: Incarnation) -> &mut Peer {
        if self.0.len() >= PEERS_MAX && !self.0.contains_key(&who) {
            self.0.clear();
        }
        self.0.entry(who).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Incarnation = Incarnation {
        node: 7,
        generation: 0,
    };

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + seconds * 1000)
    }

    fn heard(seconds: u64) -> Heard {
        Heard {
            at: at(seconds),
            is_draining: false,
            started_at_ms: 1_000_000,
        }
    }

    #[test]
    fn silence_counts_from_the_first_question_that_was_not_answered() {
        let mut peers = Peers::default();
        let mut silent = |asked| peers.did_not_answer(WHO, at(asked)).unanswered_since;
        assert_eq!(silent(5), Some(at(5)), "nobody has heard of it before");
        assert_eq!(silent(7), Some(at(5)));
        // Of two operators the one may have asked before the other, and be told later.
        assert_eq!(silent(4), Some(at(4)));
        assert_eq!(peers.answered(WHO, heard(8)).unanswered_since, None);
        let mut silent = |asked| peers.did_not_answer(WHO, at(asked)).unanswered_since;
        assert_eq!(silent(7), None, "a later question was answered");
        // An hour in which nobody has asked.
        assert_eq!(silent(3608), Some(at(3608)));
        assert_eq!(silent(3610), Some(at(3608)));
    }

    #[test]
    fn a_question_unanswered_long_ago_says_nothing_of_the_time_since() {
        let mut peers = Peers::default();
        peers.answered(WHO, heard(0));
        let mut silent = |asked| peers.did_not_answer(WHO, at(asked)).unanswered_since;
        assert_eq!(silent(1), Some(at(1)));
        assert_eq!(silent(10), Some(at(1)));
        assert_eq!(silent(20), Some(at(20)));
    }

    #[test]
    fn there_is_a_bound_and_who_stopped_has_stopped() {
        let mut peers = Peers::default();
        peers.said_goodbye(WHO, Goodbye::Stopping(at(1)));
        assert!(!peers.has_stopped(WHO));
        peers.said_goodbye(WHO, Goodbye::Stopped(at(2)));
        assert!(peers.has_stopped(WHO));
        for node in 0..2 * PEERS_MAX as u64 {
            let who = Incarnation { node, ..WHO };
            peers.answered(who, heard(1));
            assert!(peers.0.len() <= PEERS_MAX);
        }
    }
}
