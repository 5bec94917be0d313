use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use presence_core::ports::{Profiles, StoreError};
use presence_core::{Profile, Timestamp, UserId};
use presence_embedded::{ProfileFile, ProfileMemory};
use presence_testkit::conformance;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profiles.redb");
    conformance::durable_profiles(async || ProfileFile::open(&path).unwrap()).await;
}

#[tokio::test]
async fn a_file_keeps_the_contract_on_one_thread() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profiles.redb");
    conformance::durable_profiles(async || ProfileFile::open(&path).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    conformance::profiles(&Arc::new(ProfileMemory::new())).await;
}

#[tokio::test]
async fn a_store_as_simple_as_the_contract_keeps_it() {
    check(SOUND).await;
}

#[tokio::test]
#[should_panic(expected = "a_lower_revision_is_ignored")]
async fn a_store_where_the_last_save_wins_is_caught() {
    let replaces = |_: &Profile, _: &Profile| true;
    check(Rules { replaces, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "at_the_same_revision_the_later_last_seen_stays")]
async fn a_store_that_looks_at_revisions_only_is_caught() {
    let replaces = |new: &Profile, old: &Profile| new.status.revision >= old.status.revision;
    check(Rules { replaces, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "of_two_in_one_slice_the_later_is_as_if_saved_later")]
async fn a_store_that_keeps_the_first_of_two_in_a_slice_is_caught() {
    let save = |slice: &mut Vec<Profile>| slice.dedup_by(|b, a| a.user == b.user);
    check(Rules { save, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "an_answer_is_in_the_order_of_the_question")]
async fn a_store_that_answers_in_its_own_order_is_caught() {
    let load = |answer: &mut Vec<Option<Profile>>| {
        if answer.contains(&None) {
            answer.sort_by_key(|profile| profile.as_ref().map(|profile| profile.user.clone()));
        }
    };
    check(Rules { load, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "an_expired_status_is_loaded_as_it_is")]
async fn a_store_that_decides_what_has_expired_is_caught() {
    let load = |answer: &mut Vec<Option<Profile>>| {
        for profile in answer.iter_mut().flatten() {
            profile.expire(Timestamp::from_millis(1_000_000));
        }
    };
    check(Rules { load, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "a_removed_user_has_no_profile_and_the_others_keep_theirs")]
async fn a_store_that_removes_the_first_only_is_caught() {
    let remove = |users: &mut Vec<UserId>| users.truncate(1);
    check(Rules { remove, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "who_was_last_seen_before_a_moment_is_found")]
async fn a_store_that_finds_who_was_seen_at_that_very_moment_is_caught() {
    let is_unseen = |profile: &Profile, before| profile.known_at(before) <= before;
    check(Rules { is_unseen, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "who_was_never_seen_is_found_by_the_last_save")]
async fn a_store_that_finds_whoever_was_never_seen_is_caught() {
    let is_unseen = |profile: &Profile, before| profile.last_seen < Some(before);
    check(Rules { is_unseen, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "who_hides_is_found_by_the_last_save")]
async fn a_store_that_finds_whoever_has_hidden_for_long_is_caught() {
    let is_unseen = |profile: &Profile, before| profile.last_seen.unwrap_or(now()) < before;
    check(Rules { is_unseen, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "reopening_keeps_everything")]
async fn a_store_that_forgets_is_caught() {
    conformance::durable_profiles(async || ProfileMemory::new()).await;
}

/// What a store does that could be wrong.
struct Rules {
    replaces: fn(&Profile, &Profile) -> bool,
    save: fn(&mut Vec<Profile>),
    load: fn(&mut Vec<Option<Profile>>),
    remove: fn(&mut Vec<UserId>),
    is_unseen: fn(&Profile, Timestamp) -> bool,
}

const SOUND: Rules = Rules {
    replaces: Profile::supersedes,
    save: |_| {},
    load: |_| {},
    remove: |_| {},
    // All of it was saved today.
    is_unseen: |profile, before| profile.known_at(now()) < before,
};

fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(0) + since_1970
}

async fn check(rules: Rules) {
    let stored = Mutex::default();
    conformance::profiles(&Arc::new(Store { rules, stored })).await;
}

struct Store {
    rules: Rules,
    stored: Mutex<Vec<Profile>>,
}

impl Profiles for Store {
    async fn save(&self, profiles: &[Profile]) -> Result<(), StoreError> {
        let mut slice = profiles.to_vec();
        (self.rules.save)(&mut slice);
        let mut stored = self.stored.lock().unwrap();
        for new in slice {
            match stored.iter_mut().find(|old| old.user == new.user) {
                None => stored.push(new),
                Some(old) if (self.rules.replaces)(&new, old) => *old = new,
                Some(_) => {}
            }
        }
        Ok(())
    }

    async fn load(&self, users: &[UserId]) -> Result<Vec<Option<Profile>>, StoreError> {
        let stored = self.stored.lock().unwrap();
        let find = |user: &UserId| stored.iter().find(|profile| profile.user == *user).cloned();
        let mut answer = users.iter().map(find).collect();
        (self.rules.load)(&mut answer);
        Ok(answer)
    }

    async fn remove(&self, users: &[UserId]) -> Result<(), StoreError> {
        let mut users = users.to_vec();
        (self.rules.remove)(&mut users);
        let mut stored = self.stored.lock().unwrap();
        stored.retain(|profile| !users.contains(&profile.user));
        Ok(())
    }

    async fn unseen(&self, before: Timestamp, max: usize) -> Result<Vec<UserId>, StoreError> {
        let stored = self.stored.lock().unwrap();
        let unseen = stored
            .iter()
            .filter(|profile| (self.rules.is_unseen)(profile, before));
        Ok(unseen.take(max).map(|it| it.user.clone()).collect())
    }
}
