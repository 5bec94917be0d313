//! The suite for the contract of [`Revocations`].

use std::time::Duration;

use presence_core::ports::{RevocationList, Revocations};
use presence_core::revocation::{REVOKED_MAX, Revocation, Revoke};
use presence_core::{Timestamp, UserId};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Checks every clause of [`Revocations`] that can be seen through one handle.
///
/// `store` is empty at first, and only the suite uses it.
///
/// # Panics
///
/// Panics if a clause does not hold.
pub async fn revocations<R: Revocations>(store: &R) {
    let mut days = 0;
    macro_rules! check {
        ($($clause:ident)*) => {
            $(
                // What a clause revokes has ended when the next one begins, so it makes room for it.
                days += 1;
                let now = Timestamp::from_millis(1_764_000_000_000) + DAY * days;
                $clause(&Case { clause: stringify!($clause), store, now }).await;
            )*
        };
    }
    check! {
        nothing_was_revoked_at_first
        a_revocation_is_listed_as_it_was_made
        users_are_told_apart_by_every_character
        the_later_moments_stay
        repeating_a_revocation_changes_nothing
        of_two_in_one_slice_both_count
        each_change_has_a_version_of_its_own
        an_empty_slice_is_fine
        beyond_the_bound_nobody_is_forgotten_who_is_still_to_be_refused
        those_who_have_ended_make_room
    }
}

/// Checks what [`revocations`] checks, and that every handle on a store sees what the others do.
///
/// `connect` makes a handle on the same store each time. The store is empty at first, and only the suite uses it.
///
/// # Panics
///
/// Panics if a clause does not hold.
pub async fn shared_revocations<R: Revocations>(connect: impl AsyncFn() -> R) {
    let (here, there) = (connect().await, connect().await);
    revocations(&here).await;
    let now = Timestamp::from_millis(1_764_000_000_000) + DAY * 1000;
    let case = |store| Case {
        clause: "what_one_node_revokes_every_node_sees",
        store,
        now,
    };
    let (here, there) = (case(&here), case(&there));
    let before = there.list().await.version;
    let ann = here.revocation("ann", HOUR);
    here.revokes(std::slice::from_ref(&ann), &[Revoke::Changed])
        .await;
    assert_ne!(
        there.list_if_changed(before).await,
        None,
        "{}: it changed",
        here.clause
    );
    there.check("ann", Some(&ann)).await;
    there
        .revokes(std::slice::from_ref(&ann), &[Revoke::Known])
        .await;
    let known = here.list().await.version;
    assert_eq!(
        there.list().await.version,
        known,
        "{}: one version",
        here.clause
    );
    assert_eq!(there.list_if_changed(known).await, None, "{}", here.clause);
}

/// Checks what [`revocations`] checks, and that all of it is still there after closing and opening.
///
/// `open` opens the same store each time. The store is empty at first, and only the suite uses it. The suite drops
/// what it opened before it calls `open` again.
///
/// # Panics
///
/// Panics if a clause does not hold.
pub async fn durable_revocations<R: Revocations>(open: impl AsyncFn() -> R) {
    let now = Timestamp::from_millis(1_764_000_000_000) + DAY * 1000;
    let clause = "reopening_keeps_the_list_under_another_version_or_the_same";
    let store = open().await;
    revocations(&store).await;
    let case = Case {
        clause,
        store: &store,
        now,
    };
    let ann = case.revocation("ann", HOUR);
    case.revokes(std::slice::from_ref(&ann), &[Revoke::Changed])
        .await;
    let before = case.list().await;
    drop(store);
    let store = open().await;
    let case = Case {
        clause,
        store: &store,
        now,
    };
    case.check("ann", Some(&ann)).await;
    let after = case.list().await;
    assert_eq!(sorted(after), sorted(before), "{clause}");
}

async fn nothing_was_revoked_at_first<R: Revocations>(case: &Case<'_, R>) {
    assert_eq!(case.list().await.revocations, [], "{}", case.clause);
}

async fn a_revocation_is_listed_as_it_was_made<R: Revocations>(case: &Case<'_, R>) {
    let ann = case.revocation("ann", HOUR);
    let bob = Revocation {
        at: Timestamp::from_millis(0),
        until: case.now + HOUR * 20,
        ..case.revocation("bob", HOUR)
    };
    case.revokes(&[ann.clone(), bob.clone()], &[Revoke::Changed; 2])
        .await;
    case.check("ann", Some(&ann)).await;
    case.check("bob", Some(&bob)).await;
    case.check("cid", None).await;
}

async fn users_are_told_apart_by_every_character<R: Revocations>(case: &Case<'_, R>) {
    let longest = "x".repeat(UserId::BYTES_MAX);
    let ids = [
        "eve",
        "Eve",
        "eve.",
        "e:v|e+=/~@_-",
        "version",
        "0",
        &longest,
    ];
    let all: Vec<Revocation> = ids
        .iter()
        .zip(1..)
        .map(|(id, hours)| case.revocation(id, HOUR * hours))
        .collect();
    case.revokes(&all, &[Revoke::Changed; 7]).await;
    for (id, revocation) in ids.iter().zip(&all) {
        case.check(id, Some(revocation)).await;
    }
}

async fn the_later_moments_stay<R: Revocations>(case: &Case<'_, R>) {
    let early = case.revocation("fay", HOUR * 2);
    let late = Revocation {
        at: early.at + Duration::from_millis(1),
        until: case.now + HOUR,
        ..early.clone()
    };
    let both = Revocation {
        at: late.at,
        ..early.clone()
    };
    for order in [[&early, &late], [&late, &early]] {
        for it in order {
            let revoked = case.revoke(std::slice::from_ref(it)).await;
            assert_ne!(revoked, [Revoke::Full], "{}", case.clause);
        }
        case.check("fay", Some(&both)).await;
    }
}

async fn repeating_a_revocation_changes_nothing<R: Revocations>(case: &Case<'_, R>) {
    let gus = case.revocation("gus", HOUR);
    case.revokes(std::slice::from_ref(&gus), &[Revoke::Changed])
        .await;
    let before = case.list().await;
    case.revokes(std::slice::from_ref(&gus), &[Revoke::Known])
        .await;
    assert_eq!(
        case.list_if_changed(before.version).await,
        None,
        "{}",
        case.clause
    );
}

async fn of_two_in_one_slice_both_count<R: Revocations>(case: &Case<'_, R>) {
    let first = case.revocation("hal", HOUR);
    let second = Revocation {
        at: first.at + Duration::from_secs(1),
        ..first.clone()
    };
    let slice = [first.clone(), second.clone(), first];
    let outcome = [Revoke::Changed, Revoke::Changed, Revoke::Known];
    case.revokes(&slice, &outcome).await;
    case.check("hal", Some(&second)).await;
}

async fn each_change_has_a_version_of_its_own<R: Revocations>(case: &Case<'_, R>) {
    let mut seen = vec![0, case.list().await.version];
    for hours in 1..5 {
        let ivy = case.revocation("ivy", HOUR * hours);
        case.revokes(&[ivy], &[Revoke::Changed]).await;
        let changed = case.list_if_changed(*seen.last().unwrap_or(&0)).await;
        let version = changed.map(|it| it.version).unwrap_or_default();
        assert!(
            !seen.contains(&version),
            "{}: {version} in {seen:?}",
            case.clause
        );
        seen.push(version);
        assert_eq!(case.list_if_changed(version).await, None, "{}", case.clause);
    }
}

async fn an_empty_slice_is_fine<R: Revocations>(case: &Case<'_, R>) {
    let before = case.list().await;
    case.revokes(&[], &[]).await;
    assert_eq!(case.list().await, before, "{}", case.clause);
}

async fn beyond_the_bound_nobody_is_forgotten_who_is_still_to_be_refused<R: Revocations>(
    case: &Case<'_, R>,
) {
    let all: Vec<Revocation> = (0..REVOKED_MAX)
        .map(|i| case.revocation(&format!("u{i}"), HOUR))
        .collect();
    let revoked = case.revoke(&all).await;
    let changed = revoked.iter().filter(|it| **it == Revoke::Changed);
    assert_eq!(changed.count(), REVOKED_MAX, "{}", case.clause);
    let again = Revocation {
        at: case.now + Duration::from_secs(1),
        ..all[7].clone()
    };
    let more = case.revocation("jon", HOUR);
    let slice = [more.clone(), again, more];
    case.revokes(&slice, &[Revoke::Full, Revoke::Changed, Revoke::Full])
        .await;
    case.check("jon", None).await;
    case.check("u0", Some(&all[0])).await;
    assert_eq!(
        case.list().await.revocations.len(),
        REVOKED_MAX,
        "{}",
        case.clause
    );
}

async fn those_who_have_ended_make_room<R: Revocations>(case: &Case<'_, R>) {
    let kim = case.revocation("kim", HOUR);
    case.revokes(std::slice::from_ref(&kim), &[Revoke::Changed])
        .await;
    case.check("kim", Some(&kim)).await;
    case.check("u0", None).await;
}

/// One clause of the contract, with a time of its own.
struct Case<'a, R> {
    clause: &'static str,
    store: &'a R,
    now: Timestamp,
}

impl<R: Revocations> Case<'_, R> {
    fn revocation(&self, user: &str, lasts: Duration) -> Revocation {
        Revocation {
            user: UserId::new(user).expect("ids of the suite are ids"),
            at: self.now,
            until: self.now + lasts,
        }
    }

    async fn revoke(&self, revocations: &[Revocation]) -> Vec<Revoke> {
        let revoked = self.store.revoke(self.now, revocations).await;
        revoked.unwrap_or_else(|error| panic!("{}: {error:?}", self.clause))
    }

    async fn revokes(&self, revocations: &[Revocation], outcome: &[Revoke]) {
        assert_eq!(self.revoke(revocations).await, outcome, "{}", self.clause);
    }

    async fn list_if_changed(&self, known: u64) -> Option<RevocationList> {
        let list = self.store.revoked(known).await;
        list.unwrap_or_else(|error| panic!("{}: {error:?}", self.clause))
    }

    async fn list(&self) -> RevocationList {
        let list = self.list_if_changed(0).await;
        list.unwrap_or_else(|| panic!("{}: whoever knows nothing is told all", self.clause))
    }

    async fn check(&self, user: &str, expected: Option<&Revocation>) {
        let list = self.list().await;
        let found: Vec<&Revocation> = list
            .revocations
            .iter()
            .filter(|it| it.user.as_str() == user)
            .collect();
        let expected: Vec<&Revocation> = expected.into_iter().collect();
        assert_eq!(found, expected, "{}: {user}", self.clause);
    }
}

fn sorted(list: RevocationList) -> Vec<Revocation> {
    let mut all = list.revocations;
    all.sort_by(|a, b| a.user.cmp(&b.user));
    all
}
