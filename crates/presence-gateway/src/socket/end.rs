//! The ends of a connection.

use crate::closing::{Closing, Why};
use crate::roll::Dismissal;

/// Why the loop of a connection ended.
pub(super) enum End {
    /// The client left with a command.
    Left,
    /// The client closed the connection, with a goodbye or without. A reload of a page looks like that.
    TheirClose { goodbye: bool },
    /// The connection broke.
    Lost,
    /// The client was silent for too long.
    Silent,
    /// The gateway closes the connection.
    Closed(Closing),
    /// An operator ends the connection.
    Dismissed(Dismissal),
}

impl End {
    /// The reason as one word for metrics and logs.
    pub(super) fn word(&self) -> &'static str {
        match self {
            End::Left | End::TheirClose { goodbye: true } => "left",
            End::TheirClose { goodbye: false } => "closed",
            End::Lost => "lost",
            End::Silent => Why::TimedOut.word(),
            End::Closed(closing) => closing.why.word(),
            End::Dismissed(_) => "dismissed",
        }
    }
}
