//! How active somebody is.

use crate::words::words;

/// How active the person at a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Activity {
    /// The client is in the background, where browsers let it send only rarely. The person counts as active for
    /// [`HIDDEN_IDLE_AFTER`](crate::Timing::HIDDEN_IDLE_AFTER), and then as idle.
    Hidden,
    /// The person is not using the client.
    Idle,
    /// The person is using the client.
    Active,
}

words!(Activity is a "kind of activity": Hidden = "hidden", Idle = "idle", Active = "active");
