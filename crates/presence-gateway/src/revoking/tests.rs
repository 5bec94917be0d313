use std::sync::Mutex;

use presence_core::Timestamp;
use presence_core::ports::RevocationList;
use presence_core::revocation::RevokedUsers;
use presence_embedded::RevocationMemory;
use tokio::time::{sleep, timeout};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn what_one_gateway_revokes_every_gateway_knows_within_a_second() {
    let store = Arc::new(RevocationMemory::new());
    let (here, there) = (Node::on(&store), Node::on(&store));
    let mut changes = there.revoking.changes();
    assert_eq!(here.revokes("ann").await, Ok(()));
    changes.changed().await.unwrap();
    assert_eq!(there.users(), ["ann"]);
    // Whoever revoked has thrown out everybody already.
    sleep(LOOK_EVERY * 3).await;
    assert!(!here.revoking.changes().has_changed().unwrap());
    // A gateway that starts knows it before anybody is let in.
    let late = Node::on(&store);
    late.revoking.load().await.unwrap();
    assert_eq!(late.users(), ["ann"]);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_the_last_known_list_counts_and_is_kept_when_it_is_back() {
    let store = Arc::new(Shaky::default());
    let (here, there) = (Node::on(&store), Node::on(&store));
    assert_eq!(here.revokes("ann").await, Ok(()));
    sleep(LOOK_EVERY * 2).await;
    store.set_away(true);
    assert_eq!(here.revokes("bob").await, Err(NotKept::Away));
    assert!(here.revoking.is_away());
    sleep(LOOK_EVERY * 5).await;
    assert_eq!(here.users(), ["ann", "bob"]);
    assert_eq!(there.users(), ["ann"]);
    assert!(Node::on(&store).revoking.load().await.is_err());
    store.set_away(false);
    sleep(LOOK_EVERY * 3).await;
    assert_eq!(there.users(), ["ann", "bob"]);
    assert!(!here.revoking.is_away() && !there.revoking.is_away());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_everything_gets_it_back() {
    let store = Arc::new(Shaky::default());
    let here = Node::on(&store);
    for user in ["ann", "bob"] {
        assert_eq!(here.revokes(user).await, Ok(()));
    }
    sleep(LOOK_EVERY * 2).await;
    store.wipe();
    sleep(LOOK_EVERY * 2).await;
    let late = Node::on(&store);
    late.revoking.load().await.unwrap();
    assert_eq!(late.users(), ["ann", "bob"]);
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_a_user_is_revoked_here_and_whoever_asked_is_told_so() {
    let store = Arc::new(Shaky::default());
    store.set_full(true);
    let here = Node::on(&store);
    assert_eq!(here.revokes("ann").await, Err(NotKept::Full));
    assert_eq!(here.users(), ["ann"]);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_alone_asks_for_nothing_but_what_it_owes() {
    let store = Arc::new(Shaky::default());
    let here = Node::of(&store, false);
    assert_eq!(here.revokes("ann").await, Ok(()));
    sleep(LOOK_EVERY * 100).await;
    assert_eq!(store.lock().looks, 0);
    store.set_away(true);
    assert_eq!(here.revokes("bob").await, Err(NotKept::Away));
    sleep(LOOK_EVERY * 5).await;
    store.set_away(false);
    sleep(LOOK_EVERY * 2).await;
    assert_eq!(store.lock().users.len(), 2);
    let looks = store.lock().looks;
    sleep(LOOK_EVERY * 100).await;
    assert_eq!(store.lock().looks, looks);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_way_to_it() {
    let (list, clock) = (Arc::new(Revoked::default()), WallClock::start());
    let store = Arc::new(RevocationMemory::new());
    let (revoking, task) = Revoking::new(list, store, true, clock);
    drop(revoking);
    timeout(HOUR, task).await.expect("an end");
}

/// A gateway, as far as this goes.
struct Node {
    list: Arc<Revoked>,
    revoking: Revoking,
    clock: WallClock,
}

impl Node {
    fn on<R: Revocations>(store: &Arc<R>) -> Node {
        Node::of(store, true)
    }

    fn of<R: Revocations>(store: &Arc<R>, is_shared: bool) -> Node {
        let (list, clock) = (Arc::new(Revoked::default()), WallClock::start());
        let (revoking, task) = Revoking::new(list.clone(), store.clone(), is_shared, clock);
        tokio::spawn(task);
        Node {
            list,
            revoking,
            clock,
        }
    }

    async fn revokes(&self, user: &str) -> Result<(), NotKept> {
        let user = user.parse().unwrap();
        let revoked = self.list.revoke(&user, self.clock.now(), HOUR).unwrap();
        self.revoking.keep(revoked).await
    }

    /// Whom it knows to be revoked.
    fn users(&self) -> Vec<String> {
        let known = self.list.compare(self.clock.now(), &[]).missing;
        known.iter().map(|it| it.user.to_string()).collect()
    }
}

/// A store that can be away, full, or lose everything.
#[derive(Default)]
struct Shaky(Mutex<State>);

#[derive(Default)]
struct State {
    users: RevokedUsers,
    version: u64,
    is_away: bool,
    is_full: bool,
    looks: u32,
}

impl Shaky {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn set_away(&self, is_away: bool) {
        self.lock().is_away = is_away;
    }

    fn set_full(&self, is_full: bool) {
        self.lock().is_full = is_full;
    }

    fn wipe(&self) {
        let mut state = self.lock();
        state.users = RevokedUsers::default();
        state.version = 0;
    }

    fn reach(&self) -> Result<std::sync::MutexGuard<'_, State>, StoreError> {
        let state = self.lock();
        match state.is_away {
            true => Err(StoreError::Unavailable("away".into())),
            false => Ok(state),
        }
    }
}

impl Revocations for Shaky {
    async fn revoke(
        &self,
        now: Timestamp,
        revocations: &[Revocation],
    ) -> Result<Vec<Revoke>, StoreError> {
        let mut state = self.reach()?;
        if state.is_full {
            return Ok(vec![Revoke::Full; revocations.len()]);
        }
        let revoked = revocations.iter().map(|it| state.users.revoke(now, it));
        let revoked = revoked.collect();
        state.version += 1;
        Ok(revoked)
    }

    async fn revoked(&self, known: u64) -> Result<Option<RevocationList>, StoreError> {
        self.lock().looks += 1;
        let state = self.reach()?;
        Ok(
            (known == 0 || known != state.version).then(|| RevocationList {
                version: state.version,
                revocations: state.users.iter().cloned().collect(),
            }),
        )
    }
}
