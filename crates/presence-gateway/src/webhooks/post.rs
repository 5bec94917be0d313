//! One POST, and whether the endpoint has taken it.

use std::error::Error;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// How long an endpoint may take, from the connection to the end of its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next delivery.
const IDLE: Duration = Duration::from_secs(30);
/// How much of an answer is read, so that the connection can be used again. Nothing in it matters.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// What is to be sent: a JSON text, and the headers that sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) body: Bytes,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// Where it is sent.
pub(crate) struct Post {
    url: Uri,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// Why nobody has taken it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error(
        "there are no certificates of authorities to trust: install ca-certificates, or name them in SSL_CERT_FILE"
    )]
    NoAuthorities(#[source] std::io::Error),
    #[error("it did not answer within {TIMEOUT:?}")]
    TooSlow,
    #[error("it answered {0}, and only 2xx says that it has them")]
    Answered(StatusCode),
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
}

impl Post {
    /// To `url`, which has a scheme and a host.
    pub(crate) fn to(url: Uri) -> Result<Self, PostError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let builder = HttpsConnectorBuilder::new();
        let builder = match url.scheme_str() {
            Some("https") => builder
                .with_native_roots()
                .map_err(PostError::NoAuthorities)?
                .https_only(),
            // Nobody is to be trusted where nothing is encrypted.
            _ => builder.with_tls_config(trusting_nobody()).https_or_http(),
        };
        let connector = builder.enable_http1().wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(1)
            .build(connector);
        Ok(Post { url, client })
    }

    /// Sends it once. Redirects are not followed: what is signed is for this URL.
    pub(crate) async fn send(&self, letter: Letter) -> Result<(), PostError> {
        let mut request = Request::new(Full::new(letter.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let agent = concat!("presence/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        headers.extend(
            letter
                .headers
                .into_iter()
                .map(|(name, it)| (Some(name), it)),
        );
        let answered = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| PostError::Unreachable(in_full(&error)))?;
            let status = answer.status();
            let _ = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await;
            match status.is_success() {
                true => Ok(()),
                false => Err(PostError::Answered(status)),
            }
        };
        let answered = tokio::time::timeout(TIMEOUT, answered).await;
        answered.unwrap_or(Err(PostError::TooSlow))
    }
}

fn trusting_nobody() -> rustls::ClientConfig {
    rustls::ClientConfig::builder()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth()
}

/// An error with what caused it: the client's own says `client error (Connect)`, and no more.
fn in_full(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
