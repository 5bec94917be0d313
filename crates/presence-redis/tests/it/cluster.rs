//! What can happen to a cluster.

use std::time::Duration;

use presence_core::cluster::{PARTITIONS, Subject};
use presence_testkit::pulse::Pulse;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Cluster, Node, slot_of, user_in};

/// Here latencies are measured: one at a time.
static MEASURING: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_killed_delays_nobody_else_and_another_takes_its_place() {
    let _measuring = MEASURING.lock().await;
    let pulse = Pulse::start();
    let mut cluster = Cluster::start();
    let (writer, reader) = pair(&cluster).await;
    let (mine, others) = parts(&cluster, 0);
    reader.follow(&mine).await;
    reader.follow(&others).await;
    let harmed = Load::start(&writer, &mine);
    let unharmed = Load::start(&writer, &others);
    sleep(Duration::from_millis(300)).await;

    cluster.servers[0].kill();
    let killed = Instant::now();
    while writer.write(&mine[0]).await.0.is_err() {
        sleep(Duration::from_millis(10)).await;
    }
    let back = killed.elapsed();
    let heard = reader.hears_again(&writer, &mine[0]).await;
    let (harmed, unharmed) = (harmed.stop().await, unharmed.stop().await);
    println!(
        "killed: back after {back:?}, heard again {heard:?} later; {harmed:?}, others {unharmed:?}"
    );

    check_unharmed(&unharmed, &pulse);
    assert!(
        harmed.failed > 0 && harmed.slowest < Duration::from_millis(1200) + pulse.slack(),
        "{harmed:?}"
    );
    assert!(
        back < Duration::from_secs(8) + pulse.slack(),
        "written again after {back:?}"
    );
    assert!(
        heard < Duration::from_secs(3) + pulse.slack(),
        "heard again {heard:?} later"
    );
    check_forgotten(&reader, &mine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_hangs_delays_nobody_else() {
    let _measuring = MEASURING.lock().await;
    let pulse = Pulse::start();
    let cluster = Cluster::start();
    let (writer, reader) = pair(&cluster).await;
    let (mine, others) = parts(&cluster, 1);
    let harmed = Load::start(&writer, &mine);
    let unharmed = Load::start(&writer, &others);
    sleep(Duration::from_millis(300)).await;

    cluster.servers[1].pause();
    let paused = Instant::now();
    // It has been written by somebody else before, so this is about the whole of a call.
    reader.does(&mine[0]).await;
    let back = paused.elapsed();
    let (harmed, unharmed) = (harmed.stop().await, unharmed.stop().await);
    println!("hung: back after {back:?}; {harmed:?}, others {unharmed:?}");
    check_unharmed(&unharmed, &pulse);
    assert!(
        harmed.slowest < Duration::from_millis(1200) + pulse.slack(),
        "{harmed:?}"
    );
    assert!(
        back < Duration::from_secs(8) + pulse.slack(),
        "written again after {back:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_graceful_failover_nobody_is_deaf() {
    let _measuring = MEASURING.lock().await;
    let pulse = Pulse::start();
    let cluster = Cluster::start();
    let (writer, reader) = pair(&cluster).await;
    let (mine, _) = parts(&cluster, 2);
    reader.follow(&mine).await;
    writer.does(&mine[0]).await;
    reader.hear_patch(&mine[0]).await;

    let replica = &cluster.servers[cluster.replica_of(0, 2)];
    // Two that meant to take over at once would wait for each other.
    replica.says_ok(&["CLUSTER", "FAILOVER"]);
    let heard = reader.hears_again(&writer, &mine[0]).await;
    println!("graceful: heard again after {heard:?}");
    assert!(
        heard < Duration::from_secs(4) + pulse.slack(),
        "heard again after {heard:?}"
    );
    check_forgotten(&reader, &mine).await;
    for user in &mine {
        writer.does(user).await;
        reader.hear_patch(user).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_graceful_failover_nobody_who_only_listens_is_deaf() {
    let _measuring = MEASURING.lock().await;
    let pulse = Pulse::start();
    let cluster = Cluster::start();
    let (_, reader) = pair(&cluster).await;
    let (mine, _) = parts(&cluster, 2);
    reader.follow(&mine).await;
    let replica = &cluster.servers[cluster.replica_of(0, 2)];
    replica.says_ok(&["CLUSTER", "FAILOVER"]);
    let start = Instant::now();
    check_forgotten(&reader, &mine).await;
    println!(
        "graceful, only listening: to be compared after {:?}",
        start.elapsed()
    );
    assert!(start.elapsed() < Duration::from_secs(5) + pulse.slack());
    let writer = Node::connect(&cluster.url()).await;
    for user in &mine {
        writer.does(user).await;
        reader.hear_patch(user).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_takes_its_followers_along() {
    let _measuring = MEASURING.lock().await;
    let pulse = Pulse::start();
    let cluster = Cluster::start();
    let (writer, reader) = pair(&cluster).await;
    let (mine, _) = parts(&cluster, 0);
    reader.follow(&mine).await;
    for user in &mine {
        writer.does(user).await;
        reader.hear_patch(user).await;
    }
    let load = Load::start(&writer, &mine);
    move_slot(&cluster, slot_of(mine[0].partition()), 0, 1);
    let heard = reader.hears_again(&writer, &mine[0]).await;
    let load = load.stop().await;
    println!("moved: heard again after {heard:?}; {load:?}");
    assert!(
        heard < Duration::from_secs(3) + pulse.slack(),
        "heard again after {heard:?}"
    );
    check_forgotten(&reader, &mine[..1]).await;
    for user in &mine {
        writer.does(user).await;
        reader.hear_patch(user).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_while_a_master_is_away_is_let_in() {
    let mut cluster = Cluster::start();
    cluster.servers[0].kill();
    let (_, others) = parts(&cluster, 0);
    // The address that is away is the first in the URL.
    let node = Node::connect(&cluster.url()).await;
    assert!(node.write(&others[0]).await.0.is_ok());
}

/// Moves `slot` as the cluster tools do.
fn move_slot(cluster: &Cluster, slot: u16, from: usize, to: usize) {
    let slot = slot.to_string();
    let id = |n: usize| cluster.servers[n].say(&["CLUSTER", "MYID"]);
    let (from_id, to_id) = (id(from), id(to));
    let (source, target) = (&cluster.servers[from], &cluster.servers[to]);
    target.says_ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", from_id.text()]);
    source.says_ok(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", to_id.text()]);
    loop {
        let keys = source.say(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
        if keys.list().is_empty() {
            break;
        }
        let port = target.port.to_string();
        let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
        words.extend(keys.list().iter().map(|it| it.text()));
        source.says_ok(&words);
    }
    for server in [target, source] {
        server.says_ok(&["CLUSTER", "SETSLOT", &slot, "NODE", to_id.text()]);
    }
}

/// Two nodes, of which the first has the session in everything.
async fn pair(cluster: &Cluster) -> (Node, Node) {
    let url = cluster.url();
    (Node::connect(&url).await, Node::connect(&url).await)
}

/// Some users whose partitions are on the server `master`, and some whose are elsewhere.
fn parts(cluster: &Cluster, master: usize) -> (Vec<Subject>, Vec<Subject>) {
    let owner = |partition: &u16| usize::from(slot_of(*partition)) * 3 / 16384;
    let of = |is_mine: bool| {
        let partitions = (0..PARTITIONS).filter(|it| (owner(it) == master) == is_mine);
        partitions.take(10).map(user_in).collect()
    };
    let _ = cluster;
    (of(true), of(false))
}

/// Checks that it is told that all of `users` are to be compared.
async fn check_forgotten(reader: &Node, users: &[Subject]) {
    for user in users {
        reader.hear_forgot(user.partition()).await;
    }
}

/// Checks that nobody waited for somebody else. On a busy machine a single call may be slow, but none is as slow as one that
/// waits for a server that is away.
fn check_unharmed(tally: &Tally, pulse: &Pulse) {
    assert_eq!(tally.failed, 0, "{tally:?}");
    assert!(
        tally.p99 < Duration::from_millis(200) + pulse.slack(),
        "{tally:?}"
    );
    assert!(
        tally.slowest < Duration::from_millis(500) + pulse.slack(),
        "{tally:?}"
    );
}

/// Writes all the time.
struct Load {
    stop: watch::Sender<bool>,
    task: JoinHandle<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    done: usize,
    failed: usize,
    slowest: Duration,
    /// 99 of 100 calls took no longer.
    p99: Duration,
}

impl Load {
    fn start(writer: &Node, users: &[Subject]) -> Self {
        let (stop, mut stopped) = watch::channel(false);
        let (writer, users) = (writer.clone(), users.to_vec());
        let task = tokio::spawn(async move {
            let mut tally = Tally::default();
            let mut all = Vec::new();
            for user in users.iter().cycle() {
                let (outcome, took) = writer.write(user).await;
                all.push(took);
                match outcome {
                    Ok(()) => tally.done += 1,
                    Err(_) => tally.failed += 1,
                }
                if timeout(Duration::from_millis(5), stopped.changed())
                    .await
                    .is_ok()
                {
                    break;
                }
            }
            all.sort_unstable();
            tally.slowest = all[all.len() - 1];
            tally.p99 = all[(all.len() - 1) * 99 / 100];
            tally
        });
        Load { stop, task }
    }

    async fn stop(self) -> Tally {
        self.stop.send_replace(true);
        self.task.await.unwrap()
    }
}
