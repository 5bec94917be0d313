//! The HTTP client for requests of the gateway to others: the endpoint of webhooks, and the URL of keys.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// The HTTP client. It follows no redirects.
pub(crate) type WebClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The `User-Agent` of the gateway's requests.
pub(crate) const AGENT: &str = concat!("presence/", env!("CARGO_PKG_VERSION"));

/// How long an idle connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(30);

/// A client for `url`, which has a scheme and a host. Over https it talks only to a server that proves to be that host.
///
/// # Errors
///
/// Fails if the system has no certificates of trusted authorities.
pub(crate) fn to(url: &Uri) -> io::Result<WebClient> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_nodelay(true);
    let builder = HttpsConnectorBuilder::new();
    let builder = match url.scheme_str() {
        Some("https") => builder.with_native_roots()?.https_only(),
        // Without encryption there is nobody to trust.
        _ => builder.with_tls_config(trusting_nobody()).https_or_http(),
    };
    let connector = builder.enable_http1().wrap_connector(http);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(1)
        .build(connector))
}

fn trusting_nobody() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// An error with its causes: the client's own text is only `client error (Connect)`.
pub(crate) fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
