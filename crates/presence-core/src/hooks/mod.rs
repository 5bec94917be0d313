//! What the outside is told of a store that nodes share: who came, changed and went, and which channels are occupied.
//!
//! Nothing of it is a log of what happened. For each subject the store keeps what the outside was last [`Told`]; [`news`]
//! compares that with what is true now, through the eyes of others, and says what has to be told so that the outside knows
//! it, too. What happens between two looks is told as one change, or not at all if it is undone.

mod event;
mod news;
mod pace;

pub use event::{HookEvent, HookKind, Wanted};
pub use news::{News, PEOPLE_TOLD_MAX, Told, news};
pub use pace::Pace;
