//! How a user follows the profile and the sessions that the shared store has.

use std::sync::Arc;

use super::session::{InStore, Session};
use super::shared::{Hiding, Putting, Shared, patched_profile, stored_profile};
use super::user::User;
use crate::cluster::{
    Author, Claimed, FencingToken, Field, Guard, Hold, Membership, Put, ReplicaChanges, Reply,
    Request, SessionRecord, Verdict,
};
use crate::{Moments, Profile, Reason, SessionId, Status, Timestamp};

/// A profile that is to be kept, and the version of the map that has it.
pub(super) type Saves = (Arc<Profile>, u64);

/// What changed for a user by a reply or an announcement of the store.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Sessions that are on other nodes now.
    pub(super) taken: Vec<(SessionId, FencingToken)>,
    /// Sessions that have ended, as the store has confirmed.
    pub(super) left: Vec<(SessionId, Reason)>,
    /// The tokens with which the store has records of sessions.
    pub(super) stored: Vec<(SessionId, FencingToken)>,
    /// Sessions of other nodes that this node wanted, and what became of that.
    pub(super) claims: Vec<(SessionId, Claimed)>,
    /// The store has this revision of the profile, no matter which node wrote it, and everything that was changed here
    /// until then.
    pub(super) kept: Option<u64>,
    /// The profile to save, because this node has written it, or because another node has and the user is here, too.
    pub(super) saves: Option<Saves>,
    /// Another node has erased them.
    pub(super) is_erased: bool,
    /// The user is here and was not shown, because the store could not be read until now.
    pub(super) appears: bool,
    /// The store has lost the profile. What other nodes wrote while this one could not read the store is only in the
    /// store of profiles.
    pub(super) has_lost_profile: bool,
}

/// What a reply of the store says of the profile.
#[derive(Default)]
struct ProfileNews {
    /// The profile that the reply has.
    profile: Option<(FencingToken, Arc<Profile>)>,
    /// The version of the map that the reply is about.
    version: Option<u64>,
    /// See [`Outcome::kept`].
    kept: Option<u64>,
    /// See [`Outcome::saves`].
    saves: Option<Saves>,
    /// See [`Outcome::appears`].
    appears: bool,
    /// See [`Outcome::has_lost_profile`].
    has_lost_profile: bool,
}

impl Shared {
    /// Reads what `reply` says of the profile. `is_read` says that it answers a read of the map, and `is_here` that the
    /// user has a session on this node.
    fn profile_news(&mut self, reply: &Reply, is_read: bool, is_here: bool) -> ProfileNews {
        let mut news = ProfileNews::default();
        match reply {
            Reply::Read {
                snapshot: Some(snapshot),
                ..
            } if is_read => {
                // The user came to this node while the store could not be read, and was not shown. They appear now.
                news.appears = self.mark_sure() && is_here;
                news.profile = stored_profile(snapshot);
                news.version = snapshot.clock.map(|it| it.version);
                self.lacks_profile = news.profile.is_none();
                if news.profile.is_none() {
                    news.has_lost_profile = self.known.take().is_some() && is_here;
                }
            }
            Reply::Patched(patch) => {
                news.profile = patched_profile(patch);
                news.version = Some(patch.clock.version);
                let mut fields = patch.changes.iter().map(|it| it.field);
                if fields.any(|it| it == Field::Profile) {
                    self.lacks_profile = news.profile.is_none();
                }
            }
            Reply::Written(outcome) => (news.kept, news.saves) = self.written(outcome.as_ref()),
            _ => {}
        }
        news
    }
}

impl User {
    /// Applies a reply or an announcement of the store.
    pub(super) fn hear(
        &mut self,
        now: Timestamp,
        reply: Reply,
        membership: &Membership,
        out: &mut Vec<Request>,
    ) -> Outcome {
        let is_here = !self.sessions.is_empty();
        let Some(shared) = &mut self.shared else {
            return Outcome::default();
        };
        // A patch may be older than the stored state; the answer to a read is not.
        let is_read = matches!(
            reply,
            Reply::Read {
                snapshot: Some(_),
                ..
            }
        ) && shared.replica.is_reading();
        let news = shared.profile_news(&reply, is_read, is_here);
        let heard = shared.hear(now, reply, membership);
        let mut outcome = Outcome {
            kept: news.kept,
            saves: news.saves,
            appears: news.appears,
            has_lost_profile: news.has_lost_profile,
            ..Outcome::default()
        };
        match news.profile {
            Some((token, profile)) => {
                let version = news.version;
                self.hear_profile(now, (token, profile), version, is_read, &mut outcome);
            }
            None => {
                self.forget_erasure(is_read);
                if is_read {
                    self.pass_the_fence();
                }
            }
        }
        self.own_changed |= !heard.changes.is_empty();
        if let Some(shared) = &mut self.shared {
            shared.note_ended(&heard);
        }
        self.note_stored(now, &heard);
        if let Some(shared) = self.shared.as_mut().filter(|_| is_read) {
            shared.hide_places(&self.profile.user, &self.sessions, membership, out);
        }
        Outcome {
            taken: heard.taken,
            left: heard.left,
            stored: heard.stored,
            claims: heard.claims,
            ..outcome
        }
    }

    /// Applies the profile that the map has in `version`, and notes in `outcome` what follows from it.
    fn hear_profile(
        &mut self,
        now: Timestamp,
        (token, profile): (FencingToken, Arc<Profile>),
        version: Option<u64>,
        is_read: bool,
        outcome: &mut Outcome,
    ) {
        let (revision, was_blank) = (self.profile.status.revision, self.profile.is_blank());
        self.adopt(now, token, &profile, is_read);
        let is_new = self.profile.status.revision != revision;
        if is_new && !self.sessions.is_empty() && token.author() != Author::Unread {
            outcome.saves = version.map(|version| (profile, version));
        }
        outcome.is_erased = self.profile.is_blank() && !was_blank;
        if self.shared.as_ref().is_some_and(|it| !it.has_pending()) {
            outcome.kept = Some(token.epoch.max(self.profile.status.revision));
        }
    }

    /// Forgets the tombstone of a user who was erased, once the store has removed it: whoever comes then is new, and nobody
    /// throws them out because of it. `is_read`: the store has said that it has no profile.
    fn forget_erasure(&mut self, is_read: bool) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        if is_read && self.profile.user.is_anonymous() && matches!(shared.profile, Putting::Done) {
            // Nothing is stored of a visitor elsewhere, so nothing is left to be removed.
            shared.erasing = None;
        }
        let is_done = shared.lacks_profile && shared.erasing.is_none() && !shared.has_pending();
        if is_done && matches!(shared.profile, Putting::Done) && self.profile.is_blank() {
            self.profile.public_status = None;
        }
    }

    /// Raises the revision above that of a profile that the store has removed, or else the store would refuse this one.
    fn pass_the_fence(&mut self) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let is_here = self.sessions.iter().any(Session::is_to_be_stored);
        let is_here = is_here && self.profile.is_worth_keeping();
        let revision = &mut self.profile.status.revision;
        let fenced = shared.fenced.map(|it| it.epoch);
        let is_open = shared.has_pending() || shared.erasing.is_some();
        if fenced >= Some(*revision) && (is_open || is_here) {
            *revision = fenced.unwrap_or_default() + 1;
            shared.authored();
            self.write_places_again();
        }
    }

    /// Notes which records of sessions the store has, and opens the places that they name to other nodes: unless the store
    /// has a later profile, which may say that the user hides.
    fn note_stored(&mut self, now: Timestamp, heard: &ReplicaChanges<Arc<SessionRecord>>) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        for (id, token) in &heard.stored {
            if let Some(session) = self.sessions.iter_mut().find(|it| it.id == *id) {
                session.stored_as(*token);
            }
        }
        for id in &heard.absent {
            if let Some(session) = self.sessions.iter_mut().find(|it| it.id == *id) {
                session.end_later(now);
            }
        }
        match shared.seen <= self.profile.status.revision || self.unread.is_some() {
            true => self.sessions.iter_mut().for_each(Session::open_places),
            false => shared.replica.refresh(),
        }
    }

    /// Compares the profile that another node has stored with this one, and adopts it, keeps this one, or
    /// merges the two.
    fn adopt(&mut self, now: Timestamp, token: FencingToken, stored: &Profile, is_read: bool) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let mine = shared.token(&self.profile);
        let known = shared.known.replace(token);
        shared.seen = shared.seen.max(token.epoch);
        if token == mine {
            return;
        }
        // If neither writer could read the stored profile, neither knows more; one of them may be this node.
        let is_as_far = token.author() == Author::Unread && mine >= token;
        if self.unread.is_some() && !is_as_far {
            shared.author = token.author();
            shared.is_authored = false;
            if stored.is_blank() {
                shared.pending.clear();
            }
            return self.learn(now, Some(stored.clone()));
        }
        let is_based_on_it = known == Some(token) || token.author() == Author::Unread;
        let has_changes = shared.has_pending() || shared.erasing.is_some();
        if mine >= token && (is_based_on_it || !has_changes) {
            if !self.profile.is_blank() {
                // Two nodes may have made the same revision, when a status ended. The other may have seen them later.
                self.profile.last_seen = self.profile.last_seen.max(stored.last_seen);
            }
            if matches!(shared.profile, Putting::Done) && is_read {
                shared.put_profile();
            }
            return;
        }
        let chosen_at = self.profile.moments.chosen;
        self.merge(now, token, stored);
        // What this node hears at once was stored after the sessions began that it has.
        if is_read && self.profile.moments.chosen != chosen_at {
            self.came_back(now);
        }
    }

    /// Applies the profile of another node, which was stored first. Changes that were made here are applied to it if
    /// they were chosen later.
    pub(super) fn merge(&mut self, now: Timestamp, token: FencingToken, stored: &Profile) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let before = self.profile.clone();
        self.profile = stored.clone();
        self.profile.last_seen = stored.last_seen.max(before.last_seen);
        shared.author = token.author();
        shared.is_authored = false;
        let mut is_different = false;
        if let Some(erased_at) = shared.erasing {
            self.profile = stored.blank();
            self.profile.outdate(shared.store_time(now));
            // What was chosen here since stays.
            self.profile.moments = Moments::all(erased_at);
            is_different = true;
        } else if stored.is_blank() {
            // The user was erased meanwhile, so the changes from before are dropped.
            shared.pending.clear();
            self.profile.last_seen = stored.last_seen;
        }
        for (change, moment) in &shared.pending {
            let change = self.profile.moments.newer(change, *moment);
            self.profile.choose_at(now, *moment, &change);
            is_different |= !change.is_empty();
        }
        match is_different {
            true => shared.authored(),
            // They had later wishes.
            false => shared.pending.clear(),
        }
        if self.profile.expire(now) {
            shared.authored();
        }
        if !self.profile.status.chosen.hides() {
            shared.hiding = Hiding::No;
        }
        let revision = self.profile.status.revision;
        let before = Status {
            revision,
            ..before.status
        };
        self.own_changed |= self.profile.status != before;
        self.write_places_again();
    }

    /// Has the entries in all places written with the present revision of the profile. They may have hidden in between,
    /// and then an entry that shows an earlier revision is refused.
    fn write_places_again(&mut self) {
        for place in self.sessions.iter_mut().flat_map(|it| &mut it.places) {
            place.write_again();
        }
    }

    /// Drops entries that were kept long enough for another node by `now`.
    pub(super) fn look_after_copy(&mut self, now: Timestamp, membership: &Membership) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        shared.armed = None;
        let heard = shared.replica.expire(now, membership);
        shared.note_ended(&heard);
        shared.handed_over.retain(|_, it| now < it.until);
        self.own_changed |= !heard.changes.is_empty();
    }

    /// Writes what other nodes have to know of the user. Returns the sessions that are known to be on another node.
    pub(super) fn share(
        &mut self,
        now: Timestamp,
        membership: &Membership,
        out: &mut Vec<Request>,
    ) -> Vec<SessionId> {
        let Some(shared) = &mut self.shared else {
            return Vec::new();
        };
        let is_over = self.profile.user.is_anonymous() && {
            let is_elsewhere = shared.elsewhere().next().is_some();
            self.sessions.is_empty() && !is_elsewhere
        };
        if shared.lacks_profile
            && matches!(shared.profile, Putting::Done)
            && self.sessions.iter().any(Session::is_to_be_stored)
            && self.profile.is_worth_keeping()
            && self.unread.as_ref().is_none_or(|it| !it.is_empty())
        {
            shared.put_profile();
        }
        if shared.hiding != Hiding::No && !self.profile.status.chosen.hides() {
            shared.hiding = Hiding::No;
        }
        for (session, reason) in &self.ended {
            shared.replica.remove(now, *session, *reason, membership);
        }
        let mut elsewhere = Vec::new();
        for session in &mut self.sessions {
            if session.is_ending() {
                continue;
            }
            let Some(record) = session.news(now) else {
                continue;
            };
            let how = Put {
                guard: match session.in_store {
                    InStore::New { replaces } => Guard::Replaces(replaces),
                    InStore::Stored(_) => Guard::Newer,
                },
                profile: 0,
                hold: Hold::No,
            };
            let (id, epoch, record) = (session.id, session.epoch, Arc::new(record));
            match shared.replica.put(now, id, epoch, record, how, membership) {
                Verdict::Counts => session.named(shared.replica.revision_of(id)),
                Verdict::Superseded => elsewhere.push(id),
            }
        }
        let is_unread = self.unread.is_some();
        shared.ask(now, &self.profile, (is_over, is_unread), membership, out);
        elsewhere
    }
}
