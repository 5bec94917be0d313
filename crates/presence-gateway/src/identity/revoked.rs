//! Users whose older tokens are refused.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use presence_core::revocation::{Revocation, Revoke, RevokedUsers};
use presence_core::{Timestamp, UserId};

pub use presence_core::revocation::REVOKED_MAX;

use super::{Identity, IdentityError};

/// Users whose older tokens are refused, as far as this process knows: what every token is checked against.
#[derive(Debug, Default)]
pub struct Revoked {
    users: Mutex<RevokedUsers>,
    /// How far the clock of an issuer may be ahead.
    leeway: Duration,
}

/// There is no room for one more: nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{REVOKED_MAX} users are revoked, and there is no room for one more")]
pub struct RevokedFull;

/// What came of comparing with a list that others know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compared {
    /// How many of theirs were news here.
    pub(crate) news: usize,
    /// How many of theirs there was no room for.
    pub(crate) full: usize,
    /// What they do not know.
    pub(crate) missing: Vec<Revocation>,
}

impl Revoked {
    /// Nobody yet. An issuer's clock may be `leeway` ahead of ours, so a token that says it was issued up to so long after a
    /// revocation may be older than that, and is refused.
    pub fn new(leeway: Duration) -> Revoked {
        Revoked {
            users: Mutex::default(),
            leeway,
        }
    }

    /// From now on `user` needs a token newer than `now`. That is remembered for `keep`, which should be as long as
    /// tokens live.
    ///
    /// # Errors
    ///
    /// [`REVOKED_MAX`] others are. Forgetting one of them would let somebody back in.
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

    /// Takes in what others know, and says what they do not.
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

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether `identity` is good in spite of what was revoked. A token that does not say when it was made is not.
    /// Whoever needs no token is, or they could never come back.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Revoked`].
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
        // What our own clock says is exact, and who has no token is let in.
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
