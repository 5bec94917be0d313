//! The subscriptions of connections that were lost, for those who come back in time.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use presence_core::SessionId;
use tokio::time::Instant;

/// What all of them may take together. Who finds nothing here subscribes again, and nobody sees a difference.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// A subscription that may be gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptSubscription {
    /// Its identifier.
    pub(super) identifier: String,
    /// Whether one was in its place.
    pub(super) is_present: bool,
}

/// The subscriptions of connections that were lost, until their sessions end.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_session: HashMap<SessionId, (Instant, Vec<KeptSubscription>)>,
    /// Those that end first come first: all are kept for the same time.
    ends: VecDeque<(Instant, SessionId)>,
    bytes: usize,
}

impl Kept {
    /// Keeps the subscriptions of a session for `span`.
    pub(super) fn put(
        &self,
        now: Instant,
        span: Duration,
        session: SessionId,
        all: Vec<KeptSubscription>,
    ) {
        if all.is_empty() {
            return;
        }
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.take(session);
        inner.bytes += weight(&all);
        inner.by_session.insert(session, (now + span, all));
        inner.ends.push_back((now + span, session));
        while let Some(&(ends, session)) = inner.ends.front()
            && (ends <= now || inner.bytes > BYTES_MAX)
        {
            inner.ends.pop_front();
            // What was taken out may have been put in again.
            if inner
                .by_session
                .get(&session)
                .is_some_and(|it| it.0 == ends)
            {
                inner.take(session);
            }
        }
    }

    /// Takes out those of a session.
    pub(super) fn take(&self, session: SessionId) -> Option<Vec<KeptSubscription>> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.take(session)
    }
}

impl Inner {
    fn take(&mut self, session: SessionId) -> Option<Vec<KeptSubscription>> {
        let (_, taken) = self.by_session.remove(&session)?;
        self.bytes -= weight(&taken);
        Some(taken)
    }
}

fn weight(all: &[KeptSubscription]) -> usize {
    128 + all.iter().map(|it| 48 + it.identifier.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(10);

    fn some(bytes: usize) -> Vec<KeptSubscription> {
        vec![KeptSubscription {
            identifier: "x".repeat(bytes),
            is_present: true,
        }]
    }

    #[tokio::test(start_paused = true)]
    async fn they_are_there_once_and_gone_when_their_time_is_over() {
        let kept = Kept::default();
        let [a, b, c] = [1, 2, 3].map(SessionId::from_u128);
        kept.put(Instant::now(), SPAN, a, some(1));
        kept.put(Instant::now(), SPAN, b, some(2));
        assert_eq!(kept.take(a), Some(some(1)));
        assert_eq!(kept.take(a), None);
        tokio::time::advance(SPAN).await;
        kept.put(Instant::now(), SPAN, c, some(3));
        assert_eq!(kept.take(b), None);
        assert_eq!(kept.take(c), Some(some(3)));
        assert_eq!(kept.0.lock().unwrap().bytes, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_make_room() {
        let kept = Kept::default();
        for n in 0..1000_u32 {
            let session = SessionId::from_u128(1 + u128::from(n));
            kept.put(Instant::now(), SPAN, session, some(100_000));
        }
        assert!(kept.0.lock().unwrap().bytes <= BYTES_MAX);
        assert_eq!(kept.take(SessionId::from_u128(1)), None);
        assert!(kept.take(SessionId::from_u128(1000)).is_some());
    }
}
