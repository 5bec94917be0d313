//! A change of a status: what a request does to each field.

use std::sync::Arc;
use std::time::Duration;

use super::{CLEAR_AFTER_MAX, Chosen, StatusError};
use crate::Timestamp;

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
    pub(crate) fn apply(&self, field: &mut Option<T>) {
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

    /// Whether it leaves everything as it is.
    pub(crate) fn is_empty(&self) -> bool {
        *self == StatusChange::default()
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

#[cfg(test)]
mod tests {
    use super::*;

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
