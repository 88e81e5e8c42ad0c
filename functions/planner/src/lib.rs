//! Planner: events, requests and the schedule become batches in the workers' queues.

use std::collections::BTreeMap;

use aws_lambda_events::event::sqs::SqsEvent;
use lance_backfill_aws::event::{Intake, Written, read};
use lance_backfill_core::message::{PlanMessage, Wake};
use lance_backfill_functions::{Answer, Context, Tally, Waiting, Watched, guarded};
use lance_backfill_ports::{ErrorKind, Result};
use lance_backfill_service::{ColumnPlan, GivenUp, Planned, Quarantined};
use tokio::time::Instant;
use tracing::Instrument;

/// A table, and the messages that speak of it.
struct Asked {
    plan: PlanMessage,
    messages: Vec<String>,
}

/// Looks at each table that the messages speak of, once.
pub async fn handle(context: &Context, event: SqsEvent, until: Instant) -> Answer {
    let mut answer = Answer::default();
    let mut asked: BTreeMap<String, Asked> = BTreeMap::new();
    for record in event.records {
        let message = record.message_id.unwrap_or_default();
        let body = record.body.unwrap_or_default();
        match read(&body) {
            Ok(Intake::Events { written, ignored }) => {
                for reason in ignored {
                    tracing::info!(message_id = message, reason, "an event is ignored");
                }
                for Written { table, version } in written {
                    if context.service.has_planned(&table, version) {
                        tracing::info!(
                            message_id = message,
                            table,
                            version,
                            "the version is planned already"
                        );
                        continue;
                    }
                    let plan = PlanMessage::new(table, Wake::Committed);
                    ask(&mut asked, plan, &message);
                }
            }
            Ok(Intake::Plan(plan)) => ask(&mut asked, plan, &message),
            Ok(Intake::Reconcile) => match reconcile(context, until, &mut answer.tally).await {
                Ok(tables) => {
                    answer.tally.watched.get_or_insert_default();
                    for table in tables {
                        ask(
                            &mut asked,
                            PlanMessage::new(table, Wake::Scheduled),
                            &message,
                        );
                    }
                }
                Err(error) => {
                    tracing::error!(
                        message_id = message,
                        error = error.one_line(),
                        "no table can be listed"
                    );
                    answer.again(&message);
                }
            },
            Err(unreadable) => {
                let reason = unreadable.reason;
                tracing::error!(
                    message_id = message,
                    reason,
                    "a message cannot be read: it goes to the dead-letter queue"
                );
                answer.again(&message);
            }
        }
    }
    for (table, Asked { plan, messages }) in asked {
        let span = tracing::info_span!("plan", table);
        let scheduled = plan.why == Wake::Scheduled;
        let mut tally = Tally {
            tables: [table.clone()].into(),
            watched: scheduled.then(Watched::default),
            ..Tally::default()
        };
        let planned = guarded(until, context.service.plan(&plan));
        let planned = planned.instrument(span).await;
        if let (Err(_), Some(watched)) = (&planned, &mut tally.watched) {
            watched.failed += 1;
        }
        match planned {
            Ok(Planned::Looked { version, columns }) => {
                tally.version = Some(version);
                for column in columns {
                    let (name, sent) = (&column.column, &column.sent);
                    let oldest_ms = column.waits.age_ms(column.looked_ms);
                    tracing::info!(
                        table,
                        version,
                        column = name,
                        batches = sent.batches,
                        rows = sent.rows,
                        folds = sent.folds,
                        again = sent.again,
                        held = sent.held,
                        rows_waiting = column.waits.rows,
                        oldest_s = oldest_ms.map(|ms| ms / 1_000),
                        "planned"
                    );
                    count(&mut tally, &table, &column);
                }
            }
            Ok(Planned::Ignored { reason }) => tracing::info!(table, reason, "nothing to plan"),
            Ok(Planned::Outrun) => tracing::info!(table, "other planners are at it"),
            // Asking again changes nothing: the table is gone, or its definition is of a newer program.
            Err(error) if error.kind == ErrorKind::Invalid => {
                tracing::error!(
                    table,
                    error = error.one_line(),
                    "the table cannot be planned"
                );
            }
            Err(error) => {
                tracing::error!(
                    table,
                    error = error.one_line(),
                    "planning failed, and is tried again"
                );
                messages.iter().for_each(|message| answer.again(message));
            }
        }
        answer.tally.add(tally);
    }
    answer
}

/// Adds what was done for a column, and what the schedule found in it.
fn count(tally: &mut Tally, table: &str, plan: &ColumnPlan) {
    let ColumnPlan {
        column,
        sent,
        waits,
        looked_ms,
    } = plan;
    tally.columns.insert(column.clone());
    tally.batches += sent.batches as u64;
    tally.folds += sent.folds as u64;
    tally.again += sent.again as u64;
    tally.rows += sent.rows;
    tally.held = tally.held.take().or_else(|| sent.held.clone());
    let Some(watched) = &mut tally.watched else {
        return;
    };
    watched.stalled += waits.stalled(*looked_ms) as u64;
    watched.held += u64::from(sent.held.is_some());
    if let Some(oldest_ms) = waits.age_ms(*looked_ms) {
        watched.waiting.push(Waiting {
            table: table.to_owned(),
            column: column.clone(),
            oldest_ms,
            rows: waits.rows,
        });
    }
}

/// Gives up what no worker finished, so that the plans to come see its rows; then says what tables there are.
async fn reconcile(context: &Context, until: Instant, tally: &mut Tally) -> Result<Vec<String>> {
    match guarded(until, context.service.quarantine()).await {
        Ok(Quarantined {
            given_up,
            obsolete,
            left,
        }) => {
            for GivenUp {
                table,
                column,
                batches,
                rows_failed,
            } in given_up
            {
                tracing::error!(
                    table,
                    column,
                    batches,
                    rows_failed,
                    "batches were given up that no worker finished"
                );
                tally.quarantined += batches as u64;
            }
            if obsolete + left > 0 {
                tracing::info!(obsolete, left, "dead letters of the workers");
            }
        }
        // The tables are looked at all the same.
        Err(error) => {
            let error = error.one_line();
            tracing::error!(error, "the dead letters of the workers cannot be read");
        }
    }
    guarded(until, context.service.tables()).await
}

fn ask(asked: &mut BTreeMap<String, Asked>, plan: PlanMessage, message: &str) {
    let known = asked.entry(plan.table.clone()).or_insert_with(|| Asked {
        plan: plan.clone(),
        messages: vec![],
    });
    // The schedule looks at the most, then a person.
    known.plan.why = known.plan.why.max(plan.why);
    known.messages.push(message.to_owned());
}
