//! Sends one POST, and finds out whether the endpoint has accepted it.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};

use crate::traces::DeliverySpan;
use crate::web_client::{self, WebClient, in_full};

/// How long an endpoint may take, from the connection to the end of its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How much of an answer is read, so that the connection can be used again. Its content does not matter.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The content of a POST: a JSON text, and the headers that sign it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) body: Bytes,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

/// The URL to post to, and the client to do it with.
pub(crate) struct Post {
    url: Uri,
    client: WebClient,
}

/// Why the endpoint has not accepted a POST.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error(
        "there are no certificates of authorities to trust: install ca-certificates, or name them in SSL_CERT_FILE"
    )]
    NoAuthorities(#[source] std::io::Error),
    #[error("it did not answer within {TIMEOUT:?}")]
    TooSlow,
    #[error("it answered {0} instead of 2xx")]
    Answered(StatusCode),
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
}

impl PostError {
    /// The status that the endpoint answered, if it is about that.
    fn status(&self) -> Option<StatusCode> {
        match self {
            PostError::Answered(status) => Some(*status),
            _ => None,
        }
    }

    /// What went wrong, in a word.
    fn kind(&self) -> &'static str {
        match self {
            PostError::NoAuthorities(_) => "no_authorities",
            PostError::TooSlow => "timeout",
            PostError::Answered(_) => "answered",
            PostError::Unreachable(_) => "unreachable",
        }
    }
}

impl Post {
    /// Makes a poster for `url`, which has a scheme and a host.
    pub(crate) fn to(url: Uri) -> Result<Self, PostError> {
        let client = web_client::to(&url).map_err(PostError::NoAuthorities)?;
        Ok(Post { url, client })
    }

    /// Sends `letter` once. It follows no redirects, because the signature is for this URL.
    pub(crate) async fn send(&self, letter: Letter) -> Result<(), PostError> {
        let mut request = Request::new(Full::new(letter.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(web_client::AGENT));
        headers.extend(
            letter
                .headers
                .into_iter()
                .map(|(name, it)| (Some(name), it)),
        );
        let span = DeliverySpan::begin(&self.url);
        span.inject(request.headers_mut());
        let answered = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| PostError::Unreachable(in_full(&error)))?;
            let status = answer.status();
            let _ = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await;
            match status.is_success() {
                true => Ok(status),
                false => Err(PostError::Answered(status)),
            }
        };
        let answered = tokio::time::timeout(TIMEOUT, answered).await;
        let answered = answered.unwrap_or(Err(PostError::TooSlow));
        match &answered {
            Ok(status) => span.end(Some(*status), None),
            Err(error) => span.end(error.status(), Some(error.kind())),
        }
        answered.map(drop)
    }
}
