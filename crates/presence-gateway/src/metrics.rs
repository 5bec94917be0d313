//! The metrics of the gateway, in the format of Prometheus. No label has a value that a client chose.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use presence_client::wire::ErrorCode;
use presence_core::Timestamp;
use presence_hub::{Counters, Counts};
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

    /// The page of all metrics, as Prometheus scrapes it.
    pub(crate) fn page(
        &self,
        now: Timestamp,
        open: usize,
        counts: Counts,
        hub: &Counters,
        doors: &Doors,
        (garbled, is_folder_gone): (u64, bool),
    ) -> String {
        let mut registry = Registry::with_prefix("presence");
        let it = &mut registry;
        let gauge = |it: &mut Registry, name, help, value: u64| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            it.register(name, help, ConstGauge::new(value));
        };
        let total = |it: &mut Registry, name, help, value: &AtomicU64| {
            it.register(name, help, ConstCounter::new(value.load(Relaxed)));
        };
        gauge(
            it,
            "connections_open",
            "WebSockets and HTTP connections now",
            open as u64,
        );
        gauge(
            it,
            "users_online",
            "Users with a session here now",
            counts.users as u64,
        );
        gauge(
            it,
            "channels_active",
            "Channels with somebody in them now",
            counts.channels as u64,
        );
        gauge(
            it,
            "profiles_unsaved",
            "Profiles that wait to be stored now",
            counts.unsaved as u64,
        );
        gauge(
            it,
            "profiles_unsaved_seconds",
            "For how long the oldest of them has been waiting",
            counts.unsaved_for.as_secs(),
        );
        gauge(
            it,
            "profile_store_away",
            "1 if the profile store did not answer the last time",
            u64::from(hub.store_away.load(Relaxed)),
        );
        gauge(
            it,
            "shared_store_away",
            "1 if the store shared with other nodes did not answer the last time",
            u64::from(hub.shared_away.load(Relaxed)),
        );
        gauge(
            it,
            "webhook_events_waiting",
            "Events that wait for the endpoint of webhooks, as far as they are this node's to tell",
            hub.hooks.waiting.load(Relaxed),
        );
        gauge(
            it,
            "webhook_oldest_seconds",
            "For how long the oldest of them has been waiting",
            hub.hooks.oldest_age(now).as_secs(),
        );
        gauge(
            it,
            "webhook_away",
            "1 if the endpoint of webhooks did not take the last delivery",
            u64::from(hub.hooks.is_away.load(Relaxed)),
        );
        gauge(
            it,
            "revoked_users",
            "Users whose older tokens are refused now",
            doors.revoked,
        );
        gauge(
            it,
            "revoked_store_away",
            "1 if the list of revoked users could not be kept or read the last time",
            u64::from(doors.revoked_away),
        );
        if let Some([keys, age, fetches, failures]) = doors.jwks {
            gauge(
                it,
                "jwks_keys",
                "Keys of the JWK set that was last fetched",
                keys,
            );
            gauge(
                it,
                "jwks_age_seconds",
                "How long ago the JWK set was last fetched; since 1970 if it never was",
                age,
            );
            let total = |it: &mut Registry, name, help, value| {
                it.register(name, help, ConstCounter::new(value));
            };
            total(it, "jwks_fetches", "Attempts to fetch the JWK set", fetches);
            total(
                it,
                "jwks_fetch_failures",
                "Attempts to fetch the JWK set that failed",
                failures,
            );
        }
        gauge(
            it,
            "data_folder_gone",
            "1 if what was kept in the data folder is not there any more",
            u64::from(is_folder_gone),
        );
        gauge(
            it,
            "outboxes_bytes",
            "Bytes that wait for all connections together now",
            hub.waiting_bytes.load(Relaxed),
        );
        it.register("connections", "WebSockets let in", self.connections.clone());
        it.register(
            "connections_turned_away",
            "Connections turned away because there were too many",
            self.turned_away.clone(),
        );
        it.register(
            "accept_failures",
            "Times that no connection could be accepted",
            self.not_accepted.clone(),
        );
        it.register("frames_in", "Frames from clients", self.frames_in.clone());
        it.register("frames_out", "Frames to clients", self.frames_out.clone());
        it.register(
            "refusals",
            "Commands refused, by error code",
            self.refused.clone(),
        );
        it.register(
            "closes",
            "WebSockets ended, by our close code; 0 if it was not us",
            self.closed.clone(),
        );
        it.register("http_answers", "HTTP requests answered", self.http.clone());
        total(it, "events_told", "Events told, once each", &hub.told);
        total(
            it,
            "events_delivered",
            "Events queued for a watcher",
            &hub.delivered,
        );
        total(
            it,
            "conflations",
            "Backlogs of slow watchers dropped for a difference",
            &hub.conflated,
        );
        total(
            it,
            "crowded_out",
            "Backlogs dropped because too much waited for all connections together",
            &hub.crowded,
        );
        total(
            it,
            "adapter_faults",
            "Calls of a store that panicked, or were not answered as they were asked",
            &hub.adapter_faults,
        );
        it.register(
            "garbled_records",
            "Records and messages in a store that were not understood, and dropped",
            ConstCounter::new(garbled),
        );
        total(it, "profiles_saved", "Profiles stored", &hub.saved);
        total(
            it,
            "profile_save_failures",
            "Attempts to store profiles that failed",
            &hub.save_failures,
        );
        total(
            it,
            "shared_writes",
            "Writes to the store shared with other nodes",
            &hub.shared_writes,
        );
        total(
            it,
            "shared_reads",
            "Maps read from the shared store",
            &hub.shared_reads,
        );
        total(
            it,
            "shared_failures",
            "Requests to the shared store that failed",
            &hub.shared_failures,
        );
        total(
            it,
            "patches_heard",
            "Changes heard of the shared store",
            &hub.patches_heard,
        );
        total(
            it,
            "shared_distrusted",
            "Times that a part of the shared store was compared because it may have lost data",
            &hub.distrusted,
        );
        total(
            it,
            "nodes_lost",
            "Nodes that were found dead",
            &hub.nodes_lost,
        );
        total(
            it,
            "webhook_events_delivered",
            "Events that the endpoint of webhooks has taken",
            &hub.hooks.delivered,
        );
        total(
            it,
            "webhook_failures",
            "Deliveries to the endpoint of webhooks that failed, and are repeated",
            &hub.hooks.failures,
        );
        let mut page = String::new();
        encode(&mut page, &registry).expect("a string takes everything");
        page
    }
}
