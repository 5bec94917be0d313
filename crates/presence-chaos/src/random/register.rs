//! What a person has chosen, as far as anybody outside can know: the values that are possible at each moment.
//!
//! A choice that was answered `ok` stands until another one. Of two that were under way at the same time either may be
//! the later one, and one that was not answered may have been made, be made later, or never.

use std::collections::BTreeSet;
use std::time::Duration;

use super::journal::{At, Choice, Outcome, VuId};
use super::truth::{Timeline, Verdict};

/// How much later than its time a status may end: nodes look at it when they look at the person.
const END_LATE_MAX: Duration = Duration::from_millis(2500);

/// How long it takes until a gateway has read what it is told. Choices that are further apart are ordered, however long
/// they take to be stored: they count from when they were made.
const READ_MAX: Duration = Duration::from_secs(2);

/// One choice of a status, and what is known of its time.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    vu: VuId,
    number: u32,
    asked: At,
    /// When it was answered `ok`, so it was made at the latest then.
    answered: Option<At>,
    /// When it was made, or never will be.
    over: Option<At>,
    /// When it was made at the latest, if it was: a gateway that is awake reads what it is told.
    made_by: Option<At>,
    status: Option<String>,
    message: Option<Option<String>>,
    clear_after: Option<Duration>,
}

/// All choices of one user, in the order in which they were asked for.
#[derive(Debug)]
pub(crate) struct Register {
    writes: Vec<Write>,
    /// When what was chosen before may have been lost.
    lost: Vec<At>,
}

/// What is possible at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Possible {
    pub(crate) statuses: BTreeSet<String>,
    pub(crate) messages: BTreeSet<Option<String>>,
}

impl Write {
    /// A choice that somebody asks for at a gateway that is awake, or not.
    pub(crate) fn asked(at: At, vu: VuId, choice: &Choice, number: u32, is_awake: bool) -> Write {
        Write {
            vu,
            number,
            asked: at,
            answered: None,
            over: None,
            made_by: is_awake.then_some(at + READ_MAX),
            status: choice.status.clone(),
            message: choice.message.clone().map(Some),
            clear_after: choice.clear_after.map(Duration::from_secs),
        }
    }

    /// From when on it may have ended, and when it has.
    fn end(&self) -> (At, At) {
        let Some(after) = self.clear_after else {
            return (At::MAX, At::MAX);
        };
        let late = after + END_LATE_MAX;
        let until = self.over.map_or(At::MAX, |over| over + late);
        (self.asked + after, until)
    }

    fn is(&self, other: &Write) -> bool {
        (self.vu, self.number) == (other.vu, other.number)
    }
}

/// An end of a status, and when that is seen.
struct Ended {
    from: At,
    until: At,
    /// Whether it was certainly this status that stood then.
    is_sure: bool,
}

impl Default for Register {
    fn default() -> Register {
        let first = Write {
            vu: VuId(u32::MAX),
            number: 0,
            asked: At::ZERO,
            answered: Some(At::ZERO),
            over: Some(At::ZERO),
            made_by: Some(At::ZERO),
            status: Some("online".to_owned()),
            message: Some(None),
            clear_after: None,
        };
        Register {
            writes: vec![first],
            lost: Vec::new(),
        }
    }
}

impl Register {
    /// Adds a choice that a client has asked for.
    pub(crate) fn ask(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// They are answered; `known` is when an unknown outcome is one or the other.
    pub(crate) fn answer(&mut self, vu: VuId, number: u32, at: At, outcome: &Outcome, known: At) {
        let of_it = |it: &Write| (it.vu, it.number) == (vu, number);
        match outcome {
            Outcome::Refused(code) if !["unavailable", "overloaded"].contains(&code.as_str()) => {
                self.writes.retain(|it| !of_it(it));
            }
            outcome => {
                if let Some(write) = self.writes.iter_mut().find(|it| of_it(it)) {
                    let is_made = *outcome == Outcome::Ok;
                    write.answered = is_made.then_some(at);
                    write.over = Some(if is_made { at } else { known });
                }
            }
        }
    }

    /// A virtual user is connected again: what its restored session has asked before on another connection is over.
    pub(crate) fn goes_on(&mut self, vu: VuId, at: At, is_restored: bool) {
        for write in self
            .writes
            .iter_mut()
            .filter(|it| is_restored && it.vu == vu)
        {
            write.over = Some(write.over.map_or(at, |over| over.min(at)));
        }
    }

    /// What was chosen before may be lost: then anything from before may stand again.
    pub(crate) fn lose(&mut self, at: At) {
        self.lost.push(at);
    }

    /// What is possible at a moment.
    pub(crate) fn at(&self, at: At) -> Possible {
        let mut possible = Possible::default();
        for write in self.standing_statuses(at) {
            let (from, until) = write.end();
            if at >= from {
                possible.statuses.insert("online".to_owned());
            }
            if at <= until {
                possible.statuses.extend(write.status.clone());
            }
        }
        let ends = self.ends(at);
        for write in self.standing(at, |it| it.message.is_some()) {
            // A status that ends takes the words from before with it.
            let may_be_gone = ends.iter().any(|end| write.asked <= end.until);
            let is_gone = ends.iter().any(|end| {
                end.is_sure && at > end.until && write.over.is_some_and(|over| over < end.from)
            });
            if may_be_gone {
                possible.messages.insert(None);
            }
            if !is_gone {
                possible.messages.insert(write.message.clone().flatten());
            }
        }
        possible
    }

    /// The ends of statuses up to a moment.
    fn ends(&self, at: At) -> Vec<Ended> {
        let mut ends = Vec::new();
        for write in self.writes.iter().filter(|it| it.clear_after.is_some()) {
            let (from, until) = write.end();
            if from > at {
                continue;
            }
            let stands = |at| {
                let standing = self.standing_statuses(at);
                let is_it = standing.iter().any(|it| it.is(write));
                (is_it, is_it && standing.len() == 1)
            };
            let (stood, alone) = stands(from);
            if stood {
                ends.push(Ended {
                    from,
                    until,
                    is_sure: alone && stands(until.min(at)).1,
                });
            }
        }
        ends
    }

    fn standing_statuses(&self, at: At) -> Vec<&Write> {
        self.standing(at, |it| it.status.is_some())
    }

    /// The writes of which one is the last at that moment.
    fn standing(&self, at: At, is_of: impl Fn(&Write) -> bool) -> Vec<&Write> {
        let writes = self.writes.iter().filter(|it| it.asked <= at && is_of(it));
        let writes: Vec<&Write> = writes.collect();
        let is_replaced = |old: &Write| {
            let is_lost_with_it = |new: &Write| {
                self.lost
                    .iter()
                    .any(|lost| *lost <= at && old.asked <= *lost && new.asked <= *lost)
            };
            writes
                .iter()
                .filter(|new| !is_lost_with_it(new))
                .any(|new| {
                    let is_made = new.answered.is_some_and(|it| it <= at);
                    let is_before = |it: Option<At>| it.is_some_and(|it| it < new.asked);
                    let is_later = is_before(old.over)
                    || is_before(old.made_by)
                    // One connection's commands are done one after the other.
                    || old.vu == new.vu && old.number < new.number;
                    is_made && is_later
                })
        };
        writes
            .iter()
            .copied()
            .filter(|it| !is_replaced(it))
            .collect()
    }

    /// Whether the person is visible all the time from one moment to another, as far as it depends on what they chose.
    pub(crate) fn is_visible(&self, from: At, until: At) -> Verdict {
        let mut moments = vec![from, until];
        for write in &self.writes {
            let end = write.clear_after.map(|it| write.asked + it);
            let known = [Some(write.asked), write.answered, write.over, end];
            moments.extend(
                known
                    .into_iter()
                    .flatten()
                    .filter(|it| *it > from && *it < until),
            );
        }
        let verdicts = moments.into_iter().map(|it| self.at(it).visible());
        let all: BTreeSet<u8> = verdicts.map(|it| it as u8).collect();
        match all.iter().next() {
            Some(0) if all.len() == 1 => Verdict::Must,
            Some(2) if all.len() == 1 => Verdict::Not,
            _ => Verdict::May,
        }
    }

    /// The moments at which what is possible may change.
    pub(crate) fn moments(&self) -> BTreeSet<At> {
        let a_bit = Duration::from_nanos(1);
        let mut moments: BTreeSet<At> = self.lost.iter().copied().collect();
        for write in &self.writes {
            moments.insert(write.asked);
            moments.extend(write.answered);
            moments.extend(write.over.map(|it| it + a_bit));
            if let Some(after) = write.clear_after {
                moments.insert(write.asked + after);
                moments.extend(write.over.map(|it| it + after + END_LATE_MAX + a_bit));
            }
        }
        moments
    }

    /// Whether the person is visible, from each moment on.
    pub(crate) fn visible(&self) -> Timeline<Verdict> {
        let mut timeline = Timeline::new(Verdict::Must);
        for moment in self.moments() {
            timeline.turn(moment, self.at(moment).visible());
        }
        timeline
    }
}

impl Possible {
    /// Whether others may, must or must not see the user.
    pub(crate) fn visible(&self) -> Verdict {
        let hidden = self.statuses.contains("invisible");
        match (hidden, self.statuses.len()) {
            (true, 1) => Verdict::Not,
            (true, _) => Verdict::May,
            (false, _) => Verdict::Must,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_that_ends_takes_its_words_along_for_good() {
        let mut register = Register::default();
        let busy = choice(Some("busy"), Some("words"), Some(5));
        made(&mut register, 1, 1, &busy);
        expect(&register, 3, "busy", Some("words"));
        expect(&register, 10, "online", None);
        made(&mut register, 2, 12, &choice(Some("away"), None, None));
        expect(&register, 13, "away", None);
    }

    #[test]
    fn another_status_before_the_end_keeps_the_words() {
        let mut register = Register::default();
        made(
            &mut register,
            1,
            1,
            &choice(Some("busy"), Some("words"), Some(9)),
        );
        made(&mut register, 2, 4, &choice(Some("away"), None, None));
        expect(&register, 30, "away", Some("words"));
    }

    #[test]
    fn what_was_not_answered_is_possible_until_the_next_that_was() {
        let mut register = Register::default();
        let at = Duration::from_secs;
        let hide = choice(Some("invisible"), None, None);
        register.ask(Write::asked(at(1), VuId(0), &hide, 1, true));
        register.answer(VuId(0), 1, at(2), &Outcome::Unknown, at(12));
        assert_eq!(register.at(at(5)).visible(), Verdict::May);
        made(&mut register, 2, 20, &choice(Some("online"), None, None));
        assert_eq!(register.at(at(21)).visible(), Verdict::Must);
    }

    fn choice(status: Option<&str>, message: Option<&str>, clear_after: Option<u64>) -> Choice {
        Choice {
            status: status.map(str::to_owned),
            message: message.map(str::to_owned),
            clear_after,
        }
    }

    fn made(register: &mut Register, number: u32, at: u64, choice: &Choice) {
        let at = Duration::from_secs(at);
        register.ask(Write::asked(at, VuId(0), choice, number, true));
        register.answer(VuId(0), number, at, &Outcome::Ok, at);
    }

    #[track_caller]
    fn expect(register: &Register, at: u64, status: &str, message: Option<&str>) {
        let expected = Possible {
            statuses: BTreeSet::from([status.to_owned()]),
            messages: BTreeSet::from([message.map(str::to_owned)]),
        };
        assert_eq!(register.at(Duration::from_secs(at)), expected);
    }
}
