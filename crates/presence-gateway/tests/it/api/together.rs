//! What an operator sees of the other gateways: one that hangs, one that nobody asked, one that stops.

use std::time::Duration;

use presence_client::{Client, Options};
use presence_testkit::redis::{Redis, Settings, Topology};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::support::{Caller, Reply, token};
use crate::gateway::{Running, SECRET, config, now, options, soon, start_with};
use crate::program::{Program, ProgramFolder};
use crate::raw::get;

const OVERVIEW: &str = "/admin/api/overview";
/// A page asks this often.
const PAGE_ASKS_EVERY: Duration = Duration::from_millis(1_500);

/// A gateway in this process, `eu-1`, which is asked, and a Redis that it shares with others.
pub(super) struct Cluster {
    pub(super) one: Running,
    settings: Vec<(&'static str, String)>,
    // Last, so that Redis outlives the gateway.
    _redis: Redis,
    _folder: TempDir,
}

impl Cluster {
    pub(super) async fn start() -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let redis = Redis::start(folder.path(), &Settings::of(Topology::Single)).unwrap();
        let settings = vec![
            ("PRESENCE_JWT_SECRET", SECRET.to_owned()),
            ("REDIS_URL", redis.url()),
            ("PRESENCE_RATE_QUERY", "1000/s burst 1000".to_owned()),
            // Stopped gateways are declared dead soon.
            ("PRESENCE_GRACE", "1s".to_owned()),
            ("PRESENCE_DRAIN", "2s".to_owned()),
            ("PRESENCE_LOG_FORMAT", "json".to_owned()),
        ];
        let one = start_one(&settings, "eu-1").await;
        Cluster {
            one,
            settings,
            _redis: redis,
            _folder: folder,
        }
    }

    /// Starts the program under this name, and waits until `eu-1` knows it.
    pub(super) async fn another(&self, name: &str) -> (Program, ProgramFolder) {
        let place = ProgramFolder::new();
        let mut settings: Vec<(&str, &str)> = Vec::new();
        settings.extend(self.settings.iter().map(|(name, value)| (*name, &**value)));
        settings.push(("NODE_NAME", name));
        let program = place.start(&settings);
        let known = async {
            while self.node(name).await["version"].is_null() {
                sleep(Duration::from_millis(50)).await;
            }
        };
        soon(format!("{name} is known"), known).await;
        (program, place)
    }

    fn operator(&self) -> Caller<'_> {
        Caller::with(&self.one, "root", &["admin"], &[])
    }

    async fn overview(&self) -> Value {
        self.operator().get(OVERVIEW).await.ok()
    }

    /// What the overview has of that gateway; `null` if it is not listed.
    pub(super) async fn node(&self, name: &str) -> Value {
        node_in(&self.overview().await, name)
    }

    async fn drain(&self, id: &str) -> Reply {
        let path = format!("/admin/api/nodes/{id}/drain");
        self.operator().post(&path, json!({})).await
    }

    /// Somebody with a socket on that program.
    async fn client(&self, program: &Program, user: &str) -> Client {
        let options = Options {
            user_id: None,
            token: Some(token(&self.one, user, &[], &[])),
            ..options(program.address, user)
        };
        soon("a connection", Client::connect(&options))
            .await
            .unwrap()
    }
}

async fn start_one(settings: &[(&'static str, String)], name: &str) -> Running {
    let mut all: Vec<(&str, &str)> = Vec::new();
    all.extend(settings.iter().map(|(name, value)| (*name, &**value)));
    all.push(("NODE_NAME", name));
    start_with(config(&all)).await
}

fn node_in(overview: &Value, name: &str) -> Value {
    let nodes = overview["nodes"].as_array().unwrap();
    let found = nodes.iter().find(|it| it["name"] == name);
    found.cloned().unwrap_or(Value::Null)
}

/// The gateways that do not answer, or are dead.
fn unwell(overview: &Value) -> Vec<Value> {
    let degraded = overview["degraded"].as_array().unwrap().iter();
    let unwell = degraded.filter(|it| it["what"] == "gateway");
    unwell.cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_answers_late_is_drained_and_that_is_said() {
    let cluster = Cluster::start().await;
    let (mut two, _place) = cluster.another("eu-2").await;
    let id = cluster.node("eu-2").await["id"].clone();
    two.pauses().await;
    let (reply, ()) = tokio::join!(cluster.drain(id.as_str().unwrap()), async {
        sleep(Duration::from_millis(900)).await;
        two.signal("CONT");
    });
    assert_eq!(reply.ok(), json!({ "draining": true, "confirmed": true }));
    assert!(two.ends().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_hangs_is_asked_to_drain_and_does_when_it_goes_on() {
    let cluster = Cluster::start().await;
    let (mut two, _place) = cluster.another("eu-2").await;
    let id = cluster.node("eu-2").await["id"].clone();
    two.pauses().await;
    let began = Instant::now();
    let reply = cluster.drain(id.as_str().unwrap()).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    assert_eq!(
        reply.json(),
        json!({ "draining": false, "confirmed": false })
    );
    assert!(began.elapsed() < Duration::from_secs(5));
    two.signal("CONT");
    assert!(two.ends().await.success());
    let log = two.log();
    let asked = log.lines().find(|it| it.contains("drain_asked")).unwrap();
    let asked: Value = serde_json::from_str(asked).unwrap();
    assert_eq!(asked["by"], "root", "{asked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_not_asked_for_long_is_late_since_it_left_a_question_unanswered() {
    let cluster = Cluster::start().await;
    let (two, _place) = cluster.another("eu-2").await;
    // Nobody has the page open.
    sleep(Duration::from_secs(4)).await;
    two.pauses().await;
    let first_asked = now().as_millis();
    let overview = cluster.overview().await;
    let node = node_in(&overview, "eu-2");
    let seen = [&node["state"], &node["silent"], &node["levels"]];
    assert_eq!(seen, [&json!("alive"), &json!(true), &Value::Null]);
    assert_eq!(unwell(&overview), [] as [Value; 0]);
    assert_eq!(node_in(&overview, "eu-1")["silent"], false);

    sleep(PAGE_ASKS_EVERY).await;
    let overview = cluster.overview().await;
    assert_eq!(node_in(&overview, "eu-2")["state"], "late");
    let [late] = &unwell(&overview)[..] else {
        panic!("{overview}");
    };
    let since = late["since_ms"].as_u64().unwrap();
    assert!(
        (first_asked..first_asked + 1_000).contains(&since),
        "{late}"
    );

    two.signal("CONT");
    let well = async {
        while cluster.node("eu-2").await["silent"] != false {
            sleep(Duration::from_millis(50)).await;
        }
    };
    soon("it answers again", well).await;
    assert_eq!(cluster.node("eu-2").await["state"], "alive");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_in_time_is_never_late_or_dead() {
    let cluster = Cluster::start().await;
    let (mut two, _place) = cluster.another("eu-2").await;
    // One that does not go is cut off at the end of the drain time.
    let _ann = cluster.client(&two, "ann").await;
    let who = cluster.node("eu-2").await["id"].clone();
    two.signal("TERM");
    let mut seen: Vec<String> = Vec::new();
    let mut look = async || {
        let overview = cluster.overview().await;
        assert_eq!(unwell(&overview), [] as [Value; 0], "{overview}");
        let node = node_in(&overview, "eu-2");
        let state = node["state"].as_str().unwrap_or("gone").to_owned();
        if seen.last() != Some(&state) {
            seen.push(state);
        }
        sleep(Duration::from_millis(100)).await;
        node["id"] == who && node["state"] == "stopped"
    };
    let stopped = async { while !look().await {} };
    soon("it is shown as stopped", stopped).await;
    assert!(two.ends().await.success());
    let what_happens = cluster.operator().get("/admin/api/transitions").await.ok();
    assert_eq!(what_happens["silent"], json!([]));
    // Its lease ends, and the others clean up after it.
    let leases = async {
        loop {
            look().await;
            let nodes = cluster.operator().get("/api/presence/nodes").await.ok();
            let state = &node_in(&nodes, "eu-2")["state"];
            assert!(state == "alive" || state == "stopped", "{nodes}");
            if state == "stopped" {
                return;
            }
        }
    };
    timeout(Duration::from_secs(40), leases).await.unwrap();
    look().await;
    let path = "/api/presence/users/ann/explain";
    let explained = async {
        loop {
            let explained = cluster.operator().get(path).await.ok();
            let gateways = explained["gateways"].as_array().unwrap().iter();
            let states = gateways.map(|it| format!("{} {}", it["gateway"], it["state"]));
            let states: Vec<String> = states.collect();
            if states == [r#""eu-1" "here""#, r#""eu-2" "stopped""#] {
                return;
            }
            assert!(
                !states.contains(&r#""eu-2" "dead""#.to_owned()),
                "{states:?}"
            );
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(40), explained).await.unwrap();
    seen.retain(|it| it != "alive");
    assert_eq!(seen, ["draining", "stopped"]);
    // An alert is for those that are lost.
    let metrics = get(cluster.one.address(), "/metrics").await;
    assert!(
        metrics.contains("presence_nodes_lost_total 0\n"),
        "{metrics}"
    );

    // One that starts now was not there when it said goodbye.
    let three = start_one(&cluster.settings, "eu-3").await;
    let operator = Caller::with(&three, "root", &["admin"], &[]);
    let overview = operator.get(OVERVIEW).await.ok();
    assert_eq!(node_in(&overview, "eu-2")["state"], "stopped");
    assert_eq!(unwell(&overview), [] as [Value; 0], "{overview}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_counts_as_lost_those_only_that_died_while_it_was_there() {
    let cluster = Cluster::start().await;
    let (two, _place) = cluster.another("eu-2").await;
    two.kill();
    let lost = async |gateway: &Running| {
        let metrics = get(gateway.address(), "/metrics").await;
        let mut lines = metrics.lines();
        let line = lines.find_map(|it| it.strip_prefix("presence_nodes_lost_total "));
        line.unwrap().to_owned()
    };
    let died = async {
        while lost(&cluster.one).await != "1" {
            sleep(Duration::from_millis(200)).await;
        }
    };
    timeout(Duration::from_secs(40), died).await.unwrap();
    let three = start_one(&cluster.settings, "eu-3").await;
    let operator = Caller::with(&three, "root", &["admin"], &[]);
    let lease = async || {
        let nodes = operator.get("/api/presence/nodes").await.ok();
        assert_eq!(node_in(&nodes, "eu-2")["state"], "dead", "{nodes}");
        node_in(&nodes, "eu-3")["lease_until"].clone()
    };
    // What it found at its start is dealt with when it has renewed its lease.
    let first = lease().await;
    let renewed = async {
        while lease().await == first {
            sleep(Duration::from_millis(100)).await;
        }
    };
    soon("its lease is renewed", renewed).await;
    assert_eq!(lost(&three).await, "0");
}
