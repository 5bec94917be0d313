use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use presence_core::ports::Profiles;
use tokio::sync::mpsc;

use crate::support::{Server, profile, user, wait};

const USERS: u64 = 4;
const ROUNDS: u64 = 4;
/// Acknowledgements that nobody has counted yet; with one more the writers wait.
const SAVED_MAX: usize = 64;

/// This shows that what was acknowledged has left the server's process, not that it has reached the disk.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_was_acknowledged_survives_kill_9() {
    let seed = RandomState::new().hash_one("kill");
    println!("seed {seed:#x}");
    let mut server = Server::start();
    let profiles = Arc::new(server.profiles().await);
    let (say, mut saved) = mpsc::channel(SAVED_MAX);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..USERS {
        let (profiles, say) = (profiles.clone(), say.clone());
        writers.spawn(async move {
            let name = format!("user{writer}");
            for revision in 1.. {
                // As the profile writer does: again until it is there.
                while profiles.save(&[profile(&name, revision)]).await.is_err() {}
                if say.send((writer, revision)).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut acknowledged = HashMap::new();
    for round in 0..ROUNDS {
        for _ in 0..20 + (seed >> (round * 8)) % 100 {
            let (writer, revision) = saved.recv().await.unwrap();
            acknowledged.insert(writer, revision);
        }
        server.mongo.process.kill().unwrap();
        // What was on its way here.
        while let Ok((writer, revision)) = saved.try_recv() {
            acknowledged.insert(writer, revision);
        }
        server.mongo.start_again().unwrap();
        let reader = server.profiles().await;
        for (writer, &revision) in &acknowledged {
            let asked = [user(&format!("user{writer}"))];
            let loaded = wait("it answers again", async || reader.load(&asked).await.ok()).await;
            let stored = loaded[0].as_ref().map(|it| it.status.revision);
            assert!(
                stored >= Some(revision),
                "round {round}: {writer} was acknowledged at {revision}, and is {stored:?}"
            );
        }
    }
    drop(saved);
    writers.shutdown().await;
}
