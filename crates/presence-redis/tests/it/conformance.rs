//! The contract.

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
    let cluster = Cluster::start();
    let connect = async || connect(&cluster.url()).await;
    conformance::topics(connect).await;
    let wipe = async || cluster.say_to_masters(&["FLUSHALL"]);
    conformance::topics_after_loss(connect, wipe).await;
}

async fn connect(url: &str) -> RedisTopics {
    RedisTopics::connect(Settings::from_url(url).unwrap())
        .await
        .unwrap()
}
