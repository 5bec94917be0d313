//! A kick holds on every gateway, and after a restart.

use std::net::SocketAddr;
use std::time::Duration;

use presence_testkit::redis::{Redis, Settings, Topology};
use serde_json::json;
use tempfile::TempDir;

use crate::gateway::{Running, SECRET, config, soon, start_with};
use crate::people::Person;
use crate::program::ProgramFolder;
use crate::walls::call;

const HOUR: Duration = Duration::from_secs(3600);
const KEYS: (&str, &str) = ("PRESENCE_JWT_SECRET", SECRET);

#[tokio::test(flavor = "multi_thread")]
async fn who_is_kicked_on_one_gateway_does_not_get_in_on_another_or_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = start_redis(&folder);
    let url = redis.url();
    let gateway = async || start_with(config(&[KEYS, ("REDIS_URL", &url)])).await;
    let (one, two) = (gateway().await, gateway().await);
    let ann = one.token("ann", HOUR, |_| {});
    assert!(lets_in(&two, &ann).await);
    assert_eq!(kick(&one, "ann").await, 200);
    assert!(!lets_in(&one, &ann).await);
    is_kept_out(&two, &ann).await;
    // One that starts knows it from the beginning.
    let three = gateway().await;
    assert!(!lets_in(&three, &ann).await);
    // What Redis has lost, it gets back from those who know.
    redis.flush_all().unwrap();
    let port = redis.nodes()[0].port;
    let words = ["HGET", "presence:{nodes}:revoked", "ann"];
    soon("Redis has it again", async {
        while presence_testkit::redis::ask_text(port, &words).is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let four = gateway().await;
    assert!(!lets_in(&four, &ann).await);
    one.stop().await;
    two.stop().await;
    let five = gateway().await;
    assert!(!lets_in(&five, &ann).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_on_another_gateway_also_if_nobody_told_it_of_the_kick() {
    let folder = tempfile::tempdir().unwrap();
    let redis = start_redis(&folder);
    let url = redis.url();
    let gateway = start_with(config(&[KEYS, ("REDIS_URL", &url)])).await;
    let ann = gateway.token("ann", HOUR, |_| {});
    let mut person = Person::comes_with(&gateway.options_with(&ann)).await;
    let bob = gateway.token("bob", HOUR, |_| {});
    let mut other = Person::comes_with(&gateway.options_with(&bob)).await;
    let port = redis.nodes()[0].port;
    let now = crate::gateway::now().as_millis();
    let record = format!("{now} {}", now + 3_600_000);
    for words in [
        vec!["HSET", "presence:{nodes}:revoked", "ann", &record],
        vec!["HSET", "presence:{nodes}:revoked", "#", "7"],
    ] {
        presence_testkit::redis::ask(port, &words).unwrap();
    }
    assert_eq!(person.is_closed().await, 4410);
    other.does(r#"{"type":"presence:ping"}"#).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_what_was_known_counts_and_a_kick_says_that_it_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut redis = start_redis(&folder);
    let url = redis.url();
    let gateway = async || start_with(config(&[KEYS, ("REDIS_URL", &url)])).await;
    let (one, two) = (gateway().await, gateway().await);
    let [ann, bob] = ["ann", "bob"].map(|user| one.token(user, HOUR, |_| {}));
    assert_eq!(kick(&one, "ann").await, 200);
    is_kept_out(&two, &ann).await;
    redis.nodes_mut()[0].process.kill().unwrap();
    assert_eq!(kick(&one, "bob").await, 503);
    assert!(!lets_in(&one, &bob).await, "it holds here");
    assert!(!lets_in(&two, &ann).await);
    redis.nodes_mut()[0].process.start_again().unwrap();
    is_kept_out(&two, &bob).await;
    is_kept_out(&two, &ann).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_alone_remembers_a_kick_in_its_folder_also_after_a_crash() {
    let place = ProgramFolder::new();
    let jwt = start_with(config(&[KEYS])).await;
    let [ann, bob] = ["ann", "bob"].map(|user| jwt.token(user, HOUR, |_| {}));
    let admin = jwt.token("root", HOUR, |it| it.scopes = vec!["admin".into()]);
    let first = place.start(&[KEYS]);
    assert!(lets_in_at(first.address, &ann).await);
    let path = "/api/presence/users/ann/kick";
    let kicked = call(first.address, "POST", path, &admin, Some(json!({}))).await;
    assert_eq!(kicked.0, 200, "{}", kicked.1);
    first.kill();
    let second = place.start(&[KEYS]);
    assert!(!lets_in_at(second.address, &ann).await);
    assert!(lets_in_at(second.address, &bob).await);
}

#[tokio::test]
async fn a_token_from_the_future_is_refused_and_does_not_survive_a_kick() {
    let gateway = start_with(config(&[KEYS])).await;
    let ahead = |seconds| {
        let when = crate::gateway::now() + Duration::from_secs(seconds);
        gateway.token_made_at(when, "ann", HOUR, |_| {})
    };
    assert!(!lets_in(&gateway, &ahead(60)).await, "beyond the leeway");
    let token = ahead(4);
    assert!(lets_in(&gateway, &token).await);
    assert_eq!(kick(&gateway, "ann").await, 200);
    assert!(!lets_in(&gateway, &token).await);
}

fn start_redis(folder: &TempDir) -> Redis {
    Redis::start(folder.path(), &Settings::of(Topology::Single)).unwrap()
}

async fn kick(gateway: &Running, user: &str) -> u16 {
    let admin = gateway.token("root", HOUR, |it| it.scopes = vec!["admin".into()]);
    let path = format!("/api/presence/users/{user}/kick");
    let (status, body) = call(gateway.address(), "POST", &path, &admin, Some(json!({}))).await;
    assert!([200, 503].contains(&status), "{status} {body}");
    status
}

async fn lets_in(gateway: &Running, token: &str) -> bool {
    lets_in_at(gateway.address(), token).await
}

async fn lets_in_at(address: SocketAddr, token: &str) -> bool {
    let path = "/api/presence/channel/room:1/count";
    let (status, body) = call(address, "GET", path, token, None).await;
    match status {
        200 => true,
        401 => false,
        _ => panic!("{status} {body}"),
    }
}

/// Soon, and from then on.
async fn is_kept_out(gateway: &Running, token: &str) {
    soon("a refusal", async {
        while lets_in(gateway, token).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}
