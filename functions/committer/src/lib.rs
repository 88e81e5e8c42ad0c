//! Committer: checkpoint manifests become versions of the table.

use std::collections::{BTreeMap, BTreeSet};

use aws_lambda_events::event::sqs::SqsEvent;
use lance_backfill_core::format::decode;
use lance_backfill_core::ids::BindingId;
use lance_backfill_core::message::CommitMessage;
use lance_backfill_functions::{Answer, Context, Tally, Time, guarded};
use lance_backfill_ports::ErrorKind;
use lance_backfill_service::Committed;
use tracing::Instrument;

/// Publishes each column once, however many messages speak of it; for what there is no time comes again.
pub async fn handle(context: &Context, event: SqsEvent, time: Time) -> Answer {
    let mut answer = Answer::default();
    // In their order; of a table of which one message failed all later ones come again after it.
    let mut tables: BTreeMap<String, Vec<(String, CommitMessage)>> = BTreeMap::new();
    for record in event.records {
        let id = record.message_id.unwrap_or_default();
        match decode::<CommitMessage>(record.body.unwrap_or_default().as_bytes()) {
            Ok(message) => {
                let of_table = tables.entry(message.table.clone()).or_default();
                of_table.push((id, message));
            }
            Err(error) => {
                // As a dead letter it would hold up its table for as long as it is tried; what it said
                // is in the state store, and the schedule publishes it.
                let reason = error.to_string();
                tracing::error!(
                    message_id = id,
                    reason,
                    "a message cannot be read, and is dropped: the schedule finds what it was about"
                );
            }
        }
    }
    for messages in tables.values() {
        let mut published: BTreeSet<&BindingId> = BTreeSet::new();
        let mut failed = false;
        for (id, message) in messages {
            if !failed && published.insert(&message.binding) {
                failed = time.begin.is_over()
                    || !commit(context, message, &time, &mut answer.tally).await;
            }
            if failed {
                answer.again(id);
            }
        }
    }
    answer
}

/// Whether the message need not come again.
async fn commit(
    context: &Context,
    message: &CommitMessage,
    time: &Time,
    tally: &mut Tally,
) -> bool {
    let table = message.table.as_str();
    tally.tables.insert(message.table.clone());
    let span = tracing::info_span!("commit", table);
    let committed = guarded(time.end, context.service.commit(message));
    match committed.instrument(span).await {
        Ok(Committed::Published {
            column,
            version,
            rows,
        }) => {
            tracing::info!(table, column, version, rows, "published");
            tally.columns.insert(column);
            tally.version = Some(version);
            tally.rows += rows;
            tally.published += 1;
        }
        Ok(Committed::Later) => tracing::info!(table, "published with what is finished soon"),
        Ok(Committed::Noted { column }) => tracing::info!(table, column, "noted"),
        Ok(Committed::Nothing { reason }) => tracing::info!(table, reason, "nothing to publish"),
        Err(error) if error.kind == ErrorKind::Invalid => {
            tracing::error!(
                table,
                error = error.one_line(),
                "the column can never be published"
            );
        }
        Err(error) => {
            tracing::error!(
                table,
                error = error.one_line(),
                "the commit failed, and is tried again"
            );
            return false;
        }
    }
    true
}
