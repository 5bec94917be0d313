//! Settings: which Redis to use, and how.

use std::fmt;
use std::time::Duration;

use url::{Host, Url};

/// The prefix of all keys, unless another one is set.
pub const PREFIX: &str = "presence";
/// The time limit of a command, unless another one is set.
pub const TIMEOUT: Duration = Duration::from_millis(500);
/// The longest time limit of a command that may be set. A call may need two commands, and must fail
/// within some seconds.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(10);
/// The maximum number of connections for commands to one server. One connection carries tens of thousands of
/// commands a second.
pub const CONNECTIONS_MAX: usize = 64;

/// Which Redis to use, and how. Settings are checked when they are made, so an error names the wrong field before any
/// connection is opened.
///
/// Neither `Debug` nor an error shows a password.
///
/// ```
/// use presence_redis::Settings;
///
/// let settings = Settings::from_url("rediss://presence:secret@redis.example:6380")?.with_prefix("chat")?;
/// assert!(!format!("{settings:?}").contains("secret"));
/// let error = Settings::from_url("redis-sentinel://a.example").unwrap_err();
/// assert_eq!(error.to_string(), "sentinelServiceName: is missing: which of the sentinels' masters");
/// # Ok::<(), presence_redis::SettingsError>(())
/// ```
#[derive(Clone)]
pub struct Settings {
    pub(crate) servers: Servers,
    pub(crate) login: Login,
    pub(crate) database: u8,
    pub(crate) tls: Option<Tls>,
    pub(crate) prefix: Box<str>,
    pub(crate) timeout: Duration,
    pub(crate) connections: usize,
    pub(crate) webhooks: bool,
}

/// A single Redis server, described by its parts instead of a URL.
#[derive(Clone)]
pub struct Parts {
    /// The host name or the IP address of the server.
    pub host: String,
    /// The TCP port of the server, 1 to 65535.
    pub port: u16,
    /// The user to log in as; the default user if `None`.
    pub user: Option<String>,
    /// The password, if the server wants one. An empty password counts as none.
    pub password: Option<String>,
    /// Whether the connection uses TLS.
    pub tls: bool,
    /// The number of the database on the server.
    pub database: u8,
}

/// Why a setting is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
#[non_exhaustive]
pub struct SettingsError {
    /// The name of the setting: a field of [`Parts`], a part of the URL, or what a `with_` function sets.
    pub field: &'static str,
    /// What is wrong with the setting, in words.
    pub problem: String,
}

/// The host and the port of a server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Servers {
    One(Address),
    /// Some servers of a cluster, from which all others are found.
    Cluster(Vec<Address>),
    Sentinel {
        sentinels: Vec<Address>,
        service: Box<str>,
        login: Login,
    },
}

#[derive(Clone, Default, PartialEq)]
pub(crate) struct Login {
    pub(crate) user: Option<Box<str>>,
    pub(crate) password: Option<Box<str>>,
}

#[derive(Clone, Default, PartialEq)]
pub(crate) struct Tls {
    /// The authorities that may vouch for the servers, as PEM; those of the system if `None`.
    pub(crate) authorities: Option<Box<[u8]>>,
}

impl Settings {
    /// Settings from one URL:
    ///
    /// ```text
    /// redis://user:password@host:6379/0
    /// redis-cluster://user:password@host:6379?node=other:6379&node=third:6379
    /// redis-sentinel://user:password@sentinel:26379/0?sentinelServiceName=mymaster&node=other:26379
    /// ```
    ///
    /// With `rediss` in place of `redis` the connection uses TLS. Everything but the host may be left out,
    /// and for Sentinel the service name is needed, too. For a cluster, some of its nodes are enough. User
    /// and password are those of the servers, percent-encoded. Sentinels that want a login have
    /// `sentinelUsername` and `sentinelPassword`.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] names the part of the URL that is wrong.
    pub fn from_url(url: &str) -> Result<Self, SettingsError> {
        let url = Url::parse(url).map_err(|it| wrong("url", it))?;
        let (scheme, is_tls) = scheme_of(&url)?;
        let mut query = Query::of(&url)?;
        let port = match scheme {
            Scheme::Sentinel => 26379,
            Scheme::One | Scheme::Cluster => 6379,
        };
        let mut addresses = vec![Address {
            host: host_of(&url)?,
            port: url.port().unwrap_or(port),
        }];
        addresses.append(&mut query.nodes);
        let servers = match scheme {
            Scheme::Cluster => Servers::Cluster(addresses),
            Scheme::Sentinel => Servers::Sentinel {
                sentinels: addresses,
                service: query
                    .service
                    .take()
                    .ok_or_else(|| wrong(SERVICE, "is missing: which of the sentinels' masters"))?,
                login: Login {
                    user: query.sentinel_user.take(),
                    password: query.sentinel_password.take(),
                },
            },
            Scheme::One if addresses.len() > 1 => {
                return Err(wrong(
                    NODE,
                    "is for redis-cluster:// and redis-sentinel:// only",
                ));
            }
            Scheme::One => Servers::One(addresses.remove(0)),
        };
        if query.is_of_sentinels() {
            return Err(wrong("url", "sentinel… is for redis-sentinel:// only"));
        }
        let settings = Settings {
            servers,
            login: login_of(&url)?,
            database: database_of(&url)?,
            tls: is_tls.then(Tls::default),
            ..Settings::new(Address::default())
        };
        settings.checked()
    }

    /// Settings for a single server.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] names the field that is wrong.
    pub fn from_parts(parts: &Parts) -> Result<Self, SettingsError> {
        let host = Host::parse(&parts.host).map_err(|it| wrong("host", it))?;
        let settings = Settings {
            login: Login {
                user: non_empty(parts.user.as_deref()),
                password: non_empty(parts.password.as_deref()),
            },
            database: parts.database,
            tls: parts.tls.then(Tls::default),
            ..Settings::new(Address {
                host: host.to_string().into(),
                port: checked_port("port", parts.port)?,
            })
        };
        settings.checked()
    }

    /// The same settings with keys that begin with `prefix` and a colon, so that several deployments can share a Redis.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if the prefix is empty, is longer than 64 bytes, or has a character that would break a key.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self, SettingsError> {
        let is_fine = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
        if prefix.is_empty() || prefix.len() > 64 || !prefix.chars().all(is_fine) {
            let problem = "must be 1 to 64 letters, digits and any of - _ . : /";
            return Err(wrong("prefix", problem));
        }
        self.prefix = prefix.into();
        Ok(self)
    }

    /// The same settings with another time limit of a command, instead of [`TIMEOUT`].
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if it is less than 10 ms, or more than [`TIMEOUT_MAX`].
    pub fn with_timeout(mut self, timeout: Duration) -> Result<Self, SettingsError> {
        if timeout < Duration::from_millis(10) || timeout > TIMEOUT_MAX {
            let most = TIMEOUT_MAX.as_millis();
            return Err(wrong("timeout", format!("must be 10 to {most} ms")));
        }
        self.timeout = timeout;
        Ok(self)
    }

    /// The same settings with `connections` for commands to each server, instead of one. Each server has one more
    /// connection for subscriptions.
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if it is 0, or more than [`CONNECTIONS_MAX`].
    pub fn with_connections(mut self, connections: usize) -> Result<Self, SettingsError> {
        if !(1..=CONNECTIONS_MAX).contains(&connections) {
            let problem = format!("must be 1 to {CONNECTIONS_MAX}");
            return Err(wrong("pool size", problem));
        }
        self.connections = connections;
        Ok(self)
    }

    /// The same settings with webhooks on: each write leaves a row for them in the outbox. A node must deliver and
    /// remove these, or they accumulate.
    pub fn with_webhooks(mut self) -> Self {
        self.webhooks = true;
        self
    }

    /// The same settings, trusting only servers that `authorities` vouch for (certificates as PEM).
    ///
    /// # Errors
    ///
    /// [`SettingsError`] if TLS is off, or if there is no certificate in the text.
    pub fn with_authorities(mut self, authorities: &[u8]) -> Result<Self, SettingsError> {
        const FIELD: &str = "certificate authorities";
        let Some(tls) = &mut self.tls else {
            return Err(wrong(FIELD, "are of no use without TLS"));
        };
        tls.authorities = Some(authorities.into());
        crate::client::tls_config(tls).map_err(|it| wrong(FIELD, it.details()))?;
        Ok(self)
    }

    /// What the settings connect to, for a log. It has no password.
    pub fn describe(&self) -> String {
        let tls = if self.tls.is_some() { " with TLS" } else { "" };
        match &self.servers {
            Servers::One(address) => format!("Redis at {address}{tls}"),
            Servers::Cluster(addresses) => {
                format!("Redis Cluster with {}{tls}", list(addresses))
            }
            Servers::Sentinel {
                sentinels, service, ..
            } => format!("Redis {service} of the sentinels {}{tls}", list(sentinels)),
        }
    }

    fn new(address: Address) -> Self {
        Settings {
            servers: Servers::One(address),
            login: Login::default(),
            database: 0,
            tls: None,
            prefix: PREFIX.into(),
            timeout: TIMEOUT,
            connections: 1,
            webhooks: false,
        }
    }

    fn checked(self) -> Result<Self, SettingsError> {
        if self.login.user.is_some() && self.login.password.is_none() {
            return Err(wrong("password", "is missing: there is a user"));
        }
        if matches!(self.servers, Servers::Cluster(_)) && self.database != 0 {
            return Err(wrong("database", "must be 0: a cluster has no other"));
        }
        Ok(self)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("servers", &self.servers)
            .field("login", &self.login)
            .field("database", &self.database)
            .field("tls", &self.tls.is_some())
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("connections", &self.connections)
            .field("webhooks", &self.webhooks)
            .finish()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| HIDDEN))
            .field("tls", &self.tls)
            .field("database", &self.database)
            .finish()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| HIDDEN))
            .finish()
    }
}

const HIDDEN: &str = "…";

impl Default for Address {
    fn default() -> Self {
        Address {
            host: "127.0.0.1".into(),
            port: 6379,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Clone, Copy)]
enum Scheme {
    One,
    Cluster,
    Sentinel,
}

fn scheme_of(url: &Url) -> Result<(Scheme, bool), SettingsError> {
    Ok(match url.scheme() {
        "redis" => (Scheme::One, false),
        "rediss" => (Scheme::One, true),
        "redis-cluster" => (Scheme::Cluster, false),
        "rediss-cluster" => (Scheme::Cluster, true),
        "redis-sentinel" => (Scheme::Sentinel, false),
        "rediss-sentinel" => (Scheme::Sentinel, true),
        _ => {
            let problem = "must be redis://, redis-cluster:// or redis-sentinel://, or rediss in place of redis";
            return Err(wrong("url scheme", problem));
        }
    })
}

/// The query of the URL, after the question mark.
#[derive(Default)]
struct Query {
    nodes: Vec<Address>,
    service: Option<Box<str>>,
    sentinel_user: Option<Box<str>>,
    sentinel_password: Option<Box<str>>,
}

const NODE: &str = "node";
const SERVICE: &str = "sentinelServiceName";

impl Query {
    fn of(url: &Url) -> Result<Self, SettingsError> {
        let mut query = Query::default();
        for (name, value) in url.query_pairs() {
            let text = || Some(value.as_ref().into());
            match name.as_ref() {
                NODE => query.nodes.push(node_of(&value)?),
                SERVICE => query.service = text(),
                "sentinelUsername" => query.sentinel_user = text(),
                "sentinelPassword" => query.sentinel_password = text(),
                _ => {
                    let problem = format!(
                        "?{name}= is not known: node, sentinelServiceName, sentinelUsername, sentinelPassword are"
                    );
                    return Err(wrong("url", problem));
                }
            }
        }
        Ok(query)
    }

    /// Whether the query has something that only Sentinel uses.
    fn is_of_sentinels(&self) -> bool {
        self.service.is_some() || self.sentinel_user.is_some() || self.sentinel_password.is_some()
    }
}

fn node_of(text: &str) -> Result<Address, SettingsError> {
    let (host, port) = text
        .rsplit_once(':')
        .ok_or_else(|| wrong(NODE, "must be host:port"))?;
    let host = Host::parse(host).map_err(|it| wrong(NODE, it))?;
    let port = port
        .parse()
        .map_err(|_| wrong(NODE, "must end in a port"))?;
    Ok(Address {
        host: host.to_string().into(),
        port: checked_port(NODE, port)?,
    })
}

fn host_of(url: &Url) -> Result<Box<str>, SettingsError> {
    match url.host_str() {
        // The parser leaves hosts of schemes that it does not know as they are.
        Some(host) => Ok(Host::parse(host)
            .map_err(|it| wrong("url host", it))?
            .to_string()
            .into()),
        None => Err(wrong("url host", "is missing")),
    }
}

fn checked_port(field: &'static str, port: u16) -> Result<u16, SettingsError> {
    if port == 0 {
        return Err(wrong(field, "must be 1 to 65535"));
    }
    Ok(port)
}

fn login_of(url: &Url) -> Result<Login, SettingsError> {
    let decoded = |field, text| {
        let text = percent_encoding::percent_decode_str(text).decode_utf8();
        let text = text.map_err(|_| wrong(field, "is not UTF-8 once percent-decoded"))?;
        Ok(non_empty(Some(&text)))
    };
    Ok(Login {
        user: decoded("user", url.username())?,
        password: decoded("password", url.password().unwrap_or_default())?,
    })
}

fn database_of(url: &Url) -> Result<u8, SettingsError> {
    match url.path().trim_start_matches('/') {
        "" => Ok(0),
        number => number
            .parse()
            .map_err(|_| wrong("database", "must be 0 to 255")),
    }
}

fn non_empty(text: Option<&str>) -> Option<Box<str>> {
    text.filter(|it| !it.is_empty()).map(Box::from)
}

fn list(addresses: &[Address]) -> String {
    let all: Vec<String> = addresses.iter().map(Address::to_string).collect();
    all.join(", ")
}

fn wrong(field: &'static str, problem: impl fmt::Display) -> SettingsError {
    SettingsError {
        field,
        problem: problem.to_string(),
    }
}

#[cfg(test)]
mod tests;
