//! The state that all connections of a gateway share.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use presence_core::Timestamp;
use presence_core::ports::{Profiles, Topics};
use presence_embedded::{
    Left, ProfileFile, ProfileMemory, RevocationMemory, SessionFiles, SessionsError, WebhookStore,
};
use presence_hub::{Hub, Settings};
use presence_mongo::MongoProfiles;
use presence_redis::RedisTopics;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::admin::Lookout;
use crate::callers::Callers;
use crate::config::{Config, DataDir};
use crate::connection_list::ConnectionList;
use crate::identity::{Gate, ResumeKey};
use crate::journal::Journal;
use crate::jwks::Fetcher;
use crate::lost_subscriptions::LostSubscriptions;
use crate::metrics::{Board, Metrics};
use crate::revoking::Revoking;
use crate::webhooks;

/// The state that all connections of a gateway share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) hub: Hub,
    pub(crate) gate: Gate,
    /// The handle of the task that stores revocations.
    pub(crate) revoking: Revoking,
    pub(crate) resume: ResumeKey,
    pub(crate) metrics: Metrics,
    /// The registry of everything that can be scraped.
    pub(crate) board: Board,
    /// Logs what becomes of connections.
    pub(crate) journal: Journal,
    /// What is kept for operators.
    pub(crate) lookout: Lookout,
    /// When the gateway started.
    pub(crate) started_at: Timestamp,
    /// The list of connections.
    pub(crate) connection_list: ConnectionList,
    pub(crate) callers: Callers,
    /// The subscriptions of lost Action Cable connections.
    pub(crate) cables: LostSubscriptions,
    /// The store that gateways share, if there is one.
    pub(crate) shared: Option<Arc<RedisTopics>>,
    /// Which files have to be in the data folder.
    pub(crate) kept: DataFolder,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) connections: Connections,
    /// The store of profiles, if they are in MongoDB.
    mongo: Option<Arc<MongoProfiles>>,
    /// The background tasks of the gateway. They end with it.
    tasks: Mutex<JoinSet<()>>,
}

/// How often the gateway tries to read the list of revoked users at its start before it gives up.
const LOAD_TRIES: u32 = 10;
/// The pause between two of these attempts.
const LOAD_PAUSE: Duration = Duration::from_millis(200);

/// Whether the gateway is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The gateway accepts connections.
    Open,
    /// The gateway accepts no new connections, and closes the open ones spread over this time.
    Draining(Duration),
}

impl App {
    /// Opens the stores, starts the hub (alone, or as one node of those that share a Redis), and loads what it needs before
    /// it accepts clients: revocations and keys.
    ///
    /// # Errors
    ///
    /// Says what cannot be opened or read, and why.
    pub(crate) async fn start(mut config: Config) -> anyhow::Result<App> {
        if let Some(mongodb) = config.mongodb.take() {
            let mongodb = mongodb.looked_up().await;
            config.mongodb = Some(mongodb.context("cannot use mongodb.uri (MONGODB_URI)")?);
        }
        let (profiles, resume) = Stored::open(&config)?;
        let mongo = profiles.mongo();
        let started = App::open(config, profiles, resume).await;
        if let (Err(_), Some(mongo)) = (&started, mongo) {
            mongo.close().await;
        }
        started
    }

    async fn open(config: Config, profiles: Stored, resume: ResumeKey) -> anyhow::Result<App> {
        let app = match config.redis.clone() {
            Some(redis) => App::join(config, redis, profiles, resume).await?,
            None => {
                let (app, left) = App::begin(config, profiles, resume)?;
                app.restore(left).await;
                app
            }
        };
        app.read_revoked().await?;
        app.fetch_keys().await?;
        Ok(app)
    }

    async fn join(
        config: Config,
        redis: presence_redis::Settings,
        profiles: Stored,
        resume: ResumeKey,
    ) -> anyhow::Result<App> {
        let redis = match &config.webhook {
            Some(_) => redis.with_webhooks(),
            None => redis,
        };
        let store = RedisTopics::connect(redis.clone()).await;
        let store = Arc::new(store.with_context(|| {
            format!(
                "cannot start without the configured store: {} (start that Redis, or correct redis.url; without redis.url and redis.host this gateway runs alone)",
                redis.describe()
            )
        })?);
        // A client that loses one node resumes on another, so all nodes need the same key.
        let resume = ResumeKey::shared(store.secret(resume.secret()).await?);
        let (settings, name) = (settings(&config), &config.node_name);
        tracing::info!(
            store = redis.describe(),
            node = name,
            "this node shares its store with other nodes"
        );
        let (shared, webhooks) = (store.clone(), webhooks::endpoint(&config)?);
        let mongo = profiles.mongo();
        let revocations = RevokedIn::Redis(store.clone());
        let kept = DataFolder::of(&config, &profiles);
        let hub = match profiles {
            Stored::Memory(profiles) => Hub::join(settings, profiles, store, name).await,
            Stored::File(profiles) => Hub::join(settings, profiles, store, name).await,
            Stored::Mongo(profiles) => Hub::join(settings, profiles, store, name).await,
        };
        if let Some((webhooks, wanted)) = webhooks {
            hub.deliver_webhooks(shared.clone(), Arc::new(webhooks), wanted);
        }
        App::new(config, hub, mongo, resume, revocations, kept, Some(shared))
    }

    /// Opens the stores, and starts a hub that is alone. Also returns what the process before has left, which has to be
    /// restored before clients are accepted.
    ///
    /// # Errors
    ///
    /// Says what cannot be opened, and why.
    #[cfg(test)]
    pub(crate) fn alone(config: Config) -> anyhow::Result<App> {
        let (profiles, resume) = Stored::open(&config)?;
        Ok(App::begin(config, profiles, resume)?.0)
    }

    fn begin(config: Config, profiles: Stored, resume: ResumeKey) -> anyhow::Result<(App, Left)> {
        let revocations = profiles.revocations(&config)?;
        let (sessions, left) = sessions(&config)?;
        let settings = settings(&config);
        let webhooks = match webhooks::endpoint(&config)? {
            Some((webhooks, wanted)) => Some((webhooks::store(&config)?, webhooks, wanted)),
            None => None,
        };
        let mongo = profiles.mongo();
        let mut kept = DataFolder::of(&config, &profiles);
        let hub = match profiles {
            Stored::Memory(profiles) => alone(settings, profiles, sessions),
            Stored::File(profiles) => alone(settings, profiles, sessions),
            Stored::Mongo(profiles) => alone(settings, profiles, sessions),
        };
        if let Some((store, webhooks, wanted)) = webhooks {
            kept.webhooks = Some(store.clone());
            hub.deliver_local_webhooks(store, Arc::new(webhooks), wanted);
        }
        let app = App::new(config, hub, mongo, resume, revocations, kept, None)?;
        Ok((app, left))
    }

    /// Holds the sessions of the previous process until their clients come back.
    async fn restore(&self, left: Left) {
        if left.garbled > 0 {
            let journals = left.garbled;
            tracing::warn!(
                journals,
                "some of the sessions that the previous process kept cannot be read"
            );
        }
        if let Some(away) = left.away {
            let sessions = left.sessions.len();
            tracing::info!(
                sessions,
                ?away,
                "the sessions of the previous process are held for their clients"
            );
        }
        // Also if nothing is left: the hub then forgets what is older.
        let away = left.away.unwrap_or_default();
        self.hub.restore(left.sessions, away, left.ended_at).await;
    }

    fn new(
        config: Config,
        hub: Hub,
        mongo: Option<Arc<MongoProfiles>>,
        resume: ResumeKey,
        revocations: RevokedIn,
        kept: DataFolder,
        shared: Option<Arc<RedisTopics>>,
    ) -> anyhow::Result<App> {
        let gate = Gate::new(&config.jwt, hub.clock().now())?;
        let metrics = Metrics::default();
        let mut tasks = JoinSet::new();
        let revoking = revocations.keep(&gate, &hub, &mut tasks);
        Ok(App {
            board: metrics.board(&hub),
            journal: Journal::new(config.journal, resume.clone()),
            connection_list: ConnectionList::default(),
            lookout: Lookout::default(),
            started_at: hub.clock().now(),
            config,
            hub,
            gate,
            revoking,
            resume,
            metrics,
            callers: Callers::default(),
            cables: LostSubscriptions::default(),
            shared,
            kept,
            phase: watch::Sender::new(Phase::Open),
            connections: Connections::default(),
            mongo,
            tasks: Mutex::new(tasks),
        })
    }

    /// Stops the hub and closes the database of profiles, in that order. Afterwards nothing uses a driver any more, so that
    /// the runtime can end. Returns whether everything was saved before `patience` was over.
    pub(crate) async fn stop(&self, patience: Duration) -> bool {
        let is_kept = self.hub.stop(patience).await;
        if let Some(mongo) = &self.mongo {
            mongo.close().await;
        }
        is_kept
    }

    /// Reads the list of revoked users: a restart must not make an old token valid again.
    async fn read_revoked(&self) -> anyhow::Result<()> {
        let mut tries = 1;
        loop {
            match self.revoking.load().await {
                Ok(()) => return Ok(()),
                Err(error) if tries == LOAD_TRIES => {
                    return Err(error).context("cannot read the list of revoked users");
                }
                Err(_) => sleep(LOAD_PAUSE).await,
            }
            tries += 1;
        }
    }

    /// Starts to fetch the keys of tokens, if they are at a URL, and waits for the first attempt. If that fails, no client
    /// with a token can come in, and the gateway is not ready, until a later attempt succeeds.
    async fn fetch_keys(&self) -> anyhow::Result<()> {
        let (Some(source), Some(jwks)) = (&self.config.jwt.jwks_url, self.gate.fetched_keys())
        else {
            return Ok(());
        };
        let fetcher = Fetcher::new(source.clone(), jwks.clone(), self.hub.clock());
        let fetcher = fetcher.context(
            "there are no certificates of authorities to trust: install ca-certificates, or name them in SSL_CERT_FILE",
        )?;
        let mut has_tried = fetcher.has_tried();
        self.tasks().spawn(fetcher.run());
        let _ = has_tried.wait_for(|it| *it).await;
        if self.gate.is_waiting_for_keys() {
            tracing::error!(url = %source.url, "tokens are refused until their keys have been fetched");
        }
        Ok(())
    }

    /// Ends the background tasks of the gateway, and closes the files that they need.
    pub(crate) async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks());
        tasks.shutdown().await;
    }

    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.hub.clock().now()
    }

    /// How many records and messages of the stores could not be decoded so far, and were dropped.
    pub(crate) fn garbled(&self) -> u64 {
        let shared = self.shared.as_ref().map_or(0, |it| it.garbled());
        shared + self.hub.counters().garbled.load(Relaxed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Open
    }
}

/// Opens the files in which a single gateway keeps its sessions, and reads what the previous process has left.
fn sessions(config: &Config) -> anyhow::Result<(Option<Arc<SessionFiles>>, Left)> {
    let DataDir::Folder(folder) = &config.data_dir else {
        return Ok((None, Left::default()));
    };
    match SessionFiles::open(&folder.join("sessions"), config.shards) {
        Ok((files, left)) => Ok((Some(Arc::new(files)), left)),
        Err(why @ SessionsError::InUse { .. }) => {
            tracing::warn!(
                "{why}: after a restart of this process everybody is shown as joining again"
            );
            Ok((None, Left::default()))
        }
        Err(why) => Err(why.into()),
    }
}

/// Starts a hub that is alone.
fn alone<P: Profiles>(
    settings: Settings,
    profiles: Arc<P>,
    sessions: Option<Arc<SessionFiles>>,
) -> Hub {
    match sessions {
        Some(sessions) => Hub::start_keeping(settings, profiles, sessions),
        None => Hub::start(settings, profiles),
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        timing: config.timing,
        limits: config.limits,
        shards: config.shards,
        outbox_bytes_max: config.socket.outbox_bytes_max,
        outboxes_bytes_max: config.socket.outboxes_bytes_max,
        states: config.socket.states,
        keep_unseen: config.keep_unseen,
        history_bytes_max: config.history_bytes_max,
        ..Settings::default()
    }
}

/// The profiles that this node reads and writes.
enum Stored {
    Memory(Arc<ProfileMemory>),
    File(Arc<ProfileFile>),
    Mongo(Arc<MongoProfiles>),
}

impl Stored {
    /// Opens the store of profiles, and the key that is kept in the data folder.
    fn open(config: &Config) -> anyhow::Result<(Stored, ResumeKey)> {
        if let Some(mongodb) = config.mongodb.clone() {
            // The key first: if that fails, no database has to be closed.
            let resume = resume_key(config)?;
            // MongoDB may be unreachable now: a client whose profile is needed waits until it is there.
            let profiles = MongoProfiles::connect(mongodb);
            let profiles = profiles.context("cannot use mongodb.uri (MONGODB_URI)")?;
            return Ok((Stored::Mongo(Arc::new(profiles)), resume));
        }
        let stored = match &config.data_dir {
            DataDir::Memory => Stored::Memory(Arc::default()),
            DataDir::Folder(folder) => {
                let profiles = ProfileFile::open(folder.join("profiles.redb"));
                let profiles = profiles.context("cannot use the data_dir (PRESENCE_DATA_DIR)")?;
                Stored::File(Arc::new(profiles))
            }
        };
        Ok((stored, resume_key(config)?))
    }

    fn mongo(&self) -> Option<Arc<MongoProfiles>> {
        match self {
            Stored::Mongo(profiles) => Some(profiles.clone()),
            Stored::Memory(_) | Stored::File(_) => None,
        }
    }
}

/// The key that is kept in the data folder, or a new one if there is none.
fn resume_key(config: &Config) -> anyhow::Result<ResumeKey> {
    match &config.data_dir {
        DataDir::Memory => Ok(ResumeKey::random()?),
        DataDir::Folder(folder) => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            Ok(ResumeKey::kept_in(folder)?)
        }
    }
}

/// The store that keeps the list of revoked users.
enum RevokedIn {
    Memory,
    File(Arc<ProfileFile>),
    Redis(Arc<RedisTopics>),
}

impl Stored {
    /// The store of revocations for a single gateway: in its data folder, wherever the profiles are.
    fn revocations(&self, config: &Config) -> anyhow::Result<RevokedIn> {
        Ok(match (self, &config.data_dir) {
            (Stored::File(file), _) => RevokedIn::File(file.clone()),
            (_, DataDir::Memory) => RevokedIn::Memory,
            (_, DataDir::Folder(folder)) => {
                let file = ProfileFile::open(folder.join("revoked.redb"))?;
                RevokedIn::File(Arc::new(file))
            }
        })
    }
}

impl RevokedIn {
    /// Starts the task that keeps the list of `gate` in this store.
    fn keep(self, gate: &Gate, hub: &Hub, tasks: &mut JoinSet<()>) -> Revoking {
        let (list, clock) = (gate.revoked.clone(), hub.clock());
        match self {
            RevokedIn::Memory => {
                let store = Arc::new(RevocationMemory::new());
                let (revoking, task) = Revoking::new(list, store, false, clock);
                tasks.spawn(task);
                revoking
            }
            RevokedIn::File(store) => {
                let (revoking, task) = Revoking::new(list, store, false, clock);
                tasks.spawn(task);
                revoking
            }
            RevokedIn::Redis(store) => {
                let (revoking, task) = Revoking::new(list, store, true, clock);
                tasks.spawn(task);
                revoking
            }
        }
    }
}

/// The data folder, which may vanish under a running gateway: somebody removes it, or its disk fails.
pub(crate) struct DataFolder {
    folder: Option<PathBuf>,
    profiles: Option<Arc<ProfileFile>>,
    webhooks: Option<Arc<WebhookStore>>,
    is_gone: AtomicBool,
}

impl DataFolder {
    fn of(config: &Config, profiles: &Stored) -> Self {
        DataFolder {
            folder: match &config.data_dir {
                DataDir::Memory => None,
                DataDir::Folder(folder) => Some(folder.clone()),
            },
            profiles: match profiles {
                Stored::File(profiles) => Some(profiles.clone()),
                Stored::Memory(_) | Stored::Mongo(_) => None,
            },
            webhooks: None,
            is_gone: AtomicBool::new(false),
        }
    }

    /// Whether the folder was gone at the last check.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Relaxed)
    }

    /// Checks whether the folder is there, and logs when that changes.
    pub(crate) fn look(&self) {
        let Some(folder) = &self.folder else {
            return;
        };
        let has_profiles = self.profiles.as_ref().is_none_or(|it| it.is_there());
        let has_webhooks = self.webhooks.as_ref().is_none_or(|it| it.is_there());
        let is_gone = !folder.is_dir() || !has_profiles || !has_webhooks;
        let folder = folder.display();
        match (self.is_gone.swap(is_gone, Relaxed), is_gone) {
            (false, true) => tracing::error!(
                %folder,
                "the content of the data folder is gone: nothing can be stored until it is back; a restart begins without it"
            ),
            (true, false) => tracing::info!(%folder, "the data folder is back"),
            _ => {}
        }
    }
}

/// Counts the open connections, of all addresses and of each one.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Arc<AtomicUsize>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Counts one connection until it is dropped.
pub(crate) struct Counted(Arc<AtomicUsize>);

/// Counts one connection of an address until it is dropped.
pub(crate) struct Neighbour {
    address: IpAddr,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Connections {
    /// Counts one more connection; `None` if that would be more than `max`.
    pub(crate) fn enter(&self, max: usize) -> Option<Counted> {
        let entered = self
            .open
            .fetch_update(Relaxed, Relaxed, |open| (open < max).then_some(open + 1));
        entered.ok().map(|_| Counted(self.open.clone()))
    }

    /// Counts one more connection of `address`, or fails if that would be more than `max`. Without a `max`
    /// it counts nothing.
    pub(crate) fn enter_from(
        &self,
        address: IpAddr,
        max: Option<usize>,
    ) -> Result<Option<Arc<Neighbour>>, TooMany> {
        let Some(max) = max else {
            return Ok(None);
        };
        let address = address.to_canonical();
        let mut by_address = counts(&self.by_address);
        let count = by_address.entry(address).or_default();
        if *count >= max {
            return Err(TooMany);
        }
        *count += 1;
        Ok(Some(Arc::new(Neighbour {
            address,
            by_address: self.by_address.clone(),
        })))
    }

    /// Counts one more for a connection that was let in already and is now a WebSocket.
    pub(crate) fn go_on(&self) -> Counted {
        self.open.fetch_add(1, Relaxed);
        Counted(self.open.clone())
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }
}

/// The address has as many connections as it may have.
#[derive(Debug)]
pub(crate) struct TooMany;

fn counts(by_address: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    // Only numbers change here, so a panic elsewhere leaves nothing half done.
    by_address.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let mut by_address = counts(&self.by_address);
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
                presence_core::shrink_after_burst(&mut *by_address);
            }
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
