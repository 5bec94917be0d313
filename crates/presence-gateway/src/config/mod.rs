//! What an operator can configure: defaults, then a file, then the environment, then flags. A later one wins.
//!
//! Every mistake is reported here, before anything is opened.

mod error;
mod ids;
mod layers;
mod otel;
mod parse;
mod pusher;
mod read;
mod settings;
mod webhook;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper::Uri;
use presence_core::{ByteRate, Limits, META_BYTES_MAX, Timing};
pub use presence_native::rates::Rates;

use crate::cli::Cli;
use crate::identity::{AllowedOrigins, Patterns};
use crate::logs::{self, LogFormat};

use layers::Layers;

pub use error::ConfigError;
pub use ids::{Addresses, JournalLevel, JournalSettings, UserIds};
pub use layers::Explained;
pub use otel::Otel;
pub use parse::{KeyFile, SPAN_MAX, Unit, span};
pub use pusher::{Pusher, PusherApp};
pub use settings::{CONFIG_ENV, SETTINGS, Setting};
pub use webhook::{Webhook, WebhookFormat};

/// The greatest value of `limits.history_bytes_max`: 4 GiB.
const HISTORY_BYTES_MAX: usize = 4 << 30;

/// The configuration of a gateway, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address and port to listen on. It must be a loopback address if no token is needed.
    pub listen: SocketAddr,
    /// Where profiles and other data are kept.
    pub data_dir: DataDir,
    /// The Redis that this node shares with others; without one it is alone.
    pub redis: Option<presence_redis::Settings>,
    /// The MongoDB that keeps the profiles; without one they are in the data folder.
    pub mongodb: Option<presence_mongo::Settings>,
    /// The name that tells this node from the others.
    pub node_name: String,
    /// The origins of pages that may connect.
    pub allowed_origins: AllowedOrigins,
    /// How many shards of the hub share the work among the cores.
    pub shards: usize,
    /// How long closing the open connections may take when the process is told to stop.
    pub drain: Duration,
    /// How long the data of a user is kept after they were last seen; for ever, if `None`.
    pub keep_unseen: Option<Duration>,
    /// How the addresses of clients are kept for explanations.
    pub addresses: Addresses,
    /// How many bytes the record of what happened to users may take; 0 records nothing.
    pub history_bytes_max: usize,
    /// The intervals and timeouts of clients: heartbeat, TTL, typing, grace.
    pub timing: Timing,
    /// How clients prove who they are.
    pub jwt: Jwt,
    /// The limits of the core, such as sessions of a user and channels of a session.
    pub limits: Limits,
    /// The limits of connections.
    pub socket: SocketLimits,
    /// How often a connection may do each kind of thing.
    pub rates: Rates,
    /// The applications that speak Pusher's protocol.
    pub pusher: Pusher,
    /// The endpoint of webhooks, if there is one.
    pub webhook: Option<Webhook>,
    /// The collector of traces, if there is one.
    pub otel: Option<Otel>,
    /// What is logged: a level, or `target=level` with commas between.
    pub log: String,
    /// The format of the log.
    pub log_format: LogFormat,
    /// How much is logged of connections.
    pub journal: JournalSettings,
    /// Warnings about settings that are allowed but doubtful, to be logged at the start.
    pub warnings: Vec<String>,
    /// Every setting, its value and where it comes from, without secrets.
    pub explained: Vec<Explained>,
}

/// Where profiles and other data are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataDir {
    /// In memory: nothing outlives the process.
    Memory,
    /// In files in this folder.
    Folder(PathBuf),
}

/// How clients prove who they are. Without any key they prove nothing.
#[derive(Clone, Debug)]
pub struct Jwt {
    /// The secret that verifies tokens with HS256.
    pub secret: Option<Secret>,
    /// The files of public keys, each with its algorithm.
    pub keys: Vec<KeyFile>,
    /// A file with a JWK set: public keys with ids.
    pub jwks_file: Option<PathBuf>,
    /// The URL from which a JWK set is fetched, and how often.
    pub jwks_url: Option<JwksUrl>,
    /// The issuer that a token has to name in `iss`.
    pub issuer: Option<String>,
    /// The audiences of which a token has to name at least one in `aud`.
    pub audience: Vec<String>,
    /// How far the clock of an issuer may differ from ours.
    pub leeway: Duration,
    /// The channels that a token without a list allows.
    pub channels_default: Patterns,
}

impl Jwt {
    /// Whether there is no key, so that the gateway believes what clients say about themselves.
    pub fn is_open(&self) -> bool {
        let has_jwks = self.jwks_file.is_some() || self.jwks_url.is_some();
        self.secret.is_none() && self.keys.is_empty() && !has_jwks
    }
}

/// The URL from which a JWK set is fetched, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwksUrl {
    /// The URL: `https` and a host, or `http` and this machine, unless more is allowed.
    pub url: Uri,
    /// The pause between two fetches.
    pub refresh: Duration,
}

/// A secret text, which `Debug` never shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`, which is kept as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The bytes of the text, to sign or verify with.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} bytes)", self.0.len())
    }
}

/// The limits of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketLimits {
    /// The most connections at once; one more is told to come back later.
    pub connections_max: usize,
    /// The longest frame or body that a client may send, in bytes.
    pub frame_bytes_max: usize,
    /// The most bytes that may wait for one client. Beyond that, its backlog is dropped and each topic catches up
    /// with a diff.
    pub outbox_bytes_max: usize,
    /// The most bytes that may wait for all clients together. Beyond that, those with the longest backlog catch up with
    /// diffs, or are closed.
    pub outboxes_bytes_max: usize,
    /// How many bytes of whole states one connection may ask for.
    pub states: ByteRate,
    /// The most topics that one connection may watch.
    pub watches_max: usize,
    /// The most connections from one address at once; any number, if `None`.
    pub connections_per_address_max: Option<usize>,
}

impl Config {
    /// Reads the configuration: the defaults, then the file, then `env`, then `cli`. A later one wins.
    ///
    /// # Errors
    ///
    /// The error names the setting, where its value comes from, and what is allowed.
    pub fn load(
        cli: &Cli,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, ConfigError> {
        Self::load_in(Path::new(""), cli, env)
    }

    /// Reads the configuration; paths that are not absolute are relative to `dir`.
    fn load_in(
        dir: &Path,
        cli: &Cli,
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Config, ConfigError> {
        let mut layers = Layers::read(dir, cli, env)?;
        let it = &mut layers;
        let jwt = read::jwt(dir, it)?;
        let origins = it.take_list("allowed_origins", |text| Ok(text.to_owned()))?;
        let mut config = Config {
            listen: it.take("listen", parse::address)?,
            data_dir: it.take("data_dir", |text| Ok(read::data_dir(text)))?,
            node_name: it.take_or("node_name", parse::node_name, read::host_name)?,
            allowed_origins: AllowedOrigins::new(&origins, jwt.is_open()).map_err(|wants| {
                ConfigError::Invalid {
                    key: "allowed_origins",
                    value: format!("{:?}", origins.join(", ")),
                    origin: it.origin("allowed_origins"),
                    wants,
                }
            })?,
            shards: it.take_or("shards", |text| parse::count(text, 1..=256), read::shards)?,
            drain: it.take_span("drain", read::seconds)?,
            keep_unseen: read::keep_unseen(it)?,
            addresses: it.take("explain_addresses", str::parse)?,
            history_bytes_max: it.take("limits.history_bytes_max", |text| {
                parse::count(text, 0..=HISTORY_BYTES_MAX)
            })?,
            redis: read::redis(dir, it)?,
            mongodb: read::mongodb(it)?,
            timing: read::timing(it)?,
            jwt,
            limits: read::limits(it)?,
            socket: read::socket_limits(it)?,
            rates: read::rates(it)?,
            pusher: pusher::pusher(it)?,
            webhook: None,
            otel: otel::otel(it)?,
            log: it.take("log.filter", |text| {
                logs::checked_filter(text).map(|()| text.to_owned())
            })?,
            log_format: it.take("log.format", str::parse)?,
            journal: read::journal(it)?,
            warnings: Vec::new(),
            explained: Vec::new(),
        };
        config.webhook = webhook::webhook(it, &config.pusher)?;
        config.check(&layers)?;
        config.warnings = config.warnings();
        config.explained = layers.explained();
        Ok(config)
    }

    /// Checks the relations between values.
    fn check(&self, layers: &Layers) -> Result<(), ConfigError> {
        let relation = |holds: bool, keys: &[&str], what: String| match holds {
            true => Ok(()),
            false => Err(ConfigError::Relation {
                what,
                origins: keys.iter().map(|key| layers.origin(key)).collect(),
            }),
        };
        let is_loopback = self.listen.ip().to_canonical().is_loopback();
        relation(
            is_loopback || !self.jwt.is_open(),
            &["listen"],
            format!(
                "without a key everybody is who they say, so only this machine may connect, and {} is not it: \
                 127.0.0.1:{} would do, or a key: PRESENCE_JWT_SECRET=$(openssl rand -base64 32), jwt.keys, PRESENCE_JWKS_FILE or PRESENCE_JWKS_URL",
                self.listen,
                self.listen.port()
            ),
        )?;
        let frame_least = META_BYTES_MAX + 1024;
        relation(
            self.socket.frame_bytes_max >= frame_least,
            &["limits.frame_bytes_max"],
            format!(
                "a frame of {} bytes cannot carry a join with the biggest meta: {frame_least} would do",
                self.socket.frame_bytes_max
            ),
        )?;
        relation(
            self.socket.outbox_bytes_max >= self.socket.frame_bytes_max,
            &["limits.outbox_bytes_max", "limits.frame_bytes_max"],
            format!(
                "an outbox of {} bytes cannot pass on the biggest frame: {} would do",
                self.socket.outbox_bytes_max, self.socket.frame_bytes_max
            ),
        )?;
        relation(
            self.socket.outboxes_bytes_max / 4 >= self.socket.outbox_bytes_max,
            &["limits.outboxes_bytes_max", "limits.outbox_bytes_max"],
            format!(
                "{} bytes for all outboxes together is too little where one may have {}: {} would do",
                self.socket.outboxes_bytes_max,
                self.socket.outbox_bytes_max,
                self.socket.outbox_bytes_max * 4
            ),
        )?;
        relation(
            self.rates.join.burst as usize >= self.limits.channels_max,
            &["rates.join", "limits.channels_max"],
            format!(
                "a client that comes back joins up to {} channels at once, and the burst of joins is {}: a burst of {0} would do",
                self.limits.channels_max, self.rates.join.burst
            ),
        )?;
        relation(
            self.limits.faces_max <= self.limits.listed_max,
            &["limits.faces_max", "limits.listed_max"],
            format!(
                "a summary cannot show more people than a list ({} and {}): faces_max of {1} would do",
                self.limits.faces_max, self.limits.listed_max
            ),
        )
    }

    /// The warnings about values that are allowed but doubtful.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.jwt.is_open() {
            warnings.push(
                "no key is configured: everybody on this machine is who they say, and may do everything".into(),
            );
        }
        if self.allowed_origins.any() {
            warnings.push("allowed_origins is `*`: every page on the web may connect".into());
        }
        if self.timing.ttl() * Timing::HIDDEN_FACTOR < Duration::from_secs(65) {
            warnings.push(format!(
                "a presence_ttl of {:?} times out background tabs, which are heard from once a minute: 13s would do",
                self.timing.ttl()
            ));
        }
        let is_in_memory = self.redis.is_none() && self.data_dir == DataDir::Memory;
        if self.webhook.is_some() && is_in_memory {
            warnings.push(
                "webhooks that wait are lost when this process ends, and who was here is not told as gone: \
                 a data_dir or a redis.url would keep them"
                    .into(),
            );
        }
        warnings
    }
}

/// Writes the answer to `--check-config`.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&Explained) -> &str| {
            let widths = self.explained.iter().map(|it| of(it).chars().count());
            widths.max().unwrap_or(0).min(40)
        };
        let (keys, values) = (width(|it| it.key), width(|it| &it.value));
        for it in &self.explained {
            let Explained { key, value, origin } = it;
            let value = if value.is_empty() { "-" } else { value };
            writeln!(f, "{key:keys$}  {value:values$}  {origin}")?;
        }
        let mode = if self.jwt.is_open() {
            "open: no key, loopback only"
        } else {
            "closed: every client needs a token"
        };
        writeln!(f, "\n{mode}")?;
        for warning in &self.warnings {
            writeln!(f, "warning: {warning}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
