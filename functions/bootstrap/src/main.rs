//! One program that becomes planner, worker or committer by the name of its handler: Lance is linked
//! once, and all functions have the same bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lance_backfill_functions::{
    Answer, Context, Flushed, Invocation, Spans, Start, Time, environment, start_log,
};
use tokio::time::Instant;
use tracing::Instrument;

/// As in the program for the command line.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Copy)]
enum Function {
    Planner,
    Worker,
    Committer,
}

impl Function {
    const fn name(self) -> &'static str {
        match self {
            Self::Planner => "planner",
            Self::Worker => "worker",
            Self::Committer => "committer",
        }
    }
}

/// What lives as long as the process.
struct Process {
    context: Context,
    function: Function,
    spans: Spans,
    start: Start,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let began = Instant::now();
    let handler = handler();
    let function = match handler.as_deref() {
        Some("planner") => Function::Planner,
        Some("worker") => Function::Worker,
        Some("committer") => Function::Committer,
        other => {
            let found = other.unwrap_or_default();
            let wrong = format!("the handler is '{found}', not planner, worker or committer");
            return Err(wrong.into());
        }
    };
    let environment = environment();
    let spans = start_log(&environment, function.name()).map_err(|error| error.one_line())?;
    let context = Context::from_environment(environment)
        .await
        .map_err(|error| error.one_line())?;
    let process = &Process {
        context,
        function,
        spans,
        start: Start::new(began.elapsed()),
    };
    run(service_fn(move |event: LambdaEvent<SqsEvent>| {
        invoke(process, event)
    }))
    .await
}

async fn invoke(
    process: &Process,
    event: LambdaEvent<SqsEvent>,
) -> Result<SqsBatchResponse, Error> {
    let Process {
        context, function, ..
    } = process;
    // The program's own name is not one that the filter of logs knows.
    let span = tracing::info_span!(
        target: "lance_backfill_bootstrap",
        "invocation",
        function = function.name(),
        request = event.context.request_id
    );
    let began = now();
    let end = Duration::from_millis(event.context.deadline);
    let time = Time::of(end.saturating_sub(began));
    let request = event.context.request_id;
    let memory = event.context.env_config.memory;
    let event = event.payload;
    let records = event.records.len();
    let handled = async {
        match function {
            Function::Planner => {
                Box::pin(lance_backfill_planner::handle(context, event, time)).await
            }
            Function::Worker => Box::pin(lance_backfill_worker::handle(context, event, time)).await,
            Function::Committer => {
                Box::pin(lance_backfill_committer::handle(context, event, time)).await
            }
        }
    };
    let answer: Answer = handled.instrument(span).await;
    let ended = now();
    let invocation = Invocation {
        function: function.name(),
        request: &request,
        records,
        answer: &answer,
        took: ended.saturating_sub(began),
        memory_limit_mb: u64::try_from(memory).unwrap_or_default(),
        now_ms: u64::try_from(ended.as_millis()).unwrap_or(u64::MAX),
    };
    invocation.tell(&process.start, &context.metrics);
    if process.spans.flush().await == Flushed::Lost {
        tracing::debug!(target: "lance_backfill_bootstrap", "the collector did not take the spans");
    }
    Ok(answer.into())
}

#[expect(
    clippy::disallowed_methods,
    reason = "Lambda names the handler in the environment"
)]
fn handler() -> Option<String> {
    std::env::var("_HANDLER").ok()
}

/// Since the epoch, as Lambda tells the end of an invocation.
#[expect(
    clippy::disallowed_methods,
    reason = "the end of an invocation is a time of day"
)]
fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}
