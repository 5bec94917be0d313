//! Revoked users: their older tokens are refused. A kick revokes its user.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Timestamp, UserId};

/// The maximum number of users that are revoked at once. A further one is refused, because forgetting another one
/// would accept that user's tokens again.
pub const REVOKED_MAX: usize = 10_000;

/// The rule that the tokens of one user are refused if they were issued before a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The user whose tokens are refused.
    pub user: UserId,
    /// Tokens that were issued up to this moment are refused, and tokens that have no time of issue.
    pub at: Timestamp,
    /// When the revocation ends. Every token that it refuses has expired by then.
    pub until: Timestamp,
}

/// The outcome of adding a revocation to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revoke {
    /// The list has changed: it refuses more tokens than before.
    Changed,
    /// The list has not changed: it refused all these tokens already.
    Known,
    /// The list has not changed: it has no room for another user.
    Full,
}

impl Revocation {
    /// Whether the revocation has ended by `now`.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.until <= now
    }

    /// Merges another revocation of the same user: the later moments win. Returns whether anything changed.
    pub fn merge(&mut self, other: &Revocation) -> bool {
        let is_news = other.at > self.at || other.until > self.until;
        self.at = self.at.max(other.at);
        self.until = self.until.max(other.until);
        is_news
    }

    /// Whether a token is refused that was issued at `issued_at`, by a clock that may be ahead by `leeway`. A token
    /// without a time of issue is refused.
    pub fn refuses(&self, issued_at: Option<Timestamp>, leeway: Duration) -> bool {
        issued_at.is_none_or(|it| it <= self.at + leeway)
    }
}

/// A list of users whose older tokens are refused, at most [`REVOKED_MAX`] of them.
#[derive(Clone, Debug, Default)]
pub struct RevokedUsers {
    users: BTreeMap<UserId, Revocation>,
}

impl RevokedUsers {
    /// Adds `revocation`. If the list is full, the revocations that have ended by `now` are removed first.
    pub fn revoke(&mut self, now: Timestamp, revocation: &Revocation) -> Revoke {
        if let Some(known) = self.users.get_mut(&revocation.user) {
            return match known.merge(revocation) {
                true => Revoke::Changed,
                false => Revoke::Known,
            };
        }
        if self.users.len() >= REVOKED_MAX {
            self.forget_ended(now);
        }
        if self.users.len() >= REVOKED_MAX {
            return Revoke::Full;
        }
        let user = revocation.user.clone();
        self.users.insert(user, revocation.clone());
        Revoke::Changed
    }

    /// Removes the revocations that have ended by `now`.
    pub fn forget_ended(&mut self, now: Timestamp) {
        self.users.retain(|_, it| !it.has_ended(now));
    }

    /// The revocation of `user`, unless it has ended by `now`.
    pub fn get(&self, now: Timestamp, user: &UserId) -> Option<&Revocation> {
        let found = self.users.get(user);
        found.filter(|it| !it.has_ended(now))
    }

    /// All revocations, ordered by user. Some may have ended.
    pub fn iter(&self) -> impl Iterator<Item = &Revocation> {
        self.users.values()
    }

    /// The number of revocations in the list. Some may have ended.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEEWAY: Duration = Duration::from_secs(5);

    #[test]
    fn a_token_is_refused_up_to_the_leeway_after_the_moment() {
        let it = revocation("ann", 100, 1000);
        let refuses = |issued_at| it.refuses(Some(at(issued_at)), LEEWAY);
        assert!(refuses(0) && refuses(100) && refuses(105));
        assert!(!refuses(106));
        assert!(it.refuses(None, LEEWAY), "it does not say when");
        assert!(!it.refuses(Some(at(101)), Duration::ZERO));
    }

    #[test]
    fn the_later_moments_count_in_whatever_order_they_come() {
        let all = [
            revocation("ann", 100, 500),
            revocation("ann", 200, 300),
            revocation("ann", 50, 400),
        ];
        let orders: [[usize; 3]; 4] = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]];
        for order in orders {
            let mut list = RevokedUsers::default();
            for index in order {
                assert_ne!(list.revoke(at(0), &all[index]), Revoke::Full);
            }
            assert_eq!(
                list.get(at(0), &user("ann")),
                Some(&revocation("ann", 200, 500))
            );
            assert_eq!(list.revoke(at(0), &all[0]), Revoke::Known);
            assert_eq!(list.get(at(500), &user("ann")), None, "it has ended");
        }
    }

    #[test]
    fn nobody_is_forgotten_to_make_room_but_those_whose_time_is_over() {
        let mut list = RevokedUsers::default();
        for i in 0..REVOKED_MAX {
            let it = revocation(&format!("u{i}"), 0, 100 + u64::from(i == 7));
            assert_eq!(list.revoke(at(0), &it), Revoke::Changed);
        }
        assert_eq!(
            list.revoke(at(99), &revocation("ann", 99, 200)),
            Revoke::Full
        );
        assert_eq!(list.get(at(99), &user("ann")), None);
        // A user who is in the list already has a place.
        assert_eq!(
            list.revoke(at(99), &revocation("u7", 99, 101)),
            Revoke::Changed
        );
        assert_eq!(
            list.revoke(at(100), &revocation("ann", 100, 200)),
            Revoke::Changed
        );
        let left: Vec<&str> = list.iter().map(|it| it.user.as_str()).collect();
        assert_eq!(left, ["ann", "u7"]);
    }

    fn revocation(id: &str, moment: u64, until: u64) -> Revocation {
        Revocation {
            user: user(id),
            at: at(moment),
            until: at(until),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }
}
