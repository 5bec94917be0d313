//! The users whose older tokens are refused.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use presence_core::revocation::{Revocation, Revoke, RevokedUsers};
use presence_core::{Timestamp, UserId};

pub use presence_core::revocation::REVOKED_MAX;

use super::{Identity, IdentityError};

/// The users whose older tokens are refused, as far as this process knows. Every token is checked against this list.
#[derive(Debug, Default)]
pub struct Revoked {
    users: Mutex<RevokedUsers>,
    /// How far the clock of an issuer may be ahead of ours.
    leeway: Duration,
}

/// The list has no room for one more user. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{REVOKED_MAX} users are revoked, and there is no room for one more")]
pub struct RevokedFull;

/// The outcome of a comparison with the list of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    /// How many of their revocations were new here.
    pub(crate) news: usize,
    /// How many of their revocations there was no room for.
    pub(crate) full: usize,
    /// The revocations that they do not have.
    pub(crate) missing: Vec<Revocation>,
}

impl Revoked {
    /// An empty list. An issuer's clock may be `leeway` ahead of ours, so a token that was issued up to `leeway` after a
    /// revocation by that clock may be older than the revocation, and is refused.
    pub fn new(leeway: Duration) -> Revoked {
        Revoked {
            users: Mutex::default(),
            leeway,
        }
    }

    /// Refuses tokens of `user` that were issued before `now`. The list remembers that for `keep`, which should be as
    /// long as tokens are valid.
    ///
    /// # Errors
    ///
    /// Fails if [`REVOKED_MAX`] other users are in the list. Removing one of them would let that user back in.
    pub fn revoke(
        &self,
        user: &UserId,
        now: Timestamp,
        keep: Duration,
    ) -> Result<Revocation, RevokedFull> {
        let revocation = Revocation {
            user: user.clone(),
            at: now,
            until: now + keep,
        };
        match self.lock().revoke(now, &revocation) {
            Revoke::Full => Err(RevokedFull),
            Revoke::Changed | Revoke::Known => Ok(revocation),
        }
    }

    /// Merges what others have revoked, and returns what they do not have.
    pub(crate) fn compare(&self, now: Timestamp, theirs: &[Revocation]) -> Compared {
        let mut users = self.lock();
        users.forget_ended(now);
        let mut known: RevokedUsers = RevokedUsers::default();
        let mut compared = Compared::default();
        for it in theirs.iter().filter(|it| !it.has_ended(now)) {
            known.revoke(now, it);
            match users.revoke(now, it) {
                Revoke::Changed => compared.news += 1,
                Revoke::Known => {}
                Revoke::Full => compared.full += 1,
            }
        }
        let is_missing = |it: &&Revocation| known.get(now, &it.user) != Some(*it);
        compared.missing = users.iter().filter(is_missing).cloned().collect();
        compared
    }

    /// How many users are in the list.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Checks that `identity` is not revoked. A token without an issue time counts as older than any revocation. A
    /// client that needs no token is never refused, or it could not come back.
    ///
    /// # Errors
    ///
    /// Fails with [`IdentityError::Revoked`] if it is.
    pub fn check(&self, identity: &Identity, now: Timestamp) -> Result<(), IdentityError> {
        let leeway = match (identity.open, identity.issued_at) {
            (true, None) => return Ok(()),
            // It was our own clock.
            (true, Some(_)) => Duration::ZERO,
            (false, _) => self.leeway,
        };
        let users = self.lock();
        let revocation = users.get(now, &identity.user);
        match revocation.is_some_and(|it| it.refuses(identity.issued_at, leeway)) {
            true => Err(IdentityError::Revoked),
            false => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, RevokedUsers> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Patterns, Scopes};

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn older_tokens_are_refused_as_long_as_they_could_live() {
        let revoked = Revoked::new(Duration::ZERO);
        let at = Timestamp::from_millis(1_000_500);
        revoked.revoke(&user("ann"), at, HOUR).unwrap();
        let check = |user: &str, iat: Option<u64>, now| revoked.check(&identity(user, iat), now);
        assert_eq!(check("ann", Some(999), at), Err(IdentityError::Revoked));
        assert_eq!(
            check("ann", Some(1000), at),
            Err(IdentityError::Revoked),
            "the same second"
        );
        assert_eq!(check("ann", None, at), Err(IdentityError::Revoked));
        assert_eq!(check("ann", Some(1001), at), Ok(()));
        assert_eq!(check("bob", Some(999), at), Ok(()));
        assert_eq!(check("ann", Some(999), at + HOUR), Ok(()));
    }

    #[test]
    fn a_token_from_a_clock_that_is_ahead_does_not_survive() {
        let revoked = Revoked::new(Duration::from_secs(5));
        let at = Timestamp::from_millis(1_000_000);
        revoked.revoke(&user("ann"), at, HOUR).unwrap();
        let check = |iat, open| {
            let identity = Identity {
                open,
                ..identity("ann", iat)
            };
            revoked.check(&identity, at)
        };
        assert_eq!(check(Some(1005), false), Err(IdentityError::Revoked));
        assert_eq!(check(Some(1006), false), Ok(()));
        // The time of our own clock is exact, and a client without a token is let in.
        assert_eq!(check(Some(1000), true), Err(IdentityError::Revoked));
        assert_eq!(check(Some(1001), true), Ok(()));
        assert_eq!(check(None, true), Ok(()));
    }

    #[test]
    fn what_others_know_is_taken_in_and_what_they_do_not_is_said() {
        let revoked = Revoked::default();
        let now = Timestamp::from_millis(1_000_000);
        let revocation = |id: &str, seconds| Revocation {
            user: user(id),
            at: now + Duration::from_secs(seconds),
            until: now + HOUR,
        };
        let mine = revoked.revoke(&user("ann"), now, HOUR).unwrap();
        let later = revoked.revoke(&user("bob"), now + HOUR / 2, HOUR).unwrap();
        let ended = Revocation {
            until: now,
            ..revocation("dan", 0)
        };
        let theirs = [revocation("bob", 0), revocation("cid", 7), ended];
        let compared = revoked.compare(now, &theirs);
        assert_eq!((compared.news, compared.full), (1, 0));
        assert_eq!(compared.missing, [mine.clone(), later.clone()]);
        assert_eq!(revoked.len(), 3);
        let all = [mine, later, revocation("cid", 7)];
        assert_eq!(revoked.compare(now, &all), Compared::default());
        // They have lost everything.
        assert_eq!(revoked.compare(now, &[]).missing, all);
        // It has ended, here and there.
        let after = revoked.compare(now + HOUR * 2, &all);
        assert_eq!((after, revoked.len()), (Compared::default(), 0));
    }

    #[test]
    fn nobody_is_forgotten_to_make_room_but_those_whose_time_is_over() {
        let revoked = Revoked::default();
        let now = Timestamp::from_millis(0);
        for i in 0..REVOKED_MAX {
            revoked.revoke(&user(&format!("u{i}")), now, HOUR).unwrap();
        }
        assert_eq!(revoked.revoke(&user("ann"), now, HOUR), Err(RevokedFull));
        let theirs = [Revocation {
            user: user("bob"),
            at: now,
            until: now + HOUR,
        }];
        assert_eq!(revoked.compare(now, &theirs).full, 1);
        assert!(
            revoked.revoke(&user("u7"), now, HOUR).is_ok(),
            "is there already"
        );
        assert!(revoked.revoke(&user("ann"), now + HOUR, HOUR).is_ok());
    }

    fn identity(id: &str, iat: Option<u64>) -> Identity {
        Identity {
            user: user(id),
            name: None,
            device: None,
            workspaces: vec![],
            channels: Patterns::every(),
            scopes: Scopes::of_a_user(),
            issued_at: iat.map(|it| Timestamp::from_millis(it * 1000)),
            expires_at: None,
            open: false,
        }
    }

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }
}
