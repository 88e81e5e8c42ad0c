//! `plan`: what a refresh would do, and why.

use lance_backfill_core::plan::PlannedPage;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_ports::Result;
use serde::Serialize;

use super::status::Numbers;
use crate::args::{PlanArguments, ProcessArguments};
use crate::exit::Exit;
use crate::output::{self, number};

#[derive(Serialize)]
struct Plan {
    table: String,
    version: u64,
    columns: Vec<PlannedColumn>,
}

#[derive(Serialize)]
struct PlannedColumn {
    column: String,
    #[serde(flatten)]
    numbers: Numbers,
    /// Rows in need by reason.
    rows_by_reason: Reasons,
    /// Rows that wait for a computed input.
    rows_waiting: u64,
    /// Rows in batches that are at work or not yet committed.
    rows_in_flight: u64,
    /// Rows that a refresh would compute first.
    rows_planned: u64,
    fragments: u64,
    fragments_unsettled: u64,
    batches: u64,
    folds: u64,
}

#[derive(Serialize)]
struct Reasons {
    unassigned: u64,
    stale_input: u64,
    stale_definition: u64,
}

pub(super) async fn run(
    arguments: &PlanArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let engine = super::open_to_look(&arguments.table, process).await?;
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    if let Some(column) = &arguments.column {
        catalog.expect(column)?;
    }
    let surveyed = engine
        .survey(&version, &catalog, &|bound| {
            arguments
                .column
                .as_ref()
                .is_none_or(|column| *column == bound.output.name)
        })
        .await?;
    let mut columns = vec![];
    for (column, survey) in &surveyed {
        let PlannedPage {
            batches,
            folds,
            rows_left,
        } = engine.preview(survey)?;
        let rows: u64 = batches
            .iter()
            .map(lance_backfill_core::batch::BatchSpec::rows)
            .sum();
        let in_need = survey.unsettled.values();
        columns.push(PlannedColumn {
            column: column.name().to_owned(),
            numbers: Numbers::from(&survey.counts),
            rows_by_reason: Reasons {
                unassigned: survey.counts.unassigned,
                stale_input: survey.counts.stale_input,
                stale_definition: survey.counts.stale_definition,
            },
            rows_waiting: in_need
                .clone()
                .map(|found| found.waiting.intersection(&found.state.in_need()).len())
                .sum(),
            rows_in_flight: in_need
                .map(|found| found.open.union(&found.done).len())
                .sum(),
            rows_planned: rows + rows_left,
            fragments: survey.fragments,
            fragments_unsettled: survey.unsettled.len() as u64,
            batches: batches.len() as u64,
            folds: folds.len() as u64,
        });
    }
    let plan = Plan {
        table: arguments.table.clone(),
        version: version.view().version,
        columns,
    };
    Ok(output::result(json, &plan, || text(&plan)))
}

fn text(plan: &Plan) -> String {
    if plan.columns.is_empty() {
        return format!(
            "{} has no computed columns; declare one with 'column add'",
            plan.table
        );
    }
    let rows: Vec<Vec<String>> = plan
        .columns
        .iter()
        .map(|column| {
            let mut row = vec![column.column.clone()];
            row.extend(
                [
                    column.rows_planned,
                    column.rows_by_reason.unassigned,
                    column.rows_by_reason.stale_input,
                    column.rows_by_reason.stale_definition,
                    column.rows_waiting,
                    column.rows_in_flight,
                    column.fragments_unsettled,
                    column.fragments,
                    column.batches,
                ]
                .map(number),
            );
            row
        })
        .collect();
    output::table(
        &[
            "column",
            "to compute",
            "unassigned",
            "stale input",
            "stale definition",
            "waiting",
            "in flight",
            "unsettled",
            "fragments",
            "batches",
        ],
        &rows,
    )
}
