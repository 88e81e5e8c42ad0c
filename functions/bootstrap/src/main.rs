//! One program that becomes planner, worker or committer by the name of its handler: Lance is linked
//! once, and all functions have the same bytes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lance_backfill_functions::{Answer, Context, Time, start_log};

/// As in the program for the command line.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Clone, Copy)]
enum Function {
    Planner,
    Worker,
    Committer,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    start_log();
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
    let context = Context::from_environment()
        .await
        .map_err(|error| error.one_line())?;
    let context = &context;
    run(service_fn(move |event: LambdaEvent<SqsEvent>| {
        invoke(context, function, event)
    }))
    .await
}

async fn invoke(
    context: &Context,
    function: Function,
    event: LambdaEvent<SqsEvent>,
) -> Result<SqsBatchResponse, Error> {
    let began = now();
    let end = Duration::from_millis(event.context.deadline);
    let time = Time::of(end.saturating_sub(began));
    let request = event.context.request_id;
    let event = event.payload;
    let records = event.records.len();
    let answer: Answer = match function {
        Function::Planner => Box::pin(lance_backfill_planner::handle(context, event, time)).await,
        Function::Worker => Box::pin(lance_backfill_worker::handle(context, event, time)).await,
        Function::Committer => {
            Box::pin(lance_backfill_committer::handle(context, event, time)).await
        }
    };
    let took = now().saturating_sub(began);
    tracing::info!(
        request,
        records,
        failed = answer.failures(),
        took_ms = took.as_millis(),
        "invoked"
    );
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
