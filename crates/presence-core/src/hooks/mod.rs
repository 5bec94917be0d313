//! Webhooks: which events an endpoint is to be told of the store that nodes share.
//!
//! Webhooks are not a log of what happened. For each subject the store keeps what the endpoint was last [`LastNotified`].
//! [`news`] compares that with the present state, as others may see it, and returns the events that make up the
//! difference. Changes between two comparisons are told as one change, and not at all if they cancel out.

mod event;
mod news;
mod pace;

pub use event::{HookEvent, HookKind, Wanted};
pub use news::{LastNotified, News, PEOPLE_NOTIFIED_MAX, Present, news};
pub use pace::Pace;
