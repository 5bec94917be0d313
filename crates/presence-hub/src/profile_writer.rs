//! The way from a shard to the store of profiles: one load and one save at a time, each with everything that waits.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::cluster::Subject;
use presence_core::ports::{Profiles, Row, StoreError};
use presence_core::{Profile, UserId};
use tokio::time::Instant;

use crate::counters::Counters;
use crate::mailbox::ReplyTo;
use crate::pending::{InFlight, finish};
use crate::save_outcomes::SaveOutcome;

/// The number of profiles in one load or save; the others wait for the next.
const BATCH_MAX: usize = 1000;
/// The first wait after a failure. Each further failure doubles it.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// The longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(5);
/// How long a profile that nobody waits for is held back, so that further changes of its user are saved with it.
const LINGER: Duration = Duration::from_millis(500);
/// How long a load may take before the users who wait for it are let in without their profiles, in a cluster.
const LOAD_PATIENCE: Duration = Duration::from_millis(500);

type Loaded = Vec<(UserId, Result<Option<Profile>, StoreError>)>;
pub(crate) type Saved = Vec<(UserId, Result<(), StoreError>)>;

/// Saves what the users of a shard chose. Changes of one user while a save is under way are saved together.
///
/// A store that does not answer is asked again until it does. Meanwhile one profile per user waits, and loads are
/// answered from these first, so that nobody reads what has been replaced. A record that cannot be read fails alone,
/// and is asked for separately: its user is not assumed to be visible, and nobody else waits for it.
///
/// A profile that the shared store has, too, is tried once. If that fails it waits in the shared store, for the
/// node that finds it first when the store of profiles works again. So this node does not write later what another
/// node has changed since.
pub(crate) struct ProfileWriter<P> {
    store: Arc<P>,
    counters: Arc<Counters>,
    to_load: Vec<UserId>,
    loading: InFlight<Loaded>,
    /// The users whose profiles were asked for and have not been read yet.
    unread: HashSet<UserId>,
    /// Ends when the load has taken too long to wait for; `is_late` says whether it has.
    patience: InFlight<()>,
    is_late: bool,
    /// Ends when the profiles that linger have to be saved.
    linger: InFlight<()>,
    unsaved: HashMap<UserId, Unsaved>,
    saving: InFlight<Saved>,
    /// Whether the store did not answer. It is not asked again before `retry` is over.
    is_away: bool,
    /// Loads that failed wait here until `retry` is over; saves that failed wait in `unsaved`.
    failed_loads: Vec<UserId>,
    retry: InFlight<()>,
    next_wait: Duration,
    /// Users whose records cannot be read. Their loads wait here until `reread` is over, and their saves
    /// wait in `unsaved`.
    unreadable: HashSet<UserId>,
    to_reread: Vec<UserId>,
    reread: InFlight<()>,
}

struct Unsaved {
    save: Save,
    state: State,
    /// Since when a change of the user has been waiting.
    since: Instant,
    /// The profile that came while another one of the user was being saved.
    newer: Option<Save>,
}

/// A profile that has to be saved.
struct Save {
    profile: Profile,
    /// The version of the user's map in the shared store that has this profile, if there is one.
    version: Option<u64>,
    /// The requests that wait for the save.
    reply_tos: Vec<ReplyTo>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Lingering,
    Waiting,
    Saving,
    /// The store did not answer.
    Failed,
    /// The stored record of the user cannot be read.
    Unreadable,
    /// The save is tried again, separately from those that can be done at once.
    WaitingApart,
}

/// Why a profile is not loaded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unread {
    /// The store has not answered yet.
    Away,
    /// The stored record cannot be used.
    Unreadable,
}

/// The requests that are granted because something is saved, and those that are refused because it cannot be saved.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) granted: Vec<ReplyTo>,
    pub(crate) refused: Vec<ReplyTo>,
}

/// What the store has done.
pub(crate) enum WriterEvent {
    /// The first users' profiles are loaded, the second users' are not.
    Loaded(Vec<(UserId, Option<Profile>)>, Vec<(UserId, Unread)>),
    /// The profiles of these users cannot be loaded at present.
    Unread(Vec<(UserId, Unread)>),
    /// Requests to answer, and outcomes for the rows that wait in the shared store.
    Saved(Answers, Vec<SaveOutcome>),
    /// Nothing that anybody waits for.
    Nothing,
}

impl<P: Profiles> ProfileWriter<P> {
    pub(crate) fn new(store: Arc<P>, counters: Arc<Counters>) -> Self {
        ProfileWriter {
            store,
            counters,
            to_load: Vec::new(),
            loading: None,
            unread: HashSet::new(),
            patience: None,
            is_late: false,
            linger: None,
            unsaved: HashMap::new(),
            saving: None,
            is_away: false,
            failed_loads: Vec::new(),
            retry: None,
            next_wait: RETRY_FIRST,
            unreadable: HashSet::new(),
            to_reread: Vec::new(),
            reread: None,
        }
    }

    /// Loads the profile of `user`. Returns it at once if it is still on its way to the store, or says at once that it
    /// cannot be read at present.
    pub(crate) fn load(&mut self, user: UserId) -> Option<WriterEvent> {
        if let Some(profile) = self.newest(&user) {
            return Some(WriterEvent::Loaded(vec![(user, Some(profile))], Vec::new()));
        }
        self.look_up(user)
    }

    /// What is still on its way to the store.
    fn newest(&self, user: &UserId) -> Option<Profile> {
        let unsaved = self.unsaved.get(user)?;
        let newest = unsaved.newer.as_ref().unwrap_or(&unsaved.save);
        Some(newest.profile.clone())
    }

    /// The same, but asks the store in any case, so that how long it takes does not tell what happened to `user` lately.
    pub(crate) fn look_up(&mut self, user: UserId) -> Option<WriterEvent> {
        let unread = match self.unreadable.contains(&user) {
            true => Some(Unread::Unreadable),
            false => (self.is_late || self.is_away).then_some(Unread::Away),
        };
        if self.unread.insert(user.clone()) {
            match self.is_away {
                true => self.failed_loads.push(user.clone()),
                false => self.to_load.push(user.clone()),
            }
        }
        self.start();
        unread.map(|why| WriterEvent::Unread(vec![(user, why)]))
    }

    /// Saves `profile`, which the user's map in the shared store has in version `version`. `reply_to` is answered when
    /// it is saved.
    pub(crate) fn save(
        &mut self,
        profile: Profile,
        version: Option<u64>,
        reply_to: Option<ReplyTo>,
    ) {
        let state = match reply_to {
            Some(_) => State::Waiting,
            None => State::Lingering,
        };
        let save = Save {
            profile,
            version,
            reply_tos: reply_to.into_iter().collect(),
        };
        match self.unsaved.get_mut(&save.profile.user) {
            Some(unsaved) if unsaved.state == State::Saving => match &mut unsaved.newer {
                Some(newer) => newer.replace(save),
                None if save.version < unsaved.save.version => unsaved.save.replace(save),
                None => unsaved.newer = Some(save),
            },
            Some(unsaved) => {
                unsaved.save.replace(save);
                if (unsaved.state, state) == (State::Lingering, State::Waiting) {
                    unsaved.state = state;
                }
            }
            None => {
                self.counters.unsaved.fetch_add(1, Relaxed);
                let unsaved = Unsaved {
                    state,
                    since: Instant::now(),
                    newer: None,
                    save,
                };
                self.unsaved
                    .insert(unsaved.save.profile.user.clone(), unsaved);
            }
        }
        match state {
            State::Lingering => self.arm_linger(),
            _ => self.start(),
        }
    }

    /// Saves at once what lingers.
    pub(crate) fn hurry(&mut self) {
        self.linger = None;
        self.end_lingering();
        self.start();
    }

    /// Since when the profile has waited that has waited longest.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.unsaved.values().map(|it| it.since).min()
    }

    /// Whether everything is saved.
    pub(crate) fn is_idle(&self) -> bool {
        self.unsaved.is_empty()
    }

    /// Waits for what the store does next; for ever while it has nothing to do. Cancelling it loses nothing.
    pub(crate) async fn done(&mut self) -> WriterEvent {
        let kept = tokio::select! {
            loaded = finish(&mut self.loading) => self.loaded(loaded),
            saved = finish(&mut self.saving) => self.saved(saved),
            () = finish(&mut self.patience) => self.note_late(),
            () = finish(&mut self.linger) => {
                self.linger = None;
                WriterEvent::Saved(Answers::default(), self.end_lingering())
            }
            () = finish(&mut self.retry) => self.try_again(),
            () = finish(&mut self.reread) => self.read_again(),
        };
        self.start();
        kept
    }

    fn start(&mut self) {
        if self.loading.is_none() {
            let queue = match self.to_load.is_empty() {
                true => &mut self.to_reread,
                false => &mut self.to_load,
            };
            let rest = queue.split_off(queue.len().min(BATCH_MAX));
            let users = std::mem::replace(queue, rest);
            if !users.is_empty() {
                self.loading = Some(Box::pin(load(self.store.clone(), users)));
                self.patience = Some(Box::pin(tokio::time::sleep(LOAD_PATIENCE)));
            }
        }
        for state in [State::Waiting, State::WaitingApart] {
            if self.saving.is_some() {
                return;
            }
            let waiting = self.unsaved.values_mut();
            let waiting = waiting.filter(|it| it.state == state);
            let mut profiles = Vec::new();
            for unsaved in waiting.take(BATCH_MAX) {
                unsaved.state = State::Saving;
                profiles.push(unsaved.save.profile.clone());
            }
            if !profiles.is_empty() {
                self.saving = Some(Box::pin(save(self.store.clone(), profiles)));
            }
        }
    }

    fn arm_linger(&mut self) {
        if self.linger.is_none() {
            self.linger = Some(Box::pin(tokio::time::sleep(LINGER)));
        }
    }

    /// Ends the lingering. If the store does not answer, profiles that the shared store has, too, are given up
    /// here: returns those.
    fn end_lingering(&mut self) -> Vec<SaveOutcome> {
        let is_away = self.is_away;
        let mut given_up = Vec::new();
        self.unsaved.retain(|_, it| {
            if it.state == State::Lingering {
                it.state = State::Waiting;
            }
            let is_given_up = is_away && it.state == State::Waiting && it.save.waits_elsewhere();
            if is_given_up {
                given_up.extend(it.save.row().map(SaveOutcome::GivenUp));
            }
            !is_given_up
        });
        let count = given_up.len();
        self.counters.unsaved.fetch_sub(count as u64, Relaxed);
        given_up
    }

    fn note_late(&mut self) -> WriterEvent {
        self.patience = None;
        self.is_late = true;
        let unread = self.unread.iter().cloned();
        WriterEvent::Unread(unread.map(|user| (user, Unread::Away)).collect())
    }

    fn loaded(&mut self, loaded: Loaded) -> WriterEvent {
        self.loading = None;
        self.patience = None;
        self.is_late = false;
        let mut profiles = Vec::new();
        let mut unread = Vec::new();
        let mut failures = Failures::default();
        for (user, outcome) in loaded {
            match outcome {
                Ok(profile) => {
                    self.unread.remove(&user);
                    let profile = self.newest(&user).or(profile);
                    profiles.push((user, profile));
                }
                Err(error) => {
                    let why = match failures.take(error) {
                        State::Unreadable => Unread::Unreadable,
                        _ => Unread::Away,
                    };
                    unread.push((user.clone(), why));
                    match why {
                        Unread::Unreadable => drop(self.unreadable.insert(user)),
                        Unread::Away => self.failed_loads.push(user),
                    }
                }
            }
        }
        self.note("load", failures, !profiles.is_empty());
        WriterEvent::Loaded(profiles, unread)
    }

    fn saved(&mut self, saved: Saved) -> WriterEvent {
        self.saving = None;
        let mut answers = Answers::default();
        let mut outcomes = Vec::new();
        let mut kept = 0;
        let mut failures = Failures::default();
        for (user, outcome) in saved {
            let Some(mut unsaved) = self.unsaved.remove(&user) else {
                continue;
            };
            let is_kept = outcome.is_ok();
            let failed = outcome.map_or_else(|error| failures.take(error), |()| State::Saving);
            if is_kept {
                kept += 1;
                answers.granted.append(&mut unsaved.save.reply_tos);
                // Of somebody who was erased it is looked at once more, when nobody can have an older save under way.
                let row = unsaved.save.row();
                let row = row.filter(|_| !unsaved.save.profile.is_blank());
                outcomes.extend(row.map(SaveOutcome::Saved));
            }
            let is_given_up = !is_kept && unsaved.save.waits_elsewhere();
            if failed == State::Unreadable {
                // It is tried again, and that may be for ever: too long to wait for.
                answers.refused.append(&mut unsaved.save.reply_tos);
            }
            if is_given_up {
                outcomes.extend(unsaved.save.row().map(SaveOutcome::GivenUp));
            }
            match unsaved.newer.take() {
                Some(newer) if is_kept || is_given_up => {
                    unsaved.save = newer;
                    unsaved.since = Instant::now();
                    unsaved.state = State::Waiting;
                    if unsaved.save.reply_tos.is_empty() {
                        unsaved.state = State::Lingering;
                        self.arm_linger();
                    }
                }
                Some(newer) => {
                    unsaved.save.replace(newer);
                    unsaved.state = failed;
                }
                None if is_kept || is_given_up => {
                    self.counters.unsaved.fetch_sub(1, Relaxed);
                    continue;
                }
                None => unsaved.state = failed,
            }
            self.unsaved.insert(user, unsaved);
        }
        Counters::add(&self.counters.saved, kept);
        if failures.is_some() {
            Counters::add(&self.counters.save_failures, 1);
        }
        self.note("save", failures, kept > 0);
        WriterEvent::Saved(answers, outcomes)
    }

    fn try_again(&mut self) -> WriterEvent {
        self.retry = None;
        self.is_away = false;
        self.to_load.append(&mut self.failed_loads);
        self.try_to_save(State::Failed, State::Waiting);
        WriterEvent::Nothing
    }

    fn read_again(&mut self) -> WriterEvent {
        self.reread = None;
        self.to_reread.extend(self.unreadable.drain());
        self.try_to_save(State::Unreadable, State::WaitingApart);
        WriterEvent::Nothing
    }

    fn try_to_save(&mut self, failed: State, again: State) {
        let failed = self.unsaved.values_mut().filter(|it| it.state == failed);
        failed.for_each(|it| it.state = again);
    }

    /// Notes the answer of the store, and when to ask it again.
    fn note(&mut self, what: &str, failures: Failures, some_worked: bool) {
        self.is_away = failures.away.is_some();
        self.counters.note_store_away(failures.away.as_ref());
        if some_worked {
            self.next_wait = RETRY_FIRST;
        }
        if let Some(error) = failures.away {
            let wait = self.next_wait;
            tracing::debug!(%error, ?wait, "cannot {what} profiles, trying again");
            self.next_wait = (wait * 2).min(RETRY_MAX);
            if self.retry.is_none() {
                self.retry = Some(Box::pin(tokio::time::sleep(wait)));
            }
        }
        if let Some(error) = failures.corrupt {
            let source = error.cause();
            tracing::warn!(%error, source, wait = ?RETRY_MAX, "cannot {what} profiles, trying again");
            if self.reread.is_none() {
                self.reread = Some(Box::pin(tokio::time::sleep(RETRY_MAX)));
            }
        }
    }
}

/// Why some calls of the store failed: the last error of each kind.
#[derive(Default)]
struct Failures {
    away: Option<StoreError>,
    corrupt: Option<StoreError>,
}

impl Failures {
    fn is_some(&self) -> bool {
        self.away.is_some() || self.corrupt.is_some()
    }

    /// Takes an error. Returns the state in which its profile waits.
    fn take(&mut self, error: StoreError) -> State {
        match error {
            StoreError::Unavailable(_) => {
                self.away = Some(error);
                State::Failed
            }
            StoreError::Corrupt { .. } => {
                self.corrupt = Some(error);
                State::Unreadable
            }
        }
    }
}

impl Save {
    /// Replaces this save by a newer one. A save of an older version may arrive later, and is part of this one already.
    fn replace(&mut self, mut newer: Save) {
        if newer.version >= self.version {
            self.profile = newer.profile;
            self.version = newer.version;
        }
        self.reply_tos.append(&mut newer.reply_tos);
    }

    /// Whether the shared store has the profile, too, so that it is not lost if it is given up here.
    fn waits_elsewhere(&self) -> bool {
        self.version.is_some() && self.reply_tos.is_empty()
    }

    /// The row in the outbox of the shared store that waits for this save.
    fn row(&self) -> Option<Row> {
        let version = self.version?;
        let subject = Subject::User(self.profile.user.clone());
        Some(Row { subject, version })
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

/// Saves `profiles`, and removes what is stored of those that are blank.
pub(crate) async fn save<P: Profiles>(store: Arc<P>, profiles: Vec<Profile>) -> Saved {
    let (blank, profiles): (Vec<_>, Vec<_>) = profiles.into_iter().partition(Profile::is_blank);
    let blank: Vec<UserId> = blank.into_iter().map(|it| it.user).collect();
    let mut saved = save_some(&*store, profiles).await;
    if !blank.is_empty() {
        saved.extend(match store.remove(&blank).await {
            Ok(()) => blank.into_iter().map(|user| (user, Ok(()))).collect(),
            Err(error) => all_failed(blank, error),
        });
    }
    saved
}

async fn save_some<P: Profiles>(store: &P, profiles: Vec<Profile>) -> Saved {
    if profiles.is_empty() {
        return Vec::new();
    }
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

/// One error for each user: the first user gets the error itself, the others get one of the same kind.
fn all_failed<T>(users: Vec<UserId>, error: StoreError) -> Vec<(UserId, Result<T, StoreError>)> {
    let mut error = Some(error);
    let mut next = || {
        let again = || StoreError::Unavailable("the same request failed for another user".into());
        error.take().unwrap_or_else(again)
    };
    users.into_iter().map(|user| (user, Err(next()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use presence_core::Timestamp;
    use presence_embedded::ProfileMemory;

    #[tokio::test(start_paused = true)]
    async fn an_older_profile_that_is_told_later_is_not_saved_after_a_newer_one() {
        let store = Arc::new(ProfileMemory::new());
        let mut writer = ProfileWriter::new(store.clone(), Arc::default());
        let ann = UserId::new("ann").unwrap();
        let older = Profile {
            last_seen: Some(Timestamp::from_millis(1)),
            ..Profile::new(ann.clone())
        };
        let erased = older.blank();
        writer.save(erased, Some(6), None);
        writer.hurry();
        writer.save(older, Some(5), None);
        while !writer.is_idle() {
            writer.done().await;
        }
        assert_eq!(store.load(&[ann]).await.unwrap(), [None]);
    }
}
