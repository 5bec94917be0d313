//! The token that says who we are, and where the next one comes from.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// A token that lives no longer than this is not worth connecting with.
const WORTH: Duration = Duration::from_secs(5);

/// How long the function that fetches a token may take.
pub(crate) const FETCH_MAX: Duration = Duration::from_secs(30);

/// A token on its way, or why there is none.
pub(crate) type Fetched = Pin<Box<dyn Future<Output = Result<String, String>> + Send>>;

type Fetch = dyn Fn() -> Fetched + Send + Sync;

/// The token that says who we are, and where the next one comes from.
#[derive(Clone)]
pub(crate) struct Tokens {
    fetch: Option<Arc<Fetch>>,
    token: Option<String>,
    /// When the token expires; unknown until a hello says it.
    expires: Option<Instant>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fetches = self.fetch.is_some();
        f.debug_struct("Tokens").field("fetches", &fetches).finish()
    }
}

impl Tokens {
    /// Always this token, or none.
    pub(crate) fn fixed(token: Option<String>) -> Self {
        Tokens {
            fetch: None,
            token,
            expires: None,
        }
    }

    /// Tokens that `fetch` fetches.
    pub(crate) fn fetched<F, T, E>(fetch: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let fetch = move || -> Fetched {
            let token = fetch();
            Box::pin(async move {
                match tokio::time::timeout(FETCH_MAX, token).await {
                    Ok(Ok(token)) => Ok(token.trim().to_owned()),
                    Ok(Err(why)) => Err(why.into().to_string()),
                    Err(_) => Err(format!("no token within {FETCH_MAX:?}")),
                }
            })
        };
        Tokens {
            fetch: Some(Arc::new(fetch)),
            token: None,
            expires: None,
        }
    }

    /// Whether a refused token can be replaced.
    pub(crate) fn can_renew(&self) -> bool {
        self.fetch.is_some()
    }

    /// The token to connect with, if there is one or none is wanted; else how to get one.
    pub(crate) fn current(&mut self) -> Result<Option<String>, Fetched> {
        let left = |it: Instant| it.saturating_duration_since(Instant::now());
        if self.expires.is_some_and(|it| left(it) < WORTH) {
            self.forget();
        }
        match &self.fetch {
            Some(fetch) if self.token.is_none() => Err(fetch()),
            _ => Ok(self.token.clone()),
        }
    }

    /// There is a new token; the next hello says when it expires.
    pub(crate) fn keep(&mut self, token: String) {
        self.token = Some(token);
        self.expires = None;
    }

    /// The token was refused, or will be. One that cannot be replaced is kept.
    pub(crate) fn forget(&mut self) {
        if self.fetch.is_some() {
            self.token = None;
        }
    }

    /// The token expires after `left`, or never.
    pub(crate) fn expires_after(&mut self, left: Option<Duration>) {
        self.expires = left.and_then(|it| Instant::now().checked_add(it));
    }
}
