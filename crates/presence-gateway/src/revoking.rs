//! Keeps the list of users whose older tokens are refused beyond this process: one task that owns the way to where it is kept.
//!
//! What every token is checked against is [`Revoked`], in memory. This task writes what is revoked here to where it is kept,
//! looks now and then for what others have revoked, and writes again what is missing there. So while the store is away the
//! list that was last known counts, and a store that lost its data gets it back from every gateway.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::ports::{Revocations, StoreError};
use presence_core::revocation::{Revocation, Revoke};
use presence_hub::Clock;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::identity::{Compared, Revoked};

/// How often it is looked for what others have revoked: within so long a kick holds on every gateway.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Revocations that wait to be kept. One more is refused.
const ASKS_MAX: usize = 256;

/// The way to the task.
#[derive(Debug)]
pub(crate) struct Revoking {
    asks: mpsc::Sender<Ask>,
    changed: watch::Sender<()>,
    is_away: Arc<AtomicBool>,
}

/// What the task is asked for.
#[derive(Debug)]
enum Ask {
    /// To keep one.
    Keep(Revocation, oneshot::Sender<Result<(), NotKept>>),
    /// To read the list, before anybody is let in.
    Load(oneshot::Sender<Result<(), StoreError>>),
}

/// Why a revocation that holds here is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotKept {
    /// It is tried again.
    #[error(
        "the list of revoked users cannot be kept just now: the user is out of this gateway, and of the others when it can"
    )]
    Away,
    /// There is no room.
    #[error("the list of revoked users is full: the user is out of this gateway only")]
    Full,
}

impl Revoking {
    /// The way to a task that keeps `list` in `store`, and that task. `is_shared` says whether others write there, too.
    pub(crate) fn new<R: Revocations>(
        list: Arc<Revoked>,
        store: Arc<R>,
        is_shared: bool,
        clock: Clock,
    ) -> (Revoking, impl Future<Output = ()> + Send + 'static) {
        let (asks, inbox) = mpsc::channel(ASKS_MAX);
        let revoking = Revoking {
            asks,
            changed: watch::Sender::new(()),
            is_away: Arc::default(),
        };
        let keeper = Keeper {
            list,
            store,
            is_shared,
            clock,
            version: 0,
            is_owing: false,
            changed: revoking.changed.clone(),
            is_away: revoking.is_away.clone(),
        };
        (revoking, keeper.run(inbox))
    }

    /// Keeps a revocation that holds here already; returns when it is safe.
    ///
    /// # Errors
    ///
    /// See [`NotKept`].
    pub(crate) async fn keep(&self, revocation: Revocation) -> Result<(), NotKept> {
        let (reply, kept) = oneshot::channel();
        let asked = self.asks.send(Ask::Keep(revocation, reply)).await;
        asked.map_err(|_| NotKept::Away)?;
        kept.await.unwrap_or(Err(NotKept::Away))
    }

    /// Reads the list.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(crate) async fn load(&self) -> Result<(), StoreError> {
        let ended = || StoreError::Unavailable("its task has ended".into());
        let (reply, loaded) = oneshot::channel();
        let asked = self.asks.send(Ask::Load(reply)).await;
        asked.map_err(|_| ended())?;
        loaded.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Tells whenever others have revoked somebody: then whoever is here may have to go.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether the list could not be kept or read the last time.
    pub(crate) fn is_away(&self) -> bool {
        self.is_away.load(Relaxed)
    }
}

/// The task.
struct Keeper<R> {
    list: Arc<Revoked>,
    store: Arc<R>,
    is_shared: bool,
    clock: Clock,
    /// Which list was last read.
    version: u64,
    /// Something that holds here may not be kept there.
    is_owing: bool,
    changed: watch::Sender<()>,
    is_away: Arc<AtomicBool>,
}

impl<R: Revocations> Keeper<R> {
    async fn run(mut self, mut inbox: mpsc::Receiver<Ask>) {
        let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asks = Vec::new();
        loop {
            tokio::select! {
                received = inbox.recv_many(&mut asks, ASKS_MAX) => {
                    if received == 0 {
                        return;
                    }
                    self.answer(&mut asks).await;
                }
                _ = looks.tick(), if self.is_shared || self.is_owing => {
                    let looked = self.look().await;
                    self.note(looked.err());
                }
            }
        }
    }

    async fn answer(&mut self, asks: &mut Vec<Ask>) {
        let mut revocations = Vec::new();
        let mut replies = Vec::new();
        for ask in asks.drain(..) {
            match ask {
                Ask::Keep(revocation, reply) => {
                    revocations.push(revocation);
                    replies.push(reply);
                }
                Ask::Load(reply) => {
                    let _ = reply.send(self.look().await);
                }
            }
        }
        if revocations.is_empty() {
            return;
        }
        let kept = self.store.revoke(self.clock.now(), &revocations).await;
        let outcomes = match kept {
            Ok(outcomes) => {
                self.note(None);
                outcomes.into_iter().map(kept_of).collect()
            }
            Err(error) => {
                self.is_owing = true;
                self.note(Some(error));
                vec![Err(NotKept::Away); replies.len()]
            }
        };
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // Whoever has stopped waiting does not want to know.
            let _ = reply.send(outcome);
        }
    }

    /// Takes in what others have revoked, and writes what is missing there.
    async fn look(&mut self) -> Result<(), StoreError> {
        let known = match self.is_owing {
            true => 0,
            false => self.version,
        };
        let Some(theirs) = self.store.revoked(known).await? else {
            return Ok(());
        };
        let now = self.clock.now();
        let Compared {
            news,
            full,
            missing,
        } = self.list.compare(now, &theirs.revocations);
        if news > 0 {
            self.changed.send_replace(());
        }
        if full > 0 {
            tracing::error!(
                full,
                "the list of revoked users has no room for those of others"
            );
        }
        if !missing.is_empty() {
            self.is_owing = true;
            let kept = self.store.revoke(now, &missing).await?;
            let full = kept.iter().filter(|it| **it == Revoke::Full).count();
            if full > 0 {
                tracing::error!(
                    full,
                    "the list of revoked users is full: some hold here only"
                );
            }
        }
        self.is_owing = false;
        self.version = theirs.version;
        Ok(())
    }

    /// Says when the store is away, and when it is back.
    fn note(&self, failure: Option<StoreError>) {
        let was_away = self.is_away.swap(failure.is_some(), Relaxed);
        match (failure, was_away) {
            (Some(error), false) => {
                let cause = error.cause().unwrap_or_default();
                tracing::warn!(%error, cause, "the list of revoked users that was last known counts");
            }
            (None, true) => tracing::info!("the list of revoked users can be kept again"),
            _ => {}
        }
    }
}

fn kept_of(outcome: Revoke) -> Result<(), NotKept> {
    match outcome {
        Revoke::Changed | Revoke::Known => Ok(()),
        Revoke::Full => Err(NotKept::Full),
    }
}

#[cfg(test)]
mod tests;
