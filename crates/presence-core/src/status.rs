//! The status that a person chose, and the status that others see. They are different types, so
//! *invisible* cannot leak.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::words::words;
use crate::{Timestamp, UserId, text};

/// The longest custom message, in characters.
pub const MESSAGE_CHARS_MAX: usize = 256;
/// The longest emoji, in bytes: a family of four with skin tones is 41.
pub const EMOJI_BYTES_MAX: usize = 64;
/// The longest time for which a status may be set: 366 days.
pub const CLEAR_AFTER_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The status that a person chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Chosen {
    /// Visible, as active as their sessions are.
    #[default]
    Online,
    /// Away, however active their sessions are.
    Away,
    /// Not to be disturbed.
    Busy,
    /// Connected, and shown to others as offline.
    Invisible,
    /// Shown to others as offline, whatever the devices do. It ends when the person next connects.
    Offline,
}

words!(
    Chosen is a "chosen status":
    Online = "online",
    Away = "away",
    Busy = "busy",
    Invisible = "invisible",
    Offline = "offline",
);

impl Chosen {
    /// Whether this status hides the person from others.
    pub fn hides(self) -> bool {
        matches!(self, Chosen::Invisible | Chosen::Offline)
    }

    /// The status that others are shown of a person who chose this, where `here` describes all their
    /// live sessions together.
    pub fn shown(self, here: Here) -> Visible {
        match (self, here) {
            (Chosen::Invisible | Chosen::Offline, _) | (_, Here::Nowhere) => Visible::Offline,
            (Chosen::Away, _) => Visible::Away,
            (Chosen::Busy, _) => Visible::Busy,
            (Chosen::Online, Here::Active) => Visible::Online,
            (Chosen::Online, Here::Idle) => Visible::Away,
        }
    }
}

/// How active the live sessions of a person are, all of them together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Here {
    /// The person has no live session.
    Nowhere,
    /// The person has live sessions, and all of them are idle.
    Idle,
    /// At least one live session is active.
    Active,
}

/// The status that others are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visible {
    /// The person is connected and active.
    Online,
    /// The person is connected, and idle or away.
    Away,
    /// The person is connected, and does not want to be disturbed.
    Busy,
    /// The person is not connected, or hides: others cannot tell which.
    Offline,
}

words!(Visible is a "visible status": Online = "online", Away = "away", Busy = "busy", Offline = "offline");

/// A chosen status, with its message, its emoji and its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct Status {
    /// The status that the person chose.
    pub chosen: Chosen,
    /// The custom message. Others see it while the person is offline, too.
    #[cfg_attr(
        feature = "serde",
        serde(default, deserialize_with = "crate::status::read_message")
    )]
    pub message: Option<Arc<str>>,
    /// The emoji. Others see it while the person is offline, too.
    #[cfg_attr(
        feature = "serde",
        serde(default, deserialize_with = "crate::status::read_emoji")
    )]
    pub emoji: Option<Arc<str>>,
    /// When the status, the message and the emoji are reset to a plain `online`; `None` if they stay.
    pub expires_at: Option<Timestamp>,
    /// The revision, which grows with every change: by one on a gateway that is alone, and to the moment of the change
    /// in milliseconds where gateways share a store. Of two records of one user the one with the higher revision wins.
    pub revision: u64,
}

impl Status {
    /// The change that turns any other status into this one.
    pub(crate) fn as_change(&self) -> StatusChange {
        fn edit<T>(value: Option<T>) -> Edit<T> {
            value.map_or(Edit::Clear, Edit::Set)
        }
        StatusChange {
            chosen: Some(self.chosen),
            message: edit(self.message.clone()),
            emoji: edit(self.emoji.clone()),
            expiry: edit(self.expires_at.map(Expiry::At)),
        }
    }
}

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
    fn note(&mut self, change: &StatusChange, moment: Timestamp) {
        fn note(noted: &mut Timestamp, is_changed: bool, moment: Timestamp) {
            if is_changed {
                *noted = moment.max(*noted);
            }
        }
        note(&mut self.chosen, change.chosen.is_some(), moment);
        note(&mut self.message, change.message != Edit::Keep, moment);
        note(&mut self.emoji, change.emoji != Edit::Keep, moment);
        note(&mut self.expiry, change.expiry != Edit::Keep, moment);
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

/// Where it is known from which status a user chose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum StatusSource {
    /// The user chose it, or has never chosen one.
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
    /// Whether it is known that they chose it.
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

    /// When the user was last seen, for a profile that was last saved at `saved_at`. It is `saved_at` for a user who
    /// was never seen, or who hides: `last_seen` does not advance while they hide.
    pub fn known_at(&self, saved_at: Timestamp) -> Timestamp {
        match self.last_seen {
            Some(seen_at) if !self.status.chosen.hides() => seen_at,
            _ => saved_at,
        }
    }

    /// Removes a message or an emoji that is longer than users may choose. Only a store that other programs write to
    /// has these. Returns whether anything was removed.
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

    /// Notes that the user has chosen whether they hide: it is not assumed any more.
    pub(crate) fn mark_known(&mut self) {
        self.source = StatusSource::Known;
    }

    /// The changes that were made to a profile that could not be read. A field that is empty may not have been changed
    /// at all, so it is kept.
    pub(crate) fn as_change_of_unread(&self) -> StatusChange {
        fn edit<T>(value: Option<T>) -> Edit<T> {
            value.map_or(Edit::Keep, Edit::Set)
        }
        let status = &self.status;
        StatusChange {
            chosen: (self.source == StatusSource::Known).then_some(status.chosen),
            message: edit(status.message.clone()),
            emoji: edit(status.emoji.clone()),
            expiry: edit(status.expires_at.map(Expiry::At)),
        }
    }

    /// The tombstone that replaces this profile when the user is erased: an empty profile with the next revision. Older
    /// writes have a lower revision and are refused.
    pub fn blank(&self) -> Profile {
        Profile::blank_at(self.user.clone(), self.status.revision + 1)
    }

    /// A tombstone is recognised by an empty public status: no other profile of a user who does not hide has a public status.
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
    /// anything is different. The new revision is `moment` in milliseconds, or the next one if that is higher.
    pub(crate) fn choose_at(
        &mut self,
        now: Timestamp,
        moment: Timestamp,
        change: &StatusChange,
    ) -> bool {
        let revision = self.status.revision;
        self.moments.note(change, moment);
        let is_different = self.choose(now, change);
        if is_different {
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

/// What a request does to one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Edit<T> {
    /// The field is left as it is: the request does not mention it.
    #[default]
    Keep,
    /// The field is emptied: the request says `null`.
    Clear,
    /// The field gets this value.
    Set(T),
}

impl<T: Clone> Edit<T> {
    fn apply(&self, field: &mut Option<T>) {
        match self {
            Edit::Keep => {}
            Edit::Clear => *field = None,
            Edit::Set(value) => *field = Some(value.clone()),
        }
    }
}

/// When a status ends, as the request said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// After this span from the moment at which the request is handled.
    After(Duration),
    /// At this moment. Repeating the request changes nothing.
    At(Timestamp),
}

impl Expiry {
    pub(crate) fn moment(self, now: Timestamp) -> Timestamp {
        match self {
            Expiry::After(span) => now + span,
            Expiry::At(moment) => moment,
        }
    }

    /// Checks that the end is in the future and at most [`CLEAR_AFTER_MAX`] after `now`.
    ///
    /// # Errors
    ///
    /// [`StatusError::ExpiryPast`] or [`StatusError::ExpiryTooFar`].
    pub fn checked(self, now: Timestamp) -> Result<Self, StatusError> {
        let moment = self.moment(now);
        if moment <= now {
            return Err(StatusError::ExpiryPast);
        }
        if moment > now + CLEAR_AFTER_MAX {
            return Err(StatusError::ExpiryTooFar);
        }
        Ok(self)
    }
}

/// A change of a status: what to do with each field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusChange {
    /// The new status; `None` leaves it as it is.
    pub chosen: Option<Chosen>,
    /// What to do with the custom message.
    pub message: Edit<Arc<str>>,
    /// What to do with the emoji.
    pub emoji: Edit<Arc<str>>,
    /// What to do with the end of the status.
    pub expiry: Edit<Expiry>,
}

impl StatusChange {
    /// The change to this status, which leaves the message, the emoji and the end as they are.
    ///
    /// ```
    /// use presence_core::{Chosen, Edit, StatusChange};
    ///
    /// let lunch = StatusChange {
    ///     message: Edit::Set("at lunch".into()),
    ///     ..StatusChange::to(Chosen::Away)
    /// };
    /// assert_eq!(lunch.chosen, Some(Chosen::Away));
    /// ```
    pub fn to(chosen: Chosen) -> Self {
        StatusChange {
            chosen: Some(chosen),
            ..StatusChange::default()
        }
    }

    /// The same change with an end that is a moment, computed at `now`.
    pub(crate) fn at(&self, now: Timestamp) -> Self {
        let mut change = self.clone();
        if let Edit::Set(expiry) = &mut change.expiry {
            *expiry = Expiry::At(expiry.moment(now));
        }
        change
    }

    /// The same request as a replacement: fields that it does not mention are cleared, and the status becomes `online`.
    pub fn replacing(mut self) -> Self {
        fn or_clear<T>(edit: &mut Edit<T>) {
            if matches!(edit, Edit::Keep) {
                *edit = Edit::Clear;
            }
        }
        self.chosen = self.chosen.or(Some(Chosen::Online));
        or_clear(&mut self.message);
        or_clear(&mut self.emoji);
        or_clear(&mut self.expiry);
        self
    }
}

/// Why a message, an emoji or an end is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusError {
    /// The message has more than [`MESSAGE_CHARS_MAX`] characters.
    MessageTooLong,
    /// The message has line breaks, other control characters, or characters that change the writing direction.
    MessageControl,
    /// The text is neither one emoji nor a `:shortcode:`.
    NotAnEmoji,
    /// The end is not in the future.
    ExpiryPast,
    /// The end is more than [`CLEAR_AFTER_MAX`] away.
    ExpiryTooFar,
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StatusError::MessageTooLong => {
                write!(f, "must be at most {MESSAGE_CHARS_MAX} characters")
            }
            StatusError::MessageControl => f.write_str(
                "must not have line breaks, control characters or marks that change the writing direction",
            ),
            StatusError::NotAnEmoji => f.write_str("must be one emoji or a :shortcode:"),
            StatusError::ExpiryPast => f.write_str("must be in the future"),
            StatusError::ExpiryTooFar => f.write_str("must be within a year"),
        }
    }
}

impl std::error::Error for StatusError {}

/// Reads the message of a record, which is bounded. Whether people may choose it is checked where they do: records may be older.
#[cfg(feature = "serde")]
pub(crate) fn read_message<'de, D>(from: D) -> Result<Option<Arc<str>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let message: Option<Arc<str>> = serde::Deserialize::deserialize(from)?;
    let is_long = |it: &Arc<str>| it.chars().count() > MESSAGE_CHARS_MAX;
    match message.as_ref().is_some_and(is_long) {
        true => Err(serde::de::Error::custom(format_args!(
            "a message must be at most {MESSAGE_CHARS_MAX} characters"
        ))),
        false => Ok(message),
    }
}

/// Reads the emoji of a record, which is bounded.
#[cfg(feature = "serde")]
pub(crate) fn read_emoji<'de, D>(from: D) -> Result<Option<Arc<str>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let emoji: Option<Arc<str>> = serde::Deserialize::deserialize(from)?;
    match emoji.as_ref().is_some_and(|it| it.len() > EMOJI_BYTES_MAX) {
        true => Err(serde::de::Error::custom(format_args!(
            "an emoji must be at most {EMOJI_BYTES_MAX} bytes"
        ))),
        false => Ok(emoji),
    }
}

/// Checks a custom message, removes invisible characters, and trims it. Returns `None` for an empty message.
///
/// # Errors
///
/// [`StatusError::MessageTooLong`], or [`StatusError::MessageControl`] if it would break a line or change
/// the writing direction.
pub fn checked_message(text: &str) -> Result<Option<Arc<str>>, StatusError> {
    if text.chars().count() > MESSAGE_CHARS_MAX {
        return Err(StatusError::MessageTooLong);
    }
    if text::is_disruptive(text) {
        return Err(StatusError::MessageControl);
    }
    let text = text::shown(text);
    Ok((!text.is_empty()).then(|| text.into()))
}

/// Checks that `text` is one emoji of Unicode's list or one `:shortcode:`, and trims it. Returns `None` for
/// an empty text.
///
/// # Errors
///
/// [`StatusError::NotAnEmoji`] if it is anything else, or longer than [`EMOJI_BYTES_MAX`] bytes.
pub fn checked_emoji(text: &str) -> Result<Option<Arc<str>>, StatusError> {
    if text.is_empty() {
        return Ok(None);
    }
    let text = text.trim();
    if text.len() <= EMOJI_BYTES_MAX && (is_shortcode(text) || text::is_emoji(text)) {
        Ok(Some(text.into()))
    } else {
        Err(StatusError::NotAnEmoji)
    }
}

/// Whether this is `:name:`, or `:name::skin-tone-N:` with a tone from 1 to 6.
fn is_shortcode(text: &str) -> bool {
    let inner = text.strip_prefix(':').and_then(|it| it.strip_suffix(':'));
    let (name, tone) = match inner.map(|it| it.split_once("::skin-tone-").ok_or(it)) {
        None => return false,
        Some(Ok((name, tone))) => (name, Some(tone)),
        Some(Err(name)) => (name, None),
    };
    !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c))
        && tone.is_none_or(|it| matches!(it.as_bytes(), [b'1'..=b'6']))
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

    #[test]
    fn emoji_are_told_from_text() {
        for good in [
            "🎯",
            "👩‍👩‍👧‍👦",
            "🇩🇪",
            "1️⃣",
            "1\u{20e3}",
            "❤️",
            "❤",
            "ℹ️",
            "Ⓜ️",
            "🅰️",
            "🅱️",
            "🅾️",
            "🅿️",
            "🅿",
            ":coffee:",
            ":+1:",
            ":wave::skin-tone-3:",
        ] {
            assert_eq!(checked_emoji(good).unwrap().as_deref(), Some(good));
        }
        assert_eq!(checked_emoji(" 🎯 ").unwrap().as_deref(), Some("🎯"));
        assert_eq!(checked_emoji(""), Ok(None));
        for bad in [
            "hello",
            "ä",
            "漢",
            "<b>",
            "::",
            ":a b:",
            "1",
            "1\u{fe0f}",
            "#",
            "#\u{fe0f}",
            " ",
            "§",
            "©§",
            "12→",
            "🎯🎯",
            "🎯x",
            "🎯\u{202e}",
            "\u{202e}",
            "\u{200b}",
            "\u{200d}",
            "\u{fe0f}",
            "\u{fe0f}🎯",
            "❤\u{fe0f}\u{fe0f}",
            "❤\u{fe0e}",
            "🎯\u{200d}",
            "🏻",
            "🇩",
            "🇩🇩🇪",
            "🇦🇦",
            "🦰",
            ":wave::skin-tone-9:",
            ":wave::skin-tone-3::",
            ":wave::wave:",
            "::skin-tone-3:",
            ":wave:🎯",
            ":a::skin-tone-33:",
        ] {
            assert_eq!(checked_emoji(bad), Err(StatusError::NotAnEmoji), "{bad:?}");
        }
    }

    #[test]
    fn messages_are_one_line_of_bounded_length_in_any_script() {
        let shown = |text| checked_message(text).unwrap();
        assert_eq!(
            shown("  Bin gleich zurück – 会議中 ").as_deref(),
            Some("Bin gleich zurück – 会議中")
        );
        assert_eq!(checked_message("  "), Ok(None));
        assert_eq!(checked_message("\u{200d} \u{200b}"), Ok(None));
        assert_eq!(shown("\u{200b} Lunch \u{feff}").as_deref(), Some("Lunch"));
        assert_eq!(
            shown("ناهار می\u{200c}خورم").as_deref(),
            Some("ناهار می\u{200c}خورم")
        );
        assert!(checked_message(&"ü".repeat(MESSAGE_CHARS_MAX)).is_ok());
        assert_eq!(
            checked_message(&"ü".repeat(MESSAGE_CHARS_MAX + 1)),
            Err(StatusError::MessageTooLong)
        );
        for bad in [
            "a\nb",
            "a\u{7f}",
            "\u{85}",
            "a\u{202a}b",
            "a\u{202e}b",
            "a\u{2066}b",
            "a\u{2069}",
            "a\u{2028}b",
            "\u{2029}",
        ] {
            assert_eq!(
                checked_message(bad),
                Err(StatusError::MessageControl),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn an_end_is_in_the_future_and_within_a_year() {
        let now = Timestamp::from_millis(1_000_000);
        let after = |secs| Expiry::After(Duration::from_secs(secs));
        assert!(after(1).checked(now).is_ok());
        assert_eq!(after(0).checked(now), Err(StatusError::ExpiryPast));
        assert_eq!(after(u64::MAX).checked(now), Err(StatusError::ExpiryTooFar));
        assert_eq!(Expiry::At(now).checked(now), Err(StatusError::ExpiryPast));
    }
}
