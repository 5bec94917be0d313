//! The index for the search for unseen users.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::document::KNOWN_AT;

/// The wait after the first failure; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest wait between two attempts.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// A task that creates the index as soon as MongoDB can be reached. If the index exists already, nothing changes.
///
/// Nobody waits for it: on many documents it takes minutes, and only the search for unseen users needs it.
pub(crate) struct Indexing(JoinHandle<()>);

impl Indexing {
    /// Starts the task, which ends when `closed` becomes true. `place` names the MongoDB in the log.
    pub(crate) fn start(
        profiles: Collection<Document>,
        place: String,
        mut closed: watch::Receiver<bool>,
    ) -> Self {
        Indexing(tokio::spawn(async move {
            tokio::select! {
                _ = closed.wait_for(|is_closed| *is_closed) => {}
                () = make(profiles, place) => {}
            }
        }))
    }
}

impl Drop for Indexing {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn make(profiles: Collection<Document>, place: String) {
    let mut wait = RETRY_FIRST;
    loop {
        let error = match profiles.create_index(model()).await {
            Ok(_) => return tracing::info!(store = place, "profiles are kept in MongoDB"),
            Err(error) => error,
        };
        tracing::warn!(store = place, %error, ?wait, "cannot create the index of profiles, trying again");
        sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

fn model() -> IndexModel {
    let name = IndexOptions::builder().name(KNOWN_AT.to_owned()).build();
    IndexModel::builder()
        .keys(doc! { KNOWN_AT: 1 })
        .options(name)
        .build()
}
