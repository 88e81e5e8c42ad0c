//! `status`: what the rows of each computed column hold and need.

use std::collections::BTreeMap;
use std::sync::Arc;

use lance_backfill_core::definition::home::Home;
use lance_backfill_core::definition::{BoundColumn, Definition, Function, OnUnknown};
use lance_backfill_core::ledger::standing_hold;
use lance_backfill_core::state::Counts;
use lance_backfill_embedded::Engine;
use lance_backfill_embedded::breaker::breaker_line;
use lance_backfill_embedded::catalog::{Catalog, Declared};
use lance_backfill_embedded::converge::generations;
use lance_backfill_embedded::pause::paused_line;
use lance_backfill_ports::Result;
use lance_backfill_ports::table::TableVersion;
use lance_backfill_service::Admission;
use lance_backfill_stages::column::Column;
use lance_backfill_stages::survey::Survey;
use serde::Serialize;

use crate::args::{ProcessArguments, TableArguments};
use crate::exit::Exit;
use crate::output::{self, number};
use crate::service::Through;

mod crew;

use crew::Crew;

/// Live rows of a column by state.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Numbers {
    pub(super) rows_total: u64,
    pub(super) rows_filtered: u64,
    pub(super) rows_eligible: u64,
    pub(super) rows_current: u64,
    pub(super) rows_failed: u64,
    pub(super) rows_blocked: u64,
    pub(super) rows_unknown: u64,
    pub(super) rows_remaining: u64,
}

impl From<&Counts> for Numbers {
    fn from(counts: &Counts) -> Self {
        Self {
            rows_total: counts.total,
            rows_filtered: counts.filtered,
            rows_eligible: counts.eligible(),
            rows_current: counts.current,
            rows_failed: counts.failed,
            rows_blocked: counts.blocked,
            rows_unknown: counts.unknown,
            rows_remaining: counts.remaining(),
        }
    }
}

/// What a survey found of one column.
#[derive(Default)]
pub(super) struct Found {
    pub(super) numbers: Numbers,
    pub(super) generations: BTreeMap<String, u64>,
    pub(super) hold: Option<String>,
    pub(super) breaker: Option<BreakerReport>,
    pub(super) oldest_row_in_need_s: Option<u64>,
}

/// A breaker that is open.
#[derive(Clone, Serialize)]
pub(super) struct BreakerReport {
    /// Faults in a row.
    faults: u32,
    /// What went wrong last.
    reason: String,
    /// When the next batch may probe.
    next_probe_in_ms: u64,
    /// All of it for a person.
    #[serde(skip)]
    pub(super) line: String,
}

impl BreakerReport {
    /// The breaker of a surveyed column, if it is open.
    pub(super) fn of(engine: &Engine, column: &Column, survey: &Survey) -> Option<Self> {
        let standing = survey.standing_breaker(&column.bound.generation)?;
        let now_ms = engine.now_ms();
        Some(Self {
            faults: standing.open.faults,
            next_probe_in_ms: standing.until_ms.saturating_sub(now_ms),
            line: breaker_line(&standing, now_ms),
            reason: standing.open.message,
        })
    }
}

/// Rows in need beside those that remain: of lost origin, where these are computed again.
pub(super) const fn distrusted(definition: &Definition, rows_unknown: u64) -> u64 {
    match definition.on_unknown {
        OnUnknown::Trust => 0,
        OnUnknown::Recompute => rows_unknown,
    }
}

/// Surveys columns and keeps the numbers, by column name.
pub(super) async fn survey_numbers(
    engine: &Engine,
    version: &Arc<dyn TableVersion>,
    catalog: &Catalog,
    wanted: &(dyn Fn(&BoundColumn) -> bool + Sync),
) -> Result<BTreeMap<String, Found>> {
    let mut numbers = BTreeMap::new();
    for (column, survey) in engine.survey(version, catalog, wanted).await? {
        let entries = survey.entries();
        let found = Found {
            numbers: Numbers::from(&survey.counts),
            generations: generations(&survey),
            hold: standing_hold(&entries).map(|(_, message)| message.to_owned()),
            breaker: BreakerReport::of(engine, &column, &survey),
            oldest_row_in_need_s: engine.oldest_need_s(version, &column, &survey).await?,
        };
        numbers.insert(column.name().to_owned(), found);
    }
    let blocked = (catalog.declared.iter())
        .filter_map(|declared| declared.bound.as_ref().ok())
        .filter(|bound| catalog.cyclic.contains(&bound.key()) && wanted(bound));
    let mut live_rows = None;
    for bound in blocked {
        let rows = match live_rows {
            Some(rows) => rows,
            None => engine.live_rows(version.as_ref()).await?,
        };
        live_rows = Some(rows);
        // Nobody asks the filter either: it may read a column of the cycle.
        let found = Found {
            numbers: Numbers {
                rows_total: rows,
                rows_eligible: rows,
                rows_blocked: rows,
                ..Numbers::default()
            },
            ..Found::default()
        };
        numbers.insert(bound.name.clone(), found);
    }
    Ok(numbers)
}

#[derive(Serialize)]
struct Status {
    table: String,
    version: u64,
    /// Home of the table that this is a copy of, in which nothing is computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    copy_of: Option<Home>,
    /// How long a pause of the table still lasts, if it is paused.
    #[serde(skip_serializing_if = "Option::is_none")]
    paused_for_ms: Option<u64>,
    /// The service that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<Served>,
    columns: Vec<StatusColumn>,
}

/// What a service has to do with the table.
#[derive(Serialize)]
struct Served {
    service: String,
    name: String,
    /// Whether the table is registered there.
    registered: bool,
    /// Whether all spending is stopped.
    paused: bool,
}

impl Served {
    async fn of(through: &Through) -> Result<Self> {
        let Through { remote, table } = through;
        Ok(Self {
            service: remote.prefix().to_owned(),
            name: remote.deployment().name.clone(),
            registered: remote.admission(table).await? == Admission::Kept,
            paused: remote.stopped().await?.is_some(),
        })
    }
}

#[derive(Serialize)]
struct StatusColumn {
    column: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Other columns of the cycle that it is in or waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cycle: Vec<String>,
    generation: String,
    expression: String,
    filter: Option<String>,
    #[serde(flatten)]
    numbers: Numbers,
    /// What keeps rows from workers that would fail on all of them, if something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    breaker: Option<BreakerReport>,
    /// Rows by the generation that made them.
    generations: BTreeMap<String, u64>,
    /// How long the oldest row in need has had its present inputs.
    oldest_row_in_need_s: Option<u64>,
}

pub(super) async fn run(
    arguments: &TableArguments,
    process: &ProcessArguments,
    json: bool,
) -> Result<Exit> {
    let through = Through::to_look(&arguments.table, process).await?;
    let engine = super::open_to_look(&arguments.table, process).await?;
    let version = engine.latest().await?;
    let catalog = Catalog::read(version.view())?;
    let mut found = survey_numbers(&engine, &version, &catalog, &|_| true).await?;
    let crew = match &through {
        Some(through) => Some(Crew::of(&through.remote).await?),
        None => None,
    };
    let columns: Vec<StatusColumn> = catalog
        .declared
        .iter()
        .map(|declared| {
            column(
                declared,
                &catalog,
                declared
                    .bound
                    .as_ref()
                    .ok()
                    .and_then(|_| found.remove(declared.name())),
                crew.as_ref(),
            )
        })
        .collect();
    let status = Status {
        table: arguments.table.clone(),
        version: version.view().version,
        copy_of: engine.copy_of().cloned(),
        paused_for_ms: engine.paused_for_ms().await?,
        service: match &through {
            Some(through) => Some(Served::of(through).await?),
            None => None,
        },
        columns,
    };
    Ok(output::result(json, &status, || text(&status)))
}

fn column(
    declared: &Declared,
    catalog: &Catalog,
    found: Option<Found>,
    crew: Option<&Crew<'_>>,
) -> StatusColumn {
    let Found {
        numbers,
        generations,
        hold,
        breaker,
        oldest_row_in_need_s,
    } = found.unwrap_or_default();
    let cycle = (declared.bound.as_ref().ok()).and_then(|bound| catalog.cycle(bound));
    let in_need = |definition: &Definition| {
        numbers.rows_remaining + distrusted(definition, numbers.rows_unknown) > 0
    };
    let (state, reason) = match &declared.bound {
        Err(detached) => ("detached", Some(detached.to_string())),
        Ok(_) if cycle.is_some() => ("blocked", cycle.as_ref().map(ToString::to_string)),
        Ok(bound) if !bound.definition.auto => ("paused", None),
        Ok(_) if hold.is_some() => ("held", hold),
        Ok(_) if breaker.is_some() => (
            "breaker open",
            breaker.as_ref().map(|breaker| breaker.line.clone()),
        ),
        Ok(bound) if in_need(&bound.definition) => {
            match crew.and_then(|crew| crew.lacks(&bound.definition)) {
                Some(lack) => (lack.state, Some(lack.reason)),
                None => ("in need", None),
            }
        }
        Ok(_) => ("settled", None),
    };
    StatusColumn {
        column: declared.name().to_owned(),
        state,
        reason,
        cycle: cycle.map(|cycle| cycle.others).unwrap_or_default(),
        generation: declared.definition.generation().to_string(),
        expression: match &declared.definition.function {
            Function::Sql { expression, .. } => expression.clone(),
            Function::Python { entrypoint, .. } => entrypoint.clone(),
        },
        filter: declared.definition.filter.clone(),
        numbers,
        breaker,
        generations,
        oldest_row_in_need_s,
    }
}

fn text(status: &Status) -> String {
    if status.columns.is_empty() {
        return format!(
            "{} has no computed columns; declare one with 'column add'",
            status.table
        );
    }
    let rows: Vec<Vec<String>> = status
        .columns
        .iter()
        .map(|column| {
            let numbers = &column.numbers;
            let mut row = vec![column.column.clone(), column.state.to_owned()];
            row.extend(
                [
                    numbers.rows_total,
                    numbers.rows_filtered,
                    numbers.rows_current,
                    numbers.rows_failed,
                    numbers.rows_blocked,
                    numbers.rows_unknown,
                    numbers.rows_remaining,
                ]
                .map(number),
            );
            row
        })
        .collect();
    let head = [
        "column",
        "state",
        "rows",
        "filtered",
        "current",
        "failed",
        "blocked",
        "unknown",
        "remaining",
    ];
    let mut text = output::table(&head, &rows);
    for column in &status.columns {
        if let Some(reason) = &column.reason {
            text.push_str(&format!("\n{}: {reason}", column.column));
        }
        if let Some(seconds) = column.oldest_row_in_need_s {
            let waited = indicatif::HumanDuration(std::time::Duration::from_secs(seconds));
            text.push_str(&format!(
                "\n{}: the oldest row in need waits for {waited:#}",
                column.column
            ));
        }
    }
    if let Some(for_ms) = status.paused_for_ms {
        text.push_str(&format!("\n{}", paused_line(for_ms)));
    }
    text
}
