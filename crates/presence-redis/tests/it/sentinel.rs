//! What can happen to servers under sentinels.

use std::slice::from_ref;
use std::time::Duration;

use presence_testkit::pulse::Pulse;
use tokio::time::{Instant, sleep};

use crate::support::{Node, Sentinels, user_in};

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_killed_is_followed_by_the_next_one() {
    let mut servers = Sentinels::start("hush");
    let (writer, reader) = pair(&servers).await;
    servers.master.kill();
    check_back(&writer, &reader, "killed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_hands_over_is_followed_by_the_next_one() {
    let servers = Sentinels::start("hush");
    let (writer, reader) = pair(&servers).await;
    servers.fail_over();
    check_back(&writer, &reader, "handed over").await;
}

async fn check_back(writer: &Node, reader: &Node, what: &str) {
    let ann = user_in(7);
    let pulse = Pulse::start();
    let start = Instant::now();
    reader.hear_forgot(7).await;
    while writer.write(&ann).await.0.is_err() {
        sleep(Duration::from_millis(10)).await;
    }
    let back = start.elapsed();
    let heard = reader.hears_again(writer, &ann).await;
    println!("{what}: to be compared and written again after {back:?}, heard {heard:?} later");
    let slack = pulse.slack();
    assert!(back < Duration::from_secs(10) + slack && heard < Duration::from_secs(3) + slack);
}

async fn pair(servers: &Sentinels) -> (Node, Node) {
    let url = servers.url();
    let (writer, reader) = (Node::connect(&url).await, Node::connect(&url).await);
    let ann = user_in(7);
    reader.follow(from_ref(&ann)).await;
    writer.does(&ann).await;
    reader.hear_patch(&ann).await;
    (writer, reader)
}
