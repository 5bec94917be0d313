//! The contract.

use std::time::Duration;

use presence_embedded::conformance;
use presence_redis::{RedisTopics, Settings};

use crate::support::{Cluster, Server};

#[tokio::test(flavor = "multi_thread")]
async fn one_server_keeps_the_contract() {
    let server = Server::start(&[]);
    conformance::topics(async || connect(&server.url()).await).await;
}

#[tokio::test]
async fn one_server_keeps_the_contract_on_one_thread() {
    let server = Server::start(&[]);
    conformance::topics(async || connect(&server.url()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_that_loses_its_data_keeps_the_contract() {
    let server = Server::start(&[]);
    let wipe = async || {
        server.say(&["FLUSHALL"]);
    };
    conformance::topics_after_loss(async || connect(&server.url()).await, wipe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_contract() {
    let cluster = Cluster::start_sound();
    let connect = async || connect(&cluster.url()).await;
    conformance::topics(connect).await;
    let wipe = async || cluster.say_to_masters(&["FLUSHALL"]);
    conformance::topics_after_loss(connect, wipe).await;
}

async fn connect(url: &str) -> RedisTopics {
    // Nothing is measured here, so a busy machine shall have its time.
    let settings = Settings::from_url(url)
        .unwrap()
        .with_timeout(Duration::from_secs(5))
        .unwrap();
    RedisTopics::connect(settings).await.unwrap()
}
