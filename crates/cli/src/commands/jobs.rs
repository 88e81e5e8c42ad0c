//! `jobs`: what was ordered by 'backfill' and 'retry', and how it goes.

use lance_backfill_core::ids::JobId;
use lance_backfill_core::job::{JobOutcome, Selection, Take};
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_embedded::jobs::KnownJob;
use lance_backfill_ports::{Error, Result};
use serde::Serialize;

use super::follow;
use crate::args::{JobArguments, JobsCommand, ProcessArguments, ShowJobArguments, TableArguments};
use crate::exit::Exit;
use crate::output::{self, number};
use crate::service::Through;

#[derive(Serialize)]
struct Jobs {
    table: String,
    jobs: Vec<Job>,
}

#[derive(Serialize)]
struct Job {
    job_id: String,
    column: String,
    state: &'static str,
    /// Why it cannot go on, if it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    selection: Selection,
    /// Rows that matched when it was ordered.
    rows_selected: u64,
    rows_assigned: u64,
    rows_failed: u64,
    rows_remaining: u64,
}

pub(super) async fn run(
    command: &JobsCommand,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    match command {
        JobsCommand::List(arguments) => list(arguments, process, json).await,
        JobsCommand::Show(arguments) => show(arguments, process, json).await,
        JobsCommand::Cancel(arguments) => {
            let through = Through::to_write(&arguments.table, process).await?;
            let engine = super::open(&arguments.table, process, None).await?;
            let job = cancel(&engine, arguments).await?;
            if let Some(through) = &through {
                // Whatever waited for it goes on.
                through.wake().await?;
            }
            Ok(output::result(json, &job, || {
                describe(&job, through.as_ref())
            }))
        }
    }
}

async fn show(
    arguments: &ShowJobArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let ShowJobArguments { job, follow } = arguments;
    let through = Through::to_look(&job.table, process).await?;
    let engine = super::open(&job.table, process, None).await?;
    let found = find(&engine, job).await?;
    let shown = |found: &Job| output::result(json, found, || describe(found, through.as_ref()));
    if !follow {
        return Ok(shown(&found));
    }
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let bound = catalog.expect_acting(&found.column)?;
    let (binding, column) = (&bound.binding, &bound.name);
    let done = follow::follow(&engine, binding, column, &job.job, through.as_ref()).await?;
    shown(&find(&engine, job).await?);
    Ok(follow::exit(&job.job, &done))
}

async fn list(arguments: &TableArguments, process: &ProcessArguments, json: bool) -> Result<Exit> {
    Through::to_look(&arguments.table, process).await?;
    let engine = super::open(&arguments.table, process, None).await?;
    let jobs = all(&engine).await?;
    let report = Jobs {
        table: arguments.table.clone(),
        jobs,
    };
    Ok(output::result(json, &report, || text(&report)))
}

async fn all(engine: &Engine) -> Result<Vec<Job>> {
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let mut jobs = vec![];
    for bound in catalog.acting() {
        let column = &bound.name;
        let known = engine.jobs(&version, &catalog, column).await?;
        jobs.extend(known.iter().map(|job| shown(column, job)));
    }
    Ok(jobs)
}

async fn find(engine: &Engine, arguments: &JobArguments) -> Result<Job> {
    let job = arguments.job.to_string();
    (all(engine).await?.into_iter())
        .find(|found| found.job_id == job)
        .ok_or_else(|| unknown(&arguments.job))
}

async fn cancel(engine: &Engine, arguments: &JobArguments) -> Result<Job> {
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    // Also of columns that do not act now: their jobs wait for them.
    for declared in &catalog.declared {
        let cancelled = engine.cancel(&declared.binding, &arguments.job).await?;
        if let Some(end) = cancelled {
            return Ok(shown(declared.name(), &KnownJob::Ended(end)));
        }
    }
    Err(unknown(&arguments.job))
}

fn unknown(job: &JobId) -> Error {
    Error::invalid(format!(
        "nobody knows of a job '{job}'; 'jobs list' shows those of the table"
    ))
}

fn shown(column: &str, job: &KnownJob) -> Job {
    match job {
        KnownJob::Open(open) => Job {
            job_id: open.job.to_string(),
            column: column.to_owned(),
            state: state(None),
            reason: open.broken.clone(),
            selection: open.request.selection.clone(),
            rows_selected: open.request.rows,
            rows_assigned: open.progress.rows_assigned,
            rows_failed: open.progress.rows_failed,
            rows_remaining: open.progress.rows_remaining,
        },
        KnownJob::Ended(end) => Job {
            job_id: end.job.to_string(),
            column: column.to_owned(),
            state: state(Some(end.outcome)),
            reason: None,
            selection: end.selection.clone(),
            rows_selected: end.rows,
            rows_assigned: end.rows_assigned,
            rows_failed: end.rows_failed,
            // Those of a job that was called off are nobody's any more, and not done.
            rows_remaining: match end.outcome {
                JobOutcome::Done => 0,
                JobOutcome::Cancelled | JobOutcome::OverBudget => {
                    end.rows.saturating_sub(end.rows_assigned + end.rows_failed)
                }
            },
        },
    }
}

/// A word for how a job ended, or that it did not.
pub(super) const fn state(outcome: Option<JobOutcome>) -> &'static str {
    match outcome {
        None => "open",
        Some(JobOutcome::Done) => "done",
        Some(JobOutcome::Cancelled) => "cancelled",
        Some(JobOutcome::OverBudget) => "over budget",
    }
}

/// A selection as its options.
fn options(selection: &Selection) -> String {
    let mut words = vec![];
    match selection.take {
        Take::InNeed => {}
        Take::Recompute => words.push("--recompute".to_owned()),
        Take::Failed => words.push("retry".to_owned()),
    }
    if let Some(filter) = &selection.filter {
        words.push(format!("--where \"{filter}\""));
    }
    if selection.ignore_filter {
        words.push("--ignore-filter".to_owned());
    }
    if let Some(generation) = &selection.generation {
        words.push(format!("--generation {generation}"));
    }
    if let Some(job) = &selection.job {
        words.push(format!("--job {job}"));
    }
    words.join(" ")
}

fn describe(job: &Job, through: Option<&Through>) -> String {
    let mut text = format!(
        "job {} of column '{}': {}\nasked for: {} ({} rows)\nassigned {}, failed {}, remaining {}",
        job.job_id,
        job.column,
        job.state,
        match options(&job.selection) {
            options if options.is_empty() => "all rows in need".to_owned(),
            options => options,
        },
        number(job.rows_selected),
        number(job.rows_assigned),
        number(job.rows_failed),
        number(job.rows_remaining)
    );
    if let Some(reason) = &job.reason {
        text.push_str(&format!("\ncannot go on: {reason}; 'jobs cancel' ends it"));
    }
    if job.state == "open" {
        text.push_str(&match through {
            Some(through) => format!("\nservice '{}' does it", through.remote.deployment().name),
            None => "\n'refresh' goes on with it".to_owned(),
        });
    }
    text
}

fn text(report: &Jobs) -> String {
    if report.jobs.is_empty() {
        return format!(
            "{} has no jobs; 'backfill' and 'retry' make them",
            report.table
        );
    }
    let rows: Vec<Vec<String>> = (report.jobs.iter())
        .map(|job| {
            vec![
                job.job_id.clone(),
                job.column.clone(),
                job.state.to_owned(),
                number(job.rows_selected),
                number(job.rows_assigned),
                number(job.rows_failed),
                number(job.rows_remaining),
                options(&job.selection),
            ]
        })
        .collect();
    let head = [
        "job",
        "column",
        "state",
        "selected",
        "assigned",
        "failed",
        "remaining",
        "asked for",
    ];
    output::table(&head, &rows)
}
