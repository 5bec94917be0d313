//! What a user chose, when they were last seen, and what of that is to be saved.

use std::time::Duration;

use super::Effect;
use super::late_choice::LateChoice;
use super::shared::PENDING_MAX;
use super::user::User;
use crate::cluster::{Author, FencingToken};
use crate::history::{Cause, TransitionKind};
use crate::{Chosen, Moments, Profile, StatusChange, Timestamp, Timing};

/// What a choice of a status comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// The status is another one now.
    New,
    /// The status was like this already.
    Same,
    /// It waited on this node, or was made while this node stood still. Another node has answered a choice since, and
    /// that choice stays.
    Overtaken,
}

impl User {
    /// Sets a status of `offline` back to `online`, because the user has connected: that came at `since`, and `offline` stays
    /// if it was chosen later.
    pub(super) fn come_back(&mut self, now: Timestamp, since: Timestamp) {
        let shared = self.shared.as_ref();
        let late = shared.and_then(|it| it.late_since(now, since));
        if late.is_none_or(|it| self.offline_at().is_some_and(|at| at < it)) {
            self.end_offline(now);
        }
    }

    /// The same when a status of `offline` becomes known here, for the sessions that have begun here since it was chosen.
    pub(super) fn came_back(&mut self, now: Timestamp) {
        // A session that goes on in another connection has not begun since.
        let begun = self
            .sessions
            .iter()
            .filter(|it| it.epoch == 0 || it.by_service);
        let Some(since) = begun.map(|it| it.connected_at).max() else {
            return;
        };
        let since = self
            .shared
            .as_ref()
            .map_or(since, |it| it.store_time(since));
        if self.offline_at().is_some_and(|at| at < since) {
            self.end_offline(now);
        }
    }

    /// When `offline` was chosen; `None` if the status is another one.
    fn offline_at(&self) -> Option<Timestamp> {
        if self.profile.status.chosen != Chosen::Offline {
            return None;
        }
        // The database does not have the moment, but the revision is at least that.
        let known = self.profile.moments.chosen;
        let revision = Timestamp::from_millis(self.profile.status.revision);
        Some(if known == Timestamp::default() {
            revision
        } else {
            known
        })
    }

    /// Sets `offline` to `online`. The user did not choose that, so it counts as made just after `offline`: whatever they
    /// have chosen through another node since then stays.
    fn end_offline(&mut self, now: Timestamp) {
        let Some(offline_at) = self.offline_at() else {
            return;
        };
        let moment = self
            .shared
            .as_ref()
            .map(|_| offline_at + Duration::from_millis(1));
        self.choose_at(now, moment, &StatusChange::to(Chosen::Online));
    }

    /// Applies a change of the status that came at `since`, unless it is overtaken.
    pub(super) fn choose(
        &mut self,
        now: Timestamp,
        since: Timestamp,
        change: &StatusChange,
    ) -> Choice {
        let shared = self.shared.as_ref();
        let late = shared.and_then(|it| it.late_moment(now, since));
        if late.is_some_and(|it| self.profile.moments.newer(change, it) != *change) {
            return Choice::Overtaken;
        }
        self.expire_status(now);
        if let Some(shared) = &mut self.shared {
            let change = change.at(now);
            shared.late_choice = late.map(|moment| Box::new(LateChoice { change, moment }));
        }
        match self.choose_at(now, late.or(self.moment(now)), change) {
            true => Choice::New,
            false => Choice::Same,
        }
    }

    /// Applies a change of the status that was made at `moment`, by the clock of the shared store, if there is one. Returns
    /// whether anything is different.
    fn choose_at(
        &mut self,
        now: Timestamp,
        moment: Option<Timestamp>,
        change: &StatusChange,
    ) -> bool {
        let is_different = match moment {
            Some(moment) => self.profile.choose_at(now, moment, change),
            None => self.profile.choose(now, change),
        };
        // In a cluster a choice that repeats the status is stored, too.
        let mut is_to_store = is_different || moment.is_some() && !change.is_empty();
        let is_unread = self.unread.is_some();
        if let Some(changes) = &mut self.unread {
            // The stored profile may say the opposite, so this is a change even if nothing is different here.
            if change.chosen.is_some() {
                self.profile.mark_known();
            }
            changes.push((change.at(now), moment.unwrap_or(now)));
            if changes.len() > PENDING_MAX {
                *changes = self.profile.as_changes_of_unread();
            }
            let time = self.shared.as_ref().map_or(now, |it| it.store_time(now));
            self.profile.outdate(time);
            is_to_store = true;
        }
        if let Some(shared) = self.shared.as_mut().filter(|_| is_to_store) {
            shared.chose(&change.at(now), moment.unwrap_or(now), &self.profile.status);
        }
        self.own_changed |= is_different || is_unread;
        self.unsaved |= is_to_store;
        is_different || is_unread
    }

    /// The moment of a choice that is made now, by the clock of the shared store, if there is one. It is later than any
    /// known choice, because clocks differ.
    pub(super) fn moment(&self, now: Timestamp) -> Option<Timestamp> {
        let shared = self.shared.as_ref()?;
        let known = Timestamp::from_millis(self.profile.status.revision);
        Some(shared.store_time(now).max(known + Duration::from_millis(1)))
    }

    /// Handles that the stored profile was read: because it could not be read before, or because the store that nodes
    /// share has lost its copy. In the second case it counts if it is later than the one here.
    pub(super) fn loaded(&mut self, now: Timestamp, stored: Option<Profile>) {
        if self.unread.is_some() {
            return self.learn(now, stored);
        }
        let revision = self.profile.status.revision;
        let is_later = |it: &Profile| revision < it.status.revision && !self.sessions.is_empty();
        let Some(stored) = stored.filter(is_later) else {
            return;
        };
        let last_seen = stored.last_seen.unwrap_or_default();
        let token = FencingToken::of_profile(stored.status.revision, Author::Nobody, last_seen);
        self.merge(now, token, &stored);
        if let Some(shared) = &mut self.shared {
            shared.put_profile();
        }
    }

    /// Applies the changes that waited for the profile, which has now been read.
    pub(super) fn learn(&mut self, now: Timestamp, stored: Option<Profile>) {
        let Some(changes) = self.unread.take() else {
            return;
        };
        let stored = stored.unwrap_or_else(|| Profile::new(self.id().clone()));
        let before = std::mem::replace(&mut self.profile, stored);
        if self.profile.is_blank() {
            // The user was erased meanwhile, so the changes from before are dropped.
            self.own_changed = true;
            return;
        }
        self.profile.last_seen = self.profile.last_seen.max(before.last_seen);
        // Before the changes: they make a later revision.
        self.came_back(now);
        if !changes.is_empty() {
            let revision = self.profile.status.revision.max(before.status.revision);
            for (change, moment) in &changes {
                match &self.shared {
                    // Another node may have stored a later choice meanwhile.
                    Some(_) => {
                        let change = self.profile.moments.newer(change, *moment);
                        self.profile.choose_at(now, *moment, &change)
                    }
                    None => self.profile.choose(now, change),
                };
            }
            self.profile.status.revision = revision.max(self.profile.status.revision) + 1;
            if let Some(shared) = &mut self.shared {
                shared.authored();
            }
            self.unsaved = true;
        }
        self.own_changed = true;
        self.expire_status(now);
    }

    /// Replaces the profile by a tombstone. The last-seen time is removed too, and is not set when the user goes.
    pub(super) fn erase(&mut self, now: Timestamp) {
        self.profile = self.profile.blank();
        self.unread = None;
        let time = self.shared.as_ref().map_or(now, |it| it.store_time(now));
        // Nobody's change that is still on its way may bring anything back.
        self.profile.outdate(time);
        if let Some(shared) = &mut self.shared {
            // A choice that was made before and waits is overtaken.
            self.profile.moments = Moments::all(time);
            shared.erase(time);
        }
        self.own_changed = true;
        self.unsaved = true;
    }

    /// Whether the user has a session anywhere, or was seen after `since`, or that is not known.
    pub(super) fn is_seen_since(&self, since: Timestamp) -> bool {
        let is_unknown = self.is_unsure() || self.unread.is_some();
        let is_seen = self.profile.last_seen.is_some_and(|it| it >= since);
        is_unknown || is_seen || self.sessions_anywhere() > 0
    }

    pub(super) fn expire_status(&mut self, now: Timestamp) {
        let changed = self.profile.expire(now);
        if let Some(shared) = self.shared.as_mut().filter(|_| changed) {
            shared.authored();
        }
        self.own_changed |= changed;
        self.unsaved |= changed;
    }

    /// The user's own timer has ended: the status, or the time until the last-seen time is noted again.
    pub(super) fn expire<A>(&mut self, now: Timestamp, out: &mut Vec<Effect<A>>) {
        self.armed = None;
        self.note_cause(Cause::Expiry);
        let before = self.profile.status.revision;
        self.expire_status(now);
        if self.profile.status.revision != before {
            let what = TransitionKind::Chose(self.profile.status.chosen);
            self.record(now, None, None, what, out);
        }
        if self.is_shown() && self.seen_at + Timing::SEEN_EVERY <= now {
            self.seen_at = now;
            self.note_heard();
        }
    }

    pub(super) fn note_heard(&mut self) {
        let seen = self.heard_at().max(self.profile.last_seen);
        // A node without a session of the user knows nothing new.
        self.unsaved |= seen != self.profile.last_seen;
        self.profile.last_seen = seen;
    }

    /// Notes when somebody who can be seen was last alive, because nobody will be there to do it later.
    pub(super) fn note_last_seen(&mut self) {
        if self.is_shown() {
            self.note_heard();
        }
    }

    /// Has the profile of a user who hides saved once more. Their last-seen time stands still, so nothing else says
    /// that they were here, and retention would delete them.
    pub(super) fn note_hiding(&mut self) {
        let is_known = self.unread.is_none() && !self.is_unsure();
        self.unsaved |= is_known && self.profile.status.chosen.hides();
    }
}
