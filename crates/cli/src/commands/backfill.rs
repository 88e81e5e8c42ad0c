//! `backfill` and `retry`: compute a chosen part of a column, as a job.

use lance_backfill_core::job::{JobOutcome, Selection, Take};
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_embedded::jobs::{KnownJob, Ordered};
use lance_backfill_ports::Result;
use serde::Serialize;

use super::jobs::state;
use super::refresh::{self, Refreshed};
use crate::args::{BackfillArguments, ColumnArguments, ProcessArguments, SelectionArguments};
use crate::exit::Exit;
use crate::output::{self, number};

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
    let column = &arguments.target.column;
    let engine = super::open(&arguments.target.table, process, arguments.batch_rows).await?;
    work(&engine, column, &selection(&arguments.selection), json).await
}

pub(super) async fn retry(
    arguments: &ColumnArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let engine = super::open(&arguments.table, process, None).await?;
    let selection = Selection {
        take: Take::Failed,
        ..Selection::in_need()
    };
    work(&engine, &arguments.column, &selection, json).await
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
        None => "no row matches: nothing to compute".to_owned(),
    }
}
