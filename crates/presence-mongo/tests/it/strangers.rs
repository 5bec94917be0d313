//! Documents that somebody else put there.

use mongodb::bson::{DateTime, Document, doc};
use presence_core::Timestamp;
use presence_core::ports::{Profiles, StoreError};

use crate::support::{Server, profile, user};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_and_left_alone_and_the_others_are_kept() {
    let server = Server::start();
    let (profiles, collection) = (server.profiles().await, server.collection().await);
    let later =
        doc! { "_id": "ann", "schema": 2, "revision": 1, "known_at": DateTime::from_millis(5) };
    let garbled = doc! { "_id": "bob", "schema": 1, "status": "busy", "revision": "seven" };
    collection.insert_many([&later, &garbled]).await.unwrap();

    let slice = [profile("ann", 9), profile("cid", 9)];
    check_corrupt(profiles.save(&slice).await, "profiles/ann");
    check_corrupt(profiles.save(&[profile("bob", 9)]).await, "profiles/bob");
    check_corrupt(
        profiles.load(&[user("cid"), user("ann")]).await,
        "profiles/ann",
    );
    check_corrupt(profiles.load(&[user("bob")]).await, "profiles/bob");
    let loaded = profiles.load(&[user("cid")]).await.unwrap();
    assert_eq!(loaded, [Some(profile("cid", 9))]);
    for left in [&later, &garbled] {
        let id = left.get_str("_id").unwrap();
        let found = collection.find_one(doc! { "_id": id }).await.unwrap();
        assert_eq!(found.as_ref(), Some(left));
    }

    let unseen = profiles.unseen(Timestamp::from_millis(1000), 10).await;
    assert_eq!(unseen.unwrap(), []);
    profiles.remove(&[user("ann"), user("bob")]).await.unwrap();
    profiles.save(&slice).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_finds_words_and_dates() {
    let server = Server::start();
    let (profiles, collection) = (server.profiles().await, server.collection().await);
    profiles.save(&[profile("ann", 3)]).await.unwrap();
    let seen = DateTime::from_millis(1_700_000_000_000);
    let expected = doc! {
        "_id": "ann", "schema": 1, "status": "online", "message": "revision 3", "revision": 3_i64,
        "last_seen": seen, "known_at": seen,
    };
    let found = collection.find_one(doc! { "status": "online" }).await;
    assert_eq!(found.unwrap(), Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_changes_with_mongosh_is_read() {
    let server = Server::start();
    let (profiles, collection) = (server.profiles().await, server.collection().await);
    profiles.save(&[profile("ann", 3)]).await.unwrap();
    let change: Document =
        doc! { "$set": { "status": "busy", "revision": 4.0, "note": "by hand" } };
    collection
        .update_one(doc! { "_id": "ann" }, change)
        .await
        .unwrap();
    let loaded = profiles.load(&[user("ann")]).await.unwrap();
    let ann = loaded[0].as_ref().unwrap();
    assert_eq!(ann.status.revision, 4);
    assert_eq!(ann.status.chosen, presence_core::Chosen::Busy);
    profiles.save(&[profile("ann", 3)]).await.unwrap();
    assert_eq!(profiles.load(&[user("ann")]).await.unwrap(), loaded);
    profiles.save(&[profile("ann", 5)]).await.unwrap();
    let loaded = profiles.load(&[user("ann")]).await.unwrap();
    assert_eq!(loaded, [Some(profile("ann", 5))]);
}

#[track_caller]
fn check_corrupt<T: std::fmt::Debug>(done: Result<T, StoreError>, expected: &str) {
    match done {
        Err(StoreError::Corrupt { key, .. }) => assert_eq!(key, expected),
        other => panic!("{expected} should be corrupt, and is {other:?}"),
    }
}
