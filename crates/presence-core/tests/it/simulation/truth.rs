//! What is true of a user, computed from what the clients hold open and what they last said; and what a watcher may draw.

use presence_core::Chosen;

use super::script::TOPICS;

/// Where a user can be seen: the topics, and those who watch the user.
pub(super) const SPOTS: usize = TOPICS + 1;
pub(super) const PROFILE: usize = TOPICS;

pub(super) const GRACE_MS: u64 = 10_000;
/// Whoever is back so late may be too late.
const GRACE_MARGIN_MS: u64 = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Sure {
    Yes,
    /// Two things that were said at once, or one that nobody confirmed.
    Maybe,
    #[default]
    No,
}

/// A user in one spot.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spot {
    pub(super) on: Sure,
    /// Until then they may be drawn or not.
    pub(super) open_until: u64,
    /// Since when nothing has happened that a watcher may draw as a leave.
    steady_since: Option<u64>,
    /// What happened before may still be drawn as a leave, by those who hear of it late.
    excused_until: u64,
    off_at: u64,
}

impl Spot {
    /// What is true now. `is_clean`: what ended was ended on purpose. `bound_ms`: how long watchers may be kept in the dark.
    pub(super) fn become_(&mut self, now: u64, on: Sure, is_clean: bool, bound_ms: u64) {
        if self.on != on || bound_ms > 0 {
            self.open_until = self.open_until.max(now + bound_ms);
        }
        if self.on == on {
            return;
        }
        let was = std::mem::replace(&mut self.on, on);
        match on {
            Sure::Yes => {
                let is_back = now + GRACE_MARGIN_MS <= self.off_at + GRACE_MS;
                match self.steady_since {
                    Some(_) if is_back => {}
                    _ => self.steady_since = Some(now),
                }
            }
            Sure::No if was == Sure::Yes && !is_clean => self.off_at = now,
            _ => self.steady_since = None,
        }
    }

    /// Since when nothing has happened that may be drawn as a leave, if that is so.
    pub(super) fn steady_since(&self, now: u64) -> Option<u64> {
        let is_here = self.on == Sure::Yes || now + GRACE_MARGIN_MS <= self.off_at + GRACE_MS;
        let since = self.steady_since.filter(|_| is_here)?;
        Some(since.max(self.excused_until))
    }

    /// A leave may be drawn now.
    pub(super) fn unsettle(&mut self) {
        self.steady_since = None;
    }

    /// What happens now may be drawn as a leave by those who hear of it late.
    pub(super) fn excuse(&mut self, until: u64) {
        self.excused_until = self.excused_until.max(until);
    }
}

/// What was said of a status within so long counts as said at once: nodes know the time of the store only about so well.
const AT_ONCE_MS: u64 = 1_000;

/// What was said of a status, and whether it was confirmed.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) chosen: Chosen,
    pub(super) message: Option<String>,
    pub(super) at: u64,
    /// Everything of the user was erased: until that is confirmed, it may come before or after whatever is chosen.
    pub(super) is_erasure: bool,
    pub(super) confirmed_at: Option<u64>,
    /// It may be over from then on, and is over then.
    pub(super) ends: Option<(u64, u64)>,
    /// The same for `Offline`, which is over with the next connection.
    pub(super) comes_back: (u64, u64),
}

impl Said {
    pub(super) fn new(chosen: Chosen, message: Option<String>, at: u64) -> Self {
        Said {
            chosen,
            message,
            at,
            is_erasure: false,
            confirmed_at: None,
            ends: None,
            comes_back: (u64::MAX, u64::MAX),
        }
    }

    /// The latest moment as of which it may count.
    fn counts_until(&self) -> u64 {
        match self.is_erasure {
            true => self.confirmed_at.unwrap_or(u64::MAX / 2),
            false => self.at,
        }
    }

    /// The user may be about to connect.
    pub(super) fn may_come_back(&mut self, now: u64) {
        if self.chosen == Chosen::Offline {
            self.comes_back.0 = self.comes_back.0.min(now);
        }
    }

    /// The user has connected, and began to at `since`.
    pub(super) fn come_back(&mut self, now: u64, since: u64) {
        let was_told = self.confirmed_at.is_some_and(|at| at + AT_ONCE_MS < since);
        if self.chosen == Chosen::Offline && was_told {
            self.comes_back = (self.comes_back.0.min(now), self.comes_back.1.min(now));
        }
    }
}

/// What may be a user's status now, of all that was said.
pub(super) fn possible(said: &[Said], now: u64) -> Vec<(Chosen, Option<String>)> {
    let mut possible = Vec::new();
    for one in said {
        // Whoever said it, and wherever: what was said later counts, once it is confirmed.
        let mut later = said.iter().filter(|it| it.confirmed_at.is_some());
        if later.any(|it| one.counts_until() + AT_ONCE_MS < it.at) {
            continue;
        }
        let (may_end, ends) = one.ends.unwrap_or((u64::MAX, u64::MAX));
        // It lasts from when it is handled, which may be later than it was said.
        let is_open = one.confirmed_at.is_none();
        let (may_come_back, has_come_back) = one.comes_back;
        if (now < ends || is_open) && now < has_come_back {
            possible.push((one.chosen, one.message.clone()));
        }
        if (now < ends || is_open) && now >= may_come_back {
            possible.push((Chosen::Online, one.message.clone()));
        }
        if now >= may_end {
            possible.push((Chosen::Online, None));
        }
    }
    possible
}
