//! Waiting for something that can only be looked at.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The time between two looks.
const EVERY: Duration = Duration::from_millis(20);

/// Looks until there is something to see.
///
/// # Errors
///
/// There was nothing for `limit`: says that `what` did not come about. Or looking failed.
pub fn until<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if start.elapsed() > limit {
            bail!("{what}: not within {:.1} s", limit.as_secs_f64());
        }
        thread::sleep(EVERY);
    }
}

/// Looks until something is so.
///
/// # Errors
///
/// It was not so for `limit`.
pub fn until_true(limit: Duration, what: &str, mut look: impl FnMut() -> bool) -> Result<()> {
    until(limit, what, || Ok(look().then_some(())))
}
