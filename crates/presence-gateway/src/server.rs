//! The port: accepts connections, serves them, and stops gracefully.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use presence_core::LogThrottle;
use presence_redis::Goodbye;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::app::{App, Phase};
use crate::config::Config;
use crate::origin::PeerAddress;
use crate::{admin, descriptors, router};

/// The time in which a client has to send its request headers; a slower one is cut off.
const HEADERS_WAIT: Duration = Duration::from_secs(10);
/// The most bytes of headers in a request, which may have a hundred headers.
const HEADERS_BYTES_MAX: usize = 32 * 1024;
/// The pause after `accept` failed, most likely because no file descriptors are left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long saving may take at the end.
const SAVE_WAIT: Duration = Duration::from_secs(5);
/// How often the gateway checks that the data folder is still there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The pause between two closes when the gateway stops, if the drain time allows it.
const CLOSED_APART: Duration = Duration::from_millis(50);
/// A gateway that is alone closes more connections than this faster: until it is back, clients have nowhere to go.
const CLOSED_APART_MAX: u32 = 20;
/// The pause between two closes in that case.
const CLOSED_CLOSELY: Duration = Duration::from_millis(1);
/// How long the last connections may take to close.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);
/// How often a gateway that stops logs how many connections are left.
const DRAIN_SAID_EVERY: Duration = Duration::from_secs(1);
/// How many connections may wait for `accept`.
const BACKLOG: u32 = 4096;

/// A running gateway: its open port and everything behind it.
pub struct Gateway {
    app: Arc<App>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Gateway {
    /// Opens the stores and the port, and starts to accept connections.
    ///
    /// # Errors
    ///
    /// Says what cannot be opened, and why.
    pub async fn start(config: Config) -> anyhow::Result<Gateway> {
        let listener =
            listen(config.listen).map_err(|error| cannot_listen(config.listen, error))?;
        let address = listener.local_addr()?;
        let app = Arc::new(App::start(config).await?);
        descriptors::prepare(app.config.socket.connections_max);
        tokio::spawn(watch_data_folder(Arc::downgrade(&app)));
        admin::answer_others(&app);
        tokio::spawn(admin::look_out(Arc::downgrade(&app)));
        let accepting = tokio::spawn(accept(app.clone(), listener));
        Ok(Gateway {
            app,
            address,
            accepting,
        })
    }

    /// The address and port that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns when an operator has asked this gateway to stop, on the page `/admin`. The program that runs the gateway should
    /// then call [`stop`](Gateway::stop), as on a signal.
    pub async fn asked_to_stop(&self) {
        self.app.lookout.drain.notified().await;
    }

    /// Stops gracefully: accepts no new clients, closes the open connections one after the other, and returns when everything
    /// is saved. How long that takes grows with the number of connections, up to the drain time.
    ///
    /// It answers health checks until the end, so that a load balancer sees what is going on.
    ///
    /// Drop the gateway after its runtime: for a database that did not answer when it was closed, dropping starts the
    /// last work of its driver.
    pub async fn stop(&self) {
        let config = &self.app.config;
        let connections = self.app.connections.open();
        let is_alone = config.redis.is_none();
        let spread = spread(connections, is_alone).min(config.drain);
        let drain = config.drain.min(spread + GOODBYE_WAIT);
        tracing::info!(event = "drain_begin", ?drain, connections, "draining");
        self.app.hub.hold(drain + SAVE_WAIT).await;
        self.app.phase.send_replace(Phase::Draining(spread));
        let gone = tokio::time::timeout(drain, self.are_gone());
        let _ = tokio::join!(gone, self.app.say_goodbye(Goodbye::Stopping));
        let connections = self.app.connections.open();
        tracing::info!(
            event = "drain_end",
            connections,
            "the last connections are cut off"
        );
        self.accepting.abort();
        if !self.app.stop(SAVE_WAIT).await {
            tracing::error!("not everything could be saved");
        }
        self.app.say_goodbye(Goodbye::Stopped).await;
        self.app.end().await;
        tracing::info!("stopped");
    }

    /// Waits until all connections are closed, and logs how it goes.
    async fn are_gone(&self) {
        let mut said_at = tokio::time::Instant::now();
        loop {
            let connections = self.app.connections.open();
            if connections == 0 {
                return;
            }
            if said_at.elapsed() >= DRAIN_SAID_EVERY {
                said_at = tokio::time::Instant::now();
                tracing::info!(event = "drain_step", connections, "still draining");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops at once: cuts off all connections, and loses what is not saved. It also ends a [`stop`](Gateway::stop) that the
    /// caller gave up waiting for. Await it, or `stop`, before the runtime ends.
    pub async fn stop_now(&self) {
        self.accepting.abort();
        self.app.stop(Duration::ZERO).await;
    }
}

/// The time over which this many connections are closed, if it is not longer than the drain time.
fn spread(connections: usize, is_alone: bool) -> Duration {
    let connections = u32::try_from(connections).unwrap_or(u32::MAX);
    match is_alone {
        true => {
            let apart = CLOSED_APART * connections.min(CLOSED_APART_MAX);
            apart.max(CLOSED_CLOSELY * connections)
        }
        false => CLOSED_APART * connections,
    }
}

/// The error for a port that cannot be opened, with what would do.
fn cannot_listen(address: SocketAddr, error: io::Error) -> anyhow::Error {
    let would_do = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another program listens there: stop it, or set `listen` (PRESENCE_LISTEN, --listen) to another port, where 0 takes a free one"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: set `listen` (PRESENCE_LISTEN, --listen) to one that it has, or to 0.0.0.0 for all"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 are for root: set `listen` (PRESENCE_LISTEN, --listen) to a higher one, and let a proxy take the lower one"
        }
        _ => "`listen` (PRESENCE_LISTEN, --listen) says where",
    };
    anyhow::Error::new(error).context(format!("cannot listen on {address} ({would_do})"))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Checks the data folder at intervals, as long as the gateway lives.
async fn watch_data_folder(app: Weak<App>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(app) = app.upgrade() else {
            return;
        };
        let _ = tokio::task::spawn_blocking(move || app.kept.look()).await;
    }
}

async fn accept(app: Arc<App>, listener: TcpListener) {
    let mut said = LogThrottle::new(Duration::from_secs(1));
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                tokio::spawn(serve(app.clone(), stream, from.ip()));
            }
            Err(error) => {
                app.metrics.not_accepted();
                if let Some(count) = said.happened(app.now()) {
                    tracing::warn!(%error, count, "cannot accept");
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve(app: Arc<App>, stream: TcpStream, from: IpAddr) {
    let _ = stream.set_nodelay(true);
    let limits = &app.config.socket;
    let Some(_counted) = app.connections.enter(limits.connections_max) else {
        app.metrics.turned_away();
        app.journal.turns_away(app.now(), "gateway_full");
        return turn_away(stream, "the gateway is full").await;
    };
    let neighbour = app
        .connections
        .enter_from(from, limits.connections_per_address_max);
    let Ok(neighbour) = neighbour else {
        app.metrics.turned_away();
        app.journal.turns_away(app.now(), "address_full");
        return turn_away(stream, "too many connections of this address").await;
    };
    let service = service_fn(|mut request: Request<Incoming>| {
        let app = app.clone();
        request.extensions_mut().insert(PeerAddress(from));
        if let Some(neighbour) = &neighbour {
            request.extensions_mut().insert(neighbour.clone());
        }
        async move { Ok::<_, Infallible>(router::answer(app, request).await) }
    });
    let mut phase = app.phase.subscribe();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WAIT)
        .max_buf_size(HEADERS_BYTES_MAX)
        // A client that has sent its request may shut down its side, and still gets its answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = phase.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Answers a connection that is one too many, in as few bytes as possible.
async fn turn_away(mut stream: TcpStream, why: &str) {
    let body = format!(r#"{{"error":{{"code":"overloaded","message":"{why}"}}}}"#);
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nconnection: close\r\n\
        content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        // Read what the client is still sending, or it would see a reset instead of the answer.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_takes_longer_the_more_there_are() {
        let millis = Duration::from_millis;
        for (connections, alone, shared) in [
            (0, 0, 0),
            (3, 150, 150),
            (20, 1_000, 1_000),
            (200, 1_000, 10_000),
            (5_000, 5_000, 250_000),
            (usize::MAX, u64::from(u32::MAX), u64::from(u32::MAX) * 50),
        ] {
            assert_eq!(spread(connections, true), millis(alone), "{connections}");
            assert_eq!(spread(connections, false), millis(shared), "{connections}");
        }
    }
}
