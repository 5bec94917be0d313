//! What it costs: `cargo test -p presence-redis --release --test it -- --ignored --nocapture speed`.

use std::time::Duration;

use presence_core::UserId;
use presence_core::cluster::{Subject, Write};
use presence_core::ports::Topics;
use tokio::time::{Instant, sleep};

use crate::support::{Node, Server, user_in, users};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is a measurement"]
async fn a_patch_takes_so_long_from_node_to_node() {
    let server = Server::start(&[]);
    let (writer, reader) = (
        Node::connect(&server.url()).await,
        Node::connect(&server.url()).await,
    );
    let ann = user_in(7);
    reader.follow(std::slice::from_ref(&ann)).await;
    let mut took = Vec::new();
    for _ in 0..2000 {
        let start = Instant::now();
        writer.does(&ann).await;
        reader.hear_patch(&ann).await;
        took.push(start.elapsed());
        sleep(Duration::from_millis(1)).await;
    }
    took.sort_unstable();
    println!(
        "written and heard: p50 {:?}, p99 {:?}",
        took[1000], took[1980]
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is a measurement"]
async fn so_many_writes_are_done_in_a_second() {
    let server = Server::start(&[]);
    let node = Node::connect(&server.url()).await;
    let users = users();
    for per_call in [1, 16, 256] {
        let names: Vec<_> = users[..16].iter().map(|it| names(it, per_call)).collect();
        let start = Instant::now();
        let mut count = 0;
        while start.elapsed() < Duration::from_secs(3) {
            let calls = (0..16).map(|n| {
                let node = node.clone();
                // As the hub does: what goes to one partition of the store goes together.
                let writes: Vec<Write> = names[n].iter().map(|it| node.change(it)).collect();
                async move { node.topics.write(&writes).await.len() }
            });
            count += futures_util::future::join_all(calls)
                .await
                .iter()
                .sum::<usize>();
        }
        println!(
            "{per_call} in a call, 16 calls at once: {} writes/s",
            count / 3
        );
    }
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < Duration::from_secs(2) {
        assert!(node.topics.compare().await.is_ok());
        count += 1;
    }
    println!("a comparison takes {:?}", start.elapsed() / count);
}

/// So many users of the partition of `user`.
fn names(user: &Subject, count: usize) -> Vec<Subject> {
    let of = |n: u32| Subject::User(UserId::new(&format!("u{n}")).unwrap());
    let partition = user.partition();
    (0..)
        .map(of)
        .filter(|it| it.partition() == partition)
        .take(count)
        .collect()
}
