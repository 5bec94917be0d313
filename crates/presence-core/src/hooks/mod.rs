//! Computes from the maps of the shared store which events an endpoint has to be told.
//!
//! Webhooks are not a log of what happened. For each subject the store keeps what the endpoint was last told
//! ([`LastNotified`]). [`news`] compares that with the present state, as others may see it, and returns the events that
//! make up the difference. Changes between two comparisons are told as one change, and not at all if they cancel out.

mod backoff;
mod event;
mod news;

pub use backoff::Backoff;
pub use event::{HookEvent, HookKind, Wanted};
pub use news::{LastNotified, News, PEOPLE_NOTIFIED_MAX, Present, news};
