//! The contract.

use std::time::Duration;

use presence_redis::{RedisTopics, Settings};
use presence_testkit::conformance;

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
async fn one_server_keeps_what_waits_to_be_carried_elsewhere() {
    let server = Server::start(&[]);
    conformance::outbox_without_webhooks(async || connect(&server.url()).await).await;
    conformance::outbox(async || connect_for_webhooks(&server.url()).await).await;
    conformance::hooks(async || connect_for_webhooks(&server.url()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_what_waits_to_be_carried_elsewhere() {
    let cluster = Cluster::start_sound();
    conformance::outbox(async || connect_for_webhooks(&cluster.url()).await).await;
    conformance::hooks(async || connect_for_webhooks(&cluster.url()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_contract() {
    let cluster = Cluster::start_sound();
    let connect = async || connect(&cluster.url()).await;
    conformance::topics(connect).await;
    let wipe = async || cluster.say_to_masters(&["FLUSHALL"]);
    conformance::topics_after_loss(connect, wipe).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_server_keeps_the_list_of_the_revoked() {
    let server = Server::start(&["--appendonly", "yes"]);
    conformance::shared_revocations(async || connect(&server.url()).await).await;
    server.says_ok(&["FLUSHALL"]);
    conformance::durable_revocations(async || connect(&server.url()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_keeps_the_list_of_the_revoked() {
    let cluster = Cluster::start_sound();
    conformance::shared_revocations(async || connect(&cluster.url()).await).await;
}

async fn connect(url: &str) -> RedisTopics {
    RedisTopics::connect(settings(url)).await.unwrap()
}

async fn connect_for_webhooks(url: &str) -> RedisTopics {
    let settings = settings(url).with_webhooks();
    RedisTopics::connect(settings).await.unwrap()
}

fn settings(url: &str) -> Settings {
    // Nothing is measured here, so a busy machine shall have its time.
    let settings = Settings::from_url(url).unwrap();
    settings.with_timeout(Duration::from_secs(5)).unwrap()
}
