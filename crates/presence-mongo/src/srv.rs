//! Looks up what a `mongodb+srv://` URI leaves to the DNS: the names of the servers, and some options.
//!
//! The driver can do this, too, but only with the resolvers of the system or with public ones.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use mongodb::options::{ConnectionString, HostInfo, ServerAddress, Tls};

use crate::settings::SettingsError;

/// How long looking up the servers of a `mongodb+srv://` URI may take.
pub const LOOKUP_TIME_MAX: Duration = Duration::from_secs(10);
/// How long one DNS server may take to answer. It is asked twice.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// The most servers that are taken of an answer.
const SERVERS_MAX: usize = 50;

/// What a `mongodb+srv://` URI says, before anything was looked up.
#[derive(Clone)]
pub(crate) struct SrvUri {
    /// The URI, with the name to look up in place of the servers.
    uri: ConnectionString,
    host: String,
    service: String,
}

/// What the DNS has of a name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    servers: Vec<(String, u16)>,
    auth_source: Option<String>,
    replica_set: Option<String>,
    load_balanced: Option<bool>,
}

impl SrvUri {
    /// Reads a URI whose options of SRV were taken out.
    pub(crate) fn new(
        uri: ConnectionString,
        service: Option<String>,
    ) -> Result<Self, SettingsError> {
        let host = match &uri.host_info {
            HostInfo::HostIdentifiers(hosts) => match &hosts[..] {
                [ServerAddress::Tcp { host, port: None }] => host.to_ascii_lowercase(),
                [ServerAddress::Tcp { port: Some(_), .. }] => {
                    return Err(SettingsError(
                        "a port cannot be given with mongodb+srv://, the DNS has it".into(),
                    ));
                }
                _ => {
                    return Err(SettingsError(
                        "mongodb+srv:// takes one name, which is looked up".into(),
                    ));
                }
            },
            _ => return Err(SettingsError("mongodb+srv:// takes one name".into())),
        };
        let host = host.trim_end_matches('.').to_owned();
        let service = service.unwrap_or_else(|| "mongodb".into());
        let is_name = |it: &str| {
            let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            !it.is_empty() && it.len() <= 63 && it.chars().all(is_fine)
        };
        if host.len() > 253 || !host.split('.').all(is_name) {
            return Err(SettingsError(
                "mongodb+srv:// takes a DNS name, as in mongodb+srv://cluster0.example.net/".into(),
            ));
        }
        if !is_name(&service) {
            return Err(SettingsError("srvServiceName must be a DNS label".into()));
        }
        Ok(SrvUri { uri, host, service })
    }

    /// The name that is looked up.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The URI with the servers and options that the DNS has of its name. Options of the URI win.
    ///
    /// # Errors
    ///
    /// Fails if no server of `dns` (none: those of the system) answers in time, or if the answer is of no use.
    pub(crate) async fn look_up(
        &self,
        dns: &[SocketAddr],
    ) -> Result<ConnectionString, SettingsError> {
        let found = tokio::time::timeout(LOOKUP_TIME_MAX, self.ask(dns)).await;
        let found = found.unwrap_or_else(|_| Err(format!("no answer in {LOOKUP_TIME_MAX:?}")));
        found.map(|it| self.completed(it)).map_err(|why| {
            SettingsError(format!(
                "cannot look up the servers of mongodb+srv://{}: {why}; a name that the DNS knows would do, or mongodb:// with the names of the servers",
                self.host
            ))
        })
    }

    async fn ask(&self, dns: &[SocketAddr]) -> Result<Found, String> {
        let resolver = resolver(dns).map_err(|error| error.to_string())?;
        // The dot at the end keeps the search list of the system away.
        let name = format!("_{}._tcp.{}.", self.service, self.host);
        let records = resolver.srv_lookup(&*name).await;
        let records = records.map_err(|error| match error.is_no_records_found() {
            true => format!("the DNS has no SRV record of {name}"),
            false => format!("SRV of {name}: {error}"),
        })?;
        let mut found = Found::default();
        for record in records.answers() {
            if let RData::SRV(srv) = &record.data {
                let server = srv.target.to_utf8();
                let server = server.trim_end_matches('.').to_ascii_lowercase();
                if !is_below(&server, &self.host) {
                    return Err(format!(
                        "SRV of {name} names {server}, which is not in the same domain"
                    ));
                }
                found.servers.push((server, srv.port));
            }
        }
        found.servers.truncate(SERVERS_MAX);
        if found.servers.is_empty() {
            return Err(format!("SRV of {name} names no server"));
        }
        let records = match resolver.txt_lookup(format!("{}.", self.host)).await {
            Ok(records) => records,
            Err(error) if error.is_no_records_found() => return Ok(found),
            Err(error) => return Err(format!("TXT of {}: {error}", self.host)),
        };
        let mut texts = records.answers().iter().filter_map(|it| match &it.data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        match (texts.next(), texts.next()) {
            (None, _) => {}
            (Some(text), None) => found.read_options(&String::from_utf8_lossy(&text))?,
            (Some(_), Some(_)) => {
                return Err(format!("{} has more than one TXT record", self.host));
            }
        }
        Ok(found)
    }

    fn completed(&self, found: Found) -> ConnectionString {
        let mut uri = self.uri.clone();
        let servers = found.servers.into_iter();
        let servers = servers.map(|(host, port)| ServerAddress::Tcp {
            host,
            port: Some(port),
        });
        uri.host_info = HostInfo::HostIdentifiers(servers.collect());
        uri.tls
            .get_or_insert_with(|| Tls::Enabled(Default::default()));
        if uri.replica_set.is_none() {
            uri.replica_set = found.replica_set;
        }
        if uri.load_balanced.is_none() {
            uri.load_balanced = found.load_balanced;
        }
        if let Some(credential) = &mut uri.credential
            && credential.source.is_none()
        {
            credential.source = found.auth_source;
        }
        uri
    }
}

impl fmt::Debug for SrvUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SrvUri")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Found {
    /// Reads the options of a TXT record. The DNS may not set others than these.
    fn read_options(&mut self, text: &str) -> Result<(), String> {
        for option in text.split('&') {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            match (&*name.to_ascii_lowercase(), value) {
                (_, "") => {
                    return Err(format!("the TXT record has {option:?}, which is no option"));
                }
                ("authsource", _) => self.auth_source = Some(value.into()),
                ("replicaset", _) => self.replica_set = Some(value.into()),
                ("loadbalanced", "true") => self.load_balanced = Some(true),
                ("loadbalanced", "false") => self.load_balanced = Some(false),
                _ => {
                    return Err(format!(
                        "the TXT record has {option:?}; only authSource, replicaSet and loadBalanced (true or false) may be there"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Asks `dns`, or the servers of the system if there are none.
fn resolver(dns: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = match dns {
        [] => TokioResolver::builder_tokio()?,
        _ => {
            let servers = dns.iter().map(|address| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                let connections = connections.map(|mut it| {
                    it.port = address.port();
                    it
                });
                NameServerConfig::new(address.ip(), true, connections.into())
            });
            let config = ResolverConfig::from_name_servers(servers.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.timeout = ANSWER_TIME_MAX;
    options.attempts = 1;
    builder.build()
}

/// Whether `server` is in the domain of `host`, so that who answers for the one may speak for the other. A host of one or
/// two labels is a domain itself.
fn is_below(server: &str, host: &str) -> bool {
    let domain = match host.split('.').count() {
        0..=2 => host,
        _ => host.split_once('.').map_or(host, |(_, domain)| domain),
    };
    let rest = server.strip_suffix(domain);
    rest.and_then(|it| it.strip_suffix('.'))
        .is_some_and(|it| !it.is_empty())
}
