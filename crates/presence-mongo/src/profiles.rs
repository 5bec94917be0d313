//! Implements the port on one collection.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::error::Error;
use std::future::Future;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::{
    Acknowledgment, CollectionOptions, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern,
};
use mongodb::{Client, Collection, Database};
use presence_core::ports::{Profiles, StoreError};
use presence_core::{Profile, Timestamp, UserId};
use tokio::sync::watch;

use crate::document;
use crate::index::Indexing;
use crate::settings::{Settings, SettingsError};

/// The most profiles in one command. A call with more of them sends several commands, one after the other.
pub const PROFILES_PER_COMMAND_MAX: usize = 500;

/// How long [`MongoProfiles::close`] waits for calls to end and connections to close. It does not wait longer for a server
/// that does not answer.
pub const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// The name of the collection of profiles.
const COLLECTION: &str = "profiles";

/// The code of a server's error when it inserts a document whose key is taken.
const DUPLICATE_KEY: i32 = 11000;

/// Keeps profiles in MongoDB: a document for each user in the collection `profiles`.
///
/// A write is acknowledged once a majority of the servers have it on their disks. A read returns only what
/// a majority has.
///
/// While no suitable server is available, every call fails within the times that [`Settings`] name, and so does a call that
/// gets no answer. The next call tries again.
///
/// Call [`MongoProfiles::close`] before the tokio runtime ends, and drop it after the runtime.
pub struct MongoProfiles {
    client: Client,
    database: Database,
    profiles: Collection<Document>,
    operation_time_max: Duration,
    _indexing: Indexing,
    /// Whether it is closed. Each running call holds a receiver, so the channel also says when the last call has ended.
    closed: watch::Sender<bool>,
}

impl MongoProfiles {
    /// Starts to connect in a background task of tokio. MongoDB may be away at that time: calls fail until it is there.
    ///
    /// # Errors
    ///
    /// Fails if the settings name a file that cannot be read, or servers that were not [looked up](Settings::looked_up).
    ///
    /// # Panics
    ///
    /// Panics outside a tokio runtime.
    pub fn connect(settings: Settings) -> Result<Self, SettingsError> {
        let client = Client::with_options(settings.options()?);
        let client = client.map_err(|error| SettingsError(error.to_string()))?;
        let database = client.database(&settings.database);
        let options = CollectionOptions::builder()
            .write_concern(
                WriteConcern::builder()
                    .w(Acknowledgment::Majority)
                    .journal(true)
                    .build(),
            )
            .read_concern(ReadConcern::majority())
            .selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary))
            .build();
        let profiles: Collection<Document> = database.collection_with_options(COLLECTION, options);
        let closed = watch::Sender::new(false);
        Ok(MongoProfiles {
            client,
            database,
            _indexing: Indexing::start(profiles.clone(), settings.describe(), closed.subscribe()),
            profiles,
            operation_time_max: settings.operation_time_max,
            closed,
        })
    }

    /// Ends every running call and refuses every later one: both fail with [`StoreError::Unavailable`]. Then closes the
    /// connections. Returns when nothing of it is running any more, or after [`CLOSE_TIME_MAX`]. The result is whether it was
    /// done in that time.
    ///
    /// Await it before the tokio runtime ends. A runtime that ends drops its tasks in any order, and a call that is still
    /// running when the driver's own tasks are gone panics inside the driver. If `close` was not done in time, dropping this
    /// value starts the driver's last work, so drop it after the runtime.
    pub async fn close(&self) -> bool {
        self.closed.send_replace(true);
        let closing = async {
            self.closed.closed().await;
            self.client.clone().shutdown().await;
        };
        let is_in_time = tokio::time::timeout(CLOSE_TIME_MAX, closing).await.is_ok();
        if !is_in_time {
            tracing::debug!(wait = ?CLOSE_TIME_MAX, "the connections to MongoDB were not closed in time");
        }
        is_in_time
    }

    /// Writes `profiles`, of different users. Returns those that were not written because the stored document is not a
    /// profile, or because another node stored one at the same time.
    async fn write<'a>(
        &self,
        profiles: &[&'a Profile],
        now: Timestamp,
    ) -> Result<Vec<&'a Profile>, StoreError> {
        let upserts: Vec<_> = profiles
            .iter()
            .map(|profile| document::upsert(profile, now))
            .collect();
        let command = doc! {
            "update": COLLECTION,
            "updates": upserts,
            "ordered": false,
            "writeConcern": { "w": "majority", "j": true },
        };
        let reply = self.database.run_command(command).into_future();
        let reply = self.bounded(reply).await?;
        let met = duplicates(&reply).map_err(|problem| StoreError::Unavailable(problem.into()))?;
        let met = met.into_iter().filter_map(|index| profiles.get(index));
        Ok(met.copied().collect())
    }

    /// The documents that `filter` finds, `max` at most. They come in one answer.
    async fn find(
        &self,
        filter: Document,
        fields: Option<Document>,
        max: usize,
    ) -> Result<Vec<Document>, StoreError> {
        let size = u32::try_from(max).unwrap_or(u32::MAX);
        self.bounded(async {
            let mut find = self.profiles.find(filter);
            find = find.limit(size.into()).batch_size(size);
            if let Some(fields) = fields {
                find = find.projection(fields);
            }
            let mut cursor = find.await?;
            let mut found = Vec::new();
            while cursor.advance().await? {
                found.push(cursor.deserialize_current()?);
            }
            Ok(found)
        })
        .await
    }

    async fn bounded<T>(
        &self,
        work: impl Future<Output = mongodb::error::Result<T>> + Send,
    ) -> Result<T, StoreError> {
        let closed = || StoreError::Unavailable("MongoDB is closed here".into());
        // Check this before the call counts as running: a caller that tries again and again must not hold up `close`.
        if *self.closed.borrow() {
            return Err(closed());
        }
        let mut closing = self.closed.subscribe();
        let limit = self.operation_time_max;
        let done = tokio::select! {
            biased;
            _ = closing.wait_for(|is_closed| *is_closed) => return Err(closed()),
            done = tokio::time::timeout(limit, work) => done,
        };
        match done {
            Ok(done) => done.map_err(|error| StoreError::Unavailable(Box::new(error))),
            Err(_) => {
                let problem = format!("MongoDB has not answered within {limit:?}");
                Err(StoreError::Unavailable(problem.into()))
            }
        }
    }
}

impl Profiles for MongoProfiles {
    async fn save(&self, profiles: &[Profile]) -> Result<(), StoreError> {
        let now = now();
        let mut corrupt = None;
        for chunk in newest(profiles).chunks(PROFILES_PER_COMMAND_MAX) {
            let met = self.write(chunk, now).await?;
            if met.is_empty() {
                continue;
            }
            // If two nodes write the first document of a user at the same time, one of them fails. Its second attempt
            // replaces that document.
            let met = self.write(&met, now).await?;
            corrupt = corrupt.or(met.first().map(|profile| profile.user.clone()));
        }
        match corrupt {
            None => Ok(()),
            Some(user) => Err(corrupt_of(&user, "the stored document is not a profile")),
        }
    }

    async fn load(&self, users: &[UserId]) -> Result<Vec<Option<Profile>>, StoreError> {
        let mut documents = HashMap::with_capacity(users.len());
        for chunk in users.chunks(PROFILES_PER_COMMAND_MAX) {
            let found = self.find(document::of(chunk), None, chunk.len()).await?;
            let found = found.into_iter();
            documents.extend(found.filter_map(|it| Some((document::user(&it)?, it))));
        }
        let load = |user: &UserId| {
            let Some(document) = documents.get(user) else {
                return Ok(None);
            };
            let profile = document::profile(user, document);
            profile.map(Some).map_err(|error| corrupt_of(user, error))
        };
        users.iter().map(load).collect()
    }

    async fn remove(&self, users: &[UserId]) -> Result<(), StoreError> {
        for chunk in users.chunks(PROFILES_PER_COMMAND_MAX) {
            let removal = self.profiles.delete_many(document::of(chunk));
            self.bounded(removal.into_future()).await?;
        }
        Ok(())
    }

    async fn unseen(&self, before: Timestamp, max: usize) -> Result<Vec<UserId>, StoreError> {
        // MongoDB takes a limit of 0 for no limit.
        if max == 0 {
            return Ok(Vec::new());
        }
        let fields = Some(doc! { "_id": 1 });
        let found = self.find(document::unseen(before), fields, max).await?;
        Ok(found.iter().filter_map(document::user).collect())
    }
}

/// Keeps one profile per user: the one that supersedes the others.
fn newest(profiles: &[Profile]) -> Vec<&Profile> {
    let mut places = HashMap::with_capacity(profiles.len());
    let mut newest: Vec<&Profile> = Vec::with_capacity(profiles.len());
    for profile in profiles {
        match places.entry(&profile.user) {
            Entry::Vacant(place) => {
                place.insert(newest.len());
                newest.push(profile);
            }
            Entry::Occupied(place) => {
                let stored = &mut newest[*place.get()];
                if profile.supersedes(stored) {
                    *stored = profile;
                }
            }
        }
    }
    newest
}

/// The indexes of the updates that were not done because the key is taken.
fn duplicates(reply: &Document) -> Result<Vec<usize>, String> {
    // The driver checks only the command as a whole.
    if let Ok(error) = reply.get_document("writeConcernError") {
        return Err(format!("not on most servers yet: {error}"));
    }
    let Ok(errors) = reply.get_array("writeErrors") else {
        return Ok(Vec::new());
    };
    let index = |error: &Bson| {
        let document = error.as_document()?;
        let is_duplicate = document
            .get_i32("code")
            .is_ok_and(|code| code == DUPLICATE_KEY);
        let index = document.get_i32("index").ok().filter(|_| is_duplicate)?;
        usize::try_from(index).ok()
    };
    let index = |error| index(error).ok_or_else(|| format!("not written: {error}"));
    errors.iter().map(index).collect()
}

fn corrupt_of(user: &UserId, source: impl Into<Box<dyn Error + Send + Sync>>) -> StoreError {
    StoreError::Corrupt {
        key: format!("{COLLECTION}/{user}"),
        source: source.into(),
    }
}

/// The time at which the profiles of a call are saved.
fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    Timestamp::from_millis(0) + since_1970.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_slice_one_profile_of_each_user_is_written_and_the_order_is_kept() {
        let profile = |user: &str, revision| {
            let mut profile = Profile::new(UserId::new(user).unwrap());
            profile.status.revision = revision;
            profile
        };
        let slice = [
            ("ann", 1),
            ("bob", 2),
            ("ann", 3),
            ("bob", 1),
            ("cid", 0),
            ("ann", 2),
        ]
        .map(|(user, revision)| profile(user, revision));
        assert_eq!(newest(&slice), [&slice[2], &slice[1], &slice[4]]);
    }

    #[test]
    fn of_what_was_not_written_only_duplicates_are_no_failure() {
        assert_eq!(duplicates(&doc! { "n": 3 }), Ok(vec![]));
        let duplicate = |index: i32| doc! { "index": index, "code": 11000, "errmsg": "E11000" };
        let reply = doc! { "writeErrors": [duplicate(0), duplicate(7)] };
        assert_eq!(duplicates(&reply), Ok(vec![0, 7]));
        let other = doc! { "index": 1, "code": 121, "errmsg": "Document failed validation" };
        let error = duplicates(&doc! { "writeErrors": [duplicate(0), other] }).unwrap_err();
        assert!(error.contains("Document failed validation"), "{error}");
        let late = doc! { "writeConcernError": { "code": 64, "errmsg": "waiting for replication timed out" } };
        let error = duplicates(&late).unwrap_err();
        assert!(
            error.contains("waiting for replication timed out"),
            "{error}"
        );
    }
}
