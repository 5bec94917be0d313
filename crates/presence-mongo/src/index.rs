//! The index that looking for the unseen uses.

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::document::KNOWN_AT;

/// The first wait after a failure, doubled with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Makes the index beside everything else, as soon as MongoDB can be reached. If it is there already, that changes nothing.
///
/// Nobody waits for it: on many documents it takes minutes, and only whoever looks for the unseen misses it.
pub(crate) struct Indexing(JoinHandle<()>);

impl Indexing {
    /// Begins, and ends when `closed` becomes true. `place` says in the log which MongoDB it is.
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
            Ok(_) => return tracing::info!(store = place, "profiles are kept there"),
            Err(error) => error,
        };
        tracing::warn!(store = place, %error, ?wait, "cannot see to the index, trying again");
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
