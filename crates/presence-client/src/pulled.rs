//! A stream of what an async function returns, one after the other.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

type Pulling<S, T> = Pin<Box<dyn Future<Output = (S, Option<T>)> + Send + Sync>>;

/// A stream of what `pull` returns, which gets its state back each time. `None` ends it.
pub(crate) struct Pulled<S, T> {
    pull: fn(S) -> Pulling<S, T>,
    /// `None` once the stream has ended.
    next: Option<Pulling<S, T>>,
}

impl<S, T> Pulled<S, T> {
    pub(crate) fn new(state: S, pull: fn(S) -> Pulling<S, T>) -> Self {
        let next = Some(pull(state));
        Pulled { pull, next }
    }

    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        let (state, item) = ready!(next.as_mut().poll(context));
        self.next = item.is_some().then(|| (self.pull)(state));
        Poll::Ready(item)
    }
}

impl<S, T> fmt::Debug for Pulled<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Pulled");
        shown.field("has_ended", &self.next.is_none());
        shown.finish_non_exhaustive()
    }
}
