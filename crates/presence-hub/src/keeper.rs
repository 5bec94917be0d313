//! Between a shard and the profile store: one load and one save at a time, each of everything that waits.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::ports::{Profiles, StoreError};
use presence_core::{Profile, UserId};

use crate::counters::Counters;
use crate::people::Asker;

/// Profiles in one load or save; the others wait for the next.
const BATCH_MAX: usize = 1000;
/// The first wait after a failure, doubled with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// The longest.
const RETRY_MAX: Duration = Duration::from_secs(5);

type InFlight<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;
type Saved = (Vec<Profile>, Result<(), StoreError>);
type Loaded = (Vec<UserId>, Result<Vec<Option<Profile>>, StoreError>);

/// Keeps what a shard's users chose. Many changes of one user while a save is under way become one.
///
/// A store that is away is asked again until it answers; meanwhile there is one waiting profile per user, and what is asked
/// for is answered from there first, so that nobody reads what they have overwritten.
pub(crate) struct Keeper<P> {
    store: Arc<P>,
    counters: Arc<Counters>,
    to_load: Vec<UserId>,
    loading: InFlight<Loaded>,
    load_retry: Duration,
    unsaved: HashMap<UserId, Unsaved>,
    saving: InFlight<Saved>,
    save_retry: Duration,
    /// Who waits for the save that is under way.
    askers: Vec<Asker>,
}

struct Unsaved {
    profile: Profile,
    askers: Vec<Asker>,
    /// The save that is under way has it, and nothing newer is known.
    in_flight: bool,
}

/// What the store has done.
pub(crate) enum Kept {
    Loaded(Vec<(UserId, Option<Profile>)>),
    Saved(Vec<Asker>),
    /// It failed, and is tried again.
    Nothing,
}

impl<P: Profiles> Keeper<P> {
    pub(crate) fn new(store: Arc<P>, counters: Arc<Counters>) -> Self {
        Keeper {
            store,
            counters,
            to_load: Vec::new(),
            loading: None,
            load_retry: RETRY_FIRST,
            unsaved: HashMap::new(),
            saving: None,
            save_retry: RETRY_FIRST,
            askers: Vec::new(),
        }
    }

    /// Asks for the profile of `user`; answers at once if it is still on its way to the store.
    pub(crate) fn load(&mut self, user: UserId) -> Option<Profile> {
        if let Some(unsaved) = self.unsaved.get(&user) {
            return Some(unsaved.profile.clone());
        }
        self.to_load.push(user);
        self.start();
        None
    }

    /// Wants `profile` kept, and `asker` told when it is.
    pub(crate) fn save(&mut self, profile: Profile, asker: Option<Asker>) {
        let user = profile.user.clone();
        match self.unsaved.get_mut(&user) {
            Some(unsaved) => {
                unsaved.profile = profile;
                unsaved.askers.extend(asker);
                unsaved.in_flight = false;
            }
            None => {
                Counters::add(&self.counters.unsaved, 1);
                let askers = asker.into_iter().collect();
                let in_flight = false;
                let unsaved = Unsaved {
                    profile,
                    askers,
                    in_flight,
                };
                self.unsaved.insert(user, unsaved);
            }
        }
        self.start();
    }

    /// Whether everything is kept.
    pub(crate) fn is_idle(&self) -> bool {
        self.unsaved.is_empty()
    }

    /// What the store does next; never, while it has nothing to do. Cancelling it loses nothing.
    pub(crate) async fn done(&mut self) -> Kept {
        let kept = tokio::select! {
            (users, outcome) = finish(&mut self.loading) => self.loaded(users, outcome),
            (profiles, outcome) = finish(&mut self.saving) => self.saved(profiles, outcome),
        };
        self.start();
        kept
    }

    fn start(&mut self) {
        if self.loading.is_none() && !self.to_load.is_empty() {
            let rest = self.to_load.split_off(self.to_load.len().min(BATCH_MAX));
            let users = std::mem::replace(&mut self.to_load, rest);
            let store = self.store.clone();
            self.loading = Some(Box::pin(async move {
                let outcome = store.load(&users).await;
                (users, outcome)
            }));
        }
        if self.saving.is_none() {
            let waiting = self.unsaved.values_mut().filter(|it| !it.in_flight);
            let mut profiles = Vec::new();
            for unsaved in waiting.take(BATCH_MAX) {
                unsaved.in_flight = true;
                self.askers.append(&mut unsaved.askers);
                profiles.push(unsaved.profile.clone());
            }
            if !profiles.is_empty() {
                let store = self.store.clone();
                self.saving = Some(Box::pin(async move {
                    let outcome = store.save(&profiles).await;
                    (profiles, outcome)
                }));
            }
        }
    }

    fn loaded(
        &mut self,
        users: Vec<UserId>,
        outcome: Result<Vec<Option<Profile>>, StoreError>,
    ) -> Kept {
        self.loading = None;
        self.note(&outcome);
        match outcome {
            Ok(profiles) => {
                self.load_retry = RETRY_FIRST;
                Kept::Loaded(users.into_iter().zip(profiles).collect())
            }
            Err(error) => {
                // A corrupt record is retried like an absent store: to guess that its user hides nothing would be worse.
                tracing::warn!(%error, users = users.len(), "cannot load profiles, trying again");
                let wait = next_retry(&mut self.load_retry);
                let store = self.store.clone();
                self.loading = Some(Box::pin(async move {
                    tokio::time::sleep(wait).await;
                    let outcome = store.load(&users).await;
                    (users, outcome)
                }));
                Kept::Nothing
            }
        }
    }

    fn saved(&mut self, profiles: Vec<Profile>, outcome: Result<(), StoreError>) -> Kept {
        self.saving = None;
        self.note(&outcome);
        match outcome {
            Ok(()) => {
                self.save_retry = RETRY_FIRST;
                Counters::add(&self.counters.saved, profiles.len());
                for profile in profiles {
                    if self
                        .unsaved
                        .get(&profile.user)
                        .is_some_and(|it| it.in_flight)
                    {
                        self.unsaved.remove(&profile.user);
                        self.counters.unsaved.fetch_sub(1, Relaxed);
                    }
                }
                Kept::Saved(std::mem::take(&mut self.askers))
            }
            Err(error) => {
                tracing::warn!(%error, profiles = profiles.len(), "cannot save profiles, trying again");
                Counters::add(&self.counters.save_failures, 1);
                let wait = next_retry(&mut self.save_retry);
                let store = self.store.clone();
                self.saving = Some(Box::pin(async move {
                    tokio::time::sleep(wait).await;
                    let outcome = store.save(&profiles).await;
                    (profiles, outcome)
                }));
                Kept::Nothing
            }
        }
    }

    fn note<T>(&self, outcome: &Result<T, StoreError>) {
        self.counters.store_away.store(outcome.is_err(), Relaxed);
    }
}

async fn finish<T>(in_flight: &mut InFlight<T>) -> T {
    match in_flight {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

fn next_retry(retry: &mut Duration) -> Duration {
    let wait = *retry;
    *retry = (wait * 2).min(RETRY_MAX);
    wait
}
