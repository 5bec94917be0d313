//! What every connection of a gateway shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use anyhow::Context;
use presence_core::Timestamp;
use presence_core::hooks::Wanted;
use presence_core::ports::{Profiles, Topics};
use presence_embedded::{Left, ProfileFile, ProfileMemory, SessionFiles, SessionsError};
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
            let (app, left) = App::alone(config)?;
            app.restore(left).await;
            return Ok(app);
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
        let hub = match profiles {
            Stored::Memory(profiles) => Hub::join(settings, profiles, store, name).await,
            Stored::File(profiles) => Hub::join(settings, profiles, store, name).await,
            Stored::Mongo(profiles) => Hub::join(settings, profiles, store, name).await,
        };
        if let Some((webhooks, wanted)) = webhooks {
            hub.tell_outside(shared, Arc::new(webhooks), wanted);
        }
        App::new(config, hub, resume)
    }

    /// Opens what is kept, and starts a hub that is alone; with what the process before has left, which is to be restored
    /// before anybody is let in.
    ///
    /// # Errors
    ///
    /// Says what cannot be opened, and why.
    pub(crate) fn alone(config: Config) -> anyhow::Result<(App, Left)> {
        let (profiles, resume) = Stored::open(&config)?;
        let (sessions, left) = sessions(&config)?;
        let settings = settings(&config);
        let hub = match profiles {
            Stored::Memory(profiles) => alone(settings, profiles, sessions),
            Stored::File(profiles) => alone(settings, profiles, sessions),
            Stored::Mongo(profiles) => alone(settings, profiles, sessions),
        };
        Ok((App::new(config, hub, resume)?, left))
    }

    /// Holds the sessions of the process before for their clients.
    async fn restore(&self, left: Left) {
        if left.garbled > 0 {
            let journals = left.garbled;
            tracing::warn!(
                journals,
                "what was kept of sessions cannot be read to its end"
            );
        }
        if let Some(away) = left.away {
            let sessions = left.sessions.len();
            tracing::info!(sessions, ?away, "sessions are held for their clients");
        }
        // Also where nothing is left: what is older is forgotten then.
        let away = left.away.unwrap_or_default();
        self.hub.restore(left.sessions, away, left.ended_at).await;
    }

    fn new(config: Config, hub: Hub, resume: ResumeKey) -> anyhow::Result<App> {
        let gate = Gate::new(&config.jwt, hub.clock().now())?;
        Ok(App {
            config,
            hub,
            gate,
            resume,
            metrics: Metrics::default(),
            callers: Callers::default(),
            cables: Kept::default(),
            phase: watch::Sender::new(Phase::Open),
            connections: Connections::default(),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.hub.clock().now()
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.phase.borrow() != Phase::Open
    }
}

/// Where a gateway that is alone keeps its sessions, and what the process before has left there.
fn sessions(config: &Config) -> anyhow::Result<(Option<Arc<SessionFiles>>, Left)> {
    let DataDir::Folder(folder) = &config.data_dir else {
        return Ok((None, Left::default()));
    };
    match SessionFiles::open(&folder.join("sessions"), config.shards) {
        Ok((files, left)) => Ok((Some(Arc::new(files)), left)),
        Err(why @ SessionsError::InUse { .. }) => {
            tracing::warn!("{why}: after a restart of this one everybody is shown coming anew");
            Ok((None, Left::default()))
        }
        Err(why) => Err(why.into()),
    }
}

/// A hub that is alone.
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

/// How many connections there are, and how many there may be.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Arc<AtomicUsize>,
}

/// One connection, as long as it lasts.
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Connections {
    /// Counts one more, if that is not more than `max`.
    pub(crate) fn enter(&self, max: usize) -> Option<Counted> {
        let entered = self
            .open
            .fetch_update(Relaxed, Relaxed, |open| (open < max).then_some(open + 1));
        entered.ok().map(|_| Counted(self.open.clone()))
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

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
