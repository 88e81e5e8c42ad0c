//! Planner: events, requests and the schedule become batches in the workers' queues.

use std::collections::BTreeMap;

use aws_lambda_events::event::sqs::SqsEvent;
use lance_backfill_aws::event::{Intake, Written, read};
use lance_backfill_core::message::{PlanMessage, Wake};
use lance_backfill_functions::{Answer, Context, guarded};
use lance_backfill_ports::{ErrorKind, Result};
use lance_backfill_service::{GivenUp, Planned, Quarantined};
use tokio::time::Instant;

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
                    tracing::info!(message, reason, "an event is ignored");
                }
                for Written { table, version } in written {
                    if context.service.has_planned(&table, version) {
                        tracing::info!(message, table, version, "the version is planned already");
                        continue;
                    }
                    let plan = PlanMessage::new(table, Wake::Committed);
                    ask(&mut asked, plan, &message);
                }
            }
            Ok(Intake::Plan(plan)) => ask(&mut asked, plan, &message),
            Ok(Intake::Reconcile) => match reconcile(context, until).await {
                Ok(tables) => {
                    for table in tables {
                        ask(
                            &mut asked,
                            PlanMessage::new(table, Wake::Scheduled),
                            &message,
                        );
                    }
                }
                Err(error) => {
                    tracing::error!(message, error = error.one_line(), "no table can be listed");
                    answer.again(&message);
                }
            },
            Err(unreadable) => {
                let reason = unreadable.reason;
                tracing::error!(
                    message,
                    reason,
                    "a message cannot be read: it goes to the dead-letter queue"
                );
                answer.again(&message);
            }
        }
    }
    for (table, Asked { plan, messages }) in asked {
        match guarded(until, context.service.plan(&plan)).await {
            Ok(Planned::Looked { version, columns }) => {
                for column in columns {
                    let (name, sent) = (&column.column, &column.sent);
                    tracing::info!(
                        table,
                        version,
                        column = name,
                        batches = sent.batches,
                        rows = sent.rows,
                        folds = sent.folds,
                        again = sent.again,
                        held = sent.held,
                        "planned"
                    );
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
    }
    answer
}

/// Gives up what no worker finished, so that the plans to come see its rows; then says what tables there are.
async fn reconcile(context: &Context, until: Instant) -> Result<Vec<String>> {
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
