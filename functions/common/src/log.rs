//! Logs as JSON, one line each, as CloudWatch takes them apart; and spans, where a collector is named.

use std::collections::BTreeMap;

use lance_backfill_ports::Result;
use tracing::Subscriber;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::otlp::Spans;

/// What is logged where the environment does not say.
const FILTER: &str = "warn,lance_backfill=info";

/// Starts logging; `LANCE_BACKFILL_LOG` says what, and `OTEL_EXPORTER_OTLP_ENDPOINT` where spans go.
pub fn start_log(environment: &BTreeMap<String, String>, function: &'static str) -> Result<Spans> {
    let named = environment.get("LANCE_BACKFILL_LOG");
    let filter = named.and_then(|text| EnvFilter::try_new(text).ok());
    let spans = Spans::from_environment(environment, function)?;
    Registry::default()
        .with(filter.unwrap_or_else(|| EnvFilter::new(FILTER)))
        .with(lines(std::io::stdout))
        .with(spans.layer())
        .init();
    Ok(spans)
}

/// Events as lines; fields of spans are in the events themselves.
pub(crate) fn lines<S, W>(writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(writer)
}
