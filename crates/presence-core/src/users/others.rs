//! Questions of others about a user who is offline or hides.
//!
//! The profile of an offline user is read from where profiles are kept; that of a hidden user is in memory. If the answer
//! came from memory, its time would tell. So each question about a user who cannot be seen takes one path, no matter what
//! is known here: the shared store is asked, then the profile is looked up. If that fails, the question is refused.
//!
//! A session that begins to watch a user who is not known here waits until the user's map is followed, and then for the
//! profile. If the user is known here and cannot be seen, the session waits for the same.

use super::loading::HeldInput;
use super::shared::Shared;
use super::user::{LookedUp, User};
use super::{Answer, Audience, Effect, Input, Loading, Slot, Users, grant, refuse};
use crate::cluster::{PaddedRead, Reply, Request, Subject};
use crate::{Event, Profile, PublicView, Refusal, SessionId, Timestamp, UserId};

/// A question about a user from somebody else.
#[derive(Debug)]
pub(super) enum Probe<A> {
    /// Asks once; the answer goes to this reply-to.
    Asked(A),
    /// This session watches the user from now on.
    Watched(SessionId, Option<A>),
}

/// Those who wait until the profile of a user has been looked up.
#[derive(Debug)]
pub(super) struct Others<A> {
    asked: LookUp<A>,
    /// The sessions that began to watch. Their request to the store takes longer, so they do not wait together with
    /// those that asked.
    watched: LookUp<A>,
}

impl<A> Default for Others<A> {
    fn default() -> Self {
        Others {
            asked: LookUp::default(),
            watched: LookUp::default(),
        }
    }
}

#[derive(Debug)]
struct LookUp<A> {
    probes: Vec<Probe<A>>,
    step: Step,
}

impl<A> Default for LookUp<A> {
    fn default() -> Self {
        LookUp {
            probes: Vec::new(),
            step: Step::Idle,
        }
    }
}

#[derive(Debug)]
enum Step {
    /// Nobody waits; or the profile could not be read, and those who wait are told when it comes.
    Idle,
    /// The shared store was asked.
    Reading(Box<Shared>),
    /// The profile is being looked up. This is what the shared store has said, if there is one.
    LookingUp(Option<Box<Shared>>),
}

impl<A> Input<A> {
    /// Whether somebody else wants to watch the user, or wants it no longer, and nothing more.
    pub(super) fn is_of_watcher(&self) -> bool {
        matches!(self, Input::Watched { .. } | Input::Unwatched)
    }
}

impl<A> Loading<A> {
    /// How the profile is to be read.
    pub(super) fn load(&self) -> Effect<A> {
        match self.is_for_watchers {
            true => Effect::LookUp,
            false => Effect::Load,
        }
    }

    /// Whether the shared store has answered with a profile.
    pub(super) fn has_read(&self) -> bool {
        self.shared.as_ref().is_some_and(|it| it.has_read())
    }

    /// Lets an input wait for the profile. Returns how to read it, if so far only watchers wait for it, who may wait longer.
    pub(super) fn wait(&mut self, held: HeldInput<A>) -> Option<Effect<A>> {
        let is_first = self.is_for_watchers && !held.input.is_of_watcher();
        self.is_for_watchers &= !is_first;
        self.waiting.push(held);
        (is_first && !self.is_reading()).then(|| self.load())
    }
}

impl<A> Others<A> {
    fn is_empty(&self) -> bool {
        self.asked.probes.is_empty() && self.watched.probes.is_empty()
    }
}

impl<A> Users<A> {
    /// Answers at once where the user can be seen, or was looked up for this; else when that is done.
    pub(super) fn probe(&mut self, id: &UserId, probe: Probe<A>, out: &mut Vec<Effect<A>>) {
        let looked_up = match self.users.get_mut(id) {
            Some(Slot::Known(user))
                if user.is_shown() || user.entrance.looked_up() == LookedUp::Yes =>
            {
                return probe.answer(user.public_view(), out);
            }
            Some(Slot::Known(user)) => user.entrance.looked_up(),
            _ => LookedUp::No,
        };
        let max = self.limits.waiting_max;
        let others = self.others.entry(id.clone()).or_default();
        let (look_up, as_if) = match probe {
            Probe::Asked(_) => (&mut others.asked, PaddedRead::Read),
            Probe::Watched(..) => (&mut others.watched, PaddedRead::Followed),
        };
        if look_up.probes.len() >= max {
            return probe.refuse(out);
        }
        look_up.probes.push(probe);
        if !matches!(look_up.step, Step::Idle) || looked_up == LookedUp::Failed {
            return;
        }
        if self.membership.is_none() {
            look_up.step = Step::LookingUp(None);
            return out.push(Effect::LookUp);
        }
        self.padded_reads = self.padded_reads.wrapping_sub(1);
        let subject = Subject::User(id.clone());
        let mut shared = Box::new(Shared::default());
        shared.store_ahead_ms = self.store_ahead_ms;
        let ask = self.padded_reads;
        shared.replica.begin_padded_read(ask);
        look_up.step = Step::Reading(shared);
        out.push(Effect::Ask(Request::PaddedRead {
            subject,
            ask,
            as_if,
        }));
    }

    /// Applies the shared store's answer to a padded read. Returns it if nobody waits for it.
    pub(super) fn read_padded(
        &mut self,
        now: Timestamp,
        id: &UserId,
        reply: Reply,
        out: &mut Vec<Effect<A>>,
    ) -> Option<Reply> {
        let (Reply::Read { ask, .. }, Some(others), Some(membership)) =
            (&reply, self.others.get_mut(id), &self.membership)
        else {
            return Some(reply);
        };
        let ask = *ask;
        let is_it = |it: &&mut LookUp<A>| match &it.step {
            Step::Reading(shared) => shared.replica.is_reading_as(ask),
            Step::Idle | Step::LookingUp(_) => false,
        };
        let mut both = [&mut others.asked, &mut others.watched].into_iter();
        let Some(look_up) = both.find(is_it) else {
            return Some(reply);
        };
        if let Step::Reading(mut shared) = std::mem::replace(&mut look_up.step, Step::Idle) {
            shared.prepare(now, reply, membership);
            look_up.step = Step::LookingUp(Some(shared));
            out.push(Effect::LookUp);
        }
        None
    }

    /// The profile was looked up: answers those who wait for that.
    pub(super) fn answer_others(
        &mut self,
        now: Timestamp,
        id: &UserId,
        profile: Option<&Profile>,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(mut others) = self.others.remove(id) else {
            return;
        };
        for look_up in [&mut others.asked, &mut others.watched] {
            let mut read = match std::mem::replace(&mut look_up.step, Step::Idle) {
                reading_padded @ Step::Reading(_) => {
                    look_up.step = reading_padded;
                    continue;
                }
                Step::LookingUp(read) => read,
                Step::Idle => None,
            };
            let probes = std::mem::take(&mut look_up.probes);
            let mut stranger = None;
            for probe in probes {
                let user = match self.users.get_mut(id) {
                    Some(Slot::Known(user)) => user,
                    _ => stranger.get_or_insert_with(|| {
                        let read = read.take();
                        Box::new(self.stranger(now, id, read, profile))
                    }),
                };
                probe.answer(user.public_view(), out);
            }
        }
        if !others.is_empty() {
            self.others.insert(id.clone(), others);
        }
    }

    /// How others see a user who is not known on this node, from what the stores have.
    fn stranger(
        &mut self,
        now: Timestamp,
        id: &UserId,
        mut shared: Option<Box<Shared>>,
        profile: Option<&Profile>,
    ) -> User {
        let read = shared.as_mut().and_then(|it| it.take_read());
        let profile = read.map(|(it, _)| it).or_else(|| profile.cloned());
        let profile = profile.unwrap_or_else(|| Profile::new(id.clone()));
        let mut user = User::new(now, profile, self.epochs.next());
        user.shared = shared;
        // Nobody watches them, so nobody is told.
        user.meet_others::<A>(now, &mut Vec::new());
        user
    }

    /// The profile cannot be read for now. Those who watch are told how the user is when it can be.
    pub(super) fn refuse_others(&mut self, id: &UserId, out: &mut Vec<Effect<A>>) {
        let Some(others) = self.others.get_mut(id) else {
            return;
        };
        if let Step::LookingUp(_) = others.asked.step {
            others.asked.step = Step::Idle;
            for probe in others.asked.probes.drain(..) {
                probe.refuse(out);
            }
        }
        if let Step::LookingUp(_) = others.watched.step {
            others.watched.step = Step::Idle;
        }
        if others.is_empty() {
            self.others.remove(id);
        }
    }
}

impl<A> Users<A> {
    /// Nobody watches the user any more.
    pub(super) fn forget_watchers(&mut self, id: &UserId, out: &mut Vec<Effect<A>>) {
        let Some(others) = self.others.get_mut(id) else {
            return;
        };
        for probe in std::mem::take(&mut others.watched).probes {
            probe.refuse(out);
        }
        if others.is_empty() {
            self.others.remove(id);
        }
    }
}

impl<A> Probe<A> {
    fn answer(self, public_view: PublicView, out: &mut Vec<Effect<A>>) {
        match self {
            Probe::Asked(reply_to) => out.push(Effect::Grant {
                reply_to,
                answer: Answer::PublicView(public_view),
            }),
            Probe::Watched(watcher, reply_to) => {
                grant(reply_to, out);
                out.push(Effect::Tell {
                    to: Audience::Watcher(watcher),
                    event: Event::PublicView(public_view),
                });
            }
        }
    }

    fn refuse(self, out: &mut Vec<Effect<A>>) {
        let (Probe::Asked(reply_to) | Probe::Watched(_, Some(reply_to))) = self else {
            return;
        };
        refuse(Some(reply_to), Refusal::Unavailable, out);
    }
}
