//! One connection to one server, made by the `fred` crate. Types of that crate do not leave this one.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fred::clients::Client;
use fred::error::ErrorKind;
use fred::interfaces::{ClientLike, EventInterface, PubsubInterface};
use fred::prelude::{Builder, Config, Error, ReconnectPolicy, Server, ServerConfig};
use fred::types::config::{
    Options, ReconnectError, TcpConfig, TlsConfig, TlsConnector, UnresponsiveConfig,
};
use fred::types::{ClusterHash, CustomCommand, Message, RespVersion, Value};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::settings::{Address, Settings, Tls};

/// The number of commands that may wait for one connection. A further one fails at once.
const COMMANDS_MAX: usize = 16_384;
/// The number of messages that may wait for the task that takes them. If there are more, some are dropped, and the task
/// is told so.
const MESSAGES_MAX: usize = 4096;
/// The time after which a connection without an answer counts as broken.
const SILENCE_MAX: Duration = Duration::from_millis(1500);
/// The time limit for connecting and logging in.
const CONNECT: Duration = Duration::from_millis(1000);
/// The time after which the driver itself counts as stuck, if nothing was answered: it waits for a connection to take
/// its bytes, and does nothing else.
const STUCK: Duration = Duration::from_secs(3);
/// How long to wait before connecting again.
const PAUSE: Duration = Duration::from_millis(100);

/// One connection. It reconnects by itself, for ever; meanwhile commands fail at once.
pub(crate) struct Connection {
    client: Client,
    options: Options,
    restart: Arc<Notify>,
    driver: JoinHandle<()>,
    /// Since when no command was answered.
    unanswered: Mutex<Option<Instant>>,
}

impl Connection {
    /// Begins to connect to `server`. With `listens` it has room for many messages.
    pub(crate) fn open(
        settings: &Settings,
        server: &Address,
        listens: bool,
    ) -> Result<Self, Error> {
        let client = builder(settings, server, listens)?.build()?;
        let restart = Arc::new(Notify::new());
        let driver = tokio::spawn(drive(client.clone(), Arc::clone(&restart)));
        Ok(Connection {
            client,
            options: Options {
                max_attempts: Some(1),
                fail_fast: true,
                timeout: Some(settings.timeout),
                ..Options::default()
            },
            restart,
            driver,
            unanswered: Mutex::new(None),
        })
    }

    /// Whether the connection is up.
    pub(crate) fn is_up(&self) -> bool {
        self.client.is_connected()
    }

    /// Waits until the connection is up, or until it is known why not.
    pub(crate) async fn up(&self, within: Duration) -> Result<(), Error> {
        let mut errors = self.client.error_rx();
        let waiting = async {
            loop {
                tokio::select! {
                    up = self.client.wait_for_connect() => return up,
                    error = errors.recv() => if let Ok((error, _)) = error { return Err(error) },
                }
            }
        };
        tokio::time::timeout(within, waiting)
            .await
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Timeout, "not connected in time")))
    }

    /// Sends one command. It is never sent twice.
    pub(crate) async fn call(&self, name: &'static str, args: Vec<Value>) -> Result<Value, Error> {
        let command = CustomCommand::new_static(name, ClusterHash::FirstKey, false);
        let client = self.client.with_options(&self.options);
        let outcome = client.custom::<Value, Value>(command, args).await;
        self.watch(&outcome);
        outcome
    }

    fn watch(&self, outcome: &Result<Value, Error>) {
        let is_unanswered = outcome
            .as_ref()
            .is_err_and(|it| *it.kind() == ErrorKind::Timeout);
        let mut unanswered = self
            .unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !is_unanswered {
            *unanswered = None;
        } else if unanswered.get_or_insert_with(Instant::now).elapsed() > STUCK {
            *unanswered = None;
            self.restart.notify_one();
        }
    }

    /// Subscribes to a channel. Only one call at a time is allowed: the driver takes the answer to a further command of
    /// the same kind as that to the next command.
    pub(crate) async fn subscribe(&self, channel: String) -> Result<(), Error> {
        let client = self.client.with_options(&self.options);
        client.ssubscribe(channel).await
    }

    /// Sends a request to unsubscribe from channels of one slot. It does not wait for the answer, which the driver
    /// drops. But an answer that the slot has moved is taken as that to the next command, so send another command
    /// next and check.
    pub(crate) async fn unsubscribe(&self, channels: Vec<String>) -> Result<(), Error> {
        let client = self.client.with_options(&self.options);
        client.sunsubscribe(channels).await
    }

    /// The messages that arrive on the subscribed channels.
    pub(crate) fn messages(&self) -> broadcast::Receiver<Message> {
        self.client.message_rx()
    }

    /// An item for each time that the connection comes up, the first time included.
    pub(crate) fn reconnects(&self) -> broadcast::Receiver<Server> {
        self.client.reconnect_rx()
    }

    /// Closes the connection and connects again.
    pub(crate) async fn reset(&self, within: Duration) {
        let _ = tokio::time::timeout(within, self.client.force_reconnection()).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Keeps `client` connected. The driver does so itself after the first connection, except after an error that it takes
/// for wrong settings. A server may be repaired later, so that is no reason to give up.
async fn drive(client: Client, restart: Arc<Notify>) {
    loop {
        let mut driver = AbortOnDrop(client.connect());
        tokio::select! {
            _ended = &mut driver.0 => {}
            () = restart.notified() => {}
        }
        drop(driver);
        tokio::time::sleep(PAUSE).await;
    }
}

/// A task that is aborted when its owner is dropped.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn builder(settings: &Settings, server: &Address, listens: bool) -> Result<Builder, Error> {
    let config = Config {
        server: ServerConfig::Centralized {
            server: Server::new(host(server), server.port),
        },
        fail_fast: true,
        username: settings.login.user.as_deref().map(str::to_owned),
        password: settings.login.password.as_deref().map(str::to_owned),
        version: RespVersion::RESP3,
        database: (settings.database != 0).then_some(settings.database),
        tls: settings.tls.as_ref().map(tls_config).transpose()?,
        ..Config::default()
    };
    let mut builder = Builder::from_config(config);
    builder
        .with_connection_config(|it| {
            it.connection_timeout = CONNECT;
            it.internal_command_timeout = CONNECT;
            it.max_command_attempts = 1;
            it.max_command_buffer_len = COMMANDS_MAX;
            it.unresponsive = UnresponsiveConfig {
                max_timeout: Some(SILENCE_MAX),
                interval: SILENCE_MAX / 6,
            };
            it.tcp = TcpConfig {
                nodelay: Some(true),
                ..TcpConfig::default()
            };
            it.reconnect_errors = vec![
                ReconnectError::Loading,
                ReconnectError::ReadOnly,
                ReconnectError::MasterDown,
            ];
        })
        .with_performance_config(|it| {
            it.default_command_timeout = settings.timeout;
            it.broadcast_channel_capacity = if listens { MESSAGES_MAX } else { 32 };
        })
        // 0 is for ever. A driver that has given up stays dead.
        .set_policy(ReconnectPolicy::new_constant(0, PAUSE.as_millis() as u32));
    Ok(builder)
}

/// The host as the driver wants it: an IPv6 address without brackets.
fn host(address: &Address) -> String {
    address.host.trim_matches(['[', ']']).to_owned()
}

/// The TLS configuration: which certificates are trusted.
pub(crate) fn tls_config(tls: &Tls) -> Result<TlsConfig, Error> {
    let Some(authorities) = &tls.authorities else {
        return Ok(TlsConnector::default_rustls()?.into());
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let certificate = certificate.map_err(|it| tls_error(&it.to_string()))?;
        roots
            .add(certificate)
            .map_err(|it| tls_error(&it.to_string()))?;
    }
    if roots.is_empty() {
        return Err(tls_error("there is no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|it| tls_error(&it.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(config).into())
}

fn tls_error(why: &str) -> Error {
    Error::new(ErrorKind::Tls, why.to_owned())
}
