//! The map of which server has which partition, and how changes of it are found.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fred::error::{Error, ErrorKind};
use fred::types::Value;
use futures_util::future::join_all;
use presence_core::cluster::PARTITIONS;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::client::Connection;
use crate::fault::Fault;
use crate::node::{Node, Surroundings};
use crate::partitions::PartitionSet;
use crate::report::{self, Report, Sentinels};
use crate::settings::{Address, Servers};

/// The shortest time between two surveys.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest time between two surveys of a cluster.
const CLUSTER_PAUSE_MAX: Duration = Duration::from_secs(10);
/// The longest time between two questions to Sentinel. For some ten seconds after a fail-over the old master goes on as
/// if nothing had happened, and what is written to it then is lost.
const SENTINELS_PAUSE_MAX: Duration = Duration::from_secs(1);
/// How long a server may take to answer a question about the cluster.
const ANSWER: Duration = Duration::from_millis(300);
/// How long to wait for the connection to a server that was not known before.
const CONNECT: Duration = Duration::from_millis(300);
/// How long to wait for the connection to a server when the node starts.
const CONNECT_FIRST: Duration = Duration::from_secs(2);
/// How long a call waits for a survey.
const SURVEYED: Duration = Duration::from_millis(400);

/// What a command is about, and so which server it goes to: a partition, or the leases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Partition(u16),
    Nodes,
}

/// The map of which server has which partition.
#[derive(Default)]
pub(crate) struct Map {
    nodes: Vec<Arc<Node>>,
    /// For each partition, and then for the leases: the index of the server that has it.
    owners: Vec<Option<usize>>,
}

/// The map, which a task keeps up to date.
pub(crate) struct Topology {
    map: Arc<RwLock<Arc<Map>>>,
    survey_signal: Arc<SurveySignal>,
    surveyor: Option<JoinHandle<()>>,
}

/// How a survey is requested, and its end waited for.
pub(crate) struct SurveySignal {
    asked: Notify,
    done: watch::Sender<u64>,
    /// Whether servers may change at all: a single server does not.
    is_needed: bool,
}

impl SurveySignal {
    pub(crate) fn new(is_needed: bool) -> Self {
        SurveySignal {
            asked: Notify::new(),
            done: watch::Sender::new(0),
            is_needed,
        }
    }

    /// Asks for a survey, without waiting for it.
    pub(crate) fn request(&self) {
        self.asked.notify_one();
    }

    /// Asks for a survey and waits for it, if servers may change, for [`SURVEYED`] at most.
    pub(crate) async fn surveyed(&self) {
        if self.is_needed {
            let mut done = self.done.subscribe();
            self.request();
            let _ = timeout(SURVEYED, done.changed()).await;
        }
    }
}

impl Map {
    /// The server that has `place`.
    pub(crate) fn owner(&self, place: Target) -> Result<&Arc<Node>, Fault> {
        let index = match place {
            Target::Partition(partition) => usize::from(partition),
            Target::Nodes => usize::from(PARTITIONS),
        };
        let owner = self.owners.get(index).copied().flatten();
        owner.map(|it| &self.nodes[it]).ok_or(Fault::Unowned)
    }

    /// The answer of the first server that answers.
    pub(crate) async fn any_of(&self, name: &'static str) -> Result<Value, Fault> {
        let mut outcome = Err(Fault::Unowned);
        for node in &self.nodes {
            outcome = node.call(0, name, vec![]).await;
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn of_one(node: Node) -> Self {
        node.set_owned(PartitionSet::all());
        Map {
            nodes: vec![Arc::new(node)],
            owners: vec![Some(0); usize::from(PARTITIONS) + 1],
        }
    }
}

impl Topology {
    /// Finds the servers and connects to them.
    pub(crate) async fn open(around: &Surroundings) -> Result<Self, Error> {
        let survey_signal = Arc::clone(&around.survey_signal);
        let source = match &around.settings.servers {
            Servers::One(address) => {
                let node = Node::open(address, around)?;
                node.up(CONNECT_FIRST).await?;
                return Ok(Topology {
                    map: Arc::new(RwLock::new(Arc::new(Map::of_one(node)))),
                    survey_signal,
                    surveyor: None,
                });
            }
            Servers::Cluster(seeds) => Source::Cluster(seeds.clone()),
            Servers::Sentinel { .. } => Source::Sentinels(Sentinels::open(&around.settings)?),
        };
        let surveyor = Surveyor {
            around: around.clone(),
            source,
            map: Arc::default(),
        };
        surveyor.survey().await?;
        let map = Arc::clone(&surveyor.map);
        let nodes = &surveyor.map().nodes;
        let up = join_all(nodes.iter().map(|node| node.up(CONNECT_FIRST))).await;
        // One that is away is no reason to stay away from the others.
        if !nodes.iter().any(|node| node.is_up()) {
            up.into_iter().collect::<Result<(), Error>>()?;
        }
        Ok(Topology {
            map,
            survey_signal,
            surveyor: Some(tokio::spawn(surveyor.keep())),
        })
    }

    /// The map as it is now.
    pub(crate) fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for a survey, without waiting for it.
    pub(crate) fn request_survey(&self) {
        self.survey_signal.request();
    }

    /// Asks for a survey and waits for it, for [`SURVEYED`] at most.
    pub(crate) async fn surveyed(&self) {
        self.survey_signal.surveyed().await;
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        if let Some(surveyor) = &self.surveyor {
            surveyor.abort();
        }
    }
}

struct Surveyor {
    around: Surroundings,
    source: Source,
    map: Arc<RwLock<Arc<Map>>>,
}

/// The servers that the surveyor asks for the map.
enum Source {
    /// The servers themselves. These are asked if none of the known servers answers.
    Cluster(Vec<Address>),
    Sentinels(Sentinels),
}

impl Surveyor {
    async fn keep(self) {
        let pause_max = match self.source {
            Source::Cluster(_) => CLUSTER_PAUSE_MAX,
            Source::Sentinels(_) => SENTINELS_PAUSE_MAX,
        };
        let mut was_told = true;
        loop {
            let survey_signal = &self.around.survey_signal;
            let _ = timeout(pause_max, survey_signal.asked.notified()).await;
            let told = self.survey().await;
            if let (Err(error), true) = (&told, was_told) {
                tracing::warn!(%error, "cannot find out which server has which partition of the store");
            }
            was_told = told.is_ok();
            survey_signal.done.send_modify(|count| *count += 1);
            sleep(PAUSE).await;
        }
    }

    async fn survey(&self) -> Result<(), Error> {
        let report = match &self.source {
            Source::Sentinels(sentinels) => sentinels.report().await?,
            Source::Cluster(seeds) => match self.ask_known().await {
                Some(report) => report,
                None => self.ask_seeds(seeds).await?,
            },
        };
        self.apply(&report).await
    }

    async fn ask_known(&self) -> Option<Report> {
        let nodes = &self.map().nodes;
        let reports = nodes.iter().filter(|node| node.is_up()).map(|node| {
            let call = |name, args| node.call(0, name, args);
            timeout(ANSWER, report::of_cluster(node.address(), call))
        });
        let reports = join_all(reports).await.into_iter().flatten().flatten();
        reports.max_by_key(Report::rank)
    }

    /// The report of the first seed that answers.
    async fn ask_seeds(&self, seeds: &[Address]) -> Result<Report, Error> {
        let mut failure = None;
        for seed in seeds {
            match self.ask_seed(seed).await {
                Ok(report) => return Ok(report),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.expect("there is a seed"))
    }

    async fn ask_seed(&self, seed: &Address) -> Result<Report, Error> {
        let connection = Connection::open(&self.around.settings, seed, false)?;
        connection.up(CONNECT_FIRST).await?;
        let connection = &connection;
        let call = |name, args| async move { Ok(connection.call(name, args).await?) };
        let report = report::of_cluster(seed, call).await;
        report.map_err(|fault| match fault {
            Fault::Away(error) | Fault::Refused(error) => error,
            other => Error::new(ErrorKind::Cluster, other.to_string()),
        })
    }

    async fn apply(&self, report: &Report) -> Result<(), Error> {
        let before = self.map();
        let mut nodes: BTreeMap<&Address, Arc<Node>> = BTreeMap::new();
        let mut owners = Vec::with_capacity(usize::from(PARTITIONS) + 1);
        let mut fresh = Vec::new();
        let keys = &self.around.keys;
        let slots = (0..PARTITIONS)
            .map(|it| keys.slot(it))
            .chain([keys.slot_of_nodes()]);
        for slot in slots {
            let owner = report.owner(slot);
            owners.push(owner);
            let Some(address) = owner else { continue };
            if nodes.contains_key(address) {
                continue;
            }
            let known = before.nodes.iter().find(|node| node.address() == address);
            let node = match known {
                Some(node) => Arc::clone(node),
                None => {
                    let node = Arc::new(Node::open(address, &self.around)?);
                    fresh.push(Arc::clone(&node));
                    node
                }
            };
            nodes.insert(address, node);
        }
        join_all(fresh.iter().map(|node| node.up(CONNECT))).await;

        let index = |address: &Address| nodes.keys().position(|it| *it == address);
        let map = Map {
            owners: owners.iter().map(|it| it.and_then(index)).collect(),
            nodes: nodes.values().cloned().collect(),
        };
        self.publish(&before, map);
        Ok(())
    }

    fn publish(&self, before: &Map, map: Map) {
        let map = Arc::new(map);
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&map);
        for (index, node) in map.nodes.iter().enumerate() {
            let is_owned = |partition: &u16| map.owners[usize::from(*partition)] == Some(index);
            node.set_owned((0..PARTITIONS).filter(is_owned).collect());
        }
        let gone = |node: &&Arc<Node>| !map.nodes.iter().any(|it| Arc::ptr_eq(it, node));
        for node in before.nodes.iter().filter(gone) {
            // It may live for another moment, with what is under way.
            node.set_owned(PartitionSet::default());
            tracing::info!(server = %node.address(), "a server has no partition of the store any longer");
        }
    }

    fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }
}
