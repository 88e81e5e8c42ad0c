//! What the rows of a column wait for that no work on the column itself can bring.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lance_backfill_core::ids::FieldId;
use lance_backfill_core::ledger::standing_hold;
use lance_backfill_ports::Result;
use lance_backfill_ports::table::TableVersion;
use lance_backfill_stages::column::Column;
use lance_backfill_stages::survey::Survey;
use serde::Serialize;

use crate::catalog::{Catalog, node};
use crate::engine::Engine;

/// Rows that wait for other columns, and for which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Rows in need whose computed inputs are not ready.
    pub rows: u64,
    /// The columns that must come first, sorted.
    pub awaited: BTreeSet<Awaited>,
}

/// A column that others wait for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Awaited {
    /// Its name.
    pub column: String,
    /// Why it does not come by itself.
    pub why: Why,
}

/// Why a column that others wait for does not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Somebody paused it.
    Paused,
    /// It is held, for failed rows or until its rows are approved.
    Held,
    /// Nothing keeps it: it was not refreshed, or needs rows again.
    InNeed,
}

impl Engine {
    /// What the rows in need of a column wait for.
    pub async fn waiting(
        &self,
        version: &Arc<dyn TableVersion>,
        catalog: &Catalog,
        column: &str,
    ) -> Result<Waiting> {
        let surveyed = self
            .survey(version, catalog, &|bound| bound.is_named(column))
            .await?;
        let of_outputs = |found: &'_ (Column, Survey)| {
            let ids = found.0.bound.outputs.iter().map(|field| field.id);
            ids.collect::<Vec<FieldId>>()
        };
        let by_output: BTreeMap<FieldId, &(Column, Survey)> = (surveyed.iter())
            .flat_map(|found| of_outputs(found).into_iter().map(move |id| (id, found)))
            .collect();
        let mut waiting = Waiting::default();
        if let Some(found) = surveyed
            .iter()
            .find(|(found, _)| found.bound.is_named(column))
        {
            waiting.rows = rows_waiting(&found.1);
            if waiting.rows > 0 {
                collect(
                    found,
                    &by_output,
                    &mut BTreeSet::new(),
                    &mut waiting.awaited,
                );
            }
        }
        Ok(waiting)
    }
}

/// Rows in need that wait for a computed input.
pub fn rows_waiting(survey: &Survey) -> u64 {
    (survey.unsettled.values())
        .map(|found| found.waiting.intersection(&found.state.in_need()).len())
        .sum()
}

/// Follows what a column reads to those that keep it waiting; there are no cycles among them.
fn collect(
    (column, _): &(Column, Survey),
    surveyed: &BTreeMap<FieldId, &(Column, Survey)>,
    visited: &mut BTreeSet<FieldId>,
    awaited: &mut BTreeSet<Awaited>,
) {
    for id in node(&column.bound).reads {
        let Some(read) = surveyed.get(&id).filter(|_| visited.insert(id)) else {
            continue;
        };
        let (upstream, survey) = read;
        if survey.counts.remaining() == 0 {
            continue;
        }
        let why = match standing_hold(&survey.entries()) {
            _ if !upstream.bound.definition.auto => Why::Paused,
            Some(_) => Why::Held,
            None if rows_waiting(survey) > 0 => {
                collect(read, surveyed, visited, awaited);
                continue;
            }
            None => Why::InNeed,
        };
        awaited.insert(Awaited {
            column: upstream.name().to_owned(),
            why,
        });
    }
}

impl std::fmt::Display for Awaited {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { column, why } = self;
        match why {
            Why::Paused => write!(
                formatter,
                "column '{column}', which is paused ('column resume' ends that)"
            ),
            Why::Held => write!(
                formatter,
                "column '{column}', which is held ('status' says why)"
            ),
            Why::InNeed => write!(
                formatter,
                "column '{column}', which is not up to date ('refresh --column {column}' brings it)"
            ),
        }
    }
}
