//! `refresh`: bring computed columns up to date once.

use std::collections::{BTreeMap, BTreeSet};

use lance_backfill_core::checkpoint::Fault;
use lance_backfill_core::definition::BoundColumn;
use lance_backfill_core::ids::JobId;
use lance_backfill_core::ledger::HoldReason;
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_embedded::converge::{Attention, Converged, Estimated, Stopped, Task};
use lance_backfill_embedded::pause::paused_line;
use lance_backfill_embedded::waiting::{Awaited, Waiting};
use lance_backfill_ports::Result;
use serde::Serialize;

use super::status::{Numbers, survey_numbers};
use crate::args::{ProcessArguments, RefreshArguments};
use crate::exit::Exit;
use crate::output::{self, number};
use crate::progress::Bar;

/// Passes over all columns before we leave the rest to the next refresh: writers may never rest.
const MOST_PASSES: usize = 3;

/// What a refresh did, and what the columns hold after it.
#[derive(Serialize)]
pub(super) struct Refreshed {
    table: String,
    source_version: u64,
    pub(super) published_version: Option<u64>,
    pub(super) columns: Vec<RefreshedColumn>,
}

#[derive(Serialize)]
pub(super) struct RefreshedColumn {
    pub(super) column: String,
    #[serde(flatten)]
    pub(super) numbers: Numbers,
    pub(super) rows_assigned: u64,
    batches: u64,
    bytes_written: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stopped: Option<String>,
    /// Remaining rows that wait for other columns.
    rows_waiting: u64,
    /// Those columns.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    waits_for: BTreeSet<Awaited>,
    /// Jobs that cannot be done any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    broken_jobs: Vec<String>,
    /// What was estimated, against what it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated: Option<Estimated>,
}

pub(super) async fn run(
    arguments: &RefreshArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let engine = super::open(&arguments.table, process, arguments.batch_rows).await?;
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let wanted: Vec<String> = match &arguments.column {
        Some(column) => vec![catalog.expect_acting(column)?.name.clone()],
        None => unattended(&catalog),
    };
    report_left_out(&catalog, arguments);
    let report = refresh(&engine, &wanted, None).await?;
    output::result(json, &report, || text(&report));
    Ok(exit(&report))
}

/// The columns that a refresh without `--column` takes, dependencies first.
pub(super) fn unattended(catalog: &Catalog) -> Vec<String> {
    catalog
        .acting()
        .filter(|bound| bound.definition.auto)
        .map(|bound| bound.name.clone())
        .collect()
}

/// Brings columns, given in the order of their dependencies, up to date once; or does one job of one.
pub(super) async fn refresh(
    engine: &Engine,
    wanted: &[String],
    job: Option<&JobId>,
) -> Result<Refreshed> {
    let source_version = engine.latest().await?.view().version;
    let bar = Bar::new();
    let mut done: Vec<(String, Converged)> = wanted
        .iter()
        .map(|column| (column.clone(), Converged::default()))
        .collect();
    let mut published = None;
    for _ in 0..MOST_PASSES {
        let mut worked = false;
        for (column, sum) in &mut done {
            if sum.stopped.is_some() {
                continue;
            }
            let version = engine.latest().await?;
            let catalog = Catalog::read(version.view())?;
            let task = Task {
                column,
                job,
                attention: Attention::Attended,
            };
            let converged = engine.converge(&catalog, task, &bar).await?;
            // What an earlier process finished is published without a batch of ours.
            worked |= converged.batches > 0 || converged.published_version.is_some();
            published = converged.published_version.or(published);
            add(sum, converged);
        }
        // One column's commit makes work for those that read it; a pass without work ends it.
        if !worked || done.len() == 1 {
            break;
        }
    }
    bar.finish();
    report(engine, source_version, published, done).await
}

/// What columns hold, without any work.
pub(super) async fn look(engine: &Engine, wanted: &[String]) -> Result<Refreshed> {
    let version = engine.latest().await?.view().version;
    let nothing = |column: &String| (column.clone(), Converged::default());
    let done = wanted.iter().map(nothing).collect();
    report(engine, version, None, done).await
}

async fn report(
    engine: &Engine,
    source_version: u64,
    published_version: Option<u64>,
    done: Vec<(String, Converged)>,
) -> Result<Refreshed> {
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let now = version.view().version;
    let seen = |(column, converged): &(String, Converged)| {
        let (_, counts) = converged.seen.filter(|(at, _)| *at == now)?;
        Some((column.clone(), Numbers::from(&counts)))
    };
    // What the last survey of each column saw is what there is, unless another version came after it.
    let numbers: BTreeMap<String, Numbers> = match done.iter().map(seen).collect() {
        Some(numbers) => numbers,
        None => {
            let wanted =
                |bound: &BoundColumn| done.iter().any(|(column, _)| bound.is_named(column));
            let found = survey_numbers(engine, &version, &catalog, &wanted).await?;
            (found.into_iter())
                .map(|(column, found)| (column, found.numbers))
                .collect()
        }
    };
    let mut columns = vec![];
    for (column, converged) in done {
        let numbers = numbers.get(&column).cloned().unwrap_or_default();
        let waiting = match numbers.rows_remaining {
            0 => Waiting::default(),
            _ => engine.waiting(&version, &catalog, &column).await?,
        };
        columns.push(RefreshedColumn {
            rows_waiting: waiting.rows.min(numbers.rows_remaining),
            waits_for: waiting.awaited,
            numbers,
            column,
            rows_assigned: converged.rows_assigned,
            batches: converged.batches,
            bytes_written: converged.bytes_written,
            stopped: converged.stopped.as_ref().map(describe),
            estimated: converged.estimated,
            broken_jobs: converged.broken.iter().map(ToString::to_string).collect(),
        });
    }
    if columns.iter().all(|column| column.stopped.is_none()) {
        engine.rest();
    }
    Ok(Refreshed {
        table: engine.uri().to_owned(),
        source_version,
        published_version,
        columns,
    })
}

fn report_left_out(catalog: &Catalog, arguments: &RefreshArguments) {
    if arguments.column.is_some() {
        return;
    }
    for declared in &catalog.declared {
        match &declared.bound {
            Err(detached) => output::note(&format!(
                "column '{}' is left out: {detached}",
                declared.name()
            )),
            Ok(bound) => {
                if let Some(cycle) = catalog.cycle(bound) {
                    output::note(&format!(
                        "column '{}' is left out: {cycle}; change one of them with 'column alter'",
                        declared.name()
                    ));
                } else if !bound.definition.auto {
                    output::note(&format!(
                        "column '{}' is left out: it is paused ('column resume' ends that)",
                        declared.name()
                    ));
                }
            }
        }
    }
}

fn add(sum: &mut Converged, more: Converged) {
    let Converged {
        rows_assigned,
        batches,
        bytes_written,
        published_version,
        stopped,
        seen,
        broken,
        estimated,
    } = more;
    sum.estimated = sum.estimated.or(estimated);
    sum.seen = seen;
    sum.broken = broken;
    sum.rows_assigned += rows_assigned;
    sum.batches += batches;
    sum.bytes_written += bytes_written;
    sum.published_version = published_version.or(sum.published_version);
    sum.stopped = stopped;
}

fn describe(stopped: &Stopped) -> String {
    match stopped {
        Stopped::Budget(message) => format!(
            "error budget exceeded: {message}; see 'failures', then fix the expression or raise --max-failed-rows or --max-failed-fraction with 'column alter'"
        ),
        Stopped::Held(HoldReason::Budget, message) => {
            format!("held, too many rows failed: {message}; see 'failures', then 'column resume'")
        }
        Stopped::Held(HoldReason::Approval, message) => {
            format!("held: {message}; 'approve' or 'refresh' ends that")
        }
        Stopped::Fault(fault) => fault_text(fault),
        Stopped::Breaker(standing) => format!(
            "the breaker is open: {}; 'column resume' ends the wait",
            standing.open.message
        ),
        Stopped::Paused(for_ms) => {
            format!("computed, and not published: {}", paused_line(*for_ms))
        }
    }
}

/// What went wrong, and below it where.
fn fault_text(fault: &Fault) -> String {
    let mut text = format!("the function cannot be called: {}", fault.message);
    if let Some(traceback) = &fault.traceback {
        text.push('\n');
        text.push_str(traceback.trim_end());
    }
    text
}

fn exit(report: &Refreshed) -> Exit {
    let mut exit = Exit::Done;
    for column in &report.columns {
        for broken in &column.broken_jobs {
            output::note(&format!("column '{}': {broken}", column.column));
        }
        if let Some(stopped) = &column.stopped {
            output::note(&format!("column '{}': {stopped}", column.column));
            exit = Exit::Failed;
        } else if column.numbers.rows_failed > 0 {
            let failed = column.numbers.rows_failed;
            let rows = if failed == 1 { "row" } else { "rows" };
            let which = match column.numbers.rows_current {
                0 => format!("all {} {rows} failed, too few to exceed", number(failed)),
                _ => format!("{} {rows} failed, within", number(failed)),
            };
            output::note(&format!(
                "column '{}': {which} the error budget; see 'failures'",
                column.column
            ));
        }
        if column.stopped.is_none() && column.numbers.rows_remaining > 0 {
            note_remaining(column);
            exit = Exit::Failed;
        }
    }
    exit
}

/// Says why rows remain although nothing stopped the work on them.
fn note_remaining(column: &RefreshedColumn) {
    let name = &column.column;
    if column.rows_waiting > 0 {
        let awaited: Vec<String> = column.waits_for.iter().map(ToString::to_string).collect();
        output::note(&format!(
            "column '{name}': {} rows wait for {}",
            number(column.rows_waiting),
            awaited.join(" and ")
        ));
    }
    let came_in = column.numbers.rows_remaining - column.rows_waiting;
    if came_in > 0 {
        output::note(&format!(
            "column '{name}': {} rows came in meanwhile; refresh again",
            number(came_in)
        ));
    }
}

pub(super) fn text(report: &Refreshed) -> String {
    if report.columns.is_empty() {
        return format!(
            "{} has no computed columns to refresh; declare one with 'column add'",
            report.table
        );
    }
    let rows: Vec<Vec<String>> = report
        .columns
        .iter()
        .map(|column| {
            vec![
                column.column.clone(),
                number(column.rows_assigned),
                number(column.numbers.rows_current),
                number(column.numbers.rows_failed),
                number(column.numbers.rows_blocked),
                number(column.numbers.rows_remaining),
                number(column.numbers.rows_filtered),
            ]
        })
        .collect();
    output::table(
        &[
            "column",
            "assigned",
            "current",
            "failed",
            "blocked",
            "remaining",
            "filtered",
        ],
        &rows,
    ) + &estimates(report)
}

/// Estimates of work that took some time, against what it took.
fn estimates(report: &Refreshed) -> String {
    let worth_telling = |estimated: &Estimated| estimated.took_s >= 1.0;
    let told = report.columns.iter().filter_map(|column| {
        let Estimated {
            rows,
            estimate,
            took_s,
        } = column.estimated.filter(worth_telling)?;
        Some(format!(
            "\n{}: {} rows were estimated at {:.1} s ({:.1} to {:.1} s) and took {took_s:.1} s",
            column.column,
            number(rows),
            estimate.seconds,
            estimate.at_least_s,
            estimate.at_most_s
        ))
    });
    told.collect()
}
