//! Worker: batches become checkpoint manifests.

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use futures::future::join_all;
use lance_backfill_core::batch::BatchMessage;
use lance_backfill_core::format::decode;
use lance_backfill_functions::{Answer, Context, guarded};
use lance_backfill_ports::ErrorKind;
use lance_backfill_service::Worked;
use tokio::time::Instant;

/// Does each batch.
pub async fn handle(context: &Context, event: SqsEvent, until: Instant) -> Answer {
    let done = join_all((event.records.iter()).map(|record| work(context, record, until))).await;
    let mut answer = Answer::default();
    for (record, done) in event.records.iter().zip(done) {
        if !done {
            answer.again(record.message_id.as_deref().unwrap_or_default());
        }
    }
    answer
}

/// Whether the message need not come again.
async fn work(context: &Context, record: &SqsMessage, until: Instant) -> bool {
    let id = record.message_id.as_deref().unwrap_or_default();
    let body = record.body.as_deref().unwrap_or_default();
    let message: BatchMessage = match decode(body.as_bytes()) {
        Ok(message) => message,
        Err(error) => {
            let reason = error.to_string();
            tracing::error!(
                message = id,
                reason,
                "a message cannot be read: it goes to the dead-letter queue"
            );
            return false;
        }
    };
    let (table, batch) = (message.table.as_str(), message.batch.to_string());
    match guarded(until, context.service.work(&message)).await {
        Ok(Worked::Done {
            column,
            rows_computed,
            rows_failed,
            calls,
            fault,
        }) => {
            tracing::info!(
                table,
                column,
                batch,
                rows_computed,
                rows_failed,
                calls,
                fault,
                "did a batch"
            );
            true
        }
        Ok(Worked::Refused { column, reason }) => {
            tracing::warn!(table, column, batch, reason, "the function is not run here");
            true
        }
        Ok(Worked::Obsolete { reason }) => {
            tracing::info!(table, batch, reason, "nobody wants the batch any more");
            true
        }
        Err(error) if error.kind == ErrorKind::Invalid => {
            tracing::error!(
                table,
                batch,
                error = error.one_line(),
                "the batch can never be done"
            );
            true
        }
        Err(error) => {
            tracing::error!(
                table,
                batch,
                error = error.one_line(),
                "the batch failed, and is tried again"
            );
            false
        }
    }
}
