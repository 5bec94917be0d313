//! What is stored of a user: the chosen status, what others go on seeing while the user hides, and the last-seen time.

use std::sync::Arc;

use crate::status::{EMOJI_BYTES_MAX, Edit, Expiry, MESSAGE_CHARS_MAX};
use crate::{Chosen, Status, StatusChange, Timestamp, UserId};

/// When each field of a status was last chosen, by the clock of the shared store; 0 where that is not known. Of two
/// choices of one field the later one wins, in whichever order they arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Moments {
    /// When the status was chosen.
    pub chosen: Timestamp,
    /// When the message was chosen.
    pub message: Timestamp,
    /// When the emoji was chosen.
    pub emoji: Timestamp,
    /// When the end of the status was chosen.
    pub expiry: Timestamp,
}

impl Moments {
    /// Every field was chosen at `moment`.
    pub(crate) fn all(moment: Timestamp) -> Self {
        Moments {
            chosen: moment,
            message: moment,
            emoji: moment,
            expiry: moment,
        }
    }

    fn note(&mut self, change: &StatusChange, moment: Timestamp) {
        fn note(noted: &mut Timestamp, is_changed: bool, moment: Timestamp) {
            if is_changed {
                *noted = moment.max(*noted);
            }
        }
        note(&mut self.chosen, change.chosen.is_some(), moment);
        note(&mut self.message, change.message != Edit::Keep, moment);
        note(&mut self.emoji, change.emoji != Edit::Keep, moment);
        // Who hides removes the end of the status before.
        let hides = change.chosen.is_some_and(Chosen::hides);
        note(
            &mut self.expiry,
            hides || change.expiry != Edit::Keep,
            moment,
        );
    }

    /// The part of `change` that still counts, if it was chosen at `moment`: fields that were chosen later
    /// are left out.
    pub(crate) fn newer(&self, change: &StatusChange, moment: Timestamp) -> StatusChange {
        fn newer<T: Clone>(edit: &Edit<T>, since: Timestamp, moment: Timestamp) -> Edit<T> {
            match since < moment {
                true => edit.clone(),
                false => Edit::Keep,
            }
        }
        StatusChange {
            chosen: change.chosen.filter(|_| self.chosen < moment),
            message: newer(&change.message, self.message, moment),
            emoji: newer(&change.emoji, self.emoji, moment),
            expiry: newer(&change.expiry, self.expiry, moment),
        }
    }
}

/// Whether the status in a profile is known, or a guess.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum StatusSource {
    /// The user chose the status, or has never chosen one.
    #[default]
    Known,
    /// The stored profile could not be read, so it is assumed that the user hides. The message, the emoji and the end are
    /// those that the user has chosen since.
    Guessed,
}

/// The public status that is stored with a profile whose status is guessed. No other profile has a public status that
/// hides, so releases that know no [`StatusSource`] understand it.
static GUESS: Status = Status {
    chosen: Chosen::Invisible,
    message: None,
    emoji: None,
    expires_at: None,
    revision: 0,
};

impl StatusSource {
    /// Reads the source of a stored status, and the public status, from what is stored as the public status: see
    /// [`Profile::stored_public_status`].
    pub fn of_stored(public_status: Option<Status>) -> (Self, Option<Status>) {
        match public_status {
            Some(it) if it.chosen.hides() => (StatusSource::Guessed, Some(Status::default())),
            it => (StatusSource::Known, it),
        }
    }
}

/// What is stored of a user for longer than any session or process: one record for each user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Profile {
    /// The user that the profile belongs to.
    pub user: UserId,
    /// The status that the user chose.
    pub status: Status,
    /// Whether the status is known, or a guess because the stored profile could not be read.
    #[cfg_attr(feature = "serde", serde(default))]
    pub source: StatusSource,
    /// While the user hides: the status that others last saw. Others go on seeing its message and emoji, as they would
    /// of an absent person.
    #[cfg_attr(feature = "serde", serde(default))]
    pub public_status: Option<Status>,
    /// When others last saw the user. It does not advance while the user hides. `None` if nobody ever saw them.
    #[cfg_attr(feature = "serde", serde(default))]
    pub last_seen: Option<Timestamp>,
    /// When each field was chosen. Only the shared store keeps this.
    #[cfg_attr(feature = "serde", serde(default))]
    pub moments: Moments,
}

fn bound(message: &mut Option<Arc<str>>, emoji: &mut Option<Arc<str>>) -> bool {
    let is_long = |text: &mut Arc<str>| text.chars().count() > MESSAGE_CHARS_MAX;
    let is_big = |text: &mut Arc<str>| text.len() > EMOJI_BYTES_MAX;
    let message = message.take_if(is_long);
    let emoji = emoji.take_if(is_big);
    message.is_some() || emoji.is_some()
}

impl Profile {
    /// The profile of a user of whom nothing is stored.
    pub fn new(user: UserId) -> Self {
        Profile {
            user,
            status: Status::default(),
            source: StatusSource::Known,
            public_status: None,
            last_seen: None,
            moments: Moments::default(),
        }
    }

    /// Whether this replaces `stored`, a profile of the same user: it does unless `stored` has a higher
    /// revision, or the same revision and a later `last_seen`. A profile replaces one that is equal, so saving
    /// it twice has no effect.
    pub fn supersedes(&self, stored: &Profile) -> bool {
        let rank = |profile: &Profile| (profile.status.revision, profile.last_seen);
        rank(self) >= rank(stored)
    }

    /// Up to when something is known of the user, for a profile that was last saved at `saved_at`: `last_seen`. For a
    /// user who was never seen, or who hides, it is `saved_at`, because `last_seen` does not advance while they hide.
    pub fn known_at(&self, saved_at: Timestamp) -> Timestamp {
        match self.last_seen {
            Some(seen_at) if !self.status.chosen.hides() => seen_at,
            _ => saved_at,
        }
    }

    /// Removes a message or an emoji that is longer than users may choose, which happens only in a store that other
    /// programs write to. Returns whether anything was removed.
    pub fn bound_words(&mut self) -> bool {
        let status = &mut self.status;
        let mut is_bound = bound(&mut status.message, &mut status.emoji);
        if let Some(public_status) = &mut self.public_status {
            is_bound |= bound(&mut public_status.message, &mut public_status.emoji);
        }
        is_bound
    }

    /// The message and the emoji that others see.
    pub fn shown_words(&self) -> (Option<Arc<str>>, Option<Arc<str>>) {
        let shown = self.public_status.as_ref().unwrap_or(&self.status);
        (shown.message.clone(), shown.emoji.clone())
    }

    /// The next moment at which a part of the profile expires, if any.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        let public_status = self
            .public_status
            .as_ref()
            .and_then(|public_status| public_status.expires_at);
        self.status
            .expires_at
            .into_iter()
            .chain(public_status)
            .min()
    }

    /// The profile of a user whose stored profile cannot be read. The user might be hiding, so they are hidden until
    /// the profile can be read or they choose a status.
    pub(crate) fn unread(user: UserId) -> Self {
        let mut profile = Profile::new(user);
        profile.status.chosen = Chosen::Invisible;
        profile.source = StatusSource::Guessed;
        profile.public_status = Some(Status::default());
        profile
    }

    /// The public status as stores have it, which says also whether the status is guessed. [`StatusSource::of_stored`]
    /// reads it.
    pub fn stored_public_status(&self) -> Option<&Status> {
        match self.source {
            StatusSource::Known => self.public_status.as_ref(),
            StatusSource::Guessed => Some(&GUESS),
        }
    }

    /// Notes that the status is known, because the user has chosen one.
    pub(crate) fn mark_known(&mut self) {
        self.source = StatusSource::Known;
    }

    /// The changes that were made to a profile that could not be read, each with its moment. A field that is empty may not
    /// have been changed at all, so it is kept.
    pub(crate) fn as_changes_of_unread(&self) -> Vec<(StatusChange, Timestamp)> {
        fn edit<T>(value: Option<T>) -> Edit<T> {
            value.map_or(Edit::Keep, Edit::Set)
        }
        let (status, moments) = (&self.status, &self.moments);
        let chosen = StatusChange {
            chosen: (self.source == StatusSource::Known).then_some(status.chosen),
            ..StatusChange::default()
        };
        let message = StatusChange {
            message: edit(status.message.clone()),
            ..StatusChange::default()
        };
        let emoji = StatusChange {
            emoji: edit(status.emoji.clone()),
            ..StatusChange::default()
        };
        let expiry = StatusChange {
            expiry: edit(status.expires_at.map(Expiry::At)),
            ..StatusChange::default()
        };
        // The end comes last: to hide removes it.
        let changes = [
            (chosen, moments.chosen),
            (message, moments.message),
            (emoji, moments.emoji),
            (expiry, moments.expiry),
        ];
        let changes = changes.into_iter().filter(|(change, _)| !change.is_empty());
        changes.collect()
    }

    /// The tombstone that replaces this profile when the user is erased: an empty profile with the next revision. Older
    /// writes have a lower revision and are refused.
    pub fn blank(&self) -> Profile {
        Profile::blank_at(self.user.clone(), self.status.revision + 1)
    }

    /// A tombstone is recognised by an empty public status: no other profile of a user who does not hide has a public
    /// status.
    fn blank_at(user: UserId, revision: u64) -> Profile {
        let mut blank = Profile::new(user);
        blank.status.revision = revision;
        blank.public_status = Some(Status::default());
        blank
    }

    /// Raises the revision to `now` in milliseconds, or by one if it is higher already. That is above every stored
    /// revision that was counted.
    pub(crate) fn outdate(&mut self, now: Timestamp) {
        let status = &mut self.status;
        status.revision = (status.revision + 1).max(now.as_millis());
    }

    /// Whether this is a tombstone. It is kept until the user's data is gone everywhere, and then removed.
    pub fn is_blank(&self) -> bool {
        let blank = Profile::blank_at(self.user.clone(), self.status.revision);
        let moments = self.moments;
        *self == Profile { moments, ..blank }
    }

    /// Whether the profile differs from that of a user of whom nothing is stored.
    pub(crate) fn is_worth_keeping(&self) -> bool {
        let moments = self.moments;
        let new = Profile::new(self.user.clone());
        *self != Profile { moments, ..new }
    }

    /// Resets what has expired by `now`. Returns whether anything did.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let over = |status: &Status| status.expires_at.is_some_and(|at| at <= now);
        let mut changed = false;
        if self.public_status.as_ref().is_some_and(over) {
            self.public_status = Some(Status::default());
            self.status.revision += 1;
            changed = true;
        }
        if over(&self.status) {
            let before = match self.source {
                StatusSource::Guessed => Profile::unread(self.user.clone()),
                StatusSource::Known => Profile::new(self.user.clone()),
            };
            self.public_status = before.public_status;
            self.status = Status {
                revision: self.status.revision + 1,
                ..before.status
            };
            changed = true;
        }
        changed
    }

    /// Applies `change` at `now`, where the user chose it at `moment` by the clock of the store. Returns whether
    /// anything is different. The new revision is `moment` in milliseconds, or the next one if that is higher. A choice
    /// that repeats the status makes one too: other nodes have to know when it was made.
    pub(crate) fn choose_at(
        &mut self,
        now: Timestamp,
        moment: Timestamp,
        change: &StatusChange,
    ) -> bool {
        let revision = self.status.revision;
        self.moments.note(change, moment);
        let is_different = self.choose(now, change);
        if !change.is_empty() {
            if !self.status.chosen.hides() {
                // Whoever chooses a status is not erased any more.
                self.public_status = None;
            }
            self.status.revision = moment.as_millis().max(revision + 1);
        }
        is_different
    }

    /// Applies `change` at `now`. Returns whether anything is different.
    pub fn choose(&mut self, now: Timestamp, change: &StatusChange) -> bool {
        let mut next = self.status.clone();
        if let Some(chosen) = change.chosen {
            next.chosen = chosen;
        }
        change.message.apply(&mut next.message);
        change.emoji.apply(&mut next.emoji);
        let mut expires_at = next.expires_at.map(Expiry::At);
        change.expiry.apply(&mut expires_at);
        if next.chosen.hides() && !self.status.chosen.hides() && change.expiry == Edit::Keep {
            // The end of lunch must not show somebody who has gone into hiding meanwhile.
            expires_at = None;
        }
        next.expires_at = expires_at.map(|expiry| expiry.moment(now));
        if next == self.status {
            return false;
        }
        next.revision += 1;
        let before = std::mem::replace(&mut self.status, next);
        if !self.status.chosen.hides() {
            self.source = StatusSource::Known;
            self.public_status = None;
        } else if !before.chosen.hides() {
            // Hiding must look like leaving, and a user who leaves keeps their message.
            self.public_status = Some(before);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_two_records_meet_the_higher_revision_stays_then_the_later_last_seen() {
        let record = |revision, last_seen: Option<u64>| {
            let mut profile = Profile::new(UserId::new("ann").unwrap());
            profile.status.revision = revision;
            profile.last_seen = last_seen.map(Timestamp::from_millis);
            profile
        };
        // Each takes the place of those before it, and of itself.
        let rising = [
            record(0, None),
            record(0, Some(0)),
            record(0, Some(9)),
            record(1, None),
            record(1, Some(5)),
            record(2, Some(1)),
        ];
        for (i, new) in rising.iter().enumerate() {
            for (j, stored) in rising.iter().enumerate() {
                assert_eq!(new.supersedes(stored), i >= j, "{new:?} over {stored:?}");
            }
        }
    }

    #[test]
    fn who_hides_or_was_never_seen_is_known_of_since_the_last_save() {
        let [seen_at, saved_at] = [5, 9].map(Timestamp::from_millis);
        let known_at = |chosen, last_seen| {
            let mut profile = Profile::new(UserId::new("ann").unwrap());
            profile.status.chosen = chosen;
            profile.last_seen = last_seen;
            profile.known_at(saved_at)
        };
        assert_eq!(known_at(Chosen::Busy, Some(seen_at)), seen_at);
        assert_eq!(known_at(Chosen::Busy, None), saved_at);
        for hiding in [Chosen::Invisible, Chosen::Offline] {
            assert_eq!(known_at(hiding, Some(seen_at)), saved_at);
        }
    }

    #[test]
    fn a_blank_profile_says_nothing_and_supersedes_what_it_replaces() {
        let now = Timestamp::from_millis(1_000_000);
        let mut profile = Profile::new(UserId::new("ann").unwrap());
        assert!(!profile.is_blank(), "nobody was erased");
        let change = StatusChange {
            message: Edit::Set("secret".into()),
            ..StatusChange::default()
        };
        assert!(profile.choose(now, &change));
        profile.last_seen = Some(now);
        assert!(!profile.is_blank());
        let blank = profile.blank();
        assert!(blank.is_blank() && blank.supersedes(&profile));
        assert!(!profile.supersedes(&blank));
        assert_eq!(blank.status.message, None);
        assert_eq!(blank.last_seen, None);
        // A user who comes back, or says something, is not blank any more.
        let mut back = blank.clone();
        back.last_seen = Some(now);
        assert!(!back.is_blank());
        let mut back = blank;
        assert!(back.choose(now, &change) && !back.is_blank());
        assert_eq!(back.shown_words().0.as_deref(), Some("secret"));
    }

    #[test]
    fn a_choice_in_a_cluster_makes_a_revision_also_if_it_repeats_the_status() {
        let now = Timestamp::from_millis(1_000_000);
        let online = StatusChange::to(Chosen::Online);
        let mut profile = Profile::new(UserId::new("ann").unwrap()).blank();
        assert!(!profile.choose_at(now, now, &online));
        assert_eq!(profile.status.revision, now.as_millis());
        assert!(
            !profile.is_blank(),
            "whoever chooses is not erased any more"
        );
        assert!(!profile.choose_at(now, now, &online));
        assert_eq!(profile.status.revision, now.as_millis() + 1);
        assert!(!profile.choose_at(now, now, &StatusChange::default()));
        assert_eq!(
            profile.status.revision,
            now.as_millis() + 1,
            "that chooses nothing"
        );
    }

    #[test]
    fn a_status_that_is_over_is_not_erased() {
        let now = Timestamp::from_millis(1_000_000);
        let mut profile = Profile::new(UserId::new("ann").unwrap());
        let change = StatusChange {
            chosen: Some(Chosen::Busy),
            expiry: Edit::Set(Expiry::At(now)),
            ..StatusChange::default()
        };
        assert!(profile.choose(now, &change) && profile.expire(now));
        assert!(!profile.is_blank());
    }
}
