//! Six servers that are one cluster: three masters with a replica each.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::server::{Server, free_port, wait};
use super::talk::Answer;

/// How many slots there are.
const SLOTS: u16 = 16384;
/// After how long, in milliseconds, a server that is silent counts as gone, where that is tested. It takes about twice that
/// until another one does its work.
const NODE_TIMEOUT: &str = "1000";
/// The same where it is not, so that nobody counts as gone because the machine is busy.
const LONG_NODE_TIMEOUT: &str = "20000";

/// A cluster that is there as long as this is.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    /// One that is about to be broken.
    pub(crate) fn start() -> Self {
        Self::start_with(NODE_TIMEOUT)
    }

    /// One that is not.
    pub(crate) fn start_sound() -> Self {
        Self::start_with(LONG_NODE_TIMEOUT)
    }

    fn start_with(node_timeout: &str) -> Self {
        let servers: Vec<Server> = (0..6).map(|_| spawn(node_timeout)).collect();
        servers.iter().for_each(Server::wait_ready);
        // Before any of them knows another: then it is too late.
        for (n, server) in servers.iter().enumerate() {
            server.says_ok(&["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()]);
        }
        for server in &servers {
            let port = servers[0].port.to_string();
            server.says_ok(&["CLUSTER", "MEET", "127.0.0.1", &port]);
        }
        for (n, master) in servers[..3].iter().enumerate() {
            let [from, to] = [n, n + 1].map(|it| SLOTS as usize * it / 3);
            let range = [from, to - 1].map(|it| it.to_string());
            master.says_ok(&["CLUSTER", "ADDSLOTSRANGE", &range[0], &range[1]]);
        }
        let cluster = Cluster { servers };
        for (master, replica) in cluster.servers[..3].iter().zip(&cluster.servers[3..]) {
            let id = master.say(&["CLUSTER", "MYID"]);
            wait("a replica knows its master", || {
                let done = replica.say(&["CLUSTER", "REPLICATE", id.text()]);
                matches!(done, Answer::Text(_)).then_some(())
            });
        }
        cluster.wait_ready();
        cluster
    }

    /// Waits until all servers agree that all is well.
    pub(crate) fn wait_ready(&self) {
        let all = |what, holds: &dyn Fn(&Server) -> bool| {
            wait(what, || self.servers.iter().all(holds).then_some(()));
        };
        all("the cluster is well", &|server| {
            let info = server.say(&["CLUSTER", "INFO"]);
            let has = |line| info.text().contains(line);
            has("cluster_state:ok") && has("cluster_slots_ok:16384") && has("cluster_known_nodes:6")
        });
        all("replicas have what their masters have", &|server| {
            let info = server.say(&["INFO", "replication"]);
            info.text().contains("role:master") || info.text().contains("master_link_status:up")
        });
        all(
            "everyone sees three masters and three replicas",
            &|server| {
                let nodes = server.say(&["CLUSTER", "NODES"]);
                let count = |role| nodes.text().lines().filter(|it| it.contains(role)).count();
                count("master") == 3 && count("slave") == 3 && count("fail") == 0
            },
        );
    }

    /// Knows the first two; which of the six that are says nothing.
    pub(crate) fn url(&self) -> String {
        let [a, b] = [&self.servers[0], &self.servers[1]].map(|it| it.port);
        format!("redis-cluster://127.0.0.1:{a}?node=127.0.0.1:{b}")
    }

    /// A replica of the server `master`, as `asked` sees it.
    pub(crate) fn replica_of(&self, asked: usize, master: usize) -> usize {
        let id = self.servers[master].say(&["CLUSTER", "MYID"]);
        let replicas = self.servers[asked].say(&["CLUSTER", "REPLICAS", id.text()]);
        let port = |it: &Answer| {
            let address = it.text().split(' ').nth(1).unwrap();
            address
                .split(['@', ':'])
                .nth(1)
                .unwrap()
                .parse::<u16>()
                .unwrap()
        };
        let port = port(&replicas.list()[0]);
        self.servers.iter().position(|it| it.port == port).unwrap()
    }

    /// Says something to every master.
    pub(crate) fn say_to_masters(&self, words: &[&str]) {
        for server in &self.servers {
            if server.say(&["ROLE"]).list()[0] == Answer::Text("master".into()) {
                server.says_ok(words);
            }
        }
    }
}

fn spawn(node_timeout: &str) -> Server {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("nodes-{}.conf", COUNT.fetch_add(1, Ordering::Relaxed));
    Server::spawn_on(
        free_port(),
        &[
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            &name,
            "--cluster-node-timeout",
            node_timeout,
            "--cluster-replica-validity-factor",
            "0",
            "--cluster-require-full-coverage",
            "no",
            "--cluster-allow-pubsubshard-when-down",
            "yes",
            "--repl-diskless-sync-delay",
            "0",
        ],
    )
}
