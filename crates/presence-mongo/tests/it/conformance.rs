use presence_testkit::conformance;

use crate::support::Server;

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_keeps_the_contract() {
    let server = Server::start();
    conformance::durable_profiles(async || server.profiles().await).await;
}
