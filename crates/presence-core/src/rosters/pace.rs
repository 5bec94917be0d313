//! When a topic sends its next event: at once after a quiet time, and otherwise as often as the node keeps up.

use std::time::Duration;

use crate::{Tick, Timestamp, Timing};

/// The number of people up to which a room has the shortest fixed tick. A room with twice as many has a tick twice as
/// long, and so on.
const PEOPLE_PER_TICK: usize = 250;

/// What decides how often the topics of a node send events, besides the number of their people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) tick: Tick,
    /// The number of things that wait on this node until there is time for them.
    pub(super) backlog: usize,
}

impl Load {
    /// The same load without a backlog.
    pub(super) fn at_rest(self) -> Self {
        Load { backlog: 0, ..self }
    }

    /// The shortest time between two events of a topic with `people` people. `is_big` says that it is too big to list.
    pub(super) fn floor(self, people: usize, is_big: bool) -> Duration {
        if is_big {
            return Timing::TICK_MAX;
        }
        match self.tick {
            Tick::Auto => {
                let crowd = times(Timing::FLOOR_PER_PERSON, people);
                let backlog = times(Timing::FLOOR_PER_PERSON, self.backlog);
                crowd.min(Timing::TICK_MAX) + backlog.min(Timing::BACKLOG_MAX)
            }
            Tick::Fixed(tick) => {
                times(tick, (people / PEOPLE_PER_TICK).max(1)).min(Timing::TICK_MAX)
            }
        }
    }
}

/// The moments at which one topic may send events.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// The earliest moment of the next event.
    next_at: Timestamp,
    /// The part of a millisecond by which `next_at` was rounded down. If the next event is sent at `next_at`, it is
    /// added to the next wait, so that the average is exact.
    rest: Duration,
}

impl Pace {
    pub(super) fn next_at(&self) -> Timestamp {
        self.next_at
    }

    pub(super) fn may_speak(&self, now: Timestamp) -> bool {
        self.next_at <= now
    }

    /// Notes that the topic has sent an event, and computes when it may send the next one.
    pub(super) fn spoke(&mut self, now: Timestamp, load: Load, people: usize, is_big: bool) {
        let early = match now <= self.next_at {
            true => self.rest,
            false => Duration::ZERO,
        };
        let floor = load.floor(people, is_big) + early;
        self.next_at = now + floor;
        self.rest = floor - self.next_at.since(now);
    }

    /// The next event comes at `moment` or later.
    pub(super) fn not_before(&mut self, moment: Timestamp) {
        self.next_at = self.next_at.max(moment);
    }

    /// Lets the next event come at once.
    pub(super) fn allow_now(&mut self, now: Timestamp) {
        self.next_at = now;
    }
}

fn times(span: Duration, count: usize) -> Duration {
    span.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor(tick: Tick, people: usize, backlog: usize) -> Duration {
        Load { tick, backlog }.floor(people, false)
    }

    #[test]
    fn the_floor_grows_with_people_and_with_what_waits_and_has_no_minimum() {
        let auto = |people, backlog| floor(Tick::Auto, people, backlog).as_micros();
        assert_eq!(auto(0, 0), 0);
        assert_eq!(auto(2, 0), 100);
        assert_eq!(auto(50, 0), 2_500);
        assert_eq!(auto(200, 0), 10_000);
        assert_eq!(auto(20_000, 0), 1_000_000);
        assert_eq!(auto(usize::MAX, 0), 1_000_000);
        assert_eq!(auto(50, 200), 12_500);
        assert_eq!(auto(50, usize::MAX), 52_500);
        let (tick, backlog) = (Tick::Auto, usize::MAX);
        let at_rest = Load { tick, backlog }.at_rest();
        assert_eq!(at_rest.floor(50, false).as_micros(), 2_500);
    }

    #[test]
    fn a_fixed_tick_does_not_ask_what_waits_and_a_big_room_speaks_once_a_second() {
        let ms = Duration::from_millis;
        let fixed = |people, backlog| floor(Tick::Fixed(ms(50)), people, backlog);
        assert_eq!(fixed(1, 100_000), ms(50));
        assert_eq!(fixed(499, 0), ms(50));
        assert_eq!(fixed(500, 0), ms(100));
        assert_eq!(fixed(50_000, 0), ms(1000));
        for tick in [Tick::Auto, Tick::Fixed(ms(1))] {
            let load = Load { tick, backlog: 0 };
            assert_eq!(load.floor(501, true), ms(1000));
        }
    }

    #[test]
    fn parts_of_a_millisecond_are_not_lost() {
        let (mut pace, mut now) = (Pace::default(), Timestamp::from_millis(7));
        let load = Load {
            tick: Tick::Auto,
            backlog: 0,
        };
        let mut spans = Vec::new();
        for _ in 0..4 {
            pace.spoke(now, load, 50, false);
            spans.push(pace.next_at().since(now).as_millis());
            now = pace.next_at();
        }
        assert_eq!(spans, [2, 3, 2, 3]);
    }
}
