//! A status with a MongoDB behind it.

use presence_testkit::mongo::{Mongo, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::{Reply, send};
use crate::gateway::{config, soon};
use presence_gateway::Gateway;
use presence_gateway::config::DataDir;

#[tokio::test(flavor = "multi_thread")]
async fn what_people_chose_is_in_mongodb_and_another_gateway_knows_it() {
    let (folder, mongo) = mongo();
    let data = folder.path().join("data");
    let first = gateway(&mongo, DataDir::Folder(data.clone())).await;
    let before = choose(&first, "back at four").await.ok();
    first.stop().await;
    let second = gateway(&mongo, DataDir::Memory).await;
    assert_eq!(state(&second).await, before);
    assert_eq!(before["custom_message"], "back at four");

    let kept = std::fs::read_dir(&data).unwrap();
    let mut kept: Vec<_> = kept.map(|it| it.unwrap().file_name()).collect();
    kept.sort();
    assert_eq!(
        kept,
        ["resume.key", "revoked.redb", "sessions"],
        "profiles are elsewhere"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_starts_without_its_mongodb_and_answers_when_it_is_there() {
    let (_folder, mut mongo) = mongo();
    mongo.process.kill().unwrap();
    let gateway = gateway(&mongo, DataDir::Memory).await;
    let ready = send(gateway.address(), "GET", "/readyz", &[], b"").await;
    assert_eq!(ready.status, 200);
    // It waits in the gateway until there is somewhere to keep it.
    let chosen = async { choose(&gateway, "back at four").await.ok() };
    let back = async { mongo.start_again().unwrap() };
    let (chosen, ()) = soon("a status", async { tokio::join!(chosen, back) }).await;
    assert_eq!(chosen["custom_message"], "back at four");
    let health = send(gateway.address(), "GET", "/health", &[], b"").await;
    assert_eq!(health.ok()["store"]["kind"], "mongodb");
}

fn mongo() -> (TempDir, Mongo) {
    let folder = tempfile::tempdir().unwrap();
    let mongo = Mongo::start(folder.path(), &Settings::default()).unwrap();
    (folder, mongo)
}

async fn gateway(mongo: &Mongo, data_dir: DataDir) -> Gateway {
    let mut config = config(&[("MONGODB_URI", &mongo.uri())]);
    config.data_dir = data_dir;
    Gateway::start(config).await.unwrap()
}

async fn choose(gateway: &Gateway, message: &str) -> Reply {
    let body = json!({"status": "busy", "custom_message": message}).to_string();
    let target = "/api/presence/users/ann/status?user_id=ann";
    let headers = [("content-type", "application/json")];
    send(gateway.address(), "PUT", target, &headers, body.as_bytes()).await
}

async fn state(gateway: &Gateway) -> Value {
    let path = "/api/presence/users/ann?user_id=ann";
    send(gateway.address(), "GET", path, &[], b"").await.ok()
}
