//! The registry of all metrics, and the page that is made of it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use presence_hub::{Counters, Histogram, Hub};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::process::Process;
use super::{DialectCounters, Facts, Format, IdentityFacts, Metrics};
use crate::dialect_name::DialectName;

/// All metrics of a gateway. It is built once.
#[derive(Debug)]
pub(crate) struct Board {
    registry: Registry,
    facts: Arc<Mutex<Option<Facts>>>,
}

impl Board {
    pub(super) fn new(metrics: Metrics, hub: Hub) -> Self {
        let mut registry = Registry::default();
        let facts = Arc::<Mutex<_>>::default();
        let presence = registry.sub_registry_with_prefix("presence");
        metrics.register(presence);
        presence.register_collector(Box::new(Source {
            metrics,
            hub,
            facts: facts.clone(),
        }));
        registry.register_collector(Box::new(Process));
        Board { registry, facts }
    }

    /// Everything there is to scrape.
    pub(crate) fn page(&self, facts: Facts, format: Format) -> String {
        *lock(&self.facts) = Some(facts);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)
            .expect("a string takes everything");
        format.of_open_metrics(text)
    }
}

fn lock(facts: &Mutex<Option<Facts>>) -> MutexGuard<'_, Option<Facts>> {
    facts.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("connections", "WebSockets let in", self.connections.clone());
        registry.register(
            "connections_turned_away",
            "Connections turned away because there were too many",
            self.turned_away.clone(),
        );
        registry.register(
            "accept_failures",
            "Times that no connection could be accepted",
            self.not_accepted.clone(),
        );
        registry.register(
            "heartbeats",
            "Heartbeats of clients, in any protocol",
            self.heartbeats.clone(),
        );
        registry.register(
            "sessions_resumed",
            "WebSockets that continued an earlier session",
            self.takeovers.clone(),
        );
        registry.register(
            "refusals",
            "Commands refused, by error code",
            self.refused.clone(),
        );
        registry.register(
            "closes",
            "WebSockets ended, by our close code; 0 if it was not us",
            self.closed.clone(),
        );
        registry.register(
            "websockets_ended",
            "WebSockets ended, by protocol and reason",
            self.ended.clone(),
        );
        registry.register(
            "websockets_refused",
            "WebSockets whose client was not let in, by protocol and close code",
            self.not_let_in.clone(),
        );
        registry.register("http_answers", "HTTP requests answered", self.http.clone());
    }
}

/// Reads at each scrape what is counted elsewhere.
#[derive(Debug)]
struct Source {
    metrics: Metrics,
    hub: Hub,
    facts: Arc<Mutex<Option<Facts>>>,
}

impl Collector for Source {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let facts = lock(&self.facts).clone();
        let Some(facts) = facts else {
            return Ok(());
        };
        let hub = self.hub.counters();
        let mut page = Page { encoder };
        page.build()?;
        page.state(&facts, hub)?;
        page.identity(&facts.identity)?;
        page.dialects(&self.metrics)?;
        page.events(hub)?;
        page.profiles(&facts, hub)?;
        page.shared(&facts, hub)?;
        page.webhooks(&facts, hub)
    }
}

/// A page that is being written.
struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Page<'_> {
    fn metric(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        // The registry ends the help of what is registered with a dot.
        let help = format!("{help}.");
        let encoder = self
            .encoder
            .encode_descriptor(name, &help, None, metric.metric_type())?;
        metric.encode(encoder)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.metric(name, help, &ConstGauge::new(value))
    }

    fn flag(&mut self, name: &str, help: &str, value: bool) -> fmt::Result {
        self.gauge(name, help, u64::from(value))
    }

    fn seconds(&mut self, name: &str, help: &str, span: Duration) -> fmt::Result {
        self.metric(name, help, &ConstGauge::new(span.as_secs_f64()))
    }

    fn total(&mut self, name: &str, help: &str, value: &AtomicU64) -> fmt::Result {
        self.number(name, help, value.load(Relaxed))
    }

    fn number(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.metric(name, help, &ConstCounter::new(value))
    }

    /// A histogram whose values are `scale` of the unit in its name.
    fn histogram(&mut self, name: &str, help: &str, values: &Histogram, scale: f64) -> fmt::Result {
        let read = values.read();
        let buckets: Vec<(f64, u64)> = read
            .counts
            .iter()
            .map(|(bound, count)| (bound.map_or(f64::INFINITY, |it| it as f64 / scale), *count))
            .collect();
        let help = format!("{help}.");
        let kind = MetricType::Histogram;
        let mut encoder = self.encoder.encode_descriptor(name, &help, None, kind)?;
        let sum = read.sum as f64 / scale;
        encoder.encode_histogram::<NoLabelSet>(sum, read.count(), &buckets, None)
    }

    /// A histogram of spans of time.
    fn spans(&mut self, name: &str, help: &str, values: &Histogram) -> fmt::Result {
        const MICROS_PER_SECOND: f64 = 1_000_000.0;
        self.histogram(name, help, values, MICROS_PER_SECOND)
    }

    /// One sample for each protocol.
    fn by_dialect(
        &mut self,
        (name, help, kind): (&str, &str, MetricType),
        metrics: &Metrics,
        value: impl Fn(&DialectCounters) -> &AtomicU64,
    ) -> fmt::Result {
        let help = format!("{help}.");
        let mut encoder = self.encoder.encode_descriptor(name, &help, None, kind)?;
        for dialect in DialectName::ALL {
            let value = value(metrics.of(dialect)).load(Relaxed);
            let labels = [("dialect", dialect.name())];
            let sample = encoder.encode_family(&labels)?;
            match kind {
                MetricType::Counter => ConstCounter::new(value).encode(sample)?,
                _ => ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)).encode(sample)?,
            }
        }
        Ok(())
    }

    fn build(&mut self) -> fmt::Result {
        let help = "1, with the version of the gateway.";
        let kind = MetricType::Gauge;
        let mut encoder = self
            .encoder
            .encode_descriptor("build_info", help, None, kind)?;
        let labels = [("version", env!("CARGO_PKG_VERSION"))];
        ConstGauge::new(1_i64).encode(encoder.encode_family(&labels)?)
    }

    /// Who and what is here.
    fn state(&mut self, facts: &Facts, hub: &Counters) -> fmt::Result {
        let users = facts.counts.users as u64;
        self.gauge(
            "connections_open",
            "WebSockets and HTTP connections now",
            facts.open as u64,
        )?;
        self.gauge(
            "online_users",
            "Users with a session on this gateway now; a sum over gateways counts a user once for each gateway",
            users,
        )?;
        self.gauge(
            "users_online",
            "The same as presence_online_users, by its old name; it goes with the next release",
            users,
        )?;
        self.gauge(
            "typing_users",
            "Users who type in a channel that this gateway knows, once for each channel; a sum over gateways counts them once for each gateway that knows the channel",
            facts.counts.typing as u64,
        )?;
        self.gauge(
            "channels_active",
            "Channels with somebody in them now",
            facts.counts.channels as u64,
        )?;
        self.gauge(
            "outboxes_bytes",
            "Bytes that wait for all connections together now",
            hub.waiting_bytes.load(Relaxed),
        )?;
        self.flag(
            "data_folder_gone",
            "1 if what was kept in the data folder is not there any more",
            facts.is_folder_gone,
        )?;
        self.flag(
            "draining",
            "1 if the gateway is stopping and lets nobody in",
            facts.is_draining,
        )
    }

    /// Writes the metrics of keys and revocations.
    fn identity(&mut self, identity: &IdentityFacts) -> fmt::Result {
        self.gauge(
            "revoked_users",
            "Users whose older tokens are refused now",
            identity.revoked,
        )?;
        self.flag(
            "revoked_store_away",
            "1 if the list of revoked users could not be kept or read the last time",
            identity.revoked_away,
        )?;
        let Some([keys, age, fetches, failures]) = identity.jwks else {
            return Ok(());
        };
        self.gauge(
            "jwks_keys",
            "Keys of the JWK set that was last fetched",
            keys,
        )?;
        self.gauge(
            "jwks_age_seconds",
            "How long ago the JWK set was last fetched; since 1970 if it never was",
            age,
        )?;
        self.number("jwks_fetches", "Attempts to fetch the JWK set", fetches)?;
        self.number(
            "jwks_fetch_failures",
            "Attempts to fetch the JWK set that failed",
            failures,
        )
    }

    /// What connections count, in all and by protocol.
    fn dialects(&mut self, metrics: &Metrics) -> fmt::Result {
        let all = |value: fn(&DialectCounters) -> &AtomicU64| {
            let each = DialectName::ALL.into_iter();
            each.map(|it| value(metrics.of(it)).load(Relaxed)).sum()
        };
        self.number("frames_in", "Frames from clients", all(|it| &it.frames_in))?;
        self.number("frames_out", "Frames to clients", all(|it| &it.frames_out))?;
        self.by_dialect(
            (
                "websockets",
                "WebSockets that are let in now",
                MetricType::Gauge,
            ),
            metrics,
            |it| &it.open,
        )?;
        self.by_dialect(
            (
                "websockets_opened",
                "WebSockets let in",
                MetricType::Counter,
            ),
            metrics,
            |it| &it.opened,
        )?;
        self.by_dialect(
            (
                "websocket_frames_in",
                "Frames from clients",
                MetricType::Counter,
            ),
            metrics,
            |it| &it.frames_in,
        )?;
        self.by_dialect(
            (
                "websocket_frames_out",
                "Frames to clients",
                MetricType::Counter,
            ),
            metrics,
            |it| &it.frames_out,
        )?;
        self.spans(
            "http_request_seconds",
            "How long HTTP requests took to be answered, WebSocket handshakes included",
            &metrics.inner.http_seconds,
        )
    }

    /// What is told to watchers.
    fn events(&mut self, hub: &Counters) -> fmt::Result {
        self.total("events_told", "Events told, once each", &hub.told)?;
        self.total(
            "events_delivered",
            "Events queued for a watcher",
            &hub.delivered,
        )?;
        self.total(
            "conflations",
            "Backlogs of slow watchers dropped for a difference",
            &hub.conflated,
        )?;
        self.total(
            "crowded_out",
            "Backlogs dropped because too much waited for all connections together",
            &hub.crowded,
        )?;
        let measured = &hub.measured;
        self.spans(
            "change_to_told_seconds",
            "From the moment when a room knows of a change until its watchers are told; the tick of the room is in it",
            &measured.change_to_told,
        )?;
        self.spans(
            "command_to_answer_seconds",
            "From a command of a client until its answer is queued; only commands that the hub answers",
            &measured.command_to_answer,
        )?;
        self.histogram(
            "fanout_watchers",
            "To how many watchers an event of a room went",
            &measured.fanout,
            1.0,
        )
    }

    /// Writes the metrics of the store of profiles.
    fn profiles(&mut self, facts: &Facts, hub: &Counters) -> fmt::Result {
        self.gauge(
            "profiles_unsaved",
            "Profiles that wait to be stored now",
            facts.counts.unsaved as u64,
        )?;
        self.gauge(
            "profiles_unsaved_seconds",
            "For how long the oldest of them has been waiting",
            facts.counts.unsaved_for.as_secs(),
        )?;
        self.flag(
            "profile_store_away",
            "1 if the profile store did not answer the last time",
            hub.store_away.load(Relaxed),
        )?;
        self.seconds(
            "profile_store_outage_seconds",
            "For how long the profile store has not answered; 0 if it does",
            hub.store_away_for(),
        )?;
        self.total("profiles_saved", "Profiles stored", &hub.saved)?;
        self.total(
            "profile_save_failures",
            "Attempts to store profiles that failed",
            &hub.save_failures,
        )?;
        self.spans(
            "profile_store_latency_seconds",
            "How long a call of the profile store took",
            &hub.measured.profile_calls,
        )
    }

    /// The store that nodes share.
    fn shared(&mut self, facts: &Facts, hub: &Counters) -> fmt::Result {
        self.flag(
            "shared_store_away",
            "1 if the store shared with other nodes did not answer the last time",
            hub.shared_away.load(Relaxed),
        )?;
        self.seconds(
            "shared_store_outage_seconds",
            "For how long the shared store has not answered; 0 if it does",
            hub.shared_away_for(),
        )?;
        self.spans(
            "redis_latency_seconds",
            "How long a call of the store that gateways share took; one call has a batch in it",
            &hub.measured.shared_calls,
        )?;
        self.total(
            "shared_writes",
            "Writes to the store shared with other nodes",
            &hub.shared_writes,
        )?;
        self.total(
            "shared_reads",
            "Maps read from the shared store",
            &hub.shared_reads,
        )?;
        self.total(
            "shared_failures",
            "Requests to the shared store that failed",
            &hub.shared_failures,
        )?;
        self.total(
            "patches_heard",
            "Changes heard of the shared store",
            &hub.patches_heard,
        )?;
        self.total(
            "shared_distrusted",
            "Times that a part of the shared store was compared because it may have lost data",
            &hub.invalidated,
        )?;
        self.total("nodes_lost", "Nodes that were found dead", &hub.nodes_lost)?;
        self.total(
            "adapter_faults",
            "Calls of a store that panicked, or were not answered as they were asked",
            &hub.adapter_faults,
        )?;
        self.number(
            "garbled_records",
            "Records and messages in a store that were not understood, and dropped",
            facts.garbled,
        )
    }

    /// Writes the metrics of webhooks.
    fn webhooks(&mut self, facts: &Facts, hub: &Counters) -> fmt::Result {
        let is_away: &AtomicBool = &hub.hooks.is_away;
        self.gauge(
            "webhook_events_waiting",
            "Events that wait for the endpoint of webhooks, as far as they are this node's to tell",
            hub.hooks.waiting.load(Relaxed),
        )?;
        self.gauge(
            "webhook_oldest_seconds",
            "For how long the oldest of them has been waiting",
            hub.hooks.oldest_age(facts.now).as_secs(),
        )?;
        self.flag(
            "webhook_away",
            "1 if the endpoint of webhooks did not take the last delivery",
            is_away.load(Relaxed),
        )?;
        self.total(
            "webhook_events_delivered",
            "Events that the endpoint of webhooks has taken",
            &hub.hooks.delivered,
        )?;
        self.total(
            "webhook_failures",
            "Deliveries to the endpoint of webhooks that failed, and are repeated",
            &hub.hooks.failures,
        )?;
        self.spans(
            "webhook_delivery_seconds",
            "How long a delivery to the endpoint of webhooks took, failed ones included",
            &hub.measured.webhook_deliveries,
        )
    }
}
