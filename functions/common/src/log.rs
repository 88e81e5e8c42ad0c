//! Logs as JSON, one line each, as CloudWatch takes them apart.

/// Starts logging; `LANCE_BACKFILL_LOG` says what.
pub fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("LANCE_BACKFILL_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,lance_backfill=info"));
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_env_filter(filter)
        .with_writer(std::io::stdout)
        .init();
}
