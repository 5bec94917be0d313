//! The native protocol on a server that is no gateway: the axum example, with the clients of Presence.

// In tests a panic is the message.
#![allow(clippy::unwrap_used)]

mod clients;
mod ending;
mod javascript;
#[cfg(feature = "tungstenite")]
mod time;
mod tokens;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use presence_client::{Client, Options, Protocol};
use presence_embedded::ProfileMemory;
use presence_hub::Hub;
use presence_native::{Server, Settings};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[path = "../../examples/axum.rs"]
#[allow(dead_code, unreachable_pub)] // It is a program.
mod example;

/// Nothing that is going to happen takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The example on a free port. It ends with its test.
struct Running {
    address: SocketAddr,
    hub: Hub,
    serving: JoinHandle<std::io::Result<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Starts the example with a hub and settings of its own.
async fn start() -> Running {
    start_with(Settings::default()).await
}

async fn start_with(settings: Settings) -> Running {
    let hub = hub();
    let app = example::app(Server::new(hub.clone(), settings));
    start_app(app, hub).await
}

async fn start_app(app: Router, hub: Hub) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = axum::serve(listener, app);
    Running {
        address,
        hub,
        serving: tokio::spawn(serving.into_future()),
    }
}

fn hub() -> Hub {
    let settings = presence_hub::Settings {
        shards: 1,
        ..presence_hub::Settings::default()
    };
    Hub::start(settings, Arc::new(ProfileMemory::default()))
}

impl Running {
    /// How `user` connects, on the device `web:<user>`.
    fn options(&self, user: &str, protocol: Protocol) -> Options {
        options(self.address, user, protocol)
    }

    /// One connection of `user`, in JSON.
    async fn client(&self, user: &str) -> Client {
        let options = self.options(user, Protocol::Json);
        soon("a connection", Client::connect(&options))
            .await
            .unwrap()
    }
}

fn options(address: SocketAddr, user: &str, protocol: Protocol) -> Options {
    Options {
        protocol,
        device_id: Some(format!("web:{user}")),
        ..Options::user(&format!("ws://{address}/ws"), user)
    }
}

/// What `it` is in the end, which it must be soon.
async fn soon<T>(what: impl std::fmt::Display, it: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(PATIENCE, it).await;
    done.unwrap_or_else(|_| panic!("{what} does not come"))
}
