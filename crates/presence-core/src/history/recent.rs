//! The latest transitions of a node, of all users, for an operator who looks on.

use super::{History, Transition};
use crate::Timestamp;

/// The number of transitions that a node returns to one question.
pub const RECENT_MAX: usize = 200;
/// The number of entries that one ring looks at for one question, from the newest on.
pub const LOOKED_AT_MAX: usize = 5_000;
/// The longest filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 256;

/// Which of the latest transitions are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentQuery {
    /// Only those that happened after this moment, by the clock of the node that recorded them.
    after: Timestamp,
    /// Words in lower case. Each must be part of the user, the channel, what happened, its cause or its reason.
    words: Vec<String>,
}

/// The filter is longer than [`FILTER_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterTooLong;

/// The latest transitions that a node has recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// At most [`RECENT_MAX`], newest first.
    pub transitions: Vec<Transition>,
    /// Whether there may be more of them than were returned.
    pub is_cut: bool,
}

impl RecentQuery {
    /// Everything after `after` in which each word of `filter` occurs.
    ///
    /// # Errors
    ///
    /// [`FilterTooLong`] if the filter has more than [`FILTER_BYTES_MAX`] bytes.
    pub fn new(after: Timestamp, filter: &str) -> Result<Self, FilterTooLong> {
        // Lower-case letters may take more bytes, and nodes that are asked count them again.
        let filter = filter.to_lowercase();
        if filter.len() > FILTER_BYTES_MAX {
            return Err(FilterTooLong);
        }
        let words = filter.split_whitespace().map(str::to_owned);
        Ok(RecentQuery {
            after,
            words: words.collect(),
        })
    }

    /// The moment after which transitions are wanted.
    pub fn after(&self) -> Timestamp {
        self.after
    }

    /// The words of the filter, with a space between two.
    pub fn filter(&self) -> String {
        self.words.join(" ")
    }

    /// Whether each word of the filter occurs in `transition`.
    pub fn wants(&self, transition: &Transition) -> bool {
        let channel = transition.channel.as_ref().map(|it| it.as_str());
        let reason = transition.what.reason().map(|it| it.as_str());
        let texts = [
            Some(transition.user.as_str()),
            channel,
            Some(transition.what.as_str()),
            Some(transition.cause.as_str()),
            reason,
        ];
        let occurs = |word: &String| {
            let mut texts = texts.iter().flatten();
            texts.any(|text| text.to_lowercase().contains(word.as_str()))
        };
        self.words.iter().all(occurs)
    }
}

impl Recent {
    /// Puts the latest of several rings or nodes together.
    pub fn merged(all: impl IntoIterator<Item = Recent>) -> Self {
        let mut merged = Recent::default();
        for recent in all {
            merged.transitions.extend(recent.transitions);
            merged.is_cut |= recent.is_cut;
        }
        // The sort is stable: what one ring recorded at one moment stays in its order.
        merged
            .transitions
            .sort_by_key(|it| std::cmp::Reverse(it.at));
        merged.is_cut |= merged.transitions.len() > RECENT_MAX;
        merged.transitions.truncate(RECENT_MAX);
        merged
    }
}

impl History {
    /// The latest transitions that `query` wants. It looks at no more than [`LOOKED_AT_MAX`] entries.
    pub fn recent(&self, query: &RecentQuery) -> Recent {
        let mut found = Recent::default();
        let newest = self.entries.iter().rev();
        let newest = newest.take_while(|it| it.at > query.after);
        for (looked_at, entry) in newest.enumerate() {
            if looked_at == LOOKED_AT_MAX || found.transitions.len() == RECENT_MAX {
                found.is_cut = true;
                break;
            }
            let wanted = entry.transition.as_ref().filter(|it| query.wants(it));
            found.transitions.extend(wanted.cloned());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Cause, What};
    use crate::{ChannelId, Reason, SessionId, UserId};

    fn transition(at: u64, user: &str, what: What) -> Transition {
        Transition {
            at: Timestamp::from_millis(at),
            user: UserId::new(user).unwrap(),
            session: Some(SessionId::from_u128(1)),
            channel: Some(ChannelId::new("room:Lobby").unwrap()),
            what,
            cause: Cause::GraceOver,
        }
    }

    fn ring(transitions: impl Iterator<Item = Transition>) -> History {
        let mut history = History::new(16 << 20, None);
        for it in transitions {
            history.push(it);
        }
        history
    }

    fn found(history: &History, after: u64, filter: &str) -> Vec<u64> {
        let query = RecentQuery::new(Timestamp::from_millis(after), filter).unwrap();
        let found = history.recent(&query).transitions;
        found.iter().map(|it| it.at.as_millis()).collect()
    }

    #[test]
    fn the_newest_come_first_and_each_word_has_to_occur() {
        let left = What::Left(Reason::TimedOut);
        let history = ring(
            [
                transition(1, "ann", What::Joined),
                transition(2, "Bob", What::Joined),
                transition(3, "ann", left),
            ]
            .into_iter(),
        );
        assert_eq!(found(&history, 0, ""), [3, 2, 1]);
        assert_eq!(found(&history, 2, ""), [3]);
        assert_eq!(found(&history, 3, ""), [0_u64; 0]);
        assert_eq!(found(&history, 0, "ANN"), [3, 1]);
        assert_eq!(found(&history, 0, " joined  bob "), [2]);
        assert_eq!(found(&history, 0, "room:lobby grace_over"), [3, 2, 1]);
        assert_eq!(found(&history, 0, "timed_out"), [3]);
        assert_eq!(found(&history, 0, "ann bob"), [0_u64; 0]);
    }

    #[test]
    fn who_was_erased_is_not_in_it() {
        let mut history = ring((1..4).map(|at| transition(at, "ann", What::Joined)));
        history.push(transition(4, "bob", What::Joined));
        history.erase(&UserId::new("ann").unwrap());
        assert_eq!(found(&history, 0, ""), [4]);
    }

    #[test]
    fn the_answer_and_the_work_for_it_have_a_bound_and_it_says_so() {
        let many = RECENT_MAX as u64 + 1;
        let history = ring((0..many).map(|at| transition(at + 1, "ann", What::Joined)));
        let all = RecentQuery::default();
        let recent = history.recent(&all);
        assert_eq!(
            (recent.transitions.len(), recent.is_cut),
            (RECENT_MAX, true)
        );
        let none = LOOKED_AT_MAX as u64;
        let history = ring(
            std::iter::once(transition(1, "bob", What::Joined))
                .chain((0..none).map(|at| transition(at + 2, "ann", What::Joined))),
        );
        let bob = RecentQuery::new(Timestamp::default(), "bob").unwrap();
        let recent = history.recent(&bob);
        assert_eq!((recent.transitions.len(), recent.is_cut), (0, true));

        let merged = Recent::merged([history.recent(&all), history.recent(&all)]);
        assert_eq!(merged.transitions.len(), RECENT_MAX);
        assert!(
            merged
                .transitions
                .is_sorted_by_key(|it| std::cmp::Reverse(it.at))
        );
        let long = "a".repeat(FILTER_BYTES_MAX + 1);
        let refused = RecentQuery::new(Timestamp::default(), &long);
        assert_eq!(refused, Err(FilterTooLong));
    }
}
