//! `backfill` and `retry`: compute a chosen part of a column, as a job.

use lance_backfill_core::deployment::Needs;
use lance_backfill_core::job::{JobOutcome, Selection, Take};
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_embedded::jobs::{KnownJob, Ordered};
use lance_backfill_ports::{Error, Result};
use serde::Serialize;

use super::follow;
use super::jobs::state;
use super::refresh::{self, Refreshed};
use crate::args::{
    BackfillArguments, ProcessArguments, RetryArguments, SelectionArguments, WaitingArguments,
};
use crate::exit::Exit;
use crate::output::{self, number};
use crate::service::Through;

const NO_ROWS: &str = "no row matches: nothing to compute";

/// A job that was worked on, and what its column holds after it.
#[derive(Serialize)]
struct Backfilled {
    /// None when no row matched: there was nothing to order.
    job_id: Option<String>,
    /// How it ended; open when something stopped it that a refresh may overcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_state: Option<&'static str>,
    /// Rows that matched when it was ordered.
    rows_selected: u64,
    /// Rows that failed in it.
    rows_failed_in_job: u64,
    #[serde(flatten)]
    refreshed: Refreshed,
}

pub(super) async fn run(
    arguments: &BackfillArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let BackfillArguments {
        target,
        selection: selected,
        batch_rows,
        waiting,
    } = arguments;
    let selection = selection(selected);
    match Through::to_write(&target.table, process).await? {
        Some(_) if batch_rows.is_some() => Err(Error::invalid(
            "--batch-rows is about batches of this machine: a service cuts its own, by the speed that it measures",
        )),
        Some(through) => {
            let engine = super::open(&target.table, process, None).await?;
            send(
                &engine,
                &through,
                &target.column,
                &selection,
                *waiting,
                json,
            )
            .await
        }
        None => {
            refuse_no_wait(*waiting)?;
            let engine = super::open(&target.table, process, *batch_rows).await?;
            work(&engine, &target.column, &selection, json).await
        }
    }
}

pub(super) async fn retry(
    arguments: &RetryArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let RetryArguments { target, waiting } = arguments;
    let through = Through::to_write(&target.table, process).await?;
    let engine = super::open(&target.table, process, None).await?;
    let selection = Selection {
        take: Take::Failed,
        ..Selection::in_need()
    };
    match through {
        Some(through) => {
            send(
                &engine,
                &through,
                &target.column,
                &selection,
                *waiting,
                json,
            )
            .await
        }
        None => {
            refuse_no_wait(*waiting)?;
            work(&engine, &target.column, &selection, json).await
        }
    }
}

fn refuse_no_wait(waiting: WaitingArguments) -> Result<()> {
    match waiting.no_wait {
        true => Err(Error::invalid(
            "--no-wait goes with --service: without, this process does the job",
        )),
        false => Ok(()),
    }
}

/// What the options say.
pub(super) fn selection(arguments: &SelectionArguments) -> Selection {
    let SelectionArguments {
        filter,
        recompute,
        ignore_filter,
        generation,
        job,
    } = arguments;
    Selection {
        take: match recompute {
            true => Take::Recompute,
            false => Take::InNeed,
        },
        filter: filter.clone(),
        ignore_filter: *ignore_filter,
        generation: generation.clone(),
        job: job.clone(),
    }
}

/// A job that a service was given.
#[derive(Serialize)]
struct Sent<'a> {
    table: &'a str,
    column: &'a str,
    service: &'a str,
    /// None when no row matched: there was nothing to order.
    job_id: Option<String>,
    job_state: Option<&'static str>,
    /// Rows that matched when it was ordered.
    rows_selected: u64,
}

/// Orders a job of a service, and follows it unless nobody waits.
async fn send(
    engine: &Engine,
    through: &Through,
    column: &str,
    selection: &Selection,
    waiting: WaitingArguments,
    json: bool,
) -> Result<Exit> {
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let bound = catalog.expect_acting(column)?;
    through.check(&Needs::of(&bound.definition))?;
    let column = &bound.name;
    let (job, rows) = match engine.order(column, selection).await? {
        Ordered::Job { job, rows } => (Some(job), rows),
        Ordered::NoRows => (None, 0),
    };
    if let Some(job) = &job {
        output::note(&format!("job {job}: {} rows", number(rows)));
        through.wake().await?;
    }
    if waiting.no_wait {
        let sent = Sent {
            table: engine.uri(),
            column,
            service: through.remote.prefix(),
            job_id: job.as_ref().map(ToString::to_string),
            job_state: job.as_ref().map(|_| state(None)),
            rows_selected: rows,
        };
        return Ok(output::result(json, &sent, || match &sent.job_id {
            Some(job) => format!(
                "service '{}' does it\nnext: lance-backfill jobs show {} {job} --follow",
                through.remote.deployment().name,
                sent.table
            ),
            None => NO_ROWS.to_owned(),
        }));
    }
    let done = match &job {
        Some(job) => {
            Some(follow::follow(engine, &bound.binding, column, job, Some(through)).await?)
        }
        None => None,
    };
    let mut refreshed = refresh::look(engine, std::slice::from_ref(column)).await?;
    for shown in &mut refreshed.columns {
        shown.rows_assigned = done.as_ref().map_or(0, |done| done.rows_assigned);
    }
    let report = Backfilled {
        job_id: job.as_ref().map(ToString::to_string),
        job_state: done.as_ref().map(|done| state(done.outcome)),
        rows_selected: rows,
        rows_failed_in_job: done.as_ref().map_or(0, |done| done.rows_failed),
        refreshed,
    };
    output::result(json, &report, || text(&report));
    Ok(match (&job, &done) {
        (Some(job), Some(done)) => follow::exit(job, done),
        _ => Exit::Done,
    })
}

async fn work(engine: &Engine, column: &str, selection: &Selection, json: bool) -> Result<Exit> {
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let column = &catalog.expect_acting(column)?.name;
    let (job, rows) = match engine.order(column, selection).await? {
        Ordered::Job { job, rows } => (Some(job), rows),
        Ordered::NoRows => (None, 0),
    };
    let wanted = [column.clone()];
    let refreshed = match &job {
        Some(job) => {
            output::note(&format!("job {job}: {} rows", number(rows)));
            refresh::refresh(engine, &wanted, Some(job)).await?
        }
        None => refresh::look(engine, &wanted).await?,
    };
    let known = match &job {
        Some(job) => {
            let version = engine.latest().await?;
            let catalog = Catalog::read(version.view())?;
            let jobs = engine.jobs(&version, &catalog, column).await?;
            jobs.into_iter().find(|known| known.id() == job)
        }
        None => None,
    };
    let report = Backfilled {
        job_id: job.as_ref().map(ToString::to_string),
        job_state: known.as_ref().map(|known| state(known.outcome())),
        rows_selected: rows,
        rows_failed_in_job: known.as_ref().map_or(0, KnownJob::rows_failed),
        refreshed,
    };
    output::result(json, &report, || text(&report));
    Ok(exit(&report, known.as_ref()))
}

fn exit(report: &Backfilled, known: Option<&KnownJob>) -> Exit {
    for column in &report.refreshed.columns {
        if let Some(stopped) = &column.stopped {
            output::note(&format!("column '{}': {stopped}", column.column));
            return Exit::Failed;
        }
    }
    let Some(known) = known else {
        return Exit::Done;
    };
    if report.rows_failed_in_job > 0 {
        output::note(&format!(
            "{} rows failed in job {}; see 'failures'",
            number(report.rows_failed_in_job),
            known.id()
        ));
    }
    match known.outcome() {
        Some(JobOutcome::Done) => Exit::Done,
        outcome => {
            output::note(&format!("job {} is {}", known.id(), state(outcome)));
            Exit::Failed
        }
    }
}

fn text(report: &Backfilled) -> String {
    match &report.job_id {
        Some(_) => refresh::text(&report.refreshed),
        None => NO_ROWS.to_owned(),
    }
}
