//! Stores the list of users whose older tokens are refused: one task that owns the way to the store.
//!
//! Every token is checked against [`Revoked`], which is in memory. This task writes what is revoked here to the store, reads
//! from time to time what others have revoked, and writes again what the store lacks. So the last known list counts while
//! the store is unreachable, and every gateway restores the list of a store that lost its data.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use presence_core::ports::{Revocations, StoreError};
use presence_core::revocation::{Revocation, Revoke};
use presence_hub::WallClock;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::identity::{Compared, Revoked};

/// How often the task reads what others have revoked. A kick takes effect on every gateway within this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How many revocations may wait to be stored. One more is refused.
const ASKS_MAX: usize = 256;

/// The handle of the task.
#[derive(Debug)]
pub(crate) struct Revoking {
    asks: mpsc::Sender<Ask>,
    changed: watch::Sender<()>,
    is_away: Arc<AtomicBool>,
}

/// A request to the task.
#[derive(Debug)]
enum Ask {
    /// Stores a revocation, and answers when that is done.
    Keep(Revocation, oneshot::Sender<Result<(), NotKept>>),
    /// Reads the list, before the gateway accepts clients.
    Load(oneshot::Sender<Result<(), StoreError>>),
}

/// Why a revocation that holds here is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotKept {
    /// The store is unreachable. The task tries again.
    #[error(
        "the list of revoked users cannot be kept just now: the user is out of this gateway, and of the others when it can"
    )]
    Away,
    /// The list in the store is full.
    #[error("the list of revoked users is full: the user is out of this gateway only")]
    Full,
}

impl Revoking {
    /// Makes the handle and the task that keeps `list` in `store`. `is_shared` says whether other gateways
    /// write there, too.
    pub(crate) fn new<R: Revocations>(
        list: Arc<Revoked>,
        store: Arc<R>,
        is_shared: bool,
        clock: WallClock,
    ) -> (Revoking, impl Future<Output = ()> + Send + 'static) {
        let (asks, inbox) = mpsc::channel(ASKS_MAX);
        let revoking = Revoking {
            asks,
            changed: watch::Sender::new(()),
            is_away: Arc::default(),
        };
        let writer = RevocationWriter {
            list,
            store,
            is_shared,
            clock,
            version: 0,
            is_owing: false,
            changed: revoking.changed.clone(),
            is_away: revoking.is_away.clone(),
        };
        (revoking, writer.run(inbox))
    }

    /// Stores a revocation that holds here already. Returns when it is safe.
    ///
    /// # Errors
    ///
    /// Fails for the reasons of [`NotKept`]; the revocation holds here all the same.
    pub(crate) async fn keep(&self, revocation: Revocation) -> Result<(), NotKept> {
        let (reply, kept) = oneshot::channel();
        let asked = self.asks.send(Ask::Keep(revocation, reply)).await;
        asked.map_err(|_| NotKept::Away)?;
        kept.await.unwrap_or(Err(NotKept::Away))
    }

    /// Reads the list from the store.
    ///
    /// # Errors
    ///
    /// Fails if the list cannot be read.
    pub(crate) async fn load(&self) -> Result<(), StoreError> {
        let ended = || StoreError::Unavailable("its task has ended".into());
        let (reply, loaded) = oneshot::channel();
        let asked = self.asks.send(Ask::Load(reply)).await;
        asked.map_err(|_| ended())?;
        loaded.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Signals that other gateways have revoked users: some connections here may have to end.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Whether the last attempt to write or read the list failed.
    pub(crate) fn is_away(&self) -> bool {
        self.is_away.load(Relaxed)
    }
}

/// The task that owns the store of revocations.
struct RevocationWriter<R> {
    list: Arc<Revoked>,
    store: Arc<R>,
    is_shared: bool,
    clock: WallClock,
    /// The version of the list that was last read.
    version: u64,
    /// Whether something that holds here may be missing in the store.
    is_owing: bool,
    changed: watch::Sender<()>,
    is_away: Arc<AtomicBool>,
}

impl<R: Revocations> RevocationWriter<R> {
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
            // The caller may have stopped waiting.
            let _ = reply.send(outcome);
        }
    }

    /// Merges what others have revoked, and writes what the store lacks.
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
                "the list of revoked users is full: some revocations of other gateways do not hold here"
            );
        }
        if !missing.is_empty() {
            self.is_owing = true;
            let kept = self.store.revoke(now, &missing).await?;
            let full = kept.iter().filter(|it| **it == Revoke::Full).count();
            if full > 0 {
                tracing::error!(
                    full,
                    "the stored list of revoked users is full: some revocations hold on this gateway only"
                );
            }
        }
        self.is_owing = false;
        self.version = theirs.version;
        Ok(())
    }

    /// Logs when the store becomes unreachable, and when it is back.
    fn note(&self, failure: Option<StoreError>) {
        let was_away = self.is_away.swap(failure.is_some(), Relaxed);
        match (failure, was_away) {
            (Some(error), false) => {
                let cause = error.cause().unwrap_or_default();
                tracing::warn!(%error, cause, "the list of revoked users cannot be stored or read: the last known list counts");
            }
            (None, true) => tracing::info!("the list of revoked users can be stored again"),
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
