//! Waits for things that may not be there: then they wait for ever, so that a task can select between several.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// A future that is under way, or none. The caller that takes its result sets it to `None`.
pub(crate) type InFlight<T> = Option<Pin<Box<dyn Future<Output = T> + Send>>>;

/// Waits for the result of `in_flight`; for ever if there is none.
pub(crate) async fn finish<T>(in_flight: &mut InFlight<T>) -> T {
    match in_flight {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Sleeps until `moment`; for ever if there is none.
pub(crate) async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Ticks that begin at a random moment, so that nodes do not act all at once.
pub(crate) fn every(period: Duration) -> Interval {
    let part = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
    let first = Instant::now() + period.mul_f64(part);
    let mut ticks = interval_at(first, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
