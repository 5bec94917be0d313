use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use presence_core::ports::Profiles;
use presence_mongo::{CLOSE_TIME_MAX, MongoProfiles};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

use presence_testkit::pulse::Pulse;

use crate::support::{Server, check_unavailable, profile, user};

/// Runtimes that end, one after the other. Without a call of `close` about every third meets a panic.
const ROUNDS: u32 = 40;
/// Calls that are under way at any time: as many as the driver has connections. Those beyond would wait for one, and who is
/// ended while they wait holds up the driver's own end.
const CALLERS: usize = 10;
/// Calls that are done before a runtime ends.
const CALLS: u32 = 20;
/// The name of the threads of these runtimes: other tests of this process may panic as they like.
const THREADS: &str = "closing-test";
/// What the driver takes for itself, beyond what is promised.
const SLACK: Duration = Duration::from_secs(1);

/// The driver panics in a call that needs a connection while its runtime drops the task that hands them out.
#[test]
fn a_runtime_that_ends_while_calls_are_under_way_meets_no_panic_once_it_is_closed() {
    let server = Server::start();
    let panics = count_panics();
    let mut in_time = 0;
    for round in 0..ROUNDS {
        let runtime = runtime();
        let profiles = runtime.block_on(async {
            let profiles = Arc::new(server.profiles().await);
            let done = Arc::new(Semaphore::new(0));
            for _ in 0..CALLERS {
                tokio::spawn(call_for_ever(profiles.clone(), done.clone()));
            }
            let _ = done.acquire_many(CALLS).await.unwrap();
            in_time += u32::from(profiles.close().await);
            profiles
        });
        drop(runtime);
        drop(profiles);
        let panics = panics.load(Ordering::Relaxed);
        assert_eq!(panics, 0, "panics in round {round}");
    }
    assert!(in_time > 0, "not one of {ROUNDS} was closed in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_it_ends_the_calls_under_way_and_refuses_later_ones() {
    let mut server = Server::start();
    let profiles = server.profiles().await;
    profiles.save(&[profile("ann", 1)]).await.unwrap();
    let pulse = Pulse::start();
    // The one under way would take as long as the driver waits for an answer.
    server.mongo.process.pause().unwrap();
    let start = Instant::now();
    let anns = [user("ann")];
    let under_way = profiles.load(&anns);
    let (under_way, _) = tokio::join!(under_way, profiles.close());
    assert!(check_unavailable(under_way).contains("closed"));
    assert!(check_unavailable(profiles.load(&anns).await).contains("closed"));
    check_unavailable(profiles.save(&[profile("ann", 2)]).await);
    check_unavailable(profiles.remove(&anns).await);
    let took = start.elapsed();
    let limit = CLOSE_TIME_MAX + SLACK + pulse.slack();
    assert!(took < limit, "closing took {took:?}, of {limit:?}");
    server.mongo.process.resume().unwrap();
    // Others are not closed with it, and one with nothing under way is closed in time.
    let others = server.profiles().await;
    let loaded = crate::support::wait("another one loads", async || others.load(&anns).await.ok());
    assert_eq!(loaded.await, [Some(profile("ann", 1))]);
    assert!(others.close().await);
}

#[test]
fn one_that_was_never_reached_is_closed_at_once_and_may_outlive_its_runtime() {
    let panics = count_panics();
    let mut server = Server::start();
    server.mongo.process.kill().unwrap();
    let runtime = runtime();
    let profiles = runtime.block_on(async {
        let profiles = server.profiles().await;
        assert!(profiles.close().await);
        check_unavailable(profiles.load(&[user("ann")]).await);
        profiles
    });
    drop(runtime);
    drop(profiles);
    assert_eq!(panics.load(Ordering::Relaxed), 0);
}

async fn call_for_ever(profiles: Arc<MongoProfiles>, done: Arc<Semaphore>) {
    let asked = [user("ann")];
    loop {
        if profiles.load(&asked).await.is_err() {
            // What the hub does: it asks again, whatever the answer was.
            tokio::task::yield_now().await;
        }
        done.add_permits(1);
    }
}

fn runtime() -> Runtime {
    let mut runtime = Builder::new_multi_thread();
    runtime.worker_threads(4).thread_name(THREADS).enable_all();
    runtime.build().unwrap()
}

/// Counts the panics of our own runtimes from now on.
fn count_panics() -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, before) = (count.clone(), panic::take_hook());
    panic::set_hook(Box::new(move |info| {
        if std::thread::current().name() == Some(THREADS) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        before(info);
    }));
    count
}
