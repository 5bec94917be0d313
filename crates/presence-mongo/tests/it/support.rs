//! A server, and what tests say to it.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use mongodb::bson::Document;
use mongodb::{Client, Collection};
use presence_core::ports::StoreError;
use presence_core::{Profile, Timestamp, UserId};
use presence_mongo::{DATABASE, MongoProfiles, Settings};
use presence_testkit::mongo::{self, Mongo};
use tempfile::TempDir;

/// How long is waited for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server with nothing in it, as long as this is there.
pub(crate) struct Server {
    pub(crate) mongo: Mongo,
    pub(crate) folder: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mongo = Mongo::start(folder.path(), &mongo::Settings::default()).unwrap();
        Server { mongo, folder }
    }

    pub(crate) async fn profiles(&self) -> MongoProfiles {
        connect(&self.mongo.uri()).await
    }

    /// The same with `options` added to the URI.
    pub(crate) async fn profiles_with(&self, options: &str) -> MongoProfiles {
        connect(&format!("{}&{options}", self.mongo.uri())).await
    }

    /// What another program sees.
    pub(crate) async fn collection(&self) -> Collection<Document> {
        let client = Client::with_uri_str(self.mongo.uri()).await.unwrap();
        client.database(DATABASE).collection("profiles")
    }
}

pub(crate) async fn connect(uri: &str) -> MongoProfiles {
    let settings = Settings::from_uri(uri).unwrap();
    MongoProfiles::connect(settings).unwrap()
}

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn profile(id: &str, revision: u64) -> Profile {
    let mut profile = Profile::new(user(id));
    profile.status.revision = revision;
    profile.status.message = Some(format!("revision {revision}").into());
    profile.last_seen = Some(Timestamp::from_millis(1_700_000_000_000));
    profile
}

#[track_caller]
pub(crate) fn check_unavailable<T: Debug>(done: Result<T, StoreError>) -> String {
    match done {
        Err(StoreError::Unavailable(source)) => source.to_string(),
        other => panic!("it should be unavailable, and is {other:?}"),
    }
}

/// Asks again and again until there is something.
pub(crate) async fn wait<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
