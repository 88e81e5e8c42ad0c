//! Looking into a fragment of which the records do not say everything.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::Schema;
use futures::TryStreamExt;
use lance_backfill_core::coverage::{CoverageRecord, FILTER_ERROR, Outcome, RowErrors, Run};
use lance_backfill_core::format::Stored;
use lance_backfill_core::ids::LedgerSeq;
use lance_backfill_core::rows::RowSet;
use lance_backfill_core::state::Identities;
use lance_backfill_core::table::FragmentView;
use lance_backfill_ports::compute::{CallError, RowFilter};
use lance_backfill_ports::table::TableVersion;
use lance_backfill_ports::{Error, Result};

use crate::column::Column;
use crate::history::Noticing;
use crate::outputs::null_everywhere;

/// Rows read at once while filters and nulls are looked up.
const BATCH_ROWS: u32 = 65_536;

/// The record and the live rows of a fragment; what had to be looked up is stored as a record.
///
/// `origin` is what values are that no record speaks of: supplied or unknown.
pub(crate) async fn into(
    version: &dyn TableVersion,
    column: &Column,
    fragment: &FragmentView,
    identities: &Identities,
    record: Option<CoverageRecord>,
    origin: Outcome,
    noticing: &Noticing<'_>,
) -> Result<(Option<CoverageRecord>, RowSet)> {
    let mut live = RowSet::full(fragment.physical_rows);
    if fragment.deletion.is_some() {
        live.remove(&version.deleted_rows(fragment.id).await?);
    }
    let filter_is_known = match &record {
        Some(record) => record.elig_id == identities.elig_id,
        None => column.filter.is_none(),
    };
    let origin_is_known = record.is_some() || identities.out.is_none();
    // Found under what an earlier definition watched: from now on it must be found under this one's,
    // which history follows.
    let kept_elsewhere = (record.as_ref())
        .is_some_and(|it| it.in_id != identities.watched && identities.stands(it.in_id));
    if filter_is_known && origin_is_known && !kept_elsewhere {
        return Ok((record, live));
    }
    let mut learned = match record {
        Some(record) => record,
        None => blank(column, fragment, identities),
    };
    learned.file = None;
    learned.elig_id = identities.elig_id;
    learned.out = identities.out;
    // A record is keyed by the present inputs; its runs keep the inputs that they were made from.
    learned.in_id = identities.watched;
    if !origin_is_known {
        let declared = column.bound.definition.declared_max_fragment;
        let adopted = declared.is_some_and(|highest| fragment.id <= highest);
        let outcome = if adopted { Outcome::Supplied } else { origin };
        let rows = rows_with_values(version, column, fragment).await?;
        let run = Run {
            rows,
            outcome,
            generation: None,
            in_id: identities.watched,
            ledger: noticing.found_in(fragment, identities.out).await?,
            job: None,
        };
        learned.lay_over(vec![run], vec![]);
        learned.runs.retain(|run| !run.rows.is_empty());
    }
    if !filter_is_known {
        scan_filter(version, column, fragment, identities, &mut learned).await?;
    }
    column.store.create_record(learned.clone()).await?;
    Ok((Some(learned), live))
}

fn blank(column: &Column, fragment: &FragmentView, identities: &Identities) -> CoverageRecord {
    CoverageRecord {
        version: CoverageRecord::VERSION,
        binding: column.bound.binding.clone(),
        fragment: fragment.id,
        physical_rows: fragment.physical_rows,
        file: None,
        in_id: identities.watched,
        elig_id: identities.elig_id,
        out: identities.out,
        runs: vec![],
        filtered: RowSet::new(),
        errors: vec![],
    }
}

/// Physical rows that have a non-null value in the column, or in one of several.
pub(crate) async fn rows_with_values(
    version: &dyn TableVersion,
    column: &Column,
    fragment: &FragmentView,
) -> Result<RowSet> {
    let all = RowSet::full(fragment.physical_rows);
    let mut batches = version
        .read(fragment.id, &column.output_names(), &all, BATCH_ROWS)
        .await?;
    let mut rows = RowSet::new();
    let mut offset = 0_u32;
    while let Some(batch) = batches.try_next().await? {
        let length = u32::try_from(batch.num_rows()).unwrap_or(u32::MAX);
        match null_everywhere(batch.columns()) {
            None => rows.extend(&RowSet::range(offset..offset + length)),
            Some(nulls) => {
                for (start, end) in nulls.valid_slices() {
                    let range = offset + small(start)..offset + small(end);
                    rows.extend(&RowSet::range(range));
                }
            }
        }
        offset += length;
    }
    Ok(rows)
}

fn small(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// Asks the filter about every physical row: deleted ones too, since a restore brings them back.
async fn scan_filter(
    version: &dyn TableVersion,
    column: &Column,
    fragment: &FragmentView,
    identities: &Identities,
    record: &mut CoverageRecord,
) -> Result<()> {
    forget_filter_errors(record);
    let Some(filter) = &column.filter else {
        record.filtered = RowSet::new();
        return Ok(());
    };
    let question = Asked {
        filter: filter.as_ref(),
        columns: column.filter_names(),
        names: (column.bound.definition.filter_inputs.iter())
            .map(|input| input.name.clone())
            .collect(),
    };
    let (filtered, errors) = question.ask_all(version, fragment).await?;
    let mut failed = RowSet::new();
    for error in &errors {
        failed.extend(&error.rows);
    }
    let run = Run {
        rows: failed,
        outcome: Outcome::Failed,
        generation: Some(column.bound.generation.clone()),
        in_id: identities.in_id,
        ledger: LedgerSeq(0),
        job: None,
    };
    record.lay_over(vec![run], errors);
    record.filtered = filtered;
    Ok(())
}

/// Rows on which an older filter failed are unassigned again.
fn forget_filter_errors(record: &mut CoverageRecord) {
    let mut forgotten = RowSet::new();
    for error in record.errors.iter().filter(|error| error.is_of_filter()) {
        forgotten.extend(&error.rows);
    }
    if forgotten.is_empty() {
        return;
    }
    record.errors.retain(|error| !error.is_of_filter());
    for run in record
        .runs
        .iter_mut()
        .filter(|run| run.outcome == Outcome::Failed)
    {
        run.rows.remove(&forgotten);
    }
    record.runs.retain(|run| !run.rows.is_empty());
}

/// A filter and the columns that it is asked about.
pub(crate) struct Asked<'a> {
    pub(crate) filter: &'a dyn RowFilter,
    /// Present names of the columns.
    pub(crate) columns: Vec<String>,
    /// Names under which the filter knows them.
    pub(crate) names: Vec<String>,
}

impl Asked<'_> {
    /// Rows of a fragment that are not selected, and those on which the filter fails.
    pub(crate) async fn ask_all(
        &self,
        version: &dyn TableVersion,
        fragment: &FragmentView,
    ) -> Result<(RowSet, Vec<RowErrors>)> {
        let mut filtered = RowSet::new();
        let mut errors: Vec<RowErrors> = vec![];
        let mut offset = 0_u32;
        let all = RowSet::full(fragment.physical_rows);
        let mut batches = if self.columns.is_empty() {
            let options =
                RecordBatchOptions::new().with_row_count(Some(fragment.physical_rows as usize));
            let schema = Arc::new(Schema::empty());
            let batch =
                RecordBatch::try_new_with_options(schema, vec![], &options).map_err(|error| {
                    Error::internal("cannot ask a filter without columns").with_source(error)
                })?;
            Box::pin(futures::stream::iter([Ok(batch)]))
        } else {
            version
                .read(fragment.id, &self.columns, &all, BATCH_ROWS)
                .await?
        };
        while let Some(batch) = batches.try_next().await? {
            let batch = self.rename(&batch)?;
            ask(self.filter, &batch, offset, &mut filtered, &mut errors)?;
            offset += small(batch.num_rows());
        }
        Ok((filtered, errors))
    }

    /// Columns under the names that the filter knows them by.
    fn rename(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let fields: Vec<_> = batch
            .schema()
            .fields()
            .iter()
            .zip(&self.names)
            .map(|(field, name)| field.as_ref().clone().with_name(name))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(
            Arc::new(Schema::new(fields)),
            batch.columns().to_vec(),
            &options,
        )
        .map_err(|error| Error::internal("cannot rename the filter's columns").with_source(error))
    }
}

/// Asks about a batch; where the filter fails, halves it until the failing rows stand alone.
fn ask(
    filter: &dyn RowFilter,
    batch: &RecordBatch,
    offset: u32,
    filtered: &mut RowSet,
    errors: &mut Vec<RowErrors>,
) -> Result<()> {
    match filter.select(batch) {
        Ok(selected) => {
            collect_unselected(&selected, offset, filtered);
            Ok(())
        }
        Err(CallError::Rows { kind, message }) if batch.num_rows() <= 1 => {
            let rows = RowSet::range(offset..offset + 1);
            errors.push(RowErrors {
                rows,
                kind: format!("{FILTER_ERROR}{kind}"),
                message,
                traceback: None,
                attempts: 1,
            });
            Ok(())
        }
        Err(CallError::Rows { .. }) => {
            let half = batch.num_rows() / 2;
            ask(filter, &batch.slice(0, half), offset, filtered, errors)?;
            ask(
                filter,
                &batch.slice(half, batch.num_rows() - half),
                offset + small(half),
                filtered,
                errors,
            )
        }
        Err(CallError::Fault { message }) => Err(Error::invalid(format!(
            "the filter cannot be evaluated: {message}"
        ))),
    }
}

fn collect_unselected(selected: &BooleanArray, offset: u32, filtered: &mut RowSet) {
    let mut start = 0;
    for place in 0..=selected.len() {
        if place == selected.len() || selected.value(place) {
            if start < place {
                filtered.extend(&RowSet::range(offset + small(start)..offset + small(place)));
            }
            start = place + 1;
        }
    }
}
