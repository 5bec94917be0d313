//! Others who want to know how a user is who cannot be seen: offline, or hiding.
//!
//! An offline user is read from where profiles are kept, and a hidden one is in memory. Were the hidden one answered from
//! there, the time that takes would tell. So whoever asks about somebody who cannot be seen waits until the profile has been
//! read all the same, each time anew, and is refused where it cannot be.

use super::{Answer, Audience, Effect, Input, Loading, Slot, Users, grant, refuse};
use crate::{Event, Refusal, SessionId, Timestamp, UserId};

/// Somebody else who wants to know how a user is.
#[derive(Debug)]
pub(super) enum Probe<A> {
    /// Once.
    Asked(A),
    /// From now on, through this session.
    Watched(SessionId, Option<A>),
}

/// Those who wait until the profile of a user has been read.
#[derive(Debug)]
pub(super) struct Held<A> {
    probes: Vec<Probe<A>>,
    /// It is being read, and nobody was told that it cannot be.
    is_looking: bool,
}

impl<A> Default for Held<A> {
    fn default() -> Self {
        Held {
            probes: Vec::new(),
            is_looking: false,
        }
    }
}

impl<A> Input<A> {
    /// Whether somebody else wants to know how the user is, and nothing more.
    pub(super) fn is_of_others(&self) -> bool {
        self.is_asked_by_others() || matches!(self, Input::Watched { .. } | Input::Unwatched)
    }

    fn is_asked_by_others(&self) -> bool {
        matches!(
            self,
            Input::Asked {
                as_owner: false,
                ..
            }
        )
    }
}

impl<A> Loading<A> {
    /// How the profile is to be read.
    pub(super) fn load(&self) -> Effect<A> {
        match self.is_for_others {
            true => Effect::LookUp,
            false => Effect::Load,
        }
    }

    /// Whether the shared store has answered with a profile.
    pub(super) fn has_read(&self) -> bool {
        self.shared.as_ref().is_some_and(|it| it.has_read())
    }

    /// Has `input` wait for the profile, and says how to read it if that is not under way in the right way.
    pub(super) fn wait(&mut self, input: Input<A>) -> Option<Effect<A>> {
        let is_of_others = input.is_of_others();
        // Those who asked before were refused, so that it is not known when it will be read.
        let is_first = is_of_others && !self.waiting.iter().any(Input::is_asked_by_others);
        self.waiting.push(input);
        let is_upgraded = self.is_for_others && !is_of_others;
        self.is_for_others &= is_of_others;
        let is_due = is_upgraded || (is_first && self.is_for_others);
        (is_due && !self.is_reading()).then(|| self.load())
    }

    /// The profile cannot be read for now: whoever only asks does not wait for it.
    pub(super) fn refuse_others(&mut self, out: &mut Vec<Effect<A>>) {
        for input in std::mem::take(&mut self.waiting) {
            match input.is_asked_by_others() {
                true => refuse(input.asker(), Refusal::Unavailable, out),
                false => self.waiting.push(input),
            }
        }
    }
}

impl<A> Users<A> {
    /// Answers at once where the user can be seen, or was read for this; else when that is done.
    pub(super) fn probe(
        &mut self,
        now: Timestamp,
        id: &UserId,
        probe: Probe<A>,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return;
        };
        if user.is_shown() || user.is_looked_up {
            // Were the user forgotten now, the next who waits would have to look again.
            let is_last = !user.is_looked_up;
            probe.answer(user, out);
            if is_last {
                self.settle(now, id, out);
            }
            return;
        }
        let held = self.held.entry(id.clone()).or_default();
        if held.probes.len() < self.limits.waiting_max {
            held.probes.push(probe);
        } else {
            probe.refuse(out);
        }
        if std::mem::replace(&mut held.is_looking, true) {
            return self.settle(now, id, out);
        }
        if let Some(shared) = &mut user.shared {
            // The shared store is read first, as it is for a user whom nobody here knows.
            shared.replica.distrust();
        }
        self.settle(now, id, out);
        let is_reading = match self.users.get(id) {
            Some(Slot::Known(user)) => user
                .shared
                .as_ref()
                .is_some_and(|it| it.replica.is_reading()),
            _ => false,
        };
        if !is_reading {
            out.push(Effect::LookUp);
        }
    }

    /// The profile has been read.
    pub(super) fn answer_held(&mut self, id: &UserId, out: &mut Vec<Effect<A>>) {
        let (Some(held), Some(Slot::Known(user))) = (self.held.remove(id), self.users.get_mut(id))
        else {
            return;
        };
        for probe in held.probes {
            probe.answer(user, out);
        }
    }

    /// The profile cannot be read for now. Those who watch are told how the user is when it can be.
    pub(super) fn refuse_held(&mut self, id: &UserId, out: &mut Vec<Effect<A>>) {
        let Some(held) = self.held.get_mut(id) else {
            return;
        };
        held.is_looking = false;
        for probe in std::mem::take(&mut held.probes) {
            match probe {
                Probe::Asked(_) => probe.refuse(out),
                Probe::Watched(..) => held.probes.push(probe),
            }
        }
        if held.probes.is_empty() {
            self.held.remove(id);
        }
    }
}

impl<A> Probe<A> {
    fn answer(self, user: &mut super::user::User, out: &mut Vec<Effect<A>>) {
        let face = user.face();
        match self {
            Probe::Asked(asker) => out.push(Effect::Grant {
                asker,
                answer: Answer::Face(face),
            }),
            Probe::Watched(watcher, asker) => {
                grant(asker, out);
                out.push(Effect::Tell {
                    to: Audience::Watcher(watcher),
                    event: Event::Face(face),
                });
            }
        }
    }

    fn refuse(self, out: &mut Vec<Effect<A>>) {
        let (Probe::Asked(asker) | Probe::Watched(_, Some(asker))) = self else {
            return;
        };
        refuse(Some(asker), Refusal::Unavailable, out);
    }
}
