//! Gateways of our own, for one run.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use presence_testkit::cluster::{self, Cluster};
use presence_testkit::folder::Folder;
use presence_testkit::gateway::{Gateway, Settings};
use presence_testkit::redis::Topology;

use crate::args::{Args, ClusterMember};
use crate::report::Report;

/// The application whose pages some of its clients are.
const PUSHER: [(&str, &str); 3] = [
    ("PRESENCE_PUSHER_APP_ID", "load"),
    ("PRESENCE_PUSHER_KEY", "load-key"),
    ("PRESENCE_PUSHER_SECRET", "a-secret-that-everybody-knows"),
];

/// Starts the program `gateway` on a free port, runs `measure` against it, and stops it.
///
/// # Errors
///
/// The gateway did not start or did not stop well, or the run failed. Nothing is left running.
pub(crate) fn with_gateway(
    args: &Args,
    gateway: &Path,
    measure: impl FnOnce(&Args) -> Result<Vec<Report>>,
) -> Result<Vec<Report>> {
    let folder = folder(args)?;
    let mut settings = Settings::alone(std::path::absolute(gateway)?);
    let app = PUSHER.map(|(name, value)| (name.to_owned(), value.to_owned()));
    settings.env.extend(app);
    let gateway = Gateway::start(folder.path(), &settings)?;
    println!("the gateway listens on {}", gateway.address());
    let [_, (_, key), (_, secret)] = PUSHER;
    let app = format!("{key}:{secret}").parse();
    let mut args = args.clone();
    args.url = format!("ws://{}/ws", gateway.address());
    args.pusher = Some(app.map_err(|why| anyhow!("{why}"))?);
    match measure(&args) {
        Ok(reports) if reports.iter().all(Report::is_good) => gateway.stop().map(|()| reports),
        failed => {
            eprint!("{}", gateway.process.log_end());
            failed
        }
    }
}

/// The same for `args.gateways` gateways on free ports that share one Redis, which is started too.
///
/// # Errors
///
/// Something did not start or did not stop well, or the run failed. Nothing is left running.
pub(crate) fn with_cluster(
    args: &Args,
    gateway: &Path,
    measure: impl FnOnce(&Args) -> Result<Vec<Report>>,
) -> Result<Vec<Report>> {
    let folder = folder(args)?;
    let settings = cluster::Settings {
        binary: std::path::absolute(gateway)?,
        gateways: args.gateways,
        redis: Some(Topology::Single),
        node_timeout: Duration::from_secs(1),
        mongo: false,
        port_base: None,
        env: Vec::new(),
    };
    let cluster = Cluster::start(folder.path(), &settings)?;
    let member = |gateway: &Gateway| {
        let pid = gateway.process.id().context("a gateway has ended")?;
        let address = gateway.address();
        anyhow::Ok(ClusterMember { address, pid })
    };
    let members: Result<Vec<_>> = cluster.gateways.iter().map(member).collect();
    let redis = cluster.redis.iter().flat_map(|it| it.nodes());
    let mut args = args.clone();
    args.cluster = members?;
    args.redis = redis.filter_map(|it| it.process.id()).next();
    match measure(&args) {
        Ok(reports) if reports.iter().all(Report::is_good) => cluster.stop().map(|()| reports),
        failed => {
            for gateway in &cluster.gateways {
                eprint!("{}", gateway.process.log_end());
            }
            failed
        }
    }
}

/// The folder for data and logs of this run.
fn folder(args: &Args) -> Result<Folder> {
    let name = format!("load-{}", std::process::id());
    let parent = args.folder.clone().unwrap_or_else(std::env::temp_dir);
    Folder::empty(std::path::absolute(parent.join(name))?)
}
