//! `plan`: what a refresh would do, and why.

use std::collections::BTreeSet;

use lance_backfill_core::definition::BoundColumn;
use lance_backfill_core::definition::home::Home;
use lance_backfill_core::deployment::Deployment;
use lance_backfill_core::ids::{FieldId, FragmentId};
use lance_backfill_core::job::Selection;
use lance_backfill_core::plan::{Limits, PlannedPage};
use lance_backfill_core::rate::Estimate;
use lance_backfill_core::route::{Route, Wish, route};
use lance_backfill_core::table::TableView;
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::catalog::Catalog;
use lance_backfill_embedded::waiting::rows_waiting;
use lance_backfill_ports::{Error, Result};
use lance_backfill_stages::column::Column;
use lance_backfill_stages::survey::Survey;
use serde::Serialize;

use super::backfill::selection;

use super::status::{BreakerReport, Numbers, distrusted};
use crate::args::{PlanArguments, ProcessArguments};
use crate::exit::Exit;
use crate::output::{self, number};
use crate::service::Through;

#[derive(Serialize)]
struct Plan {
    table: String,
    version: u64,
    /// Home of the table that this is a copy of, in which nothing is computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    copy_of: Option<Home>,
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
    /// Bytes of the input columns in the fragments to work on, where the table tells.
    bytes_to_read: Option<u64>,
    /// What keeps rows from workers that would fail on all of them, if something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<BreakerReport>,
    /// From the measured speed; none before the first batches.
    estimate: Option<Estimate>,
}

#[derive(Serialize)]
struct Reasons {
    unassigned: u64,
    stale_input: u64,
    stale_definition: u64,
    /// Values of lost origin, where these are computed again.
    unknown: u64,
}

pub(super) async fn run(
    arguments: &PlanArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let through = Through::to_look(&arguments.table, process).await?;
    let engine = super::open_to_look(&arguments.table, process).await?;
    let limits = |column: &Column, survey: &Survey| match &through {
        Some(through) => limits_there(&engine, column, survey, through.remote.deployment()),
        None => engine.limits(column, survey),
    };
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    if let Some(column) = &arguments.column {
        catalog.expect(column)?;
    }
    let asked = asked(arguments)?;
    let mut columns = vec![];
    match (&arguments.column, asked) {
        (Some(column), Some(selection)) => {
            catalog.expect_acting(column)?;
            let (column, survey) = engine
                .survey_asked(&version, &catalog, column, &selection)
                .await?;
            let limits = limits(&column, &survey);
            let page = engine.preview_asked(&survey, &limits)?;
            let asked = survey.requests.last();
            let rows = asked.map_or(0, |asked| asked.progress.rows_remaining);
            columns.push(planned(
                &engine,
                version.view(),
                &column,
                &survey,
                &page,
                &limits,
                rows,
            ));
        }
        (wanted, _) => {
            let is_wanted =
                |bound: &BoundColumn| wanted.as_ref().is_none_or(|column| bound.is_named(column));
            for (column, survey) in engine.survey(&version, &catalog, &is_wanted).await? {
                let limits = limits(&column, &survey);
                let page = engine.preview(&survey, &limits)?;
                let rows = page.rows() + page.rows_left;
                columns.push(planned(
                    &engine,
                    version.view(),
                    &column,
                    &survey,
                    &page,
                    &limits,
                    rows,
                ));
            }
        }
    }
    for column in &mut columns {
        column.estimate = (column.estimate).map(|it| it.priced(arguments.cost_per_hour));
    }
    let plan = Plan {
        table: arguments.table.clone(),
        version: version.view().version,
        copy_of: engine.copy_of().cloned(),
        columns,
    };
    Ok(output::result(json, &plan, || text(&plan)))
}

/// What bounds a page of a column at a service; where nobody computes it, as if its own workers did.
fn limits_there(
    engine: &Engine,
    column: &Column,
    survey: &Survey,
    deployment: &Deployment,
) -> Limits {
    let classes = deployment.classes.keys().map(String::as_str);
    let wish = Wish::of(&column.bound.definition);
    let route = route(&wish, classes).unwrap_or(Route::Workers);
    let at_once = match route {
        Route::Workers => deployment.batches_at_once,
        Route::Class(class) => deployment.classes[class].batches_at_once,
    };
    lance_backfill_service::limits(engine, column, survey, route, at_once)
}

/// What the options of a job say, if there are any.
fn asked(arguments: &PlanArguments) -> Result<Option<Selection>> {
    let selection = selection(&arguments.selection);
    if selection == Selection::in_need() {
        return Ok(None);
    }
    if arguments.column.is_none() {
        return Err(Error::invalid(
            "--where, --recompute, --ignore-filter, --generation and --job are about one column: give --column",
        ));
    }
    Ok(Some(selection))
}

/// About what a worker reads: the input columns of the fragments to work on.
fn bytes_to_read(
    view: &TableView,
    column: &Column,
    fragments: &BTreeSet<FragmentId>,
) -> Option<u64> {
    let fields: Vec<FieldId> = (column.bound.inputs.iter())
        .flat_map(|input| input.tree_ids.iter().copied())
        .collect();
    fragments
        .iter()
        .filter_map(|id| view.fragment(*id))
        .map(|fragment| fragment.bytes_of(&fields))
        .sum()
}

fn planned(
    engine: &Engine,
    view: &TableView,
    column: &Column,
    survey: &Survey,
    page: &PlannedPage,
    limits: &Limits,
    rows: u64,
) -> PlannedColumn {
    let fragments: BTreeSet<FragmentId> = (page.batches.iter())
        .flat_map(|batch| &batch.slices)
        .map(|slice| slice.fragment)
        .collect();
    PlannedColumn {
        column: column.name().to_owned(),
        numbers: Numbers::from(&survey.counts),
        rows_by_reason: Reasons {
            unassigned: survey.counts.unassigned,
            stale_input: survey.counts.stale_input,
            stale_definition: survey.counts.stale_definition,
            unknown: distrusted(&column.bound.definition, survey.counts.unknown),
        },
        rows_waiting: rows_waiting(survey),
        rows_in_flight: (survey.unsettled.values())
            .map(|found| found.open.union(&found.done).len())
            .sum(),
        rows_planned: rows,
        fragments: survey.fragments,
        fragments_unsettled: survey.unsettled.len() as u64,
        batches: page.batches.len() as u64,
        folds: page.folds.len() as u64,
        bytes_to_read: bytes_to_read(view, column, &fragments),
        breaker: BreakerReport::of(engine, column, survey),
        estimate: engine.estimate(column, survey, rows, limits),
    }
}

fn text(plan: &Plan) -> String {
    if plan.columns.is_empty() {
        return format!(
            "{} has no computed columns; declare one with 'column add'",
            plan.table
        );
    }
    let mut estimates = String::new();
    for column in plan.columns.iter().filter(|column| column.rows_planned > 0) {
        estimates.push_str(&format!("\n{}: {}", column.column, cost(column)));
    }
    for column in &plan.columns {
        if let Some(breaker) = &column.breaker {
            estimates.push_str(&format!("\n{}: {}", column.column, breaker.line));
        }
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
                    column.rows_by_reason.unknown,
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
            "unknown",
            "waiting",
            "in flight",
            "unsettled",
            "fragments",
            "batches",
        ],
        &rows,
    ) + &estimates
}

/// What the work costs, as far as it is known.
fn cost(column: &PlannedColumn) -> String {
    let bytes = match column.bytes_to_read {
        Some(bytes) => format!("reads about {}", indicatif::HumanBytes(bytes)),
        None => "bytes to read unknown".to_owned(),
    };
    let time = match &column.estimate {
        Some(estimate) => format!("{}, as batches went so far", estimate_text(estimate)),
        None => "its speed is not measured yet: 'column canary' tells".to_owned(),
    };
    format!("{bytes}, {time}")
}

/// How long something takes, between which bounds, and at what cost.
pub(super) fn estimate_text(estimate: &Estimate) -> String {
    let Estimate {
        seconds,
        at_least_s,
        at_most_s,
        rows_per_s,
        cost,
    } = estimate;
    let cost = cost.map_or(String::new(), |cost| {
        format!(
            ", costs about {:.2} ({:.2} to {:.2})",
            cost.expected, cost.at_least, cost.at_most
        )
    });
    let speed = if *rows_per_s < 10.0 {
        format!("{rows_per_s:.2}")
    } else {
        number(whole(*rows_per_s))
    };
    format!(
        "takes about {seconds:.1} s (between {at_least_s:.1} and {at_most_s:.1} s) at {speed} rows/s{cost}"
    )
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a speed for a person"
)]
fn whole(number: f64) -> u64 {
    number.clamp(0.0, 1e15) as u64
}
