//! When which fault was there, and how long after it what others see may be wrong: the allowances of
//! `docs/guarantees.md`, each with its reason.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fault::Kind;
use super::journal::{At, Fact};

/// How long news may take where nothing is broken. I1 says 1 s for 99 of 100; here no single one may take longer, with
/// clients, gateways and Redis on two cores.
pub(crate) const NEWS_MAX: Duration = Duration::from_millis(2500);

/// How long a picture may be wrong after a fault is over: I1.
pub(crate) const HEALED_MAX: Duration = Duration::from_secs(10);

/// The same where a lease has to lapse before others know: I1.
pub(crate) const LAPSED_MAX: Duration = Duration::from_secs(30);

/// A gateway that has not renewed its lease for so long may be declared dead: the lease, less one renewal.
pub(crate) const LEASE_MIN: Duration = Duration::from_secs(12);

/// How long a command whose answer was `unavailable`, or never came, may still be under way once nothing is broken.
pub(crate) const UNSURE_MAX: Duration = Duration::from_secs(10);

/// A time in which something is broken, or is being mended.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    pub(crate) kind: Kind,
    pub(crate) from: At,
    /// When the fault ended.
    pub(crate) until: At,
    /// When pictures have to be right again.
    pub(crate) healed: At,
}

/// All faults of a run, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows {
    windows: Vec<Window>,
}

impl Windows {
    /// Those of a journal; what is not mended lasts until `now`.
    pub(crate) fn of(facts: &[(At, Fact)], now: At) -> Windows {
        let mut open: BTreeMap<usize, (At, Kind)> = BTreeMap::new();
        let mut windows = Vec::new();
        for (at, fact) in facts {
            match fact {
                Fact::Broken(number, kind) => {
                    open.insert(*number, (*at, kind.clone()));
                }
                Fact::Mended(number) => {
                    windows.extend(
                        open.remove(number)
                            .map(|(from, kind)| window(kind, from, *at)),
                    );
                }
                Fact::Stalled(late) => {
                    windows.push(window(Kind::Stall, at.saturating_sub(*late), *at));
                }
                _ => {}
            }
        }
        windows.extend(
            open.into_values()
                .map(|(from, kind)| window(kind, from, now)),
        );
        windows.sort_by_key(|it| it.from);
        let mut windows = Windows { windows };
        windows.wait_for_leases_again();
        windows
    }

    /// While Redis is away, and after it lost its data, nobody knows which leases are running: gateways wait for a whole
    /// lease again before they mark another one dead. So who was lost with a gateway may be shown for longer.
    fn wait_for_leases_again(&mut self) {
        let mut lapsing: Vec<(At, At)> = Vec::new();
        let is_lapsing =
            |it: &&Window| it.kind.loses_sessions() || lapses(&it.kind, it.from, it.until);
        let windows = self.windows.iter();
        lapsing.extend(windows.filter(is_lapsing).map(|it| (it.from, it.healed)));
        for window in &mut self.windows {
            let hides = window.kind.is_of_store() && !matches!(window.kind, Kind::Slow { .. });
            let (from, until) = (window.from, window.until);
            let mut lapses = lapsing.iter();
            if hides && lapses.any(|(began, over)| *began <= until && from <= *over) {
                window.healed = window.healed.max(until + LAPSED_MAX);
                lapsing.push((from, window.healed));
            }
        }
    }

    /// If that gateway is dead, asleep or cut off then, or was a moment ago: until when.
    pub(crate) fn gone(&self, gateway: usize, at: At) -> Option<At> {
        let is = |it: &&Window| {
            it.kind.gateway().is_none_or(|of| of == gateway)
                && it.kind != Kind::Stall
                && it.from <= at + NEWS_MAX
                && at <= it.until + NEWS_MAX
        };
        self.windows.iter().filter(is).map(|it| it.until).max()
    }

    /// The times at which Redis lost its data.
    pub(crate) fn losses(&self) -> Vec<At> {
        let losses = self.windows.iter().filter(|it| it.kind.loses_data());
        losses.map(|it| it.from).collect()
    }

    /// Whether that gateway was asleep then.
    pub(crate) fn is_asleep(&self, gateway: usize, at: At) -> bool {
        let kind = Kind::Sleep { gateway };
        let is = |it: &Window| it.kind == kind && it.from <= at + NEWS_MAX && at <= it.until;
        self.windows.iter().any(is)
    }

    /// Whether Redis could not be reached then by somebody.
    pub(crate) fn store_is_away(&self, at: At) -> bool {
        let is = |it: &&Window| {
            it.kind.is_of_store() && it.from <= at + NEWS_MAX && at <= it.until + NEWS_MAX
        };
        self.windows.iter().any(|it| is(&it))
    }

    /// Since when Redis could not be reached by somebody, if it cannot, or could not a moment ago.
    pub(crate) fn store_away_since(&self, at: At) -> Option<At> {
        let is = |it: &&Window| {
            let hides = !matches!(it.kind, Kind::FlushAll | Kind::Slow { .. });
            it.kind.is_of_store() && hides && it.from <= at && at <= it.until + NEWS_MAX
        };
        self.windows.iter().filter(is).map(|it| it.from).min()
    }

    /// When a command that was not answered then is done or never will be.
    pub(crate) fn known_after(&self, at: At) -> At {
        let during = self
            .windows
            .iter()
            .filter(|it| it.from <= at && at <= it.healed);
        let over = during.map(|it| it.until).max().unwrap_or(at);
        over.max(at) + UNSURE_MAX
    }

    /// From when on something that was wrong since `from` counts as wrong: later if something was broken.
    pub(crate) fn counts_from(&self, from: At) -> At {
        let mut counts = from;
        for window in &self.windows {
            if window.from <= counts + NEWS_MAX && window.healed > counts {
                counts = window.healed;
            }
        }
        counts
    }

    /// Whether a leave of people who are here may be told then: a gateway slept, or was cut off, for longer than its lease.
    pub(crate) fn may_leave(&self, at: At) -> bool {
        self.windows.iter().any(|it| {
            lapses(&it.kind, it.from, it.until) && it.from + LEASE_MIN <= at && at <= it.healed
        })
    }

    /// The faults that were there at `at`, as a text for people.
    pub(crate) fn shown_at(&self, at: At) -> String {
        let around = self
            .windows
            .iter()
            .filter(|it| it.from <= at && at <= it.healed);
        let shown: Vec<String> = around
            .map(|it| {
                format!(
                    "{} from {:.1} s to {:.1} s",
                    it.kind,
                    it.from.as_secs_f64(),
                    it.until.as_secs_f64()
                )
            })
            .collect();
        match shown.is_empty() {
            true => "nothing was broken".to_owned(),
            false => shown.join(", "),
        }
    }
}

/// Whether leases ended meanwhile, or nobody knows any more whether they did.
fn lapses(kind: &Kind, from: At, until: At) -> bool {
    (kind.stops_renewal() || kind.loses_data()) && until - from >= LEASE_MIN
}

fn window(kind: Kind, from: At, until: At) -> Window {
    if kind == Kind::Stall {
        let healed = until + NEWS_MAX;
        return Window {
            kind,
            from,
            until,
            healed,
        };
    }
    let lapses = kind.loses_sessions() || lapses(&kind, from, until);
    let heals = if lapses { LAPSED_MAX } else { HEALED_MAX };
    let healed = match kind {
        // Its clock is set right with another restart, which loses the sessions once more.
        Kind::ClockOff { .. } => until + heals,
        // Where a lease has to lapse, that began when the gateway was lost.
        _ if kind.loses_sessions() => (from + heals).max(until + HEALED_MAX),
        _ => until + heals,
    };
    Window {
        kind,
        from,
        until,
        healed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn healed(kind: Kind) -> At {
        let second = Duration::from_secs;
        window(kind, second(100), second(113)).healed - second(100)
    }

    #[test]
    fn a_lease_that_lapses_while_redis_is_away_is_waited_for_again() {
        let second = Duration::from_secs;
        let healed = |faults: &[(Kind, u64, u64)]| {
            let numbered = faults.iter().enumerate();
            let facts: Vec<_> = numbered
                .flat_map(|(number, (kind, from, until))| {
                    [
                        (second(*from), Fact::Broken(number, kind.clone())),
                        (second(*until), Fact::Mended(number)),
                    ]
                })
                .collect();
            let windows = Windows::of(&facts, second(200)).windows;
            windows.iter().map(|it| it.healed).max().unwrap()
        };
        let kill = (Kind::Kill { gateway: 0 }, 50, 55);
        let away = (Kind::BlackHole, 60, 70);
        let loss = (Kind::FlushAll, 95, 95);
        assert_eq!(healed(std::slice::from_ref(&away)), second(70) + HEALED_MAX);
        assert_eq!(
            healed(&[kill.clone(), away.clone()]),
            second(70) + LAPSED_MAX
        );
        assert_eq!(
            healed(&[kill.clone(), loss.clone()]),
            second(95) + HEALED_MAX
        );
        assert_eq!(healed(&[kill, away, loss]), second(95) + LAPSED_MAX);
    }

    #[test]
    fn a_lease_lapses_after_each_restart_and_not_after_the_mending_of_a_kill() {
        let gateway = 1;
        assert_eq!(healed(Kind::Kill { gateway }), LAPSED_MAX);
        let off = Kind::ClockOff {
            gateway,
            seconds: 40,
        };
        assert_eq!(healed(off), Duration::from_secs(13) + LAPSED_MAX);
    }
}
