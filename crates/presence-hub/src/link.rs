//! The way from the shards to the task that sends requests to the shared store.

use std::sync::Arc;

use presence_core::cluster::{Reply, Request, Subject};
use tokio::sync::mpsc;

use crate::pulse::Pulse;

/// The number of requests that wait to be looked at. For a further one the shard is told that the store does not
/// answer, and asks again.
pub(crate) const REQUESTS_MAX: usize = 16 * 1024;

/// Takes the requests of the shards.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    requests: mpsc::Sender<Request>,
    pulse: Arc<Pulse>,
}

impl Link {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let pulse = Arc::new(Pulse::new());
        (Link { requests, pulse }, inbox)
    }

    /// What detects that the process stood still.
    pub(crate) fn pulse(&self) -> Arc<Pulse> {
        self.pulse.clone()
    }

    /// Sends a request without ever waiting, because the store's replies wait for the shards. If there is no room, it
    /// returns the reply that the shard has to assume.
    ///
    /// # Errors
    ///
    /// Returns a request that has no reply and must not be lost.
    pub(crate) fn ask(&self, request: Request) -> Result<Option<Reply>, Request> {
        let Err(refused) = self.requests.try_send(request) else {
            return Ok(None);
        };
        match refused.into_inner() {
            Request::Open { ask, .. }
            | Request::Read { ask, .. }
            | Request::PaddedRead { ask, .. } => Ok(Some(Reply::Read {
                ask,
                snapshot: None,
            })),
            Request::Write(_) => Ok(Some(Reply::Written(None))),
            Request::HidePlace { write, .. } => Ok(place_hidden(&write.subject, false)),
            Request::Ephemeral(..) => Ok(None),
            close @ Request::Close(_) => Err(close),
        }
    }
}

/// The reply to [`Request::HidePlace`].
pub(crate) fn place_hidden(subject: &Subject, is_done: bool) -> Option<Reply> {
    match subject {
        Subject::Topic(topic) => Some(Reply::PlaceHidden {
            topic: topic.clone(),
            is_done,
        }),
        Subject::User(_) | Subject::Node(_) => None,
    }
}
