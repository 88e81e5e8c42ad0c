//! Planner: events, requests and the schedule become batches in the workers' queues.

use std::collections::BTreeMap;

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use lance_backfill_aws::event::{Intake, Written, read};
use lance_backfill_core::message::{PlanMessage, Wake};
use lance_backfill_functions::{
    Answer, Context, Tally, Time, Waiting, Watched, delivered, guarded, within,
};
use lance_backfill_ports::{ErrorKind, Result};
use lance_backfill_service::{Asking, ColumnPlan, Delivered, GivenUp, Planned, Quarantined};
use tracing::Instrument;

/// Tables that the schedule's own invocation looks at; more of them are looked at by as many planners
/// as it takes.
const MOST_TABLES: usize = 10;

/// A table, and the messages that speak of it.
struct Asked {
    plan: PlanMessage,
    /// Without a version, if anything but events asks for it: that may be about another one.
    asking: Asking,
    messages: Vec<String>,
}

/// What became of a table.
enum Looked {
    /// Its messages need not come again.
    Done,
    /// There was no time for all of it.
    Left,
    /// It is tried again.
    Failed,
}

/// Looks at each table that the messages speak of, once; those for which there is no time are handed on.
pub async fn handle(context: &Context, event: SqsEvent, time: Time) -> Answer {
    let mut answer = Answer::default();
    let mut asked: BTreeMap<String, Asked> = BTreeMap::new();
    for record in event.records {
        take_in(context, record, &time, &mut asked, &mut answer).await;
    }
    let mut left = vec![];
    for asked in asked.into_values() {
        let looked = match time.begin.is_over() {
            true => Looked::Left,
            false => look(context, &asked, &time, &mut answer.tally).await,
        };
        match looked {
            Looked::Done => {}
            Looked::Left => left.push(asked),
            Looked::Failed => again(&asked, &mut answer),
        }
    }
    hand_on(context, left, &mut answer).await;
    answer
}

/// What a record asks for.
async fn take_in(
    context: &Context,
    record: SqsMessage,
    time: &Time,
    asked: &mut BTreeMap<String, Asked>,
    answer: &mut Answer,
) {
    let came_before = delivered(&record) == Delivered::Again;
    let asking = |seen| Asking { seen, came_before };
    let message = record.message_id.unwrap_or_default();
    let body = record.body.unwrap_or_default();
    match read(&body) {
        Ok(Intake::Events { written, ignored }) => {
            for reason in ignored {
                tracing::info!(message_id = message, reason, "an event is ignored");
            }
            for event in written {
                let Written {
                    table,
                    version,
                    seen,
                } = event;
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
                ask(asked, plan, asking(seen), &message);
            }
        }
        Ok(Intake::Plan(plan)) => ask(asked, plan, asking(None), &message),
        Ok(Intake::Reconcile) => {
            match guarded(time.end, reconcile(context, &mut answer.tally)).await {
                Ok(here) => {
                    answer.tally.watched.get_or_insert_default();
                    for plan in here {
                        ask(asked, plan, asking(None), &message);
                    }
                }
                Err(error) => {
                    tracing::error!(
                        message_id = message,
                        error = error.one_line(),
                        "no table can be reconciled"
                    );
                    answer.again(&message);
                }
            }
        }
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

/// The registered tables that this invocation is to look at; of many, each gets a message of its own.
async fn reconcile(context: &Context, tally: &mut Tally) -> Result<Vec<PlanMessage>> {
    quarantine(context, tally).await;
    let tables = context.service.tables().await?;
    let plan = |table| PlanMessage::new(table, Wake::Scheduled);
    let plans: Vec<PlanMessage> = tables.into_iter().map(plan).collect();
    if plans.len() <= MOST_TABLES {
        return Ok(plans);
    }
    context.service.ask_for_plans(&plans).await?;
    tracing::info!(tables = plans.len(), "each table is planned by itself");
    Ok(vec![])
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

/// Gives up what no worker finished, so that the plans to come see its rows.
async fn quarantine(context: &Context, tally: &mut Tally) {
    match context.service.quarantine().await {
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
}

fn ask(asked: &mut BTreeMap<String, Asked>, plan: PlanMessage, asking: Asking, message: &str) {
    let known = asked.entry(plan.table.clone()).or_insert_with(|| Asked {
        plan: plan.clone(),
        asking: asking.clone(),
        messages: vec![],
    });
    known.asking.came_before |= asking.came_before;
    known.asking.seen = match (known.asking.seen.take(), asking.seen) {
        (Some(known), Some(seen)) => Some(known.max(seen)),
        (None, _) | (_, None) => None,
    };
    // The schedule looks at the most, then a person; the chain goes on where it is longest.
    known.plan.why = known.plan.why.max(plan.why);
    known.plan.hops = known.plan.hops.max(plan.hops);
    known.messages.push(message.to_owned());
}

fn again(asked: &Asked, answer: &mut Answer) {
    asked
        .messages
        .iter()
        .for_each(|message| answer.again(message));
}

async fn look(context: &Context, asked: &Asked, time: &Time, sum: &mut Tally) -> Looked {
    let plan = &asked.plan;
    let mut tally = Tally {
        tables: [plan.table.clone()].into(),
        watched: (plan.why == Wake::Scheduled).then(Watched::default),
        ..Tally::default()
    };
    let looked = look_at(context, asked, time, &mut tally).await;
    sum.add(tally);
    looked
}

async fn look_at(context: &Context, asked: &Asked, time: &Time, tally: &mut Tally) -> Looked {
    let Asked { plan, asking, .. } = asked;
    let table = plan.table.as_str();
    let span = tracing::info_span!("plan", table);
    let planning = context.service.plan_until(plan, asking, &time.begin);
    let Some(planned) = within(time.end, planning.instrument(span)).await else {
        // What it handed out stands, and what it did not live to send the next plan does.
        return Looked::Left;
    };
    if let (Err(_), Some(watched)) = (&planned, &mut tally.watched) {
        watched.failed += 1;
    }
    match planned {
        Ok(Planned::Looked {
            version,
            columns,
            left,
        }) => {
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
                count(tally, table, &column);
            }
            if left > 0 {
                return Looked::Left;
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
            return Looked::Failed;
        }
    }
    Looked::Done
}

/// Leaves tables for which there was no time to the next invocation, as long as their chains are short.
async fn hand_on(context: &Context, mut left: Vec<Asked>, answer: &mut Answer) {
    let mut next = vec![];
    left.retain(|Asked { plan, .. }| {
        let Some(plan) = plan.next() else {
            tracing::error!(
                table = plan.table,
                hops = plan.hops,
                "planning takes too long again and again, and is left to the schedule"
            );
            return false;
        };
        tracing::info!(table = plan.table, hops = plan.hops, "planning goes on");
        next.push(plan);
        true
    });
    if next.is_empty() {
        return;
    }
    if let Err(error) = context.service.ask_for_plans(&next).await {
        let error = error.one_line();
        tracing::error!(error, "planning cannot go on, and is tried again");
        left.iter().for_each(|asked| again(asked, answer));
    }
}
