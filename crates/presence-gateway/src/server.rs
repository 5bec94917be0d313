//! The port: accepts connections, serves them, and stops gracefully.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::app::{App, Phase};
use crate::config::Config;
use crate::http;

/// A client that takes longer to say what it wants is cut.
const HEADERS_WAIT: Duration = Duration::from_secs(10);
/// Bytes of headers, of which a request may have a hundred.
const HEADERS_BYTES_MAX: usize = 32 * 1024;
/// How long to wait after `accept` failed: no file descriptors are left, most likely.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long what is unsaved may take at the end.
const SAVE_WAIT: Duration = Duration::from_secs(5);
/// How far apart connections are closed by a gateway that stops, if the drain time allows it.
const CLOSED_APART: Duration = Duration::from_millis(50);
/// With so many connections a gateway that is alone closes them faster: until it is back there is nowhere to go.
const CLOSED_APART_MAX: u32 = 20;
/// How far apart it closes them then.
const CLOSED_CLOSELY: Duration = Duration::from_millis(1);
/// How long the last ones may take to say goodbye.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);
/// Connections that wait for `accept`.
const BACKLOG: u32 = 4096;

/// A running gateway.
pub struct Gateway {
    app: Arc<App>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Gateway {
    /// Opens what is kept, and the port.
    ///
    /// # Errors
    ///
    /// Says what cannot be opened, and why.
    pub async fn start(config: Config) -> anyhow::Result<Gateway> {
        let listener =
            listen(config.listen).with_context(|| format!("cannot listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let app = Arc::new(App::start(config).await?);
        let accepting = tokio::spawn(accept(app.clone(), listener));
        Ok(Gateway {
            app,
            address,
            accepting,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets nobody new in, asks whoever is here to go, one after the other, and returns when everything is kept. How long that
    /// takes grows with how many there are, up to the drain time.
    ///
    /// Health checks are answered until the end, so that a load balancer sees what is going on.
    pub async fn stop(self) {
        let config = &self.app.config;
        let connections = self.app.connections.open();
        let is_alone = config.redis.is_none();
        let spread = spread(connections, is_alone).min(config.drain);
        let drain = config.drain.min(spread + GOODBYE_WAIT);
        tracing::info!(?drain, connections, "draining");
        self.app.hub.hold(drain + SAVE_WAIT).await;
        self.app.phase.send_replace(Phase::Draining(spread));
        let gone = async {
            while self.app.connections.open() > 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(drain, gone).await;
        self.accepting.abort();
        if !self.app.hub.stop(SAVE_WAIT).await {
            tracing::error!("not everything could be saved");
        }
        tracing::info!("stopped");
    }
}

/// Over how long so many connections are closed, if that is not more than the drain time.
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

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(app: Arc<App>, listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(app.clone(), stream));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

async fn serve(app: Arc<App>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let Some(_counted) = app.connections.enter(app.config.socket.connections_max) else {
        app.metrics.turned_away();
        return turn_away(stream).await;
    };
    let service = service_fn(|request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(http::answer(app, request).await) }
    });
    let mut phase = app.phase.subscribe();
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WAIT)
        .max_buf_size(HEADERS_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = phase.changed() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// More than there may be: told so in as few bytes as will do.
async fn turn_away(mut stream: TcpStream) {
    const FULL: &[u8] =
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\nconnection: close\r\n\
        content-type: application/json\r\ncontent-length: 63\r\n\r\n\
        {\"error\":{\"code\":\"overloaded\",\"message\":\"the gateway is full\"}}";
    let told = async {
        stream.write_all(FULL).await?;
        stream.shutdown().await?;
        // What the client is still saying has to be read, or it would see a reset instead of the answer.
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
