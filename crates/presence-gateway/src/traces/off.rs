//! What is compiled in without the feature `otel`: nothing is measured and nothing is sent.

use hyper::{HeaderMap, Method, StatusCode, Uri};

use crate::config::Config;

/// Starts nothing.
///
/// # Errors
///
/// It does not fail: the configuration is refused where it names a collector and there is no feature `otel`.
pub fn init(_: &Config) -> anyhow::Result<()> {
    Ok(())
}

/// Returns at once: there is no export to end.
pub async fn stop() {}

/// The span of an HTTP call.
pub(crate) struct CallSpan;

impl CallSpan {
    pub(crate) fn begin(_: &Method, _: &HeaderMap) -> Self {
        CallSpan
    }

    pub(crate) fn end(self, _: &str, _: StatusCode) {}
}

/// The span of one attempt to deliver webhooks.
pub(crate) struct DeliverySpan;

impl DeliverySpan {
    pub(crate) fn begin(_: &Uri) -> Self {
        DeliverySpan
    }

    pub(crate) fn inject(&self, _: &mut HeaderMap) {}

    pub(crate) fn end(self, _: Option<StatusCode>, _: Option<&'static str>) {}
}
