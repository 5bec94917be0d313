use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use presence_core::Profile;
use presence_core::ports::Profiles;

use crate::support::{Server, profile, user};

const USERS: u64 = 5;
const REVISIONS: u64 = 12;

/// Two clients, each with some of the writes, in any order: what a node does that ends what a dead one began.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_in_whatever_order_the_newest_stays() {
    let mut seed = RandomState::new().hash_one("order");
    println!("seed {seed:#x}");
    let server = Server::start();
    let mut all: Vec<Profile> = (1..=REVISIONS)
        .flat_map(|revision| (0..USERS).map(move |i| profile(&format!("user{i}"), revision)))
        .collect();
    for i in (1..all.len()).rev() {
        // Knuth's generator: its high bits are good enough to shuffle with.
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        all.swap(i, (seed >> 33) as usize % (i + 1));
    }
    let clients = [server.profiles().await, server.profiles().await].map(Arc::new);
    let mut saves = tokio::task::JoinSet::new();
    for (i, slice) in all.chunks(3).enumerate() {
        let (client, slice) = (clients[i % 2].clone(), slice.to_vec());
        saves.spawn(async move { client.save(&slice).await });
    }
    for saved in saves.join_all().await {
        saved.unwrap();
    }
    let users: Vec<_> = (0..USERS).map(|i| user(&format!("user{i}"))).collect();
    let stored = clients[0].load(&users).await.unwrap();
    for (stored, user) in stored.iter().zip(&users) {
        assert_eq!(stored.as_ref(), Some(&profile(user.as_str(), REVISIONS)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_write_a_new_user_at_once_all_succeed() {
    let server = Server::start();
    let profiles = Arc::new(server.profiles().await);
    for round in 0..10 {
        let name = format!("new{round}");
        let mut saves = tokio::task::JoinSet::new();
        for revision in [3, 1, 4, 2] {
            let (profiles, new) = (profiles.clone(), profile(&name, revision));
            saves.spawn(async move { profiles.save(&[new]).await });
        }
        for saved in saves.join_all().await {
            saved.unwrap();
        }
        let stored = profiles.load(&[user(&name)]).await.unwrap();
        assert_eq!(stored, [Some(profile(&name, 4))]);
    }
}
