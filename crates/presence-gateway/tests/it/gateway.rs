//! A gateway in this process, on a free port, with the settings that a test is about.

use std::ffi::OsString;
use std::future::Future;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use presence_client::{Options, Protocol};
use presence_core::Timestamp;
use presence_gateway::Gateway;
use presence_gateway::cli::Cli;
use presence_gateway::config::{Config, Jwt};
use presence_gateway::identity::{Grant, mint};

use crate::raw::{body, get};

/// What tokens are signed with in tests.
pub(crate) const SECRET: &str = "a secret of tests, which everybody knows";

/// Nothing that is going to happen takes longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A gateway, and the keys it was started with. It ends with the runtime of its test.
pub(crate) struct Running {
    gateway: Gateway,
    jwt: Jwt,
}

/// Starts one that keeps nothing, with settings by their names in the environment.
pub(crate) async fn start(settings: &[(&str, &str)]) -> Running {
    start_with(config(settings)).await
}

/// Starts one with a configuration that is changed.
pub(crate) async fn start_with(config: Config) -> Running {
    let jwt = config.jwt.clone();
    let gateway = Gateway::start(config).await.unwrap();
    Running { gateway, jwt }
}

/// Starts one where everybody needs a token.
pub(crate) async fn start_closed(settings: &[(&str, &str)]) -> Running {
    start(&[&[("PRESENCE_JWT_SECRET", SECRET)], settings].concat()).await
}

/// The configuration of a gateway on a free port that keeps nothing.
pub(crate) fn config(settings: &[(&str, &str)]) -> Config {
    let cli = Cli {
        listen: Some("127.0.0.1:0".into()),
        data_dir: Some(":memory:".into()),
        ..Cli::default()
    };
    let env = settings
        .iter()
        .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::load(&cli, env).unwrap()
}

impl Deref for Running {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

impl Running {
    /// Stops it, in the way of a SIGTERM.
    pub(crate) async fn stop(self) {
        self.gateway.stop().await;
    }

    /// Waits until it has noticed that only `count` of its connections are left.
    pub(crate) async fn is_left_with(&self, count: u64) {
        let noticed = async {
            loop {
                let answer = get(self.address(), "/health").await;
                let health: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
                // The one that asks is one, too.
                if health["presence"]["connections"] == count + 1 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(format!("{count} connections are left"), noticed).await;
    }

    /// How `user` connects, in JSON, on the device `web:<user>`.
    pub(crate) fn options(&self, user: &str) -> Options {
        options(self.address(), user)
    }

    /// How whoever has `token` connects.
    pub(crate) fn options_with(&self, token: &str) -> Options {
        Options {
            user_id: None,
            device_id: Some("web:1".into()),
            token: Some(token.into()),
            ..self.options("")
        }
    }

    /// A token for `user`, good for `ttl`, otherwise as `change` wants it.
    pub(crate) fn token(
        &self,
        user: &str,
        ttl: Duration,
        change: impl FnOnce(&mut Grant),
    ) -> String {
        self.token_made_at(now(), user, ttl, change)
    }

    /// A token that was made at some other time.
    pub(crate) fn token_made_at(
        &self,
        when: Timestamp,
        user: &str,
        ttl: Duration,
        change: impl FnOnce(&mut Grant),
    ) -> String {
        let mut grant = Grant {
            user: user.parse().unwrap(),
            name: None,
            workspaces: Vec::new(),
            channels: Vec::new(),
            scopes: Vec::new(),
            device: None,
            ttl,
        };
        change(&mut grant);
        mint(&self.jwt, &grant, when).unwrap()
    }
}

/// How `user` connects to a gateway at `address`, in JSON, on the device `web:<user>`.
pub(crate) fn options(address: SocketAddr, user: &str) -> Options {
    Options {
        protocol: Protocol::Json,
        device_id: Some(format!("web:{user}")),
        ..Options::user(&format!("ws://{address}/ws"), user)
    }
}

pub(crate) fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp::from_millis(now.as_millis() as u64)
}

/// Waits for what is going to happen; fails with `what` if it does not.
#[track_caller]
pub(crate) fn soon<T, F: Future<Output = T>>(
    what: impl std::fmt::Display,
    it: F,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        match tokio::time::timeout(PATIENCE, it).await {
            Ok(it) => it,
            Err(_) => panic!("at {caller}: never happened: {what}"),
        }
    }
}
