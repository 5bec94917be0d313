//! Decides before the run which member makes a change when, so that nothing that happens in the run can
//! move an arrival.

use std::fmt;
use std::time::Duration;

use presence_client::wire::Json;
use serde_json::json;

/// Identifies a change. It is part of the name that the change shows, so that a reader of any dialect knows which
/// change it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The number of the member who makes the change.
    pub(crate) member: usize,
    /// The number of the change among those of this member, from 0.
    pub(crate) change: usize,
}

impl Mark {
    const PREFIX: &str = "mark-";

    /// The meta that a member sends with this change.
    pub(crate) fn meta(self) -> Json {
        Json::of(&json!({ "name": self.to_string() })).expect("a name is JSON")
    }

    /// All marks that occur in `text`.
    pub(crate) fn all_in(text: &str) -> impl Iterator<Item = Mark> {
        text.split(Mark::PREFIX).skip(1).filter_map(|rest| {
            let (member, rest) = rest.split_once('-')?;
            let end = rest.find(|it: char| !it.is_ascii_digit());
            let change = &rest[..end.unwrap_or(rest.len())];
            Some(Mark {
                member: member.parse().ok()?,
                change: change.parse().ok()?,
            })
        })
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}-{}", Mark::PREFIX, self.member, self.change)
    }
}

/// When the changes of each member are due, counted from the start.
#[derive(Debug)]
pub(crate) struct Schedule {
    due: Vec<Vec<Duration>>,
}

impl Schedule {
    /// Draws `rate` changes a second for `seconds`, evenly spaced, each by a random one of `members`.
    pub(crate) fn draw(members: usize, rate: f64, seconds: f64, seed: u64) -> Self {
        let mut due = vec![Vec::new(); members];
        let mut random = Random(seed);
        for n in 0..(rate * seconds) as usize {
            let member = random.below(members);
            due[member].push(Duration::from_secs_f64(n as f64 / rate));
        }
        Schedule { due }
    }

    /// `changes` changes in `seconds`, evenly spaced, all by member 0.
    pub(crate) fn even(changes: usize, seconds: f64) -> Self {
        let every = seconds / changes.max(1) as f64;
        let due = (0..changes).map(|n| Duration::from_secs_f64(n as f64 * every));
        Schedule {
            due: vec![due.collect()],
        }
    }

    /// When the changes of `member` are due.
    pub(crate) fn of(&self, member: usize) -> &[Duration] {
        self.due.get(member).map_or(&[], Vec::as_slice)
    }

    /// How many changes there are in all.
    pub(crate) fn len(&self) -> usize {
        self.due.iter().map(Vec::len).sum()
    }

    /// The last change of each member of `members` who makes any.
    pub(crate) fn last(&self, members: impl Iterator<Item = usize>) -> Vec<Mark> {
        members
            .filter_map(|member| {
                let change = self.of(member).len().checked_sub(1)?;
                Some(Mark { member, change })
            })
            .collect()
    }
}

/// The random number generator SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_schedule_again() {
        let draw = |seed| Schedule::draw(10, 200.0, 5.0, seed);
        assert_eq!(draw(1).due, draw(1).due);
        assert_ne!(draw(1).due, draw(2).due);
        assert_eq!(draw(1).len(), 1000);
        assert_eq!(draw(1).last(0..10).len(), 10);
    }

    #[test]
    fn a_mark_is_found_again_in_whatever_shows_it() {
        let marks = [(3, 17), (0, 0)].map(|(member, change)| Mark { member, change });
        let [a, b] = marks.map(|it| it.meta().as_str().to_owned());
        let text = format!(r#"["{}",{b},"mark-x-1 mark-1"]"#, a.replace('"', r#"\""#));
        assert!(Mark::all_in(&text).eq(marks), "{text}");
    }
}
