//! When people were really here, computed from the sockets that the driver held.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::journal::{At, Change, Ending, Fact, User};

/// A time in which a person was here without a break that others may notice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Visit {
    /// When their first socket asked to be there.
    pub(crate) from: At,
    /// When their last socket ended, and how, if it has.
    pub(crate) until: Option<(At, Ending)>,
}

/// What is true of one person.
#[derive(Clone, Debug, Default)]
pub(crate) struct Life {
    /// The stays of the person, in the order in which they began.
    pub(crate) visits: Vec<Visit>,
    /// When each change was due, and when it was acknowledged.
    pub(crate) changes: Vec<(Change, At, At)>,
    sockets: usize,
}

/// The lives of all people in `facts`. A break shorter than `grace` that was no goodbye is none.
pub(crate) fn lives<'a>(
    facts: impl Iterator<Item = &'a (At, Fact)>,
    grace: Duration,
) -> BTreeMap<User, Life> {
    let mut lives: BTreeMap<User, Life> = BTreeMap::new();
    for (at, fact) in facts {
        let Some(user) = fact.user() else { continue };
        let life = lives.entry(user).or_default();
        match fact {
            Fact::Came(_) => life.come(*at, grace),
            Fact::Gone(_, ending) => life.go(*at, *ending),
            Fact::Made(_, change, due) => life.changes.push((*change, *due, *at)),
            _ => {}
        }
    }
    lives
}

impl Life {
    fn come(&mut self, at: At, grace: Duration) {
        self.sockets += 1;
        if self.sockets > 1 {
            return;
        }
        match self.visits.last_mut() {
            Some(last) if last.may_go_on(at, grace) => last.until = None,
            _ => self.visits.push(Visit {
                from: at,
                until: None,
            }),
        }
    }

    fn go(&mut self, at: At, ending: Ending) {
        assert!(self.sockets > 0, "a socket ended that was not there");
        self.sockets -= 1;
        if self.sockets == 0
            && let Some(last) = self.visits.last_mut()
        {
            last.until = Some((at, ending));
        }
    }
}

impl Visit {
    fn may_go_on(&self, at: At, grace: Duration) -> bool {
        match self.until {
            None | Some((_, Ending::Left)) => false,
            Some((end, _)) => at - end < grace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: User = User(0);

    #[test]
    fn two_sockets_are_one_stay_until_the_last_ends() {
        check(
            &[
                (1, came()),
                (2, came()),
                (3, gone(Ending::Left)),
                (9, gone(Ending::Lost)),
            ],
            &[visit(1, Some((9, Ending::Lost)))],
        );
    }

    #[test]
    fn a_short_break_is_none_unless_it_was_a_goodbye() {
        check(
            &[(1, came()), (3, gone(Ending::Lost)), (7, came())],
            &[visit(1, None)],
        );
        check(
            &[(1, came()), (3, gone(Ending::Left)), (4, came())],
            &[visit(1, Some((3, Ending::Left))), visit(4, None)],
        );
    }

    #[test]
    fn a_break_as_long_as_grace_is_one() {
        check(
            &[(1, came()), (3, gone(Ending::Lost)), (8, came())],
            &[visit(1, Some((3, Ending::Lost))), visit(8, None)],
        );
    }

    #[track_caller]
    fn check(facts: &[(u64, Fact)], expected: &[Visit]) {
        let facts: Vec<_> = facts
            .iter()
            .map(|(at, fact)| (Duration::from_secs(*at), fact.clone()))
            .collect();
        let lives = lives(facts.iter(), Duration::from_secs(5));
        assert_eq!(lives[&ANN].visits, expected);
    }

    fn came() -> Fact {
        Fact::Came(ANN)
    }

    fn gone(ending: Ending) -> Fact {
        Fact::Gone(ANN, ending)
    }

    fn visit(from: u64, until: Option<(u64, Ending)>) -> Visit {
        Visit {
            from: Duration::from_secs(from),
            until: until.map(|(at, ending)| (Duration::from_secs(at), ending)),
        }
    }
}
