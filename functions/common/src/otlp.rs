//! Spans of invocations, messages and stages for a collector, by OTLP over HTTP.
//!
//! Only with `OTEL_EXPORTER_OTLP_ENDPOINT`. A function stands still once it has answered, so what ended
//! is sent before that, and whatever the collector does, the answer waits for it a second at most.

use std::collections::BTreeMap;
use std::time::Duration;

use lance_backfill_ports::{Error, Result};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::Subscriber;
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::registry::LookupSpan;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Time for a collector to take what an invocation left.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where spans go; nowhere without an endpoint.
pub struct Spans(Option<SdkTracerProvider>);

/// What became of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Flushed {
    /// The collector has them, or there were none.
    Sent,
    /// It did not take them in time, or refused; they are lost.
    Lost,
}

impl Spans {
    /// The collector that the environment names, if it names one.
    pub(crate) fn from_environment(
        environment: &BTreeMap<String, String>,
        function: &'static str,
    ) -> Result<Self> {
        let Some(endpoint) = environment.get(ENDPOINT).filter(|text| !text.is_empty()) else {
            return Ok(Self(None));
        };
        if !(endpoint.starts_with("http://") || endpoint.starts_with("https://")) {
            return Err(Error::invalid(format!(
                "{ENDPOINT} is '{endpoint}', not the address of a collector as http://localhost:4318"
            )));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(PATIENCE)
            // A second attempt would not end in time.
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .map_err(|error| {
                Error::invalid(format!("cannot send spans to '{endpoint}'")).with_source(error)
            })?;
        let resource = Resource::builder().with_service_name(format!("lance-backfill-{function}"));
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build());
        Ok(Self(Some(provider.build())))
    }

    /// What makes spans of those of the program.
    pub(crate) fn layer<S>(&self) -> Option<OpenTelemetryLayer<S, SdkTracer>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Self(provider) = self;
        let tracer = provider.as_ref()?.tracer("lance-backfill");
        Some(tracing_opentelemetry::layer().with_tracer(tracer))
    }

    /// Sends the spans that ended.
    pub async fn flush(&self) -> Flushed {
        let Self(Some(provider)) = self else {
            return Flushed::Sent;
        };
        let provider = provider.clone();
        let sent = spawn_blocking(move || provider.force_flush());
        match timeout(PATIENCE, sent).await {
            Ok(Ok(Ok(()))) => Flushed::Sent,
            Ok(Ok(Err(_)) | Err(_)) | Err(_) => Flushed::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc::channel;
    use std::thread;

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn environment(endpoint: &str) -> BTreeMap<String, String> {
        [(ENDPOINT.to_owned(), endpoint.to_owned())].into()
    }

    /// Reads one request to its end: its head as text, and its body.
    fn request(mut stream: impl Read) -> (String, Vec<u8>) {
        let mut bytes = vec![];
        let mut chunk = [0; 4_096];
        loop {
            let read = stream.read(&mut chunk).expect("it is sent");
            bytes.extend_from_slice(&chunk[..read]);
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length = head.lines().find_map(|line| {
                let length = line.strip_prefix("content-length:")?;
                length.trim().parse::<usize>().ok()
            });
            let body = &bytes[end + 4..];
            if body.len() >= length.expect("it says how long it is") {
                return (head, body.to_vec());
            }
        }
    }

    fn leave_spans(spans: &Spans) {
        let subscriber = tracing_subscriber::registry().with(spans.layer());
        tracing::subscriber::with_default(subscriber, || {
            let invocation = tracing::info_span!("invocation", request = "4f2e");
            let _invocation = invocation.enter();
            tracing::info_span!("work", table = "s3://lake/flights.lance").in_scope(|| {});
        });
    }

    #[tokio::test]
    async fn a_collector_gets_the_spans_of_an_invocation_with_their_fields() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (sender, receiver) = channel();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let received = request(&mut stream);
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer.as_bytes()).expect("it listens");
            sender.send(received).expect("the test waits");
        });
        let spans = Spans::from_environment(&environment(&format!("http://{address}/")), "worker");
        let spans = spans.expect("an endpoint");
        leave_spans(&spans);
        assert_eq!(spans.flush().await, Flushed::Sent);
        let (head, body) = receiver.recv().expect("a request");
        assert!(head.starts_with("post /v1/traces http/1.1"), "{head}");
        assert!(
            head.contains("content-type: application/x-protobuf"),
            "{head}"
        );
        // Protobuf keeps texts as they are.
        for text in [
            "lance-backfill-worker",
            "invocation",
            "4f2e",
            "work",
            "table",
            "s3://lake/flights.lance",
        ] {
            let is_there = (body.windows(text.len())).any(|part| part == text.as_bytes());
            assert!(is_there, "'{text}' was not sent");
        }
    }

    /// It would hang if flushing had no end.
    #[tokio::test]
    async fn a_collector_that_does_not_answer_costs_only_the_spans() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = silent.local_addr().expect("an address");
        let spans = Spans::from_environment(&environment(&format!("http://{address}")), "worker");
        let spans = spans.expect("an endpoint");
        leave_spans(&spans);
        assert_eq!(spans.flush().await, Flushed::Lost);
    }

    #[tokio::test]
    async fn without_a_collector_nothing_is_sent() {
        let spans = Spans::from_environment(&BTreeMap::new(), "worker").expect("nothing is wrong");
        leave_spans(&spans);
        assert_eq!(spans.flush().await, Flushed::Sent);
        let wrong = Spans::from_environment(&environment("localhost:4318"), "worker");
        let wrong = wrong
            .err()
            .map(|error| error.one_line())
            .unwrap_or_default();
        assert!(wrong.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{wrong}");
    }
}
