//! The metrics of the gateway, in the format of Prometheus. No label has a value that a client chose.

use std::sync::atomic::Ordering::Relaxed;

use presence_core::Timestamp;
use presence_hub::{Counters, Counts};
use presence_protocol::ErrorCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::app::App;

/// The content type of the page of metrics.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The counters of connections and requests.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    connections: Counter,
    turned_away: Counter,
    not_accepted: Counter,
    frames_in: Counter,
    frames_out: Counter,
    refused: Family<Refusals, Counter>,
    closed: Family<Closes, Counter>,
    http: Family<Answers, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusals {
    code: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Closes {
    /// The close code that the gateway sent, or 0 if the client or the network ended the connection.
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answers {
    /// The name of a route, never a path.
    route: Word,
    status: u16,
}

/// A label value out of a closed set of words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Word(&'static str);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }
}

/// The metrics of identity: keys and revocations.
pub(crate) struct Doors {
    revoked: u64,
    revoked_away: bool,
    /// If the keys are fetched from a URL: their number, seconds since they were fetched, fetches, failures.
    jwks: Option<[u64; 4]>,
}

impl Doors {
    /// Reads the current values from `app`.
    pub(crate) fn of(app: &App) -> Self {
        Doors {
            revoked: app.gate.revoked.len() as u64,
            revoked_away: app.revoking.is_away(),
            jwks: app.gate.fetched_keys().map(|it| {
                let (keys, at) = it.state();
                let age = app.now().since(at.unwrap_or_default()).as_secs();
                let (fetches, failures) = (it.fetches.load(Relaxed), it.failures.load(Relaxed));
                [keys as u64, age, fetches, failures]
            }),
        }
    }
}

impl Metrics {
    /// Counts a WebSocket that was let in.
    pub(crate) fn connected(&self) {
        self.connections.inc();
    }

    /// Counts a connection that was turned away because there are too many.
    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// Counts a connection that could not be accepted, most likely because no file descriptors are left.
    pub(crate) fn not_accepted(&self) {
        self.not_accepted.inc();
    }

    pub(crate) fn frame_in(&self) {
        self.frames_in.inc();
    }

    pub(crate) fn frames_out(&self, count: usize) {
        self.frames_out.inc_by(count as u64);
    }

    pub(crate) fn refused(&self, code: ErrorCode) {
        let code = Word(code.as_str());
        self.refused.get_or_create(&Refusals { code }).inc();
    }

    pub(crate) fn closed(&self, code: Option<u16>) {
        let code = code.unwrap_or(0);
        self.closed.get_or_create(&Closes { code }).inc();
    }

    /// Counts an HTTP request that was answered.
    pub(crate) fn answered(&self, route: &'static str, status: u16) {
        let route = Word(route);
        self.http.get_or_create(&Answers { route, status }).inc();
    }

    /// Everything there is to scrape, in the text format of OpenMetrics.
    pub(crate) fn page(&self, facts: &Facts<'_>) -> String {
        let mut page = Page {
            registry: Registry::with_prefix("presence"),
        };
        page.state(facts);
        page.doors(&facts.doors);
        page.connections(self);
        page.events(facts.hub);
        page.stores(facts);
        page.webhooks(facts);
        page.text()
    }
}

/// What a page shows beside what [`Metrics`] counts.
pub(crate) struct Facts<'a> {
    pub(crate) now: Timestamp,
    /// WebSockets and HTTP connections that are open.
    pub(crate) open: usize,
    pub(crate) counts: Counts,
    pub(crate) hub: &'a Counters,
    pub(crate) doors: Doors,
    /// Records and messages of a store that were not understood.
    pub(crate) garbled: u64,
    /// Whether the data folder has vanished.
    pub(crate) is_folder_gone: bool,
}

/// A page that is being written.
struct Page {
    registry: Registry,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.registry.register(name, help, ConstGauge::new(value));
    }

    fn total(&mut self, name: &str, help: &str, value: u64) {
        self.registry.register(name, help, ConstCounter::new(value));
    }

    fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a string takes everything");
        text
    }

    /// Who and what is here.
    fn state(&mut self, facts: &Facts<'_>) {
        self.gauge(
            "connections_open",
            "WebSockets and HTTP connections now",
            facts.open as u64,
        );
        self.gauge(
            "users_online",
            "Users with a session here now",
            facts.counts.users as u64,
        );
        self.gauge(
            "channels_active",
            "Channels with somebody in them now",
            facts.counts.channels as u64,
        );
        self.gauge(
            "outboxes_bytes",
            "Bytes that wait for all connections together now",
            facts.hub.waiting_bytes.load(Relaxed),
        );
        self.gauge(
            "data_folder_gone",
            "1 if what was kept in the data folder is not there any more",
            u64::from(facts.is_folder_gone),
        );
    }

    /// Keys and revocations.
    fn doors(&mut self, doors: &Doors) {
        self.gauge(
            "revoked_users",
            "Users whose older tokens are refused now",
            doors.revoked,
        );
        self.gauge(
            "revoked_store_away",
            "1 if the list of revoked users could not be kept or read the last time",
            u64::from(doors.revoked_away),
        );
        let Some([keys, age, fetches, failures]) = doors.jwks else {
            return;
        };
        self.gauge(
            "jwks_keys",
            "Keys of the JWK set that was last fetched",
            keys,
        );
        self.gauge(
            "jwks_age_seconds",
            "How long ago the JWK set was last fetched; since 1970 if it never was",
            age,
        );
        self.total("jwks_fetches", "Attempts to fetch the JWK set", fetches);
        self.total(
            "jwks_fetch_failures",
            "Attempts to fetch the JWK set that failed",
            failures,
        );
    }

    /// What connections count.
    fn connections(&mut self, metrics: &Metrics) {
        self.registry.register(
            "connections",
            "WebSockets let in",
            metrics.connections.clone(),
        );
        self.registry.register(
            "connections_turned_away",
            "Connections turned away because there were too many",
            metrics.turned_away.clone(),
        );
        self.registry.register(
            "accept_failures",
            "Times that no connection could be accepted",
            metrics.not_accepted.clone(),
        );
        self.registry.register(
            "frames_in",
            "Frames from clients",
            metrics.frames_in.clone(),
        );
        self.registry.register(
            "frames_out",
            "Frames to clients",
            metrics.frames_out.clone(),
        );
        self.registry.register(
            "refusals",
            "Commands refused, by error code",
            metrics.refused.clone(),
        );
        self.registry.register(
            "closes",
            "WebSockets ended, by our close code; 0 if it was not us",
            metrics.closed.clone(),
        );
        self.registry.register(
            "http_answers",
            "HTTP requests answered",
            metrics.http.clone(),
        );
    }

    /// What is told to watchers.
    fn events(&mut self, hub: &Counters) {
        self.total(
            "events_told",
            "Events told, once each",
            hub.told.load(Relaxed),
        );
        self.total(
            "events_delivered",
            "Events queued for a watcher",
            hub.delivered.load(Relaxed),
        );
        self.total(
            "conflations",
            "Backlogs of slow watchers dropped for a difference",
            hub.conflated.load(Relaxed),
        );
        self.total(
            "crowded_out",
            "Backlogs dropped because too much waited for all connections together",
            hub.crowded.load(Relaxed),
        );
    }

    /// The store of profiles, and the one that nodes share.
    fn stores(&mut self, facts: &Facts<'_>) {
        self.gauge(
            "profiles_unsaved",
            "Profiles that wait to be stored now",
            facts.counts.unsaved as u64,
        );
        self.gauge(
            "profiles_unsaved_seconds",
            "For how long the oldest of them has been waiting",
            facts.counts.unsaved_for.as_secs(),
        );
        self.gauge(
            "profile_store_away",
            "1 if the profile store did not answer the last time",
            u64::from(facts.hub.store_away.load(Relaxed)),
        );
        self.total(
            "profiles_saved",
            "Profiles stored",
            facts.hub.saved.load(Relaxed),
        );
        self.total(
            "profile_save_failures",
            "Attempts to store profiles that failed",
            facts.hub.save_failures.load(Relaxed),
        );
        self.gauge(
            "shared_store_away",
            "1 if the store shared with other nodes did not answer the last time",
            u64::from(facts.hub.shared_away.load(Relaxed)),
        );
        self.total(
            "shared_writes",
            "Writes to the store shared with other nodes",
            facts.hub.shared_writes.load(Relaxed),
        );
        self.total(
            "shared_reads",
            "Maps read from the shared store",
            facts.hub.shared_reads.load(Relaxed),
        );
        self.total(
            "shared_failures",
            "Requests to the shared store that failed",
            facts.hub.shared_failures.load(Relaxed),
        );
        self.total(
            "patches_heard",
            "Changes heard of the shared store",
            facts.hub.patches_heard.load(Relaxed),
        );
        self.total(
            "shared_distrusted",
            "Times that a part of the shared store was compared because it may have lost data",
            facts.hub.invalidated.load(Relaxed),
        );
        self.total(
            "nodes_lost",
            "Nodes that were found dead",
            facts.hub.nodes_lost.load(Relaxed),
        );
        self.total(
            "adapter_faults",
            "Calls of a store that panicked, or were not answered as they were asked",
            facts.hub.adapter_faults.load(Relaxed),
        );
        self.total(
            "garbled_records",
            "Records and messages in a store that were not understood, and dropped",
            facts.garbled,
        );
    }

    /// Webhooks.
    fn webhooks(&mut self, facts: &Facts<'_>) {
        self.gauge(
            "webhook_events_waiting",
            "Events that wait for the endpoint of webhooks, as far as they are this node's to tell",
            facts.hub.hooks.waiting.load(Relaxed),
        );
        self.gauge(
            "webhook_oldest_seconds",
            "For how long the oldest of them has been waiting",
            facts.hub.hooks.oldest_age(facts.now).as_secs(),
        );
        self.gauge(
            "webhook_away",
            "1 if the endpoint of webhooks did not take the last delivery",
            u64::from(facts.hub.hooks.is_away.load(Relaxed)),
        );
        self.total(
            "webhook_events_delivered",
            "Events that the endpoint of webhooks has taken",
            facts.hub.hooks.delivered.load(Relaxed),
        );
        self.total(
            "webhook_failures",
            "Deliveries to the endpoint of webhooks that failed, and are repeated",
            facts.hub.hooks.failures.load(Relaxed),
        );
    }
}
