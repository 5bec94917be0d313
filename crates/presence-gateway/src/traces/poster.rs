//! Posts batches of spans to the collector, with the HTTP client of the gateway.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{HeaderValue, USER_AGENT};
use hyper::{Request, Response, Uri};
use opentelemetry_http::{HttpClient, HttpError};
use presence_core::{LogThrottle, Timestamp};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use super::on::EXPORT_WITHIN;
use crate::web_client::{self, WebClient, in_full};

/// How much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// How often it is said that spans cannot be exported.
const SAID_EVERY: Duration = Duration::from_secs(10);

/// The client of the exporter, which runs on a thread without a runtime: requests are made on that of the gateway.
pub(super) struct Poster {
    client: WebClient,
    runtime: Handle,
    began: Instant,
    faults: Arc<Mutex<LogThrottle>>,
}

impl Poster {
    /// A client for the collector at `url`. It needs a runtime.
    ///
    /// # Errors
    ///
    /// Fails if the system has no certificates of trusted authorities.
    pub(super) fn to(url: &Uri) -> io::Result<Self> {
        Ok(Poster {
            client: web_client::to(url)?,
            runtime: Handle::current(),
            began: Instant::now(),
            faults: Arc::new(Mutex::new(LogThrottle::new(SAID_EVERY))),
        })
    }
}

impl fmt::Debug for Poster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poster").finish_non_exhaustive()
    }
}

impl HttpClient for Poster {
    // What `async_trait` makes of the method.
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let posting = self.runtime.spawn(post(self.client.clone(), request));
        Box::pin(async move {
            let answer = posting.await.unwrap_or_else(|error| Err(error.into()));
            let fault = match &answer {
                Ok(answer) if answer.status().is_success() => None,
                Ok(answer) => Some(format!("it answered {} instead of 2xx", answer.status())),
                Err(error) => Some(error.to_string()),
            };
            if let Some(error) = fault {
                // Its log has no other use for the time than to say it seldom.
                let millis = self.began.elapsed().as_millis() as u64;
                let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(count) = faults.happened(Timestamp::from_millis(millis)) {
                    tracing::warn!(error, count, "cannot export traces to the collector");
                }
            }
            answer
        })
    }
}

async fn post(client: WebClient, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut request = request.map(Full::new);
    let agent = HeaderValue::from_static(web_client::AGENT);
    request.headers_mut().insert(USER_AGENT, agent);
    let answered = async {
        let answer = client.request(request).await;
        let answer = answer.map_err(|error| HttpError::from(in_full(&error)))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    let answered = timeout(EXPORT_WITHIN, answered).await;
    answered.unwrap_or_else(|_| Err("it did not answer in time".into()))
}
