//! Traces: a span for each HTTP call and for each delivery of webhooks, exported to a collector of OpenTelemetry.
//!
//! Without the feature `otel` nothing of it is compiled in, and spans are nothing. Like the log, traces are of the process:
//! they begin with [`init`] and end with [`stop`]. No attribute has an id, a token or an address of a client.

#[cfg(feature = "otel")]
mod on;
#[cfg(feature = "otel")]
mod poster;

#[cfg(not(feature = "otel"))]
mod off;

#[cfg(feature = "otel")]
use self::on as chosen;

#[cfg(not(feature = "otel"))]
use self::off as chosen;

pub(crate) use self::chosen::{CallSpan, DeliverySpan};
pub use self::chosen::{init, stop};
