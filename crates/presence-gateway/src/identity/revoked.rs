//! Users whose older tokens are refused.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use presence_core::{Timestamp, UserId};

use super::{Identity, IdentityError};

/// The most users that are revoked at once.
pub const REVOKED_MAX: usize = 10_000;

/// Users whose older tokens are refused. In memory, in this process.
#[derive(Debug, Default)]
pub struct Revoked {
    users: Mutex<HashMap<UserId, Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Tokens up to here are refused.
    at: Timestamp,
    /// Until the last of them has run out.
    until: Timestamp,
}

/// There is no room for one more: nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{REVOKED_MAX} users are revoked, and there is no room for one more")]
pub struct RevokedFull;

impl Revoked {
    /// From now on `user` needs a token newer than `now`. That is remembered for `keep`, which should be as long as
    /// tokens live.
    ///
    /// # Errors
    ///
    /// [`REVOKED_MAX`] others are. Forgetting one of them would let somebody back in.
    pub fn revoke(&self, user: &UserId, now: Timestamp, keep: Duration) -> Result<(), RevokedFull> {
        let mut users = self.lock();
        if users.len() >= REVOKED_MAX && !users.contains_key(user) {
            users.retain(|_, entry| now < entry.until);
            if users.len() >= REVOKED_MAX {
                return Err(RevokedFull);
            }
        }
        let until = now + keep;
        let entry = users
            .entry(user.clone())
            .or_insert(Entry { at: now, until });
        entry.at = entry.at.max(now);
        entry.until = entry.until.max(until);
        Ok(())
    }

    /// Takes it back.
    pub fn restore(&self, user: &UserId) {
        self.lock().remove(user);
    }

    /// Whether `identity` is good in spite of what was revoked. A token that does not say when it was made is not,
    /// and neither is somebody without a token.
    ///
    /// # Errors
    ///
    /// [`IdentityError::Revoked`].
    pub fn check(&self, identity: &Identity, now: Timestamp) -> Result<(), IdentityError> {
        match self.lock().get(&identity.user) {
            Some(entry)
                if now < entry.until && identity.issued_at.is_none_or(|it| it <= entry.at) =>
            {
                Err(IdentityError::Revoked)
            }
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UserId, Entry>> {
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
        let revoked = Revoked::default();
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
        revoked.restore(&user("ann"));
        assert_eq!(check("ann", Some(999), at), Ok(()));
    }

    #[test]
    fn nobody_is_forgotten_to_make_room_but_those_whose_time_is_over() {
        let revoked = Revoked::default();
        let now = Timestamp::from_millis(0);
        for i in 0..REVOKED_MAX {
            revoked.revoke(&user(&format!("u{i}")), now, HOUR).unwrap();
        }
        assert_eq!(revoked.revoke(&user("ann"), now, HOUR), Err(RevokedFull));
        assert_eq!(
            revoked.revoke(&user("u7"), now, HOUR),
            Ok(()),
            "is there already"
        );
        assert_eq!(revoked.revoke(&user("ann"), now + HOUR, HOUR), Ok(()));
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
