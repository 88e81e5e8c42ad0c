//! Computing a slice chunk by chunk.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{DataType, SchemaRef};
use arrow_select::interleave::interleave;
use lance_backfill_core::calls::FailedRow;
use lance_backfill_core::checkpoint::{Fault, SliceResult};
use lance_backfill_core::coverage::RowErrors;
use lance_backfill_core::rows::RowSet;
use lance_backfill_ports::compute::Compute;
use lance_backfill_ports::width::{fixed_width, rows_within};
use lance_backfill_ports::{Error, Result};

use super::budget::Budget;
use super::feed::RowFeed;
use super::isolate;
use crate::outputs::Outputs;

/// Physical rows of one chunk: large enough for vectorised work, small enough for wide vectors.
pub(super) const CHUNK_ROWS: u32 = 65_536;

/// Bytes of inputs of one chunk, and of results of a fixed width; a chunk ends before a batch of the
/// table that would exceed them.
///
/// Twice as much doubles the memory of each slice at work; half as much calls the function more often
/// where inputs are wide.
pub(super) const CHUNK_BYTES: usize = 32 << 20;

/// Different errors of a slice that are recorded word for word.
const MOST_ERRORS_IN_FULL: usize = 1_000;
const LEFT_OUT: &str = "left out: a thousand other errors of these rows are told in full";

/// Physical rows of one chunk of results of this type.
pub(super) fn chunk_rows(output: &DataType) -> u32 {
    let fitting = fixed_width(output).map(|bytes| rows_within(CHUNK_BYTES as u64, bytes));
    fitting.map_or(CHUNK_ROWS, |rows| rows.min(CHUNK_ROWS))
}

/// What is known of a slice so far; shared between the stream that computes and who waits for it.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) values: RowSet,
    pub(super) nulls: RowSet,
    pub(super) failed: Vec<RowErrors>,
    pub(super) calls: u64,
    /// Time spent in the function, where it tells.
    pub(super) busy: Option<Duration>,
    pub(super) fault: Option<Fault>,
}

impl Tally {
    /// Moves the rows into a slice result.
    pub(super) fn fill(&mut self, result: &mut SliceResult) {
        result.values = std::mem::take(&mut self.values);
        result.nulls = std::mem::take(&mut self.nulls);
        result.failed = std::mem::take(&mut self.failed);
    }

    fn add_values(&mut self, offsets: &Offsets<'_>, values: &dyn Array) {
        match values
            .logical_nulls()
            .filter(|nulls| nulls.null_count() > 0)
        {
            None => self.values.extend(&offsets.of(0..values.len())),
            Some(nulls) => {
                let mut next = 0;
                for (start, end) in nulls.valid_slices() {
                    self.nulls.extend(&offsets.of(next..start));
                    self.values.extend(&offsets.of(start..end));
                    next = end;
                }
                self.nulls.extend(&offsets.of(next..values.len()));
            }
        }
    }

    fn add_failure(&mut self, offset: u32, failed: &FailedRow) {
        let FailedRow {
            error, attempts, ..
        } = failed;
        // Errors that all differ must not make a record larger than its values.
        let (message, traceback) = match self.failed.len() < MOST_ERRORS_IN_FULL {
            true => (error.message.clone(), error.traceback.clone()),
            false => (LEFT_OUT.to_owned(), None),
        };
        let same = |known: &&mut RowErrors| {
            (
                &known.kind,
                &known.message,
                &known.traceback,
                known.attempts,
            ) == (&error.kind, &message, &traceback, *attempts)
        };
        match self.failed.iter_mut().find(same) {
            Some(known) => known.rows.insert(offset),
            None => self.failed.push(RowErrors {
                rows: RowSet::range(offset..offset + 1),
                kind: error.kind.clone(),
                message,
                traceback,
                attempts: *attempts,
            }),
        }
    }
}

/// Physical offsets of the rows of a chunk that are computed, by their place among them.
struct Offsets<'a> {
    chunk: Range<u32>,
    /// None when each row of the chunk is computed.
    picked: Option<&'a [u32]>,
}

impl Offsets<'_> {
    fn of(&self, places: Range<usize>) -> RowSet {
        match self.picked {
            None => RowSet::range(
                self.chunk.start + small(places.start)..self.chunk.start + small(places.end),
            ),
            Some(picked) => picked
                .get(places)
                .unwrap_or_default()
                .iter()
                .map(|offset| self.chunk.start + offset)
                .collect(),
        }
    }

    fn at(&self, place: usize) -> u32 {
        match self.picked {
            None => self.chunk.start + small(place),
            Some(picked) => self.chunk.start + picked.get(place).copied().unwrap_or_default(),
        }
    }
}

pub(super) fn small(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX)
}

/// What surrounds the computed rows in the result.
pub(super) enum Layout {
    /// All physical rows: what is not computed keeps its old value, or is NULL without old values.
    Physical {
        /// Old values of all physical rows.
        old: Option<RowFeed>,
    },
    /// The computed rows alone, failed ones NULL.
    RowsOnly,
}

/// What the results of one chunk are laid over.
enum Under {
    /// Old values of its rows.
    Values(RecordBatch),
    /// A NULL for each of its rows.
    Nulls,
    /// Nothing: the results stand alone.
    Nothing,
}

/// Computes a slice, one chunk of physical rows after the other.
pub(super) struct Chunks {
    pub(super) rows: RowSet,
    pub(super) physical_rows: u32,
    pub(super) inputs: RowFeed,
    pub(super) layout: Layout,
    pub(super) function: Arc<dyn Compute>,
    pub(super) outputs: Outputs,
    pub(super) budget: Arc<Budget>,
    /// Batch that the slice is of, for the log.
    pub(super) batch: String,
    pub(super) tally: Arc<Mutex<Tally>>,
    pub(super) next: u32,
}

impl Chunks {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next chunk's values, or `None` after the last.
    pub(super) async fn next(&mut self) -> Result<Option<ArrayRef>> {
        while self.next < self.physical_rows {
            let end = self
                .next
                .saturating_add(chunk_rows(self.outputs.value_type()));
            let mut chunk = self.next..self.physical_rows.min(end);
            let mut under = match &mut self.layout {
                Layout::Physical { old: Some(old) } => {
                    let old = old.take_within(chunk.len(), CHUNK_BYTES).await?;
                    chunk.end = chunk.start + small(old.num_rows());
                    Under::Values(old)
                }
                Layout::Physical { old: None } => Under::Nulls,
                Layout::RowsOnly => Under::Nothing,
            };
            let wanted =
                usize::try_from(self.rows.count_within(chunk.clone())).unwrap_or(usize::MAX);
            let stopped = self.tally().fault.is_some()
                || self.budget.exceeded().is_some()
                || self.budget.time_is_up();
            let batch = match wanted == 0 || stopped {
                true => None,
                false => {
                    let rows = self.inputs.take_within(wanted, CHUNK_BYTES);
                    self.budget.until().within(rows).await.transpose()?
                }
            };
            if let Some(batch) = &batch
                && batch.num_rows() < wanted
            {
                let last = self.rows.within(chunk.clone()).nth(batch.num_rows() - 1);
                chunk.end = chunk.start + last.map_or(0, |last| last + 1);
            }
            let computed = match batch {
                Some(batch) => Some(self.compute(&mut chunk, batch).await?),
                None => None,
            };
            self.next = chunk.end;
            let length = chunk.len();
            if let (Under::Values(values), Layout::Physical { old: Some(old) }) =
                (&mut under, &mut self.layout)
            {
                old.put_back(values.slice(length, values.num_rows() - length));
                *values = values.slice(0, length);
            }
            match (computed, under) {
                (Some(computed), under) => return self.lay(chunk, computed, under).map(Some),
                (None, Under::Values(old)) => return single_column(old).map(Some),
                (None, Under::Nulls) => return Ok(Some(self.nulls(length))),
                (None, Under::Nothing) => {}
            }
        }
        Ok(None)
    }

    /// Calls the function on the rows of a chunk; the chunk ends where results are as large as they may be.
    async fn compute(
        &mut self,
        chunk: &mut Range<u32>,
        batch: RecordBatch,
    ) -> Result<isolate::Computed> {
        let Self {
            outputs,
            budget,
            batch: name,
            ..
        } = &*self;
        let function = self.function.as_ref();
        let output = outputs.value_type();
        let mut computed = isolate::call(function, &batch, output, budget, name).await?;
        computed.values = outputs.settled(computed.values)?;
        let reached = computed.values.len();
        let first_rows = computed.places == RowSet::range(0..small(reached));
        if computed.full && first_rows && reached < batch.num_rows() {
            let last = self
                .rows
                .within(chunk.clone())
                .nth(reached.saturating_sub(1));
            chunk.end = chunk.start + last.map_or(0, |last| last + 1);
            self.inputs
                .put_back(batch.slice(reached, batch.num_rows() - reached));
        }
        Ok(computed)
    }

    fn lay(
        &self,
        chunk: Range<u32>,
        computed: isolate::Computed,
        under: Under,
    ) -> Result<ArrayRef> {
        let wanted = usize::try_from(self.rows.count_within(chunk.clone())).unwrap_or(usize::MAX);
        let picked: Option<Vec<u32>> =
            (wanted < chunk.len()).then(|| self.rows.within(chunk.clone()).collect());
        let length = chunk.len();
        let reached_all = computed.values.len() == wanted;
        let picked = match reached_all {
            true => picked,
            false => Some(reached(&computed.places, picked.as_deref())),
        };
        let offsets = Offsets {
            chunk,
            picked: picked.as_deref(),
        };
        let complete = reached_all && computed.failed.is_empty();
        self.note(&offsets, &computed);
        match under {
            // A part that stopped early has the values that it finished.
            Under::Nothing => Ok(computed.values),
            Under::Nulls | Under::Values(_) if complete && picked.is_none() => Ok(computed.values),
            Under::Nulls => lay_over(&self.nulls(length), &computed, &offsets),
            Under::Values(old) => lay_over(&single_column(old)?, &computed, &offsets),
        }
    }

    fn nulls(&self, rows: usize) -> ArrayRef {
        new_null_array(self.outputs.value_type(), rows)
    }

    fn note(&self, offsets: &Offsets<'_>, computed: &isolate::Computed) {
        let mut tally = self.tally();
        tally.calls += computed.calls;
        tally.add_values(offsets, computed.values.as_ref());
        if let Some(busy) = computed.busy {
            *tally.busy.get_or_insert_default() += busy;
        }
        for (index, failed) in &computed.failed {
            let offset = offsets.at(*index);
            tally.nulls.remove(&RowSet::range(offset..offset + 1));
            tally.add_failure(offset, failed);
        }
        tally.fault = tally.fault.take().or_else(|| computed.fault.clone());
    }
}

/// Offsets in the chunk of the places that were reached.
fn reached(places: &RowSet, picked: Option<&[u32]>) -> Vec<u32> {
    let offset = |place: u32| match picked {
        None => place,
        Some(picked) => picked.get(place as usize).copied().unwrap_or_default(),
    };
    places.iter().map(offset).collect()
}

fn lay_over(
    old: &ArrayRef,
    computed: &isolate::Computed,
    offsets: &Offsets<'_>,
) -> Result<ArrayRef> {
    let mut picks: Vec<(usize, usize)> = (0..old.len()).map(|place| (0, place)).collect();
    let mut failed = (computed.failed.iter()).map(|(index, _)| *index).peekable();
    for place in 0..computed.values.len() {
        if failed.next_if_eq(&place).is_some() {
            continue;
        }
        let at = (offsets.at(place) - offsets.chunk.start) as usize;
        if let Some(pick) = picks.get_mut(at) {
            *pick = (1, place);
        }
    }
    interleave(&[old.as_ref(), computed.values.as_ref()], &picks)
        .map_err(|error| Error::internal("cannot lay results over old values").with_source(error))
}

/// The one column of a batch.
pub(super) fn single_column(batch: RecordBatch) -> Result<ArrayRef> {
    batch
        .columns()
        .first()
        .cloned()
        .ok_or_else(|| Error::internal("a column was read without values"))
}

/// The fields of the inputs under the names that the function knows them by.
pub(super) fn input_schema(column: &crate::column::Column, table: &SchemaRef) -> Result<SchemaRef> {
    let fields = column
        .bound
        .inputs
        .iter()
        .zip(&column.bound.definition.inputs)
        .map(|(field, input)| {
            table
                .field_with_name(&field.name)
                .map(|found| found.clone().with_name(&input.name).with_nullable(true))
                .map_err(|error| {
                    Error::internal(format!("input '{}' has no field", field.name))
                        .with_source(error)
                })
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(arrow_schema::Schema::new(fields)))
}
