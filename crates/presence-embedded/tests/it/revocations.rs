use std::sync::{Arc, Mutex};

use presence_core::Timestamp;
use presence_core::ports::{RevocationList, Revocations, StoreError};
use presence_core::revocation::{REVOKED_MAX, Revocation, Revoke};
use presence_embedded::{ProfileFile, RevocationMemory};
use presence_testkit::conformance;

#[tokio::test(flavor = "multi_thread")]
async fn a_file_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("profiles.redb");
    conformance::durable_revocations(async || ProfileFile::open(&path).unwrap()).await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    conformance::revocations(&RevocationMemory::new()).await;
}

#[tokio::test]
async fn a_store_as_simple_as_the_contract_keeps_it() {
    let store = Store::of(SOUND);
    conformance::shared_revocations(async || store.clone()).await;
}

#[tokio::test]
#[should_panic(expected = "the_later_moments_stay")]
async fn a_store_where_the_last_one_wins_is_caught() {
    let merge = |known: &mut Revocation, new: &Revocation| {
        let is_news = known != new;
        *known = new.clone();
        is_news
    };
    check(Rules { merge, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "the_later_moments_stay")]
async fn a_store_that_keeps_the_first_one_is_caught() {
    let merge = |_: &mut Revocation, _: &Revocation| false;
    check(Rules { merge, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "beyond_the_bound_nobody_is_forgotten")]
async fn a_store_without_a_bound_is_caught() {
    check(Rules {
        max: usize::MAX,
        ..SOUND
    })
    .await;
}

#[tokio::test]
#[should_panic(expected = "beyond_the_bound_nobody_is_forgotten")]
async fn a_store_that_forgets_somebody_to_make_room_is_caught() {
    let make_room = |all: &mut Vec<Revocation>, _: Timestamp| drop(all.remove(0));
    check(Rules { make_room, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "beyond_the_bound_nobody_is_forgotten")]
async fn a_store_that_never_makes_room_is_caught() {
    let make_room = |_: &mut Vec<Revocation>, _: Timestamp| {};
    check(Rules { make_room, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "each_change_has_a_version_of_its_own")]
async fn a_store_whose_version_is_how_many_there_are_is_caught() {
    let version = |all: &[Revocation], _: u64| all.len() as u64;
    check(Rules { version, ..SOUND }).await;
}

#[tokio::test]
#[should_panic(expected = "reopening_keeps_the_list")]
async fn a_store_that_forgets_is_caught() {
    conformance::durable_revocations(async || RevocationMemory::new()).await;
}

#[tokio::test]
#[should_panic(expected = "what_one_node_revokes_every_node_sees")]
async fn a_store_of_each_node_alone_is_caught() {
    conformance::shared_revocations(async || RevocationMemory::new()).await;
}

/// What a store does that could be wrong.
#[derive(Clone, Copy)]
struct Rules {
    merge: fn(&mut Revocation, &Revocation) -> bool,
    make_room: fn(&mut Vec<Revocation>, Timestamp),
    max: usize,
    version: fn(&[Revocation], u64) -> u64,
}

const SOUND: Rules = Rules {
    merge: Revocation::merge,
    make_room: |all, now| all.retain(|it| !it.has_ended(now)),
    max: REVOKED_MAX,
    version: |_, changes| changes,
};

async fn check(rules: Rules) {
    conformance::revocations(&Store::of(rules)).await;
}

#[derive(Clone)]
struct Store {
    rules: Rules,
    kept: Arc<Mutex<(Vec<Revocation>, u64)>>,
}

impl Store {
    fn of(rules: Rules) -> Self {
        Store {
            rules,
            kept: Arc::default(),
        }
    }
}

impl Revocations for Store {
    async fn revoke(
        &self,
        now: Timestamp,
        revocations: &[Revocation],
    ) -> Result<Vec<Revoke>, StoreError> {
        let Rules {
            merge,
            make_room,
            max,
            ..
        } = self.rules;
        let mut kept = self.kept.lock().unwrap();
        let (all, changes) = &mut *kept;
        let revoked = revocations.iter().map(|new| {
            if let Some(known) = all.iter_mut().find(|it| it.user == new.user) {
                return match merge(known, new) {
                    true => Revoke::Changed,
                    false => Revoke::Known,
                };
            }
            if all.len() >= max {
                make_room(all, now);
            }
            if all.len() >= max {
                return Revoke::Full;
            }
            all.push(new.clone());
            Revoke::Changed
        });
        let revoked: Vec<Revoke> = revoked.collect();
        *changes += u64::from(revoked.contains(&Revoke::Changed));
        Ok(revoked)
    }

    async fn revoked(&self, known: u64) -> Result<Option<RevocationList>, StoreError> {
        let kept = self.kept.lock().unwrap();
        let version = (self.rules.version)(&kept.0, kept.1);
        Ok((known == 0 || known != version).then(|| RevocationList {
            version,
            revocations: kept.0.clone(),
        }))
    }
}
