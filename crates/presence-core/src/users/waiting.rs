//! Requests that wait until the shared store has their change. After that the change survives the death of any node, and
//! every node that the client connects to has it.

use std::time::Duration;

use super::late_choice::LateChoice;
use super::user::User;
use super::{Effect, Key, Slot, Users, grant, refuse};
use crate::cluster::FencingToken;
use crate::{Refusal, SessionId, Timestamp, UserId};

/// The longest time that a request waits. After that it is not known whether the store has the change.
const PATIENCE: Duration = Duration::from_secs(8);

/// What the answer to a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The store has the profile as it is now.
    Profile,
    /// The store has the profile as it is now, and every place of the user has been told that the user hides.
    Hidden,
    /// The store has the record of this session as it is now.
    Session(SessionId),
}

impl Need {
    pub(super) fn is_of_profile(self) -> bool {
        matches!(self, Need::Profile | Need::Hidden)
    }
}

/// A request that waits until a profile or a record is stored or read.
#[derive(Debug)]
pub(super) struct WaitingRequest<A> {
    need: Need,
    /// The revision of the profile, or of the record of the session.
    revision: u64,
    /// The late choice of a status that it waits for, if it is one.
    late: Option<Box<LateChoice>>,
    until: Timestamp,
    reply_to: A,
}

impl<A> WaitingRequest<A> {
    /// Waits for what is true of `user` now.
    pub(super) fn of(now: Timestamp, user: &User, need: Need, reply_to: A) -> Self {
        let shared = user.shared.as_ref();
        let revision = match need {
            Need::Profile | Need::Hidden => user.profile.status.revision,
            Need::Session(session) => shared.map_or(0, |it| it.replica.revision_of(session)),
        };
        WaitingRequest {
            need,
            revision,
            late: shared
                .and_then(|it| it.late_choice.clone())
                .filter(|_| need.is_of_profile()),
            until: now + PATIENCE,
            reply_to,
        }
    }

    /// Whether another choice stays in place of the one that it waits for.
    fn is_overtaken(&self, user: &User) -> bool {
        let late = self.late.as_ref();
        // What was chosen here since replaces it, too; then it was made all the same.
        let chosen_at = user.shared.as_ref().map(|it| it.chosen_at);
        late.is_some_and(|it| chosen_at == Some(it.moment) && it.is_overtaken(&user.profile))
    }

    fn is_met(&self, user: &User, stored: &[(SessionId, FencingToken)]) -> bool {
        let Some(shared) = &user.shared else {
            return true;
        };
        match self.need {
            Need::Profile => self.revision <= shared.kept,
            Need::Hidden => {
                let has_changed = self.revision < user.profile.status.revision;
                let is_told = !shared.is_hiding() || has_changed;
                self.revision <= shared.kept && is_told
            }
            Need::Session(session) => {
                let mut stored = stored.iter();
                let is_here = user.sessions.iter().find(|it| it.id == session);
                is_here.is_some_and(|it| it.in_store.has(self.revision))
                    || self.revision == 0
                    || stored.any(|(id, token)| *id == session && self.revision <= token.revision())
            }
        }
    }
}

impl<A> Users<A> {
    /// Lets a request wait. It is answered at once if the store has the change already, or if too many requests wait.
    pub(super) fn wait(
        &mut self,
        id: &UserId,
        waiting: WaitingRequest<A>,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Known(user)) = self.users.get(id) else {
            return refuse(Some(waiting.reply_to), Refusal::Unavailable, out);
        };
        if !waiting.need.is_of_profile() && waiting.is_met(user, &[]) {
            return grant(Some(waiting.reply_to), out);
        }
        let all = self.waiting.entry(id.clone()).or_default();
        if all.len() >= self.limits.waiting_max {
            return refuse(Some(waiting.reply_to), Refusal::Unavailable, out);
        }
        if all.is_empty() {
            self.timers.arm(Key::Waiting(id.clone()), waiting.until);
        }
        all.push(waiting);
    }

    /// Notes that the store has the profile up to the revision `kept`.
    pub(super) fn note_kept(&mut self, id: &UserId, kept: Option<u64>) {
        if let (Some(Slot::Known(user)), Some(kept)) = (self.users.get_mut(id), kept)
            && let Some(shared) = &mut user.shared
        {
            shared.kept = shared.kept.max(kept);
        }
    }

    /// Answers the requests whose changes are in the store. Refuses those whose session went to another node, because it is
    /// not known what became of the change, and late choices that are overtaken.
    pub(super) fn answer(
        &mut self,
        id: &UserId,
        stored: &[(SessionId, FencingToken)],
        taken: &[SessionId],
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(all) = self.waiting.remove(id) else {
            return;
        };
        let user = match self.users.get(id) {
            Some(Slot::Known(user)) => Some(user),
            _ => None,
        };
        let mut left = Vec::new();
        for one in all {
            let is_taken = |it: &SessionId| one.need == Need::Session(*it);
            let is_overtaken = user.is_some_and(|user| one.is_overtaken(user));
            if is_overtaken || taken.iter().any(is_taken) {
                refuse(Some(one.reply_to), Refusal::Unavailable, out);
            } else if user.is_none_or(|user| one.is_met(user, stored)) {
                grant(Some(one.reply_to), out);
            } else {
                left.push(one);
            }
        }
        if left.is_empty() {
            self.timers.cancel(&Key::Waiting(id.clone()));
        } else {
            self.waiting.insert(id.clone(), left);
        }
    }

    /// Refuses the requests that have waited for too long.
    pub(super) fn give_up_waiting(
        &mut self,
        now: Timestamp,
        id: &UserId,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(all) = self.waiting.remove(id) else {
            return;
        };
        let (over, left): (Vec<_>, Vec<_>) = all.into_iter().partition(|it| it.until <= now);
        for one in over {
            refuse(Some(one.reply_to), Refusal::Unavailable, out);
        }
        if let Some(next) = left.first() {
            self.timers.arm(Key::Waiting(id.clone()), next.until);
            self.waiting.insert(id.clone(), left);
        }
    }
}
