use std::net::SocketAddr;
use std::time::{Duration, Instant};

use presence_testkit::process::State;
use presence_testkit::proxy::{Mode, Proxy};
use presence_testkit::pulse::Pulse;
use presence_testkit::redis::{Connection, Redis, Reply, Role, Settings, Topology, ask, ask_text};
use tempfile::TempDir;

#[test]
fn a_single_server_counts_commands_and_forgets() {
    let (_folder, mut redis) = start(Topology::Single);
    let port = redis.nodes()[0].port;
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{port}"));
    for value in ["1", "2", "3"] {
        ask(port, &["SET", "room:42", value]).unwrap();
    }
    assert_eq!(redis.command_stats().unwrap()["set"], 3);
    assert_eq!(redis.keys().unwrap(), 1);
    assert!(redis.memory_bytes().unwrap() > 100_000);
    assert_eq!(redis.master_of("room:42").unwrap(), 0);
    ask(port, &["SET", "presence:{7}:user:ann", "1"]).unwrap();
    let memory = redis.memory_of_keys().unwrap();
    assert!(memory["user"] > 10 && memory["room"] > 10, "{memory:?}");
    redis.flush_all().unwrap();
    assert_eq!(redis.keys().unwrap(), 0);
}

#[test]
fn a_cluster_survives_the_death_of_a_master() {
    let (_folder, mut redis) = start(Topology::Cluster);
    assert_eq!(redis.masters().len(), 3);
    let key = "presence:channel:{room:42}";
    assert_eq!(redis.slot(key).unwrap(), redis.slot("room:42").unwrap());
    let master = redis.master_of(key).unwrap();
    let mut to_master = Connection::open(redis.nodes()[master].port).unwrap();
    to_master.ask(&["SET", key, "1"]).unwrap();
    // What the replica has not heard of is lost with its master.
    let replicas = to_master.ask(&["WAIT", "1", "10000"]).unwrap();
    assert_eq!(replicas, Reply::Number(1));

    assert_eq!(
        redis.master_of("room:42}").unwrap(),
        master,
        "found by its end"
    );
    let slot = redis.slot(key).unwrap();
    redis.nodes_mut()[master].process.kill().unwrap();
    let new = redis.wait_for_another(master, slot).unwrap();
    assert_eq!(
        ask_text(redis.nodes()[new].port, &["GET", key]).unwrap(),
        "1"
    );
    assert_eq!(redis.roles()[master], Role::Away);

    let old = &mut redis.nodes_mut()[master];
    old.process.start_again().unwrap();
    old.wait_until_it_answers().unwrap();
    redis.wait_ready().unwrap();

    // On a busy machine the old one may have taken over again by itself.
    let now = redis.master_of(key).unwrap();
    assert!([master, new].contains(&now), "{now}");
    let other = master + new - now;
    assert_eq!(redis.roles()[other], Role::Replica(Some(now)));
    assert_eq!(redis.fail_over(now).unwrap(), other);
    redis.wait_ready().unwrap();
    let now = redis.master_of(key).unwrap();
    assert_eq!(
        ask_text(redis.nodes()[now].port, &["GET", key]).unwrap(),
        "1"
    );
}

#[test]
fn sentinels_replace_a_master() {
    let (_folder, mut redis) = start(Topology::Sentinel);
    assert!(
        redis.url().starts_with("redis-sentinel://127.0.0.1:"),
        "{}",
        redis.url()
    );
    assert_eq!(redis.master_of("any").unwrap(), 0);
    redis.nodes_mut()[0].process.kill().unwrap();
    let new = redis.wait_for_another(0, 0).unwrap();
    assert_ne!(new, 0);
    redis.nodes_mut()[0].process.start_again().unwrap();
    redis.wait_ready().unwrap();

    // On a busy machine they may have replaced the new one as well.
    let now = redis.masters()[0];
    let roles = redis.roles();
    for other in (0..3).filter(|node| *node != now) {
        assert_eq!(roles[other], Role::Replica(Some(now)), "{roles:?}");
    }
    let next = redis.fail_over(now).unwrap();
    assert_ne!(next, now);
    redis.wait_ready().unwrap();
}

#[test]
fn a_paused_server_is_not_waited_for() {
    let (_folder, mut redis) = start(Topology::Single);
    let port = redis.nodes()[0].port;
    redis.nodes_mut()[0].process.pause().unwrap();
    let pulse = Pulse::start();
    let start = Instant::now();
    assert!(ask(port, &["PING"]).is_err());
    assert!(start.elapsed() < Duration::from_secs(5) + pulse.slack());
    assert_eq!(redis.roles(), [Role::Away]);
    redis.nodes_mut()[0].process.resume().unwrap();
    assert_eq!(ask_text(port, &["PING"]).unwrap(), "PONG");
}

#[test]
fn a_cluster_behind_proxies_sends_everybody_through_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut proxies = Vec::new();
    let mut redis = Redis::start_behind(folder.path(), &Settings::of(Topology::Cluster), |port| {
        let proxy = Proxy::start(SocketAddr::from(([127, 0, 0, 1], port)))?;
        let announced = proxy.port();
        proxies.push(proxy);
        Ok(announced)
    })
    .unwrap();
    let master = redis.master_of("room:42").unwrap();
    let announced = redis.nodes()[master].announced;
    let other = redis
        .masters()
        .into_iter()
        .find(|node| *node != master)
        .unwrap();
    let moved = ask(redis.nodes()[other].port, &["GET", "room:42"]).unwrap_err();
    assert!(
        format!("{moved:#}").ends_with(&format!("127.0.0.1:{announced}")),
        "{moved:#}"
    );

    let mut client = Connection::open(announced).unwrap();
    client.ask(&["SET", "room:42", "1"]).unwrap();
    proxies[master]
        .set_for(std::process::id(), Mode::BlackHole)
        .unwrap();
    assert!(client.ask(&["GET", "room:42"]).is_err());
    // The others do not notice: replicas go through the same proxy.
    redis.wait_ready().unwrap();
    assert_eq!(redis.nodes_mut()[master].process.state(), State::Running);
}

fn start(topology: Topology) -> (TempDir, Redis) {
    let folder = tempfile::tempdir().expect("a folder");
    let redis = Redis::start(folder.path(), &Settings::of(topology)).expect("Redis");
    (folder, redis)
}
