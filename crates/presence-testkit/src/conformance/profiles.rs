//! The suite for the contract of [`Profiles`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use presence_core::ports::Profiles;
use presence_core::{Chosen, MESSAGE_CHARS_MAX, Profile, Status, Timestamp, UserId};
use tokio::task::JoinSet;

/// Checks every clause of [`Profiles`] that can be seen without closing the store.
///
/// `store` is empty at first, only the suite uses it, and its clock is right to within minutes. The suite writes numbers up to 2^53
/// - 1 and moments within some thousand years of 1970: an adapter need not keep more.
///
/// # Panics
///
/// Panics if a clause does not hold.
pub async fn profiles<P: Profiles>(store: &Arc<P>) {
    macro_rules! check {
        ($($clause:ident)*) => {
            $($clause(&Case::new(stringify!($clause), store)).await;)*
        };
    }
    check! {
        a_user_nobody_saved_has_no_profile
        a_profile_with_nothing_in_it_is_a_profile
        a_profile_is_loaded_as_it_was_saved
        every_choice_is_kept
        texts_of_all_scripts_and_full_length_are_kept
        an_expired_status_is_loaded_as_it_is
        users_are_told_apart_by_every_character
        an_answer_is_in_the_order_of_the_question
        empty_slices_are_fine
        a_thousand_at_once_are_fine
        a_higher_revision_replaces_all_of_the_profile
        a_lower_revision_is_ignored
        at_the_same_revision_the_later_last_seen_stays
        at_the_same_revision_and_last_seen_the_later_save_stays
        repeating_a_save_changes_nothing
        of_two_in_one_slice_the_later_is_as_if_saved_later
        one_ignored_profile_does_not_keep_the_rest_of_its_slice_out
        of_concurrent_saves_of_a_user_the_highest_revision_stays
        concurrent_saves_of_many_users_are_all_kept
        a_removed_user_has_no_profile_and_the_others_keep_theirs
        removing_again_or_somebody_nobody_saved_is_fine
        after_a_removal_any_profile_is_taken
        who_was_last_seen_before_a_moment_is_found
        who_was_never_seen_is_found_by_the_last_save
        who_hides_is_found_by_the_last_save
        a_profile_that_was_ignored_or_removed_is_not_found
        as_many_of_the_unseen_as_asked_for_are_found
    }
}

/// Checks what [`profiles`] checks, and that all of it is still there after closing and opening.
///
/// `open` opens the same store each time. The store is empty at first, and only the suite uses it. The suite
/// drops what it opened before it calls `open` again.
///
/// # Panics
///
/// Panics if a clause does not hold.
pub async fn durable_profiles<P: Profiles>(open: impl AsyncFn() -> P) {
    profiles(&Arc::new(open().await)).await;
    reopening_keeps_everything(&open).await;
    reopening_keeps_revisions(&open).await;
    reopening_brings_back_nobody_who_was_removed(&open).await;
    reopening_keeps_when_a_profile_was_saved(&open).await;
}

async fn a_user_nobody_saved_has_no_profile<P: Profiles>(case: &Case<'_, P>) {
    case.save(&[case.plain("ann")]).await;
    case.check_missing("bob").await;
}

async fn a_profile_with_nothing_in_it_is_a_profile<P: Profiles>(case: &Case<'_, P>) {
    let ann = case.plain("ann");
    case.save(std::slice::from_ref(&ann)).await;
    case.check(&[ann]).await;
}

async fn a_profile_is_loaded_as_it_was_saved<P: Profiles>(case: &Case<'_, P>) {
    let ann = case.full("ann", 7);
    let mut bob = case.full("bob", REVISION_MAX);
    bob.public_status = None;
    bob.status.expires_at = Some(at(FAR_MS));
    let mut cid = case.plain("cid");
    cid.public_status = Some(Status::default());
    let mut dan = case.plain("dan");
    dan.last_seen = Some(at(0));
    let all = [ann, bob, cid, dan];
    case.save(&all).await;
    case.check(&all).await;
}

async fn every_choice_is_kept<P: Profiles>(case: &Case<'_, P>) {
    let choices = [
        Chosen::Online,
        Chosen::Away,
        Chosen::Busy,
        Chosen::Invisible,
        Chosen::Offline,
    ];
    let mut all = Vec::new();
    for (i, chosen) in choices.into_iter().enumerate() {
        let mut profile = case.full(&format!("user{i}"), 1);
        profile.status.chosen = chosen;
        all.push(profile);
    }
    case.save(&all).await;
    case.check(&all).await;
}

async fn texts_of_all_scripts_and_full_length_are_kept<P: Profiles>(case: &Case<'_, P>) {
    let longest = "🎯".repeat(MESSAGE_CHARS_MAX);
    let messages = [
        "Bin gleich zurück – 会議中",
        "اجتماع · פגישה",
        "e\u{301} is not é",
        "👩🏽‍👩🏻‍👧🏿‍👦🏾 🇩🇪",
        r#"{"$set": "\u0000", 'a'.b: %00 <b> ; --"#,
        "null",
        longest.as_str(),
    ];
    let mut all = Vec::new();
    for (i, message) in messages.into_iter().enumerate() {
        let mut profile = case.plain(&format!("user{i}"));
        profile.status.message = Some(message.into());
        profile.status.emoji = Some("👩🏽‍👩🏻‍👧🏿‍👦🏾".into());
        all.push(profile);
    }
    case.save(&all).await;
    case.check(&all).await;
}

async fn an_expired_status_is_loaded_as_it_is<P: Profiles>(case: &Case<'_, P>) {
    let mut ann = case.full("ann", 3);
    ann.status.expires_at = Some(at(1));
    ann.public_status.as_mut().expect("it is full").expires_at = Some(at(2));
    case.save(std::slice::from_ref(&ann)).await;
    case.check(&[ann]).await;
}

async fn users_are_told_apart_by_every_character<P: Profiles>(case: &Case<'_, P>) {
    let room = UserId::BYTES_MAX - case.user("").as_str().len();
    let longest = "x".repeat(room);
    let almost = format!("{}y", "x".repeat(room - 1));
    let names = [
        "ann", "Ann", "ANN", "ann.", "ann.b", "ann:b", "ann@b", "ann|b", "ann+b", "ann=b", "ann/b",
        "ann~b", "ann-b", "ann_b", "1", "01", &longest, &almost,
    ];
    let all: Vec<_> = (1..)
        .zip(names)
        .map(|(i, name)| case.full(name, i))
        .collect();
    case.save(&all).await;
    case.check(&all).await;
}

async fn an_answer_is_in_the_order_of_the_question<P: Profiles>(case: &Case<'_, P>) {
    let [ann, bob] = [case.full("ann", 1), case.full("bob", 2)];
    case.save(&[ann.clone(), bob.clone()]).await;
    let asked = ["bob", "nobody", "ann", "bob", "nobody"].map(|name| case.user(name));
    let loaded = case.load(&asked).await;
    let expected = [Some(bob.clone()), None, Some(ann), Some(bob), None];
    assert_eq!(loaded, expected, "{}", case.clause);
}

async fn empty_slices_are_fine<P: Profiles>(case: &Case<'_, P>) {
    case.save(&[]).await;
    assert_eq!(case.load(&[]).await, [], "{}", case.clause);
}

async fn a_thousand_at_once_are_fine<P: Profiles>(case: &Case<'_, P>) {
    let all: Vec<_> = (0..1000)
        .map(|i| case.full(&format!("user{i}"), i))
        .collect();
    case.save(&all).await;
    case.check(&all).await;
}

async fn a_higher_revision_replaces_all_of_the_profile<P: Profiles>(case: &Case<'_, P>) {
    case.save(&[case.full("ann", 9)]).await;
    let mut later = case.plain("ann");
    // As numbers 10 is more than 9, as texts it is less.
    later.status.revision = 10;
    case.save(std::slice::from_ref(&later)).await;
    case.check(&[later]).await;
}

async fn a_lower_revision_is_ignored<P: Profiles>(case: &Case<'_, P>) {
    let stored = case.full("ann", 10);
    case.save(std::slice::from_ref(&stored)).await;
    let mut earlier = case.plain("ann");
    earlier.status.revision = 9;
    earlier.last_seen = stored.last_seen.map(|at| at + Duration::from_secs(60));
    case.save(&[earlier]).await;
    case.check(&[stored]).await;
}

async fn at_the_same_revision_the_later_last_seen_stays<P: Profiles>(case: &Case<'_, P>) {
    // Each save, and what is there after it.
    let steps = [
        (None, None),
        (Some(900), Some(900)),
        (None, Some(900)),
        (Some(1000), Some(1000)),
        (Some(999), Some(1000)),
        (Some(1001), Some(1001)),
    ];
    for (saved, stored) in steps {
        let seen = |ms: Option<u64>| Profile {
            last_seen: ms.map(at),
            ..case.full("ann", 5)
        };
        case.save(&[seen(saved)]).await;
        case.check(&[seen(stored)]).await;
    }
}

async fn at_the_same_revision_and_last_seen_the_later_save_stays<P: Profiles>(case: &Case<'_, P>) {
    let first = case.full("ann", 5);
    let mut second = first.clone();
    second.status.message = Some("on second thoughts".into());
    case.save(&[first]).await;
    case.save(std::slice::from_ref(&second)).await;
    case.check(&[second]).await;
}

async fn repeating_a_save_changes_nothing<P: Profiles>(case: &Case<'_, P>) {
    let all = [case.full("ann", 1), case.plain("bob")];
    for _ in 0..3 {
        case.save(&all).await;
        case.check(&all).await;
    }
}

async fn of_two_in_one_slice_the_later_is_as_if_saved_later<P: Profiles>(case: &Case<'_, P>) {
    let [one, two] = [case.full("ann", 1), case.full("ann", 2)];
    case.save(&[one.clone(), two.clone()]).await;
    case.check(&[two]).await;

    let [one, two] = [case.full("bob", 1), case.full("bob", 2)];
    case.save(&[two.clone(), one]).await;
    case.check(&[two]).await;

    let first = case.full("cid", 1);
    let mut second = first.clone();
    second.status.message = Some("second".into());
    case.save(&[first, second.clone()]).await;
    case.check(&[second]).await;
}

async fn one_ignored_profile_does_not_keep_the_rest_of_its_slice_out<P: Profiles>(
    case: &Case<'_, P>,
) {
    let stored = case.full("bob", 5);
    case.save(std::slice::from_ref(&stored)).await;
    let [ann, cid] = [case.full("ann", 1), case.full("cid", 1)];
    case.save(&[ann.clone(), case.full("bob", 4), cid.clone()])
        .await;
    case.check(&[ann, stored, cid]).await;
}

async fn of_concurrent_saves_of_a_user_the_highest_revision_stays<P: Profiles>(case: &Case<'_, P>) {
    // Neither rising nor falling: 37 goes round all of 1 to 100.
    let revisions = (1..=100).map(|i| i * 37 % 101);
    let slices = revisions.map(|revision| vec![case.full("ann", revision)]);
    case.save_concurrently(slices).await;
    case.check(&[case.full("ann", 100)]).await;
}

async fn concurrent_saves_of_many_users_are_all_kept<P: Profiles>(case: &Case<'_, P>) {
    let all: Vec<_> = (0..100)
        .map(|i| case.full(&format!("user{i}"), i))
        .collect();
    case.save_concurrently(all.chunks(3).map(<[_]>::to_vec))
        .await;
    case.check(&all).await;
}

async fn a_removed_user_has_no_profile_and_the_others_keep_theirs<P: Profiles>(case: &Case<'_, P>) {
    let [ann, bob, cid] = ["ann", "bob", "cid"].map(|name| case.full(name, 3));
    case.save(&[ann.clone(), bob.clone(), cid.clone()]).await;
    case.remove(&[ann.user, cid.user]).await;
    case.check_missing("ann").await;
    case.check_missing("cid").await;
    case.check(&[bob]).await;
}

async fn removing_again_or_somebody_nobody_saved_is_fine<P: Profiles>(case: &Case<'_, P>) {
    let [ann, bob] = [case.full("ann", 1), case.full("bob", 1)];
    case.save(&[ann.clone(), bob.clone()]).await;
    case.remove(&[]).await;
    for _ in 0..2 {
        case.remove(&[ann.user.clone(), case.user("nobody"), ann.user.clone()])
            .await;
        case.check_missing("ann").await;
    }
    case.check(&[bob]).await;
}

async fn after_a_removal_any_profile_is_taken<P: Profiles>(case: &Case<'_, P>) {
    case.save(&[case.full("ann", 9)]).await;
    case.remove(&[case.user("ann")]).await;
    let ann = case.plain("ann");
    case.save(std::slice::from_ref(&ann)).await;
    case.check(&[ann]).await;
}

async fn who_was_last_seen_before_a_moment_is_found<P: Profiles>(case: &Case<'_, P>) {
    let seen = |name, ms| Profile {
        last_seen: Some(at(ms)),
        ..case.plain(name)
    };
    let all = [seen("ann", 999), seen("bob", 1000), seen("cid", 1001)];
    case.save(&all).await;
    case.check_unseen(at(999), []).await;
    case.check_unseen(at(1000), ["ann"]).await;
    case.check_unseen(at(1001), ["ann", "bob"]).await;
    case.save(&[seen("ann", 2000)]).await;
    case.check_unseen(at(1001), ["bob"]).await;
    case.check_unseen(at(FAR_MS), ["ann", "bob", "cid"]).await;
}

async fn who_was_never_seen_is_found_by_the_last_save<P: Profiles>(case: &Case<'_, P>) {
    case.save(&[case.plain("ann")]).await;
    case.check_unseen(lately(), []).await;
    case.check_unseen(at(FAR_MS), ["ann"]).await;
}

async fn who_hides_is_found_by_the_last_save<P: Profiles>(case: &Case<'_, P>) {
    for (name, chosen) in [("ann", Chosen::Invisible), ("bob", Chosen::Offline)] {
        let mut hiding = case.full(name, 1);
        hiding.status.chosen = chosen;
        hiding.last_seen = Some(at(1000));
        case.save(&[hiding]).await;
    }
    case.check_unseen(lately(), []).await;
    case.check_unseen(at(FAR_MS), ["ann", "bob"]).await;
}

async fn a_profile_that_was_ignored_or_removed_is_not_found<P: Profiles>(case: &Case<'_, P>) {
    let seen = |name, revision, ms| {
        let mut profile = case.plain(name);
        profile.status.revision = revision;
        profile.last_seen = Some(at(ms));
        profile
    };
    let stored = [seen("ann", 2, 5000), seen("bob", 2, 1000)];
    case.save(&stored).await;
    case.save(&[seen("ann", 1, 1000)]).await;
    case.remove(&[case.user("bob")]).await;
    case.check_unseen(at(2000), []).await;
    case.check_unseen(at(6000), ["ann"]).await;
}

async fn as_many_of_the_unseen_as_asked_for_are_found<P: Profiles>(case: &Case<'_, P>) {
    // Nobody else of the suite was seen so early.
    let seen = |i| Profile {
        last_seen: Some(at(i)),
        ..case.plain(&format!("user{i}"))
    };
    let before = at(5);
    case.remove(&case.unseen(before).await).await;
    case.save(&(0..10).map(seen).collect::<Vec<_>>()).await;
    for (max, count) in [(0, 0), (1, 1), (4, 4), (5, 5), (6, 5)] {
        let found = case.unseen_of(before, max).await;
        let different: BTreeSet<_> = found.iter().collect();
        assert_eq!(different.len(), found.len(), "{}: {found:?}", case.clause);
        assert_eq!(found.len(), count, "{}: {max} asked for", case.clause);
    }
    case.check_unseen(before, ["user0", "user1", "user2", "user3", "user4"])
        .await;
}

async fn reopening_keeps_everything<P: Profiles>(open: &impl AsyncFn() -> P) {
    let store = Arc::new(open().await);
    let case = Case::new("reopening_keeps_everything", &store);
    let all: Vec<_> = (0..100)
        .map(|i| case.full(&format!("user{i}"), i))
        .collect();
    case.save(&all).await;
    drop(store);
    for _ in 0..3 {
        let store = Arc::new(open().await);
        let case = Case::new("reopening_keeps_everything", &store);
        case.check(&all).await;
    }
}

async fn reopening_keeps_revisions<P: Profiles>(open: &impl AsyncFn() -> P) {
    for (saved, stored) in [(5, 5), (4, 5), (6, 6), (5, 6)] {
        let store = Arc::new(open().await);
        let case = Case::new("reopening_keeps_revisions", &store);
        case.save(&[case.full("ann", saved)]).await;
        case.check(&[case.full("ann", stored)]).await;
    }
}

async fn reopening_brings_back_nobody_who_was_removed<P: Profiles>(open: &impl AsyncFn() -> P) {
    let clause = "reopening_brings_back_nobody_who_was_removed";
    let store = Arc::new(open().await);
    let case = Case::new(clause, &store);
    let [ann, bob] = [case.full("ann", 1), case.full("bob", 1)];
    case.save(&[ann.clone(), bob.clone()]).await;
    case.remove(&[ann.user]).await;
    drop(store);
    let store = Arc::new(open().await);
    let case = Case::new(clause, &store);
    case.check_missing("ann").await;
    case.check(&[bob]).await;
}

async fn reopening_keeps_when_a_profile_was_saved<P: Profiles>(open: &impl AsyncFn() -> P) {
    let clause = "reopening_keeps_when_a_profile_was_saved";
    let store = Arc::new(open().await);
    let case = Case::new(clause, &store);
    case.save(&[case.plain("ann")]).await;
    drop(store);
    let store = Arc::new(open().await);
    let case = Case::new(clause, &store);
    case.check_unseen(lately(), []).await;
    case.check_unseen(at(FAR_MS), ["ann"]).await;
}

/// The greatest number that JSON, Lua and JavaScript can all represent.
const REVISION_MAX: u64 = (1 << 53) - 1;
/// A moment in the year 5138, in milliseconds since 1970.
const FAR_MS: u64 = 100_000_000_000_000;

/// One clause of the contract, with users of its own.
struct Case<'a, P> {
    clause: &'static str,
    store: &'a Arc<P>,
}

impl<'a, P: Profiles> Case<'a, P> {
    fn new(clause: &'static str, store: &'a Arc<P>) -> Self {
        Case { clause, store }
    }

    fn user(&self, name: &str) -> UserId {
        let id = format!("{}/{name}", self.clause);
        UserId::new(&id).expect("names here are made of good characters")
    }

    fn plain(&self, name: &str) -> Profile {
        Profile::new(self.user(name))
    }

    fn full(&self, name: &str, revision: u64) -> Profile {
        Profile {
            status: Status {
                chosen: Chosen::Invisible,
                message: Some(format!("revision {revision} of {name}").into()),
                emoji: Some("🎯".into()),
                expires_at: Some(at(1_800_000_000_123)),
                revision,
            },
            public_status: Some(Status {
                chosen: Chosen::Busy,
                message: Some("in a meeting".into()),
                emoji: Some(":calendar:".into()),
                expires_at: Some(at(1_800_000_000_456)),
                revision: revision.saturating_sub(1),
            }),
            last_seen: Some(at(1_700_000_000_789)),
            ..self.plain(name)
        }
    }

    async fn save(&self, profiles: &[Profile]) {
        if let Err(error) = self.store.save(profiles).await {
            panic!("{}: a save failed: {error:?}", self.clause);
        }
    }

    async fn remove(&self, users: &[UserId]) {
        if let Err(error) = self.store.remove(users).await {
            panic!("{}: a removal failed: {error:?}", self.clause);
        }
    }

    async fn save_concurrently(&self, slices: impl Iterator<Item = Vec<Profile>>) {
        let mut saves = JoinSet::new();
        for slice in slices {
            let store = Arc::clone(self.store);
            saves.spawn(async move { store.save(&slice).await });
        }
        for saved in saves.join_all().await {
            if let Err(error) = saved {
                panic!("{}: a concurrent save failed: {error:?}", self.clause);
            }
        }
    }

    async fn load(&self, users: &[UserId]) -> Vec<Option<Profile>> {
        match self.store.load(users).await {
            Ok(profiles) => profiles,
            Err(error) => panic!("{}: a load failed: {error:?}", self.clause),
        }
    }

    /// Checks that the store has exactly these profiles, of different users.
    async fn check(&self, expected: &[Profile]) {
        let users: Vec<_> = expected
            .iter()
            .map(|profile| profile.user.clone())
            .collect();
        let loaded = self.load(&users).await;
        assert_eq!(
            loaded.len(),
            users.len(),
            "{}: profiles loaded",
            self.clause
        );
        for (loaded, expected) in loaded.iter().zip(expected) {
            assert_eq!(loaded.as_ref(), Some(expected), "{}", self.clause);
        }
    }

    async fn unseen_of(&self, before: Timestamp, max: usize) -> Vec<UserId> {
        match self.store.unseen(before, max).await {
            Ok(users) => users,
            Err(error) => panic!("{}: looking failed: {error:?}", self.clause),
        }
    }

    async fn unseen(&self, before: Timestamp) -> Vec<UserId> {
        self.unseen_of(before, 100_000).await
    }

    /// Checks which of this clause's users have been unknown since `before`.
    async fn check_unseen<const N: usize>(&self, before: Timestamp, expected: [&str; N]) {
        let mine = self.user("");
        let mut found = self.unseen(before).await;
        found.retain(|user| user.as_str().starts_with(mine.as_str()));
        found.sort_unstable();
        let expected = expected.map(|name| self.user(name));
        assert_eq!(found, expected, "{}: before {before:?}", self.clause);
    }

    async fn check_missing(&self, name: &str) {
        let loaded = self.load(&[self.user(name)]).await;
        assert_eq!(loaded, [None], "{}", self.clause);
    }
}

/// A moment that has passed by any clock that is right to within minutes, and after which the suite began.
fn lately() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now.expect("it is after 1970").as_millis();
    at(u64::try_from(now_ms).expect("it is before the year 5138") - 600_000)
}

fn at(ms: u64) -> Timestamp {
    Timestamp::from_millis(ms)
}
