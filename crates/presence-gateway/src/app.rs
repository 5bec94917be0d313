//! What every connection of a gateway shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use presence_core::Timestamp;
use presence_embedded::{ProfileFile, ProfileMemory};
use presence_hub::{Hub, Settings};
use tokio::sync::watch;

use crate::api::Callers;
use crate::cable::Kept;
use crate::config::{Config, DataDir};
use crate::identity::{Gate, ResumeKey};
use crate::metrics::Metrics;

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
    /// Opens what is kept, and starts the hub.
    ///
    /// # Errors
    ///
    /// Says what cannot be opened, and why.
    pub(crate) fn open(config: Config) -> anyhow::Result<App> {
        let settings = Settings {
            timing: config.timing,
            limits: config.limits,
            shards: config.shards,
            outbox_bytes_max: config.socket.outbox_bytes_max,
            ..Settings::default()
        };
        let (hub, resume) = match &config.data_dir {
            DataDir::Memory => {
                let profiles = Arc::new(ProfileMemory::new());
                (Hub::start(settings, profiles), ResumeKey::random()?)
            }
            DataDir::Folder(folder) => {
                let profiles = Arc::new(ProfileFile::open(folder.join("profiles.redb"))?);
                let resume = ResumeKey::kept_in(folder)?;
                (Hub::start(settings, profiles), resume)
            }
        };
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
