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
        self.steady_since.filter(|_| is_here)
    }

    /// A leave may be drawn now.
    pub(super) fn unsettle(&mut self) {
        self.steady_since = None;
    }

    /// What happens now may be drawn as a leave by those who hear of it late.
    pub(super) fn excuse(&mut self, until: u64) {
        if let Some(since) = &mut self.steady_since {
            *since = until.max(*since);
        }
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
    pub(super) confirmed_at: Option<u64>,
    /// It may be over from then on, and is over then.
    pub(super) ends: Option<(u64, u64)>,
}

/// What may be a user's status now, of all that was said.
pub(super) fn possible(said: &[Said], now: u64) -> Vec<(Chosen, Option<String>)> {
    let mut possible = Vec::new();
    for one in said {
        // Whoever said it, and wherever: what was said later counts, once it is confirmed.
        let mut later = said.iter().filter(|it| it.confirmed_at.is_some());
        if later.any(|it| one.at + AT_ONCE_MS < it.at) {
            continue;
        }
        let (may_end, ends) = one.ends.unwrap_or((u64::MAX, u64::MAX));
        if now < ends {
            possible.push((one.chosen, one.message.clone()));
        }
        if now >= may_end {
            possible.push((Chosen::Online, None));
        }
    }
    possible
}
