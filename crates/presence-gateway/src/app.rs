//! What every connection of a gateway shares.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use presence_core::Timestamp;
use presence_core::hooks::Wanted;
use presence_core::ports::Topics;
use presence_embedded::{ProfileFile, ProfileMemory};
use presence_hub::{Hub, Settings};
use presence_mongo::MongoProfiles;
use presence_redis::RedisTopics;
use tokio::sync::watch;

use crate::api::Callers;
use crate::cable::Kept;
use crate::config::{Config, DataDir};
use crate::identity::{Gate, ResumeKey};
use crate::metrics::Metrics;
use crate::webhooks::Webhooks;

/// What every connection of a gateway shares.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) hub: Hub,
    pub(crate) gate: Gate,
    pub(crate) resume: ResumeKey,
    pub(crate) metrics: Metrics,
    pub(crate) callers: Callers,
    /// The subscriptions of lost Action Cable connections.
    pub(crate) cables: Kept,
    /// What this node shares with others.
    shared: Option<Arc<RedisTopics>>,
    /// What is to be in the data folder.
    pub(crate) kept: DataFolder,
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) connections: Connections,
}

/// How far the gateway is with stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is not.
    Open,
    /// Nobody new is let in; whoever is here is asked to go, spread over that time.
    Draining(Duration),
}

impl App {
    /// Opens what is kept, and starts the hub: alone, or as one of those who share a Redis.
    ///
    /// # Errors
    ///
    /// Says what cannot be opened, and why.
    pub(crate) async fn start(config: Config) -> anyhow::Result<App> {
        let Some(redis) = config.redis.clone() else {
            return App::alone(config);
        };
        let redis = match &config.webhook {
            Some(_) => redis.with_webhooks(),
            None => redis,
        };
        let (profiles, resume) = Stored::open(&config)?;
        let store = RedisTopics::connect(redis.clone()).await;
        let store = Arc::new(store.with_context(|| {
            format!(
                "cannot begin without what is configured: {}",
                redis.describe()
            )
        })?);
        // Whoever loses one node goes on with another: the key has to be the same.
        let resume = ResumeKey::shared(store.secret(resume.secret()).await?);
        let (settings, name) = (settings(&config), &config.node_name);
        tracing::info!(
            store = redis.describe(),
            node = name,
            "one of several nodes"
        );
        let (shared, webhooks) = (store.clone(), webhooks(&config)?);
        let kept = DataFolder::of(&config, &profiles);
        let hub = match profiles {
            Stored::Memory(profiles) => Hub::join(settings, profiles, store, name).await,
            Stored::File(profiles) => Hub::join(settings, profiles, store, name).await,
            Stored::Mongo(profiles) => Hub::join(settings, profiles, store, name).await,
        };
        if let Some((webhooks, wanted)) = webhooks {
            hub.tell_outside(shared.clone(), Arc::new(webhooks), wanted);
        }
        App::new(config, hub, resume, kept, Some(shared))
    }

    /// Opens what is kept, and starts a hub that is alone.
    ///
    /// # Errors
    ///
    /// Says what cannot be opened, and why.
    pub(crate) fn alone(config: Config) -> anyhow::Result<App> {
        let (profiles, resume) = Stored::open(&config)?;
        let settings = settings(&config);
        let kept = DataFolder::of(&config, &profiles);
        let hub = match profiles {
            Stored::Memory(profiles) => Hub::start(settings, profiles),
            Stored::File(profiles) => Hub::start(settings, profiles),
            Stored::Mongo(profiles) => Hub::start(settings, profiles),
        };
        App::new(config, hub, resume, kept, None)
    }

    fn new(
        config: Config,
        hub: Hub,
        resume: ResumeKey,
        kept: DataFolder,
        shared: Option<Arc<RedisTopics>>,
    ) -> anyhow::Result<App> {
        let gate = Gate::new(&config.jwt, hub.clock().now())?;
        Ok(App {
            config,
            hub,
            gate,
            resume,
            metrics: Metrics::default(),
            callers: Callers::default(),
            cables: Kept::default(),
            shared,
            kept,
            phase: watch::Sender::new(Phase::Open),
            connections: Connections::default(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.hub.clock().now()
    }

    /// How many records and messages in a store were not understood so far, and dropped.
    pub(crate) fn garbled(&self) -> u64 {
        let shared = self.shared.as_ref().map_or(0, |it| it.garbled());
        shared + self.hub.counters().garbled.load(Relaxed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Open
    }
}

/// Whom to tell who comes and goes, and what of it.
fn webhooks(config: &Config) -> anyhow::Result<Option<(Webhooks, Wanted)>> {
    let Some(webhook) = config.webhook.clone() else {
        return Ok(None);
    };
    let (wanted, endpoint) = (webhook.wanted, webhook.describe());
    let webhooks = Webhooks::new(webhook, config.pusher.apps.clone());
    let webhooks = webhooks.with_context(|| format!("cannot tell {endpoint} of anybody"))?;
    tracing::info!(endpoint, "webhooks");
    Ok(Some((webhooks, wanted)))
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
    /// Opens them, and the key that is kept in the data folder.
    fn open(config: &Config) -> anyhow::Result<(Stored, ResumeKey)> {
        let stored = match (config.mongodb.clone(), &config.data_dir) {
            (Some(mongodb), _) => {
                // It may be away now; whoever's profile is asked for waits until it is there.
                let profiles = MongoProfiles::connect(mongodb);
                let profiles = profiles.context("cannot use mongodb.uri (MONGODB_URI)")?;
                Stored::Mongo(Arc::new(profiles))
            }
            (None, DataDir::Memory) => Stored::Memory(Arc::default()),
            (None, DataDir::Folder(folder)) => {
                let profiles = ProfileFile::open(folder.join("profiles.redb"))?;
                Stored::File(Arc::new(profiles))
            }
        };
        let resume = match &config.data_dir {
            DataDir::Memory => ResumeKey::random()?,
            DataDir::Folder(folder) => {
                std::fs::create_dir_all(folder)
                    .with_context(|| format!("cannot create {}", folder.display()))?;
                ResumeKey::kept_in(folder)?
            }
        };
        Ok((stored, resume))
    }
}

/// The data folder, which may vanish under a running gateway: somebody removes it, or its disk goes.
pub(crate) struct DataFolder {
    folder: Option<PathBuf>,
    profiles: Option<Arc<ProfileFile>>,
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
            is_gone: AtomicBool::new(false),
        }
    }

    /// Whether it was gone when it was last looked at.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Relaxed)
    }

    /// Looks whether it is there, and says so in the log when that changes.
    pub(crate) fn look(&self) {
        let Some(folder) = &self.folder else {
            return;
        };
        let has_profiles = self.profiles.as_ref().is_none_or(|it| it.is_there());
        let is_gone = !folder.is_dir() || !has_profiles;
        let folder = folder.display();
        match (self.is_gone.swap(is_gone, Relaxed), is_gone) {
            (false, true) => tracing::error!(
                %folder,
                "what was kept in the data folder is gone: nothing can be kept until it is back; a restart begins without it"
            ),
            (true, false) => tracing::info!(%folder, "the data folder is back"),
            _ => {}
        }
    }
}

/// How many connections there are, and how many there may be.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Arc<AtomicUsize>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// One connection, as long as it lasts.
pub(crate) struct Counted(Arc<AtomicUsize>);

/// One connection of an address, as long as it lasts.
pub(crate) struct Neighbour {
    address: IpAddr,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Connections {
    /// Counts one more, if that is not more than `max`.
    pub(crate) fn enter(&self, max: usize) -> Option<Counted> {
        let entered = self
            .open
            .fetch_update(Relaxed, Relaxed, |open| (open < max).then_some(open + 1));
        entered.ok().map(|_| Counted(self.open.clone()))
    }

    /// Counts one more of `address`, if that is not more than `max`. Nobody is counted where there is no `max`.
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

    /// Counts one more that was let in already, as something else.
    pub(crate) fn go_on(&self) -> Counted {
        self.open.fetch_add(1, Relaxed);
        Counted(self.open.clone())
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }
}

/// An address has as many connections as it may have.
#[derive(Debug)]
pub(crate) struct TooMany;

fn counts(by_address: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    // A few numbers: nothing in here panics half-way.
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
