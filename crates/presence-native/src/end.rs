//! The ends of a connection.

use presence_core::Reason;
use presence_core::history::Cause;

use crate::authorized::Authorized;
use crate::closing::{CloseReason, Closing};
use crate::host::Host;

/// Why the loop of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client left with a command.
    Left,
    /// The client closed the connection, with a goodbye or without. A reload of a page looks like that.
    TheirClose {
        /// Whether the client said that it is not coming back.
        goodbye: bool,
    },
    /// The connection broke.
    Lost,
    /// The client was silent for too long.
    Silent,
    /// The gateway closes the connection.
    Closed(Closing),
    /// An operator ends the connection.
    Dismissed(Dismissal),
}

/// How an operator ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dismissal {
    /// The client should come back, perhaps to another gateway. Its session is held for the grace time.
    Reconnect,
    /// The client should stay away. Its session ends at once.
    Leave,
}

impl End {
    /// The reason as one word for metrics and logs.
    pub fn word(&self) -> &'static str {
        match self {
            End::Left | End::TheirClose { goodbye: true } => "left",
            End::TheirClose { goodbye: false } => "closed",
            End::Lost => "lost",
            End::Silent => CloseReason::TimedOut.word(),
            End::Closed(closing) => closing.why.word(),
            End::Dismissed(_) => "dismissed",
        }
    }

    /// What the client is told, if there still is a connection and it did not close that itself.
    pub fn closing(&self) -> Option<Closing> {
        match self {
            End::Lost | End::TheirClose { .. } => None,
            End::Left => Some(CloseReason::Left.into()),
            End::Silent => Some(CloseReason::TimedOut.into()),
            End::Closed(closing) => Some(*closing),
            End::Dismissed(Dismissal::Reconnect) => Some(CloseReason::Restarting.into()),
            End::Dismissed(Dismissal::Leave) => Some(CloseReason::Kicked.into()),
        }
    }

    /// Ends a session of the connection, or leaves it for the grace time.
    pub async fn settle<H: Host>(&self, authorized: Authorized<H>) {
        match self {
            End::Left | End::TheirClose { goodbye: true } => authorized.end().await,
            End::Dismissed(Dismissal::Leave) => authorized.end_by(Cause::Operator).await,
            End::Dismissed(Dismissal::Reconnect) => {
                authorized.vanish(Reason::Lost, Cause::Operator).await;
            }
            End::Silent => authorized.vanish(Reason::TimedOut, Cause::Silence).await,
            End::Lost => authorized.vanish(Reason::Lost, Cause::Broken).await,
            End::TheirClose { goodbye: false } => {
                authorized.vanish(Reason::Lost, Cause::ClientClosed).await;
            }
            End::Closed(closing) => {
                authorized.vanish(Reason::Lost, closing.why.cause()).await;
            }
        }
    }
}
