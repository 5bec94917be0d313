//! The latest transitions of a node, of all users, for the operator's page.

use std::cmp::Ordering;
use std::fmt;

use super::{History, Transition};
use crate::Timestamp;

/// The number of transitions that a node returns to one question.
pub const RECENT_MAX: usize = 200;
/// The number of entries that one ring looks at for one question, from the newest on.
pub const LOOKED_AT_MAX: usize = 5_000;
/// The longest filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 256;

/// The most words of a filter.
pub const FILTER_WORDS_MAX: usize = 8;

/// The place of a transition among all that any node has recorded. They are ordered by time, then by node, ring and
/// position, so no two have the same place, and the places of one ring grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When it happened, by the clock of the node that recorded it.
    pub at: Timestamp,
    /// The process that recorded it: see [`Incarnation::node`](crate::cluster::Incarnation::node). 0 for a node that is
    /// alone.
    pub node: u64,
    /// Which of the rings of that node has it.
    pub ring: u32,
    /// Its position in the ring, counted from the first transition that was ever pushed.
    pub position: u64,
}

/// Which of the latest transitions are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentQuery {
    /// Only those that happened after this moment, by the clock of the node that recorded them.
    after: Timestamp,
    /// Only those with an earlier place.
    before: Option<Place>,
    /// Words in lower case. Each must be part of the user, the channel, what happened, its cause or its reason.
    words: Vec<String>,
}

/// Why a filter is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterRefused {
    /// It has more than [`FILTER_BYTES_MAX`] bytes.
    TooLong,
    /// It has more than [`FILTER_WORDS_MAX`] words.
    TooManyWords,
}

impl fmt::Display for FilterRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterRefused::TooLong => write!(f, "must not be longer than {FILTER_BYTES_MAX} bytes"),
            FilterRefused::TooManyWords => {
                write!(f, "must not have more than {FILTER_WORDS_MAX} words")
            }
        }
    }
}

/// A transition with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Its place among all transitions.
    pub place: Place,
    /// The transition at this place.
    pub transition: Transition,
}

/// The latest transitions that a node has recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// At most [`RECENT_MAX`], latest place first.
    pub transitions: Vec<Placed>,
    /// `transitions` has every match from the latest place down to this one. To get earlier ones, ask for those
    /// [before](RecentQuery::before) it. `None` if there is nothing earlier.
    pub reached: Option<Place>,
}

impl RecentQuery {
    /// Everything after `after` in which each word of `filter` occurs.
    ///
    /// # Errors
    ///
    /// [`FilterRefused`] if the filter has too many bytes or words.
    pub fn new(after: Timestamp, filter: &str) -> Result<Self, FilterRefused> {
        // Lower-case letters may take more bytes, and nodes that are asked count them again.
        let filter = filter.to_lowercase();
        if filter.len() > FILTER_BYTES_MAX {
            return Err(FilterRefused::TooLong);
        }
        let words: Vec<String> = filter.split_whitespace().map(str::to_owned).collect();
        if words.len() > FILTER_WORDS_MAX {
            return Err(FilterRefused::TooManyWords);
        }
        Ok(RecentQuery {
            after,
            before: None,
            words,
        })
    }

    /// The same query for what has an earlier place than `before`.
    pub fn before(self, before: Option<Place>) -> Self {
        RecentQuery { before, ..self }
    }

    /// The moment after which transitions are wanted.
    pub fn after(&self) -> Timestamp {
        self.after
    }

    /// The place before which transitions are wanted, if it is not all of them.
    pub fn ends_before(&self) -> Option<Place> {
        self.before
    }

    /// The words of the filter, with a space between two.
    pub fn filter(&self) -> String {
        self.words.join(" ")
    }

    /// Whether each word of the filter occurs in `transition`.
    pub fn wants(&self, transition: &Transition) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let channel = transition.channel.as_ref().map(|it| it.as_str());
        let reason = transition.what.reason().map(|it| it.as_str());
        let texts = [
            transition.user.as_str(),
            channel.unwrap_or(""),
            transition.what.as_str(),
            transition.cause.as_str(),
            reason.unwrap_or(""),
        ];
        // No word has a line feed, so none goes from one text to the next.
        let text = texts.join("\n").to_lowercase();
        self.words.iter().all(|word| text.contains(word.as_str()))
    }
}

impl Recent {
    /// Puts the latest of several rings or nodes together.
    pub fn merged(all: impl IntoIterator<Item = Recent>) -> Self {
        let mut merged = Recent::default();
        for recent in all {
            merged.transitions.extend(recent.transitions);
            // Below this, one of them may have something that it has not returned.
            merged.reached = merged.reached.max(recent.reached);
        }
        if let Some(reached) = merged.reached {
            merged.transitions.retain(|it| it.place >= reached);
        }
        merged
            .transitions
            .sort_by_key(|it| std::cmp::Reverse(it.place));
        merged.cut(RECENT_MAX);
        merged
    }

    /// Leaves out all but the latest `max`.
    pub fn cut(&mut self, max: usize) {
        if self.transitions.len() > max {
            self.transitions.truncate(max);
            self.reached = self.transitions.last().map(|it| it.place);
        }
    }

    /// The part of an answer that `query` wants: a node of an earlier release may have returned the latest
    /// transitions without looking at the filter.
    pub fn wanted_by(mut self, query: &RecentQuery) -> Self {
        if let Some(before) = query.before {
            self.transitions.retain(|it| it.place < before);
            self.reached = self.reached.filter(|it| *it < before);
        }
        self
    }
}

impl History {
    /// The latest transitions that `query` wants. It looks at no more than [`LOOKED_AT_MAX`] entries. `node` and `ring`
    /// say which ring this is, in [`Place`].
    pub fn recent(&self, query: &RecentQuery, node: u64, ring: u32) -> Recent {
        let mut found = Recent::default();
        let end = self.end_before(query.before, (node, ring));
        let newest = self.entries.range(..end).enumerate().rev();
        let newest = newest.take_while(|(_, it)| it.at > query.after);
        let mut last = None;
        for (looked_at, (index, entry)) in newest.enumerate() {
            if looked_at == LOOKED_AT_MAX || found.transitions.len() == RECENT_MAX {
                found.reached = last;
                break;
            }
            let place = Place {
                at: entry.at,
                node,
                ring,
                position: self.first + index as u64,
            };
            last = Some(place);
            let wanted = entry.transition.as_ref().filter(|it| query.wants(it));
            found.transitions.extend(
                wanted
                    .cloned()
                    .map(|transition| Placed { place, transition }),
            );
        }
        found
    }

    /// The number of entries of this ring, from the oldest on, that have an earlier place than `before`.
    fn end_before(&self, before: Option<Place>, of: (u64, u32)) -> usize {
        let Some(before) = before else {
            return self.entries.len();
        };
        let earlier = self.entries.partition_point(|it| it.at < before.at);
        let not_later = self.entries.partition_point(|it| it.at <= before.at);
        match of.cmp(&(before.node, before.ring)) {
            Ordering::Less => not_later,
            Ordering::Greater => earlier,
            Ordering::Equal => {
                let index = before.position.saturating_sub(self.first);
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                index.clamp(earlier, not_later)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Cause, TransitionKind};
    use crate::{ChannelId, Reason, SessionId, UserId};

    fn transition(at: u64, user: &str, what: TransitionKind) -> Transition {
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
        let found = history.recent(&query, 1, 0).transitions;
        found.iter().map(|it| it.place.at.as_millis()).collect()
    }

    #[test]
    fn the_newest_come_first_and_each_word_has_to_occur() {
        let left = TransitionKind::Left(Reason::TimedOut);
        let history = ring(
            [
                transition(1, "ann", TransitionKind::Joined),
                transition(2, "Bob", TransitionKind::Joined),
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
        let mut history = ring((1..4).map(|at| transition(at, "ann", TransitionKind::Joined)));
        history.push(transition(4, "bob", TransitionKind::Joined));
        history.erase(&UserId::new("ann").unwrap());
        assert_eq!(found(&history, 0, ""), [4]);
    }

    #[test]
    fn the_answer_and_the_work_for_it_have_a_bound_and_it_says_so() {
        let many = RECENT_MAX as u64 + 1;
        let history = ring((0..many).map(|at| transition(at + 1, "ann", TransitionKind::Joined)));
        let all = RecentQuery::default();
        let recent = history.recent(&all, 1, 0);
        let reached = recent.reached.map(|it| it.at.as_millis());
        assert_eq!((recent.transitions.len(), reached), (RECENT_MAX, Some(2)));
        let none = LOOKED_AT_MAX as u64;
        let history = ring(
            std::iter::once(transition(1, "bob", TransitionKind::Joined))
                .chain((0..none).map(|at| transition(at + 2, "ann", TransitionKind::Joined))),
        );
        let bob = RecentQuery::new(Timestamp::default(), "bob").unwrap();
        let recent = history.recent(&bob, 1, 0);
        assert_eq!(recent.transitions, []);
        // The next question goes on where this one ended.
        let next = history.recent(&bob.before(recent.reached), 1, 0);
        assert_eq!((next.transitions.len(), next.reached), (1, None));

        let merged = Recent::merged([history.recent(&all, 1, 0), history.recent(&all, 1, 1)]);
        assert_eq!(merged.transitions.len(), RECENT_MAX);
        assert!(
            merged
                .transitions
                .is_sorted_by_key(|it| std::cmp::Reverse(it.place))
        );
    }

    #[test]
    fn a_filter_has_a_bound_in_bytes_and_in_words() {
        let refused = |filter: &str| RecentQuery::new(Timestamp::default(), filter).err();
        let long = "a".repeat(FILTER_BYTES_MAX);
        assert_eq!(refused(&long), None);
        assert_eq!(refused(&(long + "a")), Some(FilterRefused::TooLong));
        let many = " a ".repeat(FILTER_WORDS_MAX);
        assert_eq!(refused(&many), None);
        assert_eq!(refused(&(many + "a")), Some(FilterRefused::TooManyWords));
        // A word is in one of the texts.
        let joined = transition(1, "ann", TransitionKind::Joined);
        let wants = |filter: &str| {
            let query = RecentQuery::new(Timestamp::default(), filter).unwrap();
            query.wants(&joined)
        };
        assert!(wants("joined") && !wants("annroom") && !wants("lobbyjoined"));
    }

    /// Several rings of two nodes, in which many things happen at the same moment.
    fn rings() -> Vec<(u64, u32, History)> {
        let places = [(7, 0), (7, 1), (9, 0)];
        let rings = places.map(|(node, ring)| {
            let all = (0..700_u64).map(|n| {
                let user = format!("{node}-{ring}-{n}");
                transition(n / 250 + 1, &user, TransitionKind::Joined)
            });
            (node, ring, self::ring(all))
        });
        rings.into()
    }

    /// Asks until there is nothing earlier, as a reader of pages does.
    fn pages(
        rings: &mut [(u64, u32, History)],
        filter: &str,
        max: usize,
        mut between: impl FnMut(&mut [(u64, u32, History)], usize),
    ) -> Vec<Placed> {
        let query = RecentQuery::new(Timestamp::default(), filter).unwrap();
        let mut all = Vec::new();
        let mut before = None;
        for page in 0..10_000 {
            let query = query.clone().before(before);
            let answers = rings
                .iter()
                .map(|(node, ring, it)| it.recent(&query, *node, *ring));
            let mut answer = Recent::merged(answers);
            answer.cut(max);
            all.extend(answer.transitions);
            let Some(reached) = answer.reached else {
                return all;
            };
            assert!(before.is_none_or(|it| reached < it), "it goes on");
            before = Some(reached);
            between(rings, page);
        }
        panic!("it has no end");
    }

    #[test]
    fn who_asks_on_gets_everything_once_and_in_order() {
        for (filter, max, count) in [
            ("", 200, 2100),
            ("", 7, 2100),
            ("9-0-1", 200, 111),
            ("none", 5, 0),
        ] {
            let all = pages(&mut rings(), filter, max, |_, _| {});
            assert_eq!(all.len(), count, "{filter:?} {max}");
            assert!(
                all.is_sorted_by(|a, b| a.place > b.place),
                "{filter:?} {max}"
            );
        }
    }

    #[test]
    fn what_happens_or_is_erased_meanwhile_does_not_disturb_who_asks_on() {
        let mut n = 0;
        let all = pages(&mut rings(), "", 50, |rings, page| {
            for (_, _, history) in rings {
                n += 1;
                history.push(transition(9, &format!("new-{n}"), TransitionKind::Joined));
                history.erase(&UserId::new(&format!("9-0-{}", 699 - page)).unwrap());
            }
        });
        let mut users: Vec<&str> = all.iter().map(|it| it.transition.user.as_str()).collect();
        users.sort_unstable();
        users.dedup();
        assert_eq!(users.len(), all.len(), "nobody comes twice");
        let of = |ring: &str| users.iter().filter(|it| it.starts_with(ring)).count();
        assert_eq!([of("7-0-"), of("7-1-"), of("new")], [700, 700, 0]);
    }
}
