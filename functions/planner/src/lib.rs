//! Planner: events, requests and the schedule become batches in the workers' queues.

use std::collections::BTreeMap;

use aws_lambda_events::event::sqs::SqsEvent;
use lance_backfill_aws::event::{Intake, Written, read};
use lance_backfill_core::message::{PlanMessage, Wake};
use lance_backfill_core::table::SeenVersion;
use lance_backfill_functions::{Answer, Context, guarded};
use lance_backfill_ports::ErrorKind;
use lance_backfill_service::Planned;
use tokio::time::Instant;

/// A table, and the messages that speak of it.
struct Asked {
    plan: PlanMessage,
    /// The newest version that an event tells of, if nothing else asks for the table.
    seen: Option<SeenVersion>,
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
                for Written {
                    table,
                    version,
                    seen,
                } in written
                {
                    if context.service.has_planned(&table, version) {
                        tracing::info!(message, table, version, "the version is planned already");
                        continue;
                    }
                    let plan = PlanMessage::new(table, Wake::Committed);
                    ask(&mut asked, plan, seen, &message);
                }
            }
            Ok(Intake::Plan(plan)) => ask(&mut asked, plan, None, &message),
            Ok(Intake::Reconcile) => match guarded(until, context.service.tables()).await {
                Ok(tables) => {
                    for table in tables {
                        let plan = PlanMessage::new(table, Wake::Scheduled);
                        ask(&mut asked, plan, None, &message);
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
    for (table, of_table) in asked {
        let Asked {
            plan,
            seen,
            messages,
        } = of_table;
        let planned = context.service.plan_seen(&plan, seen.as_ref());
        match guarded(until, planned).await {
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

fn ask(
    asked: &mut BTreeMap<String, Asked>,
    plan: PlanMessage,
    seen: Option<SeenVersion>,
    message: &str,
) {
    let known = asked.entry(plan.table.clone()).or_insert_with(|| Asked {
        plan: plan.clone(),
        seen: seen.clone(),
        messages: vec![],
    });
    // What is asked for without an event may be about a version that none of them tells of.
    known.seen = match (known.seen.take(), seen) {
        (Some(known), Some(seen)) => Some(known.max(seen)),
        (None, _) | (_, None) => None,
    };
    // The schedule looks at the most, then a person.
    known.plan.why = known.plan.why.max(plan.why);
    known.messages.push(message.to_owned());
}
