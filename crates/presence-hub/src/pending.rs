//! To wait for what may not be there, and then for ever: one of several things that a task selects from.

use std::future::Future;
use std::pin::Pin;

use tokio::time::Instant;

/// Something that is under way, or nothing. Whoever takes its outcome empties it.
pub(crate) type InFlight<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Its outcome.
pub(crate) async fn finish<T>(in_flight: &mut InFlight<T>) -> T {
    match in_flight {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// That moment.
pub(crate) async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
