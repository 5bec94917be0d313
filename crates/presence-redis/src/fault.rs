//! What can go wrong with a command, by what to do about it.

use fred::error::{Error, ErrorKind};
use presence_core::ports::StoreError;

/// Why a command has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The part of the store is on another server: it was surely not done.
    #[error("that part of the store is on another server")]
    Elsewhere,
    /// The server does not have the script: it was surely not done.
    #[error("the server does not have the script")]
    NoScript,
    /// So much is under way to that server already: it was not even sent.
    #[error("too much is waiting for the server")]
    Crowded,
    /// No server is known that has that part of the store.
    #[error("no server has that part of the store")]
    Unowned,
    /// The server is away, or not the right one for the moment. It may have been done.
    #[error("the server is away: {0}")]
    Away(Error),
    /// The server does not want to: it has no memory left, or does not allow it, for example.
    #[error("the server refuses: {0}")]
    Refused(Error),
    /// The lease of the writer has ended, by the server's clock: it was surely not done.
    #[error("the write came after the end of the lease")]
    Late,
    /// The server has answered something else than was asked.
    #[error("the answer is not understood")]
    Strange,
}

impl Fault {
    /// Whether the map of the cluster may be an old one.
    pub(crate) fn is_about_the_map(&self) -> bool {
        matches!(self, Fault::Elsewhere | Fault::Unowned | Fault::Away(_))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let is = |word: &str| error.details().starts_with(word);
        let passing = [
            "ASK",
            "TRYAGAIN",
            "CLUSTERDOWN",
            "READONLY",
            "LOADING",
            "MASTERDOWN",
            "BUSY",
        ];
        if is("MOVED") {
            Fault::Elsewhere
        } else if is("NOSCRIPT") {
            Fault::NoScript
        } else if *error.kind() == ErrorKind::Backpressure {
            Fault::Crowded
        } else if passing.into_iter().any(is)
            || matches!(
                error.kind(),
                ErrorKind::Timeout | ErrorKind::IO | ErrorKind::Canceled | ErrorKind::Cluster
            )
        {
            Fault::Away(error)
        } else {
            Fault::Refused(error)
        }
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        StoreError::Unavailable(Box::new(fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_says_decides() {
        let fault = |kind, details: &'static str| Fault::from(Error::new(kind, details));
        assert!(matches!(
            fault(ErrorKind::Cluster, "MOVED 15495 127.0.0.1:7102"),
            Fault::Elsewhere
        ));
        assert!(matches!(
            fault(ErrorKind::Unknown, "NOSCRIPT No matching script."),
            Fault::NoScript
        ));
        for (kind, details) in [
            (ErrorKind::Cluster, "CLUSTERDOWN The cluster is down"),
            (ErrorKind::Unknown, "TRYAGAIN Multiple keys request"),
            (ErrorKind::Unknown, "READONLY You can't write"),
            (ErrorKind::Timeout, "Request timed out."),
            (ErrorKind::Canceled, "Connection closed unexpectedly."),
        ] {
            assert!(matches!(fault(kind, details), Fault::Away(_)), "{details}");
        }
        assert!(matches!(
            fault(ErrorKind::Unknown, "OOM command not allowed"),
            Fault::Refused(_)
        ));
    }
}
