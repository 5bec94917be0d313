//! Fetches the JWK set of a URL: at intervals, and when a token names a key that is not in it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::header::{ACCEPT, HeaderValue, USER_AGENT};
use hyper::{Request, StatusCode};
use presence_hub::WallClock;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::JwksUrl;
use crate::identity::{FetchedJwks, JWKS_BYTES_MAX};
use crate::web_client::{self, WebClient, in_full};

/// How long a fetch may take, from the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest pause between two fetches for unknown keys, however many tokens name such keys.
const UNKNOWN_EVERY: Duration = Duration::from_secs(5);
/// The pause after a failed fetch: the first value, doubled each time, up to the second.
const AGAIN: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(30)];

/// The task that fetches a JWK set.
pub(crate) struct Fetcher {
    source: JwksUrl,
    client: WebClient,
    jwks: Arc<FetchedJwks>,
    clock: WallClock,
    /// Whether the first attempt has ended, with or without success.
    has_tried: watch::Sender<bool>,
}

/// Why a fetch brought no set of keys.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("it did not answer within {TIMEOUT:?}")]
    TooSlow,
    #[error("it answered {0} instead of 200")]
    Answered(StatusCode),
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("the set is bigger than {JWKS_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the connection ended before the set was complete")]
    BrokenOff,
    #[error("it is not a set of keys that can be used: {0}")]
    NoSet(String),
}

impl Fetcher {
    /// Makes the task that keeps `jwks` up to date from `source`.
    ///
    /// # Errors
    ///
    /// Fails if the system has no certificates of trusted authorities.
    pub(crate) fn new(
        source: JwksUrl,
        jwks: Arc<FetchedJwks>,
        clock: WallClock,
    ) -> std::io::Result<Self> {
        Ok(Fetcher {
            client: web_client::to(&source.url)?,
            source,
            jwks,
            clock,
            has_tried: watch::Sender::new(false),
        })
    }

    /// Becomes true when the first attempt has ended, with or without success.
    pub(crate) fn has_tried(&self) -> watch::Receiver<bool> {
        self.has_tried.subscribe()
    }

    /// Fetches the set again and again, without end.
    pub(crate) async fn run(self) {
        let mut failures = 0;
        loop {
            let tried_at = Instant::now();
            let fetched = self.fetch().await;
            self.jwks.fetches.fetch_add(1, Relaxed);
            let url = &self.source.url;
            match fetched {
                Ok(news) => {
                    failures = 0;
                    if let Some(keys) = news {
                        tracing::info!(%url, keys, "fetched the keys of tokens");
                    }
                }
                Err(error) => {
                    failures += 1;
                    self.jwks.failures.fetch_add(1, Relaxed);
                    let (keys, _) = self.jwks.state();
                    tracing::warn!(%url, %error, keys, "cannot fetch the keys of tokens: those from before stay in use");
                }
            }
            self.has_tried.send_replace(true);
            let next = tried_at + self.pause(failures);
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.jwks.unknown.notified() => {
                    sleep_until(next.min(tried_at + UNKNOWN_EVERY)).await;
                }
            }
        }
    }

    /// The pause before the next attempt, after this many failures in a row.
    fn pause(&self, failures: u32) -> Duration {
        let [first, longest] = AGAIN;
        match failures {
            0 => self.source.refresh,
            _ => (first * 2_u32.saturating_pow(failures - 1)).min(longest.min(self.source.refresh)),
        }
    }

    /// Fetches the set once. Returns the number of keys if the set has changed.
    async fn fetch(&self) -> Result<Option<usize>, FetchError> {
        let text = timeout(TIMEOUT, self.get());
        let text = text.await.unwrap_or(Err(FetchError::TooSlow))?;
        let replaced = self.jwks.replace(text, self.clock.now());
        replaced.map_err(FetchError::NoSet)
    }

    async fn get(&self) -> Result<String, FetchError> {
        let mut request = Request::new(Full::<Bytes>::default());
        *request.uri_mut() = self.source.url.clone();
        let headers = request.headers_mut();
        let accepted = "application/jwk-set+json, application/json";
        headers.insert(ACCEPT, HeaderValue::from_static(accepted));
        headers.insert(USER_AGENT, HeaderValue::from_static(web_client::AGENT));
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| FetchError::Unreachable(in_full(&error)))?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Answered(answer.status()));
        }
        let read = Limited::new(answer.into_body(), JWKS_BYTES_MAX).collect();
        let read = read
            .await
            .map_err(|error| match error.is::<LengthLimitError>() {
                true => FetchError::TooLarge,
                false => FetchError::BrokenOff,
            })?;
        String::from_utf8(read.to_bytes().into())
            .map_err(|_| FetchError::NoSet("it is not UTF-8".into()))
    }
}
