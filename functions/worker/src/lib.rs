//! Worker: batches become checkpoint manifests.

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use futures::future::join_all;
use lance_backfill_core::batch::BatchMessage;
use lance_backfill_core::format::decode;
use lance_backfill_functions::{Answer, Context, Tally, Time, delivered, guarded};
use lance_backfill_service::{Worked, tell};
use tracing::Instrument;

/// Does each batch, as much of it as there is time for.
pub async fn handle(context: &Context, event: SqsEvent, time: Time) -> Answer {
    let done = join_all((event.records.iter()).map(|record| work(context, record, &time))).await;
    let mut answer = Answer::default();
    for (record, (done, tally)) in event.records.iter().zip(done) {
        answer.tally.add(tally);
        if !done {
            answer.again(record.message_id.as_deref().unwrap_or_default());
        }
    }
    answer
}

/// Whether the message need not come again, and what was done.
async fn work(context: &Context, record: &SqsMessage, time: &Time) -> (bool, Tally) {
    let mut tally = Tally::default();
    let id = record.message_id.as_deref().unwrap_or_default();
    let body = record.body.as_deref().unwrap_or_default();
    let message: BatchMessage = match decode(body.as_bytes()) {
        Ok(message) => message,
        Err(error) => {
            let reason = error.to_string();
            tracing::error!(
                message_id = id,
                reason,
                "a message cannot be read: it goes to the dead-letter queue"
            );
            return (false, tally);
        }
    };
    let (table, batch) = (message.table.as_str(), message.batch.to_string());
    tally.tables.insert(message.table.clone());
    let job = message.job.as_ref().map(ToString::to_string);
    let lane = message.lane.name();
    let generation = message.generation.to_string();
    let span = tracing::info_span!("work", table, batch, job, lane, generation);
    let working = (context.service).work_until(&message, delivered(record), &time.begin);
    let worked = guarded(time.end, working);
    let worked = worked.instrument(span).await;
    if let Ok(Worked::Done {
        column,
        rows_computed,
        rows_failed,
        calls,
        fault,
    }) = &worked
    {
        tally.columns.insert(column.clone());
        tally.rows_computed += rows_computed;
        tally.rows_failed += rows_failed;
        tally.calls += calls;
        tally.faults += u64::from(fault.is_some());
    }
    (tell(&message, &worked), tally)
}
