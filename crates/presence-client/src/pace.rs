//! How often commands are sent. Pure: time is an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::wire::Command;

/// How often something may be sent: `burst` at once, and one more after each `every`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many may be sent at once; at least 1.
    pub burst: u32,
    /// The time after which one more may be sent.
    pub every: Duration,
}

/// The longest time between two commands that is told from never: a year. It can be counted with whatever the burst is.
const EVERY_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How often a [`Presence`](crate::Presence) sends each kind of command. What is more waits.
///
/// The default is what a gateway accepts that is configured with no rates. If yours is configured with others, set the same here:
/// `Rates { broadcast, ..Rates::default() }`. Lower ones on the gateway do no harm: what it refuses as `rate_limited` is sent again after
/// the time that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rates {
    /// The rate of join, update and leave.
    pub join: Rate,
    /// The rate of watch and unwatch, of users and windows too.
    pub watch: Rate,
    /// The rate of changes of your status.
    pub status: Rate,
    /// The rate of typing.
    pub typing: Rate,
    /// The rate of cursors.
    pub cursor: Rate,
    /// The rate of broadcasts.
    pub broadcast: Rate,
    /// The rate of questions: lists, and statuses.
    pub query: Rate,
    /// The rate of everything else, heartbeats included.
    pub other: Rate,
}

impl Default for Rates {
    fn default() -> Self {
        // Rounded up: never faster than the gateway allows.
        let per_second = |rate: u64, burst| Rate {
            burst,
            every: Duration::from_nanos(1_000_000_000_u64.div_ceil(rate)),
        };
        Rates {
            join: per_second(20, 200),
            watch: per_second(100, 500),
            status: per_second(1, 10),
            typing: per_second(5, 20),
            cursor: per_second(60, 120),
            broadcast: per_second(20, 40),
            query: per_second(10, 20),
            other: per_second(5, 20),
        }
    }
}

/// A kind of command that has a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Join,
    Watch,
    Status,
    Typing,
    Cursor,
    Broadcast,
    Query,
    Other,
}

const CLASSES: usize = 8;

impl Class {
    pub(crate) fn of(command: &Command) -> Class {
        match command {
            Command::Join(_) | Command::Update(_) | Command::Leave(_) => Class::Join,
            Command::Watch(_)
            | Command::Unwatch(_)
            | Command::OpenWindow(_)
            | Command::CloseWindow(_) => Class::Watch,
            Command::Status(_) => Class::Status,
            Command::Typing(_) => Class::Typing,
            Command::Cursor(_) | Command::Selection(_) => Class::Cursor,
            Command::Broadcast(_) => Class::Broadcast,
            Command::Heartbeat(_)
            | Command::Ping(_)
            | Command::Activity(_)
            | Command::Authenticate(_) => Class::Other,
            Command::List(_)
            | Command::Get(_)
            | Command::Channels(_)
            | Command::Nodes(_)
            | Command::Connections(_)
            | Command::Disconnect(_) => Class::Query,
        }
    }

    /// Commands of one lane keep their order. Joins and watches are of one: leaving a channel ends its watch.
    pub(crate) fn lane(self) -> u8 {
        match self {
            Class::Watch => 1 << Class::Join as u8,
            it => 1 << it as u8,
        }
    }
}

/// What one connection has sent lately.
#[derive(Debug)]
pub(crate) struct Pace {
    rates: Rates,
    /// Of each class, when as much may be sent as ever if nothing more is sent.
    full_at: [Option<Instant>; CLASSES],
}

impl Pace {
    pub(crate) fn new(rates: Rates) -> Self {
        Pace {
            rates,
            full_at: [None; CLASSES],
        }
    }

    /// There is another connection, which has sent nothing yet.
    pub(crate) fn reset(&mut self) {
        self.full_at = [None; CLASSES];
    }

    fn rate(&self, class: Class) -> Rate {
        let rate = match class {
            Class::Join => self.rates.join,
            Class::Watch => self.rates.watch,
            Class::Status => self.rates.status,
            Class::Typing => self.rates.typing,
            Class::Cursor => self.rates.cursor,
            Class::Broadcast => self.rates.broadcast,
            Class::Query => self.rates.query,
            Class::Other => self.rates.other,
        };
        Rate {
            burst: rate.burst.max(1),
            every: rate.every.min(EVERY_MAX),
        }
    }

    /// Counts a command of `class`, or says when one may be sent.
    pub(crate) fn take(&mut self, now: Instant, class: Class) -> Result<(), Instant> {
        let rate = self.rate(class);
        let full_at = &mut self.full_at[class as usize];
        let next = full_at.map_or(now, |it| it.max(now)) + rate.every;
        let most = now + rate.every * rate.burst;
        if next > most {
            return Err(now + (next - most));
        }
        *full_at = Some(next);
        Ok(())
    }

    /// Sends nothing of `class` before `until`, and then no more at once than one.
    pub(crate) fn hold(&mut self, until: Instant, class: Class) {
        let rate = self.rate(class);
        let full_at = &mut self.full_at[class as usize];
        *full_at = (*full_at).max(Some(until + rate.every * (rate.burst - 1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace() -> Pace {
        let every = Duration::from_millis(100);
        let typing = Rate { burst: 3, every };
        Pace::new(Rates {
            typing,
            ..Rates::default()
        })
    }

    #[test]
    fn a_burst_is_sent_at_once_and_the_rest_in_time() {
        let (mut pace, start) = (pace(), Instant::now());
        let millis = |it| start + Duration::from_millis(it);
        for _ in 0..3 {
            assert_eq!(pace.take(start, Class::Typing), Ok(()));
        }
        assert_eq!(pace.take(start, Class::Typing), Err(millis(100)));
        assert_eq!(pace.take(start, Class::Join), Ok(()));
        assert_eq!(pace.take(millis(70), Class::Typing), Err(millis(100)));
        assert_eq!(pace.take(millis(100), Class::Typing), Ok(()));
        assert_eq!(pace.take(millis(100), Class::Typing), Err(millis(200)));
        pace.reset();
        assert_eq!(pace.take(millis(100), Class::Typing), Ok(()));
    }

    #[test]
    fn what_the_gateway_refused_is_held_and_then_comes_one_by_one() {
        let (mut pace, start) = (pace(), Instant::now());
        let millis = |it| start + Duration::from_millis(it);
        pace.hold(millis(500), Class::Typing);
        // An earlier end changes nothing.
        pace.hold(millis(300), Class::Typing);
        assert_eq!(pace.take(start, Class::Typing), Err(millis(500)));
        assert_eq!(pace.take(millis(500), Class::Typing), Ok(()));
        assert_eq!(pace.take(millis(500), Class::Typing), Err(millis(600)));
    }

    #[test]
    fn a_rate_of_nothing_is_a_rate_of_one() {
        let every = Duration::ZERO;
        let status = Rate { burst: 0, every };
        let mut pace = Pace::new(Rates {
            status,
            ..Rates::default()
        });
        assert_eq!(pace.take(Instant::now(), Class::Status), Ok(()));
    }

    #[test]
    fn no_rate_is_too_slow_to_be_counted() {
        let every = Duration::MAX;
        for burst in [1, 2, u32::MAX] {
            let typing = Rate { burst, every };
            let mut pace = Pace::new(Rates {
                typing,
                ..Rates::default()
            });
            let now = Instant::now();
            for _ in 0..burst.min(2) {
                assert_eq!(pace.take(now, Class::Typing), Ok(()));
            }
            pace.hold(now, Class::Typing);
            assert_eq!(pace.take(now, Class::Typing).is_ok(), burst > 2);
            assert!(pace.take(now, Class::Typing).is_err());
        }
    }

    #[test]
    fn the_default_rates_are_those_of_the_gateway() {
        let it = Rates::default();
        for (rate, per_second) in [
            (it.join, 20),
            (it.watch, 100),
            (it.status, 1),
            (it.typing, 5),
            (it.cursor, 60),
            (it.broadcast, 20),
            (it.query, 10),
            (it.other, 5),
        ] {
            let took = rate.every * per_second;
            let second = Duration::from_secs(1);
            assert!(
                took >= second,
                "{rate:?} is faster than {per_second} a second"
            );
            assert!(took - second < Duration::from_micros(1), "{rate:?}");
        }
    }
}
