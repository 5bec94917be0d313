//! Changes of a profile on their way to the shared store.

use std::sync::Arc;

use super::{Hiding, Shared};
use crate::cluster::store::Written;
use crate::cluster::{
    Author, FencingToken, Field, Guard, Membership, Op, Record, Request, Subject,
};
use crate::users::profile_sync::Saves;
use crate::{Profile, Reason, Status, StatusChange, Timestamp};

/// The number of status changes that wait for the store. With one more they are replaced by a single change
/// with every field.
pub(in crate::users) const PENDING_MAX: usize = 16;

/// How far the profile is on its way to the store.
#[derive(Clone, Debug, Default)]
pub(in crate::users) enum Putting {
    #[default]
    Done,
    Due,
    UnderWay(Box<UnderWay>),
}

/// A profile on its way to the store.
#[derive(Clone, Debug)]
pub(in crate::users) struct UnderWay {
    token: FencingToken,
    /// The profile that is put; `None` if the profile is removed.
    profile: Option<Arc<Profile>>,
    /// The number of pending changes that this profile includes.
    changes: usize,
    /// Whether the profile has changed again, and has to be put once more.
    again: bool,
}

impl Shared {
    /// Notes that the status was changed on this node.
    pub(in crate::users) fn chose(
        &mut self,
        change: &StatusChange,
        moment: Timestamp,
        status: &Status,
    ) {
        self.chosen_at = moment;
        let under_way = match &self.profile {
            Putting::UnderWay(it) => it.changes,
            Putting::Done | Putting::Due => 0,
        };
        self.pending.push((change.clone(), moment));
        if self.pending.len() > under_way + PENDING_MAX {
            self.pending.truncate(under_way);
            self.pending.push((status.as_change(), moment));
        }
        self.authored();
    }

    /// Notes that the profile was erased on this node at `moment`, by the store's clock. Changes from before are dropped.
    pub(in crate::users) fn erase(&mut self, moment: Timestamp) {
        self.erasing = Some(moment);
        self.late_choice = None;
        self.pending.clear();
        if let Putting::UnderWay(it) = &mut self.profile {
            it.changes = 0;
        }
        self.authored();
    }

    /// Notes that the profile has a new revision, which this node made.
    pub(in crate::users) fn authored(&mut self) {
        self.is_authored = true;
        self.put_profile();
    }

    /// Notes that the profile has to be written to the store.
    pub(in crate::users) fn put_profile(&mut self) {
        match &mut self.profile {
            Putting::UnderWay(it) => it.again = true,
            other => *other = Putting::Due,
        }
    }

    /// Whether a change of the status is not in the store yet.
    pub(in crate::users) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Appends the requests to the store that are due.
    pub(in crate::users) fn ask(
        &mut self,
        now: Timestamp,
        profile: &Profile,
        (is_over, is_unread): (bool, bool),
        membership: &Membership,
        out: &mut Vec<Request>,
    ) {
        if std::mem::take(&mut self.is_authored) {
            self.author = match is_unread {
                true => Author::Unread,
                false => Author::Node(membership.me().node),
            };
        }
        let subject = Subject::User(profile.user.clone());
        let (field, token) = (Field::Profile, self.token(profile));
        let is_due = matches!(self.profile, Putting::Due);
        let is_removal = is_over && (!self.lacks_profile || is_due);
        let mut putting = None;
        let op = match self.profile {
            Putting::UnderWay(_) => None,
            _ if is_removal => Some(Op::Remove {
                field,
                token,
                reason: Reason::Left,
            }),
            Putting::Due => {
                let profile = Arc::new(profile.clone());
                putting = Some(profile.clone());
                Some(Op::Put {
                    field,
                    token,
                    record: Record::Profile(profile),
                    guard: Guard::Replaces(self.known.or(self.fenced)),
                    profile: 0,
                })
            }
            Putting::Done => None,
        };
        if self.replica.ask(now, &subject, membership, op, out) {
            self.profile = Putting::UnderWay(Box::new(UnderWay {
                token,
                profile: putting,
                changes: self.pending.len(),
                again: false,
            }));
        }
    }

    pub(in crate::users) fn token(&self, profile: &Profile) -> FencingToken {
        let last_seen = profile.last_seen.unwrap_or_default();
        FencingToken::of_profile(profile.status.revision, self.author, last_seen)
    }

    /// Handles the answer to a write. Returns the revision of the profile that is stored now, and what has to be saved
    /// because of the version that the write made.
    pub(in crate::users) fn written(
        &mut self,
        outcome: Option<&Written>,
    ) -> (Option<u64>, Option<Saves>) {
        if let Some(profile) = outcome.and_then(|it| it.profile) {
            self.seen = self.seen.max(profile);
        }
        let put = match std::mem::take(&mut self.profile) {
            Putting::UnderWay(put) => put,
            other => {
                self.profile = other;
                return (None, None);
            }
        };
        if put.again || outcome.is_none() {
            self.profile = Putting::Due;
        }
        let Some(written) = outcome else {
            return (None, None);
        };
        let mut refused = written.refused.iter();
        if let Some((_, fence)) = refused.find(|(field, _)| *field == Field::Profile) {
            // Another node has changed the profile. It is read first, and then the change of this node is applied to it.
            self.profile = Putting::Done;
            self.fenced = self.fenced.max(Some(fence.token));
            self.replica.refresh();
            return (None, None);
        }
        self.lacks_profile = put.profile.is_none();
        self.known = put.profile.is_some().then_some(put.token);
        self.erasing = self.erasing.filter(|_| put.again);
        self.pending.drain(..put.changes.min(self.pending.len()));
        if put
            .profile
            .as_ref()
            .is_some_and(|it| it.status.chosen.hides())
        {
            self.hiding = Hiding::Noted(put.token.epoch);
            self.replica.refresh();
        }
        // If the write changed nothing, it has no version: the outbox has had a row for this revision since it was first
        // written. Nothing is to be saved here.
        let saved = put.profile.filter(|_| put.token.author() != Author::Unread);
        (Some(put.token.epoch), saved.zip(written.version))
    }
}
