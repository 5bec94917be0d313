//! Compares the state of a user with what was last told and stored, after each input.

use super::effect::{Effect, grant};
use super::loading::Slot;
use super::show::Origin;
use super::user::Entrance;
use super::waiting::{Need, WaitingRequest};
use super::{Key, Users};
use crate::cluster::Subject;
use crate::{Timestamp, UserId};

impl<A> Users<A> {
    /// The same as [`reconcile_as`](Self::reconcile_as) after a change that was made here.
    pub(super) fn reconcile(&mut self, now: Timestamp, id: &UserId, out: &mut Vec<Effect<A>>) {
        self.reconcile_as(now, id, Origin::Local, None, out);
    }

    /// Compares the present state of the user with what was last told, and emits what has to be told, written and stored.
    pub(super) fn reconcile_as(
        &mut self,
        now: Timestamp,
        id: &UserId,
        origin: Origin,
        reply_to: Option<(Need, A)>,
        out: &mut Vec<Effect<A>>,
    ) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return;
        };
        user.show(now, origin, out);
        user.remember(now, self.keeping, out);
        user.write(now, out);
        user.remove_ended_elsewhere(out);
        user.tell_owner(now, out);
        let unsaved = std::mem::take(&mut user.unsaved);
        let is_of_profile = reply_to
            .as_ref()
            .is_some_and(|(need, _)| need.is_of_profile());
        if let (Some(shared), Some(membership)) = (&mut user.shared, &self.membership) {
            // The profile is written to the shared store first, and saved for longer when that has it.
            if unsaved || is_of_profile {
                shared.put_profile();
            }
            let mut requests = Vec::new();
            let elsewhere = user.share(now, membership, &mut requests);
            out.extend(requests.into_iter().map(Effect::Ask));
            for session in elsewhere {
                user.hand_over(now, session, out);
            }
            if let Some(deadline) = user.copy_deadline_to_arm() {
                self.timers.arm(Key::Copy(id.clone()), deadline.max(now));
            }
            if let Some((need, reply_to)) = reply_to {
                let waiting = WaitingRequest::of(now, user, need, reply_to);
                self.wait(id, waiting, out);
            }
        } else if id.is_anonymous() || !(unsaved || is_of_profile) {
            grant(reply_to.map(|(_, reply_to)| reply_to), out);
        } else {
            let (saved_for, reply_to) = match is_of_profile {
                true => (reply_to.map(|(_, reply_to)| reply_to), None),
                false => (None, reply_to),
            };
            out.push(Effect::Save {
                profile: user.profile.clone(),
                version: None,
                reply_to: saved_for,
            });
            grant(reply_to.map(|(_, reply_to)| reply_to), out);
        }
        self.arm_timers(now, id);
        self.drop_unneeded(id, out);
    }

    /// Arms the timers whose deadlines are new, and cancels those of sessions that have ended.
    fn arm_timers(&mut self, now: Timestamp, id: &UserId) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return;
        };
        for session in &mut user.sessions {
            if let Some(deadline) = session.deadline_to_arm(now, &self.timing) {
                let key = Key::Session(id.clone(), session.id);
                self.timers.arm(key, deadline);
            }
        }
        for (session, _) in user.ended.drain(..) {
            self.timers.cancel(&Key::Session(id.clone(), session));
        }
        if let Some(deadline) = user.deadline_to_arm() {
            self.timers.arm(Key::User(id.clone()), deadline);
        }
    }

    /// Drops a user who has no sessions, watchers or pending writes on this node any more.
    fn drop_unneeded(&mut self, id: &UserId, out: &mut Vec<Effect<A>>) {
        let Some(Slot::Known(user)) = self.users.get_mut(id) else {
            return;
        };
        // More inputs about a user who was just read from the shared store may follow. To read them again while the node
        // stops following them would lose the first of what it then follows.
        let is_coming = user.shared.is_some() && user.entrance != Entrance::Over;
        if is_coming || user.is_needed() || self.claims.contains_key(id) {
            return;
        }
        self.timers.cancel(&Key::User(id.clone()));
        self.timers.cancel(&Key::Copy(id.clone()));
        if let (Some(shared), Some(membership)) = (&mut user.shared, &self.membership) {
            let subject = Subject::User(id.clone());
            let mut requests = Vec::new();
            let replica = &mut shared.replica;
            replica.follow(false, &subject, membership, &mut requests);
            out.extend(requests.into_iter().map(Effect::Ask));
        }
        self.postponed.remove(id);
        self.forget_watchers(id, out);
        self.users.remove(id);
        crate::shrink_after_burst(&mut self.users);
    }
}
