//! The settings of the connection: which MongoDB to use, and how.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mongodb::options::{ClientOptions, ConnectionString, Tls};

use crate::srv::SrvUri;

/// The name of the database, unless the settings name another one.
pub const DATABASE: &str = "presence";
/// How long the search for a suitable server may take, unless the URI says otherwise. With the driver's own 30 s
/// everyone whose profile is asked for would wait that long while all servers are away.
pub const SELECTION_TIME_MAX: Duration = Duration::from_millis(2500);
/// How long connecting to a server and its first answer may take, unless the URI says otherwise. A server that takes 2 s for
/// everything is slow, but not away.
pub const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// How long one command may take, unless the URI says otherwise with `socketTimeoutMS`.
pub const OPERATION_TIME_MAX: Duration = Duration::from_secs(10);

/// The longest name of a database that MongoDB accepts, in bytes.
const DATABASE_BYTES_MAX: usize = 63;

/// Says which MongoDB to use, and how. The settings are checked, so mistakes are reported before anything is opened.
///
/// Neither its `Debug` nor its errors show a password.
///
/// ```
/// use presence_mongo::Settings;
///
/// let settings = Settings::from_uri("mongodb://presence:secret@a.example,b.example/?tls=true")?;
/// assert_eq!(settings.describe(), "MongoDB at a.example:27017, b.example:27017 with TLS, database presence");
/// assert!(!format!("{settings:?}").contains("secret"));
/// # Ok::<(), presence_mongo::SettingsError>(())
/// ```
#[derive(Clone)]
pub struct Settings {
    servers: Servers,
    /// The DNS servers that are asked for the MongoDB servers; those of the system if this is empty.
    dns: Vec<SocketAddr>,
    pub(crate) database: String,
    pub(crate) operation_time_max: Duration,
}

/// How the addresses of the servers are found.
#[derive(Clone)]
enum Servers {
    /// The settings name the servers.
    Named(Box<ClientOptions>),
    /// The names of the servers have to be looked up in DNS.
    Srv(Box<SrvUri>),
}

/// Why the settings cannot name a MongoDB.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub(crate) String);

impl Settings {
    /// Reads a URI, `mongodb://` or `mongodb+srv://`, with all the options that MongoDB drivers know; of those of SRV,
    /// `srvMaxHosts` is not supported. The servers of `mongodb+srv://` have to be [looked up](Settings::looked_up) before
    /// they are connected to.
    ///
    /// # Errors
    ///
    /// Fails if the URI is not valid, or if its options exclude each other.
    pub fn from_uri(uri: &str) -> Result<Self, SettingsError> {
        let (is_srv, service, uri) = match uri.strip_prefix("mongodb+srv://") {
            None => (false, None, uri.to_owned()),
            Some(rest) => {
                let (rest, service) = without_srv_options(rest)?;
                (true, service, format!("mongodb://{rest}"))
            }
        };
        let mut uri = parse(&uri)?;
        uri.server_selection_timeout
            .get_or_insert(SELECTION_TIME_MAX);
        uri.connect_timeout.get_or_insert(CONNECT_TIME_MAX);
        // The driver does not use this option for anything, so it serves as the limit of a command.
        #[expect(deprecated)]
        let operation_time_max = uri.socket_timeout.take();
        // Options that exclude each other are refused before anything is looked up.
        let options = options(uri.clone())?;
        let servers = match is_srv {
            false => Servers::Named(Box::new(options)),
            true => Servers::Srv(Box::new(SrvUri::new(uri, service)?)),
        };
        Ok(Settings {
            servers,
            dns: Vec::new(),
            database: DATABASE.into(),
            operation_time_max: operation_time_max.unwrap_or(OPERATION_TIME_MAX),
        })
    }

    /// The same settings with other DNS servers than those of the system, for a `mongodb+srv://` URI.
    #[must_use]
    pub fn with_dns(mut self, servers: Vec<SocketAddr>) -> Self {
        self.dns = servers;
        self
    }

    /// The same settings with the servers, and the options, that the DNS has of the name in a `mongodb+srv://` URI. A
    /// `mongodb://` URI needs no lookup.
    ///
    /// # Errors
    ///
    /// Fails if no DNS server answers within [`LOOKUP_TIME_MAX`](crate::LOOKUP_TIME_MAX), or if what they answer is of no use.
    pub async fn looked_up(mut self) -> Result<Self, SettingsError> {
        if let Servers::Srv(srv) = &self.servers {
            let uri = srv.look_up(&self.dns).await?;
            self.servers = Servers::Named(Box::new(options(uri)?));
        }
        Ok(self)
    }

    /// The options for the driver.
    pub(crate) fn options(&self) -> Result<ClientOptions, SettingsError> {
        match &self.servers {
            Servers::Named(options) => Ok((**options).clone()),
            Servers::Srv(_) => Err(SettingsError(
                "the servers of a mongodb+srv:// URI have to be looked up first".into(),
            )),
        }
    }

    /// The same settings with another database.
    ///
    /// # Errors
    ///
    /// Fails if MongoDB does not accept the name.
    pub fn with_database(mut self, name: &str) -> Result<Self, SettingsError> {
        let is_fine =
            |c: char| !c.is_control() && !c.is_whitespace() && !"/\\.\"$*<>:|?".contains(c);
        if name.is_empty() || name.len() > DATABASE_BYTES_MAX || !name.chars().all(is_fine) {
            return Err(SettingsError(format!(
                "must be 1 to {DATABASE_BYTES_MAX} bytes without spaces and any of / \\ . \" $ * < > : | ?"
            )));
        }
        self.database = name.into();
        Ok(self)
    }

    /// Where it connects to, without a password, for the log.
    pub fn describe(&self) -> String {
        let (servers, tls) = match &self.servers {
            Servers::Srv(srv) => (format!("the servers of {}", srv.host()), ""),
            Servers::Named(options) => {
                let servers: Vec<String> = options.hosts.iter().map(ToString::to_string).collect();
                let tls = match options.tls {
                    Some(Tls::Enabled(_)) => " with TLS",
                    Some(Tls::Disabled) | None => "",
                };
                (servers.join(", "), tls)
            }
        };
        format!("MongoDB at {servers}{tls}, database {}", self.database)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("uri", &self.describe())
            .field("operation_time_max", &self.operation_time_max)
            .finish_non_exhaustive()
    }
}

/// Resolves the options of a URI. The driver would wait for a lookup of server names, but there are none to look up.
fn options(uri: ConnectionString) -> Result<ClientOptions, SettingsError> {
    let options = pin!(ClientOptions::parse(uri).into_future());
    match options.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(options) => options.map_err(|error| SettingsError(error.to_string())),
        Poll::Pending => unreachable!("servers are named by their addresses"),
    }
}

/// Takes the options of SRV, which the driver would not take of another URI, out of what follows the scheme. Returns the
/// rest, and the name of the service if there is one.
fn without_srv_options(rest: &str) -> Result<(String, Option<String>), SettingsError> {
    let Some((before, options)) = rest.split_once('?') else {
        return Ok((rest.to_owned(), None));
    };
    let mut service = None;
    let mut others = Vec::new();
    for option in options.split('&') {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match &*name.to_ascii_lowercase() {
            "srvservicename" => service = Some(value.to_owned()),
            "srvmaxhosts" => {
                return Err(SettingsError(
                    "srvMaxHosts is not supported: a URI without it uses all servers".into(),
                ));
            }
            _ => others.push(option),
        }
    }
    let rest = match others.is_empty() {
        true => before.to_owned(),
        false => format!("{before}?{}", others.join("&")),
    };
    Ok((rest, service))
}

/// Parses a URI. An error of the driver may quote what it takes for a host, which is part of the password if that has a
/// `/` or an `@`. So the driver is asked about the rest of the URI.
fn parse(uri: &str) -> Result<ConnectionString, SettingsError> {
    let error = match ConnectionString::parse(uri) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error.to_string(),
    };
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Err(SettingsError(
            "must begin with mongodb:// or mongodb+srv://".into(),
        ));
    };
    let Some((_, rest)) = rest.rsplit_once('@') else {
        return Err(SettingsError(error));
    };
    match ConnectionString::parse(format!("{scheme}://{rest}")) {
        Ok(_) => Err(SettingsError(
            "user and password must be percent-encoded, and fit the other options".into(),
        )),
        Err(error) => Err(SettingsError(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_where_and_how() {
        let settings = Settings::from_uri("mongodb://127.0.0.1").unwrap();
        assert_eq!(
            settings.describe(),
            "MongoDB at 127.0.0.1:27017, database presence"
        );
        let uri = "mongodb://u:p%2Fw@a.example:1,b.example/admin?tls=true&replicaSet=rs0";
        let settings = Settings::from_uri(uri)
            .unwrap()
            .with_database("chat")
            .unwrap();
        assert_eq!(
            settings.describe(),
            "MongoDB at a.example:1, b.example:27017 with TLS, database chat"
        );
    }

    #[test]
    fn the_drivers_patience_is_bounded_unless_the_uri_says_its_own() {
        let settings = Settings::from_uri("mongodb://a.example").unwrap();
        let options = settings.options().unwrap();
        assert_eq!(options.server_selection_timeout, Some(SELECTION_TIME_MAX));
        assert_eq!(options.connect_timeout, Some(CONNECT_TIME_MAX));
        assert_eq!(settings.operation_time_max, OPERATION_TIME_MAX);

        let own = "serverSelectionTimeoutMS=4000&connectTimeoutMS=7000&socketTimeoutMS=6000";
        let settings = Settings::from_uri(&format!("mongodb://a.example/?{own}")).unwrap();
        let options = settings.options().unwrap();
        assert_eq!(
            options.server_selection_timeout,
            Some(Duration::from_secs(4))
        );
        assert_eq!(options.connect_timeout, Some(Duration::from_secs(7)));
        assert_eq!(settings.operation_time_max, Duration::from_secs(6));
    }

    #[test]
    fn a_wrong_uri_is_refused_with_the_reason() {
        for (uri, problem) in [
            ("", "must begin with mongodb://"),
            ("http://a.example", "scheme"),
            ("mongodb://", "host"),
            ("mongodb://a.example:0x1", "port"),
            ("mongodb://a.example/?tls=maybe", "tls"),
            ("mongodb+srv://", "host"),
            ("mongodb+srv://a.example:27017", "port"),
            ("mongodb+srv://a.example,b.example", "one name"),
            ("mongodb+srv://a_.b-c..d", "a DNS name"),
            ("mongodb+srv://a.example/?srvMaxHosts=2", "srvMaxHosts"),
            (
                "mongodb+srv://a.example/?srvServiceName=a.b",
                "srvServiceName",
            ),
            ("mongodb+srv://a.example/?tls=maybe", "tls"),
            ("mongodb+srv://u:p@w@a.example", "percent-encoded"),
            (
                "mongodb+srv://a.example/?directConnection=true&replicaSet=a&loadBalanced=true",
                "oadBalanced",
            ),
            ("mongodb://u:p@w@a.example", "percent-encoded"),
        ] {
            let error = Settings::from_uri(uri).unwrap_err().to_string();
            assert!(error.contains(problem), "{uri}: {error}");
        }
    }

    #[test]
    fn a_database_that_mongodb_would_refuse_is_refused() {
        let settings = Settings::from_uri("mongodb://a.example").unwrap();
        for good in ["p", "Presence-1_2", &"x".repeat(DATABASE_BYTES_MAX)] {
            assert_eq!(settings.clone().with_database(good).unwrap().database, good);
        }
        for bad in [
            "",
            "a b",
            "a.b",
            "$a",
            "a/b",
            &"x".repeat(DATABASE_BYTES_MAX + 1),
        ] {
            let error = settings.clone().with_database(bad).unwrap_err();
            assert!(
                error.to_string().starts_with("must be 1 to 63 bytes"),
                "{bad}: {error}"
            );
        }
    }

    #[test]
    fn no_password_is_ever_shown() {
        let settings = Settings::from_uri("mongodb://u:hush@a.example").unwrap();
        let srv = Settings::from_uri("mongodb+srv://u:hush@a.example").unwrap();
        let shown = format!(
            "{settings:?} {} {srv:?} {}",
            settings.describe(),
            srv.describe()
        );
        assert!(!shown.contains("hush"), "{shown}");
        for uri in [
            "mongodb://u:hush@a b:x",
            "mongodb://u:hush/x@a.example",
            "mongodb://u:x@hush@a.example",
            "mongodb://u:hush:x@a.example",
            "mongodb://u:hu%sh@a.example",
            "mongodb://u:hush@a.example/?tls=maybe",
            "mongodb://u:1/hush@a.example:99999",
            "mongodb+srv://u:hush/x@a.example",
            "mongodb+srv://u:x@hush@a.example",
            "mongodb+srv://u:x?hush@a.example",
            "mongodb+srv://u:hush@a.example:1",
        ] {
            let error = Settings::from_uri(uri).unwrap_err();
            assert!(
                !format!("{error} {error:?}").contains("hu"),
                "{uri}: {error:?}"
            );
        }
    }
}
