//! What a person has chosen, as far as anybody outside can know: the values that are possible at each moment.
//!
//! A choice that was answered `ok` stands until another one. Of two that were under way at the same time either may be
//! the later one, and one that was not answered may have been made, be made later, or never.

use std::collections::BTreeSet;
use std::time::Duration;

use super::journal::{At, Choice, Outcome, SeatId};
use super::truth::{Timeline, Verdict};

/// How much later than its time a status may end: nodes look at it when they look at the person.
const END_LATE_MAX: Duration = Duration::from_millis(2500);

/// How long it takes until a gateway has read what it is told. Choices that are further apart are ordered, however long
/// they take to be stored: they count from when they were made.
const READ_MAX: Duration = Duration::from_secs(2);

/// One choice.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    seat: SeatId,
    number: u32,
    asked: At,
    /// When it was certainly made.
    answered: Option<At>,
    /// When it was made, or never will be.
    over: Option<At>,
    /// When it was made at the latest, if it was: a gateway that is awake reads what it is told.
    made_by: Option<At>,
    status: Option<String>,
    message: Option<Option<String>>,
    clear_after: Option<Duration>,
}

/// What one person has chosen.
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
    pub(crate) fn asked(
        at: At,
        seat: SeatId,
        choice: &Choice,
        number: u32,
        is_awake: bool,
    ) -> Write {
        Write {
            seat,
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
}

impl Default for Register {
    fn default() -> Register {
        let first = Write {
            seat: SeatId(u32::MAX),
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
    /// Somebody chooses.
    pub(crate) fn ask(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// They are answered; `known` is when an unknown outcome is one or the other.
    pub(crate) fn answer(
        &mut self,
        seat: SeatId,
        number: u32,
        at: At,
        outcome: &Outcome,
        known: At,
    ) {
        let of_it = |it: &Write| (it.seat, it.number) == (seat, number);
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

    /// A seat is connected again: what its restored session has asked before on another connection is over.
    pub(crate) fn goes_on(&mut self, seat: SeatId, at: At, is_restored: bool) {
        for write in self
            .writes
            .iter_mut()
            .filter(|it| is_restored && it.seat == seat)
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
        let statuses = self.standing(at, |it| it.status.is_some());
        let messages = self.standing(at, |it| it.message.is_some());
        let mut possible = Possible::default();
        let mut ended_for_sure = Vec::new();
        for write in &statuses {
            let Some(after) = write.clear_after else {
                possible.statuses.extend(write.status.clone());
                ended_for_sure.push(None);
                continue;
            };
            let from = write.asked + after;
            let until = write.over.unwrap_or(At::MAX - after - END_LATE_MAX) + after + END_LATE_MAX;
            if at >= from {
                possible.statuses.insert("online".to_owned());
                possible.messages.insert(None);
            }
            if at <= until {
                possible.statuses.extend(write.status.clone());
            }
            ended_for_sure.push((at > until).then_some(until));
        }
        // Where every possible status has had its end, messages from before went with it.
        let all: Option<Vec<At>> = ended_for_sure.into_iter().collect();
        let gone_before = all.and_then(|it| it.into_iter().min());
        for write in &messages {
            let is_gone = gone_before
                .is_some_and(|end| write.over.is_some_and(|over| over + END_LATE_MAX * 2 < end));
            match is_gone {
                true => possible.messages.insert(None),
                false => possible.messages.insert(write.message.clone().flatten()),
            };
        }
        possible
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
                    || old.seat == new.seat && old.number < new.number;
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
    /// Whether the person is visible.
    pub(crate) fn visible(&self) -> Verdict {
        let hidden = self.statuses.contains("invisible");
        match (hidden, self.statuses.len()) {
            (true, 1) => Verdict::Not,
            (true, _) => Verdict::May,
            (false, _) => Verdict::Must,
        }
    }
}
