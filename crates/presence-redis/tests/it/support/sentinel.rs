//! A master, a replica, and three sentinels that watch over them.

use super::server::{Server, free_port, wait};
use super::talk::Answer;

/// What the sentinels call the master.
const SERVICE: &str = "main";

/// Servers under sentinels, as long as this is.
pub(crate) struct Sentinels {
    pub(crate) master: Server,
    _replica: Server,
    sentinels: Vec<Server>,
    password: String,
}

impl Sentinels {
    /// The servers want `password`, the sentinels want none.
    pub(crate) fn start(password: &str) -> Self {
        let common = ["--requirepass", password, "--masterauth", password];
        let master = Server::start(&common);
        let port = master.port.to_string();
        let of_master = [
            "--replicaof",
            "127.0.0.1",
            &port,
            "--repl-diskless-sync-delay",
            "0",
        ];
        let replica = Server::start(&[&common[..], &of_master].concat());
        let sentinels = (0..3).map(|_| sentinel(&port, password)).collect();
        let it = Sentinels {
            master,
            _replica: replica,
            sentinels,
            password: password.to_owned(),
        };
        it.wait_ready();
        it
    }

    fn wait_ready(&self) {
        for sentinel in &self.sentinels {
            wait("the sentinels know the servers and each other", || {
                let info = sentinel.say(&["INFO", "sentinel"]);
                info.text().contains("slaves=1,sentinels=3").then_some(())
            });
        }
    }

    pub(crate) fn url(&self) -> String {
        let ports: Vec<u16> = self.sentinels.iter().map(|it| it.port).collect();
        format!(
            "redis-sentinel://:{}@127.0.0.1:{}?node=127.0.0.1:{}&node=127.0.0.1:{}&sentinelServiceName={SERVICE}",
            self.password, ports[0], ports[1], ports[2]
        )
    }

    /// Has the replica take over from a master that is well.
    pub(crate) fn fail_over(&self) {
        wait("a fail-over may begin", || {
            let done = self.sentinels[0].say(&["SENTINEL", "FAILOVER", SERVICE]);
            (done == Answer::Text("OK".into())).then_some(())
        });
    }
}

fn sentinel(port_of_master: &str, password: &str) -> Server {
    let port = free_port();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sentinel.conf");
    let config = format!(
        "port {port}\nbind 127.0.0.1\ndir {}\n\
         sentinel monitor {SERVICE} 127.0.0.1 {port_of_master} 2\n\
         sentinel auth-pass {SERVICE} {password}\n\
         sentinel down-after-milliseconds {SERVICE} 1000\n\
         sentinel failover-timeout {SERVICE} 5000\n",
        directory.path().display()
    );
    std::fs::write(&path, config).unwrap();
    let args = vec![path.to_str().unwrap().to_owned()];
    let server = Server::spawn("redis-sentinel", port, args, directory);
    server.wait_ready();
    server
}
