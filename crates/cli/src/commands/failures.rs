//! `failures`: the rows that could not be computed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use lance_backfill_core::definition::home::Home;
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_lance::{LanceTable, OpenOptions};
use lance_backfill_ports::{Error, Result};
use serde::Serialize;

use crate::args::{FailuresArguments, ProcessArguments};
use crate::exit::Exit;
use crate::output::{self, number};
use crate::service::Through;

/// Rows shown to a person; JSON has all of them.
const MOST_SHOWN: usize = 50;

#[derive(Serialize)]
pub(super) struct Failures {
    table: String,
    column: String,
    version: u64,
    /// Home of the table that this is a copy of, in which nothing is computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    copy_of: Option<Home>,
    rows_failed: u64,
    pub(super) failures: Vec<Failure>,
}

#[derive(Serialize)]
pub(super) struct Failure {
    pub(super) fragment: u64,
    pub(super) offset: u32,
    /// Its id, where the table has stable ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    row_id: Option<u64>,
    kind: String,
    pub(super) message: String,
    /// Where the function was, if it can tell.
    traceback: Option<String>,
    attempts: u32,
}

pub(super) async fn run(
    arguments: &FailuresArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    Through::to_look(&arguments.target.table, process).await?;
    let engine = super::open_to_look(&arguments.target.table, process).await?;
    let report = find(&engine, &arguments.target.column).await?;
    if let Some(path) = &arguments.output {
        let options = OpenOptions {
            storage_options: process.storage_options(),
            branch: None,
        };
        LanceTable::create(path, vec![table_of(&report)?], &options).await?;
    }
    Ok(output::result(json, &report, || match &arguments.output {
        Some(path) => format!(
            "{} failed rows of '{}' are in the Lance table {path}",
            number(report.rows_failed),
            report.column
        ),
        None => text(&report, arguments.tracebacks),
    }))
}

/// The failures as rows of a table.
fn table_of(report: &Failures) -> Result<RecordBatch> {
    let failures = &report.failures;
    let texts = |text: fn(&Failure) -> Option<&str>| -> ArrayRef {
        Arc::new(failures.iter().map(text).collect::<StringArray>())
    };
    let numbers = |number: fn(&Failure) -> Option<u64>| -> ArrayRef {
        Arc::new(failures.iter().map(number).collect::<UInt64Array>())
    };
    RecordBatch::try_from_iter_with_nullable([
        ("fragment", numbers(|it| Some(it.fragment)), false),
        ("offset", numbers(|it| Some(it.offset.into())), false),
        ("row_id", numbers(|it| it.row_id), true),
        ("kind", texts(|it| Some(&it.kind)), false),
        ("message", texts(|it| Some(&it.message)), false),
        ("traceback", texts(|it| it.traceback.as_deref()), true),
        ("attempts", numbers(|it| Some(it.attempts.into())), false),
    ])
    .map_err(|error| Error::internal("failures are no table").with_source(error))
}

/// The failed rows of a column at the newest version.
pub(super) async fn find(engine: &Engine, column: &str) -> Result<Failures> {
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let column = catalog.expect(column)?.name();
    let mut failures = vec![];
    for record in engine.failed_records(&version, &catalog, column).await? {
        let ids = version.row_ids(record.fragment).await?;
        let id = |offset: u32| ids.as_ref()?.get(offset as usize).copied();
        for errors in &record.errors {
            failures.extend(errors.rows.iter().map(|offset| Failure {
                fragment: record.fragment,
                offset,
                row_id: id(offset),
                traceback: errors.traceback.clone(),
                kind: errors.kind.clone(),
                message: errors.message.clone(),
                attempts: errors.attempts,
            }));
        }
    }
    Ok(Failures {
        table: engine.uri().to_owned(),
        column: column.to_owned(),
        version: version.view().version,
        copy_of: engine.copy_of().cloned(),
        rows_failed: failures.len() as u64,
        failures,
    })
}

fn text(report: &Failures, tracebacks: bool) -> String {
    if report.failures.is_empty() {
        return format!("no row of '{}' failed", report.column);
    }
    let rows: Vec<Vec<String>> = report
        .failures
        .iter()
        .take(MOST_SHOWN)
        .map(|failure| {
            vec![
                failure.fragment.to_string(),
                failure.offset.to_string(),
                failure.kind.clone(),
                failure.attempts.to_string(),
                failure.message.clone(),
            ]
        })
        .collect();
    let mut text = output::table(
        &["fragment", "offset", "error", "attempts", "message"],
        &rows,
    );
    if tracebacks {
        text.push_str(&tracebacks_of(&report.failures));
    }
    if report.failures.len() > MOST_SHOWN {
        let more = report.failures.len() - MOST_SHOWN;
        text.push_str(&format!(
            "\n… and {} more; --json lists all",
            number(more as u64)
        ));
    }
    text
}

/// Each traceback once, with how many rows have it.
fn tracebacks_of(failures: &[Failure]) -> String {
    let mut known: BTreeMap<&str, u64> = BTreeMap::new();
    for traceback in failures.iter().filter_map(|it| it.traceback.as_deref()) {
        *known.entry(traceback).or_default() += 1;
    }
    known
        .iter()
        .map(|(traceback, rows)| format!("\n\n{} rows:\n{traceback}", number(*rows)))
        .collect()
}
