//! Canary: another function beside the present one, on some rows; nothing is stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use arrow_select::concat::{concat, concat_batches};
use futures::TryStreamExt;
use lance_backfill_core::calls::RowError;
use lance_backfill_core::checkpoint::Fault;
use lance_backfill_core::definition::{BoundColumn, bind};
use lance_backfill_core::ids::FragmentId;
use lance_backfill_core::rate::{Estimate, Rate};
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::compute::{Compute, RowFilter};
use lance_backfill_ports::table::TableVersion;
use lance_backfill_ports::{Error, Result};
use lance_backfill_stages::execute::try_out;
use lance_backfill_stages::settled_structs;

use crate::catalog::Catalog;
use crate::declare::{Change, FunctionRequest};
use crate::engine::Engine;
use crate::functions;

/// Rows looked at for each that is wanted, where a filter leaves rows out.
const CANDIDATES: u64 = 20;
/// Parts that the rows are called in, each with a speed of its own: the spread is the error bar.
const PARTS: usize = 4;
const READ_ROWS: u32 = 8_192;

/// Two functions on the same rows.
pub struct Canary {
    /// Fragment and offset of each row.
    pub sample: Vec<(FragmentId, u32)>,
    /// What the changed function reads of them.
    pub inputs: RecordBatch,
    /// The function that the column has.
    pub present: Side,
    /// The one that was tried.
    pub changed: Side,
    /// Whether the two made something else of a row, value or error.
    pub differs: Vec<bool>,
    /// Rows that the column's filter selects: those that recomputing all of it would compute.
    pub rows_eligible: u64,
}

/// What one of the functions made of the rows.
pub struct Side {
    /// One value a row; NULL where it failed.
    pub values: ArrayRef,
    /// Errors by row.
    pub errors: BTreeMap<usize, RowError>,
    /// How fast it was.
    pub rate: Option<Rate>,
    /// How long it would take for all eligible rows.
    pub estimate: Option<Estimate>,
}

impl Engine {
    /// Runs the column's function and another one on rows that are taken evenly from the table.
    pub async fn canary(
        &self,
        column: &str,
        function: &FunctionRequest,
        rows: u64,
    ) -> Result<Canary> {
        let version = self.latest().await?;
        let schema = version.schema();
        let catalog = Catalog::read(version.view())?;
        let present = catalog.expect_acting(column)?.clone();
        let declared = catalog.expect(column)?;
        let change = Change {
            function: Some(function),
            ..Change::default()
        };
        let edited = self.check_edit(declared, change, &catalog, version.view(), &schema)?;
        let changed = bind(&present.binding, edited, version.view())
            .map_err(|detached| Error::invalid(detached.to_string()))?;
        let artifacts = match function {
            FunctionRequest::Python(python) => python.registered.artifacts(self.artifacts()),
            FunctionRequest::Sql(_) => self.artifacts(),
        };
        let run_present = self.function(&present, &schema)?;
        let run_changed = self.function_from(&changed, &schema, artifacts)?;
        let filter = functions::filter(&present, &schema)?;
        let sample = sample(version.as_ref(), &present, filter.as_deref(), rows).await?;
        if sample.is_empty() {
            return Err(Error::invalid(format!(
                "no row of '{column}' is selected by its filter: there is nothing to try"
            )));
        }
        let counts = {
            let wanted = |bound: &BoundColumn| bound.binding == present.binding;
            let surveyed = self.survey(&version, &catalog, &wanted).await?;
            surveyed.last().map(|(_, survey)| survey.counts)
        };
        let rows_eligible = counts.map_or(0, |counts| counts.eligible());
        let inputs = read_inputs(version.as_ref(), &changed, &sample).await?;
        let old_inputs = read_inputs(version.as_ref(), &present, &sample).await?;
        let sides = [
            (&present, run_present, &old_inputs),
            (&changed, run_changed, &inputs),
        ];
        let mut done = vec![];
        for (bound, function, rows) in sides {
            done.push(self.side(bound, function, rows, rows_eligible).await?);
        }
        let (Some(changed), Some(present)) = (done.pop(), done.pop()) else {
            return Err(Error::internal("a canary has two sides"));
        };
        let offsets = |(fragment, rows): &(FragmentId, RowSet)| {
            let fragment = *fragment;
            rows.iter()
                .map(move |offset| (fragment, offset))
                .collect::<Vec<_>>()
        };
        let sample: Vec<_> = sample.iter().flat_map(offsets).collect();
        Ok(Canary {
            differs: (0..sample.len())
                .map(|place| differ(&present, &changed, place))
                .collect(),
            sample,
            inputs,
            present,
            changed,
            rows_eligible,
        })
    }

    async fn side(
        &self,
        bound: &BoundColumn,
        function: Arc<dyn Compute>,
        rows: &RecordBatch,
        rows_eligible: u64,
    ) -> Result<Side> {
        function
            .prepare(rows.num_rows() as u64)
            .await
            .map_err(refused)?;
        let output = functions::output_type(bound, &self.latest().await?.schema())?;
        let mut values = vec![];
        let mut errors = BTreeMap::new();
        let mut speeds = vec![];
        let step = rows.num_rows().div_ceil(PARTS).max(1);
        for start in (0..rows.num_rows()).step_by(step) {
            let part = rows.slice(start, step.min(rows.num_rows() - start));
            let started_ms = self.world.now_ms();
            let tried = try_out(function.as_ref(), &part, &output).await?;
            if let Some(fault) = tried.fault {
                return Err(refused(fault));
            }
            if tried.places != RowSet::range(0..u32::try_from(part.num_rows()).unwrap_or(u32::MAX))
            {
                return Err(Error::internal("a canary did not reach all of its rows"));
            }
            let took = self.world.now_ms().saturating_sub(started_ms);
            let took = tried.busy.unwrap_or(Duration::from_millis(took));
            speeds.push((part.num_rows() as u64, took));
            for (place, failed) in tried.failed {
                errors.insert(start + place, failed.error);
            }
            values.push(tried.values);
        }
        let values: Vec<_> = values.iter().map(AsRef::as_ref).collect();
        let mut values = concat(&values)
            .map_err(|error| Error::internal("cannot join results").with_source(error))?;
        if bound.outputs.len() > 1 {
            values = settled_structs(&values)?;
        }
        let rate = Rate::of_parts(&speeds);
        let lanes = self.lanes(&bound.definition);
        Ok(Side {
            values,
            errors,
            rate,
            estimate: rate.map(|rate| rate.estimate(rows_eligible, lanes)),
        })
    }
}

fn differ(one: &Side, other: &Side, place: usize) -> bool {
    let told = |error: &RowError| (error.kind.clone(), error.message.clone());
    match (one.errors.get(&place), other.errors.get(&place)) {
        (Some(one), Some(other)) => told(one) != told(other),
        (None, None) => one.values.slice(place, 1) != other.values.slice(place, 1),
        _ => true,
    }
}

fn refused(fault: Fault) -> Error {
    Error::invalid(fault.message)
}

/// Rows that the filter selects, taken evenly from the whole table.
async fn sample(
    version: &dyn TableVersion,
    bound: &BoundColumn,
    filter: Option<&dyn RowFilter>,
    rows: u64,
) -> Result<Vec<(FragmentId, RowSet)>> {
    let mut live = vec![];
    for fragment in &version.view().fragments {
        let deleted = version.deleted_rows(fragment.id).await?;
        live.push((
            fragment.id,
            RowSet::full(fragment.physical_rows).difference(&deleted),
        ));
    }
    let Some(filter) = filter else {
        return Ok(spread(&live, rows));
    };
    let names: Vec<String> = bound
        .filter_inputs
        .iter()
        .map(|field| field.name.clone())
        .collect();
    let mut selected = vec![];
    for (fragment, candidates) in spread(&live, rows.saturating_mul(CANDIDATES)) {
        let reads: Vec<_> = bound
            .definition
            .filter_inputs
            .iter()
            .map(|it| it.name.as_str())
            .collect();
        let batch = read(version, fragment, &names, &reads, &candidates).await?;
        let chosen = filter
            .select(&batch)
            .map_err(|error| Error::invalid(format!("the filter cannot be asked: {error:?}")))?;
        let kept = candidates.iter().zip(chosen.iter());
        let kept: RowSet = kept
            .filter(|(_, chosen)| *chosen == Some(true))
            .map(|(row, _)| row)
            .collect();
        selected.push((fragment, kept));
    }
    Ok(spread(&selected, rows))
}

/// At most so many of the rows, evenly.
fn spread(live: &[(FragmentId, RowSet)], rows: u64) -> Vec<(FragmentId, RowSet)> {
    let total: u64 = live.iter().map(|(_, rows)| rows.len()).sum();
    let wanted = rows.min(total);
    let mut taken: u64 = 0;
    let mut seen: u64 = 0;
    let mut spread = vec![];
    for (fragment, rows) in live {
        let mut picked = RowSet::new();
        for offset in rows.iter() {
            // The nth of those wanted is the one at n/wanted of all.
            if taken < wanted
                && u128::from(seen) * u128::from(wanted) >= u128::from(taken) * u128::from(total)
            {
                picked.insert(offset);
                taken += 1;
            }
            seen += 1;
        }
        if !picked.is_empty() {
            spread.push((*fragment, picked));
        }
    }
    spread
}

async fn read_inputs(
    version: &dyn TableVersion,
    bound: &BoundColumn,
    sample: &[(FragmentId, RowSet)],
) -> Result<RecordBatch> {
    let names: Vec<String> = bound
        .inputs
        .iter()
        .map(|field| field.name.clone())
        .collect();
    let known_as: Vec<&str> = bound
        .definition
        .inputs
        .iter()
        .map(|it| it.name.as_str())
        .collect();
    let mut batches = vec![];
    for (fragment, rows) in sample {
        batches.push(read(version, *fragment, &names, &known_as, rows).await?);
    }
    let schema = batches.first().map(RecordBatch::schema);
    let schema = schema.ok_or_else(|| Error::internal("a sample has no rows"))?;
    concat_batches(&schema, &batches)
        .map_err(|error| Error::internal("cannot join rows").with_source(error))
}

/// Columns of some rows, under other names.
async fn read(
    version: &dyn TableVersion,
    fragment: FragmentId,
    names: &[String],
    known_as: &[&str],
    rows: &RowSet,
) -> Result<RecordBatch> {
    let wrong = |error| Error::internal("rows do not fit their fields").with_source(error);
    let count = usize::try_from(rows.len()).unwrap_or(usize::MAX);
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    if names.is_empty() {
        return RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)
            .map_err(wrong);
    }
    let stream = version.read(fragment, names, rows, READ_ROWS).await?;
    let batches: Vec<RecordBatch> = stream.try_collect().await?;
    let schema = batches.first().map(RecordBatch::schema);
    let schema = schema.ok_or_else(|| Error::internal("a read gave no rows"))?;
    let batch = concat_batches(&schema, &batches).map_err(wrong)?;
    let fields: Vec<_> = (schema.fields().iter().zip(known_as))
        .map(|(field, name)| field.as_ref().clone().with_name(*name).with_nullable(true))
        .collect();
    RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        batch.columns().to_vec(),
        &options,
    )
    .map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_evenly_and_no_more_than_there_are() {
        let live = [(1, RowSet::range(10..40)), (4, RowSet::full(70))];
        let rows = |wanted| {
            let spread = spread(&live, wanted);
            spread
                .iter()
                .map(|(fragment, rows)| (*fragment, rows.len()))
                .collect::<Vec<_>>()
        };
        assert_eq!(rows(10), [(1, 3), (4, 7)]);
        assert_eq!(rows(1_000), [(1, 30), (4, 70)]);
        assert_eq!(rows(0), []);
        let one = spread(&live, 1);
        assert_eq!(one, [(1, RowSet::range(10..11))]);
    }
}
