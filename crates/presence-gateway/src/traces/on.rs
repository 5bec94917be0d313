//! The spans of HTTP calls and of deliveries, and their export.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::Context as _;
use hyper::{HeaderMap, Method, StatusCode, Uri};
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{
    Span as _, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span,
};

use super::poster::Poster;
use crate::config::{Config, Otel};

/// The most spans that wait to be exported. Further ones are dropped.
const SPANS_WAITING_MAX: usize = 2_048;
/// The most spans in one request.
const SPANS_AT_ONCE_MAX: usize = 512;
/// How often spans that wait are exported.
const EXPORT_EVERY: Duration = Duration::from_secs(1);
/// How long a collector may take for one request.
pub(super) const EXPORT_WITHIN: Duration = Duration::from_secs(5);
/// How long a gateway that stops waits until its last spans are exported.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// The exporter of this process, if there is one.
static EXPORTED: OnceLock<Exported> = OnceLock::new();

#[derive(Debug)]
struct Exported {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    propagator: TraceContextPropagator,
}

/// Starts to export spans, if the configuration names a collector. It needs the runtime of the gateway. Only the first call
/// counts.
///
/// # Errors
///
/// Fails if the system has no certificates of trusted authorities, or if the exporter cannot be made.
pub fn init(config: &Config) -> anyhow::Result<()> {
    let Some(otel) = &config.otel else {
        return Ok(());
    };
    let provider = provider(otel, &config.node_name)?;
    let tracer = provider.tracer("presence");
    tracing::info!(collector = otel.describe(), ratio = otel.ratio, "traces");
    let _ = EXPORTED.set(Exported {
        provider,
        tracer,
        propagator: TraceContextPropagator::new(),
    });
    Ok(())
}

fn provider(otel: &Otel, node: &str) -> anyhow::Result<SdkTracerProvider> {
    let poster = Poster::to(&otel.endpoint).context(
        "there are no certificates of authorities to trust: install ca-certificates, or name them in SSL_CERT_FILE",
    )?;
    let headers = otel.headers.iter();
    let headers = headers.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.expose());
        (name.clone(), value.into_owned())
    });
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(poster)
        .with_endpoint(otel.endpoint.to_string())
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(EXPORT_WITHIN)
        .with_headers(headers.collect())
        .build()
        .context("cannot export traces")?;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(SPANS_WAITING_MAX)
        .with_max_export_batch_size(SPANS_AT_ONCE_MAX)
        .with_scheduled_delay(EXPORT_EVERY)
        .build();
    let processor = BatchSpanProcessor::builder(exporter)
        .with_batch_config(batches)
        .build();
    let resource = Resource::builder_empty()
        .with_service_name("presence-gateway")
        .with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", node.to_owned()),
        ]);
    // A caller that sends a context has decided already whether the trace is kept.
    let root = Sampler::TraceIdRatioBased(otel.ratio);
    Ok(SdkTracerProvider::builder()
        .with_span_processor(processor)
        .with_sampler(Sampler::ParentBased(Box::new(root)))
        .with_resource(resource.build())
        .build())
}

/// Exports what waits, and ends the export. It takes no longer than two seconds.
pub async fn stop() {
    let Some(exported) = EXPORTED.get() else {
        return;
    };
    let provider = exported.provider.clone();
    let stopping = move || provider.shutdown_with_timeout(STOP_WITHIN);
    if let Ok(Err(error)) = tokio::task::spawn_blocking(stopping).await {
        tracing::warn!(%error, "the last traces could not be exported");
    }
}

/// The span of an HTTP call; it ends when it is dropped.
pub(crate) struct CallSpan(Option<(Span, &'static str)>);

impl CallSpan {
    /// Begins a span. It belongs to the trace of the caller if the request says which (`traceparent`).
    pub(crate) fn begin(method: &Method, headers: &HeaderMap) -> Self {
        let Some(exported) = EXPORTED.get() else {
            return CallSpan(None);
        };
        let method = known(method);
        let parent = &HeaderExtractor(headers);
        let parent = exported
            .propagator
            .extract_with_context(&Context::new(), parent);
        let span = exported
            .tracer
            .span_builder(method)
            .with_kind(SpanKind::Server)
            .with_attributes([KeyValue::new("http.request.method", method)]);
        let span = exported.tracer.build_with_context(span, &parent);
        CallSpan(Some((span, method)))
    }

    /// Ends the span. `route` is the pattern of the path, or the name of the route; it has no id.
    pub(crate) fn end(self, route: &str, status: StatusCode) {
        let Some((mut span, method)) = self.0 else {
            return;
        };
        if !span.is_recording() {
            return;
        }
        span.update_name(format!("{method} {route}"));
        span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        set_status(&mut span, status);
        if status.is_server_error() {
            span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The span of one attempt to deliver webhooks; it ends when it is dropped.
pub(crate) struct DeliverySpan(Option<Span>);

impl DeliverySpan {
    /// Begins a trace of its own: an event waits for delivery, maybe with others, and no longer knows which call caused it.
    pub(crate) fn begin(url: &Uri) -> Self {
        let Some(exported) = EXPORTED.get() else {
            return DeliverySpan(None);
        };
        let mut attributes = vec![KeyValue::new("http.request.method", "POST")];
        if let Some(host) = url.host() {
            attributes.push(KeyValue::new("server.address", host.to_owned()));
        }
        if let Some(port) = url.port_u16() {
            attributes.push(KeyValue::new("server.port", i64::from(port)));
        }
        let span = exported
            .tracer
            .span_builder("POST webhook")
            .with_kind(SpanKind::Client)
            .with_attributes(attributes);
        let span = exported.tracer.build_with_context(span, &Context::new());
        DeliverySpan(Some(span))
    }

    /// Tells the endpoint which span this is (`traceparent`).
    pub(crate) fn inject(&self, headers: &mut HeaderMap) {
        if let (Some(span), Some(exported)) = (&self.0, EXPORTED.get()) {
            let context = Context::new().with_remote_span_context(span.span_context().clone());
            let headers = &mut HeaderInjector(headers);
            exported.propagator.inject_context(&context, headers);
            // It has no state of others to pass on, and not every server takes an empty value.
            headers.0.remove("tracestate");
        }
    }

    /// Ends the span with the status of the answer, if there was one, and with what went wrong.
    pub(crate) fn end(self, status: Option<StatusCode>, failure: Option<&'static str>) {
        let Some(mut span) = self.0 else {
            return;
        };
        if let Some(status) = status {
            set_status(&mut span, status);
        }
        if let Some(failure) = failure {
            span.set_attribute(KeyValue::new("error.type", failure));
            span.set_status(Status::error(failure));
        }
        span.end();
    }
}

fn set_status(span: &mut Span, status: StatusCode) {
    let status = i64::from(status.as_u16());
    span.set_attribute(KeyValue::new("http.response.status_code", status));
}

/// A method that HTTP knows, or a word for all others: names of spans are few.
fn known(method: &Method) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let found = METHODS.into_iter().find(|it| *it == method.as_str());
    found.unwrap_or("HTTP")
}
