//! Errors of commands, sorted by what to do about them.

use fred::error::{Error, ErrorKind};
use presence_core::ports::StoreError;

/// Why a command has no result.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The partition of the store is on another server. The command was not executed.
    #[error("that partition of the store is on another server")]
    Elsewhere,
    /// The server does not know the script. The command was not executed.
    #[error("the server does not have the script")]
    NoScript,
    /// Too much is on its way to that server. The command was not sent.
    #[error("too much is waiting for the server")]
    Crowded,
    /// No server is known that has this partition of the store. The command was not sent.
    #[error("no server has that partition of the store")]
    Unowned,
    /// The server does not answer, or is the wrong one at present. The command may have been executed.
    #[error("the server is not available: {0}")]
    Away(Error),
    /// The server refuses the command, for example because its memory is full, or because it does not permit it.
    #[error("the server refuses the command: {0}")]
    Refused(Error),
    /// The lease of the writer has ended, by the server's clock. The command was not executed.
    #[error("the write came after the end of the lease")]
    Late,
    /// The server has sent an answer of an unexpected form.
    #[error("the server sent an answer of an unexpected form")]
    Strange,
}

impl Fault {
    /// Whether the map of the cluster may be out of date.
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
