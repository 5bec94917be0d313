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
type Loaded = Vec<(UserId, Result<Option<Profile>, StoreError>)>;
type Saved = Vec<(UserId, Result<(), StoreError>)>;

/// Keeps what a shard's users chose. Many changes of one user while a save is under way become one.
///
/// A store that is away is asked again until it answers; meanwhile there is one waiting profile per user, and what is asked
/// for is answered from there first, so that nobody reads what they have overwritten. A record that cannot be read fails
/// alone: its user is not guessed to hide nothing, and nobody else waits for it.
pub(crate) struct Keeper<P> {
    store: Arc<P>,
    counters: Arc<Counters>,
    to_load: Vec<UserId>,
    loading: InFlight<Loaded>,
    unsaved: HashMap<UserId, Unsaved>,
    saving: InFlight<Saved>,
    /// Loads that failed wait here, and saves by themselves, until `retry` is over.
    failed_loads: Vec<UserId>,
    retry: InFlight<()>,
    next_wait: Duration,
}

struct Unsaved {
    profile: Profile,
    state: State,
    /// Who waits for this profile.
    askers: Vec<Asker>,
    /// What came while it was being saved, and who waits for that.
    newer: Option<(Profile, Vec<Asker>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Saving,
    Failed,
}

/// What the store has done.
pub(crate) enum Kept {
    Loaded(Vec<(UserId, Option<Profile>)>),
    Saved(Vec<Asker>),
    /// Nothing that anybody waits for.
    Nothing,
}

impl<P: Profiles> Keeper<P> {
    pub(crate) fn new(store: Arc<P>, counters: Arc<Counters>) -> Self {
        Keeper {
            store,
            counters,
            to_load: Vec::new(),
            loading: None,
            unsaved: HashMap::new(),
            saving: None,
            failed_loads: Vec::new(),
            retry: None,
            next_wait: RETRY_FIRST,
        }
    }

    /// Asks for the profile of `user`; answers at once if it is still on its way to the store.
    pub(crate) fn load(&mut self, user: UserId) -> Option<Profile> {
        if let Some(unsaved) = self.unsaved.get(&user) {
            let newest = unsaved.newer.as_ref().map(|(profile, _)| profile);
            return Some(newest.unwrap_or(&unsaved.profile).clone());
        }
        self.to_load.push(user);
        self.start();
        None
    }

    /// Wants `profile` kept, and `asker` told when it is.
    pub(crate) fn save(&mut self, profile: Profile, asker: Option<Asker>) {
        match self.unsaved.get_mut(&profile.user) {
            Some(unsaved) if unsaved.state == State::Saving => match &mut unsaved.newer {
                Some((newer, askers)) => {
                    *newer = profile;
                    askers.extend(asker);
                }
                None => unsaved.newer = Some((profile, asker.into_iter().collect())),
            },
            Some(unsaved) => {
                unsaved.profile = profile;
                unsaved.askers.extend(asker);
            }
            None => {
                self.counters.unsaved.fetch_add(1, Relaxed);
                let user = profile.user.clone();
                let unsaved = Unsaved {
                    profile,
                    state: State::Waiting,
                    askers: asker.into_iter().collect(),
                    newer: None,
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
            loaded = finish(&mut self.loading) => self.loaded(loaded),
            saved = finish(&mut self.saving) => self.saved(saved),
            () = finish(&mut self.retry) => self.try_again(),
        };
        self.start();
        kept
    }

    fn start(&mut self) {
        if self.loading.is_none() && !self.to_load.is_empty() {
            let rest = self.to_load.split_off(self.to_load.len().min(BATCH_MAX));
            let users = std::mem::replace(&mut self.to_load, rest);
            self.loading = Some(Box::pin(load(self.store.clone(), users)));
        }
        if self.saving.is_none() {
            let waiting = self.unsaved.values_mut();
            let waiting = waiting.filter(|it| it.state == State::Waiting);
            let mut profiles = Vec::new();
            for unsaved in waiting.take(BATCH_MAX) {
                unsaved.state = State::Saving;
                profiles.push(unsaved.profile.clone());
            }
            if !profiles.is_empty() {
                self.saving = Some(Box::pin(save(self.store.clone(), profiles)));
            }
        }
    }

    fn loaded(&mut self, loaded: Loaded) -> Kept {
        self.loading = None;
        let mut profiles = Vec::new();
        let mut failure = None;
        for (user, outcome) in loaded {
            match outcome {
                Ok(profile) => profiles.push((user, profile)),
                Err(error) => {
                    self.failed_loads.push(user);
                    failure = Some(error);
                }
            }
        }
        self.note("load", failure, !profiles.is_empty());
        match profiles.is_empty() {
            true => Kept::Nothing,
            false => Kept::Loaded(profiles),
        }
    }

    fn saved(&mut self, saved: Saved) -> Kept {
        self.saving = None;
        let mut granted = Vec::new();
        let mut kept = 0;
        let mut failure = None;
        for (user, outcome) in saved {
            let Some(unsaved) = self.unsaved.get_mut(&user) else {
                continue;
            };
            let is_kept = outcome.is_ok();
            if is_kept {
                kept += 1;
                granted.append(&mut unsaved.askers);
            }
            failure = outcome.err().or(failure);
            match unsaved.newer.take() {
                Some((profile, mut askers)) => {
                    unsaved.profile = profile;
                    unsaved.askers.append(&mut askers);
                    unsaved.state = State::Waiting;
                }
                None if is_kept => {
                    self.unsaved.remove(&user);
                    self.counters.unsaved.fetch_sub(1, Relaxed);
                }
                None => unsaved.state = State::Waiting,
            }
            if !is_kept && let Some(unsaved) = self.unsaved.get_mut(&user) {
                unsaved.state = State::Failed;
            }
        }
        Counters::add(&self.counters.saved, kept);
        if failure.is_some() {
            Counters::add(&self.counters.save_failures, 1);
        }
        self.note("save", failure, kept > 0);
        Kept::Saved(granted)
    }

    fn try_again(&mut self) -> Kept {
        self.retry = None;
        self.to_load.append(&mut self.failed_loads);
        let failed = self.unsaved.values_mut();
        let failed = failed.filter(|it| it.state == State::Failed);
        failed.for_each(|it| it.state = State::Waiting);
        Kept::Nothing
    }

    fn note(&mut self, what: &str, failure: Option<StoreError>, some_worked: bool) {
        let away = matches!(failure, Some(StoreError::Unavailable(_)));
        self.counters.store_away.store(away, Relaxed);
        if some_worked {
            self.next_wait = RETRY_FIRST;
        }
        let Some(error) = failure else { return };
        let wait = self.next_wait;
        let source = std::error::Error::source(&error).map(ToString::to_string);
        tracing::warn!(%error, source, ?wait, "cannot {what} profiles, trying again");
        self.next_wait = (wait * 2).min(RETRY_MAX);
        if self.retry.is_none() {
            self.retry = Some(Box::pin(tokio::time::sleep(wait)));
        }
    }
}

async fn load<P: Profiles>(store: Arc<P>, users: Vec<UserId>) -> Loaded {
    match store.load(&users).await {
        Ok(profiles) => users
            .into_iter()
            .zip(profiles.into_iter().map(Ok))
            .collect(),
        Err(StoreError::Corrupt { .. }) if users.len() > 1 => {
            let mut loaded = Vec::with_capacity(users.len());
            for user in users {
                let outcome = store.load(std::slice::from_ref(&user)).await;
                let outcome = outcome.map(|mut profiles| profiles.pop().flatten());
                loaded.push((user, outcome));
            }
            loaded
        }
        Err(error) => all_failed(users, error),
    }
}

async fn save<P: Profiles>(store: Arc<P>, profiles: Vec<Profile>) -> Saved {
    match store.save(&profiles).await {
        Ok(()) => profiles.into_iter().map(|it| (it.user, Ok(()))).collect(),
        Err(StoreError::Corrupt { .. }) if profiles.len() > 1 => {
            let mut saved = Vec::with_capacity(profiles.len());
            for profile in profiles {
                let outcome = store.save(std::slice::from_ref(&profile)).await;
                saved.push((profile.user, outcome));
            }
            saved
        }
        Err(error) => all_failed(profiles.into_iter().map(|it| it.user).collect(), error),
    }
}

/// The first user gets the error itself, the others one of the same kind.
fn all_failed<T>(users: Vec<UserId>, error: StoreError) -> Vec<(UserId, Result<T, StoreError>)> {
    let mut error = Some(error);
    let mut next = || {
        let again = || StoreError::Unavailable("the same request failed for another user".into());
        error.take().unwrap_or_else(again)
    };
    users.into_iter().map(|user| (user, Err(next()))).collect()
}

async fn finish<T>(in_flight: &mut InFlight<T>) -> T {
    match in_flight {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
