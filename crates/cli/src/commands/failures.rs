//! `failures`: the rows that could not be computed.

use lance_backfill_core::definition::home::Home;
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_ports::Result;
use serde::Serialize;

use crate::args::{ColumnArguments, ProcessArguments};
use crate::exit::Exit;
use crate::output::{self, number};

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
    kind: String,
    pub(super) message: String,
    attempts: u32,
}

pub(super) async fn run(
    arguments: &ColumnArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let engine = super::open_to_look(&arguments.table, process).await?;
    let report = find(&engine, &arguments.column).await?;
    Ok(output::result(json, &report, || text(&report)))
}

/// The failed rows of a column at the newest version.
pub(super) async fn find(engine: &Engine, column: &str) -> Result<Failures> {
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    catalog.expect(column)?;
    let mut failures = vec![];
    for record in engine.failed_records(&version, &catalog, column).await? {
        for errors in &record.errors {
            failures.extend(errors.rows.iter().map(|offset| Failure {
                fragment: record.fragment,
                offset,
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

fn text(report: &Failures) -> String {
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
                failure.message.clone(),
            ]
        })
        .collect();
    let mut text = output::table(&["fragment", "offset", "error", "message"], &rows);
    if report.failures.len() > MOST_SHOWN {
        let more = report.failures.len() - MOST_SHOWN;
        text.push_str(&format!(
            "\n… and {} more; --json lists all",
            number(more as u64)
        ));
    }
    text
}
