//! The metrics of the gateway, for Prometheus. No label has a value that a client chose.
//!
//! What happens often is counted in atomics that exist from the start, so counting takes no lock. The registry is built
//! once; a scrape reads the values.

mod page;
mod process;
mod text;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use presence_core::Timestamp;
use presence_hub::{Counts, Histogram, Hub};
use presence_protocol::ErrorCode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::dialect_name::DialectName;

pub(crate) use self::page::Board;
pub(crate) use self::process::usage;
pub(crate) use self::text::Format;

/// The counters of connections and requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    connections: Counter,
    turned_away: Counter,
    not_accepted: Counter,
    heartbeats: Counter,
    takeovers: Counter,
    refused: Family<Refusals, Counter>,
    closed: Family<Closes, Counter>,
    ended: Family<Endings, Counter>,
    not_let_in: Family<NotLetIn, Counter>,
    http: Family<Answers, Counter>,
    inner: std::sync::Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dialects: [DialectCounters; DialectName::ALL.len()],
    http_seconds: Histogram,
}

impl Default for Inner {
    fn default() -> Self {
        Inner {
            dialects: Default::default(),
            http_seconds: Histogram::of_spans(),
        }
    }
}

/// What is counted for one dialect. Each has its own cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct DialectCounters {
    open: AtomicU64,
    opened: AtomicU64,
    frames_in: AtomicU64,
    frames_out: AtomicU64,
}

/// What was counted in all protocols.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) opened: u64,
    pub(crate) frames_in: u64,
    pub(crate) frames_out: u64,
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
struct Endings {
    dialect: Word,
    reason: Word,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotLetIn {
    dialect: Word,
    /// The close code that the gateway sent.
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
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

/// The metrics of identity: keys and revocations.
#[derive(Clone, Debug)]
pub(crate) struct IdentityFacts {
    /// How many users' older tokens are refused.
    pub(crate) revoked: u64,
    /// Whether the list of them cannot be read.
    pub(crate) revoked_away: bool,
    /// If the keys are fetched from a URL: their number, seconds since they were fetched, fetches, failures.
    pub(crate) jwks: Option<[u64; 4]>,
}

/// What a page shows beside what is counted.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The time by the clock of the gateway.
    pub(crate) now: Timestamp,
    /// WebSockets and HTTP connections that are open.
    pub(crate) open: usize,
    /// The numbers of users, channels, typing users and unsaved profiles in the hub.
    pub(crate) counts: Counts,
    /// What is known of keys and revocations.
    pub(crate) identity: IdentityFacts,
    /// Records and messages of a store that were not understood.
    pub(crate) garbled: u64,
    /// Whether the data folder has vanished.
    pub(crate) is_folder_gone: bool,
    /// Whether the gateway is on its way out.
    pub(crate) is_draining: bool,
}

impl Metrics {
    fn of(&self, dialect: DialectName) -> &DialectCounters {
        &self.inner.dialects[dialect as usize]
    }

    /// Counts a WebSocket that was let in.
    pub(crate) fn connected(&self, dialect: DialectName) {
        self.connections.inc();
        let counters = self.of(dialect);
        counters.opened.fetch_add(1, Relaxed);
        counters.open.fetch_add(1, Relaxed);
    }

    /// Counts a WebSocket whose client was not let in, with the close code that it got.
    pub(crate) fn not_let_in(&self, dialect: DialectName, code: u16) {
        let dialect = Word(dialect.name());
        self.not_let_in
            .get_or_create(&NotLetIn { dialect, code })
            .inc();
    }

    /// Counts a connection that was turned away because there are too many.
    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// Counts a connection that could not be accepted, most likely because no file descriptors are left.
    pub(crate) fn not_accepted(&self) {
        self.not_accepted.inc();
    }

    /// Counts a client that said nothing but that it is still there.
    pub(crate) fn heartbeat(&self) {
        self.heartbeats.inc();
    }

    /// Counts a connection that continued a session.
    pub(crate) fn took_over(&self) {
        self.takeovers.inc();
    }

    pub(crate) fn frame_in(&self, dialect: DialectName) {
        self.of(dialect).frames_in.fetch_add(1, Relaxed);
    }

    pub(crate) fn frames_out(&self, dialect: DialectName, count: usize) {
        self.of(dialect).frames_out.fetch_add(count as u64, Relaxed);
    }

    pub(crate) fn refused(&self, code: ErrorCode) {
        let code = Word(code.as_str());
        self.refused.get_or_create(&Refusals { code }).inc();
    }

    /// Counts a WebSocket that ended, with the close code that the gateway sent.
    pub(crate) fn closed(&self, dialect: DialectName, reason: &'static str, code: Option<u16>) {
        let code = code.unwrap_or(0);
        self.closed.get_or_create(&Closes { code }).inc();
        self.of(dialect).open.fetch_sub(1, Relaxed);
        let (dialect, reason) = (Word(dialect.name()), Word(reason));
        self.ended.get_or_create(&Endings { dialect, reason }).inc();
    }

    /// Counts an HTTP request that was answered after `span`.
    pub(crate) fn answered(&self, route: &'static str, status: u16, span: std::time::Duration) {
        let route = Word(route);
        self.http.get_or_create(&Answers { route, status }).inc();
        self.inner.http_seconds.observe_span(span);
    }

    /// What was counted of WebSockets in all protocols, since the start.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for counters in &self.inner.dialects {
            totals.opened += counters.opened.load(Relaxed);
            totals.frames_in += counters.frames_in.load(Relaxed);
            totals.frames_out += counters.frames_out.load(Relaxed);
        }
        totals
    }

    /// Builds the registry, which lasts as long as the gateway.
    pub(crate) fn board(&self, hub: &Hub) -> Board {
        Board::new(self.clone(), hub.clone())
    }
}
