use std::net::SocketAddr;
use std::time::{Duration, Instant};

use presence_core::Timestamp;
use presence_core::ports::Profiles;
use presence_mongo::{MongoProfiles, SELECTION_TIME_MAX};
use presence_testkit::mongo::{Mongo, Settings};
use presence_testkit::proxy::{Mode, Proxy};
use presence_testkit::pulse::Pulse;

use crate::support::{Server, check_unavailable, connect, profile, user, wait};

/// What the driver takes for itself, beyond what is promised.
const SLACK: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn while_it_is_away_everything_fails_soon_and_afterwards_nothing() {
    let mut server = Server::start();
    let profiles = server.profiles().await;
    profiles.save(&[profile("ann", 1)]).await.unwrap();
    server.mongo.process.kill().unwrap();
    check_all_unavailable(&profiles, SELECTION_TIME_MAX).await;
    server.mongo.start_again().unwrap();
    let loaded = wait("it is found again", async || {
        profiles.load(&[user("ann")]).await.ok()
    });
    assert_eq!(loaded.await, [Some(profile("ann", 1))]);
    profiles.save(&[profile("ann", 2)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_does_not_answer_is_not_waited_for_longer_than_was_said() {
    let mut server = Server::start();
    let profiles = server.profiles_with("socketTimeoutMS=1500").await;
    profiles.save(&[profile("ann", 1)]).await.unwrap();
    server.mongo.process.pause().unwrap();
    check_all_unavailable(&profiles, Duration::from_millis(1500)).await;
    server.mongo.process.resume().unwrap();
    let saved = wait("it goes on", async || {
        profiles.save(&[profile("ann", 2)]).await.ok()
    });
    saved.await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_may_be_away_at_the_start_and_gets_its_index_when_it_is_there() {
    let mut server = Server::start();
    let collection = server.collection().await;
    server.mongo.process.kill().unwrap();
    let profiles = server.profiles().await;
    check_unavailable(profiles.load(&[user("ann")]).await);
    server.mongo.start_again().unwrap();
    let index = async || {
        let names = collection.list_index_names().await.ok()?;
        names.contains(&"known_at".to_owned()).then_some(())
    };
    wait("the index is there", index).await;
    // Once more changes nothing.
    let again = server.profiles().await;
    again.save(&[profile("ann", 1)]).await.unwrap();
    wait("it is still there", index).await;
    let names = collection.list_index_names().await.unwrap();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_one_is_of_use() {
    let folder = tempfile::tempdir().unwrap();
    let mut proxy = None;
    let mongo = Mongo::start_behind(folder.path(), &Settings::default(), |port| {
        let between = Proxy::start(SocketAddr::from(([127, 0, 0, 1], port)))?;
        Ok(proxy.insert(between).port())
    });
    let (mongo, proxy) = (mongo.unwrap(), proxy.unwrap());
    let profiles = connect(&mongo.uri()).await;
    profiles.save(&[profile("ann", 1)]).await.unwrap();
    // There and back.
    proxy.set(Mode::Delay(Duration::from_secs(1)));
    let start = Instant::now();
    profiles.save(&[profile("ann", 2)]).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2));
    let loaded = profiles.load(&[user("ann")]).await.unwrap();
    assert_eq!(loaded, [Some(profile("ann", 2))]);
    // Whoever comes now has to introduce themselves first.
    let late = connect(&mongo.uri()).await;
    let loaded = wait("a newcomer is answered", async || {
        late.load(&[user("ann")]).await.ok()
    });
    assert_eq!(loaded.await, [Some(profile("ann", 2))]);
}

async fn check_all_unavailable(profiles: &MongoProfiles, limit: Duration) {
    let ann = profile("ann", 2);
    let users = [ann.user.clone()];
    let pulse = Pulse::start();
    let start = Instant::now();
    check_unavailable(profiles.save(&[ann]).await);
    check_unavailable(profiles.load(&users).await);
    check_unavailable(profiles.remove(&users).await);
    check_unavailable(profiles.unseen(Timestamp::from_millis(5), 1).await);
    let took = start.elapsed();
    let limit = 4 * limit + SLACK + pulse.slack();
    assert!(took < limit, "four calls took {took:?}, of {limit:?}");
}
